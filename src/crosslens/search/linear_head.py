"""A linear head on embeddings: logistic regression from a few examples, its errors, what to label next.

Knows arrays only. The model is p(x) = σ(w·x + b), fitted by Newton's method on the log loss with ½‖w‖² beside
it (what scikit-learn calls C = 1) in a space where the library's vectors have mean 0 and mean square norm 1:
embeddings of two-tower models share a large mean, and differ by little. scikit-learn would do the same; it is
150 MB that the base install can do without, and the tests hold this against it.

Yes and no weigh the same in sum. Half the weight of the no is that of items taken at random from the library
and presumed not to show it: the few marked ones say little of the rest. Some of the random ones may show it
after all, each with a weight that hardly counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosslens.types import Float32, Int64

# Items taken at random that are presumed to be no.
PRESUMED = 200
# With fewer examples a rate of errors says nothing: its 95 % interval would span half of all rates.
LEAST_STATED = 5
_FOLDS = 10
_Z95 = 1.959964
_STEPS, _TOLERANCE = 50, 1e-8
# The bias is all but free; not quite, so that it stays finite where one class weighs nothing.
_BIAS_PENALTY = 1e-6
# Of how many of the least certain each suggestion is chosen, so that they differ.
_POOL = 10

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Head:
    """weights: float32 (d,); bias. The margin of a vector x is w·x + b, its score σ(margin)."""

    weights: Float32
    bias: float

    def margins(self, vectors: Float32) -> Float64:
        """Of vectors (n, d): float64 (n,)."""
        margins: Float64 = vectors.astype(np.float64) @ self.weights.astype(np.float64) + self.bias
        return margins


@dataclass(frozen=True, slots=True)
class Space:
    """Where heads are fitted: x → (x − mean) / scale. mean: float32 (d,)."""

    mean: Float32
    scale: float

    @classmethod
    def of(cls, mean: Float32, covariance: Float32) -> Space:
        """That in which vectors with these moments have mean 0 and mean square norm 1."""
        return cls(mean, float(np.sqrt(max(float(np.trace(covariance)), 1e-12))))


@dataclass(frozen=True, slots=True)
class Examples:
    """Unit vectors, float32 (·, d): marked yes, marked no, and taken at random, presumed no."""

    yes: Float32
    no: Float32
    presumed: Float32

    def without(self, yes: NDArray[np.bool_], no: NDArray[np.bool_]) -> Examples:
        """All but these of the marked ones."""
        return Examples(self.yes[~yes], self.no[~no], self.presumed)


@dataclass(frozen=True, slots=True)
class Rate:
    """Errors among examples, each judged by a head that was fitted without it.

    wrong of `of`; low, high: 95 % interval of the rate (Wilson, 1927).
    """

    wrong: int
    of: int

    @property
    def value(self) -> float:
        """The rate itself, in [0, 1]."""
        return self.wrong / self.of

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return max(0.0, self._middle - self._half) if self.wrong else 0.0

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return min(1.0, self._middle + self._half) if self.wrong < self.of else 1.0

    @property
    def _middle(self) -> float:
        return (self.wrong + _Z95**2 / 2) / (self.of + _Z95**2)

    @property
    def _half(self) -> float:
        spread = self.value * (1 - self.value) / self.of + _Z95**2 / (4 * self.of**2)
        return float(_Z95 * np.sqrt(spread) / (1 + _Z95**2 / self.of))


def fit(examples: Examples, space: Space) -> Head:
    """The head that tells yes from no; see the head of this file.

    Raises ValueError where there is no yes, or nothing to tell it from.
    """
    yes, others = len(examples.yes), len(examples.no) + len(examples.presumed)
    if not yes or not others:
        raise ValueError("wanted a yes, and something to tell it from")
    vectors = np.concatenate([examples.yes, examples.no, examples.presumed]).astype(np.float64)
    rows = (vectors - space.mean) / space.scale
    # The solution lies in the span of the rows, so a basis of that is enough: (n, r), r ≤ n.
    basis = np.linalg.qr(rows.T)[0] if len(rows) < rows.shape[1] else np.eye(rows.shape[1])
    labels = np.repeat([1.0, 0.0], [yes, others])
    found = _newton(rows @ basis, labels, _example_weights(examples))
    weights = basis @ found[:-1] / space.scale
    return Head(weights.astype(np.float32), float(found[-1] - weights @ space.mean))


def held_out_margins(examples: Examples, space: Space) -> tuple[Float64, Float64]:
    """Margins of the yes and of the no, (n,) each, by heads fitted without them; ten-fold, or one by one.

    NaN for classes that have too few to state a rate: they are not held out.
    """
    yes, no = _folds(len(examples.yes)), _folds(len(examples.no))
    margins = np.full(len(yes), np.nan), np.full(len(no), np.nan)
    for fold in range(max(yes.max(initial=-1), no.max(initial=-1)) + 1):
        head = fit(examples.without(yes == fold, no == fold), space)
        margins[0][yes == fold] = head.margins(examples.yes[yes == fold])
        margins[1][no == fold] = head.margins(examples.no[no == fold])
    return margins


def error_rates(examples: Examples, space: Space, threshold: float) -> tuple[Rate | None, Rate | None]:
    """(yes that would be missed, no that would be taken for yes); None where too few were marked to say.

    threshold: the score from which on something counts as yes, in (0, 1).
    """
    least = logit(threshold)
    yes, no = held_out_margins(examples, space)
    missed, alarms = (int(np.sum(wrong)) for wrong in (yes < least, no >= least))
    return (
        Rate(missed, len(yes)) if len(yes) >= LEAST_STATED else None,
        Rate(alarms, len(no)) if len(no) >= LEAST_STATED else None,
    )


def least_certain(
    margins: NDArray[np.floating], least: float, vectors: Callable[[Int64], Float32], count: int
) -> Int64:
    """Rows to label next: near the threshold, and unlike each other; int64 (at most count,).

    margins: (n,), NaN for rows that are not to be chosen. least: the margin from which on it is yes. vectors:
    gives unit vectors of rows, float32 (m, d). The nearest `_POOL` times as many are the pool; each
    further one is that of the pool which is least like any before (farthest-first traversal, Gonzalez 1985).
    """
    doubt = np.abs(margins - least)
    known = int(np.sum(~np.isnan(doubt)))
    pool = np.argsort(doubt, kind="stable")[: min(known, _POOL * count)]  # NaN comes last
    if len(pool) <= count:
        return pool.astype(np.int64)
    rows = vectors(pool)
    chosen, nearest = [0], rows @ rows[0]
    while len(chosen) < count:
        chosen.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, rows @ rows[chosen[-1]])
    return pool[chosen].astype(np.int64)


def logit(score: float) -> float:
    """The margin that has this score."""
    return float(np.log(score / (1 - score)))


def sigmoid(margins: NDArray[np.floating]) -> Float64:
    """The scores of margins."""
    scores: Float64 = 1 / (1 + np.exp(-np.clip(margins, -50, 50)))
    return scores


# -- inside ---------------------------------------------------------------------------------------


def _example_weights(examples: Examples) -> Float64:
    """(n,): each yes 1; all no together as much as all yes, halves for the marked and the presumed."""
    yes, no, presumed = len(examples.yes), len(examples.no), len(examples.presumed)
    shares = (0.5, 0.5) if no and presumed else (1.0, 1.0)
    weights = [1.0, shares[0] * yes / max(no, 1), shares[1] * yes / max(presumed, 1)]
    return np.repeat(weights, [yes, no, presumed])


def _newton(rows: Float64, labels: Float64, weights: Float64) -> Float64:
    """The weights (r,) and the bias that minimise Σ weights · log loss + ½‖w‖²: (r + 1,)."""
    rows = np.hstack([rows, np.ones((len(rows), 1))])
    penalty = np.append(np.ones(rows.shape[1] - 1), _BIAS_PENALTY)

    def loss(at: Float64) -> float:
        margins = rows @ at
        return float(weights @ (np.logaddexp(0, margins) - labels * margins) + penalty @ at**2 / 2)

    found, least = np.zeros(rows.shape[1]), loss(np.zeros(rows.shape[1]))
    for _ in range(_STEPS):
        scores = sigmoid(rows @ found)
        gradient = rows.T @ (weights * (scores - labels)) + penalty * found
        curvature = (rows * (weights * scores * (1 - scores))[:, None]).T @ rows + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        while (after := loss(found - step)) > least + _TOLERANCE:  # too far: half the way
            step /= 2
        found, least = found - step, after
        if np.abs(step).max() < _TOLERANCE:
            break
    return found


def _folds(count: int) -> Int64:
    """To which fold each example belongs, (n,): at random, the same ones every time; −1: to none."""
    if count < LEAST_STATED:
        return np.full(count, -1, np.int64)
    return np.random.default_rng(0).permutation(count).astype(np.int64) % min(count, _FOLDS)
