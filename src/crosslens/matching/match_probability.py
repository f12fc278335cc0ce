"""Match probabilities: calibrated sigmoid of a cosine, and softmax confidence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosslens.arguments import choice, number, numbers
from crosslens.errors import InputError, MissingExtraError, UncalibratedWarning, warn
from crosslens.models.spec import MatchSpec, ModelSpec

Probability = Literal["calibrated", "automm"]
Method = Literal["platt", "isotonic"]
Float64 = NDArray[np.float64]

# For a model without a fit: p = ½ at cosine 0.23, between the 0.18 of strangers and the 0.30 of pairs that
# OpenAI's models typically give, as steep as 0.6 of the logit scale. A guess, and marked as one.
_DEFAULT_STEEPNESS = 0.6
_DEFAULT_MIDDLE = 0.23
_NEWTON_STEPS = 100
_ARTICLES, _LONGEST_NAME = ("a", "an", "the"), 2
# From here on lie the scripts that part no words.
_NO_SPACES = "\u2e80"
# Pulls a and b a little towards 0, so that pairs that can be separated perfectly have a finite fit.
_RIDGE = 1e-3


def softmax_confidence(similarities: ArrayLike, logit_scale: float) -> Float64:
    """Softmax of logit_scale × similarities over the last axis: float64, same shape, rows sum to 1.

    Says which of several texts fits best, never whether any fits. Finite for any finite input; a row that
    is not, such as that of a picture marked as unreadable, becomes NaN.
    Raises InputError for no similarities, for what is no number, and for a scale that is not positive.
    Source: CLIP (Radford et al. 2021), where logit_scale is learned; 100 for OpenAI's models.
    """
    cosines = numbers("similarities", similarities)
    if cosines.ndim == 0 or cosines.shape[-1] == 0:
        problem = f"softmax needs at least one similarity in the last axis, got shape {cosines.shape}"
        raise InputError(problem, "Give the similarities of at least one text")
    scale = number("logit_scale", logit_scale)
    if scale <= 0:
        raise InputError(f"logit_scale is {logit_scale}", "Give a positive one, such as the model's own")
    # The largest is taken off before the scale, so that nothing overflows but what is 0 anyway.
    with np.errstate(over="ignore", invalid="ignore"):
        exponentials = np.exp((cosines - cosines.max(axis=-1, keepdims=True)) * scale)
        return exponentials / exponentials.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]


def match_probability(
    cosines: ArrayLike,
    spec: ModelSpec,
    probability: Probability = "calibrated",
    match: MatchSpec | None = None,
    texts: Sequence[str] | None = None,
) -> Float64:
    """Probability that pairs with these cosines match: float64 (n, 2), no match and match, rows sum to 1.

    probability: "calibrated" is sigmoid(a · cosine + b) with a and b fitted for the model; "automm" is
    (cosine + 1) / 2, which calls nearly everything a match, for those who must compare with AutoMM.
    match: a and b, of all pairs; None: the model's own, or a documented guess, warned of
    (UncalibratedWarning). texts: of the pairs, as many. The model's own fit for names of things (`is_name`)
    is taken for those that are; where it has none, its fit for captions is, and warned of. None: captions.
    Raises InputError.
    """
    choice("probability", probability, get_args(Probability))
    values = np.atleast_1d(numbers("cosines", cosines))
    if probability == "automm":
        p = np.clip((values + 1) / 2, 0, 1)
    else:
        if texts is not None and len(texts) != len(values):
            raise InputError(f"there are {len(values)} cosines and {len(texts)} texts", "Give as many")
        named = np.zeros(values.shape, np.bool_)
        if texts is not None and match is None:
            named[:] = [is_name(text) for text in texts]
        p = np.empty(values.shape)
        for names, some in ((True, named), (False, ~named)):
            if some.any():
                fit = match or _fit_for(spec, names=names)
                if not fit.calibrated:
                    warn(UncalibratedWarning(_guessed(spec, names=names)))
                p[some] = apply_match(fit, values[some])
    return np.stack([1 - p, p], axis=-1)


def is_calibrated(spec: ModelSpec, texts: Sequence[str], match: MatchSpec | None = None) -> NDArray[np.bool_]:
    """Whether `match_probability` has a fit for texts like each of these: (n,)."""
    fits = {names: match or _fit_for(spec, names=names) for names in (False, True)}
    return np.array([fits[is_name(text)].calibrated for text in texts], dtype=np.bool_)


def is_name(text: str) -> bool:
    """Whether a text is the name of a thing: one or two words, an article before them aside.

    "dog", "red cars" and "a guide dog" are names, "dogs at play" and "12" are captions. So is all that is
    written without spaces between words, as Chinese is.
    """
    words = text.lower().rstrip(" .").split() if isinstance(text, str) else []
    words = words[1:] if words[:1] and words[0] in _ARTICLES else words
    are_words = all(word.replace("-", "").isalpha() and max(word) < _NO_SPACES for word in words)
    return 1 <= len(words) <= _LONGEST_NAME and are_words


def _fit_for(spec: ModelSpec, *, names: bool) -> MatchSpec:
    """The model's fit. Of names without one: that of captions, marked as a guess."""
    if not names:
        return spec.match or default_match(spec)
    return spec.match_names or replace(_fit_for(spec, names=False), calibrated=False)


