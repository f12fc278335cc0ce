"""Model specifications as frozen data: input sizes, normalisation, tokeniser, networks, calibrations."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Literal

Resize = Literal["shortest_edge", "squash", "longest_edge"]
Interpolation = Literal["bicubic", "bilinear", "lanczos"]
Crop = Literal["center", "center_floor", "none"]
Clean = Literal["none", "whitespace", "lower", "canonicalize", "siglip"]
Activation = Literal["gelu", "gelu_tanh", "quick_gelu"]
Norm = Literal["before", "after"]
Pool = Literal["first", "last", "end", "mean", "attention"]


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """How a picture becomes the image tower's input.

    size: side of the square input, pixels.
    resize: "shortest_edge" keeps the shape and brings the short side to `size`, "longest_edge" the long one;
    "squash" does not keep it.
    crop: "center" rounds an odd margin to the even pixel, as torchvision does; "center_floor" rounds it down,
    as transformers does.
    mean, std: per channel, of values in [0, 1]; applied inside the graph.
    resize_to: what the side is brought to where that is not `size`, before the crop to `size`.
    fill: grey value, 0 to 255, of what "longest_edge" leaves empty.
    """

    size: int
    resize: Resize
    interpolation: Interpolation
    crop: Crop
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize_to: int | None = None
    fill: int = 0

    @property
    def side(self) -> int:
        """Pixels that a side is resized to."""
        return self.resize_to or self.size


@dataclass(frozen=True, slots=True)
class TextSpec:
    """How a text becomes the text tower's input: int64 ids, padded with pad_id to context_length.

    clean: what is done to a text before the tokeniser sees it (`crosslens.texts.normalization`).
    """

    context_length: int
    pad_id: int
    clean: Clean = "none"


@dataclass(frozen=True, slots=True)
class MatchSpec:
    """p(match) = sigmoid(a * cosine + b); calibrated says whether a and b were fitted on real pairs.

    points: (cosine, probability) of a fit that is no sigmoid, both rising, with straight lines between them
    and level beyond; a and b are then the sigmoid nearest to it. Empty: the sigmoid is the fit.
    """

    a: float
    b: float
    calibrated: bool
    fitted_on: str
    points: tuple[tuple[float, float], ...] = ()


# What both rates of wrong answers must keep to for relevance to be shown in per cent.
RELEVANCE_BAR = 0.10


@dataclass(frozen=True, slots=True)
class RelevanceSpec:
    """Relevance with a model (`search.relevance_calibration`), and how often it was wrong when measured.

    middle: deviations above the texts that no picture shows where presence is ½. steepness: how it rises.
    missed: of queries that something fits, the share answered with nothing, in [0, 1]; false_alarms: of those
    that nothing fits, the share answered with something; both on queries that nothing was fitted on, the
    greatest of all sizes of libraries that were tried. measured_on: what, for people.
    """

    middle: float
    steepness: float
    missed: float
    false_alarms: float
    measured_on: str

    @property
    def shown(self) -> bool:
        """Whether the figure may stand beside a result: both rates are at most `RELEVANCE_BAR`."""
        return max(self.missed, self.false_alarms) <= RELEVANCE_BAR


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A graph file with the names of its input and output; sha256 is that of the file, in hex.

    mask: name of a text graph's second input, which tells ids from padding; None: it has none.
    """

    file: str
    input: str
    output: str
    sha256: str
    mask: str | None = None


@dataclass(frozen=True, slots=True)
class Graphs:
    """Both towers as graph files."""

    image: TensorSpec
    text: TensorSpec

    @property
    def sums(self) -> list[str]:
        """What the files hash to."""
        return [self.image.sha256, self.text.sha256]


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A transformer, as far as the names and shapes of its weights do not tell (`towers.transformer`).

    heads: of attention. norm: "before" or "after" each half of a block. epsilon: of every layer norm.
    pool: which of the last states becomes the embedding: the first, the last, that of the end token, the mean
    of those that are not padding, or an attention over all of them.
    causal: a token sees only those before it. masked: nothing sees padding.
    end_id: the end token, for pool "end".
    """

    heads: int
    activation: Activation
    norm: Norm
    epsilon: float
    pool: Pool
    causal: bool = False
    masked: bool = False
    end_id: int | None = None

    @property
    def ignores_padding(self) -> bool:
        """Whether fewer padding tokens give the same vector, so that short texts may run shorter."""
        return self.masked or (self.causal and self.pool == "end")


@dataclass(frozen=True, slots=True)
class Networks:
    """Both towers as networks whose weights are in one file of tensors; sha256 is that of the file."""

    file: str
    sha256: str
    image: NetworkSpec
    text: NetworkSpec

    @property
    def sums(self) -> list[str]:
        """What the files hash to."""
        return [self.sha256]


@dataclass(frozen=True, slots=True)
class GraphAndNetwork:
    """The image tower as a graph file, the text tower as a network whose weights are in `file`."""

    image: TensorSpec
    file: str
    sha256: str
    text: NetworkSpec

    @property
    def sums(self) -> list[str]:
        """What the files hash to."""
        return [self.image.sha256, self.sha256]


@dataclass(frozen=True)  # without slots, so that the identity is worked out once
class ModelSpec:
    """Everything that is known of a model without opening its graphs.

    dimension: length of an embedding. logit_scale: what cosines are multiplied by before a softmax.
    scripts: Unicode scripts it was trained on, in the words that open characters' names ("LATIN");
    empty: not stated.
    space: the identity of another model with the same image tower, in whose space the texts were taught to
    lie; None: a space of its own.
    match, match_names: match probabilities of captions, and of names of things ("dog"); None: not fitted.
    relevance: None: not measured.
    """

    name: str
    version: str
    dimension: int
    logit_scale: float
    image: ImageSpec
    text: TextSpec
    towers: Graphs | Networks | GraphAndNetwork
    tokenizer_file: str
    tokenizer_sha256: str
    match: MatchSpec | None
    license: str
    scripts: tuple[str, ...]
    space: str | None = None
    match_names: MatchSpec | None = None
    relevance: RelevanceSpec | None = None

    @property
    def shows_relevance(self) -> bool:
        """Whether relevance in per cent may stand beside results: it was measured, and holds."""
        return self.relevance is not None and self.relevance.shown

    @property
    def short_texts(self) -> bool:
        """Whether ids may be given with less padding than up to the context's length."""
        return not isinstance(self.towers, Graphs) and self.towers.text.ignores_padding

    @cached_property
    def identity(self) -> str:
        """Name of the space the vectors lie in, 32 hex digits: weights, tokeniser and preprocessing.

        Precision and runtime do not enter: vectors that differ only in those may be compared.
        """
        if self.space is not None:
            return self.space
        facts: dict[str, object] = {
            "image": _stated(self.image),
            "text": _stated(self.text),
            "sha256": [*self.towers.sums, self.tokenizer_sha256],
        }
        if isinstance(self.towers, Networks):
            facts["networks"] = [asdict(self.towers.image), asdict(self.towers.text)]
        if isinstance(self.towers, GraphAndNetwork):
            facts["networks"] = [None, asdict(self.towers.text)]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _stated(spec: ImageSpec | TextSpec) -> dict[str, object]:
    """The facts of a spec but those at their default, so that a new kind of fact changes no old identity."""
    defaults = {field.name: field.default for field in fields(spec)}
    return {name: value for name, value in asdict(spec).items() if value != defaults[name]}
