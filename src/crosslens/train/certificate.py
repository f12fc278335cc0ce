"""The certificate of a trained model: the pipeline on the exported bundle against the trainer's own vectors.

held-out pictures, texts ── the trainer, float32 ──────────────────────────┐
── the bundle, each precision, each decoding ─────┴── certificate.json
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from crosslens.certificate import BARS, Certificate
from crosslens.certify import OnStep, Sample, check_model
from crosslens.errors import InputError, TextTruncatedWarning
from crosslens.models.bundle import Bundle
from crosslens.models.spec import ModelSpec
from crosslens.tokenize import FastTokenizer
from crosslens.towers.torch import TorchTower
from crosslens.train.export import Storage
from crosslens.train.pairs import Pairs
from crosslens.train.start import Start

# Held-out pictures that are looked at.
_MOST = 200
# Mean cosine that weights in half precision and matrices of int8 must keep.
_STORED_BAR = 0.999


class TrainedModel:
    """A model in training as the pipeline takes one; see `crosslens.towers.base.TwoTowers`.

    Float32, on the CPU, where the model must be. spec: of the bundle that was exported from it.
    """

    concurrency = 1
    batch_size = 32
    runtime = "the trained model in torch cpu f32"

    def __init__(self, started: Start, spec: ModelSpec) -> None:
        model, cpu, size = started.model.eval(), torch.device("cpu"), spec.image.size
        self.spec = spec
        self.tokenize: FastTokenizer = started.tokenize

        def embed_images(pixels: Tensor) -> Tensor:
            return model.embed_images(pixels.permute(0, 3, 1, 2))

        length = (spec.text.context_length,)
        self.image = TorchTower(embed_images, cpu, (size, size, 3), np.uint8)
        self.text = TorchTower(model.embed_texts, cpu, length, np.int64, shorter=spec.short_texts)


def certify_export(
    started: Start,
    bundle: Bundle,
    val: Pairs,
    storage: Storage,
    on_step: OnStep = lambda _step: None,
) -> Certificate | None:
    """Compare a bundle with the model it was exported from, on held-out pairs, and keep the certificate.

    started: its model is on the CPU. storage: how the bundle's weights were written, which decides what is
    asked of it. None, and nothing is written, where ten pictures or fewer are held out.
    Raises ModelError.
    """
    rows = np.unique(np.linspace(0, len(val) - 1, min(_MOST, len(val))).astype(int)).tolist()
    captions = [val.texts[row][0] for row in rows]
    try:
        sample = Sample([val.images[row] for row in rows], captions, range(len(rows)))
    except InputError:
        return None
    with warnings.catch_warnings():
        # Texts that are too long are as much too long for the reference.
        warnings.simplefilter("ignore", TextTruncatedWarning)
        return check_model(
            bundle, sample, on_step, reference=TrainedModel(started, bundle.spec), bars=bars_of(storage)
        )


def bars_of(storage: Storage) -> Mapping[str, float]:
    """Mean cosine with the trained model that each precision must reach, by how the weights are stored."""
    least = BARS["int8"] if storage.int8 else _STORED_BAR if storage != Storage() else 1.0
    return BARS | {precision: min(BARS[precision], least) for precision in ("f32", "bf16")}
