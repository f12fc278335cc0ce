"""IVF cells of the approximate index: k-means clustering; cells that are too large are split.

k-means alone can end with a cell whose centroid lies in the middle of everything and is nearest to all that
no other centroid stands for: measured on clustered vectors, one of 2,048 cells got 60,000 of 1,000,000 rows,
and every query looked into it.
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from crosslens.types import Float32, Int64

# Rows for each centroid that are enough to place it.
ROWS_PER_CELL = 32
_FIRST_ROUNDS, _SPLIT_ROUNDS, _LATER_ROUNDS = 3, 4, 2
# A cell of more times the mean is split, as long as there are such cells, but not for ever.
_LARGE, _MOST_SPLITS = 3.0, 6


def centroids(rows: Float32, count: int) -> Float32:
    """Unit centroids of balanced cells, float32 (count, d).

    rows: unit vectors, float32 (n, d), n ≥ count; `ROWS_PER_CELL` times count are enough.
    """
    means = _k_means(rows, count, _FIRST_ROUNDS)
    for _ in range(_MOST_SPLITS):
        cells = _nearest(rows, means)
        sizes = np.bincount(cells, minlength=count)
        large = np.flatnonzero(sizes > _LARGE * len(rows) / count)
        if not len(large):
            break
        means = _k_means(rows, count, _LATER_ROUNDS, _split(rows, means, cells, large))
    return means


def _split(rows: Float32, means: Float32, cells: Int64, large: Int64) -> Float32:
    """Several centroids for each large cell, and none any more for the smallest ones."""
    count, sizes = len(means), np.bincount(cells, minlength=len(means))
    parts = []
    for cell in large:
        inside = rows[cells == cell]
        parts.append(_k_means(inside, -(-len(inside) * count // len(rows)), _SPLIT_ROUNDS))
    rest = np.setdiff1d(np.arange(count), large)
    rest = rest[np.argsort(-sizes[rest], kind="stable")]
    return np.ascontiguousarray(np.concatenate([*parts, means[rest]])[:count])


def _k_means(rows: Float32, count: int, rounds: int, start: Float32 | None = None) -> Float32:
    clustering: Any = faiss.Kmeans(
        rows.shape[1],
        count,
        niter=rounds,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=max(1, len(rows)),
    )
    clustering.train(np.ascontiguousarray(rows), init_centroids=start)
    found: Float32 = clustering.centroids
    return found


def _nearest(rows: Float32, means: Float32) -> Int64:
    found: Int64 = faiss.knn(rows, means, 1, faiss.METRIC_INNER_PRODUCT)[1][:, 0]
    return found
