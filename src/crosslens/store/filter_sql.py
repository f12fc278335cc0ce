"""Filters as SQL: conditions → ids, ids in an order, and the vector of an item.

Whatever SQLite can decide is one query; names and places are looked at in the rows that are left.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from crosslens.errors import QueryError
from crosslens.search.filter_conditions import (
    Amount,
    Camera,
    Condition,
    Date,
    Extension,
    Glob,
    Has,
    Near,
    Tag,
)
from crosslens.store.database import Catalog
from crosslens.store.path_encoding import ADDED, below_root, from_sql
from crosslens.store.tag_rows import key_of
from crosslens.types import Float32, Int64, Modality

Order: TypeAlias = Literal["date", "path"]
Float64: TypeAlias = NDArray[np.float64]

_EARTH = 6_371_008.8  # mean radius, metres
_MARGIN = 1e-6  # degrees that rounding may cost
_IS_KNOWN = {
    "date": "(taken IS NOT NULL)",
    "place": "(latitude IS NOT NULL)",
    "camera": "(camera IS NOT NULL)",
    "caption": "(caption IS NOT NULL)",
    "tag": "EXISTS (SELECT 1 FROM tags WHERE tags.hash = items.hash)",
}


def fitting(
    catalog: Catalog,
    kind: Modality,
    conditions: Sequence[tuple[Condition, bool]],
    whole_paths: bool = True,
) -> Int64:
    """Ids of the pictures, or of the texts, that all conditions hold for; int64 (n,), ascending.

    conditions: each with whether it is negated. One whose fact is not known of an item does not hold for
    it, so its negation does. whole_paths: whether paths are looked at from the root of the file system, or
    from the folder that was indexed. Raises QueryError where the library is too old to know facts.
    """
    clauses: list[str] = ["(text IS NULL) = ?"]
    bind: list[object] = [kind == "image"]
    of_path: list[Callable[[str], bool]] = []
    of_place: list[tuple[Near, bool]] = []
    for condition, negated in conditions:
        if isinstance(condition, Glob | Extension):
            of_path.append(_path_test(condition, negated))
            literals = [condition.literal] if isinstance(condition, Glob) else condition.endings
            if not negated and all(literal and literal.isascii() for literal in literals):
                # SQLite is faster at leaving most out. It knows small letters of ASCII only.
                held = " OR ".join(["instr(lower(items.path), ?)"] * len(literals))
                clauses.append(f"({held} OR typeof(items.path) = 'blob' OR items.path GLOB '*[^ -~]*')")
                bind += literals
        elif isinstance(condition, Near):
            of_place.append((condition, negated))
            if not negated:  # most lie too far north or south
                band = math.degrees(condition.metres / _EARTH) + _MARGIN
                clauses.append("latitude BETWEEN ? AND ?")
                bind += [condition.latitude - band, condition.latitude + band]
        else:
            clause, values = _clause(condition)
            # What is not known is NULL, and its negation would be, too.
            clauses.append(f"{'NOT ' if negated else ''}coalesce({clause}, 0)")
            bind += values
    with catalog.reading() as db:
        source = _source(db, catalog, [condition for condition, _ in conditions])
        columns = ["items.id", *([_FILE] if of_path else []), *(_PLACE if of_place else [])]
        query = f"SELECT {', '.join(columns)} {source} WHERE {' AND '.join(clauses)} ORDER BY items.id"
        rows = db.execute(query, bind).fetchall()
    if of_path:
        files = (_file(row[1], row[2], None if whole_paths else row[3]) for row in rows)
        rows = [row for row, file in zip(rows, files, strict=True) if all(test(file) for test in of_path)]
    keep = np.ones(len(rows), dtype=bool)
    for near, negated in of_place:
        places = np.array([row[-2:] for row in rows], dtype=np.float64).reshape(-1, 2)  # None becomes NaN
        keep &= (_distance(places, near) <= near.metres) != negated
    return np.fromiter((row[0] for row in rows), dtype=np.int64, count=len(rows))[keep]


def sort_keys(catalog: Catalog, ids: Sequence[int], order: Order) -> dict[int, float | str]:
    """What items are sorted by: the date, the latest first, or the path. Those that are gone are left out."""
    with catalog.reading() as db:
        source = ("taken", _FROM) if has_facts(db) else ("NULL", _WITHOUT)
        query = "SELECT items.id, path, {}, modified_ns {} WHERE items.id = ?".format(*source)
        found = [db.execute(query, (number,)).fetchone() for number in ids]
    rows = [row for row in found if row is not None]
    if order == "path":
        return {row[0]: from_sql(row[1]) for row in rows}
    return {row[0]: -_moment(*row[2:]) for row in rows}


@dataclass(frozen=True, slots=True)
class Known:
    """What items are grouped by: when and with which camera taken, its file's time, its content."""

    taken: str | None
    camera: str | None
    modified_ns: int
    hash: bytes


def known_of(catalog: Catalog, ids: Sequence[int]) -> dict[int, Known]:
    """What is known of items, by id; those that are gone are left out."""
    with catalog.reading() as db:
        columns, source = ("taken, camera", _FROM) if has_facts(db) else ("NULL, NULL", _WITHOUT)
        query = f"SELECT items.id, {columns}, modified_ns, items.hash {source} WHERE items.id = ?"
        rows = [db.execute(query, (number,)).fetchone() for number in ids]
    return {row[0]: Known(*row[1:]) for row in rows if row is not None}


