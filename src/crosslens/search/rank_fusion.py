"""Rank fusion: one ranking from several, by meaning and by full text.

Reciprocal rank fusion: every ranking gives an item weight / (60 + its place). Only places count, so that
scores need not be comparable. Source: Cormack, Clarke and Büttcher, SIGIR 2009.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, TypeVar

K = TypeVar("K", bound=Any)  # what can be put in an order

_CONSTANT = 60


def fuse(rankings: Sequence[tuple[float, Sequence[K]]]) -> list[K]:
    """Keys from the best to the worst; equal ones in their order. rankings: each with its weight."""
    scores: dict[K, float] = defaultdict(float)
    for weight, ranking in rankings:
        for place, key in enumerate(ranking, 1):
            scores[key] += weight / (_CONSTANT + place)
    return sorted(scores, key=lambda key: (-scores[key], key))
