"""The best of several candidates for each row: zero-shot classification, and matching by choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslens.errors import InputError
from crosslens.matching.match_probability import Probability, softmax_confidence
from crosslens.matching.matcher import Matcher
from crosslens.types import Float32, Modality

# AutoMM multiplies cosines by it, whatever the model.
_AUTOMMS_SCALE = 100.0


def candidate_cosines(
    matcher: Matcher,
    sides: tuple[list[Any], list[Any]],
    kinds: tuple[Modality, Modality],
    templates: Sequence[str] | None,
) -> Float32:
    """Cosine of every row with every candidate: float32 (rows, candidates), in [-1, 1].

    sides: rows, candidates. kinds: what each of them holds. templates: prompts with "{}" for a candidate,
    whose vectors are averaged (`zeroshot.ensemble`); None takes candidates as they are. Raises InputError.
    """
    rows, candidates = sides
    if not candidates:
        raise InputError("candidate_data is empty", "Give at least one candidate")
    if templates is None:
        found = matcher.embed(candidates, kinds[1])
    elif kinds[1] == "text":
        found = matcher.embed_labels(candidates, templates)
    else:
        raise InputError("templates are for candidates that are texts", "Leave them out")
    cosines: Float32 = matcher.embed(rows, kinds[0]) @ found.T
    return np.clip(cosines, -1, 1)


def candidate_confidence(cosines: Float32, matcher: Matcher, probability: Probability) -> NDArray[np.float64]:
    """Softmax over the candidates: float64 (rows, candidates), rows sum to 1.

    probability: "calibrated" multiplies by the model's logit scale, "automm" by 100.
    """
    scale = _AUTOMMS_SCALE if probability == "automm" else matcher.spec.logit_scale
    return softmax_confidence(cosines, scale)
