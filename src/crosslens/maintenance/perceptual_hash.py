"""Perceptual hash and sharpness from small versions of pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crosslens.encode import ordered_map
from crosslens.errors import ImageError
from crosslens.images.decode import decode
from crosslens.towers.openvino_runtime import available_cores
from crosslens.types import Int64, UInt8

T = TypeVar("T")

# Bits of 64 in which the small pictures of one picture, saved twice, may differ.
_MOST_BITS = 8
# Of 255, by which their mean colours may.
_MOST_COLOUR = 10
_SIDE = 8
# Pixels of the short side at which sharpness is measured: few enough to be quick, and for artefacts of
# compression to be gone; enough to see a shaken hand.
_SHARP_SIDE = 512

OnDone = Callable[[int, int], None]


class Likeness:
    """Small pictures of files. paths: of items, by their ids."""

    def __init__(self, paths: dict[int, str]) -> None:
        self._paths = paths
        self._known: dict[int, tuple[UInt8, NDArray[np.float64]] | None] = {}

    def look(self, items: Iterable[int], on_done: OnDone | None = None) -> None:
        """Make the small pictures of items, by all cores. on_done(done, all): is told of each."""
        new = [item for item in dict.fromkeys(items) if item not in self._known]
        found = _by_all_cores(_small, [self._paths[item] for item in new])
        for done, (item, small) in enumerate(zip(new, found, strict=True), start=1):
            self._known[item] = small
            if on_done:
                on_done(done, len(new))

    def agree(self, one: Int64, other: Int64) -> NDArray[np.bool_]:
        """Whether items that were looked at show the same picture, pair by pair, as a mask (n,).

        False where a file cannot be read.
        """
        known = {item: small for item, small in self._known.items() if small is not None}
        seen = np.array(
            [a in known and b in known for a, b in zip(one.tolist(), other.tolist(), strict=True)]
        )
        same = np.zeros(len(one), np.bool_)
        pairs = list(zip(one[seen].tolist(), other[seen].tolist(), strict=True)) if len(one) else []
        if pairs:
            bits = [np.array([known[pair[side]][0] for pair in pairs]) for side in (0, 1)]
            colours = [np.array([known[pair[side]][1] for pair in pairs]) for side in (0, 1)]
            few_bits = np.unpackbits(bits[0] ^ bits[1], axis=1).sum(axis=1) <= _MOST_BITS
            same[seen] = few_bits & (np.abs(colours[0] - colours[1]).max(axis=1) <= _MOST_COLOUR)
        return same


def sharpnesses(paths: list[str]) -> list[float]:
    """Variance of the Laplacian of small grey versions of pictures; 0 for what cannot be read.

    Comparable between pictures of one scene and size. Source: J. Pech-Pacheco et al., Diatom autofocusing in
    brightfield microscopy, 2000.
    """
    return list(_by_all_cores(_sharpness, paths))


def _by_all_cores(function: Callable[[str], T], paths: list[str]) -> Iterable[T]:
    cores = available_cores()
    with ThreadPoolExecutor(cores, thread_name_prefix="crosslens-likeness") as pool:
        yield from ordered_map(pool, function, paths, window=4 * cores)


def _small(path: str) -> tuple[UInt8, NDArray[np.float64]] | None:
    """(difference hash, mean colour): 64 bits, each whether a pixel of 9 × 8 is darker than the next.

    Source: N. Krawetz, Kind of like that, 2013. It knows nothing of pictures without detail, colour does.
    """
    image = _decoded(path, 4 * _SIDE)
    if image is None:
        return None
    small = image.resize((_SIDE + 1, _SIDE), Image.Resampling.BOX)
    grey = np.asarray(small.convert("L"), dtype=np.int16)
    return np.packbits(grey[:, 1:] > grey[:, :-1]), np.asarray(small, np.float64).mean(axis=(0, 1))


def _sharpness(path: str) -> float:
    image = _decoded(path, _SHARP_SIDE)
    if image is None:
        return 0.0
    factor = min(1.0, _SHARP_SIDE / min(image.size))
    width, height = (max(1, round(factor * side)) for side in image.size)
    grey = np.asarray(image.convert("L").resize((width, height), Image.Resampling.BOX), np.float32)
    if min(grey.shape) < 3:
        return 0.0
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * grey[1:-1, 1:-1]).var())


def _decoded(path: str, side: int) -> Image.Image | None:
    if not os.path.isfile(path):
        return None
    try:
        return decode(path, path, shrink_to=side).image
    except ImageError:
        return None
