"""Endpoints of search: search, explain, complete."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import JSONResponse

from crosslens.errors import ImageError
from crosslens.library.grouping import Group, Grouping, find_groups
from crosslens.library.query_search import Page, find
from crosslens.library.result_relevance import showable
from crosslens.search.relevance_calibration import RELEVANT
from crosslens.serve.contract import requests, responses
from crosslens.serve.contract.multipart_forms import Sent, sent
from crosslens.serve.contract.openapi import json_body, told
from crosslens.serve.error_responses import Problem, invalid
from crosslens.serve.inference.explanations import Heat, explain, heat_of
from crosslens.serve.libraries.item_json import presented
from crosslens.serve.libraries.search_request import Question, question
from crosslens.serve.service import Service, service_of
from crosslens.types import Float32, Hit

router = APIRouter(prefix="/v1", tags=["search"])
_LONGEST_QUERY = 10_000
_TYPED = Query(max_length=_LONGEST_QUERY, description="What is typed so far")
_CURSOR = Query(description="After how many characters the cursor is; else at the end")


@router.post(
    "/search", **told("search", "read", responses.SearchResult, takes=json_body(requests.Search, files=True))
)
async def search(
    request: Request,
    body: Sent[requests.Search] = Depends(sent(requests.Search, files=True)),  # noqa: B008
) -> JSONResponse:
    """What is nearest to words, pictures and items, best first."""
    service = service_of(request)
    return await service.run(partial(_search, service, body, whole_paths=service.sees_paths(request)))


@router.post(
    "/explain",
    **told("explain", "read", responses.Explanation, takes=json_body(requests.Explain, files=True)),
)
async def explain_(
    request: Request,
    body: Sent[requests.Explain] = Depends(sent(requests.Explain, files=True)),  # noqa: B008
) -> JSONResponse:
    """What each term of a search has in the score of an item, and where in the picture the score lies."""
    service = service_of(request)
    return await service.run(partial(_explain, service, body, whole_paths=service.sees_paths(request)))


@router.get("/complete", **told("complete", "read", responses.Completions))
async def complete(
    request: Request, text: Annotated[str, _TYPED] = "", at: Annotated[int | None, _CURSOR] = None
) -> JSONResponse:
    """What may stand in a query where it is typed."""
    service = service_of(request)
    cursor = len(text) if at is None else max(0, min(at, len(text)))

    def work() -> JSONResponse:
        books = [book for book, _ in service.shelf.chosen(None)]
        begin, found = service.completer.complete(text, cursor, books)
        suggestions = [{"text": one.text, "kind": one.kind} for one in found]
        return JSONResponse({"from": begin, "to": cursor, "suggestions": suggestions})

    return await service.run(work)


def _search(service: Service, body: Sent[requests.Search], *, whole_paths: bool) -> JSONResponse:
    began = time.perf_counter()
    sent_, answer = body.asked, {}
    asked = question(service, sent_, body.files, whole_paths=whole_paths)
    hits: list[Hit] = []
    if sent_.group is not None:
        if sent_.offset:
            raise invalid("groups have no offset", "Ask for more groups with k")
        how = Grouping(sent_.group.by, sent_.group.each)
        groups = find_groups(asked.views, asked.asked, how, sent_.k, sent_.sort) if asked.chosen else []
        answer["groups"] = [_group(asked, group, sent_.group.by, whole_paths=whole_paths) for group in groups]
    elif asked.chosen:
        hits = find(asked.views, asked.asked, Page(sent_.k, sent_.offset, sent_.sort))
    return JSONResponse(
        {
            "query": asked.shown,
            "hits": _presented(asked, hits, whole_paths=whole_paths),
            "relevance_ends": _relevance_ends(hits) if sent_.sort == "score" else None,
            **answer,
            "took_ms": round(1000 * (time.perf_counter() - began), 2),
        }
    )


def _presented(asked: Question, hits: Sequence[Hit], *, whole_paths: bool) -> list[dict[str, Any]]:
    spec = asked.views[0].matcher.spec if asked.views else None
    shown = hits if spec is None else showable(hits, spec)
    return presented([(asked.book(hit.library), hit) for hit in shown], whole_paths=whole_paths)


def _group(asked: Question, group: Group, by: str, *, whole_paths: bool) -> dict[str, Any]:
    hits = _presented(asked, group.hits, whole_paths=whole_paths)
    key = os.path.dirname(hits[0]["path"]) if by == "folder" and hits else group.key
    return {"key": key, "hits": hits, "more": group.more}


def _relevance_ends(hits: Sequence[Hit]) -> int | None:
    """How many results, from the first, are probably meant; None where that is not known."""
    if not hits or hits[0].relevance is None:
        return None
    return sum((hit.relevance or 0) >= RELEVANT for hit in hits)


def _explain(service: Service, body: Sent[requests.Explain], *, whole_paths: bool) -> JSONResponse:
    asked = question(service, body.asked, body.files, whole_paths=whole_paths)
    book, number = service.shelf.item(body.asked.item)
    row, view = book.row(number), book.view()
    assert view is not None  # noqa: S101 (it holds the item)
    explained = explain(asked.views or [view], asked.asked, asked.names, (view, number))
    heat = None
    if body.asked.heat and row.text is None:
        heat = _heat(service, body.asked.item, explained.query)
    return JSONResponse(explained.document(heat))


def _heat(service: Service, item: str, query: Float32) -> Heat | None:
    """Where it is; None where the file cannot be read now."""
    try:
        return heat_of(service.engine, service.item_picture(requests.ItemPicture(item=item)), item, query)
    except (Problem, ImageError, OSError):
        return None
