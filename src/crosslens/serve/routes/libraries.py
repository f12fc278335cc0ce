"""Endpoints of libraries: list, create, upload, index folders, tags, duplicates, map."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi import Path as InPath
from starlette.requests import Request
from starlette.responses import JSONResponse

from crosslens.images.folder_walk import has_image_name
from crosslens.maintenance.duplicate_finder import Cluster, find_duplicates
from crosslens.serve.contract import requests, responses
from crosslens.serve.contract.multipart_forms import Sent, sent
from crosslens.serve.contract.openapi import BYTES, LibraryName, json_answer, json_body, raw_body, told
from crosslens.serve.error_responses import Problem, invalid
from crosslens.serve.ingest.archives import check_archive, is_archive
from crosslens.serve.ingest.ingest import Intake, allowed_folder, put
from crosslens.serve.ingest.jobs import Kind
from crosslens.serve.ingest.uploads import FormReader, Incoming, accept_folder, safe_name
from crosslens.serve.libraries.item_json import one_presented, presented
from crosslens.serve.libraries.library_handle import Book
from crosslens.serve.libraries.pca_projection import Plane, plane_of
from crosslens.serve.service import Service, service_of
from crosslens.store.fulltext import tag_counts
from crosslens.store.item_details import Listing, listed

router = APIRouter(prefix="/v1/libraries", tags=["libraries"])
_MOST_LISTED = 1000
# SQLite counts no further.
_LAST = (1 << 63) - 1
Limit = Annotated[int, Query(ge=1, le=_MOST_LISTED)]
_OFFSET = Query(ge=0, le=_LAST, description="After how many")
_SIMILAR = Query(gt=0, le=1, description="A cosine, from which on others count as similar")
_FILE = InPath(description="A name for a picture: red.png")
_FILES = raw_body(
    {
        "multipart/form-data": {
            "type": "object",
            "properties": {"file": {"type": "array", "items": BYTES, "minItems": 1}},
            "required": ["file"],
        }
    },
    "Pictures and .zip archives, each a file with its name; what their fields are called does not matter",
)
_PICTURE = raw_body(
    dict.fromkeys(("image/jpeg", "image/png", "image/webp", "application/octet-stream"), BYTES), "A picture"
)
_PUT = {200: json_answer(responses.Item, "Replaced"), 201: json_answer(responses.Item, "New")}
# What comes in small pieces is written down in larger ones.
_BLOCK = 1 << 20


@router.get("", **told("list_libraries", "read", responses.LibraryList))
async def libraries(request: Request) -> JSONResponse:
    """All libraries."""
    service = service_of(request)
    return await service.run(
        lambda: JSONResponse({"libraries": [_listed(book) for book in service.shelf.books()]})
    )


@router.post(
    "",
    **told(
        "create_library", "admin", responses.LibraryFacts, status=201, takes=json_body(requests.NewLibrary)
    ),
)
async def create(
    request: Request,
    body: Sent[requests.NewLibrary] = Depends(sent(requests.NewLibrary)),  # noqa: B008
) -> JSONResponse:
    """Make a library, empty."""
    service = service_of(request)
    return await service.run(lambda: JSONResponse(_listed(service.shelf.create(body.asked.name)), 201))


@router.get("/{name}", **told("get_library", "read", responses.LibraryDetails))
async def library(request: Request, name: LibraryName) -> JSONResponse:
    """Facts about a library."""
    service = service_of(request)
    book, whole_paths = service.shelf.book(name), service.sees_paths(request)
    return await service.run(lambda: JSONResponse(_facts(book, whole_paths=whole_paths)))


@router.get("/{name}/items", **told("list_items", "read", responses.ItemPage))
async def items(
    request: Request,
    name: LibraryName,
    offset: Annotated[int, _OFFSET] = 0,
    limit: Limit = 100,
    sort: Listing = "path",
) -> JSONResponse:
    """A page of a library's items."""
    service = service_of(request)
    book, whole_paths = service.shelf.book(name), service.sees_paths(request)

    def work() -> JSONResponse:
        if book.catalog is None:
            return JSONResponse({"items": [], "total": 0})
        catalog = book.beside()
        rows = catalog.items(listed(catalog, sort, limit, offset))
        found = [(book, row.hit(float("nan"))) for row in rows]
        stats = book.stats()
        total = stats.items if stats else 0
        return JSONResponse({"items": presented(found, whole_paths=whole_paths), "total": total})

    return await service.run(work)


@router.post(
    "/{name}/items", **told("upload_items", "write", responses.AcceptedJob, status=202, takes=_FILES)
)
async def upload(request: Request, name: LibraryName) -> JSONResponse:
    """Put pictures, or archives of them, into a library. A job takes them in."""
    service = service_of(request)
    book, limits = service.shelf.book(name), service.config.limits
    service.jobs.check_room(book.name)
    await service.run(book.check_model)
    incoming = await service.run(partial(Incoming, book.files, limits))
    try:
        form = FormReader(request.headers.get("content-type", ""), incoming)
        async for block in _blocks(request):
            await service.run(partial(form.feed, block))
        form.finish()

        def accept() -> JSONResponse:
            for one in incoming.arrived:
                if is_archive(one.name):
                    check_archive(incoming.folder / one.file, one.name, limits)
            service.jobs.check_room(book.name)
            return _accepted(service, book, "upload", incoming.accept())

        return await service.run(accept)
    finally:
        incoming.close()


