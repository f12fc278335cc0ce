"""Metrics of rankings (nDCG, MRR, MAP, recall) and probabilities, as trec_eval and scikit-learn define them.

Everything here knows columns, ids, labels and numbers, never models. Both tools come with the extra `eval`;
pandas is only used by those who have it already.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from crosslens.arguments import brief, number, numbers, whole
from crosslens.errors import InputError, MissingExtraError

# Our name → trec_eval's. Its recip_rank knows no cutoff, so rankings are cut before it sees them.
RANKING_METRICS = {
    "recall": "recall",
    "precision": "P",
    "ndcg": "ndcg_cut",
    "map": "map_cut",
    "mrr": "recip_rank",
}
PAIR_METRICS = ("roc_auc", "accuracy", "f1", "log_loss")

_GREATEST_RELEVANCE = 1_000_000

# One relevance judgement: query, response, relevance (0: not relevant; more is better).
Qrel = tuple[Hashable, Hashable, float]


def load_extra(module: str, package: str, extra: str) -> Any:
    """An optional module. Raises MissingExtraError, whose message ends with the line that installs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(package, extra) from error


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of equal length. index: that of the pandas object they come from; is_frame: a DataFrame."""

    columns: dict[str, list[Any]]
    index: Any = None
    is_frame: bool = False

    @classmethod
    def of(cls, data: Any, header: str) -> Table:
        """From a DataFrame, a dict of columns, or a list (or Series, or one item), which becomes one column.

        Raises InputError for columns of different lengths.
        """
        pandas = sys.modules.get("pandas")  # who passes a DataFrame has imported it
        if pandas is not None and isinstance(data, pandas.DataFrame):
            return cls({name: data[name].tolist() for name in data.columns}, data.index, is_frame=True)
        if pandas is not None and isinstance(data, pandas.Series):
            return cls({header: data.tolist()}, data.index)
        if not isinstance(data, Mapping):
            return cls({header: _items(data)})
        table = cls({name: _items(values) for name, values in data.items()})
        lengths = {name: len(values) for name, values in table.columns.items()}
        if len(set(lengths.values())) > 1:
            raise InputError(f"the columns differ in length: {lengths}", "Give one value to a row")
        return table

    def column(self, name: str, id_mappings: Mapping[str, Any] | None = None) -> list[Any]:
        """The values of a column, or what they stand for, if id_mappings has a dict or Series for the column.

        Raises InputError, which names the row, for a value that is missing and an id that is unknown.
        """
        if name not in self.columns:
            raise InputError(f"there is no column {name!r}", f"There is {', '.join(map(repr, self.columns))}")
        values = self.columns[name]
        if id_mappings and name in id_mappings:
            mapping = id_mappings[name]
            if not hasattr(mapping, "items"):
                problem = f"id_mappings holds {brief(mapping)} for {name!r}"
                raise InputError(problem, "Give a dict or Series of what each id stands for")
            contents = dict(mapping.items())
            for row, value in enumerate(values):
                if value not in contents:
                    problem = f"column {name!r}, row {row}: id_mappings has nothing for the id {value!r}"
                    raise InputError(problem, "Add what it stands for")
            values = [contents[value] for value in values]
        for row, value in enumerate(values):
            if _is_missing(value):
                problem = f"column {name!r}, row {row}{self._label(row)} is missing"
                raise InputError(problem, "Leave the row out, or fill it in")
        return values

    def wrap(self, values: NDArray[Any], as_pandas: bool | None, names: Any = None) -> Any:
        """Results to its rows: an array, or in pandas with its index, if asked for, or None and it came so.

        values: (n,), a Series called `names`, or (n, m), a DataFrame with the columns `names`.
        Raises MissingExtraError.
        """
        if not (self.is_frame if as_pandas is None else as_pandas):
            return values
        pandas = load_extra("pandas", "pandas", "pandas")
        if values.ndim == 1:
            return pandas.Series(values, index=self.index, name=names)
        return pandas.DataFrame(values, index=self.index, columns=names)

    def _label(self, row: int) -> str:
        return "" if self.index is None else f" (index {self.index[row]!r})"


@dataclass(frozen=True, slots=True)
class Labels:
    """The two labels of pairs, in the order of their columns, and which of them means a match."""

    both: tuple[Hashable, Hashable]
    match: Hashable

    @classmethod
    def of(cls, both: Sequence[Hashable] | None, match: Hashable | None) -> Labels:
        """The last of two labels means a match, unless `match` says so of the other. Raises InputError."""
        if both is None and match not in (None, 0, 1):
            raise InputError(
                f"match_label is {match!r}, and the label of the other pairs is not known",
                "Give both, in the order of predict_proba's columns: classes=[…, …]",
            )
        both = (0, 1) if both is None else tuple(both)
        if len(both) != 2 or both[0] == both[1] or match not in (None, *both):
            raise InputError(
                f"classes are {brief(list(both))} and match_label is {match!r}",
                "Give two different labels, one of them match_label",
            )
        return cls((both[0], both[1]), both[1] if match is None else match)

    @property
    def other(self) -> Hashable:
        """The label of pairs that do not match."""
        return self.both[0] if self.match == self.both[1] else self.both[1]

    def of_matches(self, matches: NDArray[np.bool_]) -> NDArray[Any]:
        """The label of every pair, from whether it matches: (n,)."""
        alike = type(self.other) is type(self.match)
        return np.array([self.other, self.match], None if alike else object)[matches.astype(np.int64)]

    def matches(self, labels: Sequence[Hashable]) -> NDArray[np.int64]:
        """1 for every label that means a match, 0 for the other: (n,). Raises InputError for any else."""
        for row, label in enumerate(labels):
            if label not in self.both:
                wanted = (
                    f"Wanted {self.both[0]!r} or {self.both[1]!r}; other labels are named by classes=[…, …]"
                )
                raise InputError(f"row {row} has the label {label!r}", wanted)
        return np.array([label == self.match for label in labels], dtype=np.int64)


def _items(data: Any) -> list[Any]:
    """A list of one for a single text or picture."""
    single = isinstance(data, str | bytes | os.PathLike | Image.Image)
    if single or (isinstance(data, np.ndarray) and data.ndim in (2, 3)):
        return [data]
    return list(data)


def _is_missing(value: Any) -> bool:
    """None, or one of pandas' marks for no value."""
    nan = isinstance(value, float) and math.isnan(value)
    return value is None or nan or type(value).__name__ in ("NAType", "NaTType")


