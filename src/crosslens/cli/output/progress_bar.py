"""Progress of a long run: a bar in a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from crosslens.types import Progress

if TYPE_CHECKING:
    from rich.console import Console

_PLAIN_PROGRESS_SECONDS = 5.0


class ProgressLines:
    """Progress as a plain line every few seconds, for logs."""

    def __init__(self, doing: str) -> None:
        self.last: Progress | None = None
        self._doing = doing
        self._started = self._printed = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def update(self, progress: Progress) -> None:
        """Take note, and print now and then."""
        now = time.monotonic()
        if self.last is not None and progress.done < self.last.done:  # the next of several runs
            self._started = now
        self.last = progress
        if progress.done == 0 or now - self._printed < _PLAIN_PROGRESS_SECONDS:
            return
        self._printed = now
        rate = progress.done / (now - self._started)
        left = duration((progress.total - progress.done) / rate)
        print(
            f"{self._doing}: {progress.done:,} of {progress.total:,}, {rate:,.0f} pictures/s, {left} left, "
            f"{progress.failed:,} failed",
            file=sys.stderr,
            flush=True,
        )


class ProgressBar:
    """Progress as a bar, for a person at a terminal."""

    def __init__(self, doing: str) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.last: Progress | None = None
        self._doing = doing
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[failed]}"),
            console=console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(self._doing, total=None, rate="", failed="")
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, progress: Progress) -> None:
        """Move the bar."""
        if self.last is None or progress.done < self.last.done:  # the first, or the next of several runs
            self._started = time.monotonic()
        self.last = progress
        rate = progress.done / max(time.monotonic() - self._started, 1e-9)
        self._bar.update(
            self._task,
            description=self._doing,
            completed=progress.done,
            total=progress.total,
            rate=f"{rate:,.0f}/s",
            failed=f"{progress.failed:,} failed" if progress.failed else "",
        )


def console(*, stderr: bool = False) -> Console:
    """Where a person reads: standard output, or standard error."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=False)


def duration(seconds: float) -> str:
    """A time in words."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
