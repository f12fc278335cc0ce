"""Training of a concept: examples marked yes and no → stored vectors → `search.linear_head`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from crosslens.arguments import brief, number
from crosslens.errors import InputError, QuerySyntaxError
from crosslens.library.concept_filters import KINDS
from crosslens.library.query_search import Asked, Page, find
from crosslens.library.search_view import View
from crosslens.search.exact import Exact
from crosslens.search.filter_conditions import Concept, Kind, Relevant
from crosslens.search.linear_head import PRESUMED, Examples, Space, error_rates, fit
from crosslens.search.query_language import Query, parse
from crosslens.store import concept_rows as rows
from crosslens.store.concept_rows import ConceptRow
from crosslens.store.database import Catalog
from crosslens.store.fulltext import ids_below
from crosslens.store.path_encoding import targets_of
from crosslens.types import Float32, Modality

Target: TypeAlias = str | os.PathLike[str] | int
Targets: TypeAlias = Iterable[Target] | Target
# More teach a linear head nothing, and to hold them out takes seconds.
_MOST_EXAMPLES = 5_000


@dataclass(frozen=True, slots=True)
class Marks:
    """Arguments of `teach`. Raises InputError for a threshold outside (0, 1)."""

    yes: Sequence[Target] = ()
    no: Sequence[Target] = ()
    unmark: Sequence[Target] = ()
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 < number("threshold", self.threshold) < 1:
            raise InputError(f"threshold is {brief(self.threshold)}", "Wanted a number between 0 and 1")


def several(targets: Targets) -> list[Target]:
    """One target, or several, as a list."""
    if isinstance(targets, str | os.PathLike) or not isinstance(targets, Iterable):
        return [targets]
    return list(targets)


def joined(
    catalog: Catalog, view: View, kind: Modality, before: dict[bytes, bool], marks: Marks
) -> dict[bytes, bool]:
    """The marks that were there, and the new ones."""
    yes, no, unmark = (
        _contents(catalog, view, kind, targets) for targets in (marks.yes, marks.no, marks.unmark)
    )
    if both := yes & no:
        said = "an item is" if len(both) == 1 else f"{len(both)} items are"
        raise InputError(f"{said} marked yes and no", "Mark each content one way; copies are one content")
    examples = {hash_: is_yes for hash_, is_yes in before.items() if hash_ not in unmark}
    examples |= dict.fromkeys(yes, True) | dict.fromkeys(no, False)
    if len(examples) > _MOST_EXAMPLES:
        raise InputError(f"there are {len(examples):,} examples", f"Mark at most {_MOST_EXAMPLES:,}")
    return dict(sorted(examples.items()))


def fitted(catalog: Catalog, view: View, marks: dict[bytes, bool], row: ConceptRow) -> ConceptRow:
    """A concept with the head that its examples give. Raises InputError for too few."""
    vectors = rows.vectors_of(catalog, marks, view.record.identity)
    yes, no = ([vectors[hash_] for hash_, is_yes in marks.items() if is_yes is wanted and hash_ in vectors]
               for wanted in (True, False))  # fmt: skip
    if not yes:
        raise InputError(
            f"of {row.name!r} no example is left that shows it",
            f"Mark some: crosslens teach '{row.name}' --yes PICTURE",
        )
    matrix = view.matrix(row.kind)
    examples = Examples(np.stack(yes), _stacked(no, len(yes[0])), _presumed(catalog, view, row.kind, marks))
    if not len(examples.no) and not len(examples.presumed):
        raise InputError(
            f"nothing is left in library {catalog.folder} to tell {row.name!r} from",
            f"Mark something that does not show it: crosslens teach '{row.name}' --no PICTURE",
        )
    space = Space.of(matrix.mean, matrix.covariance)
    head = fit(examples, space)
    missed, alarms = error_rates(examples, space, row.threshold)
    return replace(
        row,
        weights=head.weights,
        bias=head.bias,
        presumed=len(examples.presumed),
        missed=(missed.wrong, missed.of) if missed else None,
        alarms=(alarms.wrong, alarms.of) if alarms else None,
    )


# -- inside ---------------------------------------------------------------------------------------


def _contents(catalog: Catalog, view: View, kind: Modality, targets: Sequence[Target]) -> set[bytes]:
    """Contents of the items that targets name. Raises InputError."""
    ids: list[int] = []
    for target in targets:
        query = _filters(target)
        if query is None:
            ids += ids_below(catalog, targets_of(target))
        else:
            hits = find(view, Asked(query, kind=kind), Page(_MOST_EXAMPLES + 1, sort="path"))
            if not hits:
                raise InputError(f"nothing in library {catalog.folder} fits {target}", "See: crosslens tags")
            ids += [hit.id for hit in hits]
    contents = rows.contents_of(catalog, ids)
    if others := [one for one in contents.values() if one != kind]:
        problem = f"{KINDS[others[0]]} are marked, and the concept is one of {KINDS[kind]}"
        raise InputError(problem, f"Mark {KINDS[kind]} alone")
    return set(contents)


def _filters(target: Target) -> Query | None:
    """A target that is filters of the query language; None for an id or a path."""
    if not isinstance(target, str) or os.path.lexists(target):
        return None
    try:
        query = parse(target)
    except QuerySyntaxError:
        return None
    known = all(not isinstance(one.condition, Kind | Relevant | Concept) for one in query.filters)
    return query if query.filters and known and not query.words and not query.terms else None


def _stacked(vectors: Sequence[Float32], dimension: int) -> Float32:
    return np.stack(vectors) if vectors else np.empty((0, dimension), np.float32)


def _presumed(catalog: Catalog, view: View, kind: Modality, marks: dict[bytes, bool]) -> Float32:
    """Vectors of items taken at random, the same ones every time, but for those that are marked."""
    matrix = view.matrix(kind)
    count = len(matrix.ids)
    order = np.random.default_rng(0).permutation(count)
    marked = rows.ids_with(catalog, marks)
    free = order[~np.isin(np.asarray(matrix.ids)[order], marked)][:PRESUMED]
    return Exact(matrix.index, matrix.ids).rows(np.sort(free))
