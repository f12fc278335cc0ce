"""Output of the commands: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from math import isnan
from typing import TYPE_CHECKING, Any

from crosslens.cli.output.hits import as_text, hit_fields, hit_table, printable
from crosslens.cli.output.progress_bar import ProgressBar, ProgressLines, console
from crosslens.matching.match_probability import softmax_confidence
from crosslens.types import Failure, Hit, IndexReport, Label, LibraryStats, Progress

if TYPE_CHECKING:
    import numpy as np
    from rich.console import RenderableType

    from crosslens.diagnose.benchmark import Figure
    from crosslens.diagnose.doctor import Checkup
    from crosslens.library.grouping import Group
    from crosslens.matching.matcher import Matcher
    from crosslens.types import Float32

# What is said of an empty result: without, and with, the wish for nothing but what is meant.
_NOTHING = ("nothing found", "nothing here matches")


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

    def pointer(self, lines: str) -> None:
        """Show where in a query something went wrong."""
        print("\n".join(f"  {printable(line)}" for line in lines.split("\n")), file=sys.stderr)

    def warn(self, message: str) -> None:
        """Say what a user should know of a result."""
        print(f"warning: {printable(message)}", file=sys.stderr)

    def notice(self, message: str) -> None:
        """Say something once."""
        print(f"crosslens: {printable(message)}", file=sys.stderr)

    def progress(self, doing: str, *, streaming: bool = False) -> ProgressBar | ProgressLines:
        """Something to watch a long run by. streaming: its results are printed meanwhile."""
        between_results = streaming and sys.stdout.isatty()
        return ProgressBar(doing) if sys.stderr.isatty() and not between_results else ProgressLines(doing)

    def interrupted(self, last: Progress | None, kept: str) -> None:
        """Say how far an interrupted run came, and what is kept of it."""
        done = f"{last.done:,} of {last.total:,} were looked into" if last else "nothing was begun"
        print(f"interrupted: {done}; {kept}", file=sys.stderr)

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
        rate = f", {report.encoded / report.seconds:,.0f}/s" if report.encoded else ""
        print(f"{done} in {report.seconds:.1f} s ({report.encoded:,} encoded{rate})")
        if report.ignored:
            print(f"{report.ignored:,} {_files(report.ignored)} passed over: no picture's name, or ignored")
        if report.offline:
            where = ", ".join(stats.missing[:3]) + (", …" if len(stats.missing) > 3 else "")
            print(printable(f"{report.offline:,} offline, kept because {where} is missing or empty"))
            print("  (if it is gone for good: crosslens remove FOLDER)")
        self._failures(report.failures)
        print(printable(f"library {stats.path}: {_holds(stats)}, model {stats.model}"))

    def hits(
        self, query: dict[str, str], hits: Sequence[Hit], *, many: bool = False, relevant: bool = False
    ) -> None:
        """What a search found. many: it is one of several, so plain lines begin with the query.

        relevant: no more than what is probably meant.
        """
        if self._json:
            self._object({"query": query, "hits": [hit_fields(hit) for hit in hits]})
        elif not hits:
            print(_NOTHING[relevant])
        elif self._tables:
            self._print(hit_table(query, hits, thumbnails=self._thumbnails))
        else:
            for hit in hits:
                asked = printable(query["text"]) + "\t" if many else ""
                offline = "" if hit.online else "\t(offline)"
                text = "" if hit.text is None else f"\t{printable(hit.text)}"
                score = "-" if isnan(hit.score) else f"{hit.score:.4f}"
                print(f"{asked}{score}\t{printable(hit.path)}{text}{offline}")

    def groups(self, query: dict[str, str], groups: Sequence[Group], *, relevant: bool = False) -> None:
        """What a search found, in groups. relevant: as for `hits`."""
        if self._json:
            found = [
                {"key": group.key, "more": group.more, "hits": [hit_fields(hit) for hit in group.hits]}
                for group in groups
            ]
            self._object({"query": query, "groups": found})
            return
        if not groups:
            print(_NOTHING[relevant])
        for group in groups:
            more = ", and more" if group.more else ""
            print(printable(f"{group.key or 'not known'} ({len(group.hits)}{more})"))
            self.hits(query, group.hits)

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
                as_text(str(row["text"])),
                _abbreviated(text_vector),
                f"{row['similarity']:.4f}",
                f"{row['confidence']:.1%}",
            )
        self._print(table)

    def labels(self, image: str, labels: Sequence[Label]) -> None:
        """The labels of a picture."""
        if self._json:
            self._object({"image": image, "labels": [asdict(label) for label in labels]})
            return
        print(printable(image))
        for label in labels:
            print(printable(f"  {label.confidence:>6.1%}  {label.text}"))

    def pair(self, row: int, image: str, text: str, result: tuple[float, float] | Failure) -> None:
        """A picture and a text of a table: (cosine, probability), or why they could not be compared."""
        facts: dict[str, Any] = {"row": row, "image": image, "text": text}
        if isinstance(result, Failure):
            if self._json:
                self._object({**facts, "error": result.reason})
            else:
                self.warn(f"row {row}: {result.path}: {result.reason}")
            return
        cosine, p = result
        if self._json:
            self._object({**facts, "similarity": cosine, "probability": p})
        else:
            print(f"{p:.3f}\t{cosine:.4f}\t{printable(image)}\t{printable(text)}")

    def failed(self, failures: Sequence[Failure]) -> None:
        """Inputs that there is no result for."""
        for failure in failures:
            if self._json:
                self._object({"image": failure.path, "error": failure.reason})
            else:
                self.warn(f"{failure.path}: {failure.reason}")

    def embedded(self, path: str, shape: tuple[int, ...], failures: Sequence[Failure]) -> None:
        """What was written."""
        if self._json:
            rows = [asdict(failure) for failure in failures]
            self._object({"file": path, "vectors": shape[0], "dimension": shape[1], "failures": rows})
            return
        print(printable(f"{shape[0]:,} vectors of {shape[1]} numbers in {path}"))
        self._failures(failures)

    def trained(self, bundle: str, step: int, recall: dict[str, float], gap: float) -> None:
        """What a training run made. recall: by its name. gap: greatest 1 − cosine of the export."""
        if self._json:
            self._object({"bundle": bundle, "step": step, **recall, "export_gap": gap})
            return
        print(printable(f"{bundle}: the weights of step {step:,}"))
        print("held-out pictures: " + ", ".join(f"{name} {value:.1%}" for name, value in recall.items()))
        print(f"the bundle computes what the trainer computed: 1 − cosine at most {gap:.1e}")

    def stats(self, stats: LibraryStats) -> None:
        """Facts about a library."""
        if self._json:
            self._object(asdict(stats))
            return
        offline = f", {stats.offline:,} of them offline" if stats.offline else ""
        print(printable(f"library {stats.path}"))
        print(f"  items      {_holds(stats)}{offline} ({stats.contents:,} different)")
        print(printable(f"  model      {stats.model}, {stats.dimension} numbers a vector"))
        if stats.migrating:
            to = stats.migrating
            done = f"{to.encoded:,} of {stats.contents:,} encoded"
            print(printable(f"  migrating  to {to.model}, {to.dimension} numbers a vector: {done}"))
        if stats.waiting:
            print(f"  waiting    {stats.waiting:,} without a vector until crosslens index sees their files")
        print(f"  vectors    {stats.vectors:,}")
        print(f"  size       {stats.size / 1e6:.1f} MB, generation {stats.generation}")
        print(f"  search     {_searched(stats)}")
        for root in stats.roots:
            print(printable(f"  indexed    {root}" + (" (missing)" if root in stats.missing else "")))

    def removed(self, count: int, stats: LibraryStats) -> None:
        """What was forgotten."""
        if self._json:
            self._object({"removed": count, "library": asdict(stats)})
        else:
            print(printable(f"{count:,} forgotten; library {stats.path}: {_holds(stats)}"))

    def item(self, item: Hit) -> None:
        """One item of a list."""
        if self._json:
            self._object({name: value for name, value in hit_fields(item).items() if name != "score"})
        else:
            text = "" if item.text is None else f"\t{printable(item.text)}"
            print(f"{item.id}\t{printable(item.path)}{text}" + ("" if item.online else "\t(offline)"))

    def figures(self, figures: Sequence[Figure], pictures: int) -> None:
        """What a benchmark measured."""
        if self._json:
            self._object({"pictures": pictures, "figures": [asdict(figure) for figure in figures]})
            return
        print(f"measured with {_pictures(pictures)}; on a machine that others use too, figures vary")
        width = max(len(figure.how) for figure in figures)
        heads = [f"{figure.model}: {figure.what}" for figure in figures]
        places = {head: place for place, head in reversed(list(enumerate(heads)))}
        shown = ""
        for head, figure in sorted(zip(heads, figures, strict=True), key=lambda row: places[row[0]]):
            if head != shown:
                print(printable(head))
                shown = head
            value = f"{figure.value:,.2f}" if figure.value < 100 else f"{figure.value:,.0f}"
            print(f"  {figure.how:<{width}}  {value:>10} {figure.unit}")

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

    @staticmethod
    def _failures(failures: Sequence[Failure]) -> None:
        if failures:
            print(f"{len(failures):,} could not be read:")
        for failure in failures:
            print(printable(f"  {failure.path}: {failure.reason}"))

    def _print(self, renderable: RenderableType) -> None:
        console().print(renderable)

    @staticmethod
    def _object(value: dict[str, Any]) -> None:
        # ASCII, because a path may hold bytes that are no text and JSON must be UTF-8.
        print(json.dumps(value))


def _abbreviated(vector: np.ndarray[Any, Any]) -> str:
    return f"[{vector[0]:+.3f} {vector[1]:+.3f} {vector[2]:+.3f} … {vector[-1]:+.3f}]"


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count:,} pictures"


def _searched(stats: LibraryStats) -> str:
    """How a library is searched, in words."""
    found = stats.approximate
    if found is None:
        return "exact"
    texts = "" if found.recall_of_texts is None else f", of texts {found.recall_of_texts:.3f}"
    return f"approximate, recall@10 of stored vectors {found.recall_of_stored:.3f}{texts}"


def _holds(stats: LibraryStats) -> str:
    """What is in a library, in words."""
    texts = f"{stats.texts:,} text{'' if stats.texts == 1 else 's'}"
    if stats.texts == stats.items and stats.texts:
        return texts
    pictures = _pictures(stats.items - stats.texts)
    return f"{pictures}, {texts}" if stats.texts else pictures


def _files(count: int) -> str:
    return "file" if count == 1 else "files"
