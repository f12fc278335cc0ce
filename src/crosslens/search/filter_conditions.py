"""Filter conditions of a query: dates, sizes, places, names; frozen values and their syntax.

Each prints as it is written in a query, `name:value`, which search/filter_values.py reads back.
store/filter_sql.py finds what fits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from fnmatch import translate
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np

from crosslens.errors import QueryError
from crosslens.types import Modality

_FIRST_YEAR, _LAST_YEAR = 1800, 2999
# Bytes to a unit.
SIZES = {
    "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30,
}  # fmt: skip
_METRES = {"m": 1.0, "km": 1000.0, "mi": 1609.344}
_FARTHEST = 20_040_000.0  # half way around the Earth, in metres
# No number of bytes or pixels is larger.
LARGEST = 10**18

# What an error about a date says is wanted.
WANTED_DATE = "Wanted: a year, a month or a day: 2023, 2023-05 or 2023-05-17"
_NOTHING = re.compile(r"(?!)")

Relation: TypeAlias = Literal["<", "<=", "=", ">=", ">", ".."]


@dataclass(frozen=True, slots=True)
class Day:
    """A year, a month of it, or a day. Raises QueryError for one that is in no calendar."""

    year: int
    month: int | None = None
    day: int | None = None

    def __post_init__(self) -> None:
        try:
            if not _FIRST_YEAR <= self.year <= _LAST_YEAR:
                raise ValueError(f"year must be in {_FIRST_YEAR}..{_LAST_YEAR}")
            datetime(self.year, self.month or 1, self.day or 1)
            if 0 in (self.month, self.day) or (self.month is None and self.day is not None):
                raise ValueError("months and days begin with 1")
        except ValueError as error:
            raise QueryError(f"{self} is no date ({error})", WANTED_DATE) from error

    @property
    def begin(self) -> datetime:
        """Its first moment."""
        return datetime(self.year, self.month or 1, self.day or 1)

    @property
    def end(self) -> datetime:
        """The first moment after it."""
        if self.month is None:
            return datetime(self.year + 1, 1, 1)
        if self.day is None:
            return datetime(self.year + self.month // 12, self.month % 12 + 1, 1)
        return datetime.fromordinal(self.begin.toordinal() + 1)

    def __str__(self) -> str:
        parts = (f"{self.year:04}", *(f"{part:02}" for part in (self.month, self.day) if part is not None))
        return "-".join(parts)


@dataclass(frozen=True, slots=True)
class Date:
    """When a picture was taken; of one that does not say, when its file was changed.

    after: from the first moment of a date on; before: until its first moment; date: within it, or from the
    first of two to the end of the last.
    """

    name: Literal["after", "before", "date"]
    first: Day
    last: Day | None = None

    def __post_init__(self) -> None:
        if self.last is not None and self.last.begin < self.first.begin:
            raise QueryError(f"{self.last} is before {self.first}", "Give the earlier date first")

    @property
    def begin(self) -> datetime | None:
        """The first moment that fits; None: any."""
        return None if self.name == "before" else self.first.begin

    @property
    def end(self) -> datetime | None:
        """The first moment that no longer fits; None: none."""
        if self.name == "date":
            return (self.last or self.first).end
        return self.first.begin if self.name == "before" else None

    def __str__(self) -> str:
        return f"{self.name}:{self.first}" + ("" if self.last is None else f"..{self.last}")


@dataclass(frozen=True, slots=True)
class Amount:
    """A size in bytes, or a width or height in pixels."""

    name: Literal["size", "width", "height"]
    relation: Relation
    value: int
    upper: int | None = None

    def __post_init__(self) -> None:
        if self.upper is not None and self.upper < self.value:
            raise QueryError(f"{self.upper} is less than {self.value}", "Give the smaller number first")

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the largest number that fit."""
        largest = self.upper if self.upper is not None else self.value
        return {
            "<": (0, self.value - 1), "<=": (0, self.value), "=": (self.value, self.value),
            ">=": (self.value, LARGEST), ">": (self.value + 1, LARGEST), "..": (self.value, largest),
        }[self.relation]  # fmt: skip

    def __str__(self) -> str:
        if self.relation == "..":
            return f"{self.name}:{self._shown(self.value)}..{self._shown(self.upper or 0)}"
        return f"{self.name}:{'' if self.relation == '=' else self.relation}{self._shown(self.value)}"

    def _shown(self, number: int) -> str:
        units = [unit for unit in ("tb", "gb", "mb", "kb") if number and not number % SIZES[unit]]
        unit = units[0] if units and self.name == "size" else ""
        return f"{number // SIZES[unit] if unit else number}{unit}"


