"""How well a model tells which picture and which text belong together.

In: a data set of pictures with captions, classes or labels (`load_pairs`, `load_classes`), and a `Matcher`;
or plain arrays of vectors and the rows that belong together (`retrieval_metrics`, `classification_metrics`,
`pair_metrics`).
Out: figures with 95 % intervals, what became of every query, and calibrations of match probabilities.
Must not know: libraries and how they are searched, the service, the terminal. Nothing here prints.
"""

from crosslens.matching.datasets import Pairs
from crosslens.matching.intervals import Estimate
from crosslens.matching.ranks import RankedQueries
from crosslens.matching.reading import load_pairs
from crosslens.matching.retrieval import Retrieval, evaluate_retrieval, retrieval_metrics

__all__ = [
    "Estimate",
    "Pairs",
    "RankedQueries",
    "Retrieval",
    "evaluate_retrieval",
    "load_pairs",
    "retrieval_metrics",
]
