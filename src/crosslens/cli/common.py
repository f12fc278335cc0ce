"""Shared by the commands: inputs, progress, and the end by a signal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from crosslens import app_folders
from crosslens.cli.output.progress_bar import ProgressBar, ProgressLines
from crosslens.cli.output.render import Output
from crosslens.errors import ImageNotFoundError, QueryError, TextError
from crosslens.images.folder_walk import walk
from crosslens.matching.matcher import Compute, Decode, Matcher
from crosslens.models.catalogue import STARTER
from crosslens.towers.openvino_runtime import Precision
from crosslens.types import Failure, Progress

_STARTER_NOTICE = (
    "using 'starter', the small embedded model: English, everyday things. For a full CLIP: crosslens models"
)


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived; ends a command as Ctrl-C does, with another exit status."""

    arrived = False


@dataclass(frozen=True, slots=True)
class Sources:
    """What a command looks at. text_column: for tables."""

    paths: list[str]
    text_column: str | None


@dataclass(frozen=True, slots=True)
class Run:
    """A model, and how it is run. model: None for the library's own."""

    model: str | None
    precision: str
    decode: str
    device: str

    @property
    def how(self) -> Compute:
        """As the library takes it; what is no such word is refused there."""
        return Compute(cast(Precision, self.precision), cast(Decode, self.decode), self.device)


@contextmanager
def watched(
    output: Output, doing: str, kept: str, *, streaming: bool = False
) -> Iterator[ProgressBar | ProgressLines]:
    """Progress of a long run; Ctrl-C and SIGTERM end the command with a summary. kept: what is left of it."""
    progress = output.progress(doing, streaming=streaming)
    try:
        with progress:
            yield progress
    except KeyboardInterrupt as interrupt:
        output.interrupted(progress.last, kept)
        raise SystemExit(143 if isinstance(interrupt, Terminated) else 130) from interrupt


def pictures_in(sources: Sequence[str], failures: list[Failure]) -> list[str]:
    """Paths of the pictures in files and folders."""
    paths = []
    for source in sources:
        if not os.path.lexists(source):
            raise ImageNotFoundError(source, "there is no such file or folder", "Check the spelling")
        found = walk(
            source,
            skip=frozenset(),
            on_error=lambda path, reason: failures.append(Failure(path, reason)),
            on_ignored=lambda _path, _reason: None,
        )
        paths += [item.path for item in found]
    return list(dict.fromkeys(paths))


def counted(paths: Sequence[str], progress: ProgressBar | ProgressLines) -> Iterator[str]:
    """The paths, telling the progress as they are taken."""
    for number, path in enumerate(paths):
        progress.update(Progress(number, len(paths), 0, number))
        yield path


def read_lines(path: str) -> list[str]:
    """The lines of a text file, or of standard input for "-". Raises QueryError, TextError."""
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        # Only line feeds end a line: `splitlines` would also cut at characters that texts may hold.
        return [line.rstrip("\r") for line in data.decode("utf-8-sig").split("\n")]
    except OSError as error:
        raise QueryError(f"{path} cannot be read ({error.strerror})", "Check the path") from error
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise TextError(f"{path}: line {line} is not UTF-8", "Save the file as UTF-8") from error


def say_once(output: Output, matcher: Matcher) -> None:
    """Tell a user, the first time, that this is the small model."""
    if matcher.reference != STARTER:
        return
    note = app_folders.notices() / "starter"
    if note.exists():
        return
    output.notice(_STARTER_NOTICE)
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()
    except OSError:
        return  # then it is said again next time
