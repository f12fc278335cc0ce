"""A search request → `Asked` and `Page`: pictures and item numbers become vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crosslens.errors import QueryError, QuerySyntaxError
from crosslens.library.query_search import Asked
from crosslens.library.search_view import View
from crosslens.search.filter_conditions import Relevant
from crosslens.search.query_language import Filter, Phrase, Picture, Query, parse
from crosslens.search.query_mixing import Term
from crosslens.serve.contract import requests
from crosslens.serve.error_responses import Problem, invalid
from crosslens.serve.libraries.library_handle import Book
from crosslens.serve.service import Service
from crosslens.store.filter_sql import vector_of
from crosslens.types import Float32


@dataclass(frozen=True, slots=True)
class Question:
    """What is searched, and for what. names: of the terms in `asked.more`; shown: the query as it is read."""

    chosen: Sequence[tuple[Book, View]]
    asked: Asked
    names: tuple[str, ...]
    shown: str

    @property
    def views(self) -> list[View]:
        """The libraries that are searched."""
        return [view for _, view in self.chosen]

    def book(self, folder: str | None) -> Book:
        """The library of a result, by what the result says."""
        return next(book for book, _ in self.chosen if folder in (None, str(book.folder)))


def question(
    service: Service, sent: requests.Search, files: Mapping[str, bytes], *, whole_paths: bool
) -> Question:
    """Read a search. Raises Problem, QueryError, TextError, ImageError."""
    limit = service.config.limits.k
    if sent.k > limit:
        raise invalid(f"k is {sent.k}", f"At most {limit} results are given; take more with offset")
    query = parse(sent.query)
    service.check_texts([part.text for part in sent.parts if part.text is not None])
    texts = [Phrase(part.text, part.weight, quoted=False) for part in sent.parts if part.text is not None]
    if texts and not query.words and texts[0].weight == 1:  # words are one of weight 1
        query, texts = replace(query, words=texts[0].text), texts[1:]
    if sent.relevant and not query.relevant:
        query = replace(query, filters=(*query.filters, Filter(Relevant())))
    items = [Picture(part.item, part.weight) for part in sent.parts if part.item is not None]
    shown = replace(query, terms=(*query.terms, *texts, *items))
    chosen = service.shelf.chosen(sent.libraries)
    pictures = [term for term in query.terms if isinstance(term, Picture)]
    terms = [_item_term(service, chosen, picture, sent.query) for picture in pictures]
    terms += [_item_term(service, chosen, picture, None) for picture in items]
    names = [f"~{picture.source}" for picture in (*pictures, *items)]
    images = [part for part in sent.parts if part.image is not None]
    terms += _image_terms(service, images, files)
    names += [_name(part, number) for number, part in enumerate(images, 1)]
    phrases = tuple(term for term in query.terms if isinstance(term, Phrase))
    read = Query(query.words, (*phrases, *texts), query.filters)
    asked = Asked(read, kind=sent.kind, files=False, more=tuple(terms), whole_paths=whole_paths)
    return Question(chosen, asked, tuple(names), str(shown))


def _item_term(
    service: Service, chosen: Sequence[tuple[Book, View]], picture: Picture, line: str | None
) -> Term:
    """An item as a term. line: the query that it stands in, if it does."""
    vector: Float32
    try:
        if isinstance(picture.source, int):
            if len(chosen) != 1:
                said = f"~#{picture.source} is an item of one library, and {len(chosen)} are searched"
                raise QueryError(said, "Name its library: ~photos:12")
            book, number = chosen[0][0], picture.source
        else:
            book, number = service.shelf.item(picture.source)
        book.row(number)
        vector = vector_of(book.existing(), number, service.engine.spec.identity)
    except Problem as problem:
        if line is None:
            raise
        raise QuerySyntaxError(line, picture.at, problem.detail or problem.title, problem.remedy) from problem
    return Term(vector, picture.weight)


def _image_terms(service: Service, parts: Sequence[requests.Part], files: Mapping[str, bytes]) -> list[Term]:
    if not parts:
        return []
    given = service.pictures([part.image for part in parts if part.image is not None], files)
    vectors = service.engine.embed_images(given)
    return [Term(np.asarray(vector), part.weight) for vector, part in zip(vectors, parts, strict=True)]


def _name(part: requests.Part, number: int) -> str:
    if isinstance(part.image, requests.ItemPicture):
        return f"~{part.image.item}"
    return part.image.file if isinstance(part.image, requests.Upload) else f"picture {number}"
