"""Output of `crosslens models`: the catalogue, one model, a download, a certificate."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crosslens.acquire.installed_models import Pulled, Removed
from crosslens.cli.output.download_progress import FetchBar, FetchLines, megabytes
from crosslens.cli.output.hits import printable
from crosslens.cli.output.render import Output
from crosslens.models.bundle import Bundle
from crosslens.models.catalogue_entry import SOURCES, STARTER, Entry
from crosslens.models.certificate import Certificate, Run

_WIDE = 118


@dataclass(frozen=True, slots=True)
class Listed:
    """A model as it is listed. entry: None if the catalogue has none; size: on the disk, None: not here."""

    name: str
    entry: Entry | None
    bundle: Bundle | None
    size: int | None
    pulled: Pulled | None = None

    @property
    def here(self) -> str:
        """Where it is."""
        if self.name == STARTER:
            return "built in"
        return "to pull" if self.size is None else "pulled"


class ModelsOutput(Output):
    """Shows models as JSON, as lines with tabs where nobody watches, or as a table in a terminal."""

    # -- to standard error ------------------------------------------------------------------------

    def step(self, what: str) -> None:
        """Say what a check is at."""
        print(f"checking: {what}", file=sys.stderr, flush=True)

    def fetching(self) -> FetchBar | FetchLines:
        """Something to watch a download by."""
        return FetchBar() if sys.stderr.isatty() else FetchLines()

    # -- to standard output -----------------------------------------------------------------------

    def models(self, models: Sequence[Listed]) -> None:
        """All models, to choose from."""
        if self._json:
            self._object({"models": [_facts(model) for model in models]})
            return
        wide = not self._tables or shutil.get_terminal_size().columns >= _WIDE
        rows = [_row(model, wide=wide) for model in models]
        if not self._tables:
            for model, row in zip(models, rows, strict=True):
                row[0] = model.name
                recommended = model.entry.recommended if model.entry else ""
                print("\t".join(map(printable, [*row, recommended])))
            return
        head = ["name", "languages", "params", "px", "ImageNet", "COCO", "licence", "here"]
        lines = [head if wide else ["name", "languages", "params", "IN-1k", "COCO", "here"], *rows]
        print(_aligned(lines, right=range(2, 6) if wide else range(2, 5)))
        print("\nImageNet: zero-shot top-1, percent; COCO: text → image R@1, percent")
        for model in models:
            if model.entry is not None and model.entry.recommended:
                print(f"* {model.name}: {model.entry.recommended}")

    def model(self, model: Listed, certificate: Certificate | None) -> None:
        """Everything that is known of one model."""
        if self._json:
            found = None if certificate is None else _certificate(certificate)
            self._object({**_facts(model), "certificate": found})
            return
        print(printable(model.name))
        for name, value in (_entry_lines(model.entry) if model.entry else []) + _here_lines(model):
            print(printable(f"  {name:<12} {value}"))
        if certificate is not None:
            self._print_certificate(certificate)
        elif model.bundle is not None:
            print(f"  {'certificate':<12} none on this machine: crosslens models check {model.name}")

    def here(self, bundle: Bundle, size: int, *, already: bool = False) -> None:
        """A model that has been pulled or converted."""
        facts = {"name": bundle.spec.name, "folder": str(bundle.folder), "size": size, "already": already}
        if self._json:
            self._object(facts)
        else:
            how = "is here already" if already else "is here"
            print(printable(f"{bundle.spec.name} {how}: {megabytes(size)} in {bundle.folder}"))

    def certificate(self, certificate: Certificate) -> None:
        """What a check found."""
        if self._json:
            self._object(_certificate(certificate))
        else:
            self._print_certificate(certificate)

    def unchecked(self, reference: str) -> None:
        """How to get a certificate, where there was nothing to check with."""
        if not self._json:
            print(
                printable(
                    f"not checked: no pictures at hand. crosslens models check {reference} --images DIR"
                )
            )

    def freed(self, removed: Removed) -> None:
        """What a removal did."""
        if self._json:
            self._object(asdict(removed) | {"kept": str(removed.kept) if removed.kept else None})
            return
        print(printable(f"{removed.name} removed, {megabytes(removed.freed)} freed"))
        if removed.kept is not None:
            kept = f"{megabytes(removed.kept_size)} of downloads stay in {removed.kept}"
            print(printable(f"  {kept}, where other programs may use them"))

    # -- inside -----------------------------------------------------------------------------------

    @staticmethod
    def _print_certificate(certificate: Certificate) -> None:
        print(printable(f"certificate of {certificate.model}, {certificate.made}"))
        print(printable(f"  on          {certificate.machine}"))
        print(printable(f"  with        {certificate.pictures:,} pictures, {certificate.texts:,} texts"))
        print(printable(f"  reference   {certificate.reference}"))
        if certificate.reference_recall is not None:
            print(f"  recall@10   {certificate.reference_recall:.1f} % of the reference, text → image")
        head = [
            "",
            "image cosine",
            "",
            "text cosine",
            "",
            "top-10",
            "same",
            "recall",
            "images/s",
            "texts/s",
            "",
        ]
        units = ["", "mean", "min", "mean", "min", "overlap", "first", "@10", "", "", ""]
        rows = [_run_row(run) for run in certificate.runs]
        print(_aligned([head, units, *rows], right=range(1, len(head) - 1)))
        for run in certificate.runs:
            if not run.passed:
                print(printable(f"{run.subject} is not used by itself: {run.reason}"))


def _row(model: Listed, *, wide: bool) -> list[str]:
    entry, spec = model.entry, model.bundle.spec if model.bundle else None
    marked = "*" if entry and entry.recommended else ""
    scores = entry.scores if entry else None
    languages = entry.languages if entry else "–"
    parameters = f"{entry.parameters[0]:,.0f} M" if entry else "–"
    size = str(entry.image_size if entry else spec.image.size if spec else "–")
    figures = [_figure(scores.imagenet), _figure(scores.coco_text_to_image)] if scores else ["–", "–"]
    licence = _short(entry.licence if entry else spec.license if spec else "–")
    if wide:
        place = f"pulled ({megabytes(model.size)})" if model.here == "pulled" else model.here
        return [model.name + marked, languages, parameters, size, *figures, licence, place]
    place = megabytes(model.size) if model.here == "pulled" else model.here
    return [model.name + marked, languages.replace("languages", "lang."), parameters, *figures, place]


def _short(licence: str) -> str:
    """A licence in few words."""
    first = licence.partition(" (")[0].partition(" research")[0]
    return f"{first} (code)" if "of the code" in licence else first


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _facts(model: Listed) -> dict[str, Any]:
    """A model for programs."""
    facts: dict[str, Any] = {"name": model.name, "here": model.here, "size": model.size, "folder": None}
    if model.bundle is not None:
        spec = model.bundle.spec
        facts |= {"folder": str(model.bundle.folder), "dimension": spec.dimension, "licence": spec.license}
        facts |= {"image_size": spec.image.size, "context": spec.text.context_length}
    if model.pulled is not None:
        facts["commit"] = model.pulled.commit
    if model.entry is not None:
        entry = asdict(model.entry)
        for inner in ("layout", "architecture", "scripts"):
            del entry[inner]
        facts |= entry
        scores = model.entry.scores
        facts["source"] = SOURCES[scores.source] if scores else None
    return facts


def _entry_lines(entry: Entry) -> list[tuple[str, str]]:
    """What the catalogue says of a model."""
    whole, image, text = entry.parameters
    lines = [
        ("family", entry.family),
        ("parameters", f"{whole:,.1f} M (image tower {image:,.1f} M, text tower {text:,.1f} M)"),
        ("embedding", f"{entry.dimension} numbers"),
        ("pictures", f"{entry.image_size} × {entry.image_size} pixels"),
        ("texts", f"{entry.context} tokens, {entry.languages}"),
        ("licence", entry.licence),
    ]
    if entry.recommended:
        lines.append(("recommended", entry.recommended))
    if entry.scores is not None:
        scores = entry.scores
        coco = f"{_figure(scores.coco_text_to_image)}, image → text {_figure(scores.coco_image_to_text)}"
        flickr = (
            f"{_figure(scores.flickr_text_to_image)}, image → text {_figure(scores.flickr_image_to_text)}"
        )
        lines += [
            ("ImageNet", f"{_figure(scores.imagenet)} % zero-shot top-1"),
            ("COCO", f"R@1 text → image {coco}"),
            ("Flickr30k", f"R@1 text → image {flickr}"),
            ("source", SOURCES[scores.source]),
        ]
    if entry.notes:
        lines.append(("notes", entry.notes))
        lines += [("", f"({key}) {SOURCES[key]}") for key in SOURCES if f"({key})" in entry.notes]
    if entry.repo is not None:
        at = entry.revision or "main, at the commit it has when it is pulled"
        lines.append(("files", f"huggingface.co/{entry.repo}, {at}; about {entry.download / 1e9:.1f} GB"))
    if entry.image_tower is not None:
        lines.append(("fits", f"the pictures of {entry.image_tower}, which is pulled with it"))
    return lines


def _here_lines(model: Listed) -> list[tuple[str, str]]:
    """What is on this machine."""
    if model.bundle is None:
        return [("here", f"no: crosslens models pull {model.name}")]
    size = f", {megabytes(model.size)}" if model.size is not None else ""
    lines = [("here", f"{model.bundle.folder}{size}"), ("identity", model.bundle.spec.identity)]
    if model.entry is None:
        spec = model.bundle.spec
        lines += [
            ("embedding", f"{spec.dimension} numbers"),
            ("pictures", f"{spec.image.size} × {spec.image.size} pixels"),
            ("texts", f"{spec.text.context_length} tokens"),
            ("licence", spec.license),
        ]
    if model.pulled is not None and model.pulled.commit is not None:
        lines.append(("from", f"{model.pulled.repo} at {model.pulled.commit}"))
    return lines


def _certificate(certificate: Certificate) -> dict[str, Any]:
    """A certificate for programs."""
    runs = [asdict(run) | {"passed": run.passed} for run in certificate.runs]
    return asdict(certificate) | {"runs": runs, "passed": healthy(certificate)}


def healthy(certificate: Certificate) -> bool:
    """Whether every precision and the usual decoding reached their bars.

    Decoding at "1x" is an offer: where it falls short, as it does for small inputs, it is not taken up.
    """
    return all(run.passed for run in certificate.runs if run.subject != "1x")


def _run_row(run: Run) -> list[str]:
    cosines = [run.image_mean, run.image_min, run.text_mean, run.text_min]
    shares = [f"{100 * run.overlap:.1f} %", f"{100 * run.agreement:.1f} %"]
    recall = "–" if run.recall is None else f"{run.recall:.1f} %"
    speeds = [f"{run.images_per_second:,.1f}", f"{run.texts_per_second:,.0f}"]
    verdict = "ok" if run.passed else "not used" if run.subject == "1x" else "FAILED"
    return [run.subject, *(f"{cosine:.5f}" for cosine in cosines), *shares, recall, *speeds, verdict]


def _aligned(rows: Sequence[Sequence[str]], right: range) -> str:
    """Rows under heads, columns as wide as what is in them; right: those that lean to the right."""
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    lines = (
        "  ".join(
            printable(cell.rjust(width) if number in right else cell.ljust(width))
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def size_of(folder: Path) -> int:
    """Bytes of a folder's own files."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
