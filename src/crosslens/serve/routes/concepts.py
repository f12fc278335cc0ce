"""Endpoints of concepts: teach, list, apply as a tag, forget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi import Path as InPath
from starlette.requests import Request
from starlette.responses import JSONResponse

from crosslens.library.search_view import View
from crosslens.search.linear_head import Rate
from crosslens.serve.contract import concept_responses, requests
from crosslens.serve.contract.multipart_forms import Sent, sent
from crosslens.serve.contract.openapi import LibraryName, json_body, told
from crosslens.serve.error_responses import Problem, invalid
from crosslens.serve.libraries.item_json import presented
from crosslens.serve.libraries.library_handle import Book
from crosslens.serve.service import Service, service_of
from crosslens.store.concept_rows import clean_name, concept_row, marked
from crosslens.teach import concepts
from crosslens.teach.concepts import Concept
from crosslens.teach.head_training import Marks

router = APIRouter(prefix="/v1/libraries/{name}/concepts", tags=["concepts"])
ConceptName = Annotated[str, InPath(description="Of a concept, in any case")]
Limit = Annotated[int, Query(ge=1, le=1000)]
TagName = Annotated[str | None, Query(description="Another tag than the concept's name")]


@router.get("", **told("list_concepts", "read", concept_responses.ConceptList))
async def list_concepts(request: Request, name: LibraryName) -> JSONResponse:
    """The concepts that a library was taught."""
    service = service_of(request)
    book = service.shelf.book(name)

    def work() -> JSONResponse:
        view = book.view()
        known = [] if view is None else concepts.listed(book.existing(), view)
        return JSONResponse({"concepts": [_fields(book, one) for one in known]})

    return await service.run(work)


@router.get("/{concept}", **told("get_concept", "read", concept_responses.ConceptDetails))
async def get_concept(request: Request, name: LibraryName, concept: ConceptName) -> JSONResponse:
    """What is known of a concept, and what was marked."""
    service = service_of(request)
    book = service.shelf.book(name)
    return await service.run(lambda: JSONResponse(_details(book, _viewed(book, concept), concept)))


@router.post(
    "/{concept}",
    **told("teach_concept", "write", concept_responses.ConceptDetails, takes=json_body(requests.Lesson)),
)
async def teach(
    request: Request,
    name: LibraryName,
    concept: ConceptName,
    body: Sent[requests.Lesson] = Depends(sent(requests.Lesson)),  # noqa: B008
) -> JSONResponse:
    """Teach a concept by marks, which join those of before. No model runs."""
    service = service_of(request)
    book, asked = service.shelf.book(name), body.asked

    def work() -> JSONResponse:
        yes, no, unmark = (_ids(service, book, items) for items in (asked.yes, asked.no, asked.unmark))
        marks = Marks(yes, no, unmark, asked.threshold)
        view = _view(book)
        with book.writing() as (catalog, _):
            concepts.teach_in(catalog, view, concept, marks)
        return JSONResponse(_details(book, view, concept))

    return await service.run(work, service.slow)


@router.delete("/{concept}", **told("forget_concept", "write", concept_responses.ConceptForgotten))
async def forget(request: Request, name: LibraryName, concept: ConceptName) -> JSONResponse:
    """Delete a concept and its marks. Tags that it gave stay."""
    service = service_of(request)
    book = service.shelf.book(name)

    def work() -> JSONResponse:
        _viewed(book, concept)
        with book.writing() as (catalog, _):
            concepts.forget_in(catalog, concept)
        return JSONResponse({"forgotten": concept})

    return await service.run(work)


@router.get("/{concept}/suggestions", **told("suggest_marks", "read", concept_responses.ConceptSuggestions))
async def suggestions(
    request: Request, name: LibraryName, concept: ConceptName, limit: Limit = 12
) -> JSONResponse:
    """What to mark next."""
    service = service_of(request)
    book, whole_paths = service.shelf.book(name), service.sees_paths(request)

    def work() -> JSONResponse:
        found = concepts.suggest_in(_viewed(book, concept), concept, limit)
        scores = {one.hit.id: one.score for one in found}
        items = presented([(book, one.hit) for one in found], whole_paths=whole_paths)
        told_ = [{"item": item, "score": scores[item["id"]]} for item in items]
        return JSONResponse({"suggestions": told_})

    return await service.run(work, service.slow)


@router.get("/{concept}/tag", **told("preview_concept_tag", "read", concept_responses.ConceptTag))
async def preview_tag(
    request: Request, name: LibraryName, concept: ConceptName, tag: TagName = None
) -> JSONResponse:
    """What giving the tag would change. Nothing is changed."""
    service = service_of(request)
    book = service.shelf.book(name)

    def work() -> JSONResponse:
        plan = concepts.plan_in(book.existing(), _viewed(book, concept), concept, tag)
        return JSONResponse({**asdict(plan), "given": False})

    return await service.run(work)


@router.post(
    "/{concept}/tag",
    **told("give_concept_tag", "write", concept_responses.ConceptTag, takes=json_body(requests.GiveTag)),
)
async def give_tag(
    request: Request,
    name: LibraryName,
    concept: ConceptName,
    body: Sent[requests.GiveTag] = Depends(sent(requests.GiveTag)),  # noqa: B008
) -> JSONResponse:
    """Tag what a concept holds for now."""
    service = service_of(request)
    book = service.shelf.book(name)

    def work() -> JSONResponse:
        view = _viewed(book, concept)
        with book.writing() as (catalog, _):
            plan = concepts.give_in(catalog, view, concept, body.asked.tag)
        return JSONResponse({**asdict(plan), "given": True})

    return await service.run(work)


def _view(book: Book) -> View:
    view = book.refresh()
    if view is None:
        raise invalid(f"the library {book.name!r} is empty", "Put something into it first")
    return view


def _viewed(book: Book, concept: str) -> View:
    """What a library with this concept is searched with. Raises Problem where it has none."""
    name = clean_name(concept)
    view = book.view()
    if view is None or concept_row(book.existing(), name) is None:
        said = f"the library {book.name!r} knows no {name!r}"
        raise Problem(404, "concept_not_found", "There is no such concept", said, "Teach it by examples")
    return view


def _ids(service: Service, book: Book, items: Sequence[str]) -> list[int]:
    """Numbers of items, which must be the library's. Raises Problem."""
    numbers = []
    for text in items:
        other, number = service.shelf.item(text)
        if other is not book:
            raise invalid(f"{text} is no item of {book.name!r}", "Mark items of the library that is taught")
        book.row(number)
        numbers.append(number)
    return numbers


def _fields(book: Book, concept: Concept) -> dict[str, Any]:
    return {
        **{name: getattr(concept, name) for name in concept.__slots__},
        "library": book.name,
        "missed": _rate(concept.missed),
        "false_alarms": _rate(concept.false_alarms),
        "tags": [{"tag": tag, "items": count} for tag, count in concept.tags.items()],
    }


def _details(book: Book, view: View, concept: str) -> dict[str, Any]:
    catalog = book.existing()
    named: Callable[[Any], list[str]] = lambda ids: [f"{book.name}:{number}" for number in ids.tolist()]  # noqa: E731
    yes, no = map(named, marked(catalog, concept))
    known = _fields(book, concepts.concept_in(catalog, view, concept))
    return {**known, "marked_yes": yes, "marked_no": no}


def _rate(rate: Rate | None) -> dict[str, Any] | None:
    if rate is None:
        return None
    return {"wrong": rate.wrong, "of": rate.of, "rate": rate.value, "low": rate.low, "high": rate.high}
