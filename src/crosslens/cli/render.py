"""What people and programs see. Results go to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from crosslens.matcher import softmax_confidence
from crosslens.types import Hit, IndexReport, LibraryStats, Progress

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console, RenderableType

    from crosslens.doctor import Checkup
    from crosslens.matcher import Matcher
    from crosslens.types import Float32

_PLAIN_PROGRESS_SECONDS = 5.0
_THUMBNAIL_ROWS = 6


class Output:
    """Shows results as JSON, as plain lines where nobody watches, or as tables in a terminal."""

    def __init__(self, *, json: bool = False, thumbnails: bool = False) -> None:
        self._json = json
        self._thumbnails = thumbnails
        self._tables = sys.stdout.isatty() and not json

    # -- to standard error ------------------------------------------------------------------------

    def error(self, message: str) -> None:
        """Say why a command failed."""
        print(f"error: {printable(message)}", file=sys.stderr)

    def warn(self, message: str) -> None:
        """Say what a user should know of a result."""
        print(f"warning: {printable(message)}", file=sys.stderr)

    def notice(self, message: str) -> None:
        """Say something once."""
        print(f"crosslens: {printable(message)}", file=sys.stderr)

    def progress(self) -> ProgressBar | ProgressLines:
        """Something to watch an indexing run by."""
        return ProgressBar() if sys.stderr.isatty() else ProgressLines()

    def interrupted(self, last: Progress | None) -> None:
        """Say what an interrupted run has kept."""
        done = f"{last.done:,} of {last.total:,} pictures were looked into" if last else "nothing was begun"
        print(
            f"interrupted: {done}; what was committed is kept, and the same command goes on from there",
            file=sys.stderr,
        )

    # -- to standard output -----------------------------------------------------------------------

    def report(self, report: IndexReport, stats: LibraryStats) -> None:
        """What an indexing run did."""
        if self._json:
            self._object({**asdict(report), "library": asdict(stats)})
            return
        done = ", ".join(
            f"{getattr(report, name):,} {name}"
            for name in ("added", "changed", "moved", "removed", "unchanged")
            if getattr(report, name) or name == "added"
        )
        rate = f", {report.encoded / report.seconds:,.0f} pictures/s" if report.encoded else ""
        print(f"{done} in {report.seconds:.1f} s ({report.encoded:,} encoded{rate})")
        if report.ignored:
            print(f"{report.ignored:,} {_files(report.ignored)} passed over: not named like a picture")
        if report.offline:
            print(f"{report.offline:,} offline: their folder is missing or empty; they are kept")
        if report.failures:
            print(f"{len(report.failures):,} could not be read:")
            for failure in report.failures:
                print(printable(f"  {failure.path}: {_without_prefix(failure.reason, failure.path)}"))
        print(printable(f"library {stats.path}: {stats.items:,} pictures, model {stats.model}"))

    def hits(self, query: dict[str, str], hits: Sequence[Hit]) -> None:
        """What a search found."""
        if self._json:
            self._object({"query": query, "hits": [asdict(hit) for hit in hits]})
        elif not hits:
            print("nothing found: the library is empty")
        elif self._tables:
            self._print(self._hit_table(query, hits))
        else:
            for hit in hits:
                print(f"{hit.score:.4f}\t{printable(hit.path)}" + ("" if hit.online else "\t(offline)"))

    def scores(
        self, matcher: Matcher, image: str, vector: Float32, texts: Float32, names: Sequence[str]
    ) -> None:
        """A picture against texts."""
        similarities = texts @ vector
        confidences = softmax_confidence(similarities, matcher.spec.logit_scale)
        rows = [
            {"text": name, "similarity": float(s), "confidence": float(c)}
            for name, s, c in zip(names, similarities, confidences, strict=True)
        ]
        if self._json:
            vectors = {"image_vector": vector.tolist(), "text_vectors": texts.tolist()}
            facts = {"image": image, "model": matcher.reference, "dimension": matcher.dimension}
            self._object({**facts, "scores": rows, **vectors})
            return
        from rich.table import Table

        print(printable(f"picture {image}"))
        print(printable(f"model {matcher.reference}, vector dimension {matcher.dimension}"))
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("", overflow="fold", max_width=40)
        table.add_column("vector", no_wrap=True)
        table.add_column("similarity", justify="right")
        table.add_column("confidence", justify="right")
        table.add_row("(the picture)", _abbreviated(vector), "", "")
        for row, text_vector in zip(rows, texts, strict=True):
            table.add_row(
                _text(str(row["text"])),
                _abbreviated(text_vector),
                f"{row['similarity']:.4f}",
                f"{row['confidence']:.1%}",
            )
        self._print(table)

    def stats(self, stats: LibraryStats) -> None:
        """Facts about a library."""
        if self._json:
            self._object(asdict(stats))
            return
        offline = f", {stats.offline:,} of them offline" if stats.offline else ""
        print(printable(f"library {stats.path}"))
        print(f"  pictures   {stats.items:,}{offline} ({stats.contents:,} different)")
        print(printable(f"  model      {stats.model}, {stats.dimension} numbers a vector"))
        print(f"  vectors    {stats.vectors:,}")
        print(f"  size       {stats.size / 1e6:.1f} MB, generation {stats.generation}")
        for root in stats.roots:
            print(printable(f"  folder     {root}"))

    def checkup(self, checkup: Checkup) -> None:
        """What the doctor found."""
        if self._json:
            self._object(asdict(checkup) | {"healthy": checkup.healthy})
            return
        for title, facts in checkup.facts.items():
            print(title)
            for name, value in facts.items():
                print(printable(f"  {name:<20} {value}"))
        print("self-test")
        for test in checkup.tests:
            print(printable(f"  {'ok    ' if test.passed else 'FAILED'}  {test.name:<34} {test.detail}"))
        print("all is well" if checkup.healthy else "something is wrong: see the lines marked FAILED")

    # -- inside -----------------------------------------------------------------------------------

    def _hit_table(self, query: dict[str, str], hits: Sequence[Hit]) -> RenderableType:
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
        table.title = _text(", ".join(f"{name} {value!r}" for name, value in query.items()))
        table.add_column("", justify="right")
        table.add_column("score", justify="right")
        thumbnail = _thumbnailer() if self._thumbnails else None
        if thumbnail:
            table.add_column("")
        table.add_column("picture", overflow="fold")
        for number, hit in enumerate(hits, 1):
            about = f"{hit.path}\n{hit.width} × {hit.height}" + ("" if hit.online else ", offline")
            cells: list[RenderableType] = [str(number), f"{hit.score:.3f}"]
            if thumbnail:
                cells.append(thumbnail(hit.path))
            table.add_row(*cells, _text(about))
        return table

    def _print(self, renderable: RenderableType) -> None:
        _console().print(renderable)

    @staticmethod
    def _object(value: dict[str, Any]) -> None:
        # ASCII, because a path may hold bytes that are no text and JSON must be UTF-8.
        print(json.dumps(value))


class ProgressLines:
    """Progress as a plain line every few seconds, for logs."""

    def __init__(self) -> None:
        self.last: Progress | None = None
        self._started = self._printed = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def update(self, progress: Progress) -> None:
        """Take note, and print now and then."""
        self.last = progress
        now = time.monotonic()
        if progress.done == 0 or now - self._printed < _PLAIN_PROGRESS_SECONDS:
            return
        self._printed = now
        rate = progress.done / (now - self._started)
        left = _duration((progress.total - progress.done) / rate)
        print(
            f"indexing: {progress.done:,} of {progress.total:,}, {rate:,.0f} pictures/s, {left} left, "
            f"{progress.failed:,} failed",
            file=sys.stderr,
            flush=True,
        )


class ProgressBar:
    """Progress as a bar, for a person at a terminal."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.last: Progress | None = None
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[failed]}"),
            console=_console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("looking for pictures", total=None, rate="", failed="")
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
        if self.last is None:
            self._started = time.monotonic()
        self.last = progress
        rate = progress.done / max(time.monotonic() - self._started, 1e-9)
        self._bar.update(
            self._task,
            description="indexing",
            completed=progress.done,
            total=progress.total,
            rate=f"{rate:,.0f}/s",
            failed=f"{progress.failed:,} failed" if progress.failed else "",
        )


def printable(text: str) -> str:
    """Text from outside with control characters shown as escapes, so that no file name steers a terminal."""
    return "".join(
        c if c.isprintable() or 0xDC80 <= ord(c) <= 0xDCFF else c.encode("unicode_escape").decode()
        for c in text
    )


def _text(text: str) -> Any:
    from rich.text import Text

    return Text("\n".join(map(printable, text.split("\n"))))


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=False)


def _thumbnailer() -> Any:
    """Make thumbnails of files: a function of a path. What the terminal can is found out at the import."""
    from textual_image.renderable import Image

    def thumbnail(path: str) -> Any:
        try:
            from crosslens.decode import decode

            return Image(decode(path, path, shrink_to=128).image, width="auto", height=_THUMBNAIL_ROWS)
        except Exception:  # a missing or damaged file has no thumbnail; its line says the rest
            return ""

    return thumbnail


def _abbreviated(vector: np.ndarray[Any, Any]) -> str:
    return f"[{vector[0]:+.3f} {vector[1]:+.3f} {vector[2]:+.3f} … {vector[-1]:+.3f}]"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _files(count: int) -> str:
    return "file" if count == 1 else "files"


def _without_prefix(reason: str, path: str) -> str:
    return reason.removeprefix(f"{path}: ")
