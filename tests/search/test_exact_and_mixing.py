"""Search over arrays: exact top-k against numpy, and how terms are mixed into one query."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from crosslens.errors import QueryError
from crosslens.search.exact import search_exact
from crosslens.search.query_mixing import WITHOUT_WEIGHT, Term, mix, spread

DIMENSION = 4


def index_of(rows: np.ndarray) -> Any:
    """The index that the store builds: float16 rows, inner product."""
    index = faiss.IndexScalarQuantizer(
        rows.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    index.is_trained = True
    if len(rows):
        index.add_sa_codes(np.ascontiguousarray(rows, "<f2").view(np.uint8))
    return index


def oracle(rows: np.ndarray, ids: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Every score, sorted: best first, equal ones by id."""
    scores = queries.astype(np.float64) @ rows.astype(np.float64).T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return ids[order], np.take_along_axis(scores, order, axis=1)


def units(count: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, DIMENSION))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def covariance_of(rows: np.ndarray) -> np.ndarray:
    return np.cov(rows.T, ddof=0).astype(np.float32)


# Whole numbers, so that sums are exact and equal scores are common.
small_numbers = st.integers(-2, 2).map(float)
some_rows = st.integers(0, 30).flatmap(
    lambda count: arrays(np.float32, (count, DIMENSION), elements=small_numbers)
)
some_queries = st.integers(0, 4).flatmap(
    lambda count: arrays(np.float32, (count, DIMENSION), elements=small_numbers)
)


@settings(deadline=None, max_examples=60)
@given(rows=some_rows, queries=some_queries, k=st.integers(1, 40))
def test_exact_search_finds_what_numpy_finds_ties_in_the_order_of_ids(
    rows: np.ndarray, queries: np.ndarray, k: int
) -> None:
    ids = 100 + 3 * np.arange(len(rows))
    found, scores = search_exact(index_of(rows), ids, queries, k)
    expected, expected_scores = oracle(rows, ids, queries, k)
    assert scores.tolist() == expected_scores.tolist()
    assert found.tolist() == expected.tolist()


@settings(deadline=None, max_examples=60)
@given(rows=some_rows, queries=some_queries, k=st.integers(1, 40))
def test_every_score_is_that_of_its_id(rows: np.ndarray, queries: np.ndarray, k: int) -> None:
    found, scores = search_exact(index_of(rows), np.arange(len(rows)), queries, k)
    assert found.shape == scores.shape == (len(queries), min(k, len(rows)))
    assert (np.take_along_axis(queries @ rows.T, found, axis=1) == scores).all()
    assert all(len(set(line)) == len(line) for line in found.tolist())


@pytest.mark.parametrize("k", [1, 10, 999, 1000, 5000])
def test_exact_search_over_unit_vectors_agrees_with_numpy(k: int) -> None:
    rows, queries, ids = units(1000).astype(np.float16), units(5, seed=1), np.arange(1000) * 2 + 1
    found, scores = search_exact(index_of(rows), ids, queries, k)
    expected, expected_scores = oracle(rows, ids, queries, k)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)
    assert (found == expected).mean() > 0.99  # scores nearer than float32 tells apart may swap
    assert (np.diff(scores, axis=1) <= 0).all()


def test_more_results_begin_with_the_fewer_ones() -> None:
    rows = np.repeat(np.eye(DIMENSION, dtype=np.float32), 5, axis=0)
    query = np.array([[0, 0, 0.5, 1]], np.float32)
    everything = search_exact(index_of(rows), np.arange(20), query, 20)[0][0].tolist()
    for k in range(1, 20):
        assert search_exact(index_of(rows), np.arange(20), query, k)[0][0].tolist() == everything[:k]


def test_the_types_are_those_promised_and_queries_may_be_any_float() -> None:
    found, scores = search_exact(index_of(units(3)), np.arange(3), units(2).astype(np.float64)[:, ::1], 2)
    assert (found.dtype, scores.dtype) == (np.int64, np.float32)


def test_a_spread_is_the_standard_deviation_of_the_scores() -> None:
    rows = units(200) * [1, 2, 0.5, 0.1]
    for vector in units(10, seed=2):
        assert spread(vector, covariance_of(rows)) == pytest.approx(np.std(rows @ vector), rel=1e-4)


def test_a_spread_is_never_nan_for_a_covariance_that_rounding_made_negative() -> None:
    assert spread(np.eye(DIMENSION, dtype=np.float32)[0], -1e-9 * np.eye(DIMENSION, dtype=np.float32)) == 0


