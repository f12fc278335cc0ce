"""Training pairs in memory: encoded pictures with their texts, random crops, epochs, splits."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crosslens.errors import InputError
from crosslens.images.decode import decode


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pictures and what is said of them.

    images: each the bytes of a picture file. texts: of each picture at least one. sources: names for
    messages. groups: what each picture is grouped by, see `DataSpec.group_column`; empty: nothing.
    """

    images: Sequence[bytes]
    texts: Sequence[tuple[str, ...]]
    sources: Sequence[str] = ()
    groups: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, rows: Sequence[int]) -> Pairs:
        """Some of the pictures, in this order."""
        sources = [self.sources[row] for row in rows] if self.sources else []
        groups = [self.groups[row] for row in rows] if self.groups else []
        return Pairs([self.images[row] for row in rows], [self.texts[row] for row in rows], sources, groups)


@dataclass(frozen=True, slots=True)
class Groups:
    """Training pictures by what they are grouped by. rows: of each group. texts: of each group."""

    rows: tuple[NDArray[np.int64], ...]
    texts: NDArray[np.int64]

    @classmethod
    def of(cls, train: Pairs) -> Groups:
        """Raises InputError where pictures have no groups."""
        if not train.groups:
            raise InputError(
                "a stage has one_group, and the pictures have no groups", "Give data.group_column"
            )
        names, numbers = np.unique(np.array(train.groups), return_inverse=True)
        counts = np.array([len(texts) for texts in train.texts])
        rows = tuple(np.flatnonzero(numbers == number) for number in range(len(names)))
        return cls(rows, np.array([counts[part].sum() for part in rows]))

    def draw(self, count: int, random: np.random.Generator) -> NDArray[np.int64]:
        """Different rows of one group, which is as likely as it has texts: at most `count`."""
        rows = self.rows[random.choice(len(self.rows), p=self.texts / self.texts.sum())]
        return random.permutation(rows)[:count]


@dataclass(frozen=True, slots=True)
class View:
    """How a picture is looked at in one step: box (left, top, right, bottom) in parts of its sides."""

    box: tuple[float, float, float, float]
    flipped: bool


@dataclass
class Pixels:
    """Decoded pictures, kept after their first use; shorter sides above `side` are reduced first."""

    images: Sequence[bytes]
    side: int
    _kept: dict[int, NDArray[np.uint8]] = field(default_factory=dict)

    def picture(self, row: int) -> Image.Image:
        """Upright RGB."""
        if row not in self._kept:
            self._kept[row] = np.asarray(self._decoded(row))
        return Image.fromarray(self._kept[row])

    def _decoded(self, row: int) -> Image.Image:
        picture = decode(io.BytesIO(self.images[row]), f"training picture {row}", shrink_to=self.side).image
        if min(picture.size) > self.side:
            ratio = self.side / min(picture.size)
            picture = picture.resize((round(picture.width * ratio), round(picture.height * ratio)))
        return picture

    def batch(
        self, rows: Sequence[int], views: Sequence[View], size: int, pool: ThreadPoolExecutor
    ) -> NDArray[np.uint8]:
        """uint8 (n, 3, size, size)."""
        return np.stack(list(pool.map(self._view, rows, views, [size] * len(rows))))

    def _view(self, row: int, view: View, size: int) -> NDArray[np.uint8]:
        picture = self.picture(row)
        left, top, right, bottom = view.box
        box = (left * picture.width, top * picture.height, right * picture.width, bottom * picture.height)
        pixels = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC, box=box))
        pixels = pixels[:, ::-1] if view.flipped else pixels
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def random_view(random: np.random.Generator, shape: tuple[int, int], least_area: float) -> View:
    """A random crop, half of them mirrored.

    shape: (width, height) of the picture. A third of the views squeeze the whole width and height that they
    keep into the square, since pictures come so too; the others keep the shape, up to 4:3.
    """
    width, height = shape
    area = random.uniform(least_area, 1.0)
    if random.random() < 1 / 3:
        ratio = width / height
    else:
        ratio = float(np.exp(random.uniform(-np.log(4 / 3), np.log(4 / 3))))
    w = min(width, np.sqrt(area * width * height * ratio))
    h = min(height, np.sqrt(area * width * height / ratio))
    left, top = random.uniform(0, width - w), random.uniform(0, height - h)
    box = (left / width, top / height, (left + w) / width, (top + h) / height)
    return View(box, bool(random.random() < 0.5))


def epoch_rows(first: int, count: int, total: int, seed: int) -> NDArray[np.int64]:
    """Rows of a step: `count` places from `first` on, in epochs of `total` rows, each in its own order."""
    places = np.arange(first, first + count)
    orders = {
        epoch: np.random.default_rng([seed, epoch]).permutation(total)
        for epoch in np.unique(places // total).tolist()
    }
    return np.array([orders[place // total][place % total] for place in places.tolist()], np.int64)


def split(pairs: Pairs, fraction: float, seed: int) -> tuple[Pairs, Pairs]:
    """Training and held-out pictures. Raises InputError where one of them would have none."""
    train, held = split_rows(len(pairs), fraction, seed)
    return pairs.subset(train), pairs.subset(held)


def split_rows(count: int, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Rows of so many pictures: (to train on, held out). Raises InputError where one would be empty."""
    order = np.random.default_rng(seed).permutation(count)
    held = round(fraction * count)
    if not 0 < held < count:
        raise InputError(f"{count} pictures are too few to hold some out", "Give data.val")
    return order[held:].tolist(), order[:held].tolist()
