"""Response models for /openapi.json: the service and its model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from crosslens.serve.contract.responses import Answer, Cosine, Count, Share


class Health(Answer):
    """The process answers."""

    status: Literal["ok"]


class Readiness(Answer):
    """The model is warm."""

    ready: Literal[True]
    model: str


class Session(Answer):
    """What a client may. keys: whether any are needed; scope, model: null where one is, and none was sent."""

    version: str
    keys: bool
    scope: Literal["read", "write", "admin"] | None
    model: str | None


class ModelFacts(Answer):
    """The model, by the name that requests may give it (`id`)."""

    id: str
    object: Literal["model"]
    owned_by: str
    name: str
    identity: str
    dimension: Count
    context_length: Count
    image_size: Count
    scripts: Annotated[list[str], Field(description="That it was trained to read")]
    runtime: str


class ModelList(Answer):
    """All models of the service: one."""

    object: Literal["list"]
    data: list[ModelFacts]


class Embedding(Answer):
    """A vector of length 1, as numbers, or in base64: float32, the lowest byte first."""

    object: Literal["embedding"]
    index: Annotated[int, Field(ge=0, description="Of the input")]
    embedding: list[float] | str


class Usage(Answer):
    """Tokens of the texts."""

    prompt_tokens: Count
    total_tokens: Count


class EmbeddingList(Answer):
    """A vector for each input, in their order."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage


class RankedText(Answer):
    """A text held against a picture. confidence: softmax over all texts."""

    text: str
    index: Annotated[int, Field(ge=0, description="Among the texts of the request")]
    similarity: Cosine
    confidence: Share


class Ranking(Answer):
    """Texts, the best first."""

    labels: list[RankedText]


class MatchChance(Answer):
    """How probably a picture and a text belong together."""

    similarity: Cosine
    probability: Share
    calibrated: Annotated[bool, Field(description="Whether it was fitted to pairs with texts like this one")]


class MatchedPairs(Answer):
    """For each pair, in their order."""

    results: list[MatchChance]


class Classified(Answer):
    """For each picture, in their order, the labels."""

    results: list[Ranking]


class Similarities(Answer):
    """Cosines, row by row."""

    images_texts: list[list[float]]
    images_images: list[list[float]]
    texts_texts: list[list[float]]
