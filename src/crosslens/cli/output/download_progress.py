"""Progress of a download: a bar in a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

from crosslens.cli.output.progress_bar import console

_LINE_SECONDS = 5.0


class FetchLines:
    """A download as a plain line every few seconds."""

    def __init__(self) -> None:
        self._printed = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def update(self, file: str, done: int, total: int | None) -> None:
        """Take note, and print now and then."""
        now = time.monotonic()
        if now - self._printed >= _LINE_SECONDS:
            self._printed = now
            of = f" of {megabytes(total)}" if total else ""
            print(f"{file}: {megabytes(done)}{of}", file=sys.stderr, flush=True)


class FetchBar:
    """A download as a bar."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, console=console(stderr=True), transient=True)
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, file: str, done: int, total: int | None) -> None:
        """Move the file's bar."""
        if file not in self._tasks:
            self._tasks[file] = self._bar.add_task(file, total=total)
        self._bar.update(self._tasks[file], completed=done, total=total)


def megabytes(size: int | None) -> str:
    """A number of bytes for people."""
    return "–" if size is None else f"{size / 1e6:,.0f} MB"
