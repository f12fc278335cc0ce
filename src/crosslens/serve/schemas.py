"""Requests as pydantic reads them: unknown members are refused, so that a misspelt one is not passed over."""

from __future__ import annotations

from typing import Annotated, Literal, Union

from pydantic import BaseModel, ConfigDict, Field

_Name = Annotated[str, Field(min_length=1, max_length=300)]


class Request(BaseModel):
    """What all requests have in common."""

    model_config = ConfigDict(extra="forbid")


class Address(Request):
    """A picture behind an address, where the operator allows them."""

    url: Annotated[str, Field(min_length=1, max_length=2000)]


class ItemPicture(Request):
    """The picture of an item."""

    item: _Name


class Upload(Request):
    """A file that came with the request, by the name of its form field."""

    file: _Name


# A data URI or base64, or one of the above.
Picture = Union[str, Address, ItemPicture, Upload]  # noqa: UP007 (pydantic reads it at run time)


class Embeddings(Request):
    """OpenAI's request, and `modality`."""

    input: Union[str, list[str]]  # noqa: UP007
    model: str | None = None
    encoding_format: Literal["float", "base64"] = "float"
    modality: Literal["auto", "text", "image"] = "auto"
    dimensions: int | None = None
    user: str | None = None


class Rank(Request):
    """A picture against texts."""

    image: Picture
    texts: Annotated[list[str], Field(min_length=1)]


class MatchedPair(Request):
    """A picture and a text."""

    image: Picture
    text: str


class Match(Request):
    """How probably pictures and texts belong together."""

    pairs: Annotated[list[MatchedPair], Field(min_length=1)]
    probability: Literal["calibrated", "automm"] | None = None


class Classify(Request):
    """Which label fits each picture."""

    images: Annotated[list[Picture], Field(min_length=1)]
    labels: Annotated[list[str], Field(min_length=1)]
    templates: Annotated[list[str], Field(min_length=1)] | None = None


class Similarity(Request):
    """Everything against everything."""

    images: list[Picture] = []
    texts: list[str] = []
