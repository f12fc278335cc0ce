"""Early termination: how many more IVF cells a query must probe, predicted from centroid scores.

What a centroid's score says differs by query: texts are near to no picture, and score within a narrow band; a
picture is very near to its own kind. So what was measured is kept for groups of queries, by how near their
nearest centroid is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from crosslens.search.exact import Exact
from crosslens.types import Float32, Int64

# Parts of the cells of a step, by which the scores of their best rows are kept.
_SHARES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999, 1.0)
# Queries that are held against all rows, groups of them, and steps of a curve. Few cells are near, so what is
# near has steps of few of them.
_QUERIES, _GROUPS, _STEPS, _LEAST_IN_STEP = 128, 4, 40, 32
_BLOCK = 32_768


@dataclass(frozen=True)
class Curves:
    """Of one group of queries: the best scores of rows in cells, by the score of the centroid. None falls.

    nearest: the score up to which its nearest centroid makes a query one of the group. centroids: where steps
    begin, ascending; rows: for each of _SHARES, what so many cells of each step have no better row than; as
    many as steps, 1 or more.
    """

    nearest: float
    centroids: tuple[float, ...]
    rows: tuple[tuple[float, ...], ...]

    def odds(self, centroids: Float32, least: float) -> NDArray[np.float64]:
        """How probably cells hold a row of this score or a better one, by their centroids' scores, (n,)."""
        below = np.count_nonzero(self._rows < least, axis=0)
        by_step = 1 - np.array((0, *_SHARES))[below]
        steps = np.searchsorted(self._centroids, centroids, side="right") - 1
        found: NDArray[np.float64] = by_step[np.maximum(steps, 0)]
        return found

    # Made once: a query has no time for it.
    @cached_property
    def _centroids(self) -> Float32:
        return np.array(self.centroids, np.float32)

    @cached_property
    def _rows(self) -> Float32:
        return np.array(self.rows, np.float32)


@dataclass(frozen=True, slots=True)
class Reach:
    """groups: by `nearest`, ascending; the last is also for queries that are nearer."""

    groups: tuple[Curves, ...]

    @classmethod
    def measured(cls, codes: Any, exact: Exact, queries: Float32) -> Reach:
        """From some of the queries, held against all rows. codes: FAISS index with cells."""
        some = queries[:: max(1, len(queries) // _QUERIES)][:_QUERIES]
        near, best = [], []
        for cells, ids in _cells(codes):
            lists = [len(one) for one in ids]
            scores = exact.rows(np.concatenate(ids)) @ some.T
            starts = np.concatenate([[0], np.cumsum(lists)[:-1]])
            best.append(np.maximum.reduceat(scores, starts, axis=0))
            near.append(codes.quantizer.reconstruct_batch(cells) @ some.T)
        return cls.of(np.concatenate(near), np.concatenate(best))

    @classmethod
    def of(cls, near: Float32, best: Float32) -> Reach:
        """From the scores of centroids, and of the best row of each cell, both (cells, queries)."""
        nearest = near.max(axis=0)
        groups = []
        for members in np.array_split(np.argsort(nearest, kind="stable"), min(_GROUPS, len(nearest))):
            curves = _curves(near[:, members].ravel(), best[:, members].ravel())
            groups.append(Curves(float(nearest[members].max()), *curves))
        return cls(tuple(groups))

    def cells(self, centroids: Float32, least: float, missed: float) -> int:
        """How many to look into, so that those left out probably hold no more than `missed` better rows.

        centroids: scores of all of them, descending, (n,). least: the k-th best score found, -inf for none.
        """
        odds = self._group(centroids[0]).odds(centroids, least)
        return int(np.count_nonzero(odds[::-1].cumsum()[::-1] > missed))

    def may_hold(self, centroids: Float32, nearest: Float32, least: Float32) -> NDArray[np.bool_]:
        """Whether a cell was seen to hold such a row at all.

        centroids: the score of one for each query; nearest: that of its nearest; least: as in `cells`; (q,).
        """
        pairs = zip(centroids, nearest, least, strict=True)
        return np.array([self._group(top).odds(near[None], low)[0] > 0 for near, top, low in pairs], np.bool_)

    def _group(self, nearest: float) -> Curves:
        return next((group for group in self.groups if nearest <= group.nearest), self.groups[-1])


def _curves(near: Float32, best: Float32) -> tuple[tuple[float, ...], tuple[tuple[float, ...], ...]]:
    """`Curves.centroids` and `Curves.rows`. near, best: scores of centroids, and of the best rows, (n,)."""
    order = np.argsort(-near, kind="stable")
    near, best = near[order], best[order]
    ends = np.unique(np.geomspace(min(_LEAST_IN_STEP, len(near)), len(near), _STEPS).astype(np.int64))
    steps = np.split(best, ends[:-1])[::-1]
    rows = np.array([np.quantile(step, _SHARES, method="higher") for step in steps], np.float32)
    rising = np.maximum.accumulate(rows, axis=0)
    return tuple(near[ends - 1][::-1].tolist()), tuple(map(tuple, rising.T.tolist()))


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
