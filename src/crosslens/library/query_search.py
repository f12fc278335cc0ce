"""Search by a line of the query language: terms are mixed, filters applied, results merged and paged.

docs/query.md has the language; `search.query_language` reads it, `store.filter_sql` finds what fits.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, get_args

import numpy as np

from crosslens.arguments import whole
from crosslens.errors import LibraryModelError, QueryError
from crosslens.library.concept_filters import concept_terms, narrowed
from crosslens.library.result_relevance import is_known, judged
from crosslens.matching.matcher import Matcher
from crosslens.search.backend import Allowed
from crosslens.search.filter_conditions import Concept, Condition, Kind, Relevant
from crosslens.search.query_language import Phrase, Picture, Query, parse
from crosslens.search.query_mixing import WITHOUT_WEIGHT, Term, mix
from crosslens.search.rank_fusion import fuse
from crosslens.search.relevance_calibration import RELEVANT
from crosslens.store.database import Catalog
from crosslens.store.filter_sql import Order, fitting, sort_keys, vector_of
from crosslens.store.fulltext import matching
from crosslens.store.records import ModelRecord
from crosslens.store.vector_matrix import Matrix, covariance_of
from crosslens.types import Float32, Hit, ImageInput, Int64, Modality

Sort: TypeAlias = Literal["score", "date", "path"]
# Results by meaning that are fused with those by words.
_DEPTH = 200


class Searched(Protocol):
    """What a search needs of a library; `library.Library` has it."""

    def view(self) -> Searched: ...  # noqa: D102
    @property
    def folder(self) -> Path: ...  # noqa: D102
    @property
    def matcher(self) -> Matcher: ...  # noqa: D102
    @property
    def record(self) -> ModelRecord: ...  # noqa: D102
    def matrix(self, kind: Modality) -> Matrix: ...  # noqa: D102
    @property
    def database(self) -> Catalog: ...  # noqa: D102
    def resolve_kind(self, kind: Modality | None) -> Modality: ...  # noqa: D102
    def nearest(  # noqa: D102
        self, queries: Float32, k: int, kind: Modality, allowed: Allowed | None = None
    ) -> list[list[Hit]]: ...


@dataclass(frozen=True, slots=True)
class Page:
    """Which of the results: k of them after the first `offset`, in an order. Raises QueryError.

    sort: "score"; "date", the latest first; "path". With words or pictures, the score chooses the page and
    `sort` arranges it; without, all results are in this order ("score" is then "date").
    """

    k: int = 10
    offset: int = 0
    sort: Sort = "score"

    def __post_init__(self) -> None:
        whole("k", self.k, error=QueryError)
        whole("offset", self.offset, least=0, error=QueryError)
        if self.sort not in get_args(Sort):
            raise QueryError(f"sort is {self.sort!r}", f"Wanted one of {', '.join(get_args(Sort))}")


@dataclass(frozen=True, slots=True)
class Asked:
    """What to look for. image, without, kind: as in `Library.search`.

    files: whether "~" may name a file, and not only an item. more: terms beside those of the query.
    whole_paths: whether path: sees where folders lie that were indexed, and not only what is in them.
    """

    query: Query = Query()  # noqa: RUF009 (frozen)
    image: ImageInput | None = None
    without: str | Sequence[str] | None = None
    kind: Modality | None = None
    files: bool = True
    more: tuple[Term, ...] = ()
    whole_paths: bool = True


def search(
    library: Searched | Sequence[Searched],
    text: str,
    *,
    k: int = 10,
    offset: int = 0,
    sort: Sort = "score",
    kind: Modality | None = None,
) -> list[Hit]:
    """What a line of the query language asks for (docs/query.md), k results after the first `offset`.

    library: one, or several of the same model, whose results are merged; each hit then names its library.
    sort: see `Page`. kind: as in `Library.search`. Scores are NaN where filters alone were given.
    Fewer than k come back only when no more fit.
    Raises QueryError, its QuerySyntaxError for what cannot be read; TextError, ImageError,
    LibraryNotFoundError.
    """
    return find(library, Asked(read(text), kind=kind), Page(k, offset, sort))


def read(text: str) -> Query:
    """A line of the query language. One without anything in it counts as a text that is empty."""
    query = parse(text)
    return Query(text or " ") if query == Query() else query


def find(library: Searched | Sequence[Searched], asked: Asked, page: Page) -> list[Hit]:
    """`search` for what may also be a picture, or texts that should not be there. Raises what it raises."""
    # Each as it is now: migrated meanwhile, it must not mix two models' vectors.
    libraries = [one.view() for one in (library if isinstance(library, Sequence) else [library])]
    query = asked.query
    several = len(libraries) > 1
    conditions = _conditions(query)
    kind = _kind(libraries, _one_kind(query, asked.kind))
    asked = ranked_by_concepts(libraries, asked) if page.sort == "score" else asked
    terms = (*query.terms, *asked.more)
    alone = not (query.words or asked.image is not None or any(term.weight > 0 for term in terms))
    judges = _judges(libraries, asked, kind)
    if alone:
        _check_filters_alone(query, asked)
    parts = []
    for one in libraries:
        catalog = one.database
        if not several or catalog.holds(kind):
            allowed = fitting(catalog, kind, conditions, asked.whole_paths) if conditions or alone else None
            allowed = narrowed(libraries, one, kind, query, allowed)
            parts.append(_Part(one, kind, allowed, str(one.folder) if several else None))
    if alone:
        return _listed(parts, page)
    matrices = [part.library.matrix(part.kind) for part in parts]
    vector = mix(_terms(libraries, query, asked), covariance_of(matrices))
    last = page.offset + page.k
    found = _judged(parts, vector, last, query) if judges else _fused(parts, vector, query, last)
    hits = found[page.offset : last]
    return [hit for _, hit in (hits if page.sort == "score" else _arranged(parts, hits, page.sort))]


def ranked_by_concepts(libraries: Sequence[Searched], asked: Asked) -> Asked:
    """With nothing else to rank by, the concepts of a query rank what they hold for. Raises QueryError."""
    query = asked.query
    given = any((query.words, query.terms, asked.more, asked.without, asked.image is not None))
    return asked if given else replace(asked, more=concept_terms(libraries, query))


def find_many(
    library: Searched, texts: Sequence[str], k: int, kind: Modality | None = None
) -> list[list[Hit]]:
    """`find` for many texts at once, plain words each. Raises what it raises."""
    view = library.view()
    spec, kind = view.matcher.spec, view.resolve_kind(kind)
    vectors = view.matcher.embed_texts(list(texts))
    found = view.nearest(vectors, k, kind)
    return judged(view, vectors, found, are_best=True) if kind == "image" and is_known(spec) else found


@dataclass(frozen=True, slots=True)
class _Part:
    """A library, and among which of its items to look: ids, None for all. name: to tell it from others."""

    library: Searched
    kind: Modality
    allowed: Int64 | None
    name: str | None

    def nearest(self, vector: Float32, k: int, allowed: Int64 | None) -> list[Hit]:
        return self.named(self.library.nearest(vector[None], k, self.kind, allowed)[0])

    def named(self, hits: list[Hit]) -> list[Hit]:
        return hits if self.name is None else [replace(hit, library=self.name) for hit in hits]


# A result as (number of its part, hit); several libraries may number items alike.
_Found: TypeAlias = tuple[int, Hit]


def _kind(libraries: Sequence[Searched], kind: Modality | None) -> Modality:
    """What to look for; pictures, unless only texts are there. Raises QueryError for what none holds."""
    wanted: set[Modality] = {one.resolve_kind(None) for one in libraries} if len(libraries) > 1 else set()
    if kind is None and wanted:
        return "image" if "image" in wanted else "text"
    holds = next((one for one in libraries if kind and one.database.holds(kind)), libraries[0])
    return holds.resolve_kind(kind)


def _nearest(parts: Sequence[_Part], vector: Float32, k: int) -> list[_Found]:
    found = [
        (number, hit) for number, part in enumerate(parts) for hit in part.nearest(vector, k, part.allowed)
    ]
    return _merged(parts, found, k)


def _merged(parts: Sequence[_Part], found: list[_Found], k: int) -> list[_Found]:
    return found if len(parts) == 1 else sorted(found, key=lambda row: (-row[1].score, row[0], row[1].id))[:k]


def _judges(libraries: Sequence[Searched], asked: Asked, kind: Modality) -> bool:
    """Whether relevance is told: where it was measured. Raises QueryError where it is wanted and is not."""
    words_alone = bool(asked.query.words) and not (asked.query.terms or asked.more)
    measured = words_alone and asked.image is None and asked.without is None and kind == "image"
    judges = measured and is_known(libraries[0].matcher.spec)
    if asked.query.relevant and not judges:
        problem = "relevance is known of pictures alone that are found by plain words"
        raise QueryError(problem, "Leave relevant out, or look for pictures by a few words alone")
    return judges


def _judged(parts: Sequence[_Part], vector: Float32, k: int, query: Query) -> list[_Found]:
    """`_nearest` with relevance, and where that is asked for only those that are probably meant."""
    found: list[_Found] = []
    for number, part in enumerate(parts):
        hits = part.nearest(vector, k, part.allowed)
        [hits] = judged(part.library, vector[None], [hits], are_best=part.allowed is None)
        wanted = [hit for hit in hits if not query.relevant or (hit.relevance or 0) >= RELEVANT]
        found += [(number, hit) for hit in wanted]
    return _merged(parts, found, k)


def _fused(parts: Sequence[_Part], vector: Float32, query: Query, last: int) -> list[_Found]:
    """The best by meaning and, where words are quoted, by words that stand there; scores by meaning.

    At least `last` where there are as many.
    """
    quoted = [term for term in query.terms if isinstance(term, Phrase) and term.quoted and term.weight > 0]
    depth = _DEPTH * -(-last // _DEPTH)  # the same for all pages that lie within it
    literal = [
        (term.weight, [(number, int(one)) for one in ids[:depth]])
        for term in quoted
        for number, part in enumerate(parts)
        if len(ids := matching(part.library.database, part.kind, term.text, part.allowed))
    ]
    if not literal:
        return _nearest(parts, vector, last)
    hits = {(number, hit.id): hit for number, hit in _nearest(parts, vector, depth)}
    order = fuse([(1.0, list(hits)), *literal])[:last]
    for number, part in enumerate(parts):
        others = sorted(one for where, one in order if where == number and (where, one) not in hits)
        if others:
            found = part.nearest(vector, len(others), np.array(others, np.int64))
            hits |= {(number, hit.id): hit for hit in found}
    return [(key[0], hits[key]) for key in order if key in hits]


def _arranged(parts: Sequence[_Part], hits: Sequence[_Found], order: Order) -> list[_Found]:
    keys: dict[tuple[int, int], float | str] = {}
    for number, part in enumerate(parts):
        ids = [hit.id for where, hit in hits if where == number]
        found = sort_keys(part.library.database, ids, order)
        keys |= {(number, one): key for one, key in found.items()}
    there = [(number, hit) for number, hit in hits if (number, hit.id) in keys]
    return sorted(there, key=lambda row: (keys[row[0], row[1].id], row[0], row[1].id))


def _one_kind(query: Query, kind: Modality | None) -> Modality | None:
    if None not in (query.kind, kind) and query.kind != kind:
        raise QueryError(f"the query is for kind:{query.kind}, the search for {kind!r}", "Ask for one")
    return query.kind or kind


def _check_filters_alone(query: Query, asked: Asked) -> None:
    if asked.without is not None or query.terms or asked.more:
        problem = "the search asks for nothing but what should not be there"
        raise QueryError(problem, "Give a text, a picture, or both")
    if not query.filters:
        raise QueryError("the search asks for nothing", "Give a text, a picture, or a filter")


def _conditions(query: Query) -> list[tuple[Condition, bool]]:
    """Each filter that the database decides, with whether it is negated."""
    return [
        (f.condition, f.negated)
        for f in query.filters
        if not isinstance(f.condition, Kind | Concept | Relevant)
    ]


def _listed(parts: Sequence[_Part], page: Page) -> list[Hit]:
    """A page of what filters let through, without scores."""
    order: Order = "date" if page.sort == "score" else page.sort
    rows: list[tuple[float | str, int, int]] = []
    for number, part in enumerate(parts):
        ids = [] if part.allowed is None else part.allowed.tolist()
        keys = sort_keys(part.library.database, ids, order)
        rows += [(key, number, one) for one, key in keys.items()]
    rows.sort()
    hits = []
    for _, number, one in rows[page.offset : page.offset + page.k]:
        found = [row.hit(float("nan")) for row in parts[number].library.database.items([one])]
        hits += parts[number].named(found)
    return hits


def _terms(libraries: Sequence[Searched], query: Query, asked: Asked) -> list[Term]:
    matcher = libraries[0].matcher
    for other in libraries[1:]:
        check_same_model(libraries[0], other)
    phrases = [Phrase(query.words)] if query.words else []
    phrases += [term for term in query.terms if isinstance(term, Phrase)]
    texts = [phrase.text for phrase in phrases]
    vectors = matcher.embed_texts(texts) if texts else ()
    terms = [Term(vector, phrase.weight) for vector, phrase in zip(vectors, phrases, strict=True)]
    pictures = [term for term in query.terms if isinstance(term, Picture)]
    terms += [Term(_picture(libraries, term, files=asked.files), term.weight) for term in pictures]
    if asked.image is not None:
        terms.append(Term(matcher.embed_images([asked.image])[0], 1.0))
    if asked.without is not None:
        terms += [Term(vector, WITHOUT_WEIGHT) for vector in matcher.embed_texts(asked.without)]
    return [*terms, *asked.more]


def check_same_model(one: Searched, other: Searched) -> None:
    """Raise LibraryModelError for libraries of different models: their vectors cannot be compared."""
    first, second = one.matcher, other.matcher
    if first.spec.identity != second.spec.identity:
        raise LibraryModelError(
            f"library {other.folder} was made with model {second.spec.name!r} ({second.spec.identity[:12]}), "
            f"library {one.folder} with {first.spec.name!r} ({first.spec.identity[:12]}): "
            "they cannot be searched together",
            "Search them one by one",
        )


def _picture(libraries: Sequence[Searched], picture: Picture, *, files: bool) -> Float32:
    library = libraries[0]
    if isinstance(picture.source, int):
        if len(libraries) > 1:
            problem = f"~#{picture.source} is the number of an item in one library, and several are searched"
            raise QueryError(problem, "Name its file: ~dog.jpg")
        return vector_of(library.database, picture.source, library.matcher.spec.identity)
    if not files:
        problem = f"~{picture.source} is a file, and files are not opened here"
        raise QueryError(problem, "Name an item by its number, as ~#12")
    path = picture.source
    at_home = os.path.expanduser(f"~{path}")
    if path.startswith("/") and not os.path.lexists(path) and os.path.lexists(at_home):
        path = at_home  # "~/dog.jpg" was meant as a shell reads it
    vector: Float32 = library.matcher.embed_images([path])[0]
    return vector