def judgements(
    data: Any,
    columns: tuple[str, str, str | None],
    queries: Sequence[Hashable],
    responses: Sequence[Hashable],
) -> Iterator[Qrel]:
    """Relevance judgements from rows (query, response, relevance), or a dict or DataFrame with `columns`.

    Without a relevance every row counts 1. Raises InputError for a row whose query or response is unknown.
    """
    known = (("query", set(queries)), ("response", set(responses)))
    for row, judgement in enumerate(_judgement_rows(data, columns)):
        for (side, ids), value in zip(known, judgement, strict=False):
            if value not in ids:
                raise InputError(
                    f"judgement {row} names the {side} {value!r}, which is not in {side}_data",
                    "Add it there, or leave the judgement out",
                )
        yield judgement[0], judgement[1], judgement[2] if len(judgement) > 2 else 1


def _judgement_rows(data: Any, columns: tuple[str, str, str | None]) -> Iterable[Sequence[Any]]:
    if isinstance(data, list | tuple):
        for row, judgement in enumerate(data):
            _check_row(row, judgement, 2, 3)
        return data
    table = Table.of(data, "data")
    query, response, relevance = columns
    if relevance is None and "relevance" in table.columns:
        relevance = "relevance"
    names = [query, response] if relevance is None else [query, response, relevance]
    return list(zip(*(table.column(name) for name in names), strict=True))


def _check_row(row: int, judgement: Any, *lengths: int) -> None:
    if not isinstance(judgement, list | tuple | np.ndarray) or len(judgement) not in lengths:
        raise InputError(f"judgement {row} is {brief(judgement)}", "Give (query, response, relevance)")


def ranking_metrics(
    rankings: Mapping[Hashable, Sequence[Hashable]],
    qrels: Iterable[Qrel],
    metrics: str | Sequence[str] = ("recall",),
    cutoffs: Sequence[int] = (1, 5, 10),
) -> dict[str, float]:
    """Means over the judged queries: {"recall@1": …, "recall@5": …}, each in [0, 1].

    rankings: query → its responses, best first. qrels: rows of query, response and relevance, a whole number.
    metrics: any of recall, precision, ndcg, map, mrr. cutoffs: how far down a ranking is looked.
    A query without a judgement has no score and does not count, as in trec_eval.
    Raises InputError, which names the row, or MissingExtraError.
    Source: trec_eval, through pytrec-eval-terrier.
    """
    metrics, cutoffs = _known(metrics, RANKING_METRICS, "ranking"), depths(cutoffs)
    judged = _judgements(qrels, rankings)
    tool = load_extra("pytrec_eval", "pytrec-eval-terrier", "eval")
    responses = {response for line in judged.values() for response in line}
    names = {response: str(number) for number, response in enumerate(sorted(responses, key=repr))}
    relevance = {
        str(number): {names[response]: level for response, level in line.items()}
        for number, line in enumerate(judged.values())
    }
    results = {}
    for metric in metrics:
        for k in cutoffs:
            run = {str(number): _run(rankings[query][:k], names) for number, query in enumerate(judged)}
            measure = RANKING_METRICS[metric] + ("" if metric == "mrr" else f".{k}")
            scores = tool.RelevanceEvaluator(relevance, {measure}).evaluate(run)
            values = [score for line in scores.values() for score in line.values()]
            results[f"{metric}@{k}"] = float(sum(values) / len(judged))
    return results


