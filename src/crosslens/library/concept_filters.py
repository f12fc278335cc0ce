"""Concepts in queries: `concept:NAME` as a filter and as a term to rank by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from crosslens.errors import LibraryDamagedError, QueryError
from crosslens.search.exact import rows_above
from crosslens.search.filter_conditions import Concept
from crosslens.search.linear_head import logit
from crosslens.search.query_language import Filter, Query
from crosslens.search.query_mixing import Term
from crosslens.store.concept_rows import ConceptRow, concept_row, concept_rows, marked
from crosslens.store.database import Catalog
from crosslens.store.records import ModelRecord
from crosslens.store.vector_matrix import Matrix
from crosslens.types import Int64, Modality

KINDS: dict[Modality, str] = {"image": "pictures", "text": "texts"}


class Holder(Protocol):
    """What a concept needs of a library as a search sees it; `view.View` has it."""

    @property
    def record(self) -> ModelRecord: ...  # noqa: D102
    def matrix(self, kind: Modality) -> Matrix: ...  # noqa: D102
    @property
    def database(self) -> Catalog: ...  # noqa: D102


def concept_filters(query: Query) -> list[Filter]:
    """The filters of a query that name a concept."""
    return [one for one in query.filters if isinstance(one.condition, Concept)]


def narrowed(
    libraries: Sequence[Holder], one: Holder, kind: Modality, query: Query, allowed: Int64 | None
) -> Int64 | None:
    """Of the items of one library, those that the concepts of a query hold for; ids, int64, ascending.

    allowed: among which to look, None for all. libraries: all that are searched; a concept that one lacks
    is that of the first which has it. Raises QueryError for a concept that none has, of another model, or of
    another kind.
    """
    for filter_ in concept_filters(query):
        row, is_own = _found(libraries, one, str(getattr(filter_.condition, "name", "")))
        check_usable(row, one, kind)
        among = np.asarray(one.matrix(kind).ids) if allowed is None else allowed
        holds = np.isin(among, fitting_ids(one, row, with_marks=is_own))
        allowed = among[holds != filter_.negated]
    return allowed


def concept_terms(libraries: Sequence[Holder], query: Query) -> tuple[Term, ...]:
    """The concepts that a query wants as terms, to rank by: the unit normals of their heads."""
    wanted = [filter_ for filter_ in concept_filters(query) if not filter_.negated]
    rows = [_found(libraries, libraries[0], str(getattr(one.condition, "name", "")))[0] for one in wanted]
    return tuple(Term(row.weights / max(float(np.linalg.norm(row.weights)), 1e-12), 1.0) for row in rows)


def fitting_ids(library: Holder, row: ConceptRow, *, with_marks: bool = True) -> Int64:
    """Ids of the items that a concept holds for, int64, ascending.

    Those whose score reaches the threshold; with marks, also what was marked yes, and nothing marked no.
    """
    matrix = library.matrix(row.kind)
    rows, _ = rows_above(matrix.index, row.weights, logit(row.threshold) - row.bias)
    ids: Int64 = np.asarray(matrix.ids)[rows]
    if with_marks:
        yes, no = marked(library.database, row.name)
        there = yes[np.isin(yes, matrix.ids)]
        ids = np.setdiff1d(np.union1d(ids, there), no)
    return ids


def check_usable(row: ConceptRow, library: Holder, kind: Modality | None = None) -> None:
    """Raise QueryError for a concept of another model than the library's vectors, or of another kind.

    LibraryDamagedError for one whose weights are not whole.
    """
    if row.model != library.record.identity:
        raise QueryError(
            f"the concept {row.name!r} was taught on vectors of another model ({row.model[:12]}), "
            f"not of {library.record.name!r}",
            f"Its examples are kept, teach it again from them: crosslens teach '{row.name}'",
        )
    if len(row.weights) != library.record.dimension or not np.isfinite(row.weights).all():
        raise LibraryDamagedError(
            f"library {library.database.folder}: the weights of the concept {row.name!r} are damaged",
            f"Teach it again from its marks: crosslens teach '{row.name}' --threshold {row.threshold:g}",
        )
    if kind is not None and kind != row.kind:
        raise QueryError(
            f"the concept {row.name!r} was taught on {KINDS[row.kind]}, and {KINDS[kind]} are looked for",
            f"Look for {KINDS[row.kind]}, or leave the concept out",
        )


def unknown(catalog: Catalog, name: str) -> QueryError:
    """That a library knows no such concept."""
    known = [row.name for row in concept_rows(catalog)]
    there = f"There are {', '.join(known[:10])}" if known else "There are none yet"
    return QueryError(
        f"there is no concept {name!r} in library {catalog.folder}",
        f"{there}; teach it by examples: crosslens teach '{name}' --yes PICTURE --no PICTURE",
    )


def _found(libraries: Sequence[Holder], one: Holder, name: str) -> tuple[ConceptRow, bool]:
    """A concept, and whether it is the library's own."""
    own = concept_row(one.database, name)
    if own is not None:
        return own, True
    for other in libraries:
        row = concept_row(other.database, name)
        if row is not None:
            return row, False
    raise unknown(one.database, name)
