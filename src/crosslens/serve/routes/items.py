"""Single items: what is known of one, its picture, its tags."""

from __future__ import annotations

import mimetypes
import os
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from crosslens.serve import schemas
from crosslens.serve.guard import scope
from crosslens.serve.hits import presented, version_of
from crosslens.serve.service import Service, service_of
from crosslens.serve.thumbnails import DEFAULT, file_of, rounded
from crosslens.store.words import tag, tags_of, untag

READ, WRITE = (Depends(scope(wanted)) for wanted in ("read", "write"))
router = APIRouter(prefix="/v1/items")
# What a browser shows as a picture, and runs nothing of.
_SHOWN = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/avif", "image/bmp")
_FOR_GOOD = "private, max-age=31536000, immutable"
_ASK_AGAIN = "private, no-cache"
_KNOWN_TYPES = {".webp": "image/webp", ".avif": "image/avif", ".heic": "image/heic", ".heif": "image/heif"}


@router.get("/{item}", dependencies=[READ])
async def item_(request: Request, item: str) -> JSONResponse:
    """What is known of an item."""
    service = service_of(request)
    whole_paths = service.sees_paths(request)

    def work() -> JSONResponse:
        book, number = service.shelf.item(item)
        [hit] = presented([(book, book.row(number).hit(float("nan")))], whole_paths=whole_paths)
        return JSONResponse(hit)

    return await service.run(work)


@router.delete("/{item}", dependencies=[WRITE])
async def remove(request: Request, item: str) -> JSONResponse:
    """Forget an item; a file that a client sent is deleted with it."""
    service = service_of(request)
    return await service.run(lambda: JSONResponse(_removed(service, item)))


@router.get("/{item}/thumbnail", dependencies=[READ])
async def thumbnail(request: Request, item: str, size: int = DEFAULT, v: str = "") -> Response:
    """A small picture, WebP. With the item's version as `v`, it may be kept for good."""
    service = service_of(request)
    side = rounded(size)

    def work() -> Response:
        book, number = service.shelf.item(item)
        file = file_of(book, number)
        version = version_of(file.hash)
        tagged = f'"{version}-{side}"'
        headers = {"ETag": tagged, "Cache-Control": _FOR_GOOD if v == version else _ASK_AGAIN}
        if request.headers.get("if-none-match") == tagged:
            return Response(status_code=304, headers=headers)
        data = service.thumbnails.make(file, side, service.config.pictures)
        return Response(data, headers=headers, media_type="image/webp")

    return await service.run(work, service.decoding)


@router.get("/{item}/original", dependencies=[READ])
async def original(request: Request, item: str, inline: bool = False) -> Response:
    """The file of an item, whole or in part (Range), as it was indexed."""
    service = service_of(request)

    def work() -> Response:
        file = file_of(*service.shelf.item(item))
        kind = _media_type(file.name)
        shown = inline and kind in _SHOWN
        headers = {"Cache-Control": _ASK_AGAIN, "ETag": f'"{version_of(file.hash)}"'}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        name = file.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return FileResponse(
            file.path,
            media_type=kind,
            filename=name,
            headers=headers,
            content_disposition_type="inline" if shown else "attachment",
            stat_result=os.stat(file.path),
        )

    return await service.run(work)


@router.post("/{item}/tags", dependencies=[WRITE])
async def add_tags(request: Request, item: str, body: schemas.Tags) -> JSONResponse:
    """Tag an item."""
    service = service_of(request)
    return await service.run(lambda: JSONResponse(_tagged(service, item, body.tags, tag)))


@router.delete("/{item}/tags", dependencies=[WRITE])
async def remove_tags(request: Request, item: str, body: schemas.Tags) -> JSONResponse:
    """Take tags from an item."""
    service = service_of(request)
    return await service.run(lambda: JSONResponse(_tagged(service, item, body.tags, untag)))


def _tagged(service: Service, item: str, tags: list[str], change: Any) -> dict[str, Any]:
    book, number = service.shelf.item(item)
    book.row(number)
    with book.writing() as (catalog, _):
        change(catalog, [number], tags)
        return {"tags": tags_of(catalog, number)}


def _removed(service: Service, item: str) -> dict[str, Any]:
    book, number = service.shelf.item(item)
    row = book.row(number)
    own = book.is_own(row.path)
    with book.writing() as (catalog, _):
        if own:
            Path(row.path).unlink(missing_ok=True)
        catalog.forget([number])
    book.refresh()
    return {"item": item, "file_deleted": own}


def _media_type(name: str) -> str:
    ending = os.path.splitext(name)[1].lower()
    found = _KNOWN_TYPES.get(ending) or mimetypes.guess_type(f"x{ending}")[0] or ""
    return found if found.startswith("image/") else "application/octet-stream"