def vector_of(catalog: Catalog, number: int, model: str) -> Float32:
    """The vector of an item, float32 (d,). Raises QueryError for what is no item."""
    query = "SELECT vector FROM items JOIN vectors USING (hash) WHERE items.id = ? AND model = ?"
    with catalog.reading() as db:
        row = db.execute(query, (number, model)).fetchone()
    if row is None and not catalog.items([number]):
        raise QueryError(f"there is no item {number} in library {catalog.folder}", "See: crosslens list")
    if row is None:
        raise QueryError(f"item {number} has no vector of this model yet", "See: crosslens stats")
    return np.frombuffer(row[0], dtype="<f2").astype(np.float32)


# -- inside ---------------------------------------------------------------------------------------

_WITHOUT = "FROM items JOIN contents USING (hash)"
_FROM = f"{_WITHOUT} LEFT JOIN facts USING (hash)"
_PLACE = ["latitude", "longitude"]
_FILE = "items.path, text, (SELECT path FROM roots WHERE roots.id = root_id)"


def has_facts(db: sqlite3.Connection) -> bool:
    """Whether the library has the table: one of version 1 that is only read does not."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'facts'"
    return db.execute(query).fetchone() is not None


def _source(db: sqlite3.Connection, catalog: Catalog, conditions: Sequence[Condition]) -> str:
    wanted = {_known_since(condition) for condition in conditions} - {""}
    missing = [what for what in sorted(wanted) if not _has(db, what)]
    if missing:
        raise QueryError(
            f"library {catalog.folder} was made before crosslens kept {missing[0]}",
            f"Bring it up to date: crosslens index -L {catalog.folder}",
        )
    return _FROM if has_facts(db) else _WITHOUT


def _known_since(condition: Condition) -> str:
    """What an older library lacks that a condition needs; "": nothing."""
    if isinstance(condition, Tag) or (isinstance(condition, Has) and condition.fact in ("tag", "caption")):
        return "tags and captions"
    return "dates, places and cameras" if isinstance(condition, Date | Near | Camera | Has) else ""


def _has(db: sqlite3.Connection, what: str) -> bool:
    return Catalog.has_words(db) if what == "tags and captions" else has_facts(db)


def _clause(condition: Condition) -> tuple[str, list[object]]:
    """A condition as SQL, and its values."""
    if isinstance(condition, Date):
        clauses, values = ["1"], []
        for sign, moment in ((">=", condition.begin), ("<", condition.end)):
            if moment is not None:
                # By the camera's clock; a file's time is read by this machine's.
                clauses.append(f"CASE WHEN taken IS NULL THEN modified_ns {sign} ? ELSE taken {sign} ? END")
                values += [int(moment.timestamp()) * 10**9, moment.isoformat()]
        return f"({' AND '.join(clauses)})", values
    if isinstance(condition, Amount):
        of_pictures = "" if condition.name == "size" else " AND text IS NULL"
        return f"({condition.name} BETWEEN ? AND ?{of_pictures})", list(condition.bounds)
    if isinstance(condition, Camera):
        return "instr(lower(camera), lower(?)) > 0", [condition.text]
    if isinstance(condition, Tag):
        key = key_of(condition.text)
        below = "substr(key, 1, ?) = ?"  # LIKE would take some characters for patterns
        found = f"SELECT 1 FROM tags WHERE tags.hash = items.hash AND (key = ? OR {below})"
        return f"EXISTS ({found})", [key, len(key) + 1, f"{key}/"]
    if isinstance(condition, Has):
        return _IS_KNOWN[condition.fact], []
    return "1", []  # of what kind: the caller says


def _path_test(condition: Glob | Extension, negated: bool) -> Callable[[str], bool]:
    if isinstance(condition, Glob):
        return lambda path: condition.fits(path) != negated
    endings = tuple(f".{ending}" for ending in condition.endings)
    return lambda path: path.lower().endswith(endings) != negated


def _file(path: str | bytes, text: str | None, root: str | bytes | None) -> str:
    """The file an item is in: of the row of a table, the table. root: what its path is to begin after."""
    name = from_sql(path)
    name = name if text is None or name.startswith(ADDED) else name.rpartition("#")[0]
    return name if root is None else below_root(name, from_sql(root))


def _distance(places: Float64, near: Near) -> Float64:
    """Metres to places (n, 2) in degrees, on a sphere by the haversine formula; NaN for none."""
    latitude, longitude = np.radians(places.T)
    there, along = np.radians([near.latitude, near.longitude])
    chord = np.sin((latitude - there) / 2) ** 2
    chord += np.cos(latitude) * np.cos(there) * np.sin((longitude - along) / 2) ** 2
    metres: Float64 = 2 * _EARTH * np.arcsin(np.sqrt(np.clip(chord, 0, 1)))
    return metres


def _moment(taken: str | None, modified_ns: int) -> float:
    """Seconds since the epoch."""
    return modified_ns / 1e9 if taken is None else datetime.fromisoformat(taken).timestamp()
