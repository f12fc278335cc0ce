"""Thumbnails of items: WebP, upright, cached in memory up to a number of bytes."""

from __future__ import annotations

import io
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image

from crosslens.images.decode import Limits, decode
from crosslens.serve.error_responses import Problem
from crosslens.serve.libraries.library_handle import Book
from crosslens.store.item_details import details_of
from crosslens.store.path_encoding import ADDED

SMALLEST, LARGEST, DEFAULT = 64, 1024, 256
_STEP = 64
_QUALITY = 80
# Pixels that are not much smaller than the thumbnail's give a picture as sharp as all of them.
_OVERSAMPLE = 2


@dataclass(frozen=True, slots=True)
class File:
    """The file of an item, as it was indexed. item: "photos:12"; name: for people; hash: of its content."""

    item: str
    path: str
    name: str
    hash: bytes
    status: os.stat_result


class Thumbnails:
    """Thumbnails that were made lately. Safe to call from several threads."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._kept: OrderedDict[tuple[bytes, int], bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def make(self, file: File, size: int, limits: Limits) -> bytes:
        """A WebP, its sides at most `size`, which is one of those that `rounded` gives.

        Raises ImageError, Problem.
        """
        key = (file.hash, size)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        data = _webp(file, size, limits)
        with self._lock:
            self._size += len(data) - len(self._kept.pop(key, b""))
            self._kept[key] = data
            while self._size > self._most:
                self._size -= len(self._kept.popitem(last=False)[1])
        return data


def rounded(size: int) -> int:
    """A size that is kept: few of them, so that nobody can fill the memory with one picture."""
    return min(LARGEST, max(SMALLEST, -(-size // _STEP) * _STEP))


def file_of(book: Book, number: int) -> File:
    """The file of an item, if it is there and as it was indexed. Raises Problem."""
    row, item = book.row(number), f"{book.name}:{number}"
    details = details_of(book.existing(), [number]).get(number)
    if details is None:  # removed in between
        raise book.lacks(number)
    if row.text is not None:
        raise Problem(404, "not_a_picture", "The item is a text", item)
    if row.path.startswith(ADDED):
        raise _missing(item)
    try:
        status = os.stat(row.path)
    except OSError as error:
        raise _missing(item) from error
    if _state(status) != (row.size, row.modified_ns):
        raise _changed(item)
    return File(item, row.path, os.path.basename(details.below), details.hash, status)


def opened(file: File) -> BinaryIO:
    """That very file: it may have been deleted or replaced since it was looked at. Raises Problem."""
    try:
        stream = open(file.path, "rb")  # noqa: SIM115 (its caller closes it)
    except OSError as error:
        raise _missing(file.item) from error
    if _state(os.fstat(stream.fileno())) != _state(file.status):
        stream.close()
        raise _changed(file.item)
    return stream


def _state(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _missing(item: str) -> Problem:
    said = f"the file of {item} is not there"
    remedy = "Plug its disk in; its vector is there, and is searched"
    return Problem(404, "file_missing", "The file is not there now", said, remedy)


def _changed(item: str) -> Problem:
    said = f"the file of {item} was changed after it was indexed"
    return Problem(409, "file_changed", "The file was changed", said, "Have its folder indexed again")


def _webp(file: File, size: int, limits: Limits) -> bytes:
    with opened(file) as stream:
        image = decode(stream, file.name, shrink_to=size, oversample=_OVERSAMPLE, limits=limits).image
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    image.save(written, "WEBP", quality=_QUALITY, method=2)
    return written.getvalue()
