"""What the commands do: library calls on one side, an `Output` on the other. Each returns an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crosslens import places
from crosslens.cli.render import Output
from crosslens.errors import QueryError, TextError
from crosslens.library import Library
from crosslens.matcher import Matcher
from crosslens.models.catalogue import STARTER

_STARTER_NOTICE = (
    "using 'starter', the small embedded model: English, everyday things. "
    "For a full CLIP: crosslens index --model BUNDLE_FOLDER (docs/models.md)"
)


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived; ends a command as Ctrl-C does, with another exit status."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a search asks for."""

    text: str | None
    image: str | None
    without: str | None


def index(
    output: Output, folder: Path | None, sources: Sequence[str], model: str | None, *, strict: bool
) -> int:
    """Bring a library up to date."""
    with Library.open(folder, model) as library:
        _say_once(output, library.matcher)
        progress = output.progress()
        try:
            with progress:
                report = library.index(sources, progress.update)
        except KeyboardInterrupt as interrupt:
            output.interrupted(progress.last)
            return 143 if isinstance(interrupt, Terminated) else 130
        output.report(report, library.stats())
    return 1 if strict and report.failures else 0


def search(output: Output, folder: Path | None, query: Query, k: int) -> int:
    """One search."""
    if query.text is not None and os.path.isfile(query.text):
        raise QueryError(f"{query.text!r} is a file, not words", f"Search by it with: --image {query.text}")
    with Library.open(folder) as library:
        library.stats()
        _say_once(output, library.matcher)
        hits = library.search(query.text, image=query.image, without=query.without, k=k)
        asked = {"text": query.text, "image": query.image, "without": query.without}
        output.hits({name: value for name, value in asked.items() if value is not None}, hits)
    return 0


def search_many(output: Output, folder: Path | None, queries: str, k: int) -> int:
    """One search for every line of a file."""
    texts = [line for line in _read_lines(queries) if line.strip()]
    if not texts:
        raise QueryError(f"{queries} holds no line of text", "Write one search to a line")
    with Library.open(folder) as library:
        library.stats()
        _say_once(output, library.matcher)
        for text, hits in zip(texts, library.search_many(texts, k=k), strict=True):
            output.hits({"text": text}, hits)
    return 0


def score(output: Output, image: str, texts: Sequence[str], model: str) -> int:
    """Compare a picture with texts."""
    matcher = Matcher(model)
    _say_once(output, matcher)
    output.scores(matcher, image, matcher.embed_images([image])[0], matcher.embed_texts(texts), texts)
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


def _read_lines(path: str) -> list[str]:
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        # Only line feeds end a line: `splitlines` would also cut at characters that texts may hold.
        return [line.rstrip("\r") for line in data.decode("utf-8-sig").split("\n")]
    except OSError as error:
        raise QueryError(f"{path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise TextError(f"{path}: line {line} is not UTF-8", "Save the file as UTF-8") from error


def _say_once(output: Output, matcher: Matcher) -> None:
    """Tell a user, the first time, that this is the small model."""
    if matcher.reference != STARTER:
        return
    note = places.notices() / "starter"
    if note.exists():
        return
    output.notice(_STARTER_NOTICE)
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()
    except OSError:
        return  # then it is said again next time
