"""Certificates: what `models check` measured of a model on this machine, and what follows from it.

Each run compares vectors with a reference; `BARS` says how near they must come.
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from crosslens import app_folders
from crosslens.models.bundle import Bundle
from crosslens.models.catalogue import is_built_in

Decoding = Literal["exact", "2x", "1x"]

# How far a JPEG may be decoded below its full size, in sides of the model's input.
OVERSAMPLE: dict[Decoding, int] = {"exact": 2, "2x": 2, "1x": 1}
DECODINGS: dict[str, Decoding] = {"exact": "exact", "fast": "1x"}
# Mean cosine with the reference that trained weights must reach.
BARS = {"f32": 0.9999, "bf16": 0.9995, "int8": 0.99, "2x": 0.999, "1x": 0.999}
# Points of text → image recall@10 that int8 may lose.
RECALL_BAR = 1.0
_FILE = "certificate.json"


@dataclass(frozen=True, slots=True)
class Run:
    """One way of computing, against the reference.

    subject: what differs, a precision or a decoding. Cosines in [-1, 1], of the same picture or text.
    overlap: share of the reference's ten nearest pictures of a text that are found. agreement: share of texts
    whose nearest picture is the same. speeds: pictures from files and texts, each a second.
    recall: text → image recall@10 in percent; None without captions. reason: why it fell short; "" if not.
    """

    subject: str
    runtime: str
    decoding: str
    image_mean: float
    image_min: float
    text_mean: float
    text_min: float
    overlap: float
    agreement: float
    images_per_second: float
    texts_per_second: float
    recall: float | None
    reason: str

    @property
    def passed(self) -> bool:
        """Whether it reached its bar."""
        return not self.reason


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was found of one model on one machine. reference: what the runs were compared with."""

    model: str
    identity: str
    machine: str
    made: str
    reference: str
    pictures: int
    texts: int
    reference_recall: float | None
    runs: tuple[Run, ...]

    def passed(self, subject: str) -> bool | None:
        """Whether a precision or decoding reached its bar; None where it was not tried."""
        return next((run.passed for run in self.runs if run.subject == subject), None)


def certificate_file(bundle: Bundle) -> Path:
    """Where a model's certificate lies: beside the bundle, or in the user's data where that cannot be."""
    if is_built_in(bundle) or not os.access(bundle.folder, os.W_OK):
        return app_folders.certificate(bundle.spec.identity)
    return bundle.folder / _FILE


def save_certificate(certificate: Certificate, file: Path) -> None:
    """Write it, whole or not at all. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(certificate), indent=1) + "\n")
    draft.replace(file)


def find_certificate(bundle: Bundle) -> Certificate | None:
    """A model's certificate on this machine; None without one, or if it is of other weights."""
    try:
        facts = json.loads(certificate_file(bundle).read_text())
        facts["runs"] = tuple(Run(**run) for run in facts["runs"])
        certificate = Certificate(**facts)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    fits = (certificate.identity, certificate.machine) == (bundle.spec.identity, machine())
    return certificate if fits else None


def chosen_decoding(model: Any) -> Decoding:
    """The fastest decoding that was found right for an open model; "2x" where nothing was looked at."""
    bundle = getattr(model, "bundle", None)
    certificate = None if bundle is None else find_certificate(bundle)
    if certificate is None:
        return "2x"
    if certificate.passed("1x"):
        return "1x"
    return "exact" if certificate.passed("2x") is False else "2x"


@cache
def machine() -> str:
    """The processor, by name: vectors are a matter of its arithmetic."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{platform.machine()} {name}"
