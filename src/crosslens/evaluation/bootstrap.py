"""Means and medians with 95 % confidence intervals by the bootstrap.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile intervals).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

RESAMPLES = 1000
_SEED = 0
_EACH = 64  # resamples at a time, so that memory stays bounded
_ENDS = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, and where it lies with 95 % confidence; None where no interval was asked for."""

    value: float
    low: float | None = None
    high: float | None = None

    def __float__(self) -> float:
        return self.value


def estimates(
    means: Mapping[str, Float64],
    medians: Mapping[str, Float64],
    clusters: Int64,
    resamples: int = RESAMPLES,
) -> dict[str, Estimate]:
    """The mean or the median of each column, with its interval.

    means, medians: name → (n,), a value for each query. clusters: (n,) of 0, 1, …: queries that are drawn
    together, since they are not independent of each other, such as the captions of one picture.
    resamples: 0 leaves the intervals out. The same data gives the same intervals.
    """
    found = {name: float(np.mean(values)) for name, values in means.items()}
    found |= {name: float(np.median(values)) for name, values in medians.items()}
    if not resamples:
        return {name: Estimate(value) for name, value in found.items()}
    count = int(clusters.max()) + 1
    sums = np.stack([np.bincount(clusters, values, count) for values in means.values()], axis=1)
    sizes = np.bincount(clusters, minlength=count).astype(np.float64)
    orders = {name: np.argsort(values, kind="stable") for name, values in medians.items()}
    drawn: dict[str, list[Float64]] = {name: [] for name in found}
    random = np.random.default_rng(_SEED)
    for start in range(0, resamples, _EACH):
        weights = _weights(random, min(_EACH, resamples - start), count)
        for name, values in zip(means, (weights @ sums / (weights @ sizes)[:, None]).T, strict=True):
            drawn[name].append(values)
        for name, order in orders.items():
            drawn[name].append(_weighted_medians(medians[name][order], weights[:, clusters[order]]))
    ends = {name: np.percentile(np.concatenate(values), _ENDS) for name, values in drawn.items()}
    return {name: Estimate(value, *map(float, ends[name])) for name, value in found.items()}


def _weights(random: np.random.Generator, resamples: int, count: int) -> Float64:
    """How often each cluster is drawn: float64 (resamples, count), rows sum to count."""
    draws = (np.bincount(random.integers(count, size=count), minlength=count) for _ in range(resamples))
    return np.stack(list(draws)).astype(np.float64)


def _weighted_medians(values: Float64, weights: Float64) -> Float64:
    """Medians of sorted values (n,) that occur as often as each row of weights (b, n) says: (b,)."""
    reached = np.cumsum(weights, axis=1)
    total = reached[:, -1:]
    below, above = np.floor((total - 1) / 2), np.floor(total / 2)
    lower, upper = ((reached > place).argmax(axis=1) for place in (below, above))
    medians: Float64 = (values[lower] + values[upper]) / 2
    return medians


def resampled(
    figures: Callable[[Float64], dict[str, float]], clusters: Int64, resamples: int = RESAMPLES
) -> dict[str, Estimate]:
    """Any figures of n rows with their intervals. figures: of weights (n,), how often each row occurs.

    clusters, resamples: as of `estimates`. A resample in which a figure is not defined does not count for it.
    """
    found = figures(np.ones(len(clusters)))
    if not resamples:
        return {name: Estimate(value) for name, value in found.items()}
    count, random = int(clusters.max()) + 1, np.random.default_rng(_SEED)
    drawn = [figures(_weights(random, 1, count)[0][clusters]) for _ in range(resamples)]
    ends = {name: np.nanpercentile([line[name] for line in drawn], _ENDS) for name in found}
    return {name: Estimate(value, *map(float, ends[name])) for name, value in found.items()}
