"""Models of four numbers beside the fake one: of the same width, so that mixing them fails in no other way.

`turned` finds what the fake model finds, by vectors that are turned: compared with the fake's, red is blue.
`mistaken` takes red pictures for blue ones and the other way round.
"""

from __future__ import annotations

import dataclasses
import os
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

import crosslens.matching.matcher
from crosslens.towers.base import TwoTowers
from crosslens.towers.fake_model import FAKE_SPEC, FakeModel
from crosslens.types import Float32

TURN, SWAP = [1, 2, 0, 3], [2, 1, 0, 3]


class Reordered:
    """A tower of the fake model whose vectors come in another order."""

    def __init__(self, tower: Any, order: list[int]) -> None:
        self._tower, self._order = tower, order

    def submit(self, batch: NDArray[Any]) -> Future[Float32]:
        future: Future[Float32] = Future()
        future.set_result(np.ascontiguousarray(self._tower.submit(batch).result()[:, self._order]))
        return future


class Turned(FakeModel):
    """Both towers turned alike."""

    spec = dataclasses.replace(FAKE_SPEC, name="turned", tokenizer_sha256="turned")

    def __init__(self) -> None:
        super().__init__()
        self.image, self.text = Reordered(self.image, TURN), Reordered(self.text, TURN)  # type: ignore[assignment]


class Mistaken(FakeModel):
    """Only pictures are."""

    spec = dataclasses.replace(FAKE_SPEC, name="mistaken", tokenizer_sha256="mistaken")

    def __init__(self) -> None:
        super().__init__()
        self.image = Reordered(self.image, SWAP)  # type: ignore[assignment]


def open_named(model: Any, *rest: Any, _open: Any = crosslens.matching.matcher.open_model) -> TwoTowers:
    """`open_model` that knows these by name, in whatever folder they seem to lie."""
    named = {"turned": Turned, "mistaken": Mistaken}.get(os.path.basename(os.fspath(model)))
    return named() if named else _open(model, *rest)


def install() -> None:
    """Make them known in this process."""
    crosslens.matching.matcher.open_model = open_named
