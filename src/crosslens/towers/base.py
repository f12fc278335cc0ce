"""The seam. A runtime is whatever offers `submit`; a model is a pair of those with their facts."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, Protocol

from numpy.typing import NDArray

from crosslens.models.spec import ModelSpec
from crosslens.tokenize import Tokenize
from crosslens.types import Float32


class Tower(Protocol):
    """One network, callable from any thread."""

    def submit(self, batch: NDArray[Any]) -> Future[Float32]:
        """Start on a batch; the future holds raw vectors, float32 (n, d), not normalised.

        batch: uint8 (n, s, s, 3) RGB for an image tower, int64 (n, length) for a text tower; it must not
        change until the future is done. A batch of another shape or dtype is a ValueError.
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
