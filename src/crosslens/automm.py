"""AutoMM's names over the same parts, for developers who come from AutoGluon's MultiModalPredictor.

docs/automm.md maps the names and lists what differs, and why.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Literal, NoReturn, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from crosslens.arguments import choice
from crosslens.errors import (
    CrosslensWarning,
    InputError,
    MissingExtraError,
    UncalibratedWarning,
    UnknownModelError,
    warn,
)
from crosslens.evaluate import Labels, Table, depths, judgements, load_extra, pair_metrics, ranking_metrics
from crosslens.matcher import Matcher
from crosslens.models.catalogue import STARTER
from crosslens.probability import Probability, default_match, likely, match_probability
from crosslens.semantic import Similarity, semantic_search
from crosslens.texts import modality_of
from crosslens.types import Float32, Modality

__all__ = ["MultiModalPredictor", "semantic_search"]

Side = Literal["query", "response"]
# A list, a dict of columns, or a pandas DataFrame or Series.
Data: TypeAlias = Any
# Column → what each id in it stands for: a dict or a pandas Series.
IdMappings: TypeAlias = Mapping[str, Any]

# What both sides hold; None: one side pictures, the other texts, and each list is asked.
PROBLEM_TYPES: dict[str, Modality | None] = {
    "image_text_similarity": None,
    "text_similarity": "text",
    "image_similarity": "image",
}
PRESETS = {
    "default": STARTER,
    "medium_quality": "openai/clip-vit-base-patch32",
    "high_quality": "openai/clip-vit-large-patch14",
    "best_quality": "openai/clip-vit-large-patch14-336",
}
# Arguments of AutoMM's constructor that steer training, folders and logging; nothing here depends on them.
WITHOUT_EFFECT = frozenset(
    {"path", "verbosity", "num_classes", "warn_if_exist", "enable_progress_bar", "validation_metric"}
)


class MultiModalPredictor:
    """Embeds, matches and evaluates pairs of pictures and texts, under AutoMM's names.

    label: column of relevance or of match labels, for `evaluate`. problem_type: one of `PROBLEM_TYPES`.
    query, response: the two columns of a pair. match_label: the label that means a match; 1 if not given.
    classes: both labels in the order of `predict_proba`'s columns; needed for labels but 0 and 1.
    presets, hyperparameters={"model.clip.checkpoint_name": …}: the model, by name or bundle folder.
    eval_metric: what `evaluate` reports when it is not told. probability: see `predict_proba`.
    Raises InputError, UnknownModelError (with the names that are known) or BundleError.
    """

    def __init__(  # noqa: PLR0913 (the signature is one that users know from elsewhere)
        self,
        label: str | None = None,
        problem_type: str | None = None,
        query: str | Sequence[str] | None = None,
        response: str | Sequence[str] | None = None,
        match_label: Hashable | None = None,
        presets: str | None = None,
        eval_metric: str | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        *,
        classes: Sequence[Hashable] | None = None,
        probability: Probability = "calibrated",
        **without_effect: Any,
    ) -> None:
        unknown = set(without_effect) - WITHOUT_EFFECT
        if unknown:
            raise TypeError(f"unexpected arguments {sorted(unknown)}; docs/automm.md lists what is taken")
        if problem_type not in PROBLEM_TYPES:
            remedy = f"Wanted one of {', '.join(PROBLEM_TYPES)}: crosslens matches"
            raise InputError(f"problem_type is {problem_type!r}", remedy)
        self.label = label
        self.problem_type = problem_type
        self.query = _one_column("query", query)
        self.response = _one_column("response", response)
        self.eval_metric = eval_metric
        self.probability = probability
        self._labels = Labels.of(classes, match_label)
        self.matcher = _open(presets, dict(hyperparameters or {}))

    @property
    def class_labels(self) -> list[Hashable]:
        """Both labels, in the order of `predict_proba`'s columns."""
        return list(self._labels.both)

    def embed(self, data: Data, modality: Modality | None = None) -> Float32:
        """Embed a list: float32 (n, d), unit norm. Makes a predictor the `matcher` of `semantic_search`."""
        items = Table.of(data, "data").column("data")
        return self.matcher.embed(items, modality or self._modality(items, "data"))

    def extract_embedding(
        self,
        data: Data,
        id_mappings: IdMappings | None = None,
        return_masks: bool = False,
        as_tensor: bool = False,
        as_pandas: bool = False,
        realtime: bool | None = False,  # noqa: ARG002 (has no effect: every call is as quick as it can be)
        signature: Side | None = None,
        *,
        modality: Modality | None = None,
    ) -> Any:
        """Embed a list, or one column of a dict or DataFrame: float32 (n, d), unit norm, in the order given.

        id_mappings: {column: {id: content}} for data that holds ids; a list's column is `signature`'s.
        as_tensor: a torch tensor; without torch an array, and a warning. as_pandas: a DataFrame, index kept.
        signature: which of the two columns; without one the query's if the data has it, else the response's.
        modality: what the list holds; None decides for the whole list (`texts.modality_of`).
        Raises InputError, which names the row, or MissingExtraError.
        """
        if return_masks:
            problem = "return_masks asks which rows had no input, and here a row without one is an error"
            raise InputError(problem, "Leave it out")
        if as_tensor and as_pandas:
            raise InputError("as_tensor and as_pandas exclude each other", "Choose one")
        choice("signature", "query" if signature is None else signature, get_args(Side))
        name = {"query": self.query, "response": self.response, None: None}[signature]
        table = Table.of(data, name or signature or "data")
        column = name or self._which_column(table)
        if id_mappings and column not in id_mappings:
            raise InputError(f"id_mappings has {list(id_mappings)}, not {column!r}", "Say whose: signature=…")
        items = table.column(column, id_mappings)
        vectors = self.matcher.embed(items, modality or self._modality(items, column))
        return _tensor(vectors) if as_tensor else table.wrap(vectors, as_pandas)

    def predict_proba(
        self,
        data: Data,
        candidate_data: None = None,
        id_mappings: IdMappings | None = None,
        as_pandas: bool | None = None,
        as_multiclass: bool = True,
        realtime: bool | None = False,  # noqa: ARG002 (has no effect)
        *,
        probability: Probability | None = None,
    ) -> Any:
        """Probabilities of every pair's two labels: float64 (n, 2), columns as `class_labels`, rows sum to 1.

        data: a dict or DataFrame with the columns `query` and `response`. as_pandas: a DataFrame, index kept;
        None: if data is one. as_multiclass=False: the second column, (n,).
        probability: "calibrated" (the model's fit) or "automm", (cosine + 1) / 2; None: the predictor's.
        Raises InputError, which names the row, or MissingExtraError.
        """
        labels, table = self._labels, self._pairs(data, candidate_data)
        proba = self._proba(table, id_mappings, probability)
        if labels.match == labels.both[0]:
            proba = proba[:, ::-1]
        some = (proba, labels.both) if as_multiclass else (proba[:, 1], labels.both[1])
        return table.wrap(some[0], as_pandas, some[1])

    def predict(
        self,
        data: Data,
        candidate_data: None = None,
        id_mappings: IdMappings | None = None,
        as_pandas: bool | None = None,
        realtime: bool | None = False,  # noqa: ARG002 (has no effect)
        *,
        threshold: float = 0.5,
        probability: Probability | None = None,
    ) -> Any:
        """Every pair's label: (n,), `match_label` where a match is at least `threshold` likely.

        Otherwise as `predict_proba`; as_pandas gives a Series.
        """
        table = self._pairs(data, candidate_data)
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

    def fit(self, *_: Any, **__: Any) -> NoReturn:
        """Raise InputError."""
        raise InputError("crosslens.automm does not train", "Use a model as it is; see docs/automm.md")

    def _pairs(self, data: Data, candidate_data: None = None) -> Table:
        """Raises InputError for what holds no pairs."""
        if candidate_data is not None:
            raise InputError("candidate_data is not taken", "Use semantic_search for the best of many")
        if self.query is None or self.response is None:
            remedy = 'MultiModalPredictor(query="…", response="…", problem_type=…)'
            raise InputError("pairs need both columns named", remedy)
        return Table.of(data, "data")

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

    def _both_sides(self, names: tuple[str, str], sides: Sequence[list[Any]]) -> tuple[list[Float32], bool]:
        """The vectors of both sides, and whether they hold the same: two of texts, or two of pictures."""
        kinds = [self._modality(items, name) for name, items in zip(names, sides, strict=True)]
        alike = kinds[0] == kinds[1]
        if alike and self.problem_type == "image_text_similarity":
            problem = f"{names[0]!r} and {names[1]!r} both hold {kinds[0]}s, not pictures and texts"
            raise InputError(problem, "Check the paths, or change problem_type")
        return [self.matcher.embed(*side) for side in zip(sides, kinds, strict=True)], alike

    def _modality(self, items: Sequence[Any], name: str) -> Modality:
        """What a column holds. Raises InputError for names of pictures that are not there."""
        fixed = PROBLEM_TYPES[self.problem_type]
        return fixed or modality_of(items, repr(name))

    def _which_column(self, table: Table) -> str:
        named = [column for column in (self.query, self.response) if column and column in table.columns]
        return named[0] if named else _only_column(table)


