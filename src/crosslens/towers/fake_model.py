"""A fake two-tower model whose vectors can be worked out by hand, for tests.

An embedding has four numbers: red, green, blue, and darkness = 1 − the largest of the three. A picture's
are those of its mean colour over 255; a text's are the mean of its colour words' (`COLOURS`), where other
words count for nothing and a text without colour words is black. So the text "red" and a red picture have
cosine 1, "red" and a yellow one 1/√2, "red" and a blue one 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslens.models.spec import (
    Graphs,
    ImageSpec,
    MatchSpec,
    ModelSpec,
    RelevanceSpec,
    TensorSpec,
    TextSpec,
)
from crosslens.texts.tokenizer import Tokens
from crosslens.types import Float32, Int64

COLOURS: dict[str, tuple[float, float, float]] = {
    "black": (0, 0, 0),
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "yellow": (1, 1, 0),
    "magenta": (1, 0, 1),
    "cyan": (0, 1, 1),
    "white": (1, 1, 1),
}
# Ids: 0 pads, 1 is any other word, 2 and up are the colours in their order.
_PAD, _OTHER, _FIRST_COLOUR = 0, 1, 2
_IDS = {word: number + _FIRST_COLOUR for number, word in enumerate(COLOURS)}

_BY_HAND = "nothing: chosen by hand"
FAKE_SPEC = ModelSpec(
    name="fake",
    version="1",
    dimension=4,
    logit_scale=10.0,
    image=ImageSpec(8, "shortest_edge", "bicubic", "center", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    text=TextSpec(context_length=8, pad_id=_PAD),
    towers=Graphs(TensorSpec("", "", "", "fake"), TensorSpec("", "", "", "fake")),
    tokenizer_file="",
    tokenizer_sha256="fake",
    match=MatchSpec(a=10.0, b=-5.0, calibrated=True, fitted_on=_BY_HAND),
    match_names=MatchSpec(a=10.0, b=-5.0, calibrated=True, fitted_on=_BY_HAND),
    relevance=RelevanceSpec(1.75, 1.8, missed=0, false_alarms=0, measured_on=_BY_HAND),
    license="Apache-2.0",
    scripts=("LATIN",),
)


class FakeModel:
    """The model described above, as both towers and tokeniser; see `crosslens.towers.base.TwoTowers`."""

    spec = FAKE_SPEC
    runtime = "fake f32"
    concurrency = 1
    batch_size = 32

    def __init__(self) -> None:
        self.image = _FakeImageTower()
        self.text = _FakeTextTower()

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """One token a word, split at spaces, without regard to case and punctuation."""
        length = FAKE_SPEC.text.context_length
        ids: Int64 = np.full((len(texts), length), _PAD, dtype=np.int64)
        words = [[word.strip(".,;:!?\"'") for word in text.lower().split()] for text in texts]
        for row, line in enumerate(words):
            ids[row, : min(len(line), length)] = [_IDS.get(word, _OTHER) for word in line[:length]]
        lengths = np.array([len(line) for line in words], dtype=np.int64)
        rest = {row: self._pieces(line[length:]) for row, line in enumerate(words) if len(line) > length}
        return Tokens(ids, lengths, np.minimum(lengths, length), rest)

    def _pieces(self, words: list[str]) -> Int64:
        """What did not fit, cut into rows."""
        length = FAKE_SPEC.text.context_length
        starts = range(0, len(words), length)
        return np.concatenate([self.tokenize([" ".join(words[i : i + length])]).ids for i in starts])


def _with_darkness(rgb: NDArray[Any]) -> Float32:
    """(n, 3) in [0, 1] → (n, 4)."""
    return np.concatenate([rgb, 1 - rgb.max(axis=1, keepdims=True)], axis=1).astype(np.float32)


def _done(vectors: Float32) -> Future[Float32]:
    future: Future[Float32] = Future()
    future.set_result(vectors)
    return future


class _FakeImageTower:
    def submit(self, batch: NDArray[Any]) -> Future[Float32]:
        size = FAKE_SPEC.image.size
        if batch.dtype != np.uint8 or batch.shape[1:] != (size, size, 3):
            raise ValueError(f"wanted uint8 (n, {size}, {size}, 3), got {batch.dtype} {batch.shape}")
        return _done(_with_darkness(batch.mean(axis=(1, 2)) / 255))


class _FakeTextTower:
    def submit(self, batch: NDArray[Any]) -> Future[Float32]:
        length = FAKE_SPEC.text.context_length
        if batch.dtype != np.int64 or batch.shape[1:] != (length,):
            raise ValueError(f"wanted int64 (n, {length}), got {batch.dtype} {batch.shape}")
        table = np.zeros((len(COLOURS) + _FIRST_COLOUR, 3))
        table[_FIRST_COLOUR:] = list(COLOURS.values())
        is_colour = batch >= _FIRST_COLOUR
        count = np.maximum(is_colour.sum(axis=1, keepdims=True), 1)
        return _done(_with_darkness(table[batch].sum(axis=1) / count))
