"""Projection of a library to 2-D: its first two principal components, overlapping points pulled apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crosslens.library.search_view import View
from crosslens.search.exact import Exact
from crosslens.types import Float32

_MOST = 20_000
# Points are cut off beyond this share of them, so that a few far ones do not press the others together.
_SHARE = 0.995
_CELLS = 160
_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Plane:
    """points: (x, y) in [-1, 1] for each of `items`, ids. total: items of which these are an even sample."""

    points: tuple[tuple[float, float], ...]
    items: tuple[int, ...]
    total: int


def plane_of(view: View) -> Plane:
    """Lay out a library's pictures; of one that holds nothing else, its texts."""
    matrix = view.matrix(view.resolve_kind(None))
    total = len(matrix.ids)
    if total == 0:
        return Plane((), (), 0)
    rows = np.arange(0, total, -(-total // _MOST))
    _, axes = np.linalg.eigh(matrix.covariance.astype(np.float64))
    axes = axes[:, :-3:-1]  # of the largest two
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)
    exact = Exact(matrix.index, matrix.ids)
    parts = []
    for start in range(0, total, _BLOCK):
        wanted = rows[(rows >= start) & (rows < start + _BLOCK)] - start
        vectors = exact.vectors(slice(start, min(start + _BLOCK, total)))[wanted]
        parts.append((vectors - matrix.mean) @ axes)
    points = _spread(_scaled(np.concatenate(parts).astype(np.float32)))
    rounded = np.round(points.astype(np.float64), 4).tolist()
    return Plane(tuple((x, y) for x, y in rounded), tuple(np.asarray(matrix.ids)[rows].tolist()), total)


def _scaled(points: Float32) -> Float32:
    reach = np.quantile(np.abs(points), _SHARE, axis=0)
    scaled: Float32 = np.clip(points / np.where(reach > 0, reach, 1), -1, 1)
    return scaled


def _spread(points: Float32) -> Float32:
    """Pull apart what lies in one cell of a grid: in a spiral, the more there is the wider."""
    cells = np.minimum(((points + 1) / 2 * _CELLS).astype(np.int64), _CELLS - 1)
    numbers = cells[:, 0] * _CELLS + cells[:, 1]
    order = np.argsort(numbers, kind="stable")
    first = np.searchsorted(numbers[order], numbers[order])
    place = np.empty(len(points))
    place[order] = np.arange(len(points)) - first  # how many lie in its cell before it
    turn = place * np.pi * (3 - np.sqrt(5))
    reach = np.sqrt(place) / _CELLS / 2
    moved = points + (reach * np.stack([np.cos(turn), np.sin(turn)])).T
    spread: Float32 = np.clip(moved, -1, 1).astype(np.float32)
    return spread
