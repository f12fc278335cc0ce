"""Ranks of the right answers among all answers, and metrics from them; plain arrays, no model.

Everything here is counted from the ranks of the right answers; no ranking is ever sorted in full. The figures
are those of trec_eval (Buckley), and `tests/evaluation` holds them against pytrec_eval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crosslens.evaluation.bootstrap import Estimate, Float64, Int64
from crosslens.types import Float32

Ties = Literal["worst", "trec_eval"]

# Scores in memory at a time, in numbers: 16 MB of float32, little beside any model.
_SCORES = 1 << 22


@dataclass(frozen=True, slots=True)
class Relevance:
    """Which answers are right: rows of query, answer and level (1, or more for what is better).

    queries, answers, levels: int64 (m,), by query, then by answer; no level below 1, no pair twice.
    """

    queries: Int64
    answers: Int64
    levels: Int64

    @classmethod
    def of(cls, queries: Int64, answers: Int64, levels: Int64) -> Relevance:
        """Sorted, without what is not relevant. Of a pair that is there twice, the higher level counts."""
        order = np.lexsort((-levels, answers, queries))
        order = order[levels[order] > 0]
        queries, answers, levels = queries[order], answers[order], levels[order]
        first = np.ones(len(queries), dtype=bool)
        first[1:] = (queries[1:] != queries[:-1]) | (answers[1:] != answers[:-1])
        return cls(queries[first], answers[first], levels[first])

    def turned(self) -> Relevance:
        """The same with queries and answers exchanged."""
        return Relevance.of(self.answers, self.queries, self.levels)


@dataclass(frozen=True, slots=True)
class RankedQueries:
    """What became of every query of one direction.

    rows: int64 (n,), the queries that count, those with a right answer. uncounted: how many have none.
    answers: among how many each was ranked.
    columns: name → float64 (n,), a value for each query: `rank` (of the first right answer, from 1),
    `positives` (how many there are), `mrr`, `map`, and `recall@k`, `hit@k`, `precision@k`, `ndcg@k` for every
    cutoff.
    top: int64 (n, k), the first answers of each query, best first.
    figures: name → its mean over the queries (`median_rank`: the median of `rank`), with 95 % interval.
    """

    rows: Int64
    uncounted: int
    answers: int
    columns: dict[str, Float64]
    top: Int64
    figures: dict[str, Estimate] = field(default_factory=dict)

    def __getitem__(self, name: str) -> float:
        """A figure by name, such as "recall@10"."""
        return self.figures[name].value


def rank_queries(
    queries: Float32,
    answers: Float32,
    relevance: Relevance,
    cutoffs: Sequence[int],
    ties: Ties = "worst",
    ids: Sequence[str] | None = None,
) -> RankedQueries:
    """Rank all answers for every query by cosine. queries (n, d), answers (m, d), unit norm.

    ties: where a right answer stands among those of exactly the same score. "worst": behind them, of right
    ones those of the higher level last, so that neither the order of rows nor a model that finds everything
    alike gains by it.
    "trec_eval": by their ids as texts, the greater first, as trec_eval does. ids: of the answers; None: their
    rows.
    """
    rows, starts = np.unique(relevance.queries, return_index=True)
    depth = min(max(cutoffs), len(answers))
    ranks, top = np.empty(len(relevance.queries), np.int64), np.empty((len(rows), depth), np.int64)
    order = _tie_order(ids, len(answers)) if ties == "trec_eval" else None
    ends = np.append(starts, len(relevance.queries))[1:]
    for first, last in _chunks(ends, len(answers)):
        scores = queries[rows[first:last]] @ answers.T
        span = slice(starts[first], ends[last - 1])
        local = np.searchsorted(rows[first:last], relevance.queries[span])
        found = relevance.answers[span]
        ranks[span] = _ranks(scores, local, found, relevance.levels[span], order)
        if order is None:  # so that the list agrees with the ranks
            scores[local, found] = np.nextafter(scores[local, found], np.float32(-np.inf))
        top[first:last] = _best(scores, depth)
    columns = _columns(ranks, relevance.levels, starts, cutoffs)
    return RankedQueries(rows, len(queries) - len(rows), len(answers), columns, top)


def _chunks(ends: Int64, answers: int) -> Iterator[tuple[int, int]]:
    """Spans of queries whose right answers, each compared with all answers, fit into memory."""
    most, first = max(1, _SCORES // max(answers, 1)), 0
    while first < len(ends):
        begun = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, begun + most, "right")))
        yield first, last
        first = last


def _tie_order(ids: Sequence[str] | None, count: int) -> Int64:
    """Place of every answer where all scores are equal, as trec_eval puts them."""
    names = np.array([str(row) for row in range(count)] if ids is None else ids, dtype=object)
    places = np.empty(count, np.int64)
    places[np.argsort(names, kind="stable")[::-1]] = np.arange(count)
    return places


def _ranks(scores: Float32, queries: Int64, answers: Int64, levels: Int64, order: Int64 | None) -> Int64:
    """Rank, from 1, of each right answer of each query: int64 (m,)."""
    own = scores[queries, answers][:, None]
    lines = scores[queries]
    ranks: Int64 = 1 + (lines > own).sum(axis=1)
    for place in np.flatnonzero((lines == own).sum(axis=1) > 1):
        tied = np.flatnonzero(lines[place] == own[place])
        if order is not None:
            ranks[place] += (order[tied] < order[answers[place]]).sum()
            continue
        same = queries == queries[place]
        level = np.zeros(scores.shape[1], np.int64)
        level[answers[same]] = levels[same]
        ahead = (level[tied] < levels[place]) | ((level[tied] == levels[place]) & (tied < answers[place]))
        ranks[place] += ahead.sum()
    return ranks


def _best(scores: Float32, depth: int) -> Int64:
    """The highest of each line, best first: int64 (n, depth). Equal ones by their column."""
    if depth < scores.shape[1]:
        found = np.sort(np.argpartition(-scores, depth - 1, axis=1)[:, :depth], axis=1)
    else:
        found = np.broadcast_to(np.arange(depth), (len(scores), depth))
    order = np.argsort(-np.take_along_axis(scores, found, axis=1), axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)


def _columns(ranks: Int64, levels: Int64, starts: Int64, cutoffs: Sequence[int]) -> dict[str, Float64]:
    """Every figure of every query, from the ranks of its right answers."""
    if not len(starts):
        return {}
    sizes = np.diff(np.append(starts, len(ranks)))
    query = np.repeat(np.arange(len(starts)), sizes)
    place = np.arange(len(ranks)) - starts[query] + 1  # 1, 2, … within each query
    order = np.lexsort((ranks, query))
    ranks, gains = ranks[order].astype(np.float64), levels[order].astype(np.float64)
    ideal = levels[np.lexsort((-levels, query))].astype(np.float64)

    def total(values: NDArray[np.generic]) -> Float64:
        return np.asarray(np.add.reduceat(values.astype(np.float64), starts), dtype=np.float64)

    first: Float64 = ranks[starts].astype(np.float64)
    columns: dict[str, Float64] = {
        "rank": first,
        "positives": sizes.astype(np.float64),
        "mrr": 1 / first,
        "map": total(place / ranks) / sizes,
    }
    for k in cutoffs:
        found = total(ranks <= k)
        columns[f"recall@{k}"] = found / sizes
        columns[f"hit@{k}"] = (first <= k).astype(np.float64)
        columns[f"precision@{k}"] = found / k
        gained = total(gains / np.log2(ranks + 1) * (ranks <= k))
        columns[f"ndcg@{k}"] = gained / total(ideal / np.log2(place + 1) * (place <= k))
    return columns
