"""Relevance calibration: cosines → numbers in [0, 1] that mean the same for all queries and libraries.

What cosine is a good one differs by model, by query and by the size of the library. So two questions are
asked of the library itself, and relevance is the product of the answers:

    presence    is there anything of what was asked for? The level of the query, made of its five best
                scores, is compared with the levels that texts which no picture shows
                (models/null_texts.py) have in the same library. The more pictures there are, the higher the
                best score of any text is by chance, and theirs just as much.
    closeness   how near is this result to the best? Its place between what is usual, the mean over the
                whole library, and the level. A few pictures are no measure of what is usual: two dogs are
                alike, and neither is far from "dog". So what texts that no picture shows score on average
                counts as much as twenty pictures would.

What was measured, and against what: docs/relevance.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crosslens.types import Float32

# What is at least as relevant is probably meant.
RELEVANT = 0.5
# How many of the best results a level is made of, and how much of it the best one is beside their mean.
TOP = 5
_OF_THE_BEST = 0.25
# Places between mean and level where closeness begins, and where it is whole.
_FARTHEST, _NEAREST = 0.4, 1.0
# Pictures that the mean score of texts which no picture shows counts for.
_PRIOR = 20
_LEAST = 1e-6


@dataclass(frozen=True, slots=True)
class Presence:
    """middle: deviations above the levels of texts that no picture shows where presence is ½.

    steepness: how it rises. The defaults were fitted to version 0 of the embedded model.
    """

    middle: float = 1.75
    steepness: float = 1.8


DEFAULT = Presence()


@dataclass(frozen=True, slots=True)
class Background:
    """What a library is to any text. levels: float32 (m,), of texts that no picture shows.

    centre: float32 (d,), the mean of the library's vectors. size: of the library.
    usual: mean score of those texts over the library.
    """

    levels: Float32
    centre: Float32
    size: int
    usual: float


def level(best: Float32) -> Float32:
    """Scores of the best results (q, at least 1), best first → levels (q,). Those after `TOP` do not count.

    The mean of several is less a matter of chance than the best alone, which yet has its say, so that one
    picture that no other is like can be found.
    """
    levels: Float32 = _OF_THE_BEST * best[:, 0] + (1 - _OF_THE_BEST) * best[:, :TOP].mean(axis=1)
    return levels


def above(levels: Float32, background: Background) -> Float32:
    """How many deviations levels (q,) lie above those of texts that no picture shows: (q,)."""
    spread = max(_LEAST, float(background.levels.std()))
    deviations: Float32 = (levels - background.levels.mean()) / spread
    return deviations


def relevance(
    scores: Float32, best: Float32, query: Float32, background: Background, fitted: Presence = DEFAULT
) -> Float32:
    """Relevance of results, float32 (n,), in [0, 1]. It falls as their scores do.

    scores: (n,); best: (m,), the query's best in the whole library, best first; query: unit, (d,).
    fitted: to the model.
    """
    levels = level(best[None])
    deviation = float(above(levels, background)[0])
    presence = 1 / (1 + np.exp(np.clip(-fitted.steepness * (deviation - fitted.middle), -50, 50)))
    usual = background.size * float(query @ background.centre) + _PRIOR * background.usual
    middle, of_query = usual / (background.size + _PRIOR), float(levels[0])
    if of_query - middle < _LEAST:  # all alike
        return np.full(len(scores), presence, np.float32)
    places = (scores - middle) / (of_query - middle)
    closeness = np.clip((places - _FARTHEST) / (_NEAREST - _FARTHEST), 0, 1)
    numbers: Float32 = (presence * closeness).astype(np.float32)
    return numbers
