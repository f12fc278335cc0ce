"""Details of the items on a page of results, by few queries; and the items of a library in an order."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from crosslens.store.database import Catalog
from crosslens.store.filter_sql import has_facts
from crosslens.store.path_encoding import below_root, from_sql
from crosslens.store.records import Root

Listing: TypeAlias = Literal["path", "date", "added"]
# Any SQLite allows so many variables.
_AT_ONCE = 900
_ORDERS = {
    "path": "items.path",
    # By the camera's clock; a file's time is read by this machine's.
    "date": "coalesce(strftime('%s', taken, 'utc') * 1e9, modified_ns) DESC, items.id DESC",
    "added": "items.id DESC",
}


@dataclass(frozen=True, slots=True)
class Details:
    """What a result does not carry. below: the path below the folder that was indexed; hash: of the content.

    modified_ns: of the file, when it was indexed. The rest as in `types.Facts`.
    """

    below: str
    hash: bytes
    modified_ns: int
    taken: str | None
    camera: str | None
    caption: str | None
    tags: tuple[str, ...]


def details_of(catalog: Catalog, ids: Sequence[int]) -> dict[int, Details]:
    """Details of items, by id; those that are gone are left out."""
    found: dict[int, Details] = {}
    with catalog.reading() as db:
        words = catalog.has_words(db)
        for start in range(0, len(ids), _AT_ONCE):
            part = ids[start : start + _AT_ONCE]
            tags = _tags(db, part) if words else {}
            for number, path, root, *rest in _rows(db, part, words=words):
                facts = (below_root(from_sql(path), from_sql(root)), *rest, tuple(tags.get(number, ())))
                found[number] = Details(*facts)
    return found


def listed(catalog: Catalog, order: Listing, limit: int, offset: int) -> list[int]:
    """Ids of a page of the items."""
    with catalog.reading() as db:
        facts = "LEFT JOIN facts USING (hash)" if has_facts(db) else "LEFT JOIN (SELECT NULL AS taken)"
        source = f"items {facts}" if order == "date" else "items"
        query = f"SELECT items.id FROM {source} ORDER BY {_ORDERS[order]} LIMIT ? OFFSET ?"
        return [number for (number,) in db.execute(query, (limit, offset))]


def paths_with(catalog: Catalog, hash_: bytes) -> list[str]:
    """Paths of the items with a content."""
    with catalog.reading() as db:
        return [from_sql(path) for (path,) in db.execute("SELECT path FROM items WHERE hash = ?", (hash_,))]


def files_of(catalog: Catalog, root: Root) -> dict[str, tuple[int, int]]:
    """(size, time in nanoseconds) of the files of a root as they were indexed, by path."""
    query = "SELECT path, size, modified_ns FROM items WHERE root_id = ?"
    with catalog.reading() as db:
        return {from_sql(path): (size, time) for path, size, time in db.execute(query, (root.id,))}


def cameras(catalog: Catalog) -> list[str]:
    """The cameras that pictures were taken with."""
    return _distinct(catalog, "camera", "ORDER BY 1")


def years(catalog: Catalog) -> list[str]:
    """The years that pictures were taken in, the latest first."""
    return _distinct(catalog, "substr(taken, 1, 4)", "ORDER BY 1 DESC")


def endings(catalog: Catalog) -> list[str]:
    """The endings of files' names, the most frequent first."""
    counts: dict[str, int] = {}
    for path in _paths(catalog):
        ending = path.rpartition("/")[2].rpartition(".")[2].lower()
        counts[ending] = counts.get(ending, 0) + 1
    return sorted(counts, key=lambda ending: (-counts[ending], ending))


def _distinct(catalog: Catalog, what: str, order: str) -> list[str]:
    with catalog.reading() as db:
        if not has_facts(db):
            return []
        query = f"SELECT DISTINCT {what} FROM items JOIN facts USING (hash) WHERE {what} IS NOT NULL {order}"
        return [value for (value,) in db.execute(query)]


def _paths(catalog: Catalog) -> Iterator[str]:
    """Paths of pictures that are in files."""
    query = (
        "SELECT path FROM items JOIN contents USING (hash) "
        "WHERE text IS NULL AND typeof(path) = 'text' AND path LIKE '/%.%'"
    )
    with catalog.reading() as db:
        rows = db.execute(query).fetchall()
    return (path for (path,) in rows)


def _rows(db: sqlite3.Connection, ids: Sequence[int], *, words: bool) -> list[tuple[Any, ...]]:
    facts = has_facts(db)
    known = f"taken, camera, {'caption' if words else 'NULL'}" if facts else "NULL, NULL, NULL"
    query = (
        f"SELECT items.id, items.path, roots.path, items.hash, modified_ns, {known} FROM items "
        f"JOIN roots ON roots.id = root_id {'LEFT JOIN facts USING (hash)' if facts else ''} "
        f"WHERE items.id IN ({', '.join('?' * len(ids))})"
    )
    return db.execute(query, list(ids)).fetchall()


def _tags(db: sqlite3.Connection, ids: Sequence[int]) -> dict[int, list[str]]:
    query = (
        "SELECT items.id, tag FROM items JOIN tags USING (hash) "
        f"WHERE items.id IN ({', '.join('?' * len(ids))}) ORDER BY key"
    )
    found: dict[int, list[str]] = {}
    for number, tag in db.execute(query, list(ids)):
        found.setdefault(number, []).append(tag)
    return found
