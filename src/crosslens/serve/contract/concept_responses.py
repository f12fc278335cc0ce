"""Response models for /openapi.json: concepts taught by examples."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from crosslens.serve.contract.responses import Answer, Count, Item, Share, TagCount


class ErrorRate(Answer):
    """Errors among marked items, each judged without itself. low, high: 95 % interval of the rate."""

    wrong: Count
    of: Annotated[int, Field(ge=1)]
    rate: Share
    low: Share
    high: Share


class Concept(Answer):
    """What a library was taught. yes, no: contents that were marked; presumed: items at random, taken for no.

    current: whether it is for the model of the library; if not, teaching it anew needs no marks.
    """

    name: str
    library: str
    kind: Literal["image", "text"]
    yes: Count
    no: Count
    presumed: Count
    threshold: Annotated[float, Field(gt=0, lt=1, description="The score from which on an item fits")]
    missed: Annotated[ErrorRate | None, Field(description="Yes that would be missed; null: too few to say")]
    false_alarms: Annotated[
        ErrorRate | None, Field(description="No that would be taken for yes; null: too few to say")
    ]
    taught: Annotated[str, Field(description="YYYY-MM-DDTHH:MM:SSZ")]
    current: bool
    tags: Annotated[list[TagCount], Field(description="That it gave")]


class ConceptList(Answer):
    """The concepts of a library, by name."""

    concepts: list[Concept]


class ConceptDetails(Concept):
    """A concept, and the items that were marked, copies too."""

    marked_yes: list[str]
    marked_no: list[str]


class ConceptForgotten(Answer):
    """A concept that is no longer there."""

    forgotten: str


class ConceptSuggestion(Answer):
    """An item whose mark would teach most."""

    item: Item
    score: Annotated[float, Field(ge=0, le=1, description="How near to yes; no probability")]


class ConceptSuggestions(Answer):
    """What to mark next: those least certain, and unlike each other."""

    suggestions: list[ConceptSuggestion]


class ConceptTag(Answer):
    """What giving a tag does or did, in items. fits: of `items`; new: get it; gone: lose it.

    Only what has the tag from this concept, and fits no more, loses it.
    """

    tag: str
    fits: Count
    items: Count
    new: Count
    gone: Count
    given: bool
