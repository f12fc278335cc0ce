"""Request models (pydantic): unknown members are refused, so that a misspelt one is not passed over."""

from __future__ import annotations

from typing import Annotated, Literal, Union

from pydantic import BaseModel, ConfigDict, Field, model_validator

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


class Part(Request):
    """One term of a search: one of text, image and item. A negative weight pushes away."""

    text: Annotated[str, Field(min_length=1)] | None = None
    image: Picture | None = None
    item: _Name | None = None
    weight: Annotated[float, Field(ge=-1000, le=1000)] = 1.0

    @model_validator(mode="after")
    def _one(self) -> Part:
        if sum(given is not None for given in (self.text, self.image, self.item)) != 1:
            raise ValueError("wanted one of text, image and item")
        if abs(self.weight) < 0.001:
            raise ValueError("weight is nothing: leave the part out")
        return self


class Group(Request):
    """Results in groups, with the best `each` of every one."""

    by: Literal["day", "month", "year", "folder", "camera", "content"]
    each: Annotated[int, Field(ge=1, le=100)] = 3


class Search(Request):
    """A search by a line of the query language, by parts, or by both."""

    query: str = ""
    parts: Annotated[list[Part], Field(max_length=32)] = []
    libraries: Annotated[list[_Name], Field(min_length=1, max_length=100)] | None = None
    kind: Literal["image", "text"] | None = None
    k: Annotated[int, Field(ge=1, description="At most 1,000, unless the operator allows another number")] = (
        10
    )
    offset: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    sort: Literal["score", "date", "path"] = "score"
    relevant: bool = False
    group: Group | None = None


class Explain(Search):
    """A search, and an item whose score is to be explained."""

    item: _Name
    heat: bool = True


class NewLibrary(Request):
    """A library to make."""

    name: str


class Folder(Request):
    """A folder of this service's machine."""

    path: Annotated[str, Field(min_length=1, max_length=4096)]


class Tags(Request):
    """Tags to add or to take away."""

    tags: Annotated[list[str], Field(min_length=1, max_length=100)]


_Marked = Annotated[list[_Name], Field(max_length=5000, description="Items: photos:12")]


class Lesson(Request):
    """Marks for a concept, which join those of before; none: it is taught anew from those that it has."""

    yes: _Marked = []
    no: _Marked = []
    unmark: _Marked = []
    threshold: Annotated[
        float | None, Field(gt=0, lt=1, description="Score from which on an item fits; null: as it was")
    ] = None


class GiveTag(Request):
    """The tag to give; null: the concept's name."""

    tag: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class Similarity(Request):
    """Everything against everything."""

    images: list[Picture] = []
    texts: list[str] = []
