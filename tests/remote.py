"""A vector store in another process, which is talked to through a pipe: what a remote back end looks like."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from crosslens.search.backend import Allowed, Rows, rows_of


def serve(pipe: Connection) -> None:
    """Hold vectors as they would be stored, and answer by brute force, until the pipe is closed."""
    ids, vectors = np.empty(0, np.int64), np.empty((0, 0), np.float32)
    while True:
        try:
            name, *arguments = pipe.recv()
        except EOFError:
            return
        if name == "fill":
            ids, vectors = arguments
            pipe.send(len(ids))
            continue
        queries, k, allowed = arguments
        try:
            rows = np.arange(len(ids)) if allowed is None else rows_of(ids, allowed)
        except ValueError as error:
            pipe.send(error)
            continue
        scores = np.stack([vectors[rows] @ query for query in queries] or [np.empty(len(rows))])[
            : len(queries)
        ]
        order = np.lexsort((np.broadcast_to(ids[rows], scores.shape), -scores), axis=1)[:, :k]
        pipe.send((ids[rows][order], np.take_along_axis(scores, order, axis=1).astype(np.float32)))


class Remote:
    """A `SearchBackend` whose vectors are elsewhere."""

    def __init__(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        self._pipe, other = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=serve, args=(other,), daemon=True)
        self._process.start()
        other.close()
        self._lock = multiprocessing.get_context("spawn").Lock()
        assert self._ask("fill", np.asarray(ids), vectors) == len(ids)

    def search(
        self, queries: np.ndarray, k: int, allowed: Allowed | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        ids, scores = self._ask("search", queries, k, allowed)
        return ids, scores

    def _ask(self, *question: Any) -> Any:
        with self._lock:
            self._pipe.send(question)
            answer = self._pipe.recv()
        if isinstance(answer, ValueError):
            raise answer
        return answer


class Connected:
    """A `Connect` that counts how often it was asked for, and for which stamps."""

    def __init__(self) -> None:
        self.stamps: list[tuple[str, int]] = []

    def __call__(self, rows: Rows) -> Remote:
        self.stamps.append(rows.stamp)
        return Remote(rows.ids, rows.vectors(slice(None)))
