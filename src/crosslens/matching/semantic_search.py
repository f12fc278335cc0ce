"""`semantic_search`: queries against responses in memory, without a library."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal, Protocol, cast, get_args

import numpy as np
from numpy.typing import ArrayLike

from crosslens.arguments import brief, choice, numbers, whole
from crosslens.encode import normalise
from crosslens.errors import InputError
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
    Raises InputError for anything else.
    """
    choice("similarity_type", similarity_type, get_args(Similarity))
    for name, value in (("query_chunk_size", query_chunk_size), ("response_chunk_size", response_chunk_size),
                        ("top_k", top_k)):  # fmt: skip
        whole(name, value)
    queries = _embeddings("query", matcher, query_data, query_embeddings)
    responses = _embeddings("response", matcher, response_data, response_embeddings)
    if len(responses) and len(queries) and queries.shape[1] != responses.shape[1]:
        raise InputError(
            f"queries have {queries.shape[1]} numbers and responses {responses.shape[1]}: "
            "they come from different models",
            "Embed both with one model",
        )
    ids = _ids(id_mappings, len(responses))
    if similarity_type == "cosine":
        queries, responses = _unit("query", queries), _unit("response", responses)
    results: list[list[dict[str, Any]]] = []
    for start in range(0, len(queries), query_chunk_size):
        rows, scores = _top_k(
            queries[start : start + query_chunk_size], responses, top_k, response_chunk_size
        )
        results += [
            [{"response_id": ids[int(row)], "score": float(score)}
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
        raise InputError(f"the {side} side has {found}", f"Give either {side}_data or {side}_embeddings")
    if data is not None:
        if matcher is None or not hasattr(matcher, "embed"):
            problem = f"{side}_data needs a matcher to encode it, and matcher is {brief(matcher)}"
            raise InputError(problem, "Give a crosslens.Matcher")
        return matcher.embed(data)
    if hasattr(embeddings, "cpu"):  # a torch tensor, which may need its gradient or lie on a GPU
        tensor: Any = embeddings
        embeddings = tensor.detach().float().cpu().numpy()  # numpy has no bfloat16
    array = numbers(f"{side}_embeddings", cast(ArrayLike, embeddings), np.float32)
    if array.ndim == 1:
        array = array[None] if array.size else array.reshape(0, 0)
    if array.ndim != 2:
        raise InputError(f"{side}_embeddings have shape {array.shape}", "Wanted (n, d), a row to each")
    if not np.isfinite(array).all():
        row = int(np.argmin(np.isfinite(array).all(axis=1)))
        raise InputError(f"{side}_embeddings: row {row} is not finite", "Leave it out")
    return array


def _unit(side: str, vectors: Float32) -> Float32:
    unit, sound = normalise(vectors)
    if not sound.all():
        problem = f"{side}_embeddings: row {int(np.argmin(sound))} is zero, so it has no cosine"
        raise InputError(problem, 'Leave it out, or choose similarity_type="dot_prod"')
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


def _ids(mappings: Mapping[int, Hashable] | Sequence[Hashable] | None, count: int) -> Sequence[Hashable]:
    """The id of every response, by row."""
    if mappings is None:
        return range(count)
    if isinstance(mappings, Mapping):
        missing = next((row for row in range(count) if row not in mappings), count)
        ids = [mappings[row] for row in range(missing)]
    else:
        ids = list(mappings)
    if len(ids) < count:
        raise InputError(f"id_mappings has no id for response {len(ids)} of {count}", "Give one to each")
    return ids
