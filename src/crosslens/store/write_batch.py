"""Batched writes of items: few SQL statements, since each of them costs."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from crosslens.store.path_encoding import to_sql
from crosslens.store.records import Entry
from crosslens.store.tag_rows import keep_tags, note_facts

# Five variables to each, and any SQLite allows 999.
_AT_ONCE = 128


def write_entries(db: sqlite3.Connection, entries: Sequence[Entry], model: str, runtime: str) -> None:
    """Contents, vectors, facts and items, inside a transaction of the caller's."""
    new = [entry for entry in entries if entry.vector is not None]
    db.executemany(
        "INSERT OR IGNORE INTO contents VALUES (?, ?, ?, ?)",
        [(entry.hash, entry.width, entry.height, entry.text) for entry in new],
    )
    db.executemany(
        "INSERT OR IGNORE INTO vectors VALUES (?, ?, ?, ?)",
        [(e.hash, model, e.vector.astype("<f2").tobytes(), runtime) for e in new if e.vector is not None],
    )
    for entry in entries:
        if entry.facts is not None:
            note_facts(db, entry.hash, entry.facts)
    for start in range(0, len(entries), _AT_ONCE):
        _write_items(db, entries[start : start + _AT_ONCE])


def _write_items(db: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    """All in one statement: before each that may fail, the full-text index writes out what it gathered."""
    rows = [(e.root_id, to_sql(e.item.path), e.hash, e.item.size, e.item.modified_ns) for e in entries]
    paths = [path for _, path, *_ in rows]
    query = f"SELECT path, hash FROM items WHERE path IN ({', '.join('?' * len(rows))})"
    before = dict(db.execute(query, paths).fetchall())
    for _, path, hash_, *_ in rows:
        if before.get(path, hash_) != hash_:
            keep_tags(db, path, hash_)
    db.execute(
        "INSERT INTO items (root_id, path, hash, size, modified_ns) "
        f"VALUES {', '.join(['(?, ?, ?, ?, ?)'] * len(rows))} "
        "ON CONFLICT (path) DO UPDATE SET root_id = excluded.root_id, hash = excluded.hash, "
        "size = excluded.size, modified_ns = excluded.modified_ns",
        [value for row in rows for value in row],
    )
