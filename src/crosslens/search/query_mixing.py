"""Query mixing: several terms, texts and pictures, into one query vector.

In a two-tower space pictures are nearer to each other than to any text, and a picture as a query spreads
the scores of a library more widely than words do. In a plain sum it drowns the words. So each term is
divided by its own spread of scores over the library: q = Σ (wᵢ / σᵢ) · vᵢ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosslens.errors import QueryError
from crosslens.types import Float32

# How much "--without" pushes away: half of what a wanted term pulls, so that it decides between
# results that fit and does not fetch whatever is least like it.
WITHOUT_WEIGHT = -0.5
_LEAST_SPREAD = 1e-6


@dataclass(frozen=True, slots=True)
class Term:
    """One part of a query. vector: unit, float32 (d,); weight: negative pushes away."""

    vector: Float32
    weight: float


def spread(vector: Float32, covariance: Float32) -> float:
    """Standard deviation of the scores of a library's vectors against this one: √(vᵀ C v)."""
    return float(np.sqrt(max(0.0, float(vector @ covariance @ vector))))


def mix(terms: list[Term], covariance: Float32) -> Float32:
    """One unit query vector, float32 (d,), from weighted terms; see the head of this file.

    covariance: float32 (d, d), of the library's vectors. Where it gives no term any spread (a library of
    one picture), terms count by their weights alone.
    Raises QueryError when there is no term, or they cancel out.
    """
    weights = weigh(terms, covariance)
    return (weights @ np.stack([term.vector for term in terms])).astype(np.float32)


def weigh(terms: list[Term], covariance: Float32) -> NDArray[np.float64]:
    """How much of each term's vector is in the query vector of `mix`, (n,); arguments and errors as there."""
    if not terms:
        raise QueryError("the search asks for nothing", "Give a text, a picture, or both")
    spreads = np.array([spread(term.vector, covariance) for term in terms])
    weights = np.array([term.weight for term in terms])
    telling = spreads >= _LEAST_SPREAD
    if telling.any():
        # A term that scores everything alike says nothing about the order.
        weights = np.divide(weights, spreads, where=telling, out=np.zeros_like(spreads))
    norm = float(np.linalg.norm(weights @ np.stack([term.vector for term in terms])))
    if norm < _LEAST_SPREAD * float(np.abs(weights).max()):
        raise QueryError("the terms of the search cancel each other out", "Change a term or its weight")
    return weights / norm
