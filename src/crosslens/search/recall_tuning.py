"""Recall tuning: approximate search measured against exact search, and its parameters adjusted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import faiss
import numpy as np

from crosslens.search.backend import SearchBackend
from crosslens.search.exact import Exact
from crosslens.types import Float32

MEASURED_K = 10
MEASURED_QUERIES = 1_000
LEAST_RECALL = 0.99
# The figure is of a sample: asking for a little more keeps what it stands for above the least.
_ASKED_RECALL = 0.993
# Scores that differ by less are one: products of one vector are added up in different orders.
_SAME = 1e-5
_BLOCK = 32_768
# Cells that every query looks into; how many more, each is told by what was found there.
_PROBES = 8
_MISSED = (0.3, 0.1, 0.03, 0.01, 0.0)
# Queries by which settings are tried, before one is measured with all.
_SOME = 256


@dataclass(frozen=True, slots=True)
class Setting:
    """probes: cells that every query looks into; candidates: rows that are scored exactly.

    missed: the part of the best that cells may hold that are not looked into, see
    `search.early_termination`.
    """

    probes: int
    candidates: int
    missed: float


@dataclass(frozen=True, slots=True)
class Recall:
    """recall@10 of stored vectors, and of the caller's queries (texts); None: none were given."""

    stored: float
    probes: float | None

    @property
    def worse(self) -> float:
        """The smaller of the two."""
        return self.stored if self.probes is None else min(self.stored, self.probes)

    @property
    def enough(self) -> bool:
        """Whether approximate search may be used."""
        return self.worse >= _ASKED_RECALL


@dataclass(frozen=True, slots=True)
class Truth:
    """Queries, the first `stored` of them stored vectors, and the k-th best score of each, float32 (q,)."""

    queries: Float32
    stored: int
    least: Float32

    def some(self) -> Truth:
        """The same of fewer queries, evenly taken."""
        step = max(1, len(self.queries) // _SOME)
        return Truth(self.queries[::step], -(-self.stored // step), self.least[::step])

    def recall(self, backend: SearchBackend) -> Recall:
        """The share of the true top k that a backend finds. What ties with the k-th is as good as it."""
        _, scores = backend.search(self.queries, MEASURED_K)
        right = (scores >= self.least[:, None] - _SAME).mean(axis=1)
        probes = float(right[self.stored :].mean()) if len(right) > self.stored else None
        return Recall(float(right[: self.stored].mean()), probes)


def settings(cells: int, rows: int) -> Iterator[Setting]:
    """What to try, the fastest first, as far as it stays faster than exact search."""
    few = [count for count in (100, 200, 400, 800, 1600) if count <= rows // 20]
    if not cells:
        yield from (Setting(0, count, 0) for count in few)
        return
    # More candidates cost less than more cells.
    yield from (Setting(_PROBES, count, missed) for missed in _MISSED for count in few[:4])


def truth_of(exact: Exact, probes: Float32) -> Truth:
    """Ask exact search: stored vectors, evenly taken, and the probes. One pass over the matrix for all.

    By products of matrices: many times faster than comparing one by one, and near enough (see `_SAME`).
    """
    rows = len(exact.ids)
    stored = exact.vectors(slice(0, rows, max(1, rows // MEASURED_QUERIES)))
    queries = np.concatenate([stored, probes.astype(np.float32, copy=False)])
    best = np.full((len(queries), MEASURED_K), -np.inf, np.float32)
    for start in range(0, rows, _BLOCK):
        block = exact.vectors(slice(start, start + _BLOCK))
        scores, _ = faiss.knn(queries, block, min(MEASURED_K, len(block)), faiss.METRIC_INNER_PRODUCT)
        best = -np.sort(-np.concatenate([best, scores], axis=1), axis=1)[:, :MEASURED_K]
    return Truth(queries, len(stored), best[:, -1])
