"""How well a model tells which picture and which text belong together.

In: a data set of pictures with captions, classes or labels (`load_pairs`, `load_classes`), and a `Matcher`;
or plain arrays of vectors and the rows that belong together (`retrieval_metrics`, `classification_metrics`,
`pair_metrics`).
Out: figures with 95 % intervals, what became of every query, calibrations of match probabilities, and several
models side by side (`compare_models`).
Must not know: libraries and how they are searched, the service, the terminal. Nothing here prints.
"""

from crosslens.evaluation.bootstrap import Estimate
from crosslens.evaluation.caption_sets import load_pairs
from crosslens.evaluation.class_folders import LabelledImages, load_classes
from crosslens.evaluation.classification import (
    Classification,
    classification_metrics,
    evaluate_classification,
)
from crosslens.evaluation.datasets import Pairs
from crosslens.evaluation.model_comparison import Comparison, compare_models
from crosslens.evaluation.pairs import (
    Calibration,
    PairFigures,
    calibrate_pairs,
    evaluate_pairs,
    load_calibration,
    pair_metrics,
    save_calibration,
)
from crosslens.evaluation.ranks import RankedQueries
from crosslens.evaluation.retrieval import Retrieval, evaluate_retrieval, retrieval_metrics

__all__ = [
    "Calibration",
    "Classification",
    "Comparison",
    "Estimate",
    "LabelledImages",
    "PairFigures",
    "Pairs",
    "RankedQueries",
    "Retrieval",
    "calibrate_pairs",
    "classification_metrics",
    "compare_models",
    "evaluate_classification",
    "evaluate_pairs",
    "evaluate_retrieval",
    "load_calibration",
    "load_classes",
    "load_pairs",
    "pair_metrics",
    "retrieval_metrics",
    "save_calibration",
]
