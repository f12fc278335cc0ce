"""semantic_search: queries against responses in memory, without a library."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike

from crosslens.encode import normalise
from crosslens.types import Float32, Int64

Similarity = Literal["cosine", "dot_prod"]
# Responses whose products are held at a time, whatever chunk was asked for: 128 × 65,536 × 8 bytes = 64 MB.
_BLOCK = 65_536


class Embeds(Protocol):
    """What encodes raw data: a Matcher, or an `automm.MultiModalPredictor`."""

    def embed(self, data: Any) -> Float32:
        """Pictures or texts → float32 (n, d), unit norm."""
        ...


def semantic_search(  # noqa: PLR0913, PLR0917 (the signature is one that users know from elsewhere)
    matcher: Embeds | None = None,
    query_data: Sequence[Any] | None = None,
    response_data: Sequence[Any] | None = None,
    query_embeddings: ArrayLike | None = None,
    response_embeddings: ArrayLike | None = None,
    query_chunk_size: int = 128,
    response_chunk_size: int = 500_000,
    top_k: int = 10,
    id_mappings: Mapping[int, Hashable] | Sequence[Hashable] | None = None,
    similarity_type: Similarity = "cosine",
) -> list[list[dict[str, Any]]]:
    """For every query its best responses: {"response_id", "score"}, best first, equal scores by row.

    query_data, response_data: texts or pictures, encoded once by `matcher`; query_embeddings,
    response_embeddings: float (n, d), or (d,) for one. Exactly one of the two on each side.
    query_chunk_size, response_chunk_size: rows compared at a time; they bound memory and change no result.
    top_k: results to a query; beyond the number of responses all come back, from no responses none.
    id_mappings: response row → the id to return for it; without one the id is the row.
    similarity_type: "cosine" in [-1, 1], or "dot_prod" of the vectors as they are.
    Raises ValueError for anything else.
    """
    if similarity_type not in ("cosine", "dot_prod"):
        raise ValueError(f"similarity_type is {similarity_type!r}, wanted 'cosine' or 'dot_prod'")
    for name, value in (("query_chunk_size", query_chunk_size), ("response_chunk_size", response_chunk_size),
                        ("top_k", top_k)):  # fmt: skip
        if value < 1:
            raise ValueError(f"{name} is {value}, wanted at least 1")
    queries = _embeddings("query", matcher, query_data, query_embeddings)
    responses = _embeddings("response", matcher, response_data, response_embeddings)
    if len(responses) and len(queries) and queries.shape[1] != responses.shape[1]:
        raise ValueError(
            f"queries have {queries.shape[1]} numbers and responses {responses.shape[1]}: "
            "they come from different models"
        )
    _check_mappings(id_mappings, len(responses))
    if similarity_type == "cosine":
        queries, responses = _unit("query", queries), _unit("response", responses)
    results: list[list[dict[str, Any]]] = []
    for start in range(0, len(queries), query_chunk_size):
        rows, scores = _top_k(
            queries[start : start + query_chunk_size], responses, top_k, response_chunk_size
        )
        results += [
            [{"response_id": _identity(int(row), id_mappings), "score": float(score)}
             for row, score in zip(line, line_scores, strict=True)]
            for line, line_scores in zip(rows, scores, strict=True)
        ]  # fmt: skip
    return results


def _embeddings(
    side: str, matcher: Embeds | None, data: Sequence[Any] | None, embeddings: ArrayLike | None
) -> Float32:
    """One side as float32 (n, d)."""
    if (data is None) == (embeddings is None):
        found = "neither" if data is None else "both"
        raise ValueError(f"give either {side}_data or {side}_embeddings, got {found}")
    if data is not None:
        if matcher is None:
            raise ValueError(f"{side}_data needs a matcher to encode it")
        return matcher.embed(data)
    if hasattr(embeddings, "detach"):  # a torch tensor, which may need its gradient or lie on a GPU
        tensor: Any = embeddings
        embeddings = tensor.detach().cpu().numpy()
    array = np.asarray(embeddings, dtype=np.float32)
    if array.ndim == 1:
        array = array[None] if array.size else array.reshape(0, 0)
    if array.ndim != 2:
        raise ValueError(f"{side}_embeddings have shape {array.shape}, wanted (n, d)")
    if not np.isfinite(array).all():
        row = int(np.argmin(np.isfinite(array).all(axis=1)))
        raise ValueError(f"{side}_embeddings: row {row} is not finite")
    return array


def _unit(side: str, vectors: Float32) -> Float32:
    unit, sound = normalise(vectors)
    if not sound.all():
        raise ValueError(f"{side}_embeddings: row {int(np.argmin(sound))} is zero, so it has no cosine")
    return unit


def _top_k(queries: Float32, responses: Float32, k: int, chunk: int) -> tuple[list[Int64], list[Float32]]:
    """Rows and scores of the best min(k, n) for each query, merged chunk by chunk.

    Products are made in float64 and rounded to float32, so that how the rows are cut changes nothing.
    """
    exact = queries.astype(np.float64)
    rows = [np.empty(0, np.int64) for _ in queries]
    scores = [np.empty(0, np.float32) for _ in queries]
    chunk = min(chunk, _BLOCK)
    for start in range(0, len(responses), chunk):
        block = (exact @ responses[start : start + chunk].astype(np.float64).T).astype(np.float32)
        here = np.arange(start, start + block.shape[1])
        for query, line in enumerate(block):
            rows[query], scores[query] = _best(
                np.concatenate([rows[query], here]), np.concatenate([scores[query], line]), k
            )
    return rows, scores


def _best(rows: Int64, scores: Float32, k: int) -> tuple[Int64, Float32]:
    """The k best, best first, equal scores by row."""
    if len(scores) > k:
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        kept = np.flatnonzero(scores >= least)
        rows, scores = rows[kept], scores[kept]
    order = np.lexsort((rows, -scores))[:k]
    return rows[order], scores[order]


def _check_mappings(mappings: Mapping[int, Hashable] | Sequence[Hashable] | None, count: int) -> None:
    if mappings is None:
        return
    if isinstance(mappings, Mapping):
        missing = next((row for row in range(count) if row not in mappings), None)
    else:
        missing = len(mappings) if len(mappings) < count else None
    if missing is not None:
        raise ValueError(f"id_mappings has no id for response {missing} of {count}")


def _identity(row: int, mappings: Mapping[int, Hashable] | Sequence[Hashable] | None) -> Hashable:
    return row if mappings is None else mappings[row]
