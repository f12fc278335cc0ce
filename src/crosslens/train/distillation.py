"""Distillation from a finished model: its vectors of the training pairs, and the loss terms.

Teacher and model may have vectors of different lengths; linear maps between them are trained along, and are
no part of what is exported.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from crosslens.errors import InputError, TextTruncatedWarning
from crosslens.models.catalogue import find_bundle
from crosslens.train.batches import Batch
from crosslens.train.cached_embeddings import KeptOutputs
from crosslens.train.losses import feature_distillation, similarity_distillation
from crosslens.train.pair_dataset import Pairs
from crosslens.train.recipe import DistillSpec, Recipe
from crosslens.types import Float32


@dataclass(frozen=True, slots=True)
class Teacher:
    """What a finished model computes: images float32 (pictures, d), texts float32 (captions, d), unit length.

    texts: of the distinct captions, in the order in which they first occur. scale: what its cosines are
    multiplied by.
    """

    images: Float32
    texts: Float32
    scale: float


def read_teacher(
    recipe: Recipe,
    train: Pairs,
    folder: Path,
    place: Path,
    *,
    device: str = "cpu",
    on_step: Callable[[str], None] = lambda _step: None,
) -> Teacher | None:
    """The recipe's teacher; None where it names none. What it computes is kept in `folder`/teacher.

    place: that the recipe's paths are relative to. Raises UnknownModelError, BundleError, InputError.
    """
    name = recipe.distill.teacher
    if name is None:
        return None
    bundle = find_bundle(place / name if (place / name).is_dir() else name)
    on_step(f"asking the teacher, {bundle.spec.name}")
    kept = KeptOutputs(folder / "teacher", bundle, device=device, on_step=on_step)
    images = kept.images(train.images, train.sources)
    unread = int(np.isnan(images).any(axis=1).sum())
    if unread:
        raise InputError(f"the teacher cannot read {unread} of the training pictures", "Leave them out")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TextTruncatedWarning)  # the model's own context is as short
        texts = kept.texts(list(dict.fromkeys(text for line in train.texts for text in line)))
    return Teacher(images, texts, bundle.spec.logit_scale)


class Distillation(nn.Module):
    """The terms of the loss that follow a teacher.

    dimension: of the model in training. seed: of the maps' first values. state_dict() holds the maps alone.
    """

    def __init__(self, spec: DistillSpec, teacher: Teacher, dimension: int, seed: int) -> None:
        super().__init__()
        self._spec, self._scale = spec, teacher.scale
        self._images, self._texts = torch.from_numpy(teacher.images), torch.from_numpy(teacher.texts)
        self.maps = nn.ParameterDict()
        width = teacher.images.shape[1]
        if spec.features and width != dimension:
            random = np.random.default_rng([seed, 5])
            for tower in ("image", "text"):
                values = dimension**-0.5 * random.standard_normal((width, dimension))
                self.maps[tower] = nn.Parameter(torch.from_numpy(values.astype(np.float32)))

    def parts(self, images: Tensor, texts: Tensor, batch: Batch, scale: Tensor) -> dict[str, Tensor]:
        """The parts by name, weighted. images, texts: (n, d), the model's. scale: of its cosines."""
        device, spec = images.device, self._spec
        parts = {}
        # The teacher's cosines times its scale want more digits than bf16 has.
        with torch.autocast(device.type, enabled=False):
            images, texts = images.float(), texts.float()
            their_images = self._images[torch.from_numpy(batch.pictures)].to(device)
            their_texts = self._texts[torch.from_numpy(batch.captions)].to(device)
            if spec.similarities:
                theirs = self._scale * their_images @ their_texts.T
                divergence = similarity_distillation(scale * images @ texts.T, theirs)
                parts["similarities"] = spec.similarities * divergence
            if spec.features:
                apart = [
                    feature_distillation(self._mapped("image", images), their_images),
                    feature_distillation(self._mapped("text", texts), their_texts),
                ]
                parts["features"] = spec.features * torch.stack(apart).mean()
        return parts

    def _mapped(self, tower: str, vectors: Tensor) -> Tensor:
        return vectors @ self.maps[tower].T if tower in self.maps else vectors
