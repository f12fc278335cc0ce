"""Approximate nearest-neighbour search: IVF with 1-bit codes (RaBitQ), candidates rescored exactly.

    n < 50,000     nothing: exact search is fast enough
    n < 200,000    RaBitQ codes of all rows, compared one by one
    from there     cells (IVF) of RaBitQ codes; a query looks into those nearest to it

RaBitQ: Gao and Long, SIGMOD 2024; FAISS computes it. A score always comes from the float16 matrix, so
whatever is found has its exact score, and only what is found is approximate. `build` measures recall@10
against exact search, and takes more candidates and leaves out less until it is enough
(`search.recall_tuning`).

That figure is of queries of the measured kinds, without filters. A filter can leave out just what lies near,
and a mixture of words and pictures lies elsewhere. So each query is checked: cells that may hold better
rows than those found (`search.early_termination`) are looked into as well, or everything is compared.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from crosslens.search.backend import Allowed, rows_of
from crosslens.search.early_termination import Reach
from crosslens.search.exact import Exact, search_exact, top_rows
from crosslens.search.ivf import ROWS_PER_CELL, centroids
from crosslens.search.recall_tuning import MEASURED_K, Recall, Setting, settings, truth_of
from crosslens.types import Float32, Int64

LEAST_ROWS = 50_000
LEAST_ROWS_FOR_CELLS = 200_000
# Allowed rows of which an exact scan is faster than looking for them in the cells.
FEW_ROWS = 12_000
# Beyond this part of the cells, comparing everything is faster.
_MOST_OF_CELLS = 4
# What was found in so many times the cells says better how far to look.
_FARTHER = 4
# Of the best of a search with a filter at most this part may be missed: what it leaves out was not measured.
_FILTERED = 0.003
# An index that grew by more than this part of itself has cells that no longer fit, and is built anew.
MOST_GROWTH = 0.5
_BLOCK = 32_768
_QUERY_BITS = 4
_SOME = 16
_faiss: Any = faiss  # whose type stubs do not know what its constructors take


@dataclass(frozen=True, slots=True)
class AnnFacts:
    """What was built, and how good it was found to be.

    rows: in the index; cells: 0 where there are none; reach: how well the rows of a cell may score; recall:
    @10 against exact search; seconds: that building, or extending, and measuring took.
    """

    rows: int
    cells: int
    reach: Reach = field(repr=False)  # a curve of many numbers
    setting: Setting
    recall: Recall
    seconds: float


@dataclass(frozen=True, slots=True)
class Approximate:
    """An approximate `SearchBackend`. codes: FAISS index of 1-bit codes; exact: the matrix they stand for."""

    codes: Any
    exact: Exact
    facts: AnnFacts

    def search(self, queries: Float32, k: int, allowed: Allowed | None = None) -> tuple[Int64, Float32]:
        """See `SearchBackend`.

        Searched exactly: few allowed rows, a k that asks for a large part of the rows, and queries whose
        results may lie in too many cells.
        """
        exact, rows = self.exact, len(self.exact.ids)
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        if allowed is not None and len(allowed) <= FEW_ROWS and np.asarray(allowed).dtype != np.bool_:
            return search_exact(exact.index, exact.ids, queries, k, allowed)
        selected = None if allowed is None else _mask(exact.ids, allowed)
        count = rows if selected is None else int(np.count_nonzero(selected))
        wanted = self.facts.setting.candidates * max(1, -(-k // MEASURED_K))
        if len(queries) == 0 or (selected is not None and count <= FEW_ROWS) or wanted > count // 10:
            return search_exact(exact.index, exact.ids, queries, k, selected)
        found, scores = self._look(queries, k, wanted, self.facts.setting.probes, selected)
        part = self.facts.setting.missed if selected is None else min(_FILTERED, self.facts.setting.missed)
        rest = []
        for number in self._doubtful(queries, scores[:, -1]):
            one, best = queries[number : number + 1], (found[number], scores[number])
            farther = self._look_farther(one, best, wanted, k * part, selected)
            if farther is None:
                rest.append(number)
            else:
                found[number], scores[number] = farther
        if rest:
            found[rest], scores[rest] = search_exact(exact.index, exact.ids, queries[rest], k, selected)
        return found, scores

    def _look(
        self, queries: Float32, k: int, wanted: int, probes: int, selected: NDArray[np.bool_] | None
    ) -> tuple[Int64, Float32]:
        """The best in the nearest cells: (ids, scores), both (q, k); scores of -inf where there are fewer."""
        found = np.full((len(queries), k), -1, np.int64)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        labels = candidates(self.codes, queries, wanted, probes, selected)
        for number, line in enumerate(labels):
            ids, best = rescore(self.exact, queries[number], line, k)
            found[number, : len(ids)], scores[number, : len(ids)] = ids, best
        return found, scores

    def _doubtful(self, queries: Float32, least: Float32) -> Int64:
        """Numbers of the queries of which better rows may lie beyond the cells that were looked into.

        least: the k-th best scores, -inf where fewer were found.
        """
        facts = self.facts
        if facts.setting.probes >= facts.cells:
            return np.flatnonzero(np.isneginf(least))
        near = self.codes.quantizer.search(queries, facts.setting.probes + 1)[0]
        return np.flatnonzero(facts.reach.may_hold(near[:, -1], near[:, 0], least))

    def _look_farther(
        self,
        one: Float32,
        found: tuple[Int64, Float32],
        wanted: int,
        missed: float,
        selected: NDArray[np.bool_] | None,
    ) -> tuple[Int64, Float32] | None:
        """What a query, (1, d), finds in all cells that may hold better rows; None where they are too many.

        found: ids and scores of what it found in the nearest, and what comes back, (k,) each.
        """
        facts, looked, most = self.facts, self.facts.setting.probes, self.facts.cells // _MOST_OF_CELLS
        if looked > most:
            return None
        near = self.codes.quantizer.search(one, facts.cells)[0][0]
        while (cells := facts.reach.cells(near, found[1][-1], missed)) > looked:
            if looked > most // _FARTHER and cells > most:
                return None
            looked = min(cells, looked * _FARTHER, most)
            # Among more rows, one bit tells the best less well from the rest.
            more = math.ceil(wanted * math.sqrt(looked / facts.setting.probes))
            ids, scores = self._look(one, len(found[0]), more, looked, selected)
            found = ids[0], scores[0]
        return found


def build(exact: Exact, probes: Float32) -> Approximate | None:
    """Codes of all rows, with the setting that recall needs; None where exact search has to do.

    probes: float32 (p, d), unit: queries of the kind that will come, off the distribution of what is stored
    (texts, where pictures are stored), 1,000 or more. None comes back for a matrix of few rows, and for one
    whose recall stays below `tuning.LEAST_RECALL` at every setting that is faster than exact search.
    """
    started, rows = time.perf_counter(), len(exact.ids)
    if rows < LEAST_ROWS:
        return None
    cells = cells_of(rows)
    name = f"IVF{cells},RaBitQfs" if cells else "RaBitQ"
    codes: Any = faiss.index_factory(exact.index.d, name, faiss.METRIC_INNER_PRODUCT)
    some = exact.vectors(slice(0, rows, max(1, rows // max(_BLOCK, ROWS_PER_CELL * cells))))
    if cells:
        codes.quantizer.add(centroids(some, cells))
    codes.train(some)
    _add(codes, exact, 0)
    return _measured(codes, exact, probes, started)


def extend(old: Any, exact: Exact, probes: Float32) -> Approximate | None:
    """As `build`, from an older index whose rows the matrix begins with: only the rest is added.

    old: FAISS index as `Approximate.codes`; it is copied, so it can be searched meanwhile. Builds anew when
    so much was added that the old cells do not fit.
    """
    started, rows = time.perf_counter(), len(exact.ids)
    if cells_of(rows) != cells_in(old) or rows > (1 + MOST_GROWTH) * old.ntotal:
        return build(exact, probes)
    codes = faiss.clone_index(old)
    _add(codes, exact, codes.ntotal)
    return _measured(codes, exact, probes, started)


def cells_of(rows: int) -> int:
    """How many cells so many rows get: a power of two near 2√n; 0: none."""
    return 0 if rows < LEAST_ROWS_FOR_CELLS else int(2 ** round(math.log2(2 * math.sqrt(rows))))


def cells_in(codes: Any) -> int:
    """How many cells an index has; 0: none."""
    return int(getattr(codes, "nlist", 0))


def candidates(codes: Any, queries: Float32, count: int, probes: int, selected: Any = None) -> Int64:
    """Rows that may be the best, int64 (q, count), -1 where there are fewer. selected: mask (n,) or None."""
    sel = None
    if selected is not None:
        bits = np.packbits(selected, bitorder="little")
        sel = _faiss.IDSelectorBitmap(bits)
    if cells_in(codes):
        parameters = _faiss.IVFSearchParameters(nprobe=min(probes, codes.nlist), sel=sel)
    else:
        parameters = _faiss.RaBitQSearchParameters(qb=_QUERY_BITS, sel=sel)
    labels: Int64 = codes.search(queries, count, params=parameters)[1]
    return labels


def rescore(exact: Exact, query: Float32, rows: Int64, k: int) -> tuple[Int64, Float32]:
    """The k best of some rows by their exact scores: (ids, scores), (k,). Rows of -1 are none."""
    found, scores = top_rows(exact.index, query[None], k, np.sort(rows[rows >= 0]))
    return np.asarray(exact.ids)[found[0]], scores[0]


def _mask(ids: Int64, allowed: Allowed) -> NDArray[np.bool_]:
    """Which rows are allowed, (n,)."""
    given: Any = np.asarray(allowed)
    if given.dtype == np.bool_ and given.shape == ids.shape:
        return np.asarray(given)
    mask = np.zeros(len(ids), np.bool_)
    first, span = (int(ids[0]), int(ids[-1]) - int(ids[0]) + 1) if len(ids) else (0, 0)
    if given.dtype == np.bool_ or len(given) < len(ids) // _SOME or span > _SOME * len(ids):
        mask[rows_of(ids, given)] = True
        return mask
    # Many ids are looked up faster in a table of all there could be than one by one.
    table = np.zeros(span, np.bool_)
    places = given - first
    table[places[(places >= 0) & (places < span)]] = True
    return table if span == len(ids) else np.take(table, np.asarray(ids) - first)


def _add(codes: Any, exact: Exact, start: int) -> None:
    for begin in range(start, len(exact.ids), _BLOCK):
        codes.add(exact.vectors(slice(begin, begin + _BLOCK)))


def _measured(codes: Any, exact: Exact, probes: Float32, started: float) -> Approximate | None:
    """The first setting whose recall is enough."""
    truth = truth_of(exact, probes)
    reach = Reach.measured(codes, exact, truth.queries) if cells_in(codes) else Reach(())
    facts = AnnFacts(codes.ntotal, cells_in(codes), reach, Setting(0, 0, 0), Recall(0, None), 0)
    some = truth.some()
    for setting in settings(facts.cells, facts.rows):
        trial = Approximate(codes, exact, replace(facts, setting=setting))
        if not some.recall(trial).enough:
            continue
        recall = truth.recall(trial)
        if recall.enough:
            seconds = time.perf_counter() - started
            return replace(trial, facts=replace(trial.facts, recall=recall, seconds=seconds))
    return None
