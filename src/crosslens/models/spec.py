"""Facts about a model, as frozen data; nothing here computes with pixels or tokens."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

Resize = Literal["shortest_edge", "squash"]
Interpolation = Literal["bicubic", "bilinear", "lanczos"]
Crop = Literal["center", "none"]


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """How a picture becomes the image tower's input.

    size: side of the square input, pixels.
    resize: "shortest_edge" keeps the shape and brings the short side to `size`; "squash" does not.
    mean, std: per channel, of values in [0, 1]; applied inside the graph.
    """

    size: int
    resize: Resize
    interpolation: Interpolation
    crop: Crop
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class TextSpec:
    """How a text becomes the text tower's input: int64 ids, padded with pad_id to context_length."""

    context_length: int
    pad_id: int


@dataclass(frozen=True, slots=True)
class MatchSpec:
    """p(match) = sigmoid(a * cosine + b); calibrated says whether a and b were fitted on real pairs."""

    a: float
    b: float
    calibrated: bool
    fitted_on: str


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A graph file with the names of its input and output; sha256 is that of the file, in hex."""

    file: str
    input: str
    output: str
    sha256: str


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Everything that is known of a model without opening its graphs.

    dimension: length of an embedding. logit_scale: what cosines are multiplied by before a softmax.
    scripts: Unicode scripts it was trained on, in the words that open characters' names ("LATIN");
    empty: not stated.
    """

    name: str
    version: str
    dimension: int
    logit_scale: float
    image: ImageSpec
    text: TextSpec
    image_graph: TensorSpec
    text_graph: TensorSpec
    tokenizer_file: str
    tokenizer_sha256: str
    match: MatchSpec | None
    license: str
    scripts: tuple[str, ...]

    @property
    def identity(self) -> str:
        """Name of the space the vectors lie in, 32 hex digits: weights, tokeniser and preprocessing.

        Precision and runtime do not enter: vectors that differ only in those may be compared.
        """
        facts = {
            "image": asdict(self.image),
            "text": asdict(self.text),
            "sha256": [self.image_graph.sha256, self.text_graph.sha256, self.tokenizer_sha256],
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
