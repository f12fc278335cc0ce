"""Parsing of filter values: text → conditions. Each raises QueryError, which says what is wanted."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import cast

from crosslens.errors import QueryError
from crosslens.search.filter_conditions import (
    LARGEST,
    SIZES,
    WANTED_DATE,
    Amount,
    Camera,
    Concept,
    Condition,
    Date,
    Day,
    Extension,
    Glob,
    Has,
    Kind,
    Near,
    Relation,
    Relevant,
    Tag,
)

_DAY = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?", re.ASCII)
_AMOUNT = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)([a-z]*)", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"-?\d{1,18}(?:\.\d{1,340})?", re.ASCII)
_MOST_ENDINGS = 100
_FACTS = ("date", "place", "camera", "caption", "tag")
_WANTED_NEAR = "Wanted: latitude,longitude,distance: near:48.85,2.35,5km"


def _day(text: str) -> Day:
    found = _DAY.fullmatch(text)
    if found is None:
        raise QueryError(f"{text!r} is no date", WANTED_DATE)
    return Day(*(None if part is None else int(part) for part in found.groups()))  # type: ignore[arg-type]


def _date(name: str, value: str) -> Date:
    first, dots, last = value.partition("..")
    if dots and name != "date":
        raise QueryError(f"{name} takes one date", f"For a range: date:{value}")
    return Date(name, _day(first), _day(last) if dots else None)  # type: ignore[arg-type]


def _number(name: str, text: str) -> int:
    found = _AMOUNT.fullmatch(text)
    units = SIZES if name == "size" else {}
    in_parts = found is not None and "." in found[1] and not units
    if found is None or in_parts or found[2].lower() not in {"", *units}:
        wanted = "size:>2mb, size:500kb..2mb" if name == "size" else f"{name}:>1000, {name}:800..1200"
        raise QueryError(f"{text!r} is no {name}", f"Wanted: a number of at least 0, as in {wanted}")
    number = int(Decimal(found[1]) * units.get(found[2].lower(), 1))
    if number > LARGEST:
        raise QueryError(f"{text} is more than any {name}", "Give a smaller one")
    return number


def _amount(name: str, value: str) -> Amount:
    first, dots, last = value.partition("..")
    if dots:
        return Amount(name, "..", _number(name, first), _number(name, last))  # type: ignore[arg-type]
    relation = next((sign for sign in ("<=", ">=", "<", ">", "=") if value.startswith(sign)), "")
    number = _number(name, value.removeprefix(relation))
    return Amount(name, cast(Relation, relation or "="), number)  # type: ignore[arg-type]


def _glob(_name: str, value: str) -> Glob:
    if not any(value.split("/")) or len(value) > 1000:
        raise QueryError(f"{value[:40]!r} is no pattern of paths", "Wanted, for example: path:holiday/**")
    return Glob(value)


def _extension(_name: str, value: str) -> Extension:
    endings = tuple(ending.strip().lower().removeprefix(".") for ending in value.split(","))
    if not all(endings) or any("/" in ending or ending.startswith(".") for ending in endings):
        raise QueryError(f"{value!r} is no ending of a file's name", "Wanted: ext:heic, or ext:jpg,png")
    if len(endings) > _MOST_ENDINGS:
        raise QueryError(f"there are {len(endings)} endings", f"Give at most {_MOST_ENDINGS}")
    return Extension(endings)


def _near(_name: str, value: str) -> Near:
    parts = [part.strip() for part in value.split(",")]
    unit = next((u for u in ("km", "mi", "m") if parts[-1].lower().endswith(u)), "")
    numbers = [*parts[:-1], parts[-1][: len(parts[-1]) - len(unit)]]
    if len(parts) != 3 or not unit or not all(_NUMBER.fullmatch(number) for number in numbers):
        raise QueryError(f"{value!r} is no place with a distance", _WANTED_NEAR)
    return Near(*map(float, numbers), unit=unit)  # type: ignore[arg-type, misc]


def _camera(_name: str, value: str) -> Camera:
    return Camera(value)


def _tag(_name: str, value: str) -> Tag:
    if not all(part.strip() for part in value.split("/")) or not value.isprintable() or len(value) > 200:
        raise QueryError(f"{value[:40]!r} is no tag", "Wanted, for example: tag:family, tag:people/anna")
    return Tag(value)


def _concept(_name: str, value: str) -> Concept:
    if "/" in value or not value.strip() or not value.isprintable() or len(value) > 200:
        raise QueryError(f"{value[:40]!r} is no name of a concept", "Wanted, for example: concept:dog")
    return Concept(value)


def _has(_name: str, value: str) -> Has:
    if value not in _FACTS:
        wanted = ", ".join(f"has:{fact}" for fact in _FACTS)
        raise QueryError(f"{value!r} is no fact", f"Wanted one of {wanted}")
    return Has(value)  # type: ignore[arg-type]


def _kind(_name: str, value: str) -> Kind:
    if value not in ("image", "text"):
        raise QueryError(f"{value!r} is no kind", "Wanted: kind:image or kind:text")
    return Kind(value)  # type: ignore[arg-type]


def _relevant(_name: str, value: str) -> Relevant:
    if value:
        raise QueryError("the filter relevant takes no value", "Write relevant: and a space")
    return Relevant()


# Those that stand without one.
WITHOUT_VALUE = frozenset({"relevant"})
# How the value of each filter is read.
CONDITIONS: dict[str, Callable[[str, str], Condition]] = {
    "after": _date, "before": _date, "date": _date, "size": _amount, "width": _amount, "height": _amount,
    "path": _glob, "ext": _extension, "near": _near, "camera": _camera, "tag": _tag, "has": _has,
    "kind": _kind, "concept": _concept, "relevant": _relevant,
}  # fmt: skip
