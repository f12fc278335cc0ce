"""Stage 4: order, failures, bounds and norms, with towers that do next to nothing."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from crosslens.encode import Encoded, Job, encode, normalise, ordered_map
from crosslens.errors import EncodingError, UnreadableImageError
from crosslens.types import Float32


class Echo:
    """A tower that gives each row back as its vector, and keeps the size of every batch."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def submit(self, batch: NDArray[Any]) -> Future[Float32]:
        self.batches.append(len(batch))
        future: Future[Float32] = Future()
        future.set_result(batch.astype(np.float32))
        return future


def row(number: int) -> NDArray[Any]:
    """A row that says which job it comes from: its unit vector is (cos, sin) of number / 1000."""
    return np.array([np.cos(number / 1000), np.sin(number / 1000)]) * (1 + number)


def good(number: int) -> Job[int]:
    return Job(number, lambda: row(number))


def bad(number: int) -> Job[int]:
    def load() -> NDArray[Any]:
        raise UnreadableImageError(f"image {number}", "damaged")

    return Job(number, load)


def idle(number: int) -> Job[int]:
    return Job(number, None)


def run(jobs: Iterable[Job[int]], tower: Any = None, **options: int) -> Iterator[Encoded[int]]:
    settings_ = {"workers": 4, "batch_size": 4, "concurrency": 2} | options
    return encode(jobs, tower or Echo(), **settings_)


def belongs(result: Encoded[int]) -> bool:
    """Whether a result holds the vector of its own job."""
    assert result.vector is not None
    return np.allclose(result.vector, row(result.key) / (1 + result.key), atol=1e-6)


def counted(jobs: Iterable[Job[int]], taken: list[int]) -> Iterator[Job[int]]:
    for job in jobs:
        taken.append(job.key)
        yield job


def in_time(function: Callable[[], object], seconds: float = 10) -> None:
    """Run in a thread, so that one that hangs fails the test and does not hang it."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive()


# ---------------------------------------------------------------- order


def test_results_keep_the_order_of_the_jobs_however_long_each_takes() -> None:
    delays = np.random.default_rng(0).uniform(0, 0.003, 150)

    def slow(number: int) -> Job[int]:
        def load() -> NDArray[Any]:
            time.sleep(delays[number])
            return row(number)

        return Job(number, load)

    results = list(run(map(slow, range(150)), workers=8, batch_size=7))
    assert [result.key for result in results] == list(range(150))
    assert all(map(belongs, results))


class Late(Echo):
    """It reads its batches in threads, and remembers where each was in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = ThreadPoolExecutor(2)
        self.places: set[int] = set()

    def submit(self, batch: NDArray[Any]) -> Future[Float32]:
        self.places.add(batch.__array_interface__["data"][0])

        def work() -> Float32:
            time.sleep(0.001)
            return batch.astype(np.float32)

        return self.pool.submit(work)


def test_the_memory_of_batches_is_used_again_and_never_while_one_runs() -> None:
    tower = Late()
    results = list(run(map(good, range(800)), tower, concurrency=2))
    assert all(map(belongs, results))
    assert len(tower.places) <= 2 + 3 + 1  # in flight, waiting, filling; and the last one's other half


