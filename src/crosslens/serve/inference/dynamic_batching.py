"""Dynamic batching: small batches of many callers become large ones in front of a tower.

    submit (any thread) ── queue, bounded ── dispatcher: joins what waits ── tower ── each caller its rows

While the tower is idle nothing waits. While it is busy, what comes in gathers, so batches grow with the
load by themselves; only when the tower is busy and the queue holds less than a batch, a few milliseconds
are given to others to join.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslens.serve.error_responses import Overloaded
from crosslens.texts.tokenizer import Tokenize
from crosslens.towers.base import Tower, TwoTowers
from crosslens.types import Float32


@dataclass(frozen=True, slots=True)
class Gathering:
    """How batches are gathered.

    batch_size: rows of a batch at most. concurrency: batches in the tower at a time. most_waiting: rows in
    the queue, beyond which callers are turned away. patience: seconds to wait for others to join. observe:
    told the rows of every batch; None for nobody.
    """

    batch_size: int
    concurrency: int
    most_waiting: int = 4096
    patience: float = 0.002
    observe: Callable[[int], None] | None = None


@dataclass(eq=False, slots=True)
class _Waiting:
    """Rows of one caller. future: their vectors."""

    rows: NDArray[Any]
    future: Future[Float32] = field(default_factory=Future)


class GatheringTower:
    """A `towers.base.Tower` that joins the batches of many callers. Call `close` at the end."""

    def __init__(self, tower: Tower, how: Gathering) -> None:
        self._tower = tower
        self._how = how
        self._queue: deque[_Waiting] = deque()
        self._rows = 0
        self._running = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="crosslens-gather", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Rows in the queue now."""
        return self._rows

    def submit(self, batch: NDArray[Any]) -> Future[Float32]:
        """See `Tower.submit`. Raises Overloaded when the queue is full, RuntimeError after `close`."""
        waiting = _Waiting(batch)
        with self._changed:
            if self._closed:
                raise RuntimeError("the service is stopping")
            # A batch that is larger than the whole queue is let in when nothing else waits.
            if self._rows and self._rows + len(batch) > self._how.most_waiting:
                raise Overloaded(self._rows)
            self._queue.append(waiting)
            self._rows += len(batch)
            self._changed.notify_all()
        return waiting.future

    def close(self) -> None:
        """Take nothing new, finish what was accepted."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            if batch:
                self._run(batch)

    def _next(self) -> list[_Waiting] | None:
        """What runs next; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            self._changed.wait_for(lambda: self._running < self._how.concurrency)
            if not self._queue:
                return None
            if self._running and not self._closed:
                self._changed.wait_for(
                    lambda: self._rows >= self._how.batch_size or not self._running, self._how.patience
                )
            taken = self._take()
            self._running += bool(taken)
            return taken

    def _take(self) -> list[_Waiting]:
        """From the front of the queue, those alike that fit into one batch; who gave up is dropped."""
        taken: list[_Waiting] = []
        rest: deque[_Waiting] = deque()
        room = self._how.batch_size
        shape: tuple[int, ...] | None = None
        while self._queue and (room > 0 or not taken):
            waiting = self._queue.popleft()
            fits = shape in (None, waiting.rows.shape[1:]) and (not taken or len(waiting.rows) <= room)
            if not fits:
                rest.append(waiting)
                continue
            self._rows -= len(waiting.rows)
            if waiting.future.set_running_or_notify_cancel():
                shape = waiting.rows.shape[1:]
                room -= len(waiting.rows)
                taken.append(waiting)
        self._queue.extendleft(reversed(rest))
        return taken

    def _run(self, batch: list[_Waiting]) -> None:
        try:
            rows = batch[0].rows if len(batch) == 1 else np.concatenate([waiting.rows for waiting in batch])
            if self._how.observe is not None:
                self._how.observe(len(rows))
            future = self._tower.submit(rows)
        except BaseException as error:  # it is the callers' to handle
            self._done(batch, None, error)
            return
        future.add_done_callback(
            lambda done: self._done(batch, None if done.exception() else done.result(), done.exception())
        )

    def _done(self, batch: list[_Waiting], vectors: Float32 | None, error: BaseException | None) -> None:
        with self._changed:
            self._running -= 1
            self._changed.notify_all()
        begin = 0
        for waiting in batch:
            if vectors is None:
                waiting.future.set_exception(error or RuntimeError("no vectors came back"))
            else:
                waiting.future.set_result(vectors[begin : begin + len(waiting.rows)])
                begin += len(waiting.rows)


class GatheringModel:
    """A `towers.base.TwoTowers` whose towers gather. images, texts: how. Towers open when first used."""

    def __init__(self, model: TwoTowers, images: Gathering, texts: Gathering) -> None:
        self._model = model
        self._how = {"image": images, "text": texts}
        self._towers: dict[str, GatheringTower] = {}
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)  # the facts are those of the model itself

    @property
    def tokenize(self) -> Tokenize:
        """Texts → ids."""
        return self._model.tokenize

    @property
    def image(self) -> Tower:
        """Pictures → raw vectors."""
        return self._tower("image")

    @property
    def text(self) -> Tower:
        """Ids → raw vectors."""
        return self._tower("text")

    def waiting(self) -> dict[str, int]:
        """Rows in each queue now."""
        return {name: tower.waiting for name, tower in self._towers.items()}

    def close(self) -> None:
        """Finish what was accepted."""
        for tower in list(self._towers.values()):
            tower.close()

    def _tower(self, name: str) -> Tower:
        with self._lock:
            if name not in self._towers:
                tower: Tower = getattr(self._model, name)
                self._towers[name] = GatheringTower(tower, self._how[name])
            return self._towers[name]
