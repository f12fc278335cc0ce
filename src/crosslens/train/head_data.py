"""Pairs through a model's towers, as the tensors that heads are trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crosslens.errors import InputError
from crosslens.train.cached_embeddings import KeptOutputs
from crosslens.train.caption_table import Captions
from crosslens.train.pair_dataset import Pairs


@dataclass(frozen=True, slots=True)
class HeadData:
    """What is trained on, and what it is measured by. Vectors: float32 of unit length, on one device.

    images: (n, d), rows of NaN for pictures that could not be read. texts: (m, d), of the distinct texts.
    captions: which of them each picture has. pictures: int64, rows of the readable pictures that have any.
    negatives: int64 (k, 2), rows of pictures and of texts that do not match.
    val_images, val_texts, val_owner: held out, all readable; the row of each text's picture.
    val: the held-out pairs themselves. key: a hash of all inputs.
    """

    images: Tensor
    texts: Tensor
    captions: Captions
    pictures: NDArray[np.int64]
    negatives: NDArray[np.int64]
    val_images: Tensor
    val_texts: Tensor
    val_owner: NDArray[np.int64]
    val: Pairs
    key: str

    def to(self, device: str) -> HeadData:
        """The same with its vectors on a device."""
        names = ("images", "texts", "val_images", "val_texts")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


def head_data(
    kept: KeptOutputs,
    train: Pairs,
    val: Pairs,
    negatives: Sequence[tuple[int, str]],
    on_step: Callable[[str], None],
) -> HeadData:
    """Everything as vectors; what `kept` does not hold yet is computed.

    negatives: (row of train, text) of pairs that do not match. Raises InputError where there is too little to
    train on, or to choose by.
    """
    for row, text in negatives:
        if not 0 <= row < len(train):
            problem = f"a text that does not match, {text!r}, is of picture {row}"
            raise InputError(problem, f"There are {len(train)}, counted from 0")
    images, held = kept.images(train.images, train.sources), kept.images(val.images, val.sources)
    readable, good = (np.flatnonzero(np.isfinite(vectors).all(axis=1)) for vectors in (images, held))
    missing = len(images) + len(held) - len(readable) - len(good)
    if missing:
        on_step(f"pictures that cannot be read and are left out: {missing:,}")
    captions, texts = Captions.numbered(train.texts)
    val = val.subset(good.tolist())
    said = [text for line in val.texts for text in line]
    there = set(readable.tolist())
    wrong = [(row, text) for row, text in negatives if row in there]
    place = {text: row for row, text in enumerate(dict.fromkeys([*texts, *(t for _, t in wrong), *said]))}
    pictures = readable[np.diff(captions.first)[readable] > 0]
    if len(pictures) < 2:
        raise InputError(f"{len(pictures)} pictures have a text", "A contrastive loss needs at least 2")
    if not said:
        raise InputError("no held-out picture has a text", "Give some: the best step is chosen by them")
    vectors = torch.from_numpy(kept.texts(list(place)))
    rows = np.array([(row, place[text]) for row, text in wrong], dtype=np.int64).reshape(-1, 2)
    owner = np.repeat(np.arange(len(val)), [len(line) for line in val.texts])
    parts = (captions.first, captions.captions, rows, owner)
    return HeadData(
        images=torch.from_numpy(images),
        texts=vectors,
        captions=captions,
        pictures=pictures.astype(np.int64),
        negatives=rows,
        val_images=torch.from_numpy(held[good]),
        val_texts=vectors[torch.tensor([place[text] for text in said])],
        val_owner=owner,
        val=val,
        key=hashlib.sha256(kept.asked + b"".join(part.tobytes() for part in parts)).hexdigest(),
    )
