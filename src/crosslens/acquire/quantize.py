"""`models quantize`: post-training quantisation of an image tower to int8, calibrated on pictures.

Post-training quantisation by NNCF, in its transformer mode with SmoothQuant. What results is held against the
reference before it is kept (`certify`).
"""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crosslens import app_folders
from crosslens.acquire.certify import OnStep, Sample, check_model
from crosslens.acquire.nncf import load_nncf
from crosslens.errors import ModelError
from crosslens.matching.matcher import Matcher
from crosslens.models.bundle import Bundle
from crosslens.models.certificate import Certificate, certificate_file, save_certificate
from crosslens.towers.openvino_runtime import OpenVinoModel
from crosslens.types import ImageInput

# Pictures that the ranges of activations are taken from.
_CALIBRATION = 300


def quantise(
    bundle: Bundle, sample: Sample, *, force: bool = False, on_step: OnStep = lambda _step: None
) -> Certificate:
    """Make, check and keep an int8 image tower; returns the model's new certificate.

    sample: its pictures calibrate (the first 300) and, with its texts, check. force: keep it below its bar,
    too. Raises MissingExtraError without NNCF, ModelError for an image graph that is in int8 already or below
    the bar; then what was there before stays.
    """
    on_step("calibrating")
    final = app_folders.quantised(bundle.spec.identity)
    draft = final.parent.with_name(f"{final.parent.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        _save(_quantised(bundle, sample.pictures[:_CALIBRATION]), draft / final.name)
        certificate = check_model(bundle, sample, on_step, quantised=draft / final.name, keep=False)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    [run] = [run for run in certificate.runs if run.subject == "int8"]
    if not run.passed and not force:
        shutil.rmtree(draft)
        raise ModelError(
            f"the int8 image tower of {bundle.spec.name!r} was made and falls short: {run.reason}",
            "Calibrate with more pictures, or more varied ones; --force keeps it as it is",
        )
    shutil.rmtree(final.parent, ignore_errors=True)
    draft.rename(final.parent)
    save_certificate(certificate, certificate_file(bundle))
    return certificate


def _quantised(bundle: Bundle, pictures: Sequence[ImageInput]) -> Any:
    model = OpenVinoModel(bundle, "f32")
    graph = model.image_graph()
    if any(operation.get_type_name() == "FakeQuantize" for operation in graph.get_ops()):
        raise ModelError(
            f"the image tower of {bundle.spec.name!r} is in int8 already",
            'Use it as it is: precision "auto" computes in int8 what its graph says',
        )
    nncf = load_nncf()
    matcher = Matcher(model, decode="exact")

    def batches() -> Iterator[np.ndarray[Any, Any]]:
        for number, picture in enumerate(pictures):
            yield matcher.prepare(picture, f"image {number}")[None]

    with contextlib.redirect_stdout(io.StringIO()):  # where it draws its progress
        return nncf.quantize(
            graph,
            nncf.Dataset(list(batches())),
            subset_size=len(pictures),
            model_type=nncf.ModelType.TRANSFORMER,  # SmoothQuant is part of it
        )


def _save(graph: Any, file: Path) -> None:
    import openvino

    openvino.serialize(graph, str(file), str(file.with_suffix(".bin")))
