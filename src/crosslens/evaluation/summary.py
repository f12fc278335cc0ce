"""Reports as plain values, for JSON and for other processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from crosslens.evaluation.bootstrap import Estimate
from crosslens.evaluation.classification import ClassificationReport
from crosslens.evaluation.pairs import Calibration, PairReport
from crosslens.evaluation.retrieval import RetrievalReport

Figures = dict[str, dict[str, float | None]]


def figures_of(figures: Mapping[str, Estimate]) -> Figures:
    """Name → value, low, high."""
    return {name: asdict(figure) for name, figure in figures.items()}


def retrieval_summary(report: RetrievalReport) -> dict[str, Any]:
    """Figures of both directions, and how many queries they are of."""
    return {
        "data": report.pairs.name,
        "images": len(report.pairs.images),
        "texts": len(report.pairs.texts),
        "directions": {
            name: {
                "queries": len(ranked.rows),
                "uncounted": ranked.uncounted,
                "answers": ranked.answers,
                "figures": figures_of(ranked.figures),
            }
            for name, ranked in report.retrieval.directions.items()
        },
        "images_per_second": report.images_per_second,
        "texts_per_second": report.texts_per_second,
        "failures": [asdict(failure) for failure in report.failures],
    }


def classification_summary(report: ClassificationReport) -> dict[str, Any]:
    """Figures, classes, the confusion matrix (rows: the true class), calibration."""
    found = report.classification
    return {
        "images": len(found.labels),
        "figures": figures_of(found.figures),
        "calibration_error": found.calibration_error,
        "temperature": found.temperature,
        "calibration_error_mended": found.calibration_error_mended,
        "classes": list(found.classes),
        "per_class": [asdict(line) for line in found.per_class],
        "confusion": found.confusion.tolist(),
        "images_per_second": report.images_per_second,
        "failures": [asdict(failure) for failure in report.failures],
    }


def pair_summary(report: PairReport, calibration: Calibration | None = None) -> dict[str, Any]:
    """Figures, what the probabilities were fitted on, and the new fit, if one was made."""
    measured = report.measured
    found: dict[str, Any] = {
        "data": report.pairs.name,
        "matching": measured.matching,
        "others": measured.others,
        "drawn": report.drawn,
        "threshold": measured.threshold,
        "figures": figures_of(measured.figures),
        "fitted_on": report.fitted_on,
        "images_per_second": report.images_per_second,
        "failures": [asdict(failure) for failure in report.failures],
    }
    if calibration is not None:
        found["calibration"] = {"fitted_on": calibration.match.fitted_on, **calibration.facts}
    return found
