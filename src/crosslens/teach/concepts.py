"""Concepts of a library: taught by examples, listed, applied as a tag, forgotten. docs/teach.md.

Only vectors that the library has stored are looked at; no model is opened.

    concepts.teach(library, "dog", yes=["tag:rex"], no=[12, 15])
    querying.search(library, "concept:dog")
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from crosslens.arguments import whole
from crosslens.errors import InputError, QueryError
from crosslens.library.concept_filters import check_usable, fitting_ids, unknown
from crosslens.library.library import Library
from crosslens.library.search_view import View
from crosslens.search.exact import Exact
from crosslens.search.linear_head import Rate, least_certain, logit, sigmoid
from crosslens.store import concept_rows as rows
from crosslens.store.concept_rows import ConceptRow
from crosslens.store.database import Catalog
from crosslens.store.locks import writer_lock
from crosslens.store.tag_rows import clean_tag
from crosslens.teach.head_training import Marks, Targets, fitted, joined, several
from crosslens.types import Float32, Hit, Int64, Modality

# From this score on, something fits: yes and no weigh the same, so here the two are equally near.
THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class Concept:
    """What a library was taught.

    kind: of what it was taught on. yes, no: numbers of contents that were marked; presumed: of items taken at
    random that were presumed no. threshold: score in (0, 1) from which on an item fits. missed, false_alarms:
    errors among the yes and among the no, each judged without itself; None where fewer than five were
    marked, which says nothing. taught: UTC, YYYY-MM-DDTHH:MM:SSZ. current: whether it is for the model that
    the library has now; if not, it must be taught again, which needs no new examples. tags: that it gave,
    with how many items have them from it.
    """

    name: str
    kind: Modality
    yes: int
    no: int
    presumed: int
    threshold: float
    missed: Rate | None
    false_alarms: Rate | None
    taught: str
    current: bool
    tags: dict[str, int]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """An item whose label would teach most. score: in (0, 1), how near to yes; no probability."""

    hit: Hit
    score: float


@dataclass(frozen=True, slots=True)
class TagPlan:
    """What giving a tag does, in items. fits: those that the concept holds for, of `items`.

    new: of them, those that get the tag; gone: items that lose it, having it from this concept and fitting no
    more. A tag that a person or a file gave is left alone.
    """

    tag: str
    fits: int
    items: int
    new: int
    gone: int


def teach(
    library: Library,
    name: str,
    *,
    yes: Targets = (),
    no: Targets = (),
    unmark: Targets = (),
    threshold: float | None = None,
) -> Concept:
    """Teach a library a concept by examples; from then on `concept:NAME` finds what it holds for.

    yes, no: items that show it, and that do not: ids, paths, folders above items, or filters of the query
    language ("tag:rex"), one or several. They join those that were marked before; the last mark counts.
    unmark: items whose mark is taken back. threshold: see `Concept`; None: as it was, at first 0.5.
    Without new examples it is taught again from those it has, for instance on the vectors of another model.
    Raises InputError for what is not in the library, marked both ways, or too little to tell anything by;
    then nothing is changed.
    """
    marks = Marks(several(yes), several(no), several(unmark), threshold)
    rows.clean_name(name)
    with _writing(library) as (catalog, view):
        return teach_in(catalog, view, name, marks)


def taught(library: Library) -> list[Concept]:
    """The concepts of a library, by name."""
    return listed(library.database, library.view())


def suggest(library: Library, name: str, k: int = 10) -> list[Suggestion]:
    """Items to mark next: those that the concept is least certain about, and unlike each other.

    Raises QueryError where there is no such concept, or it is of another model.
    """
    return suggest_in(library.view(), name, whole("k", k, error=QueryError))


def plan_tag(library: Library, name: str, tag: str | None = None) -> TagPlan:
    """What `give_tag` would do. Nothing is changed. Raises QueryError, InputError."""
    return plan_in(library.database, library.view(), name, tag)


def give_tag(library: Library, name: str, tag: str | None = None) -> TagPlan:
    """Tag what a concept holds for now; what is indexed later is not tagged by itself. tag: None: its name.

    Given again after more was marked, it also takes the tag from what fits no more. Raises QueryError for no
    such concept, InputError for what is no tag.
    """
    if tag is not None:
        clean_tag(tag)
    with _writing(library) as (catalog, view):
        return give_in(catalog, view, name, tag)


def forget(library: Library, name: str) -> None:
    """Delete a concept and its marks. Tags that it gave stay. Raises QueryError where there is none."""
    with _writing(library) as (catalog, _):
        forget_in(catalog, name)


# -- on a database and a view: for the service, which has its own ----------------------------------


def teach_in(catalog: Catalog, view: View, name: str, marks: Marks) -> Concept:
    """`teach` in a database that may be written, with the vectors of a view."""
    name = rows.clean_name(name)
    before = rows.concept_row(catalog, name)
    if before is None and not marks.yes:
        there_is = unknown(catalog, name)
        raise InputError(there_is.problem, there_is.remedy)
    kind = before.kind if before else view.resolve_kind(None)
    examples = joined(catalog, view, kind, rows.examples_of(catalog, name), marks)
    chosen = marks.threshold if marks.threshold is not None else before.threshold if before else THRESHOLD
    row = fitted(catalog, view, examples, ConceptRow(
        before.name if before else name, kind, view.record.identity, np.empty(0, np.float32), 0.0, chosen,
        0, None, None, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    ))  # fmt: skip
    rows.keep_concept(catalog, row, examples)
    return concept_in(catalog, view, name)


def listed(catalog: Catalog, view: View) -> list[Concept]:
    """The concepts of a library, by name."""
    return [_concept(catalog, view, row) for row in rows.concept_rows(catalog)]


def concept_in(catalog: Catalog, view: View, name: str) -> Concept:
    """A concept by its name. Raises QueryError where there is none."""
    return _concept(catalog, view, _known(catalog, name))


def suggest_in(view: View, name: str, k: int) -> list[Suggestion]:
    """See `suggest`."""
    catalog = view.database
    row = _known(catalog, name)
    check_usable(row, view)
    matrix = view.matrix(row.kind)
    exact, ids = Exact(matrix.index, matrix.ids), np.asarray(matrix.ids)
    margins = _margins(exact, row)
    for marked in rows.marked(catalog, name):
        margins[np.isin(ids, marked)] = np.nan
    chosen = least_certain(margins, logit(row.threshold), exact.rows, k)
    scores = {int(ids[at]): float(sigmoid(margins[at])) for at in chosen}
    items = catalog.items(list(scores))
    return [Suggestion(item.hit(math.nan), scores[item.id]) for item in items]


def plan_in(catalog: Catalog, view: View, name: str, tag: str | None) -> TagPlan:
    """See `plan_tag`."""
    row, given, fits, judged = _to_give(catalog, view, name, tag)
    change = rows.plan_tag(catalog, row.name, given, fits, judged)
    return TagPlan(given, len(fits), len(judged), change.new, change.gone)


def give_in(catalog: Catalog, view: View, name: str, tag: str | None) -> TagPlan:
    """See `give_tag`."""
    row, given, fits, judged = _to_give(catalog, view, name, tag)
    change = rows.give_tag(catalog, row.name, given, fits, judged)
    return TagPlan(given, len(fits), len(judged), change.new, change.gone)


def forget_in(catalog: Catalog, name: str) -> None:
    """See `forget`."""
    if not rows.drop_concept(catalog, name):
        raise unknown(catalog, name)


# -- inside ---------------------------------------------------------------------------------------


@contextmanager
def _writing(library: Library) -> Iterator[tuple[Catalog, View]]:
    """The database for writing, and the library as it is searched."""
    library.view()  # one that is not there, or empty, is told so
    with writer_lock(library.folder):
        catalog = library.open_for_writing()
        yield catalog, library.view()


def _known(catalog: Catalog, name: str) -> ConceptRow:
    row = rows.concept_row(catalog, name)
    if row is None:
        raise unknown(catalog, name)
    return row


def _concept(catalog: Catalog, view: View, row: ConceptRow) -> Concept:
    return Concept(
        name=row.name,
        kind=row.kind,
        yes=row.yes,
        no=row.no,
        presumed=row.presumed,
        threshold=row.threshold,
        missed=Rate(*row.missed) if row.missed else None,
        false_alarms=Rate(*row.alarms) if row.alarms else None,
        taught=row.taught,
        current=row.model == view.record.identity,
        tags=rows.tags_given(catalog, row.name),
    )


def _margins(exact: Exact, row: ConceptRow) -> Float32:
    """Of all rows of a matrix, (n,)."""
    margins: Float32 = exact.scores(row.weights) + np.float32(row.bias)
    return margins


def _to_give(
    catalog: Catalog, view: View, name: str, tag: str | None
) -> tuple[ConceptRow, str, Int64, Int64]:
    """(concept, tag, items that fit, items that were judged)."""
    row = _known(catalog, name)
    check_usable(row, view)
    given = clean_tag(row.name if tag is None else tag)
    return row, given, fitting_ids(view, row), np.asarray(view.matrix(row.kind).ids)
