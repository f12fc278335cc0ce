"""Completion of queries while typing: names of filters, and values that the libraries hold."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from crosslens.search.filter_conditions import quoted_if_needed
from crosslens.search.filter_values import CONDITIONS, WITHOUT_VALUE
from crosslens.serve.libraries.library_handle import Book
from crosslens.store.concept_rows import concept_rows
from crosslens.store.database import Catalog
from crosslens.store.fulltext import tag_counts
from crosslens.store.item_details import cameras, endings, years

MOST = 12
_MOST_KEPT = 1000
_KEPT_SECONDS = 15.0
_VALUES = {
    "has": ("date", "place", "camera", "caption", "tag"),
    "kind": ("image", "text"),
    "size": (">1mb", ">10mb", "<100kb", "1mb..10mb"),
    "width": (">=1920", ">=4000", "<640"),
    "height": (">=1080", ">=3000", "<640"),
}

_Read: TypeAlias = Callable[[Catalog], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What may stand in place of what is typed. kind: as in `answers`."""

    text: str
    kind: str


class Completer:
    """Completions for the query language. Safe to call from several threads."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[float, list[str]]] = {}
        self._lock = threading.Lock()

    def complete(self, text: str, at: int, books: Sequence[Book]) -> tuple[int, list[Suggestion]]:
        """(where what is typed begins, suggestions in its place, `MOST` of them). at: of the cursor."""
        typed = text[:at]
        begin = _begin(typed)
        token = typed[begin:]
        away = "-" if token.startswith("-") else ""
        name, colon, value = token.removeprefix("-").partition(":")
        if not colon:
            return begin, _filters(name, away)
        name = name.lower()
        if name not in CONDITIONS:
            return begin, []
        kind, values = self._values(name, books)
        wanted = value.strip('"').casefold()
        fitting = [one for one in values if one.casefold().startswith(wanted)]
        # In tags and names what is looked for may stand further on.
        fitting += [one for one in values if one not in fitting and wanted and wanted in one.casefold()]
        return begin, [Suggestion(f"{away}{name}:{quoted_if_needed(one)}", kind) for one in fitting[:MOST]]

    def _values(self, name: str, books: Sequence[Book]) -> tuple[str, list[str]]:
        if name in _VALUES:
            return "value", list(_VALUES[name])
        if name in ("after", "before", "date"):
            return "year", self._of_all("year", years, books)
        kinds: dict[str, tuple[str, _Read]] = {
            "tag": ("tag", lambda catalog: list(tag_counts(catalog))),
            "camera": ("camera", cameras),
            "ext": ("extension", endings),
            "concept": ("concept", lambda catalog: [row.name for row in concept_rows(catalog)]),
        }
        if name not in kinds:
            return "value", []
        return kinds[name][0], self._of_all(*kinds[name], books)

    def _of_all(self, kind: str, read: _Read, books: Sequence[Book]) -> list[str]:
        """Values in all libraries, each once; read from each now and then."""
        found: dict[str, None] = {}
        for book in books:
            key, now = (kind, book.name), time.monotonic()
            kept = self._kept.get(key)
            if kept is None or kept[0] < now:
                values = list(read(book.aside.database))[:_MOST_KEPT]
                with self._lock:
                    self._kept[key] = kept = (now + _KEPT_SECONDS, values)
            found |= dict.fromkeys(kept[1])
        return list(found)


def _begin(typed: str) -> int:
    """Where the last part of a query begins: after the last space that is not in quotes."""
    begin, quoted, escaped = 0, False, False
    for at, character in enumerate(typed):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character.isspace() and not quoted:
            begin = at + 1
    return begin


def _filters(begins: str, away: str) -> list[Suggestion]:
    names = [name for name in sorted(CONDITIONS) if name.startswith(begins.lower())]
    if away:
        names = [name for name in names if name not in WITHOUT_VALUE]
    return [Suggestion(f"{away}{name}:", "filter") for name in names[:MOST]]