@dataclass(frozen=True)
class Glob:
    """A pattern of paths as in .gitignore, in any case: "*" within a name, "**" for any folders.

    It may begin anywhere in a path, or with "/" at its beginning. One that names a folder holds for all
    that lies in it.
    """

    pattern: str

    @cached_property
    def _parts(self) -> tuple[re.Pattern[str] | None, ...]:
        """What each name on the way must be; None stands for any number of folders."""
        names = [name for name in self.pattern.lower().split("/") if name]
        wanted = [None if name == "**" else re.compile(translate(name)) for name in names]
        if self.pattern.endswith("/") or names[-1:] == ["**"]:
            wanted += [re.compile(translate("*"))]  # something in the folder, not itself
        return (*([] if self.pattern.startswith("/") else [None]), *wanted, None)

    @cached_property
    def literal(self) -> str:
        """The longest part without a wildcard, in small letters: what fits holds it; "": there is none."""
        return max(re.split(r"[*?\[\]/]", self.pattern.lower()), key=len)

    def fits(self, path: str) -> bool:
        """Whether a path, or a folder it lies in, is one of the pattern's."""
        names, parts = [name for name in path.lower().split("/") if name], self._parts
        name = part = 0
        again: tuple[int, int] | None = None
        while name < len(names):
            wanted = parts[part] if part < len(parts) else _NOTHING
            if wanted is None:
                again = (part, name)
                part += 1
            elif wanted.match(names[name]):
                name, part = name + 1, part + 1
            elif again is not None:  # the last "**" takes one folder more
                again = (again[0], again[1] + 1)
                part, name = again[0] + 1, again[1]
            else:
                return False
        return all(wanted is None for wanted in parts[part:])

    def __str__(self) -> str:
        return f"path:{quoted_if_needed(self.pattern)}"


@dataclass(frozen=True, slots=True)
class Extension:
    """The ending of a file's name, one of several. In small letters, without the dot."""

    endings: tuple[str, ...]

    def __str__(self) -> str:
        return f"ext:{quoted_if_needed(','.join(self.endings))}"


@dataclass(frozen=True, slots=True)
class Near:
    """Taken within a distance of a place. latitude, longitude: degrees, north and east positive."""

    latitude: float
    longitude: float
    distance: float
    unit: Literal["m", "km", "mi"] = "km"

    def __post_init__(self) -> None:
        if not (abs(self.latitude) <= 90 and abs(self.longitude) <= 180):
            raise QueryError(f"{self} is not on the Earth", "Latitude is in -90..90, longitude in -180..180")
        if not 0 < self.metres <= _FARTHEST:
            raise QueryError(f"{self} reaches nowhere, or around the Earth", "Give a distance like 5km")

    @property
    def metres(self) -> float:
        """The distance in metres."""
        return self.distance * _METRES[self.unit]

    def __str__(self) -> str:
        return f"near:{plain(self.latitude)},{plain(self.longitude)},{plain(self.distance)}{self.unit}"


@dataclass(frozen=True, slots=True)
class Camera:
    """Words in the maker and model of the camera, in any case."""

    text: str

    def __str__(self) -> str:
        return f"camera:{quoted_if_needed(self.text)}"


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag, or one below it, in any case: "people" holds for "People/Anna"."""

    text: str

    def __str__(self) -> str:
        return f"tag:{quoted_if_needed(self.text)}"


@dataclass(frozen=True, slots=True)
class Has:
    """A fact that is known of a picture."""

    fact: Literal["date", "place", "camera", "caption", "tag"]

    def __str__(self) -> str:
        return f"has:{self.fact}"


@dataclass(frozen=True, slots=True)
class Kind:
    """Pictures or texts."""

    kind: Modality

    def __str__(self) -> str:
        return f"kind:{self.kind}"


@dataclass(frozen=True, slots=True)
class Concept:
    """What a concept that was taught by examples holds for, by its name in any case."""

    name: str

    def __str__(self) -> str:
        return f"concept:{quoted_if_needed(self.name)}"


@dataclass(frozen=True, slots=True)
class Relevant:
    """That a result is probably meant, and not only the nearest there is. It is known of results alone."""

    def __str__(self) -> str:
        return "relevant:"


Condition: TypeAlias = (
    Date | Amount | Glob | Extension | Near | Camera | Tag | Has | Kind | Concept | Relevant
)


def plain(number: float) -> str:
    """The shortest way to write a number that reads as the same, without an exponent."""
    return np.format_float_positional(number, trim="-")


def quote(text: str) -> str:
    """A text in quotes, as a query has it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def quoted_if_needed(value: str) -> str:
    """A filter's value as a query has it."""
    bare = value and not value.startswith('"') and not any(c.isspace() for c in value)
    return value if bare else quote(value)
