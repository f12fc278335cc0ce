"""The runtime interface: a tower offers `submit`, a model is a pair of towers with its specification."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from crosslens.models.spec import ModelSpec
from crosslens.texts.tokenizer import Tokenize
from crosslens.types import Float32


def check_batch(batch: NDArray[Any], shape: tuple[int, ...], dtype: DTypeLike, *, shorter: bool) -> None:
    """Raise ValueError for a batch that is not `dtype` (n, *shape). shorter: (n, up to shape[0]) will do."""
    found = batch.shape[1:]
    fits = found == shape or (shorter and len(found) == len(shape) and 0 < found[0] < shape[0])
    if batch.dtype != dtype or not fits:
        wanted = ", ".join(map(str, shape))
        raise ValueError(f"wanted {np.dtype(dtype)} (n, {wanted}), got {batch.dtype} {batch.shape}")


class Tower(Protocol):
    """One network, callable from any thread."""

    def submit(self, batch: NDArray[Any]) -> Future[Float32]:
        """Start on a batch; the future holds raw vectors, float32 (n, d), not normalised.

        batch: uint8 (n, s, s, 3) RGB for an image tower, int64 (n, length) for a text tower, or fewer columns
        where `ModelSpec.short_texts` says so; it must not change until the future is done. A batch of another
        shape or dtype is a ValueError.
        """
        ...


class TwoTowers(Protocol):
    """A model ready to run. Towers and tokeniser are opened when first used."""

    @property
    def spec(self) -> ModelSpec:
        """The model's facts."""
        ...

    @property
    def runtime(self) -> str:
        """What computes, and at which precision: provenance of the vectors."""
        ...

    @property
    def concurrency(self) -> int:
        """Batches that a tower works on at the same time."""
        ...

    @property
    def batch_size(self) -> int:
        """Pictures to a batch that keep it busy."""
        ...

    @property
    def tokenize(self) -> Tokenize:
        """Texts → ids."""
        ...

    @property
    def image(self) -> Tower:
        """Pictures → raw vectors."""
        ...

    @property
    def text(self) -> Tower:
        """Ids → raw vectors."""
        ...
