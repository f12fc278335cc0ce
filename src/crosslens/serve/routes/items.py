"""Endpoints of single items: facts, thumbnail, original picture, tags, removal."""

from __future__ import annotations

import mimetypes
import os
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from crosslens.serve.contract import requests, responses
from crosslens.serve.contract.multipart_forms import Sent, sent
from crosslens.serve.contract.openapi import (
    BYTES,
    IF_NONE_MATCH,
    NOT_CHANGED,
    RANGE,
    ItemName,
    answer,
    json_body,
    told,
)
from crosslens.serve.error_responses import Problem
from crosslens.serve.libraries.item_json import one_presented, version_of
from crosslens.serve.libraries.thumbnails import DEFAULT, LARGEST, SMALLEST, file_of, opened, rounded
from crosslens.serve.security.middleware import HEAD
from crosslens.serve.service import Service, service_of
from crosslens.store.fulltext import tag, tags_of, untag

router = APIRouter(prefix="/v1/items", tags=["items"])
# What a browser shows as a picture, and runs nothing of.
_SHOWN = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/avif", "image/bmp")
_FOR_GOOD = "private, max-age=31536000, immutable"
_ASK_AGAIN = "private, no-cache"
_KNOWN_TYPES = {".webp": "image/webp", ".avif": "image/avif", ".heic": "image/heic", ".heif": "image/heif"}
_THUMBNAIL = {200: answer({"image/webp": BYTES}, "A WebP"), 304: NOT_CHANGED}
_FILE = {"image/*": BYTES, "application/octet-stream": BYTES}
_ORIGINAL = {
    200: answer(_FILE, "The file"),
    206: answer({**_FILE, "multipart/byteranges": BYTES}, "Part of it"),
    304: NOT_CHANGED,
}
_SIZE = Query(description=f"Its sides at most: {SMALLEST} to {LARGEST}, rounded up to a step of 64")
_VERSION = Query(description="The item's version: with it, the answer may be kept for good")
_INLINE = Query(description="To be shown by a browser, not saved")


@router.get("/{item}", **told("get_item", "read", responses.Item))
async def item_(request: Request, item: ItemName) -> JSONResponse:
    """What is known of an item."""
    service = service_of(request)
    whole_paths = service.sees_paths(request)

    def work() -> JSONResponse:
        book, number = service.shelf.item(item)
        return JSONResponse(one_presented(book, number, whole_paths=whole_paths))

    return await service.run(work)


@router.delete("/{item}", **told("delete_item", "write", responses.Removed))
async def remove(request: Request, item: ItemName) -> JSONResponse:
    """Forget an item; a file that a client sent is deleted with it."""
    service = service_of(request)
    return await service.run(lambda: JSONResponse(_removed(service, item)))


@router.get(
    "/{item}/thumbnail", **told("get_thumbnail", "read", _THUMBNAIL, more={"parameters": [IF_NONE_MATCH]})
)
async def thumbnail(
    request: Request,
    item: ItemName,
    size: Annotated[int, _SIZE] = DEFAULT,
    v: Annotated[str, _VERSION] = "",
) -> Response:
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


@router.get(
    "/{item}/original", **told("get_original", "read", _ORIGINAL, more={"parameters": [RANGE, IF_NONE_MATCH]})
)
async def original(request: Request, item: ItemName, inline: Annotated[bool, _INLINE] = False) -> Response:
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
        return _Original(
            opened(file),
            media_type=kind,
            filename=name,
            headers=headers,
            content_disposition_type="inline" if shown else "attachment",
            stat_result=file.status,
        )

    return await service.run(work)


@router.post("/{item}/tags", **told("add_tags", "write", responses.ItemTags, takes=json_body(requests.Tags)))
async def add_tags(
    request: Request,
    item: ItemName,
    body: Sent[requests.Tags] = Depends(sent(requests.Tags)),  # noqa: B008
) -> JSONResponse:
    """Tag an item."""
    service = service_of(request)
    return await service.run(lambda: JSONResponse(_tagged(service, item, body.asked.tags, tag)))


@router.delete(
    "/{item}/tags", **told("remove_tags", "write", responses.ItemTags, takes=json_body(requests.Tags))
)
async def remove_tags(
    request: Request,
    item: ItemName,
    body: Sent[requests.Tags] = Depends(sent(requests.Tags)),  # noqa: B008
) -> JSONResponse:
    """Take tags from an item."""
    service = service_of(request)
    return await service.run(lambda: JSONResponse(_tagged(service, item, body.asked.tags, untag)))


class _Original(FileResponse):
    """An open file, so that it stays what it is, however it is replaced; its failures are problems, too."""

    def __init__(self, stream: BinaryIO, **options: Any) -> None:
        # Windows has no such names, and lets no open file be replaced.
        path = f"/dev/fd/{stream.fileno()}" if os.name == "posix" else stream.name
        super().__init__(path, **options)
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def checked(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                size = self.headers["content-length"]
                said = f"the file has {size} bytes"
                raise Problem(416, "range_not_satisfiable", "The file has no such part", said,
                              headers={"Content-Range": f"bytes */{size}"})  # fmt: skip
            await send(message)

        as_asked = {**scope, "method": "HEAD"} if scope.get(HEAD) else scope
        with self._stream:
            await super().__call__(as_asked, receive, checked)


def _tagged(service: Service, item: str, tags: list[str], change: Any) -> dict[str, Any]:
    book, number = service.shelf.item(item)
    book.row(number)
    with book.writing() as (catalog, _):
        change(catalog, [number], tags)
        return {"tags": tags_of(catalog, number)}


def _removed(service: Service, item: str) -> dict[str, Any]:
    book, number = service.shelf.item(item)
    book.row(number)
    with book.writing() as (catalog, _):
        path = book.row(number).path  # as it is now
        own = book.is_own(path)
        if own:
            with book.placing:
                Path(path).unlink(missing_ok=True)
            book.touched(path)
        catalog.forget([number])
    book.refresh()
    return {"item": item, "file_deleted": own}


def _media_type(name: str) -> str:
    ending = os.path.splitext(name)[1].lower()
    found = _KNOWN_TYPES.get(ending) or mimetypes.guess_type(f"x{ending}")[0] or ""
    return found if found.startswith("image/") else "application/octet-stream"
