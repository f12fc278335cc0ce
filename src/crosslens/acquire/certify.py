"""`models check`: measures how near the fast ways of running a model come to its reference.

pictures, texts ── reference: float32, every pixel ──┐
                ── each precision, each decoding ────┴── cosines, rankings, speed ── Certificate
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from crosslens import app_folders
from crosslens.errors import InputError
from crosslens.matching.matcher import Matcher
from crosslens.models.bundle import Bundle
from crosslens.models.certificate import (
    BARS,
    RECALL_BAR,
    Certificate,
    Decoding,
    Run,
    certificate_file,
    machine,
    save_certificate,
)
from crosslens.models.spec import Networks
from crosslens.towers.base import TwoTowers
from crosslens.towers.openvino_runtime import OpenVinoModel, Precision
from crosslens.types import Float32, ImageInput

OnStep = Callable[[str], None]

_NEAREST = 10


@dataclass(frozen=True, slots=True)
class Sample:
    """What a model is checked with.

    pictures: paths, or bytes of files. texts: any. pairs: for texts that are captions, the picture that each
    belongs to, by its place in `pictures`; () where none are known.
    """

    pictures: Sequence[ImageInput]
    texts: Sequence[str]
    pairs: Sequence[int] = ()

    def __post_init__(self) -> None:
        if len(self.pictures) <= _NEAREST or len(self.texts) <= _NEAREST:
            raise InputError(
                f"{len(self.pictures)} pictures and {len(self.texts)} texts are too few to check a model",
                f"Give more than {_NEAREST} of each",
            )


@dataclass(frozen=True, slots=True)
class _Vectors:
    images: Float32
    texts: Float32
    images_per_second: float
    texts_per_second: float
    runtime: str


def check_model(
    bundle: Bundle,
    sample: Sample,
    on_step: OnStep = lambda _step: None,
    *,
    quantised: Path | None = None,
    keep: bool = True,
    reference: TwoTowers | None = None,
    bars: Mapping[str, float] = BARS,
) -> Certificate:
    """Run a model in every way this machine offers, compare, and keep the certificate.

    Decodings are held against exact decoding at the same precision, precisions against the reference.
    on_step: is told what is being run. quantised: the int8 image tower; None: the one that is kept, if any.
    reference: an open model; None: the bundle's own float32. bars: mean cosine that each run must reach.
    Raises InputError, ImageError, ModelError.
    """
    quantised = quantised or app_folders.quantised(bundle.spec.identity)
    on_step("reference")
    wanted = _vectors(Matcher(reference or _reference(bundle), decode="exact"), sample)
    runs, best = [], wanted
    for precision in precisions_of(bundle, quantised):
        on_step(precision)
        model = OpenVinoModel(bundle, precision, quantised=quantised)
        found = _vectors(Matcher(model, decode="exact"), sample)
        runs.append(_compare(precision, "exact", found, wanted, sample, bars))
        if precision != "int8":
            fastest, best = precision, found
    decodings: tuple[Decoding, ...] = ("2x", "1x")
    for decoding in decodings:
        on_step(f"{decoding} decoding")
        matcher = Matcher(OpenVinoModel(bundle, fastest), decode="exact")
        matcher.decoding = decoding
        runs.append(_compare(decoding, decoding, _vectors(matcher, sample), best, sample, bars))
    certificate = Certificate(
        model=bundle.spec.name,
        identity=bundle.spec.identity,
        machine=machine(),
        made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        reference=f"{wanted.runtime}, exact decoding",
        pictures=len(sample.pictures),
        texts=len(sample.texts),
        reference_recall=_recall(wanted, sample),
        runs=tuple(runs),
    )
    if keep:
        save_certificate(certificate, certificate_file(bundle))
    return certificate


def _reference(bundle: Bundle) -> TwoTowers:
    """PyTorch in float32 where it is installed and can run the model, else OpenVINO in float32."""
    if isinstance(bundle.spec.towers, Networks) and find_spec("torch"):
        from crosslens.towers.torch_runtime import TorchModel

        return TorchModel(bundle, "cpu", "f32")
    return OpenVinoModel(bundle, "f32")


def precisions_of(bundle: Bundle, quantised: Path) -> list[Precision]:
    """What this machine offers, the fastest of the floating ones last of them."""
    precisions: list[Precision] = ["f32"]
    if OpenVinoModel(bundle).precision == "bf16":
        precisions.append("bf16")
    if quantised.is_file():
        precisions.append("int8")
    return precisions


def _vectors(matcher: Matcher, sample: Sample) -> _Vectors:
    matcher.embed_images(sample.pictures[:1])  # opens what is opened once
    matcher.embed_texts(sample.texts[:1])
    started = time.perf_counter()
    images = matcher.embed_images(sample.pictures)
    between = time.perf_counter()
    texts = matcher.embed_texts(sample.texts)
    ended = time.perf_counter()
    return _Vectors(
        images,
        texts,
        len(images) / (between - started),
        len(texts) / (ended - between),
        matcher.model.runtime,
    )


def _compare(
    subject: str,
    decoding: str,
    found: _Vectors,
    reference: _Vectors,
    sample: Sample,
    bars: Mapping[str, float],
) -> Run:
    image_cosines = (found.images * reference.images).sum(axis=1)
    text_cosines = (found.texts * reference.texts).sum(axis=1)
    ranked, wanted = _nearest(found), _nearest(reference)
    run = Run(
        subject=subject,
        runtime=found.runtime,
        decoding=decoding,
        image_mean=float(image_cosines.mean()),
        image_min=float(image_cosines.min()),
        text_mean=float(text_cosines.mean()),
        text_min=float(text_cosines.min()),
        overlap=float(
            np.mean([len(set(a) & set(b)) / _NEAREST for a, b in zip(ranked, wanted, strict=True)])
        ),
        agreement=float((ranked[:, 0] == wanted[:, 0]).mean()),
        images_per_second=found.images_per_second,
        texts_per_second=found.texts_per_second,
        recall=_recall(found, sample),
        reason="",
    )
    return replace(run, reason=_reason(run, _recall(reference, sample), bars[subject]))


def _nearest(vectors: _Vectors) -> np.ndarray[tuple[int, int], np.dtype[np.intp]]:
    return np.argsort(-(vectors.texts @ vectors.images.T), axis=1, kind="stable")[:, :_NEAREST]


def _recall(vectors: _Vectors, sample: Sample) -> float | None:
    """Text → image recall@10, percent."""
    if not sample.pairs:
        return None
    return float(100 * (_nearest(vectors) == np.array(sample.pairs)[:, None]).any(axis=1).mean())


def _reason(run: Run, reference_recall: float | None, bar: float) -> str:
    """Why a run falls short of its bar; "" if it does not."""
    mean = min(run.image_mean, run.text_mean)
    if mean < bar:
        return f"mean cosine {mean:.5f} is below {bar}"
    lost = 0.0 if run.recall is None or reference_recall is None else reference_recall - run.recall
    if bar <= BARS["int8"] and lost > RECALL_BAR:
        return f"recall@10 falls by {lost:.1f} points"
    return ""