class Shuffling(Echo):
    """Its batches are done in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = ThreadPoolExecutor(4)

    def submit(self, batch: NDArray[Any]) -> Future[Float32]:
        def work() -> Float32:
            time.sleep(0.004 if len(self.batches) % 2 else 0)
            return batch.astype(np.float32)

        self.batches.append(len(batch))
        return self.pool.submit(work)


def test_results_keep_the_order_of_the_jobs_when_later_batches_are_done_first() -> None:
    tower = Shuffling()
    with tower.pool:
        results = list(run(map(good, range(60)), tower, concurrency=4))
    assert [result.key for result in results] == list(range(60))
    assert all(map(belongs, results))


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.lists(st.sampled_from([good, bad, idle]), max_size=40),
    workers=st.integers(1, 4),
    batch_size=st.integers(1, 9),
    concurrency=st.integers(1, 4),
)
def test_jobs_that_fail_or_have_nothing_to_encode_shift_nothing(
    kinds: list[Callable[[int], Job[int]]], workers: int, batch_size: int, concurrency: int
) -> None:
    jobs = [kind(number) for number, kind in enumerate(kinds)]
    results = list(run(jobs, workers=workers, batch_size=batch_size, concurrency=concurrency))
    assert [result.key for result in results] == list(range(len(kinds)))
    for kind, result in zip(kinds, results, strict=True):
        if kind is good:
            assert belongs(result)
            assert result.error is None
        elif kind is bad:
            assert result.vector is None
            assert str(result.error) == f"image {result.key}: damaged."
        else:
            assert (result.vector, result.error) == (None, None)


def test_no_jobs_give_no_results() -> None:
    assert list(run([])) == []


def test_batches_are_full_and_the_last_is_shared_among_the_streams() -> None:
    tower = Echo()
    results = list(run(map(good, range(30)), tower, batch_size=8, concurrency=3))
    assert tower.batches == [8, 8, 8, 2, 2, 2]
    assert all(map(belongs, results))


# ---------------------------------------------------------------- bounds


def test_nothing_is_taken_before_a_result_is_asked_for() -> None:
    taken: list[int] = []
    run(counted(map(good, range(100)), taken))
    assert taken == []


@pytest.mark.parametrize(("batch_size", "concurrency"), [(1, 1), (4, 1), (4, 3), (16, 2)])
def test_the_look_ahead_is_bounded(batch_size: int, concurrency: int) -> None:
    taken: list[int] = []
    jobs = counted(map(good, itertools.count()), taken)
    results = run(jobs, batch_size=batch_size, concurrency=concurrency)
    for returned in range(1, 200):
        next(results)
        assert len(taken) - returned < (concurrency + 4) * batch_size
    results.close()


@pytest.mark.parametrize("kind", [bad, idle])
def test_the_look_ahead_is_bounded_when_nothing_can_be_encoded(kind: Callable[[int], Job[int]]) -> None:
    taken: list[int] = []
    results = run(counted(map(kind, range(2000)), taken), batch_size=4, concurrency=2)
    for returned in range(1, 300):
        next(results)
        assert len(taken) - returned < (8 * 4) * (2 + 2) + 2 * 4
    results.close()


def test_threads_prepare_side_by_side_but_never_more_than_asked_for() -> None:
    now, most, lock = [0], [0], threading.Lock()

    def load() -> NDArray[Any]:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.002)
        with lock:
            now[0] -= 1
        return row(0)

    list(run([Job(number, load) for number in range(60)], workers=3, batch_size=8))
    assert 2 <= most[0] <= 3


@pytest.mark.parametrize("window", [1, 2, 5])
def test_an_ordered_map_takes_at_most_its_window(window: int) -> None:
    taken: list[int] = []
    with ThreadPoolExecutor(2) as pool:
        values = (taken.append(n) or n for n in itertools.count())  # type: ignore[func-returns-value]
        doubled = ordered_map(pool, lambda n: 2 * n, values, window)
        for number in range(20):
            assert next(doubled) == 2 * number
            assert len(taken) <= number + window
        doubled.close()


# ---------------------------------------------------------------- faults


def test_an_unexpected_error_while_preparing_propagates() -> None:
    def broken() -> NDArray[Any]:
        raise ZeroDivisionError("a fault in the code")

    with pytest.raises(ZeroDivisionError, match="a fault in the code"):
        list(run([good(0), Job(1, broken), good(2)]))


def test_an_error_of_the_tower_propagates() -> None:
    class Refusing(Echo):
        def submit(self, batch: NDArray[Any]) -> Future[Float32]:  # noqa: ARG002
            raise ValueError("wanted another shape")

    with pytest.raises(ValueError, match="wanted another shape"):
        list(run(map(good, range(100)), Refusing()))


def test_an_error_inside_a_batch_propagates() -> None:
    class Failing(Echo):
        def submit(self, batch: NDArray[Any]) -> Future[Float32]:  # noqa: ARG002
            future: Future[Float32] = Future()
            future.set_exception(RuntimeError("the device is gone"))
            return future

    with pytest.raises(RuntimeError, match="the device is gone"):
        list(run(map(good, range(100)), Failing()))


def test_an_error_of_the_input_propagates() -> None:
    def jobs() -> Iterator[Job[int]]:
        yield good(0)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(run(jobs()))


def test_closing_half_way_does_not_hang_and_leaves_no_threads() -> None:
    def stop_early() -> None:
        results = run(map(good, itertools.count()), workers=3)
        next(results)
        results.close()

    in_time(stop_early)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("crosslens-prepare")]


def test_closing_half_way_leaves_waiting_inputs_unprepared() -> None:
    prepared: list[int] = []

    def note(number: int) -> Job[int]:
        def load() -> NDArray[Any]:
            time.sleep(0.001)
            prepared.append(number)
            return row(number)

        return Job(number, load)

    taken: list[int] = []
    results = run(counted(map(note, itertools.count()), taken), workers=1, batch_size=16, concurrency=1)
    next(results)
    results.close()
    assert len(prepared) < len(taken)


def test_a_fault_half_way_does_not_hang() -> None:
    def fail() -> None:
        def broken() -> NDArray[Any]:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            list(run(Job(number, broken) for number in itertools.count()))

    in_time(fail)


# ---------------------------------------------------------------- norms


def test_rows_are_divided_by_their_norms() -> None:
    unit, sound = normalise(np.array([[3, 4], [0, -2]], np.float32))
    assert unit.tolist() == [[np.float32(0.6), np.float32(0.8)], [0, -1]]
    assert unit.dtype == np.float32
    assert sound.tolist() == [True, True]


@pytest.mark.parametrize("row", [[0, 0], [np.nan, 1], [np.inf, 1], [-np.inf, np.nan]])
def test_a_row_without_direction_is_marked_and_comes_back_as_it_was(row: list[float]) -> None:
    raw = np.array([[1, 1], row, [2, 0]], np.float32)
    unit, sound = normalise(raw)
    assert sound.tolist() == [True, False, True]
    assert np.array_equal(unit[1], raw[1], equal_nan=True)
    assert np.allclose(np.linalg.norm(unit[sound], axis=1), 1)


@pytest.mark.parametrize("size", [1e-44, 1e-30, 1e-20, 1.0, 1e20, 3e38])
def test_very_small_and_very_large_rows_become_unit_rows(size: float) -> None:
    unit, sound = normalise(np.full((1, 4), size, np.float32))
    assert sound.all()
    assert np.allclose(unit, 0.5)


def test_what_is_normalised_is_left_as_it_was() -> None:
    raw = np.array([[3.0, 4.0]], np.float32)
    normalise(raw)
    assert raw.tolist() == [[3, 4]]


def test_no_rows_normalise_to_no_rows() -> None:
    unit, sound = normalise(np.empty((0, 4), np.float32))
    assert (unit.shape, sound.shape) == ((0, 4), (0,))


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(width=32), min_size=3, max_size=3), min_size=1, max_size=8))
def test_a_row_is_either_of_unit_norm_or_marked(rows: list[list[float]]) -> None:
    unit, sound = normalise(np.array(rows, np.float32))
    assert np.allclose(np.linalg.norm(unit[sound].astype(np.float64), axis=1), 1, atol=1e-6)
    assert sound.tolist() == [bool(np.isfinite(row).all() and np.any(row)) for row in np.float32(rows)]


@pytest.mark.parametrize("vector", [[0.0, 0.0], [np.nan, 1.0]])
def test_an_unusable_vector_is_an_error_of_its_own_job_only(vector: list[float]) -> None:
    jobs = [good(0), Job(1, lambda: np.array(vector)), good(2)]
    first, second, third = run(jobs)
    assert belongs(first)
    assert belongs(third)
    assert second.vector is None
    assert isinstance(second.error, EncodingError)
