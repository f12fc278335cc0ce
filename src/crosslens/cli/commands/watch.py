"""`crosslens watch`: keeps a library up to date, and says what it did, until it is interrupted."""

from __future__ import annotations

import json as json_
import time
from collections import Counter
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

import typer

from crosslens.cli.common import Run, say_once
from crosslens.cli.output.hits import printable
from crosslens.cli.output.progress_bar import ProgressBar, ProgressLines, duration
from crosslens.cli.output.render import Output
from crosslens.library.library import Library
from crosslens.types import Progress
from crosslens.watch.folder_watcher import Batch, Pace, watch

# Files to look into from which on a run is worth a bar.
_LONG = 64
_COUNTED = ("added", "changed", "moved", "removed")


def watch_(
    sources: Annotated[
        Optional[list[str]],  # noqa: UP045 (typer reads annotations at run time)
        typer.Argument(metavar="DIR…", help="Folders; none: all that were indexed before."),
    ] = None,
    library: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-L", "--library", envvar="CROSSLENS_LIBRARY", help="Folder of the library."),
    ] = None,
    model: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Model for a new library: a name or a bundle folder; the default is 'starter'."),
    ] = None,
    precision: Annotated[str, typer.Option(help="auto, f32, bf16, or int8 after models quantize.")] = "auto",
    decode: Annotated[str, typer.Option(help="JPEGs: auto, fast, or exact for every pixel.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, or another device.")] = "auto",
    poll: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(metavar="SECONDS", help="For network disks: look at all names, every so many seconds."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Keep the library up to date with folders as they change, until interrupted. Needs the watch extra."""
    output = WatchOutput(json=json)
    run = Run(model, precision, decode, device)
    with Library.open(library, run.model, run.how) as opened:
        say_once(output, opened.matcher)
        done = watch(
            opened,
            sources or [],
            pace=Pace(poll=poll),
            on_progress=output.progressed,
            on_notice=output.notice,
        )
        try:
            with closing(done):
                for batch in done:
                    output.batch(batch)
        except KeyboardInterrupt as interrupt:
            output.ended()
            raise SystemExit(130) from interrupt  # of SIGTERM, `main` makes 143


class WatchOutput(Output):
    """Shows what watching did, a line to a batch."""

    def __init__(self, *, json: bool = False) -> None:
        super().__init__(json=json)
        self._began = time.monotonic()
        self._counts: Counter[str] = Counter()
        self._running: ProgressBar | ProgressLines | None = None

    def progressed(self, progress: Progress) -> None:
        """How far a run has come, where it is a long one."""
        if progress.total < _LONG:
            return
        if self._running is None:
            self._running = self.progress("indexing")
            self._running.__enter__()
        self._running.update(progress)
        if progress.done == progress.total:
            self._end_progress()

    def batch(self, batch: Batch) -> None:
        """What was done, and what could not be read."""
        self._end_progress()
        report = batch.report
        counts = {name: getattr(report, name) for name in _COUNTED}
        self._counts.update(counts)
        if self._json:
            typer.echo(json_.dumps({"time": batch.at.isoformat(), "whole": batch.whole, **asdict(report)}))
            return
        if batch.whole:
            counts["unchanged"] = report.unchanged
        if report.offline:
            counts["offline"] = report.offline
        typer.echo(f"{batch.at:%H:%M:%S}  {_said(counts)}")
        for failure in report.failures:
            typer.echo(printable(f"          {failure.path}: {failure.reason}"))

    def ended(self) -> None:
        """All that was done, after an interruption."""
        self._end_progress()
        time_taken = duration(time.monotonic() - self._began)
        kept = "what was committed is kept, and the same command goes on from there"
        typer.echo(f"interrupted after {time_taken}: {_said(self._counts)}; {kept}", err=True)

    def _end_progress(self) -> None:
        if self._running is not None:
            self._running.__exit__(None, None, None)
            self._running = None


def _said(counts: dict[str, int]) -> str:
    """Counts in words; what is nothing is left out."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "nothing changed"
