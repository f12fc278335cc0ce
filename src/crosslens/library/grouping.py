"""Grouping of results by day, month, year, folder, camera or content, the best group first."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias, get_args

from crosslens.arguments import whole
from crosslens.errors import QueryError
from crosslens.library.query_search import Asked, Page, Searched, Sort, find
from crosslens.store.filter_sql import Known, known_of
from crosslens.types import Hit

By: TypeAlias = Literal["day", "month", "year", "folder", "camera", "content"]
_LENGTH_OF_DATE = {"year": 4, "month": 7, "day": 10}


@dataclass(frozen=True, slots=True)
class Group:
    """Results that belong together. key: the day (2023-05-17), the folder …; "" where it is not known.

    hits: the best ones. more: whether results of it were left out.
    """

    key: str
    hits: tuple[Hit, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Grouping:
    """How to group. by: see `By`; at most `each` results of a group are kept. Raises QueryError."""

    by: By
    each: int = 3

    def __post_init__(self) -> None:
        if self.by not in get_args(By):
            raise QueryError(f"groups are by {self.by!r}", f"Wanted one of {', '.join(get_args(By))}")
        whole("each", self.each, error=QueryError)


def find_groups(
    library: Searched | Sequence[Searched],
    asked: Asked,
    grouping: Grouping,
    k: int = 10,
    sort: Sort = "score",
) -> list[Group]:
    """The k groups with the best results; fewer only where there are no more. Raises what `find` raises.

    By day, month and year: when pictures were taken, or else their files changed. By content: copies of one
    file. Groups are in the order of their best result, which `sort` is about.
    """
    libraries = list(library) if isinstance(library, Sequence) else [library]
    whole("k", k, error=QueryError)
    depth = 4 * k * grouping.each
    while True:
        hits = find(libraries, asked, Page(depth, sort=sort))
        groups = _grouped(libraries, hits, grouping)
        if len(groups) >= k or len(hits) < depth:
            return groups[:k]
        depth *= 4


def _grouped(libraries: Sequence[Searched], hits: Sequence[Hit], grouping: Grouping) -> list[Group]:
    by_name = {str(one.folder): one for one in libraries}
    known: dict[tuple[str, int], Known] = {}
    for name, one in by_name.items():
        ids = [hit.id for hit in hits if hit.library in (None, name)]
        known |= {(name, number): facts for number, facts in known_of(one.database, ids).items()}
    groups: dict[str, list[Hit]] = {}
    key_of = _KEYS.get(grouping.by, _day)
    for hit in hits:
        facts = known.get((hit.library or next(iter(by_name)), hit.id))
        if facts is not None:
            key = key_of(hit, facts)[: _LENGTH_OF_DATE.get(grouping.by)]
            groups.setdefault(key, []).append(hit)
    return [
        Group(key, tuple(found[: grouping.each]), len(found) > grouping.each) for key, found in groups.items()
    ]


def _day(_hit: Hit, known: Known) -> str:
    if known.taken is not None:
        return known.taken
    return datetime.fromtimestamp(known.modified_ns / 10**9).isoformat()


def _folder(hit: Hit, _known: Known) -> str:
    return os.path.dirname(hit.path)


def _camera(_hit: Hit, known: Known) -> str:
    return known.camera or ""


def _content(_hit: Hit, known: Known) -> str:
    return known.hash.hex()


_KEYS: dict[str, Callable[[Hit, Known], str]] = {"folder": _folder, "camera": _camera, "content": _content}