def _only_column(table: Table) -> str:
    if len(table.columns) != 1:
        raise InputError(f"the data has the columns {list(table.columns)}", "Give the one to embed")
    return next(iter(table.columns))


def _ids(data: Data, name: str | None, side: Side) -> tuple[str, list[Hashable]]:
    """(the column's name, what is in it, each once)."""
    table = Table.of(data, name or side)
    name = name if name in table.columns else _only_column(table)
    return name, list(dict.fromkeys(table.column(name)))


def _one_column(side: Side, columns: str | Sequence[str] | None) -> str | None:
    names = [columns] if isinstance(columns, str) else list(columns or [])
    if len(names) > 1:
        raise InputError(f"{side} names {len(names)} columns", "Name one: a vector is of one picture or text")
    return names[0] if names else None


def _open(presets: str | None, hyperparameters: Mapping[str, Any]) -> Matcher:
    """The matcher that a preset or a checkpoint name stands for; a checkpoint name has the last word."""
    named = {value for key, value in hyperparameters.items() if str(key).endswith(".checkpoint_name")}
    if len(named) > 1:
        raise InputError(f"hyperparameters name several models: {sorted(named)}", "Name one for both sides")
    ignored = sorted(str(key) for key in hyperparameters if not str(key).endswith(".checkpoint_name"))
    if ignored:
        message = f"hyperparameters without effect here: {', '.join(ignored)}"
        warn(CrosslensWarning(message))
    asked = os.fspath(named.pop() if named else presets or STARTER)
    name = PRESETS.get(asked, asked)
    try:
        return Matcher(name)
    except UnknownModelError as error:
        stands_for = f"{asked!r} stands for {name}: " if name != asked else ""
        remedy = f"{error.remedy}. Presets: {', '.join(PRESETS)}"
        raise UnknownModelError(stands_for + error.problem, remedy) from error


def _tensor(vectors: Float32) -> Any:
    try:
        return load_extra("torch", "torch", "torch").from_numpy(vectors)
    except MissingExtraError as error:
        _say_once(f"as_tensor=True gives arrays: {error}")
        return vectors


@cache
def _say_once(message: str) -> None:
    warn(CrosslensWarning(message))
