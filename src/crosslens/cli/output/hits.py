"""Search results as text and JSON, and escaping of text that is printed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from math import isnan
from typing import TYPE_CHECKING, Any

from crosslens.types import Hit

if TYPE_CHECKING:
    from rich.console import RenderableType

_THUMBNAIL_ROWS = 6


def hit_table(query: dict[str, str], hits: Sequence[Hit], *, thumbnails: bool) -> RenderableType:
    """A table of results for a terminal."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.title = as_text(", ".join(f"{name} {value!r}" for name, value in query.items()))
    table.add_column("", justify="right")
    table.add_column("score", justify="right")
    told = any(hit.relevance is not None for hit in hits)
    if told:
        table.add_column("", justify="right", style="dim")
    thumbnail = _thumbnailer() if thumbnails else None
    if thumbnail:
        table.add_column("")
    table.add_column("text" if hits[0].text else "picture", overflow="fold")
    for number, hit in enumerate(hits, 1):
        about = f"{hit.path}\n" + (hit.text or f"{hit.width} × {hit.height}")
        about += "" if hit.online else ", offline"
        score = "-" if isnan(hit.score) else f"{hit.score:.3f}"
        cells: list[RenderableType] = [str(number), score]
        if told:
            cells.append("" if hit.relevance is None else f"{hit.relevance:.0%}")
        if thumbnail:
            cells.append(thumbnail(hit.path) if hit.text is None and os.path.isabs(hit.path) else "")
        table.add_row(*cells, as_text(about))
    return table


def hit_fields(hit: Hit) -> dict[str, Any]:
    """A result for programs: its library where several were searched, its relevance where it is known."""
    fields = asdict(hit) | {"score": None if isnan(hit.score) else hit.score}
    for name in ("library", "relevance"):
        if fields[name] is None:
            del fields[name]
    return fields


def printable(text: str) -> str:
    """Text from outside with control characters shown as escapes, so that no file name steers a terminal."""
    return "".join(
        c if c.isprintable() or 0xDC80 <= ord(c) <= 0xDCFF else c.encode("unicode_escape").decode()
        for c in text
    )


def as_text(text: str) -> Any:
    """Text from outside as rich takes it: no markup, no control characters."""
    from rich.text import Text

    return Text("\n".join(map(printable, text.split("\n"))))


def _thumbnailer() -> Any:
    """Make thumbnails of files: a function of a path. What the terminal can is found out at the import."""
    from textual_image.renderable import Image

    def thumbnail(path: str) -> Any:
        try:
            from crosslens.images.decode import decode

            return Image(decode(path, path, shrink_to=128).image, width="auto", height=_THUMBNAIL_ROWS)
        except Exception:  # moved, deleted or damaged since it was indexed
            return "not there" if not os.path.lexists(path) else "unreadable"

    return thumbnail
