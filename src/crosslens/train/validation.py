"""Validation: recall of retrieval on held-out pictures."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from crosslens.evaluation.retrieval import CUTOFFS, retrieval_metrics
from crosslens.images.decode import decode
from crosslens.images.preprocess import preprocess
from crosslens.train.caption_table import encode_texts
from crosslens.train.initial_model import Start
from crosslens.train.mixed_precision import autocast
from crosslens.train.pair_dataset import Pairs
from crosslens.train.torch_towers import TwoTowers


@dataclass(frozen=True, slots=True)
class Validation:
    """Text → image recall in [0, 1], over all held-out captions among all held-out pictures.

    Higher is better.
    """

    recall_1: float
    recall_5: float
    recall_10: float

    @property
    def by_name(self) -> dict[str, float]:
        """The figures under the names that they have in reports."""
        return {"recall@1": self.recall_1, "recall@5": self.recall_5, "recall@10": self.recall_10}

    @property
    def score(self) -> float:
        """What the best weights are chosen by."""
        return (self.recall_1 + self.recall_5 + self.recall_10) / 3


def validate(model: TwoTowers, started: Start, val: Pairs, device: torch.device) -> Validation:
    """Encode the held-out pairs as the exported model will, and rank."""
    model.eval()
    images = encode_images(model, started, val, device)
    texts = [text for line in val.texts for text in line]
    owner = np.repeat(np.arange(len(val)), [len(line) for line in val.texts])
    vectors = encode_texts(started, started.tokenize(texts).ids, device).float()
    figures = retrieval_metrics(images, vectors.numpy(), owner, resamples=0).text_to_image
    return Validation(*(figures[f"recall@{k}"] for k in CUTOFFS))


def encode_images(
    model: TwoTowers, started: Start, pairs: Pairs, device: torch.device, batch: int = 64
) -> NDArray[np.float32]:
    """float32 (n, d) of unit length, preprocessed as the bundle's pictures are."""
    with torch.inference_mode(), autocast(device):
        found = [
            model.embed_images(torch.from_numpy(pixels).to(device)).float().cpu().numpy()
            for pixels in prepared(started, pairs, batch)
        ]
    return np.concatenate(found)


def prepared(started: Start, pairs: Pairs, batch: int) -> Iterator[NDArray[np.uint8]]:
    """Pictures as the bundle will see them, in batches: uint8 (n, 3, s, s)."""

    def prepare(data: bytes) -> NDArray[np.uint8]:
        picture = decode(io.BytesIO(data), "picture", shrink_to=started.image.side)
        return preprocess(picture.image, started.image).transpose(2, 0, 1)

    with ThreadPoolExecutor(2) as pool:
        for at in range(0, len(pairs), batch):
            yield np.stack(list(pool.map(prepare, pairs.images[at : at + batch])))
