"""Exact (brute-force) nearest-neighbour search on all cores; the reference for every other backend.

FAISS gives a query to one core. Here the cores share the rows: each takes the next block of the matrix until
none is left, and keeps the best it saw. Several queries go over a block while it lies in the cache, so the
matrix is read once for all of them.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import faiss
import numpy as np

from crosslens.search.backend import Allowed, rows_of
from crosslens.types import Float32, Int64, UInt8

# Rows of a block: for one query enough that handing it over costs nothing, for several (and for rows that are
# gathered) so few that they stay in a core's second-level cache.
_BLOCK, _CACHED_BLOCK = 8_192, 512
# Comparisons that are done sooner than another thread begins.
_ALONE = 4_096


@dataclass(frozen=True, slots=True)
class Exact:
    """A matrix as a `SearchBackend`. index: FAISS float16 flat index, n rows; ids: int64 (n,), ascending."""

    index: Any
    ids: Int64

    def search(self, queries: Float32, k: int, allowed: Allowed | None = None) -> tuple[Int64, Float32]:
        """See `SearchBackend`."""
        return search_exact(self.index, self.ids, queries, k, allowed)

    def vectors(self, which: slice) -> Float32:
        """Rows of the matrix, float32 (m, d)."""
        return self.rows(which)

    def rows(self, which: slice | Int64) -> Float32:
        """`vectors`, also by their numbers, int64 (m,)."""
        rows: Float32 = self.index.sa_decode(np.ascontiguousarray(_Codes.of(self.index).rows[which]))
        return rows

    def scores(self, vector: Float32) -> Float32:
        """Inner products of all rows with a vector, float32 (n,)."""
        return rows_above(self.index, vector, -np.inf)[1]


def search_exact(
    index: Any, ids: Int64, queries: Float32, k: int, allowed: Allowed | None = None
) -> tuple[Int64, Float32]:
    """Top-k by inner product, best first; equal scores by id.

    index: FAISS index with n rows of float16; ids: int64 (n,), ascending; queries: float32 (q, d);
    allowed: see `search.backend`, None for all.
    Returns (ids int64 (q, min(k, n)), scores float32 of the same shape), n being that of the allowed ones.
    """
    rows = None if allowed is None else rows_of(ids, allowed)
    found, scores = top_rows(index, queries, k, rows)
    return np.asarray(ids)[found], scores


def top_rows(index: Any, queries: Float32, k: int, rows: Int64 | None = None) -> tuple[Int64, Float32]:
    """`search_exact` by row instead of id. rows: those to look at, int64 (m,), ascending; None for all."""
    count = index.ntotal if rows is None else len(rows)
    k = min(k, count)
    if k == 0 or len(queries) == 0:
        return np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    wanted = k
    while True:
        # Any of those that tie for the last place are kept, so look beyond it until the tie ends.
        wanted = min(2 * wanted, count)
        parts = _scan(_Codes.of(index), queries, wanted, rows)
        scores = np.concatenate([part_scores for part_scores, _ in parts], axis=1)
        found = np.concatenate([part_rows for _, part_rows in parts], axis=1)
        order = np.lexsort((found, -scores), axis=1)[:, :k]
        best = np.take_along_axis(scores, order, axis=1)
        least_kept = np.max([part_scores.min(axis=1) for part_scores, _ in parts], axis=0)
        if wanted == count or (best[:, k - 1] > least_kept).all():
            return np.take_along_axis(found, order, axis=1), best


def rows_above(index: Any, vector: Float32, least: float) -> tuple[Int64, Float32]:
    """All rows whose inner product with a vector is at least `least`: (rows int64 (m,) ascending, scores)."""
    query = np.ascontiguousarray(vector[None], dtype=np.float32)
    # FAISS wants scores above the radius.
    radius = float(np.nextafter(np.float32(least), np.float32(-np.inf)))
    _, scores, rows = index.range_search(query, radius)
    order = np.argsort(rows)
    return rows[order].astype(np.int64, copy=False), scores[order]


@dataclass(frozen=True, slots=True)
class _Codes:
    """The rows of a FAISS index as bytes, uint8 (n, 2d), not copied. It keeps the index alive."""

    index: Any
    rows: UInt8

    @classmethod
    def of(cls, index: Any) -> _Codes:
        if index.ntotal == 0:
            return cls(index, np.empty((0, index.code_size), np.uint8))
        flat = faiss.rev_swig_ptr(index.codes.data(), index.ntotal * index.code_size)
        return cls(index, flat.reshape(index.ntotal, index.code_size))

    @contextmanager
    def scanners(self, queries: Float32) -> Iterator[list[Any]]:
        """What FAISS compares each query with codes by. Not to be shared between threads."""
        quantiser: Any = self.index.sq
        how, made = (faiss.METRIC_INNER_PRODUCT, None, True, None), []
        try:
            for query in queries:
                made.append(quantiser.select_InvertedListScanner(*how))
                made[-1].set_query(faiss.swig_ptr(query))
            yield made
        finally:
            # Python does not own them, and telling it that it does breaks its counts of references.
            for scanner in made:
                scanner.__swig_destroy__(scanner)


def _scan(codes: _Codes, queries: Float32, wanted: int, rows: Int64 | None) -> list[tuple[Float32, Int64]]:
    """Each thread's best: (scores float32 (q, wanted), rows int64), unordered, -inf where it saw fewer."""
    count = len(codes.rows) if rows is None else len(rows)
    block = _BLOCK if rows is None and len(queries) == 1 else _CACHED_BLOCK
    numbers = itertools.count()

    def work() -> tuple[Float32, Int64]:
        return _scan_blocks(codes, queries, wanted, rows, (block, numbers))

    cores = _cores()
    helpers = min(cores - 1, -(-count // block) - 1) if count * len(queries) > _ALONE else 0
    if helpers <= 0:
        return [work()]
    futures = [_pool(os.getpid(), cores).submit(work) for _ in range(helpers)]
    own = work()
    # One that has not begun by now would find nothing left to do.
    return [own, *(future.result() for future in futures if not future.cancel())]


def _scan_blocks(
    codes: _Codes, queries: Float32, wanted: int, rows: Int64 | None, blocks: tuple[int, Iterator[int]]
) -> tuple[Float32, Int64]:
    """Take blocks until none is left. blocks: rows to a block, numbers of those that are still to do."""
    block, numbers = blocks
    scores = np.full((len(queries), wanted), -np.inf, np.float32)
    labels = np.full((len(queries), wanted), -1, np.int64)
    count = len(codes.rows) if rows is None else len(rows)
    buffer = np.empty((0 if rows is None else min(block, count), codes.rows.shape[1]), np.uint8)
    with codes.scanners(queries) as scanners:
        heaps = [(faiss.swig_ptr(a), faiss.swig_ptr(b)) for a, b in zip(scores, labels, strict=True)]
        for number in numbers:
            start, stop = number * block, min(count, (number + 1) * block)
            if start >= count:
                break
            if rows is None:
                part = codes.rows[start:stop]
            else:
                part = buffer[: stop - start]
                np.take(codes.rows, rows[start:stop], axis=0, out=part, mode="clip")
            pointer = faiss.swig_ptr(part)
            for scanner, heap in zip(scanners, heaps, strict=True):
                scanner.set_list(number, 0.0)
                scanner.scan_codes(stop - start, pointer, None, *heap, wanted)
    # A label is the number of its block and, in the lower half, its place in the block.
    places = np.where(labels < 0, -1, (labels >> 32) * block + (labels & 0xFFFFFFFF))
    return scores, places if rows is None else np.where(places < 0, -1, rows[places])


def _cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@lru_cache(maxsize=1)
def _pool(_process: int, cores: int) -> ThreadPoolExecutor:
    """Threads beside the caller's. A forked process has none of its parent's and needs its own."""
    return ThreadPoolExecutor(max(1, cores - 1), thread_name_prefix="crosslens-search")
