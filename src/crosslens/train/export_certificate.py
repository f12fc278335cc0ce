"""The certificate of a trained model: the exported bundle against the trainer's own vectors.

held-out pictures, texts ── the trainer, float32 ──────────────────────────┐
── the bundle, each precision, each decoding ─────┴── certificate.json
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crosslens.acquire.certify import OnStep, Sample, check_model
from crosslens.errors import InputError, TextTruncatedWarning
from crosslens.models.bundle import Bundle
from crosslens.models.certificate import BARS, Certificate
from crosslens.models.spec import ModelSpec
from crosslens.texts.tokenizer import FastTokenizer
from crosslens.towers.base import Tower, TwoTowers
from crosslens.towers.torch_runtime import TorchTower
from crosslens.train.export import Storage
from crosslens.train.initial_model import Start
from crosslens.train.pair_dataset import Pairs
from crosslens.types import Float32

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


class MappedModel:
    """A finished model with a map over each side's vectors; see `crosslens.towers.base.TwoTowers`.

    model: in float32. maps: float32 (d, d), on the CPU. spec: of the bundle that they were folded into.
    """

    concurrency = 1
    batch_size = 32
    runtime = "the model in float32, its vectors mapped"

    def __init__(self, model: TwoTowers, image: Float32, text: Float32, spec: ModelSpec) -> None:
        self.spec, self.tokenize = spec, model.tokenize
        self.image, self.text = _MappedTower(model.image, image), _MappedTower(model.text, text)


class _MappedTower:
    def __init__(self, tower: Tower, matrix: Float32) -> None:
        self._tower, self._matrix = tower, matrix

    def submit(self, batch: NDArray[Any]) -> Future[Float32]:
        found: Future[Float32] = Future()
        found.set_result(self._tower.submit(batch).result() @ self._matrix.T)
        return found


def certify_export(
    reference: TwoTowers,
    bundle: Bundle,
    val: Pairs,
    storage: Storage = Storage(),  # noqa: B008 (frozen)
    on_step: OnStep = lambda _step: None,
) -> Certificate | None:
    """Compare a bundle with the model it was exported from, on held-out pairs, and keep the certificate.

    reference: that model. storage: how the bundle's weights were written, which decides what is asked of it.
    None, and nothing is written, where ten pictures or fewer are held out. Raises ModelError.
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
        return check_model(bundle, sample, on_step, reference=reference, bars=bars_of(storage))


def bars_of(storage: Storage) -> Mapping[str, float]:
    """Mean cosine with the trained model that each precision must reach, by how the weights are stored."""
    least = BARS["int8"] if storage.int8 else _STORED_BAR if storage != Storage() else 1.0
    return BARS | {precision: min(BARS[precision], least) for precision in ("f32", "bf16")}
