"""Batches of many callers become one: nobody's rows are mixed up, the queue is bounded, nothing is lost."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from crosslens.serve.error_responses import Overloaded
from crosslens.serve.inference.dynamic_batching import Gathering, GatheringTower
from crosslens.types import Float32

HOW = Gathering(batch_size=8, concurrency=1, patience=0.001)


class Slow:
    """A tower that gives rows back as their vectors after a while, and keeps the sizes of its batches."""

    def __init__(self, seconds: float = 0.005, streams: int = 1) -> None:
        self.seconds = seconds
        self.batches: list[int] = []
        self.running = self.most = 0
        self.free = threading.Event()
        self.free.set()
        self._pool = ThreadPoolExecutor(streams + 3)
        self._lock = threading.Lock()

    def submit(self, batch: NDArray[Any]) -> Future[Float32]:
        return self._pool.submit(self._work, batch)

    def _work(self, batch: NDArray[Any]) -> Float32:
        with self._lock:
            self.batches.append(len(batch))
            self.running += 1
            self.most = max(self.most, self.running)
        time.sleep(self.seconds)
        self.free.wait(10)
        with self._lock:
            self.running -= 1
        if (batch == 13).any():
            raise ValueError("unlucky")
        return batch.astype(np.float32)


@pytest.fixture
def tower() -> Slow:
    return Slow()


def rows(*numbers: int, width: int = 2) -> NDArray[np.int64]:
    return np.repeat(np.array(numbers, np.int64)[:, None], width, axis=1)


def test_everybody_gets_back_his_own_rows_and_batches_are_shared(tower: Slow) -> None:
    gathering = GatheringTower(tower, HOW)

    def ask(number: int) -> bool:
        mine = rows(*range(100 * number, 100 * number + 1 + number % 3))
        return bool((gathering.submit(mine).result(10) == mine).all())

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(ask, range(200)))
    gathering.close()
    assert sum(tower.batches) == sum(1 + number % 3 for number in range(200))
    assert len(tower.batches) < 120, "batches were not shared"
    assert max(tower.batches) <= 8
    assert tower.most == 1


def test_one_alone_does_not_wait_for_others() -> None:
    tower = Slow(0)
    gathering = GatheringTower(tower, Gathering(batch_size=64, concurrency=1, patience=5))
    started = time.perf_counter()
    for number in range(5):
        gathering.submit(rows(number)).result(10)
    assert time.perf_counter() - started < 2
    gathering.close()


def test_rows_of_another_shape_go_into_another_batch(tower: Slow) -> None:
    gathering = GatheringTower(tower, HOW)
    tower.free.clear()
    first = gathering.submit(rows(1))
    while tower.running == 0:
        time.sleep(0.001)
    waiting = [gathering.submit(rows(number, width=2 + number % 2)) for number in range(2, 8)]
    tower.free.set()
    for number, future in enumerate(waiting, 2):
        assert (future.result(10) == number).all()
        assert future.result().shape == (1, 2 + number % 2)
    assert first.result(10).shape == (1, 2)
    assert tower.batches == [1, 3, 3]
    gathering.close()


def test_a_full_queue_turns_callers_away_and_takes_them_again_later(tower: Slow) -> None:
    gathering = GatheringTower(tower, Gathering(4, 1, most_waiting=4, patience=0))
    tower.free.clear()
    running = gathering.submit(rows(0))
    while tower.running == 0:
        time.sleep(0.001)
    waiting = [gathering.submit(rows(number)) for number in range(1, 5)]
    with pytest.raises(Overloaded, match="4 inputs"):
        gathering.submit(rows(5))
    assert gathering.waiting == 4
    tower.free.set()
    assert [int(future.result(10)[0, 0]) for future in (running, *waiting)] == [0, 1, 2, 3, 4]
    assert int(gathering.submit(rows(5)).result(10)[0, 0]) == 5
    gathering.close()


def test_a_request_larger_than_the_queue_is_let_in_alone(tower: Slow) -> None:
    gathering = GatheringTower(tower, Gathering(4, 1, most_waiting=4))
    assert (gathering.submit(rows(*range(100, 120))).result(10) == rows(*range(100, 120))).all()
    gathering.close()


def test_who_gave_up_is_not_worked_for(tower: Slow) -> None:
    gathering = GatheringTower(tower, HOW)
    tower.free.clear()
    running = gathering.submit(rows(1))
    while tower.running == 0:
        time.sleep(0.001)
    gone, stays = gathering.submit(rows(2)), gathering.submit(rows(3))
    assert gone.cancel()
    tower.free.set()
    assert int(stays.result(10)[0, 0]) == 3
    running.result(10)
    assert tower.batches == [1, 1]
    gathering.close()


def test_an_error_reaches_those_of_its_batch_and_no_others(tower: Slow) -> None:
    gathering = GatheringTower(tower, HOW)
    with pytest.raises(ValueError, match="unlucky"):
        gathering.submit(rows(13)).result(10)
    assert int(gathering.submit(rows(14)).result(10)[0, 0]) == 14
    gathering.close()


def test_a_tower_that_refuses_a_batch_is_told_to_its_callers() -> None:
    class Refusing:
        def submit(self, _batch: NDArray[Any]) -> Future[Float32]:
            raise ValueError("wanted another shape")

    gathering = GatheringTower(Refusing(), HOW)
    with pytest.raises(ValueError, match="another shape"):
        gathering.submit(rows(1)).result(10)
    gathering.close()


def test_closing_finishes_what_was_accepted(tower: Slow) -> None:
    gathering = GatheringTower(tower, Gathering(2, 1, patience=0))
    futures = [gathering.submit(rows(number)) for number in range(9)]
    gathering.close()
    assert [int(future.result(10)[0, 0]) for future in futures] == list(range(9))
    with pytest.raises(RuntimeError, match="stopping"):
        gathering.submit(rows(1))


def test_the_sizes_of_batches_are_told(tower: Slow) -> None:
    seen: list[int] = []
    gathering = GatheringTower(tower, Gathering(8, 1, observe=seen.append))
    gathering.submit(rows(1, 2, 3)).result(10)
    gathering.close()
    assert seen == [3] == tower.batches