def pair_metrics(
    labels: ArrayLike,
    probabilities: ArrayLike,
    metrics: str | Sequence[str] = ("roc_auc",),
    threshold: float = 0.5,
) -> dict[str, float]:
    """How well match probabilities tell pairs that match from those that do not: {"roc_auc": …}.

    labels: (n,) of 0 (no match) and 1 (match). probabilities: (n,), of a match, in [0, 1].
    metrics: any of roc_auc, accuracy, f1 (in [0, 1], more is better) and log_loss (≥ 0, less is better).
    threshold: accuracy and f1 count as a match what is at least that likely.
    Raises InputError or MissingExtraError. Source: scikit-learn.
    """
    metrics = _known(metrics, PAIR_METRICS, "pair")
    truth, p = numbers("labels", labels), numbers("probabilities", probabilities)
    if truth.shape != p.shape or truth.ndim != 1 or not len(truth):
        problem = f"labels have shape {truth.shape} and probabilities {p.shape}"
        raise InputError(problem, "Wanted (n,) twice, and at least one pair")
    for name, values, sound, wanted in (
        ("label", truth, np.isin(truth, (0, 1)), "0 (no match) or 1 (match)"),
        ("probability", p, (p >= 0) & (p <= 1), "something from 0 to 1"),
    ):
        if not sound.all():
            row = int(np.argmin(sound))
            raise InputError(f"{name} {row} is {values[row]:g}", f"Wanted {wanted}")
    if "roc_auc" in metrics and len(np.unique(truth)) < 2:
        raise InputError(
            f"all {len(truth)} pairs have the label {truth[0]:g}, so there is no roc_auc",
            "Add pairs of both kinds",
        )
    predicted = p >= number("threshold", threshold)
    functions = _pair_functions(truth.astype(np.int64), p, predicted.astype(np.int64))
    return {metric: float(functions[metric]()) for metric in metrics}


def _pair_functions(
    truth: NDArray[np.int64], p: NDArray[np.float64], predicted: NDArray[np.int64]
) -> dict[str, Callable[[], float]]:
    tool = load_extra("sklearn.metrics", "scikit-learn", "eval")
    return {
        "roc_auc": lambda: tool.roc_auc_score(truth, p),
        "accuracy": lambda: tool.accuracy_score(truth, predicted),
        "f1": lambda: tool.f1_score(truth, predicted, zero_division=0.0),
        "log_loss": lambda: tool.log_loss(truth, p, labels=[0, 1]),
    }


def depths(cutoffs: Iterable[int]) -> list[int]:
    """Cutoffs as a list. Raises InputError for one that is no whole number from 1 on, and for none at all."""
    found = [whole("a cutoff", k) for k in cutoffs]
    if not found:
        raise InputError("there are no cutoffs", "Give at least one, such as (1, 5, 10)")
    return found


def _known(metrics: str | Iterable[str], known: Iterable[str], kind: str) -> list[str]:
    found = [metrics] if isinstance(metrics, str) else list(metrics)
    for metric in found:
        if metric not in known:
            raise InputError(
                f"there is no {kind} metric {brief(metric)}", f"Wanted any of {', '.join(known)}"
            )
    return found


def _judgements(
    qrels: Iterable[Qrel], rankings: Mapping[Hashable, Sequence[Hashable]]
) -> dict[Hashable, dict[Hashable, int]]:
    """Query → response → relevance."""
    judged: dict[Hashable, dict[Hashable, int]] = {}
    for row, judgement in enumerate(qrels):
        _check_row(row, judgement, 3)
        query, response, relevance = judgement
        if query not in rankings:
            raise InputError(
                f"judgement {row} is of query {query!r}, which has no ranking", "Add its ranking"
            )
        # trec_eval counts by level without a look at its memory: those below 0 and vast ones end the process.
        is_level = isinstance(relevance, Real) and 0 <= relevance <= _GREATEST_RELEVANCE
        if not is_level or relevance != int(relevance):
            wanted = f"Wanted a whole number from 0 to {_GREATEST_RELEVANCE:,}"
            raise InputError(f"judgement {row} has the relevance {brief(relevance)}", wanted)
        line = judged.setdefault(query, {})
        if line.setdefault(response, int(relevance)) != relevance:
            raise InputError(
                f"judgement {row} gives {query!r} and {response!r} the relevance {relevance}, "
                f"an earlier one {line[response]}",
                "Keep one of them",
            )
    if not judged:
        raise InputError("there are no relevance judgements", "Give rows of query, response and relevance")
    return judged


def _run(ranking: Sequence[Hashable], names: Mapping[Hashable, str]) -> dict[str, float]:
    """A ranking as trec_eval takes it: scores that fall by 1, so that it never breaks a tie.

    Responses that nobody judged keep their places under names of their own.
    """
    if len(set(ranking)) < len(ranking):
        raise InputError("a ranking holds a response twice", "Give every response once")
    return {names.get(response, f"unjudged {place}"): -float(place) for place, response in enumerate(ranking)}