@pytest.mark.parametrize("weight", [0.01, 1.0, 50.0])
def test_a_single_term_ranks_as_itself_whatever_its_weight(weight: float) -> None:
    rows, term = units(100), units(1, seed=3)[0]
    np.testing.assert_allclose(mix([Term(term, weight)], covariance_of(rows)), term, atol=1e-6)


def test_a_mixed_query_is_a_float32_unit_vector() -> None:
    terms = [Term(vector, weight) for vector, weight in zip(units(3), (1, 0.3, -0.5), strict=True)]
    query = mix(terms, covariance_of(units(50, seed=4)))
    assert query.dtype == np.float32
    assert query.shape == (DIMENSION,)
    assert np.linalg.norm(query) == pytest.approx(1)


def test_two_terms_with_very_different_spreads_get_equal_say() -> None:
    rows = units(500) * np.float32([1, 0.01, 0.3, 0.3])  # the first term's scores spread 100 times wider
    wide, narrow = np.eye(DIMENSION, dtype=np.float32)[:2]
    query = mix([Term(wide, 1), Term(narrow, 1)], covariance_of(rows))
    says = [np.std(rows @ (query * axis)) for axis in (wide, narrow)]
    assert says[0] == pytest.approx(says[1], rel=1e-3)


def test_in_a_plain_sum_the_wide_term_would_have_drowned_the_narrow_one() -> None:
    """Row 0 is a little worse in the wide term and much better in the narrow one, by their own scales."""
    rows = np.float32([[0.8, 0.03, 0, 0], [0.9, 0.00, 0, 0], [0.0, 0.01, 0, 0], [0.1, 0.00, 0, 0]])
    wide, narrow = np.eye(DIMENSION, dtype=np.float32)[:2]
    assert np.argmax(rows @ (wide + narrow)) == 1
    assert np.argmax(rows @ mix([Term(wide, 1), Term(narrow, 1)], covariance_of(rows))) == 0


def test_weights_are_in_units_of_spread() -> None:
    rows = units(500) * np.float32([1, 0.01, 0.3, 0.3])
    one, other = np.eye(DIMENSION, dtype=np.float32)[:2]
    query = mix([Term(one, 1), Term(other, 3)], covariance_of(rows))
    assert np.std(rows @ (query * other)) == pytest.approx(3 * np.std(rows @ (query * one)), rel=1e-3)


def test_a_negative_weight_pushes_away_without_fetching_the_opposite() -> None:
    rows = np.float32([[1, 0, 0, 0], [0.7, 0.7, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
    wanted, unwanted = np.eye(DIMENSION, dtype=np.float32)[:2]
    ranking = np.argsort(-rows @ mix([Term(wanted, 1), Term(unwanted, WITHOUT_WEIGHT)], covariance_of(rows)))
    assert ranking.tolist() == [0, 1, 3, 2]


def test_terms_that_cancel_out_are_refused() -> None:
    vector = units(1)[0]
    with pytest.raises(QueryError, match="cancel each other out"):
        mix([Term(vector, 1), Term(vector, -1)], covariance_of(units(50)))
    with pytest.raises(QueryError, match="cancel each other out"):
        mix([Term(vector, 1), Term(-vector, 1)], covariance_of(units(50)))


def test_no_term_is_refused() -> None:
    with pytest.raises(QueryError, match="asks for nothing"):
        mix([], covariance_of(units(50)))


def test_without_any_spread_terms_count_by_their_weights() -> None:
    one, other = np.eye(DIMENSION, dtype=np.float32)[:2]
    query = mix([Term(one, 3), Term(other, 4)], np.zeros((DIMENSION, DIMENSION), np.float32))
    assert query.tolist() == pytest.approx([0.6, 0.8, 0, 0])


def test_a_term_that_scores_every_row_alike_leaves_the_ranking_to_the_others() -> None:
    rows = np.zeros((200, DIMENSION), np.float32)
    rows[:, 0] = np.linspace(0.2, 0.8, 200)
    rows[:, 1] = 0.5
    telling, blind = np.eye(DIMENSION, dtype=np.float32)[:2]
    query = mix([Term(telling, 1), Term(blind, 1)], covariance_of(rows))
    assert np.argsort(-(rows @ query), kind="stable").tolist() == list(range(199, -1, -1))
