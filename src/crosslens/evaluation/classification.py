"""Zero-shot classification measured: accuracy, confusion matrix, calibration error and temperature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from crosslens.arguments import number, numbers, whole
from crosslens.errors import InputError
from crosslens.evaluation.bootstrap import RESAMPLES, Estimate, Float64, Int64, estimates
from crosslens.evaluation.class_folders import LabelledImages
from crosslens.evaluation.embedding import OnProgress, embed_pictures
from crosslens.matching.match_probability import softmax_confidence
from crosslens.matching.matcher import Matcher
from crosslens.matching.zero_shot import TEMPLATES
from crosslens.types import Failure

# Of the reliability diagram, as Guo et al. have it.
_BINS = 15
_NEWTON_STEPS = 50
_COLDEST, _HOTTEST = 1e-2, 1e2


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """Of one class. recall: of its pictures, those given it; precision: of those given it, its own.

    precision is None where no picture was given it. top5: of its pictures, those with it among their first
    five. mistaken_for: the class most often given instead.
    """

    name: str
    images: int
    recall: float
    precision: float | None
    top5: float
    mistaken_for: str | None


@dataclass(frozen=True, slots=True)
class Classification:
    """How well a model names pictures.

    figures: `top1`, `top5` (where there are more than five classes), `mean_recall` (every class counts the
    same), with 95 % intervals. confusion: int64 (c, c), rows the true class, columns the one given.
    calibration_error: expected calibration error of the softmax confidences, in [0, 1] (Guo et al. 2017).
    temperature: what logits are to be divided by so that it becomes least; calibration_error_mended: what it
    is then, on halves that the temperature was not fitted on. ranks: int64 (n,), of the true class, from 1.
    """

    classes: tuple[str, ...]
    figures: dict[str, Estimate]
    per_class: tuple[ClassFigures, ...]
    confusion: Int64
    calibration_error: float
    temperature: float
    calibration_error_mended: float
    labels: Int64
    predicted: Int64
    ranks: Int64
    confidences: Float64

    def __getitem__(self, name: str) -> float:
        """A figure by name, such as "top1"."""
        return self.figures[name].value


@dataclass(frozen=True, slots=True)
class ClassificationReport:
    """What a model did on a set: see `Classification`; failures: pictures left out; how fast it went."""

    classification: Classification
    image_ids: tuple[str, ...]
    failures: tuple[Failure, ...]
    images_per_second: float


def classification_metrics(
    similarities: ArrayLike,
    labels: ArrayLike,
    classes: Sequence[str],
    logit_scale: float,
    *,
    resamples: int = RESAMPLES,
) -> Classification:
    """Measure cosines (n, c) of pictures with classes. labels: (n,), each picture's row in classes.

    A class that ties with the true one counts as before it. logit_scale: of the model, for confidences.
    Raises InputError. Source: Guo et al., On Calibration of Modern Neural Networks, 2017, for error and
    temperature.
    """
    cosines, truth = numbers("similarities", similarities, np.float32), _labels(labels, len(classes))
    if cosines.shape != (len(truth), len(classes)) or not len(truth) or not np.isfinite(cosines).all():
        problem = (
            f"similarities have shape {cosines.shape}, labels {len(truth)} rows, of {len(classes)} classes"
        )
        raise InputError(problem, "Wanted finite ones (labels, classes), and at least one")
    whole("resamples", resamples, least=0)
    own = cosines[np.arange(len(truth)), truth][:, None]
    ranks = (cosines >= own).sum(axis=1)
    others = cosines.copy()
    # Of equals, not the true one.
    others[np.arange(len(truth)), truth] = np.nextafter(own[:, 0], np.float32(-np.inf))
    predicted = others.argmax(axis=1)
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (truth, predicted), 1)
    logits = number("logit_scale", logit_scale) * cosines.astype(np.float64)
    confidence = softmax_confidence(logits, 1.0).max(axis=1)
    right = predicted == truth
    return Classification(
        tuple(classes),
        _figures(ranks, truth, len(classes), resamples),
        tuple(_per_class(classes, confusion, ranks, truth)),
        confusion,
        calibration_error(confidence, right),
        temperature_of(logits, truth),
        _error_of_halves(logits, truth, right),
        truth,
        predicted,
        ranks,
        confidence,
    )


def evaluate_classification(
    matcher: Matcher,
    images: LabelledImages,
    *,
    templates: Sequence[str] = TEMPLATES,
    resamples: int = RESAMPLES,
    on_progress: OnProgress = lambda _progress: None,
) -> ClassificationReport:
    """Name every picture by the class it is nearest to, and measure; see `classification_metrics`.

    templates: prompts with "{}" for the class; their vectors are averaged. A picture that cannot be read is
    left out, and named. Raises InputError, TextError.
    """
    texts = matcher.embed_labels(images.classes, templates)
    found, rate = embed_pictures(matcher, images.images, on_progress)
    if not len(found.rows):
        raise InputError(f"{images.name}: no picture could be read", "Check the paths")
    measured = classification_metrics(
        found.vectors @ texts.T,
        images.labels[found.rows],
        images.classes,
        matcher.spec.logit_scale,
        resamples=resamples,
    )
    ids = tuple(images.image_ids[row] for row in found.rows)
    return ClassificationReport(measured, ids, found.failures, rate)


def calibration_error(confidences: Float64, right: ArrayLike) -> float:
    """Mean distance between confidence and the share that is right, over 15 bins of equal width: in [0, 1].

    confidences: (n,) in [0, 1]. right: (n,), 1 where what was said is so. Source: Guo et al. 2017.
    """
    hits = np.asarray(right, dtype=np.float64)
    bins = np.minimum((confidences * _BINS).astype(np.int64), _BINS - 1)
    gaps = np.bincount(bins, hits - confidences, _BINS)
    return float(np.abs(gaps).sum() / len(hits))


def temperature_of(logits: Float64, labels: Int64) -> float:
    """What logits (n, c) are to be divided by so that the labels are likeliest, from 0.01 to 100.

    By Newton's method on its inverse, in which the log likelihood is concave. Source: Guo et al. 2017,
    section 4.2.
    """
    own, inverse = logits[np.arange(len(labels)), labels], 1.0
    for _ in range(_NEWTON_STEPS):
        p = softmax_confidence(logits, inverse)
        means = (p * logits).sum(axis=1)
        slope = float(np.mean(means - own))
        curve = float(np.mean((p * logits**2).sum(axis=1) - means**2))
        aim = inverse - slope / max(curve, 1e-12)
        # A step at most doubles or halves, so that none goes over the edge.
        step = float(np.clip(aim, inverse / 2, inverse * 2))
        before, inverse = inverse, float(np.clip(step, 1 / _HOTTEST, 1 / _COLDEST))
        if abs(inverse - before) < 1e-9 * before:
            break
    return 1 / inverse


def _error_of_halves(logits: Float64, labels: Int64, right: ArrayLike) -> float:
    """Calibration error of each half by the temperature of the other."""
    half = np.random.default_rng(0).permutation(len(labels)) % 2 == 0
    if half.all() or not half.any():
        return calibration_error(softmax_confidence(logits, 1.0).max(axis=1), right)
    confidences = np.empty(len(labels))
    for fitted, held in ((half, ~half), (~half, half)):
        inverse = 1 / temperature_of(logits[fitted], labels[fitted])
        confidences[held] = softmax_confidence(logits[held], inverse).max(axis=1)
    return calibration_error(confidences, right)


def _figures(ranks: Int64, labels: Int64, classes: int, resamples: int) -> dict[str, Estimate]:
    means = {"top1": (ranks <= 1).astype(np.float64)}
    if classes > 5:
        means["top5"] = (ranks <= 5).astype(np.float64)
    # Weighted so that each class that occurs counts the same; the mean of these is the mean of the recalls.
    sizes = np.bincount(labels, minlength=classes)
    means["mean_recall"] = means["top1"] * len(labels) / (sizes[labels] * np.count_nonzero(sizes))
    return estimates(means, {}, np.arange(len(labels)), resamples)


def _per_class(classes: Sequence[str], confusion: Int64, ranks: Int64, labels: Int64) -> list[ClassFigures]:
    found = []
    for row, name in enumerate(classes):
        mine, given = ranks[labels == row], int(confusion[:, row].sum())
        if not len(mine):
            continue
        wrong = confusion[row].copy()
        wrong[row] = 0
        found.append(
            ClassFigures(
                name,
                len(mine),
                float(confusion[row, row] / len(mine)),
                float(confusion[row, row] / given) if given else None,
                float(np.mean(mine <= 5)),
                classes[int(wrong.argmax())] if wrong.any() else None,
            )
        )
    return found


def _labels(labels: ArrayLike, classes: int) -> Int64:
    given = numbers("labels", labels).ravel()
    sound = (given == np.floor(given)) & (given >= 0) & (given < classes)
    if not sound.all():
        row = int(np.argmin(sound))
        raise InputError(f"label {row} is {given[row]:g}", f"Wanted rows of classes, 0 to {classes - 1}")
    return given.astype(np.int64)