@router.put("/{name}/items/{file}", **told("put_item", "write", _PUT, takes=_PICTURE))
async def put_item(request: Request, name: LibraryName, file: Annotated[str, _FILE]) -> JSONResponse:
    """Put one picture into a library, in place of what had its name; the body is the picture."""
    service = service_of(request)
    book, whole_paths = service.shelf.book(name), service.sees_paths(request)
    if safe_name(file) != file or not has_image_name(file):
        raise invalid(
            f"{file[:100]!r} is no name for a picture", f"Wanted, for example: {safe_name('red.png')}"
        )
    await service.run(book.check_model)
    incoming = await service.run(partial(Incoming, book.files, service.config.limits))
    try:
        await service.run(partial(incoming.begin, file))
        async for block in _blocks(request):
            await service.run(partial(incoming.write, block))

        def work() -> JSONResponse:
            if incoming.end().size == 0:
                raise invalid("the body is empty", "Send the picture as the body")
            number, new = put(book, incoming, file)
            hit = one_presented(book, number, whole_paths=whole_paths)
            return JSONResponse(hit, 201 if new else 200)

        return await service.run(work)
    finally:
        incoming.close()


@router.post(
    "/{name}/folders",
    **told("add_folder", "admin", responses.AcceptedJob, status=202, takes=json_body(requests.Folder)),
)
async def add_folder(
    request: Request,
    name: LibraryName,
    body: Sent[requests.Folder] = Depends(sent(requests.Folder)),  # noqa: B008
) -> JSONResponse:
    """Index a folder of this service's machine, below one of those that the operator allows."""
    service = service_of(request)
    book = service.shelf.book(name)

    def work() -> JSONResponse:
        folder = allowed_folder(body.asked.path, service.config.folders)
        book.check_model()
        service.jobs.check_room(book.name)
        return _accepted(service, book, "folder", accept_folder(book.files, folder))

    return await service.run(work)


@router.get("/{name}/tags", **told("list_tags", "read", responses.TagCounts))
async def tags(request: Request, name: LibraryName) -> JSONResponse:
    """The tags of a library, and how many items have each."""
    service = service_of(request)
    book = service.shelf.book(name)

    def work() -> JSONResponse:
        counts = {} if book.catalog is None else tag_counts(book.beside())
        return JSONResponse({"tags": [{"tag": tag, "items": count} for tag, count in counts.items()]})

    return await service.run(work)


@router.get("/{name}/duplicates", **told("find_duplicates", "read", responses.Duplicates))
async def duplicates(
    request: Request,
    name: LibraryName,
    similar: Annotated[float | None, _SIMILAR] = None,
    limit: Limit = 100,
) -> JSONResponse:
    """Pictures that are the same, or nearly so, those first that would free most."""
    service = service_of(request)
    book, whole_paths = service.shelf.book(name), service.sees_paths(request)

    def work() -> JSONResponse:
        def find() -> list[Cluster]:
            return find_duplicates(book.aside, similar)

        clusters = [] if book.view() is None else book.remembered(("duplicates", similar), find)
        shown = [
            {
                "kind": cluster.kind,
                "reason": cluster.reason,
                "freed": cluster.freed,
                "items": presented([(book, item) for item in cluster.items], whole_paths=whole_paths),
            }
            for cluster in clusters[:limit]
        ]
        return JSONResponse({"clusters": shown, "total": len(clusters)})

    return await service.run(work, service.slow)


@router.get("/{name}/map", **told("get_map", "read", responses.LibraryMap))
async def map_(request: Request, name: LibraryName) -> JSONResponse:
    """Every item as a point: what is alike lies together."""
    service = service_of(request)
    book = service.shelf.book(name)

    def work() -> JSONResponse:
        view = book.view()
        plane = None if view is None else book.remembered(("map",), lambda: plane_of(view))
        plane = plane or Plane((), (), 0)
        named = [f"{book.name}:{number}" for number in plane.items]
        return JSONResponse({"points": plane.points, "items": named, "total": plane.total})

    return await service.run(work, service.slow)


async def _blocks(request: Request) -> AsyncIterator[bytes]:
    """The body, in larger pieces than it comes in."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size >= _BLOCK:
            yield b"".join(parts)
            parts, size = [], 0
    if parts:
        yield b"".join(parts)


def _accepted(service: Service, book: Book, kind: Kind, folder: Path) -> JSONResponse:
    try:
        job = service.jobs.submit(book.name, kind, Intake(book, folder, service.config).task)
    except Problem:  # the line has filled up since: what is refused is not kept
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return JSONResponse({"job": job.document()}, 202)


def _listed(book: Book) -> dict[str, Any]:
    stats = book.stats()
    return {
        "name": book.name,
        "items": stats.items if stats else 0,
        "texts": stats.texts if stats else 0,
        "offline": stats.offline if stats else 0,
        "model": stats.model if stats else None,
        "generation": stats.generation if stats else 0,
        "size": stats.size if stats else 0,
        "writable": book.is_writable,
        "roots": len(stats.roots) if stats else 0,
    }


def _facts(book: Book, *, whole_paths: bool) -> dict[str, Any]:
    stats = book.stats()
    folders = []
    for path in stats.roots if stats and stats.roots else ():
        told = {"path": path} if whole_paths else {}
        folders.append({"name": os.path.basename(path), "online": path not in stats.missing, **told})  # type: ignore[union-attr]
    return {
        **_listed(book),
        "dimension": stats.dimension if stats else None,
        "contents": stats.contents if stats else 0,
        "folders": folders,
        "approximate": asdict(stats.approximate) if stats and stats.approximate else None,
    }
