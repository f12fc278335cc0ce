"""Items as JSON: results with what else is known of them, and no path of this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import isnan
from typing import Any

from crosslens.serve.libraries.library_handle import Book
from crosslens.store.item_details import Details, details_of
from crosslens.store.path_encoding import ADDED
from crosslens.types import Hit

# Hexadecimal digits that tell one version of a picture from another.
_VERSION = 12


def presented(found: Sequence[tuple[Book, Hit]], *, whole_paths: bool) -> list[dict[str, Any]]:
    """Results for clients, in their order; those that were removed meanwhile are left out.

    whole_paths: whether they may see where files lie; else paths begin below the folder that was indexed.
    """
    numbers: dict[Book, list[int]] = {}
    for book, hit in found:
        numbers.setdefault(book, []).append(hit.id)
    known = {book: details_of(book.existing(), ids) for book, ids in numbers.items()}
    return [
        _one(book, hit, details, whole_paths=whole_paths)
        for book, hit in found
        if (details := known[book].get(hit.id)) is not None
    ]


def one_presented(book: Book, number: int, *, whole_paths: bool) -> dict[str, Any]:
    """An item, as above. Raises Problem."""
    found = presented([(book, book.row(number).hit(float("nan")))], whole_paths=whole_paths)
    if not found:  # removed in between
        raise book.lacks(number)
    return found[0]


def version_of(hash_: bytes) -> str:
    """What stands for a content in addresses that may be kept for good."""
    return hash_.hex()[:_VERSION]


def _one(book: Book, hit: Hit, details: Details, *, whole_paths: bool) -> dict[str, Any]:
    picture = hit.text is None
    return {
        "item": f"{book.name}:{hit.id}",
        "library": book.name,
        "id": hit.id,
        "kind": "image" if picture else "text",
        "name": _told(os.path.basename(details.below.removeprefix(ADDED))),
        "path": _told(hit.path if whole_paths else details.below),
        "score": None if isnan(hit.score) else hit.score,
        "relevance": hit.relevance,
        "width": hit.width if picture else None,
        "height": hit.height if picture else None,
        "size": hit.size,
        "modified": hit.modified,
        "taken": details.taken,
        "camera": details.camera,
        "text": hit.text,
        "caption": details.caption,
        "tags": list(details.tags),
        "online": hit.online,
        "version": version_of(details.hash),
    }


def _told(path: str) -> str:
    """A name as JSON can have it: bytes that are no text are replaced."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
