"""The result of a conversion, before it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from tokenizers import Tokenizer

from crosslens.models.spec import ImageSpec, MatchSpec, NetworkSpec, TextSpec


@dataclass(frozen=True, slots=True)
class Converted:
    """A model as networks. weights: under the names of `towers.transformer`.

    logit_scale: what cosines are multiplied by, not its logarithm.
    space: identity of the model whose image tower this is, for a text tower that was taught to fit it.
    """

    dimension: int
    logit_scale: float
    image: ImageSpec
    image_network: NetworkSpec
    text: TextSpec
    text_network: NetworkSpec
    weights: dict[str, NDArray[Any]]
    tokenizer: Tokenizer
    match: MatchSpec | None = None
    space: str | None = None


def sigmoid_match(scale: float, bias: float) -> MatchSpec:
    """SigLIP is trained to tell pairs from others by a sigmoid; this is its own."""
    return MatchSpec(scale, bias, calibrated=True, fitted_on="the model's own sigmoid loss")
