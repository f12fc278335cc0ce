"""What the commands do with a library: calls of it on one side, an `Output` on the other.

Each returns an exit status.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crosslens import places
from crosslens.cli.common import Run, Sources, read_lines, say_once, watched
from crosslens.cli.render import Output
from crosslens.errors import QueryError
from crosslens.library import Library
from crosslens.matcher import Compute
from crosslens.querying import Asked, Page, find
from crosslens.search.language import parse
from crosslens.types import Modality

# One query is quicker on the CPU than the import of torch.
_SEARCH = Compute(device="cpu")


@dataclass(frozen=True, slots=True)
class Query:
    """What a search asks for."""

    text: str | None
    image: str | None
    without: list[str]


def index(output: Output, folder: Path | None, sources: Sources, run: Run, *, strict: bool) -> int:
    """Bring a library up to date."""
    with Library.open(folder, run.model, run.how) as library:
        say_once(output, library.matcher)
        kept = "what was committed is kept, and the same command goes on from there"
        with watched(output, "indexing", kept) as progress:
            report = library.index(sources.paths, progress.update, sources.text_column)
        output.report(report, library.stats())
    return 1 if strict and report.failures else 0


def search(output: Output, folder: Path | None, query: Query, page: Page, *, texts: bool) -> int:
    """One search."""
    if query.text is not None and os.path.isfile(query.text):
        raise QueryError(f"{query.text!r} is a file, not words", f"Search by it with: --image {query.text}")
    if query.text is not None:
        parse(query.text)  # a mistake in it is found before a model is loaded
    with Library.open(folder, how=_SEARCH) as library:
        library.stats()
        say_once(output, library.matcher)
        hits = find(library, Asked(query.text, query.image, query.without or None, _kind(texts)), page)
        asked = {"text": query.text, "image": query.image, "without": ", ".join(query.without) or None}
        output.hits({name: value for name, value in asked.items() if value is not None}, hits)
    return 0


def search_many(output: Output, folder: Path | None, queries: str, k: int, *, texts: bool) -> int:
    """One search for every line of a file: plain words, since captions hold any sign."""
    lines = [line for line in read_lines(queries) if line.strip()]
    if not lines:
        raise QueryError(f"{queries} holds no line of text", "Write one search to a line")
    with Library.open(folder, how=_SEARCH) as library:
        library.stats()
        say_once(output, library.matcher)
        for text, hits in zip(lines, library.search_many(lines, k, _kind(texts)), strict=True):
            output.hits({"text": text}, hits, many=True)
    return 0


def remove(output: Output, folder: Path | None, targets: Sequence[str]) -> int:
    """Forget items."""
    with Library.open(folder) as library:
        numbers = [int(t) if t.isdecimal() and not os.path.lexists(t) else t for t in targets]
        output.removed(library.remove(numbers), library.stats())
    return 0


def list_items(output: Output, folder: Path | None) -> int:
    """Everything in a library."""
    with Library.open(folder) as library:
        for item in library.items():
            output.item(item)
    return 0


def stats(output: Output, folder: Path | None) -> int:
    """Facts about a library."""
    with Library.open(folder) as library:
        output.stats(library.stats())
    return 0


def doctor(output: Output, folder: Path | None) -> int:
    """Facts about this machine, and a self-test."""
    from crosslens.doctor import examine

    checkup = examine(folder or places.default_library())
    output.checkup(checkup)
    return 0 if checkup.healthy else 1


def _kind(texts: bool) -> Modality | None:
    return "text" if texts else None
