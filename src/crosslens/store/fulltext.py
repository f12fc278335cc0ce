"""Full-text index (SQLite FTS5) over file names, captions, keywords and tags."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crosslens.errors import InputError
from crosslens.store.database import Catalog, conditions_below
from crosslens.store.tag_rows import add_tags, clean_tag, key_of
from crosslens.types import Int64, Modality

# A word in a caption or a tag says more than one in a path, whose folders may hold thousands.
_OF_NAME, _OF_CAPTION, _OF_TAGS = 1.0, 4.0, 4.0
# Without a filter, the best so many of what holds the words.
_MOST = 10_000


def tag(catalog: Catalog, ids: Sequence[int], tags: Sequence[str]) -> int:
    """Tag items; returns how many tags are new to them. One transaction. Raises InputError."""
    wanted = tuple(clean_tag(tag) for tag in tags)
    with catalog.writing() as db:
        found = [db.execute("SELECT hash FROM items WHERE id = ?", (number,)).fetchone() for number in ids]
        for number, row in zip(ids, found, strict=True):
            if row is None:
                raise InputError(
                    f"there is no item {number} in library {catalog.folder}", "See: crosslens list"
                )
        return sum(add_tags(db, hash_, wanted) for hash_ in {row[0] for row in found})


def untag(catalog: Catalog, ids: Sequence[int], tags: Sequence[str]) -> int:
    """Take tags from items; returns how many they had. Raises InputError for one that none of them has."""
    query = "DELETE FROM tags WHERE key = ? AND hash = (SELECT hash FROM items WHERE id = ?)"
    taken = 0
    with catalog.writing() as db:
        for wanted in tags:
            found = sum(db.execute(query, (key_of(wanted), number)).rowcount for number in ids)
            if not found:
                raise InputError(f"none of these has the tag {wanted!r}", "See: crosslens tags")
            taken += found
    return taken


def tag_counts(catalog: Catalog) -> dict[str, int]:
    """How many items have each tag, by tag."""
    query = "SELECT min(tag), count(items.id) FROM tags JOIN items USING (hash) GROUP BY key ORDER BY key"
    with catalog.reading() as db:
        if not catalog.has_words(db):
            return {}
        return {name: int(count) for name, count in db.execute(query)}


def tags_of(catalog: Catalog, number: int) -> list[str]:
    """The tags of an item."""
    query = "SELECT tag FROM tags JOIN items USING (hash) WHERE items.id = ? ORDER BY key"
    with catalog.reading() as db:
        return [name for (name,) in db.execute(query, (number,))] if catalog.has_words(db) else []


def matching(catalog: Catalog, kind: Modality, phrase: str, allowed: Int64 | None = None) -> Int64:
    """Ids of items whose name, caption or tags hold these words next to each other, the best first.

    By BM25; case and accents do not matter. allowed: ids, ascending; None for all. A library that is too old
    to know words, and is only read, holds none.
    """
    query = (
        "SELECT words.rowid FROM words JOIN items ON items.id = words.rowid JOIN contents USING (hash) "
        f"WHERE words MATCH ? AND (text IS NULL) = ? ORDER BY bm25(words, {_OF_NAME}, {_OF_CAPTION}, "
        f"{_OF_TAGS}), words.rowid LIMIT ?"
    )
    quoted = '"' + phrase.replace("\0", " ").replace('"', '""') + '"'
    with catalog.reading() as db:
        if not catalog.has_words(db):
            return np.empty(0, np.int64)
        most = _MOST if allowed is None else -1
        rows = db.execute(query, (quoted, kind == "image", most)).fetchall()
    ids = np.fromiter((row[0] for row in rows), np.int64, len(rows))
    return ids if allowed is None else ids[np.isin(ids, allowed)]


def ids_below(catalog: Catalog, targets: Sequence[int | str]) -> list[int]:
    """Ids of the items that are named by id, by path or by a folder above them.

    Raises InputError for a target that names none.
    """
    found: dict[int, None] = {}
    with catalog.reading() as db:
        for target in targets:
            rows: list[tuple[int]] = []
            for condition, bind in conditions_below("items", target):
                rows += db.execute(f"SELECT id FROM items WHERE {condition} ORDER BY id", bind).fetchall()
            if not rows:
                raise InputError(f"{target} is not in library {catalog.folder}", "See: crosslens list")
            found |= dict.fromkeys(number for (number,) in rows)
    return list(found)
