"""Encoding pipeline: files and texts in batches through a tower → float32 (n, d) of unit norm.

Three things go on at the same time, each bounded: threads prepare inputs, the tower runs batches, and the
caller takes results. Results come in the order of the inputs, each with its key; one that fails is
returned with its error and shifts nothing.

    jobs ── prepare (threads, a window of inputs) ── batches ── tower (a few in flight) ── results
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from crosslens.errors import CrosslensError, EncodingError
from crosslens.towers.base import Tower
from crosslens.types import Float32, Int64

K = TypeVar("K")
T = TypeVar("T")
R = TypeVar("R")

# Inputs that a thread prepares in one go: each hand-over wakes the caller, which takes a core from the rest.
_GROUP = 4
# What to do about an input without a usable vector.
RETRY = "Leave it out, or try precision='f32'"


@dataclass(frozen=True, slots=True)
class Job(Generic[K]):
    """One input. load: makes one row of a batch, called in another thread; None: nothing to encode."""

    key: K
    load: Callable[[], NDArray[Any]] | None


@dataclass(frozen=True, slots=True)
class Encoded(Generic[K]):
    """One result: a unit vector float32 (d,), or an error, or neither where there was nothing to encode."""

    key: K
    vector: Float32 | None
    error: CrosslensError | None


class _Rows:
    """Memory for the rows of batches, each used again when its batch is done."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._free: list[NDArray[Any]] = []

    def take(self, like: NDArray[Any]) -> NDArray[Any]:
        """Room for a batch of rows like this one."""
        free = self._free.pop() if self._free else None
        if free is not None and free.shape[1:] == like.shape and free.dtype == like.dtype:
            return free
        return np.empty((self._batch_size, *like.shape), like.dtype)

    def give_back(self, rows: NDArray[Any]) -> None:
        self._free.append(rows)


@dataclass(slots=True)
class _Batch(Generic[K]):
    """Results in their order, and the rows still to run. rows[i] belongs to results[slots[i]]."""

    memory: _Rows
    results: list[Encoded[K]] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    rows: NDArray[Any] | None = None
    running: list[Future[Float32]] = field(default_factory=list)

    def add(self, key: K, row: NDArray[Any] | CrosslensError | None) -> None:
        if isinstance(row, CrosslensError):
            self.results.append(Encoded(key, None, row))
            return
        if row is not None:
            if self.rows is None:
                self.rows = self.memory.take(row)
            self.rows[len(self.slots)] = row
            self.slots.append(len(self.results))
        self.results.append(Encoded(key, None, None))

    def start(self, tower: Tower, parts: int = 1) -> None:
        if self.rows is not None:
            pieces = np.array_split(self.rows[: len(self.slots)], min(parts, len(self.slots)))
            self.running = [tower.submit(piece) for piece in pieces]

    def finish(self) -> list[Encoded[K]]:
        if self.rows is not None:
            vectors, sound = normalise(np.concatenate([part.result() for part in self.running]))
            self.memory.give_back(self.rows)
            for vector, good, slot in zip(vectors, sound, self.slots, strict=True):
                error = None if good else EncodingError("the model gave no usable vector for it")
                self.results[slot] = Encoded(self.results[slot].key, vector if good else None, error)
        return self.results


def normalise(raw: NDArray[Any]) -> tuple[Float32, NDArray[np.bool_]]:
    """Raw vectors (n, d) → (unit vectors float32 (n, d), which rows are sound).

    A row that is zero or not finite has no direction: it comes back as it was, marked False.
    The only place where embeddings are normalised.
    """
    raw = np.asarray(raw, dtype=np.float32)
    norms = np.linalg.norm(raw.astype(np.float64), axis=1, keepdims=True)
    sound = np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)
    return np.divide(raw, norms, where=sound[:, None], out=raw.copy(), casting="same_kind"), sound


def by_length(ids: Int64, lengths: Int64 | None, batch_size: int) -> Iterator[tuple[NDArray[np.intp], Int64]]:
    """(rows, their ids) batch by batch: ids (n, length) in their order, or short ones first and cut short.

    lengths: (n,) of the texts, where padding may be left out; None keeps it. Batches are cut to a multiple of
    8, since a runtime prepares itself for every length it meets.
    """
    order = np.arange(len(ids)) if lengths is None else np.argsort(lengths, kind="stable")
    for start in range(0, len(ids), batch_size):
        rows = order[start : start + batch_size]
        columns = ids.shape[1] if lengths is None else -8 * (-int(lengths[rows].max()) // 8)
        yield rows, ids[rows, :columns]


def vector_of(result: Encoded[Any], name: str) -> Float32 | None:
    """The vector of a result, or its error raised; None where there was nothing to encode."""
    if isinstance(result.error, EncodingError):
        raise EncodingError(f"the model gave no usable vector for {name}", RETRY)
    if result.error is not None:
        raise result.error
    return result.vector


def ordered_map(
    pool: ThreadPoolExecutor, function: Callable[[T], R], inputs: Iterable[T], window: int
) -> Generator[R, None, None]:
    """Map in threads, results in order, at most `window` inputs taken ahead of the one returned."""
    pending: deque[Future[R]] = deque()
    try:
        for value in inputs:
            pending.append(pool.submit(function, value))
            if len(pending) >= window:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def encode(
    jobs: Iterable[Job[K]],
    tower: Tower,
    *,
    workers: int,
    batch_size: int,
    concurrency: int,
) -> Iterator[Encoded[K]]:
    """Run jobs through a tower, in order.

    workers: threads that prepare inputs. batch_size: rows to a batch.
    concurrency: batches that the tower works on at the same time; one more is kept waiting for it.
    Memory: at most (concurrency + 4) × batch_size prepared inputs. A batch's rows are used again once it is
    done, so a tower must not keep what it is given.
    Errors raised by `load` that are CrosslensError become that job's result; any other is a fault and
    propagates.
    """
    started: deque[_Batch[K]] = deque()
    memory = _Rows(batch_size)
    batch: _Batch[K] = _Batch(memory)
    size = min(_GROUP, batch_size)
    with (
        ThreadPoolExecutor(workers, thread_name_prefix="crosslens-prepare") as pool,
        # Closed before the pool: what still waits need not be prepared.
        closing(ordered_map(pool, _prepare, _grouped(jobs, size), window=2 * batch_size // size)) as groups,
    ):
        for key, row in chain.from_iterable(groups):
            batch.add(key, row)
            if len(batch.slots) >= batch_size or len(batch.results) >= 8 * batch_size:
                batch.start(tower)
                started.append(batch)
                batch = _Batch(memory)
                if len(started) > concurrency + 1:
                    yield from started.popleft().finish()
    batch.start(tower, parts=concurrency)  # the last one is shared out, so that no core waits for it
    started.append(batch)
    while started:
        yield from started.popleft().finish()


def _grouped(jobs: Iterable[Job[K]], size: int) -> Iterator[list[Job[K]]]:
    jobs = iter(jobs)
    while group := list(islice(jobs, size)):
        yield group


def _prepare(jobs: list[Job[K]]) -> list[tuple[K, NDArray[Any] | CrosslensError | None]]:
    return [(job.key, _row(job)) for job in jobs]


def _row(job: Job[K]) -> NDArray[Any] | CrosslensError | None:
    if job.load is None:
        return None
    try:
        return job.load()
    except CrosslensError as error:
        return error
