"""Libraries: which there are, what is in them, and what is put into them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import asdict
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import JSONResponse

from crosslens.duplicates import find_duplicates
from crosslens.read import has_image_name
from crosslens.serve import schemas
from crosslens.serve.book import Book
from crosslens.serve.guard import scope
from crosslens.serve.hits import presented
from crosslens.serve.intake import Intake, check_archive, is_archive, put
from crosslens.serve.jobs import Task
from crosslens.serve.plane import Plane, plane_of
from crosslens.serve.problems import Problem, invalid
from crosslens.serve.service import Service, service_of
from crosslens.serve.uploads import FormReader, Incoming, accept_folder, safe_name
from crosslens.store.details import Listing, listed
from crosslens.store.words import tag_counts

READ, WRITE, ADMIN = (Depends(scope(wanted)) for wanted in ("read", "write", "admin"))
router = APIRouter(prefix="/v1/libraries")
_MOST_LISTED = 1000
# What comes in small pieces is written down in larger ones.
_BLOCK = 1 << 20


@router.get("", dependencies=[READ])
async def libraries(request: Request) -> JSONResponse:
    """All libraries."""
    service = service_of(request)
    return await service.run(
        lambda: JSONResponse({"libraries": [_listed(book) for book in service.shelf.books()]})
    )


@router.post("", dependencies=[ADMIN])
async def create(request: Request, body: schemas.NewLibrary) -> JSONResponse:
    """Make a library, empty."""
    service = service_of(request)
    return await service.run(lambda: JSONResponse(_listed(service.shelf.create(body.name)), 201))


@router.get("/{name}", dependencies=[READ])
async def library(request: Request, name: str) -> JSONResponse:
    """Facts about a library."""
    service = service_of(request)
    book, whole_paths = service.shelf.book(name), service.sees_paths(request)
    return await service.run(lambda: JSONResponse(_facts(book, whole_paths=whole_paths)))


@router.get("/{name}/items", dependencies=[READ])
async def items(
    request: Request, name: str, offset: int = 0, limit: int = 100, sort: Listing = "path"
) -> JSONResponse:
    """A page of a library's items."""
    service = service_of(request)
    book, whole_paths = service.shelf.book(name), service.sees_paths(request)
    if not (offset >= 0 and 1 <= limit <= _MOST_LISTED):
        raise invalid(f"offset is {offset}, limit {limit}", f"Wanted 0 and more, and 1..{_MOST_LISTED}")

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


@router.post("/{name}/items", dependencies=[WRITE])
async def upload(request: Request, name: str) -> JSONResponse:
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
            task = Intake(book, incoming.accept(), limits).task
            return _accepted(service, book, "upload", task)

        return await service.run(accept)
    finally:
        incoming.close()


@router.put("/{name}/items/{file}", dependencies=[WRITE])
async def put_item(request: Request, name: str, file: str) -> JSONResponse:
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
            [hit] = presented([(book, book.row(number).hit(float("nan")))], whole_paths=whole_paths)
            return JSONResponse(hit, 201 if new else 200)

        return await service.run(work)
    finally:
        incoming.close()


@router.post("/{name}/folders", dependencies=[ADMIN])
async def add_folder(request: Request, name: str, body: schemas.Folder) -> JSONResponse:
    """Index a folder of this service's machine, below one of those that the operator allows."""
    service = service_of(request)
    book = service.shelf.book(name)

    def work() -> JSONResponse:
        folder = allowed_folder(body.path, service)
        book.check_model()
        service.jobs.check_room(book.name)
        task = Intake(book, accept_folder(book.files, folder), service.config.limits).task
        return _accepted(service, book, "folder", task)

    return await service.run(work)


@router.get("/{name}/tags", dependencies=[READ])
async def tags(request: Request, name: str) -> JSONResponse:
    """The tags of a library, and how many items have each."""
    service = service_of(request)
    book = service.shelf.book(name)

    def work() -> JSONResponse:
        counts = {} if book.catalog is None else tag_counts(book.beside())
        return JSONResponse({"tags": [{"tag": tag, "items": count} for tag, count in counts.items()]})

    return await service.run(work)


@router.get("/{name}/duplicates", dependencies=[READ])
async def duplicates(
    request: Request, name: str, similar: float | None = None, limit: int = 100
) -> JSONResponse:
    """Pictures that are the same, or nearly so, those first that would free most."""
    service = service_of(request)
    book, whole_paths = service.shelf.book(name), service.sees_paths(request)
    if not 1 <= limit <= _MOST_LISTED:
        raise invalid(f"limit is {limit}", f"Wanted 1..{_MOST_LISTED}")

    def work() -> JSONResponse:
        find = partial(find_duplicates, book.aside, similar)
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


@router.get("/{name}/map", dependencies=[READ])
async def map_(request: Request, name: str) -> JSONResponse:
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


def allowed_folder(path: str, service: Service) -> str:
    """A folder of this machine with every link on the way resolved. Raises Problem."""
    real = os.path.realpath(os.path.expanduser(path)) if "\0" not in path else ""
    for allowed in service.config.folders:
        above = os.path.realpath(allowed)
        if real == above or real.startswith(above.rstrip(os.sep) + os.sep):
            if not os.path.isdir(real):
                raise invalid("there is no such folder", "Name a folder of pictures")
            return real
    remedy = "The operator can allow it: crosslens serve --folder DIR"
    raise Problem(403, "folder_not_allowed", "The folder is not among those allowed", "", remedy)


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


def _accepted(service: Service, book: Book, kind: Any, task: Task) -> JSONResponse:
    return JSONResponse({"job": service.jobs.submit(book.name, kind, task).document()}, 202)


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