def _guessed(spec: ModelSpec, *, names: bool) -> str:
    """What is said of probabilities without a fit."""
    captions_alone = names and spec.match is not None and spec.match.calibrated
    what = 'for names of things ("dog") ' if captions_alone else ""
    why = "they were fitted to captions" if captions_alone else "nobody fitted them"
    return (
        f"{spec.name}'s match probabilities {what}are a guess: {why}. "
        "Fit them to pairs of yours with Matcher.calibrate"
    )


def likely(probabilities: Float64, threshold: float) -> NDArray[np.bool_]:
    """Which matches are at least `threshold` likely: (n,). Raises InputError for what is no number."""
    return probabilities >= number("threshold", threshold)


def default_match(spec: ModelSpec) -> MatchSpec:
    """The guess for a model without a fit; see the head of this file."""
    a = _DEFAULT_STEEPNESS * spec.logit_scale
    return MatchSpec(a, -a * _DEFAULT_MIDDLE, calibrated=False, fitted_on="nothing")


def apply_match(match: MatchSpec, cosines: Float64) -> Float64:
    """Probability of a match by a fit: float64, in the shape of the cosines."""
    if match.points:
        p: Float64 = np.interp(cosines, *np.array(match.points).T)
        return p
    return _sigmoid(match.a * cosines + match.b)


def fit_match(cosines: ArrayLike, labels: ArrayLike, method: Method = "platt") -> MatchSpec:
    """Fit match probabilities to pairs.

    cosines: (n,); labels: (n,) of 0 (no match) and 1 (match), both present.
    method: "platt", a and b of sigmoid(a · cosine + b), by Newton's method; "isotonic", any curve that rises,
    by scikit-learn: nearer to the truth from about a thousand pairs on.
    Raises InputError, MissingExtraError.
    Source: Platt, Probabilistic outputs for support vector machines, 1999; with a small ridge instead of
    his smoothed targets. Zadrozny and Elkan, Transforming classifier scores, 2002, for isotonic regression.
    """
    choice("method", method, get_args(Method))
    x, y = numbers("cosines", cosines).ravel(), numbers("labels", labels).ravel()
    if x.shape != y.shape:
        raise InputError(f"there are {len(x)} pairs and {len(y)} labels", "Give one label to a pair")
    if not set(y.tolist()) <= {0.0, 1.0} or len(set(y.tolist())) < 2:
        raise InputError("labels must be 0 and 1, and both must occur", "Add pairs that do not match")
    design = np.stack([x, np.ones_like(x)], axis=1)
    weights = np.zeros(2)
    for _ in range(_NEWTON_STEPS):
        p = _sigmoid(design @ weights)
        gradient = design.T @ (p - y) + _RIDGE * weights
        hessian = (design * (p * (1 - p))[:, None]).T @ design + _RIDGE * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        # Far from the fit a full step may overshoot; 10 is far for a logit.
        weights -= step / max(1.0, float(np.abs(step).max()) / 10)
        if np.abs(step).max() < 1e-10:
            break
    if weights[0] <= 0:
        problem = "by these labels, pairs match the better the less alike picture and text are"
        raise InputError(problem, "Check that 1 stands for a match, and that the pairs are in their order")
    matching = int(y.sum())
    fitted_on = f"{matching} pairs that match and {len(y) - matching} that do not"
    match = MatchSpec(float(weights[0]), float(weights[1]), calibrated=True, fitted_on=fitted_on)
    return match if method == "platt" else replace(match, points=_isotonic(x, y))


def _isotonic(x: Float64, y: Float64) -> tuple[tuple[float, float], ...]:
    """(cosine, probability) of the rising steps that fit best; never sure, since n pairs prove no more."""
    try:
        from sklearn.isotonic import IsotonicRegression
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "eval") from error
    doubt = 1 / (2 * len(x))
    fit = IsotonicRegression(y_min=doubt, y_max=1 - doubt).fit(x, y)
    return tuple(zip(fit.X_thresholds_.tolist(), fit.y_thresholds_.tolist(), strict=True))


def save_match(match: MatchSpec, path: Path, facts: Mapping[str, Any] | None = None) -> None:
    """Keep a fit for later processes, as JSON. facts: what else is to be known of it. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    kept = {"a": match.a, "b": match.b, "fitted_on": match.fitted_on}
    draft.write_text(
        json.dumps({**kept, **({"points": match.points} if match.points else {}), **(facts or {})})
    )
    draft.replace(path)


def load_match(path: Path) -> MatchSpec | None:
    """A fit that was kept; None where there is none, or it is not whole."""
    try:
        kept = json.loads(path.read_text())
        a, b, fitted_on = float(kept["a"]), float(kept["b"]), str(kept["fitted_on"])
        points = tuple((float(cosine), float(p)) for cosine, p in kept.get("points", ()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if list(points) != sorted(points) or not all(0 <= p <= 1 for _, p in points):
        return None
    return MatchSpec(a, b, calibrated=True, fitted_on=fitted_on, points=points)


def _sigmoid(logits: Float64) -> Float64:
    """Without overflow at either end."""
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1 / (1 + small), small / (1 + small))
