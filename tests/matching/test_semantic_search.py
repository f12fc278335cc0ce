"""semantic_search against a search that is slow and plain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from crosslens import Matcher, semantic_search
from crosslens.errors import InputError
from crosslens.matching import semantic_search as semantic

Results = list[list[dict[str, Any]]]
X, Y, XY = [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]


def search(queries: Any, responses: Any, **options: Any) -> Results:
    return semantic_search(query_embeddings=queries, response_embeddings=responses, **options)


def ids(results: Results) -> list[list[Any]]:
    return [[hit["response_id"] for hit in hits] for hits in results]


def scores(results: Results) -> list[list[float]]:
    return [[hit["score"] for hit in hits] for hits in results]


def oracle(queries: NDArray[Any], responses: NDArray[Any], top_k: int, similarity_type: str) -> Results:
    """One product at a time; best first, equal scores by row."""
    results = []
    for query in np.float32(queries):
        hits = []
        for row, response in enumerate(np.float32(responses)):
            pair = [query, response]
            if similarity_type == "cosine":
                pair = [np.float32(v / np.linalg.norm(np.float64(v))) for v in pair]
            hits.append((-np.float32(np.float64(pair[0]) @ np.float64(pair[1])), row))
        hits.sort()
        results.append([{"response_id": row, "score": float(-score)} for score, row in hits[:top_k]])
    return results


# Few different numbers, so that equal scores are common; none is so small that a norm loses its digits.
def vectors(rows: int) -> st.SearchStrategy[NDArray[np.float32]]:
    numbers = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.25, 1.0, 3.0]).map(np.float32)
    shapes = st.tuples(st.integers(0, rows), st.just(3))
    return arrays.arrays(np.float32, shapes, elements=numbers).map(lambda found: found[found.any(axis=1)])


# ---------------------------------------------------------------- results


def test_results_are_the_cosines_best_first() -> None:
    results = search([X], [Y, XY, [5.0, 0.0]])
    assert ids(results) == [[2, 1, 0]]
    assert scores(results)[0] == pytest.approx([1, 0.5**0.5, 0])


def test_the_dot_product_takes_the_vectors_as_they_are() -> None:
    results = search([[2.0, 0.0]], [Y, XY, [5.0, 0.0], [0.0, 0.0]], similarity_type="dot_prod")
    assert results == [
        [
            {"response_id": 2, "score": 10},
            {"response_id": 1, "score": 2},
            {"response_id": 0, "score": 0},
            {"response_id": 3, "score": 0},
        ]
    ]


@settings(max_examples=150, deadline=None)
@given(
    queries=vectors(5),
    responses=vectors(12),
    top_k=st.integers(1, 14),
    query_chunk_size=st.integers(1, 7),
    response_chunk_size=st.integers(1, 14),
    similarity_type=st.sampled_from(["cosine", "dot_prod"]),
)
def test_any_chunks_give_what_a_plain_search_gives(
    queries: NDArray[np.float32],
    responses: NDArray[np.float32],
    top_k: int,
    similarity_type: str,
    **chunks: int,
) -> None:
    results = search(queries, responses, top_k=top_k, similarity_type=similarity_type, **chunks)
    assert results == oracle(queries, responses, top_k, similarity_type)


def test_chunks_change_nothing_in_a_large_search() -> None:
    random = np.random.default_rng(0)
    queries, responses = random.normal(size=(9, 32)), random.normal(size=(3000, 32))
    responses[2000:] = responses[:1000]  # so that a third of all scores come twice
    whole = search(queries, responses, top_k=200)
    assert whole == oracle(queries, responses, 200, "cosine")
    for query_chunk, response_chunk in ((1, 3000), (4, 999), (9, 7), (128, 2001)):
        again = search(
            queries, responses, top_k=200, query_chunk_size=query_chunk, response_chunk_size=response_chunk
        )
        assert again == whole


def test_the_inner_bound_on_memory_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    queries, responses = random.normal(size=(3, 8)), random.normal(size=(100, 8))
    whole = search(queries, responses)
    monkeypatch.setattr(semantic, "_BLOCK", 9)
    assert search(queries, responses) == whole


@pytest.mark.parametrize("chunk", [1, 2, 3, 500_000])
def test_equal_scores_come_in_the_order_of_their_rows(chunk: int) -> None:
    results = search([X], [Y, X, X, XY, X, X], top_k=3, response_chunk_size=chunk)
    assert ids(results) == [[1, 2, 4]]


def test_top_k_beyond_the_responses_gives_them_all() -> None:
    assert ids(search([X, Y], [X, Y], top_k=1000)) == [[0, 1], [1, 0]]


def test_without_a_top_k_ten_come_back() -> None:
    assert ids(search([X], [X] * 20)) == [list(range(10))]


# ---------------------------------------------------------------- inputs


def test_no_responses_give_an_empty_list_to_each_query() -> None:
    assert search([X, Y], []) == [[], []]
    assert search([X, Y], np.empty((0, 2))) == [[], []]


def test_no_queries_give_no_results() -> None:
    assert search([], [X, Y]) == []
    assert search(np.empty((0, 2)), [X, Y]) == []
    assert search([], []) == []


def test_one_vector_is_a_list_of_one() -> None:
    assert search(X, Y) == search([X], [Y]) == [[{"response_id": 0, "score": 0}]]


def test_lists_tuples_and_arrays_of_any_float_are_taken() -> None:
    wanted = search(np.array([X, XY], np.float32), np.array([X, Y], np.float32))
    for same in ([X, XY], (tuple(X), tuple(XY)), np.array([X, XY]), np.array([X, XY], np.float16)):
        assert search(same, [[1, 0], [0, 1]]) == wanted


def test_what_is_passed_in_is_left_as_it_was() -> None:
    queries, responses = np.array([[3.0, 4.0]], np.float32), np.array([[0.0, 2.0]], np.float32)
    search(queries, responses)
    assert (queries.tolist(), responses.tolist()) == ([[3, 4]], [[0, 2]])


def test_results_are_plain_python_values() -> None:
    hit = search([X], [X])[0][0]
    assert (type(hit["response_id"]), type(hit["score"])) == (int, float)


def test_ids_come_from_a_list_or_a_dictionary() -> None:
    for mappings in (["a", "b", "c"], ("a", "b", "c"), {0: "a", 1: "b", 2: "c"}):
        assert ids(search([Y], [X, Y, XY], id_mappings=mappings)) == [["b", "c", "a"]]


def test_texts_and_pictures_are_encoded_by_the_matcher(fake: Matcher, pictures: Path) -> None:
    images = [str(pictures / f"{colour}.png") for colour in ("red", "green", "blue", "yellow")]
    results = semantic_search(fake, query_data=["green", "red"], response_data=images, top_k=2)
    assert ids(results) == [[1, 3], [0, 3]]
    assert scores(results)[0] == pytest.approx([1, 0.5**0.5])


def test_data_on_one_side_and_vectors_on_the_other(fake: Matcher, pictures: Path) -> None:
    stored = fake.embed_images([pictures / "red.png", pictures / "blue.png"])
    assert ids(semantic_search(fake, query_data=["blue"], response_embeddings=stored)) == [[1, 0]]
    assert ids(semantic_search(fake, query_embeddings=stored, response_data=["blue", "red"])) == [
        [1, 0],
        [0, 1],
    ]


def test_empty_data_is_an_empty_side(fake: Matcher) -> None:
    assert semantic_search(fake, query_data=["red"], response_data=[]) == [[]]
    assert semantic_search(fake, query_data=[], response_data=["red"]) == []


def test_data_is_encoded_once_whatever_the_chunks(fake: Matcher, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    embed = fake.embed_texts
    monkeypatch.setattr(fake, "embed_texts", lambda texts: seen.append(len(texts)) or embed(texts))
    semantic_search(
        fake,
        query_data=["red", "blue", "green"],
        response_data=["red"] * 5,
        query_chunk_size=1,
        response_chunk_size=2,
    )
    assert sorted(seen) == [3, 5]


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"similarity_type": "euclid"}, r"similarity_type is 'euclid'\. Wanted 'cosine' or 'dot_prod'"),
        ({"top_k": 0}, r"top_k is 0\. Wanted a whole number of at least 1"),
        ({"top_k": -1}, "top_k is -1"),
        ({"query_chunk_size": 0}, "query_chunk_size is 0"),
        ({"response_chunk_size": 0}, "response_chunk_size is 0"),
        ({"query_embeddings": None}, r"query side has neither\. Give either query_data or query_embeddings"),
        ({"response_embeddings": None}, "response side has neither"),
        ({"query_data": ["red"]}, "query side has both"),
        ({"response_data": ["red"]}, "response side has both"),
        ({"query_embeddings": None, "query_data": ["red"]}, "query_data needs a matcher"),
        ({"response_embeddings": None, "response_data": ["red"]}, "response_data needs a matcher"),
        ({"query_embeddings": [[1.0, 2.0, 3.0]]}, "queries have 3 numbers and responses 2"),
        ({"query_embeddings": [[X]]}, r"query_embeddings have shape \(1, 1, 2\)\. Wanted \(n, d\)"),
        ({"response_embeddings": 1.0}, r"response_embeddings have shape \(\)\. Wanted \(n, d\)"),
        ({"query_embeddings": [X, [np.nan, 0]]}, "query_embeddings: row 1 is not finite"),
        ({"response_embeddings": [X, Y, [np.inf, 0]]}, "response_embeddings: row 2 is not finite"),
        ({"query_embeddings": [X, [0, 0]]}, "query_embeddings: row 1 is zero"),
        ({"response_embeddings": [[0, 0], X]}, "response_embeddings: row 0 is zero"),
        ({"query_embeddings": [X, [1.0]]}, "."),
        ({"query_embeddings": [["a", "b"]]}, "."),
    ],
)
def test_what_makes_no_sense_is_a_value_error(options: dict[str, Any], message: str) -> None:
    sensible: dict[str, Any] = {"query_embeddings": [X], "response_embeddings": [X, Y]}
    with pytest.raises(ValueError, match=message):
        semantic_search(**(sensible | options))


@pytest.mark.parametrize("mappings", [["a"], {0: "a"}])
def test_responses_without_an_id_are_a_value_error(mappings: Any) -> None:
    with pytest.raises(ValueError, match="id_mappings"):
        search([X], [X, Y], id_mappings=mappings)


def test_a_mixture_of_pictures_and_texts_is_an_error(fake: Matcher, pictures: Path) -> None:
    with pytest.raises(InputError, match="the list mixes pictures and texts"):
        semantic_search(fake, query_data=["red", str(pictures / "red.png")], response_data=["red"])


class Tensor:
    """What a torch tensor on a GPU that needs its gradient allows: nothing but this way to numpy."""

    def __init__(self, values: np.ndarray, *, free: bool = False, near: bool = False) -> None:
        self.values, self.free, self.near = values, free, near

    def detach(self) -> Tensor:
        return Tensor(self.values, free=True, near=self.near)

    def cpu(self) -> Tensor:
        return Tensor(self.values, free=self.free, near=True)

    def float(self) -> Tensor:
        return self

    def numpy(self) -> np.ndarray:
        assert self.free
        assert self.near
        return self.values


def test_tensors_give_what_their_values_give() -> None:
    values = np.eye(3, dtype=np.float32)
    found = semantic_search(query_embeddings=Tensor(values), response_embeddings=Tensor(values), top_k=1)  # type: ignore[arg-type]
    assert found == semantic_search(query_embeddings=values, response_embeddings=values, top_k=1)
