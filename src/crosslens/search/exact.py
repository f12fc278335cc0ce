"""Exact search: every vector is compared. The oracle for whatever else searches."""

from __future__ import annotations

from typing import Any

import numpy as np

from crosslens.types import Float32, Int64


def search_exact(index: Any, ids: Int64, queries: Float32, k: int) -> tuple[Int64, Float32]:
    """Top-k by inner product, best first; equal scores by id.

    index: FAISS index with n rows; ids: int64 (n,), ascending; queries: float32 (q, d).
    Returns (ids int64 (q, min(k, n)), scores float32 of the same shape).
    """
    k = min(k, len(ids))
    if k == 0 or len(queries) == 0:
        return np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    wanted = k
    while True:
        # FAISS takes any of those that tie for the last place, so look beyond it until the tie ends.
        wanted = min(2 * wanted, len(ids))
        scores, rows = index.search(queries, wanted)
        if wanted == len(ids) or (scores[:, k - 1] > scores[:, -1]).all():
            break
    order = np.lexsort((rows, -scores), axis=1)[:, :k]
    rows = np.take_along_axis(rows, order, axis=1)
    return np.asarray(ids)[rows], np.take_along_axis(scores, order, axis=1)
