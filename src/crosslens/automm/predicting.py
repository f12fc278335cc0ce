"""Predictions: matching pairs, the best of several candidates, and their evaluation."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslens.automm.candidates import candidate_confidence, candidate_cosines
from crosslens.automm.embedding import ZERO_SHOT, Data, EmbeddingPredictor, IdMappings, Side, only_column
from crosslens.errors import InputError, UncalibratedWarning, warn
from crosslens.evaluation.metrics import Table, depths, judgements, pair_metrics, ranking_metrics
from crosslens.matching.match_probability import Probability, default_match, likely, match_probability
from crosslens.matching.semantic_search import Similarity, semantic_search
from crosslens.types import Float32, Modality


class PairPredictor(EmbeddingPredictor):
    """The part of `MultiModalPredictor` that predicts and evaluates."""

    def predict_proba(
        self,
        data: Data,
        candidate_data: Data | None = None,
        id_mappings: IdMappings | None = None,
        as_pandas: bool | None = None,
        as_multiclass: bool = True,
        realtime: bool | None = False,  # noqa: ARG002 (has no effect)
        *,
        probability: Probability | None = None,
        templates: Sequence[str] | None = None,
    ) -> Any:
        """Probabilities of every pair's two labels: float64 (n, 2), columns as `class_labels`, rows sum to 1.

        data: a dict or DataFrame with the columns `query` and `response`. as_pandas: a DataFrame, index kept;
        None: if data is one. as_multiclass=False: the second column, (n,).
        probability: "calibrated" (the model's fit) or "automm", (cosine + 1) / 2; None: the predictor's.
        candidate_data: softmax over its m rows instead, (n, m), of one column of data; see `candidates.py`.
        Raises InputError, which names the row, or MissingExtraError.
        """
        if candidate_data is not None:
            table, cosines = self._against(data, candidate_data, id_mappings, templates)
            found = candidate_confidence(cosines, self.matcher, probability or self.probability)
            return table.wrap(found, as_pandas)
        labels, table = self._labels, self._pairs(data)
        proba = self._proba(table, id_mappings, probability)
        if labels.match == labels.both[0]:
            proba = proba[:, ::-1]
        some = (proba, labels.both) if as_multiclass else (proba[:, 1], labels.both[1])
        return table.wrap(some[0], as_pandas, some[1])

    def predict(
        self,
        data: Data,
        candidate_data: Data | None = None,
        id_mappings: IdMappings | None = None,
        as_pandas: bool | None = None,
        realtime: bool | None = False,  # noqa: ARG002 (has no effect)
        *,
        threshold: float = 0.5,
        probability: Probability | None = None,
        templates: Sequence[str] | None = None,
    ) -> Any:
        """Every pair's label: (n,), `match_label` where a match is at least `threshold` likely.

        candidate_data: for each row of data, the row of the candidate that fits best, int64 (n,).
        Otherwise as `predict_proba`; as_pandas gives a Series.
        """
        if candidate_data is not None:
            table, cosines = self._against(data, candidate_data, id_mappings, templates)
            return table.wrap(cosines.argmax(axis=1), as_pandas, self.label)
        table = self._pairs(data)
        matches = likely(self._proba(table, id_mappings, probability)[:, 1], threshold)
        return table.wrap(self._labels.of_matches(matches), as_pandas, self.label)

    def evaluate(  # noqa: PLR0913, PLR0917 (AutoMM's order)
        self,
        data: Data,
        query_data: Data | None = None,
        response_data: Data | None = None,
        id_mappings: IdMappings | None = None,
        metrics: str | Sequence[str] | None = None,
        chunk_size: int = 1024,
        similarity_type: Similarity = "cosine",
        cutoffs: Sequence[int] = (1, 5, 10),
        label: str | None = None,
        return_pred: bool = False,
        realtime: bool | None = False,  # noqa: ARG002 (has no effect)
        *,
        threshold: float = 0.5,
        probability: Probability | None = None,
    ) -> Any:
        """Metric → value: of rankings if query_data and response_data are given, else of labelled pairs.

        Rankings: data holds relevance judgements, rows of query, response and `label` (every row counts 1
        where there is no such column); see `evaluate.ranking_metrics` for metrics and cutoffs.
        Pairs: data holds pairs and their `label`; see `evaluate.pair_metrics`. return_pred: (values, labels).
        Raises InputError, which names the row, or MissingExtraError.
        """
        if (query_data is None) != (response_data is None):
            raise InputError("a ranking needs query_data and response_data", "Give both, or neither")
        label = label or self.label
        chosen = metrics or self.eval_metric or ("roc_auc" if query_data is None else "recall")
        if query_data is None:
            table = self._pairs(data)
            truth = self._labels.matches(table.column(label or "label"))
            p = self._proba(table, id_mappings, probability)[:, 1]
            values = pair_metrics(truth, p, chosen, threshold)
            predicted = table.wrap(self._labels.of_matches(likely(p, threshold)), None, label)
            return (values, predicted) if return_pred else values
        cutoffs = depths(cutoffs)
        query, queries = _ids(query_data, self.query, "query")
        response, responses = _ids(response_data, self.response, "response")
        qrels = list(judgements(data, (query, response, label), queries, responses))
        sides = [Table({name: ids}).column(name, id_mappings)
                 for name, ids in ((query, queries), (response, responses))]  # fmt: skip
        vectors, _ = self._both_sides((query, response), sides)
        hits = semantic_search(
            query_embeddings=vectors[0],
            response_embeddings=vectors[1],
            top_k=max(cutoffs),
            id_mappings=responses,
            response_chunk_size=chunk_size,
            similarity_type=similarity_type,
        )
        found = [[hit["response_id"] for hit in line] for line in hits]
        return ranking_metrics(dict(zip(queries, found, strict=True)), qrels, chosen, cutoffs)

    def _pairs(self, data: Data) -> Table:
        """Raises InputError for what holds no pairs."""
        if self.problem_type == ZERO_SHOT:
            problem = f"{ZERO_SHOT} chooses among classes, and has no pairs"
            raise InputError(problem, "Name the classes: candidate_data=[…]")
        if self.query is None or self.response is None:
            remedy = 'MultiModalPredictor(query="…", response="…", problem_type=…)'
            raise InputError("pairs need both columns named", remedy)
        return Table.of(data, "data")

    def _against(
        self,
        data: Data,
        candidate_data: Data,
        id_mappings: IdMappings | None,
        templates: Sequence[str] | None,
    ) -> tuple[Table, Float32]:
        """(data, the cosine of each of its rows with each candidate: float32 (rows, candidates))."""
        tables = Table.of(data, self.query or "data"), Table.of(candidate_data, self.response or "candidates")
        names = self._which_column(tables[0]), self._which_column(tables[1], first="response")
        sides = [table.column(name, id_mappings) for table, name in zip(tables, names, strict=True)]
        if not sides[0]:
            return tables[0], np.empty((0, len(sides[1])), np.float32)
        kinds: tuple[Modality, Modality] = ("image", "text")
        if self.problem_type != ZERO_SHOT:
            kinds = self._kinds(names, sides)
        return tables[0], candidate_cosines(self.matcher, (sides[0], sides[1]), kinds, templates)

    def _proba(
        self, table: Table, id_mappings: IdMappings | None, probability: Probability | None
    ) -> NDArray[np.float64]:
        """Probability of every pair: float64 (n, 2), no match and match."""
        names = str(self.query), str(self.response)
        sides = [table.column(name, id_mappings) for name in names]
        if not sides[0]:
            return np.empty((0, 2))
        (queries, responses), alike = self._both_sides(names, sides)
        cosines = np.clip((queries * responses).sum(axis=1), -1, 1)
        kind, match = probability or self.probability, self.matcher.own_match
        if kind == "calibrated" and alike:
            message = f"the fit is to pictures with texts; for {self.problem_type} probabilities are a guess"
            warn(UncalibratedWarning(message))
            match = match or self.matcher.spec.match or default_match(self.matcher.spec)
            match = replace(match, calibrated=True)  # warned of already
        texts = None if alike else next(side for side in sides if self._modality(side, "pairs") == "text")
        return match_probability(cosines, self.matcher.spec, kind, match, texts)


def _ids(data: Data, name: str | None, side: Side) -> tuple[str, list[Hashable]]:
    """(the column's name, what is in it, each once)."""
    table = Table.of(data, name or side)
    name = name if name in table.columns else only_column(table)
    return name, list(dict.fromkeys(table.column(name)))
