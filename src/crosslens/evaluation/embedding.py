"""A data set through both towers: vectors of its pictures and texts, and the speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crosslens.errors import InputError
from crosslens.evaluation.bootstrap import Int64
from crosslens.evaluation.datasets import Pairs
from crosslens.matching.matcher import Matcher
from crosslens.types import Embedded, Failure, Float32, ImageInput, Progress

OnProgress = Callable[[Progress], None]
# Pictures that open the image tower before time is taken.
_WARM_UP = 8


@dataclass(frozen=True, slots=True)
class EmbeddedPairs:
    """pairs: the set as far as it could be read. images (n, d), texts (m, d): its vectors.

    failures: pictures that were left out, with their texts. Rates are of files and texts to vectors, the
    model already open.
    """

    pairs: Pairs
    images: Float32
    texts: Float32
    failures: tuple[Failure, ...]
    images_per_second: float
    texts_per_second: float


def embed_pairs(
    matcher: Matcher, pairs: Pairs, on_progress: OnProgress = lambda _progress: None
) -> EmbeddedPairs:
    """Embed a set. Raises InputError where nothing of it can be read, TextError."""
    found, rate = embed_pictures(matcher, pairs.images, on_progress)
    pairs = keep_pictures(pairs, found.rows) if found.failures else pairs
    if not len(found.rows) or not pairs.texts:
        raise InputError(f"{pairs.name}: no picture with a text could be read", "Check the paths")
    matcher.embed_texts(pairs.texts[:1])
    started = time.perf_counter()
    texts = matcher.embed_texts(pairs.texts)
    seconds = time.perf_counter() - started
    return EmbeddedPairs(pairs, found.vectors, texts, found.failures, rate, len(texts) / seconds)


def embed_pictures(
    matcher: Matcher, images: Sequence[ImageInput], on_progress: OnProgress = lambda _progress: None
) -> tuple[Embedded, float]:
    """(vectors of what can be read, pictures a second, the model already open)."""
    matcher.embed_images(images[:_WARM_UP], on_error="skip")
    started = time.perf_counter()
    found = matcher.embed_images(_counted(images, on_progress), on_error="skip")
    return found, len(images) / max(time.perf_counter() - started, 1e-9)


def keep_pictures(pairs: Pairs, rows: Int64) -> Pairs:
    """A set with these pictures alone, and with the texts that belong to them."""
    new = np.full(len(pairs.images), -1)
    new[rows] = np.arange(len(rows))
    kept = np.flatnonzero(new[pairs.text_to_image] >= 0)
    judged = pairs.judgements
    if judged is not None:  # a text stays as long as it may: its other pictures are still there
        kept = np.arange(len(pairs.texts))
        judged = judged[new[judged[:, 1]] >= 0]
        judged = np.stack([judged[:, 0], new[judged[:, 1]], judged[:, 2]], axis=1)
    return replace(
        pairs,
        images=tuple(pairs.images[row] for row in rows),
        image_ids=tuple(pairs.image_ids[row] for row in rows),
        texts=tuple(pairs.texts[row] for row in kept),
        text_to_image=new[pairs.text_to_image[kept]],
        labels=None if pairs.labels is None else pairs.labels[kept],
        judgements=judged,
    )


def _counted(images: Sequence[ImageInput], on_progress: OnProgress) -> Iterator[ImageInput]:
    for number, image in enumerate(images):
        on_progress(Progress(number, len(images), 0, number))
        yield image
