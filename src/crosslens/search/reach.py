"""How well the rows of a cell may score, told from the score of its centroid, as it was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np

from crosslens.search.exact import Exact
from crosslens.types import Float32, Int64

# Queries that are held against all rows, and steps of the measured curve. Few cells are near, so what is near
# has steps of few of them.
_QUERIES, _STEPS, _LEAST_IN_STEP = 64, 40, 32
_BLOCK = 32_768


@dataclass(frozen=True, slots=True)
class Reach:
    """The best score that rows of a cell had, by the score of its centroid: a curve that never falls.

    centroids: scores of centroids, ascending; rows: the best scores of rows of cells whose centroid has that
    score and more, but less than the next; both of the same length, 1 or more.
    """

    centroids: tuple[float, ...]
    rows: tuple[float, ...]

    @classmethod
    def measured(cls, codes: Any, exact: Exact, queries: Float32) -> Reach:
        """From some of the queries, held against all rows. codes: FAISS index with cells."""
        some = queries[:: max(1, len(queries) // _QUERIES)][:_QUERIES]
        near, best = [], []
        for cells, ids in _cells(codes):
            lists = [len(one) for one in ids]
            scores = exact.rows(np.concatenate(ids)) @ some.T
            starts = np.concatenate([[0], np.cumsum(lists)[:-1]])
            best.append(np.maximum.reduceat(scores, starts, axis=0).ravel())
            near.append((codes.quantizer.reconstruct_batch(cells) @ some.T).ravel())
        return cls._of(np.concatenate(near), np.concatenate(best))

    @classmethod
    def _of(cls, near: Float32, best: Float32) -> Reach:
        """The curve of pairs, each of the scores of a centroid and of the best row of its cell."""
        order = np.argsort(-near, kind="stable")
        near, best = near[order], best[order]
        ends = np.unique(np.geomspace(min(_LEAST_IN_STEP, len(near)), len(near), _STEPS).astype(np.int64))
        starts = np.concatenate([[0], ends[:-1]])
        rows = np.maximum.accumulate(np.maximum.reduceat(best, starts)[::-1])
        return cls(tuple(near[ends - 1][::-1].tolist()), tuple(rows.tolist()))

    def best(self, centroids: Float32) -> Float32:
        """The scores that almost no rows exceed, from the scores of their cells' centroids; any shape."""
        steps = np.searchsorted(self.centroids, centroids, side="right") - 1
        found: Float32 = np.asarray(self.rows, np.float32)[np.maximum(steps, 0)]
        return found


def _cells(codes: Any) -> Iterator[tuple[Int64, list[Int64]]]:
    """Cells that are not empty, and the rows in each, some at a time."""
    cells, ids, count = [], [], 0
    for cell in range(codes.nlist):
        size = codes.invlists.list_size(cell)
        if size:
            cells.append(cell)
            ids.append(faiss.rev_swig_ptr(codes.invlists.get_ids(cell), size).copy())
            count += size
        if cells and (count >= _BLOCK or cell == codes.nlist - 1):
            yield np.array(cells, np.int64), ids
            cells, ids, count = [], [], 0
