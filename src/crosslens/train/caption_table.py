"""All captions of a run in one table, each once, with their token ids and first embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crosslens.train.initial_model import Start
from crosslens.train.mixed_precision import autocast
from crosslens.train.pair_dataset import Pairs


@dataclass
class Captions:
    """Which texts are said of which picture: of picture p, texts captions[first[p] : first[p + 1]].

    Equal texts have one number.
    """

    first: NDArray[np.int64]
    captions: NDArray[np.int64]

    @classmethod
    def numbered(cls, lines: Sequence[Sequence[str]]) -> tuple[Captions, list[str]]:
        """The captions of each picture → (their numbers, the distinct texts in the order of the numbers)."""
        place: dict[str, int] = {}
        captions = [place.setdefault(text, len(place)) for texts in lines for text in texts]
        first = np.concatenate([[0], np.cumsum([len(texts) for texts in lines])])
        return Captions(first.astype(np.int64), np.array(captions, np.int64)), list(place)

    def choose(self, pictures: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """One caption of each picture, at random: (n,)."""
        counts = self.first[pictures + 1] - self.first[pictures]
        chosen: NDArray[np.int64] = self.captions[self.first[pictures] + random.integers(0, counts)]
        return chosen

    @staticmethod
    def same(captions: NDArray[np.int64], pictures: NDArray[np.int64]) -> Tensor:
        """Bool (n, n): pairs of the same picture, or with equal captions."""
        equal = (captions[:, None] == captions[None]) | (pictures[:, None] == pictures[None])
        return torch.from_numpy(equal)


@dataclass
class TextTable(Captions):
    """Captions with their ids. tokens: int64 (texts, length).

    vectors: float16 (texts, d), unit length, before training; None where not asked.
    """

    tokens: NDArray[np.int64]
    vectors: Tensor | None

    @classmethod
    def of(cls, pairs: Pairs, started: Start, *, before: bool, device: torch.device) -> TextTable:
        """before: whether the vectors before training are needed."""
        captions, texts = Captions.numbered(pairs.texts)
        tokens = started.tokenize(texts).ids
        vectors = encode_texts(started, tokens, device) if before else None
        return cls(captions.first, captions.captions, tokens, vectors)

    def ids(self, captions: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 (n, length)."""
        found: NDArray[np.int64] = self.tokens[captions]
        return found

    def before(self, captions: NDArray[np.int64], device: torch.device) -> Tensor:
        """float32 (n, d): the vectors before training."""
        assert self.vectors is not None  # noqa: S101
        return self.vectors[torch.from_numpy(captions)].float().to(device)

    def similarity(self, captions: NDArray[np.int64], device: torch.device) -> Tensor:
        """float32 (n, n): cosines of the captions before training."""
        vectors = self.before(captions, device)
        return vectors @ vectors.T


def encode_texts(started: Start, tokens: NDArray[np.int64], device: torch.device, batch: int = 256) -> Tensor:
    """float16 (n, d) of unit length: long texts beside long ones, so that little padding is computed."""
    lengths = started.lengths(tokens)
    order = np.argsort(lengths, kind="stable")
    found = torch.empty(len(tokens), 0)
    started.model.eval()
    with torch.inference_mode(), autocast(device):
        for at in range(0, len(order), batch):
            rows = order[at : at + batch]
            ids = tokens[rows]
            if started.model.text.spec.ignores_padding:
                ids = ids[:, : int(lengths[rows].max())]
            vectors = started.model.embed_texts(torch.from_numpy(np.ascontiguousarray(ids)).to(device))
            if not found.shape[1]:
                found = torch.empty(len(tokens), vectors.shape[1], dtype=torch.float16)
            found[torch.from_numpy(rows)] = vectors.half().cpu()
    return found
