"""What everything that searches must do, whatever is behind it: one suite over all back ends.

For another back end (a remote vector store): add it to `BACKENDS`, and let the suite say what is missing.
`tests/remote.py` is an example; `Library.open(connect=...)` has a library searched by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import numpy as np
import pytest

from crosslens.search import ann
from crosslens.search.backend import SearchBackend
from remote import Remote
from vectorsets import approximate, exact, float16, unit

ROWS, WIDTH = 4_000, 64
BACKENDS: dict[str, Callable[[np.ndarray, np.ndarray], SearchBackend]] = {
    "exact": exact,
    "approximate, one by one": lambda rows, ids: approximate(rows, ids, cells=0),
    "in another process": lambda rows, ids: Remote(ids, float16(rows)),
    "approximate, in cells": lambda rows, ids: approximate(rows, ids, cells=64),
}
ROWS_OF_ALL = unit(ROWS, WIDTH, seed=1)
IDS = np.arange(ROWS) * 3 + 7
QUERIES = unit(8, WIDTH, seed=2)
SCORES = QUERIES.astype(np.float64) @ float16(ROWS_OF_ALL).T.astype(np.float64)
EVERY_THIRD = np.arange(ROWS) % 3 == 0


@pytest.fixture(autouse=True, scope="module")
def few_rows_are_fewer() -> Iterator[None]:
    """Else each filter here would leave so few that they are searched exactly."""
    with mock.patch.object(ann, "FEW_ROWS", 100):
        yield


@pytest.fixture(params=BACKENDS, scope="module")
def make(request: pytest.FixtureRequest) -> Callable[[np.ndarray, np.ndarray], SearchBackend]:
    return BACKENDS[request.param]


@pytest.fixture(scope="module")
def backend(make: Callable[[np.ndarray, np.ndarray], SearchBackend]) -> SearchBackend:
    return make(ROWS_OF_ALL, IDS)


def rows_at(ids: np.ndarray) -> np.ndarray:
    return (ids - 7) // 3


@pytest.mark.parametrize("k", [1, 10, 100, ROWS, ROWS + 1])
def test_k_results_come_back_best_first_with_the_scores_of_the_stored_vectors(
    backend: SearchBackend, k: int
) -> None:
    ids, scores = backend.search(QUERIES, k)
    assert ids.shape == scores.shape == (len(QUERIES), min(k, ROWS))
    assert (ids.dtype, scores.dtype) == (np.int64, np.float32)
    assert (np.diff(scores, axis=1) <= 0).all()
    assert all(len(set(line)) == len(line) for line in ids.tolist())
    np.testing.assert_allclose(scores, np.take_along_axis(SCORES, rows_at(ids), axis=1), atol=1e-6)


def test_nearly_all_of_the_best_are_found(backend: SearchBackend) -> None:
    _, scores = backend.search(QUERIES, 10)
    least = -np.sort(-SCORES, axis=1)[:, 9:10]
    assert (scores >= least - 1e-6).mean() >= 0.95


@pytest.mark.parametrize("form", ["mask", "ids", "ids in any order, some unknown, some twice"])
@pytest.mark.parametrize(
    "kept",
    [
        np.ones(ROWS, bool),
        EVERY_THIRD,
        np.arange(ROWS) % 2 == 1,
        np.arange(ROWS) >= ROWS - 30,
        np.arange(ROWS) == 5,
        np.zeros(ROWS, bool),
    ],
    ids=["all", "a third", "half", "thirty", "one", "none"],
)
def test_only_allowed_items_are_found_and_k_of_them_whenever_there_are_k(
    backend: SearchBackend, kept: np.ndarray, form: str
) -> None:
    allowed = kept if form == "mask" else IDS[kept]
    if form.startswith("ids in"):
        allowed = np.concatenate([allowed[::-1], allowed[:3], [1, 2, 10**12, -5]])
    ids, scores = backend.search(QUERIES, 10, allowed)
    assert ids.shape == (len(QUERIES), min(10, kept.sum()))
    assert np.isin(ids, IDS[kept]).all()
    best = -np.sort(-SCORES[:, kept], axis=1)[:, : ids.shape[1]]
    if best.size:
        assert (scores >= best[:, -1:] - 1e-6).mean() >= 0.95


def test_a_filter_that_leaves_out_whatever_is_near_still_gives_k_results(backend: SearchBackend) -> None:
    far = SCORES[0] < np.quantile(SCORES[0], 0.4)
    ids, scores = backend.search(QUERIES[:1], 10, far)
    assert ids.shape == (1, 10)
    assert np.isin(ids, IDS[far]).all()
    assert scores[0, 0] <= SCORES[0][far].max() + 1e-6


def test_a_mask_of_another_length_is_refused(backend: SearchBackend) -> None:
    with pytest.raises(ValueError, match=r"wanted a mask of shape \(4000,\), got \(3999,\)"):
        backend.search(QUERIES, 10, np.ones(ROWS - 1, bool))


def test_equal_scores_are_in_the_order_of_ids(
    make: Callable[[np.ndarray, np.ndarray], SearchBackend],
) -> None:
    rows = np.repeat(unit(1_000, WIDTH, seed=3), 4, axis=0)
    ids, scores = make(rows, IDS).search(QUERIES, 40)
    equal = np.diff(scores, axis=1) == 0
    assert equal.any()
    assert (np.diff(ids, axis=1)[equal] > 0).all()


def test_no_queries_have_no_results(backend: SearchBackend) -> None:
    ids, scores = backend.search(np.empty((0, WIDTH), np.float32), 10)
    assert ids.shape == scores.shape == (0, 10)


def test_a_query_does_not_depend_on_its_company(backend: SearchBackend) -> None:
    together = backend.search(QUERIES, 10)
    for number in range(len(QUERIES)):
        alone = backend.search(QUERIES[number : number + 1], 10)
        assert alone[0][0].tolist() == together[0][number].tolist()
        assert alone[1][0].tolist() == together[1][number].tolist()


def test_many_threads_get_their_own_results(backend: SearchBackend) -> None:
    expected = backend.search(QUERIES, 10)[0].tolist()
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda n: backend.search(QUERIES[n % 8 : n % 8 + 1], 10)[0][0], range(64)))
    assert [line.tolist() for line in results] == [expected[n % 8] for n in range(64)]
