"""Searching by a line of the query language: terms are mixed, filters say among which items to look.

docs/query.md has the language; `search.language` reads it, `store.filters` finds what fits.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, get_args

from crosslens.arguments import whole
from crosslens.conditions import Condition, Kind
from crosslens.errors import QueryError
from crosslens.matcher import Matcher
from crosslens.search.backend import Allowed
from crosslens.search.language import Phrase, Picture, Query, parse
from crosslens.search.query import WITHOUT_WEIGHT, Term, mix
from crosslens.store.catalog import Catalog
from crosslens.store.filters import arranged, fitting, vector_of
from crosslens.store.vectors import Matrix
from crosslens.types import Float32, Hit, ImageInput, Int64, Modality

Sort: TypeAlias = Literal["score", "date", "path"]


class Searched(Protocol):
    """What a search needs of a library; `library.Library` has it."""

    @property
    def matcher(self) -> Matcher: ...  # noqa: D102
    def matrix(self, kind: Modality) -> Matrix: ...  # noqa: D102
    def _existing(self) -> Catalog: ...
    def _kind(self, kind: Modality | None) -> Modality: ...
    def _hits(
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
    """What to look for. text: a line of the query language; image, without, kind: as in `Library.search`.

    files: whether "~" may name a file, and not only an item.
    """

    text: str | None = None
    image: ImageInput | None = None
    without: str | Sequence[str] | None = None
    kind: Modality | None = None
    files: bool = True


def search(
    library: Searched,
    text: str,
    *,
    k: int = 10,
    offset: int = 0,
    sort: Sort = "score",
    kind: Modality | None = None,
) -> list[Hit]:
    """What a line of the query language asks for (docs/query.md), k results after the first `offset`.

    sort: see `Page`. kind: as in `Library.search`. Scores are NaN where filters alone were given.
    Fewer than k come back only when no more fit.
    Raises QueryError, its QuerySyntaxError for what cannot be read; TextError, ImageError,
    LibraryNotFoundError.
    """
    return find(library, Asked(text, kind=kind), Page(k, offset, sort))


def find(library: Searched, asked: Asked, page: Page) -> list[Hit]:
    """`search` for what may also be a picture, or texts that should not be there. Raises what it raises."""
    query = Query() if asked.text is None else parse(asked.text)
    if query == Query() and asked.text is not None:
        library.matcher.embed_texts([asked.text])  # raises what is wrong with an empty text
    kind = library._kind(_one_kind(query, asked.kind))
    conditions = _conditions(query)
    if not query.words and asked.image is None and not any(term.weight > 0 for term in query.terms):
        _check_filters_alone(query, asked)
        return _listed(library, fitting(library._existing(), kind, conditions), page)
    allowed = fitting(library._existing(), kind, conditions) if conditions else None
    mixed = mix(_terms(library, query, asked), library.matrix(kind).covariance)
    hits = library._hits(mixed[None], page.offset + page.k, kind, allowed)[0][page.offset :]
    if page.sort == "score":
        return hits
    by_id = {hit.id: hit for hit in hits}
    return [by_id[number] for number in arranged(library._existing(), list(by_id), page.sort)]


def _one_kind(query: Query, kind: Modality | None) -> Modality | None:
    if None not in (query.kind, kind) and query.kind != kind:
        raise QueryError(f"the query is for kind:{query.kind}, the search for {kind!r}", "Ask for one")
    return query.kind or kind


def _check_filters_alone(query: Query, asked: Asked) -> None:
    if asked.without is not None or query.terms:
        problem = "the search asks for nothing but what should not be there"
        raise QueryError(problem, "Give a text, a picture, or both")
    if not query.filters:
        raise QueryError("the search asks for nothing", "Give a text, a picture, or a filter")


def _conditions(query: Query) -> list[tuple[Condition, bool]]:
    """Each filter but of what kind, with whether it is negated."""
    return [(f.condition, f.negated) for f in query.filters if not isinstance(f.condition, Kind)]


def _listed(library: Searched, ids: Int64, page: Page) -> list[Hit]:
    """A page of what filters let through, without scores."""
    catalog = library._existing()
    ordered = arranged(catalog, ids.tolist(), "date" if page.sort == "score" else page.sort)
    rows = catalog.items(ordered[page.offset : page.offset + page.k])
    return [row.hit(float("nan")) for row in rows]


def _terms(library: Searched, query: Query, asked: Asked) -> list[Term]:
    phrases = [Phrase(query.words)] if query.words else []
    phrases += [term for term in query.terms if isinstance(term, Phrase)]
    vectors = library.matcher.embed_texts([phrase.text for phrase in phrases]) if phrases else ()
    terms = [Term(vector, phrase.weight) for vector, phrase in zip(vectors, phrases, strict=True)]
    pictures = [term for term in query.terms if isinstance(term, Picture)]
    terms += [Term(_picture(library, term, files=asked.files), term.weight) for term in pictures]
    if asked.image is not None:
        terms.append(Term(library.matcher.embed_images([asked.image])[0], 1.0))
    if asked.without is not None:
        terms += [Term(vector, WITHOUT_WEIGHT) for vector in library.matcher.embed_texts(asked.without)]
    return terms


def _picture(library: Searched, picture: Picture, *, files: bool) -> Float32:
    if isinstance(picture.source, int):
        return vector_of(library._existing(), picture.source, library.matcher.spec.identity)
    if not files:
        problem = f"~{picture.source} is a file, and files are not opened here"
        raise QueryError(problem, "Name an item by its number, as ~#12")
    path = picture.source
    at_home = os.path.expanduser(f"~{path}")
    if path.startswith("/") and not os.path.lexists(path) and os.path.lexists(at_home):
        path = at_home  # "~/dog.jpg" was meant as a shell reads it
    vector: Float32 = library.matcher.embed_images([path])[0]
    return vector
