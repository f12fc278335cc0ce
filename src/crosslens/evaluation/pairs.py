"""Matching and non-matching pairs measured: ROC-AUC, PR-AUC, accuracy, calibrated probabilities."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from crosslens import app_folders
from crosslens.arguments import number, numbers, whole
from crosslens.errors import InputError
from crosslens.evaluation.bootstrap import RESAMPLES, Estimate, Float64, Int64, resampled
from crosslens.evaluation.classification import calibration_error
from crosslens.evaluation.datasets import Pairs
from crosslens.evaluation.embedding import EmbeddedPairs, OnProgress, embed_pairs
from crosslens.matching.match_probability import (
    Method,
    apply_match,
    fit_match,
    load_match,
    match_probability,
    save_match,
)
from crosslens.matching.matcher import Matcher
from crosslens.models.spec import MatchSpec
from crosslens.types import Failure

_SEED = 0


@dataclass(frozen=True, slots=True)
class PairFigures:
    """How well pairs are told apart.

    figures, with 95 % intervals: `roc_auc`, `pr_auc` (average precision), `accuracy`, `f1` at the threshold,
    `log_loss`, and `calibration_error` (expected, 15 bins), without interval.
    threshold: what is at least that likely counts as a match. matching, others: how many pairs of each kind.
    """

    figures: dict[str, Estimate]
    threshold: float
    matching: int
    others: int

    def __getitem__(self, name: str) -> float:
        """A figure by name, such as "roc_auc"."""
        return self.figures[name].value


@dataclass(frozen=True, slots=True)
class PairReport:
    """What a model did on a set of pairs.

    pairs: as evaluated. drawn: whether those that do not match were drawn, since the set has no labels.
    cosines, probabilities: float64 (n,), of every pair. fitted_on: what the probabilities were fitted on.
    """

    measured: PairFigures
    pairs: Pairs
    drawn: bool
    cosines: Float64
    probabilities: Float64
    fitted_on: str
    failures: tuple[Failure, ...]
    images_per_second: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """A fit of match probabilities. match: what a Matcher uses.

    before, after: figures by the probabilities as they were and by the new ones, these on halves that they
    were not fitted on; a picture's pairs are all in one half.
    """

    match: MatchSpec
    before: PairFigures
    after: PairFigures

    @property
    def facts(self) -> dict[str, Any]:
        """What is stored beside the fit itself."""
        names = ("log_loss", "calibration_error", "accuracy")
        return {
            "method": "isotonic" if self.match.points else "platt",
            "before": {name: self.before[name] for name in names},
            "held_out": {name: self.after[name] for name in names},
        }


def pair_metrics(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    threshold: float = 0.5,
    clusters: ArrayLike | None = None,
    resamples: int = RESAMPLES,
) -> PairFigures:
    """Measure match probabilities. labels: (n,) of 0 (no match) and 1 (match), both present.

    probabilities: (n,) in [0, 1]; pairs of equal probability are one step of either curve. clusters: (n,),
    pairs that are drawn together by the bootstrap, such as those of one picture; None: each by itself.
    Raises InputError. The figures are scikit-learn's of the same names; pr_auc is its
    average_precision_score.
    """
    truth, p = numbers("labels", labels).ravel(), numbers("probabilities", probabilities).ravel()
    if truth.shape != p.shape or not set(truth.tolist()) <= {0.0, 1.0} or len(set(truth.tolist())) < 2:
        problem = f"there are {len(truth)} labels and {len(p)} probabilities"
        raise InputError(problem, "Wanted as many, labels of 0 and 1, and both of them")
    if not ((p >= 0) & (p <= 1)).all():
        raise InputError("probabilities go beyond 0 and 1", "Give those of predict_proba")
    whole("resamples", resamples, least=0)
    at = number("threshold", threshold)
    groups = np.unique(np.arange(len(truth)) if clusters is None else clusters, return_inverse=True)[1]
    figures = resampled(_weighted(truth, p, at), groups, resamples)
    figures["calibration_error"] = Estimate(calibration_error(p, truth))
    return PairFigures(figures, at, int(truth.sum()), int(len(truth) - truth.sum()))


def evaluate_pairs(
    matcher: Matcher,
    pairs: Pairs,
    *,
    threshold: float = 0.5,
    resamples: int = RESAMPLES,
    on_progress: OnProgress = lambda _progress: None,
) -> PairReport:
    """Embed a set and measure how well its pairs are told apart.

    Of a set without labels every pair matches; then as many that do not are drawn: each text with a picture
    that is not its own, by chance, the same ones every time.
    Raises InputError, TextError. Warns where the probabilities are a guess (UncalibratedWarning).
    """
    embedded, drawn = _embedded(matcher, pairs, on_progress)
    labelled, cosines = embedded.pairs, _cosines(embedded)
    p = match_probability(cosines, matcher.spec, match=matcher.own_match, texts=labelled.texts)[:, 1]
    measured = pair_metrics(
        _labels_of(labelled), p, threshold=threshold, clusters=labelled.text_to_image, resamples=resamples
    )
    known = matcher.match_spec
    return PairReport(
        measured,
        labelled,
        drawn,
        cosines,
        p,
        known.fitted_on if known else "nothing: a guess",
        embedded.failures,
        embedded.images_per_second,
    )


def calibrate_pairs(report: PairReport, method: Method = "platt") -> Calibration:
    """Fit match probabilities to the pairs of a report. Nothing is stored: `Matcher.use_match` does that.

    method: "platt", a sigmoid; "isotonic", any curve that rises, for a thousand pairs or more.
    Raises InputError, MissingExtraError.
    """
    labels, groups = _labels_of(report.pairs), report.pairs.text_to_image
    half = np.random.default_rng(_SEED).permutation(int(groups.max()) + 1)[groups] % 2 == 0
    after = np.empty(len(labels))
    for fitted, held in ((half, ~half), (~half, half)):
        if len(np.unique(labels[fitted])) < 2:
            problem = f"{len(labels)} pairs are too few: no half can be held out"
            raise InputError(problem, "Add pairs, a hundred or more of either kind")
        match = fit_match(report.cosines[fitted], labels[fitted], method)
        after[held] = apply_match(match, report.cosines[held])
    match = fit_match(report.cosines, labels, method)
    drawn = " (drawn by chance)" if report.drawn else ""
    match = replace(match, fitted_on=f"{report.pairs.name}: {match.fitted_on}{drawn}")
    measured = pair_metrics(labels, after, threshold=report.measured.threshold, resamples=0)
    return Calibration(match, report.measured, measured)


def save_calibration(
    matcher: Matcher, calibration: Calibration, path: str | os.PathLike[str] | None = None
) -> str:
    """Store a fit as JSON, with the model and the pairs that it was fitted on; returns the path.

    path: None: in the user's data folder, where every later Matcher with this model takes it from; this
    matcher takes it at once. Raises OSError.
    """
    target = app_folders.calibration(matcher.spec.identity) if path is None else Path(path)
    facts = {"model": matcher.spec.name, "identity": matcher.spec.identity, **calibration.facts}
    save_match(calibration.match, target, facts)
    if path is None:
        matcher.use_match(calibration.match)
    return str(target)


def load_calibration(path: str | os.PathLike[str], matcher: Matcher) -> MatchSpec:
    """A fit that `save_calibration` stored; from now on the matcher uses it.

    Raises InputError where the file is none, or is of another model.
    """
    match = load_match(Path(path))
    if match is None:
        raise InputError(
            f"{path} is no stored calibration", "crosslens evaluate pairs DATA --calibrate platt"
        )
    identity = json.loads(Path(path).read_text()).get("identity", matcher.spec.identity)
    if identity != matcher.spec.identity:
        raise InputError(f"{path} was fitted for another model than {matcher.spec.name}", "Fit it anew")
    matcher.use_match(match)
    return match


def with_strangers(pairs: Pairs) -> Pairs:
    """A set whose pairs all match, and after them each text with another picture, which it does not match."""
    if len(pairs.images) < 2:
        raise InputError(f"{pairs.name} has one picture, so no text has another", "Add pictures, or labels")
    right = pairs.relevance
    count, wrong = len(pairs.images), np.empty(len(pairs.texts), np.int64)
    own: dict[int, set[int]] = {}
    for text, image in zip(right.queries.tolist(), right.answers.tolist(), strict=True):
        own.setdefault(text, set()).add(image)
    random = np.random.default_rng(_SEED)
    kept = [text for text in range(len(pairs.texts)) if 0 < len(own.get(text, ())) < count]
    for text in kept:
        wrong[text] = random.integers(count)
        while wrong[text] in own[text]:
            wrong[text] = random.integers(count)
    rows = np.array(kept, dtype=np.int64)
    first = np.array([min(own[text]) for text in kept], dtype=np.int64)
    return replace(
        pairs,
        texts=tuple(pairs.texts[text] for text in kept) * 2,
        text_to_image=np.concatenate([first, wrong[rows]]),
        labels=np.repeat([1, 0], len(kept)),
        judgements=None,
    )


def _embedded(matcher: Matcher, pairs: Pairs, on_progress: OnProgress) -> tuple[EmbeddedPairs, bool]:
    """(the set with labels, embedded; whether pairs that do not match were drawn)."""
    drawn = pairs.labels is None
    return embed_pairs(matcher, with_strangers(pairs) if drawn else pairs, on_progress), drawn


def _labels_of(pairs: Pairs) -> Int64:
    return np.ones(len(pairs.texts), np.int64) if pairs.labels is None else pairs.labels


def _cosines(embedded: EmbeddedPairs) -> Float64:
    own = embedded.images[embedded.pairs.text_to_image]
    cosines: Float64 = np.clip((own * embedded.texts).sum(axis=1, dtype=np.float64), -1, 1)
    return cosines


def _weighted(labels: Float64, p: Float64, threshold: float) -> Callable[[Float64], dict[str, float]]:
    """The figures where pair i occurs weights[i] times."""
    _, step = np.unique(p, return_inverse=True)
    said, floor = p >= threshold, np.finfo(np.float64).eps
    losses = -np.log(np.clip(np.where(labels == 1, p, 1 - p), floor, 1))

    def figures(weights: Float64) -> dict[str, float]:
        hits = np.bincount(step, weights * labels)[::-1]  # by falling probability
        misses = np.bincount(step, weights * (1 - labels))[::-1]
        found, wrong = np.cumsum(hits), np.cumsum(misses)
        all_hits, all_misses, total = found[-1], wrong[-1], weights.sum()
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(found + wrong > 0, found / (found + wrong), 0.0)
            true, false = (weights @ (said & (labels == label)) for label in (1, 0))
            return {
                "roc_auc": float((misses * (found - hits / 2)).sum() / (all_hits * all_misses)),
                "pr_auc": float((hits * precision).sum() / all_hits),
                "accuracy": float((true + all_misses - false) / total),
                "f1": float(2 * true / (true + false + all_hits)),
                "log_loss": float(weights @ losses / total),
            }

    return figures
