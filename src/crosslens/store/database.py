"""The library database: items, contents, vectors. Every method is one transaction or one query.

Vectors are keyed by content hash and model, so a copied or renamed picture finds its vector again, and
an item row is only ever written together with the vector it needs.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

from crosslens.errors import InputError
from crosslens.store.connection import file_state, frozen_state
from crosslens.store.network_filesystem import size_of
from crosslens.store.path_encoding import ADDED, from_sql, is_below, path_range, to_sql
from crosslens.store.records import Entry, ItemRow, ModelRecord, Root
from crosslens.store.schema import DATABASE, explained, open_database
from crosslens.store.vector_snapshot import Snapshot, stamp_of
from crosslens.store.write_batch import write_entries
from crosslens.types import Item, Modality


class Catalog:
    """A library's database. Safe to call from several threads; one process writes at a time."""

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        """Raises what `schema.open_database` raises."""
        self.folder = folder
        self._lock = Lock()
        self._connection = open_database(folder, create=create)
        self._frozen = frozen_state(self._connection)

    def close(self) -> None:
        """Close the database; what was committed is on the disk."""
        self._connection.close()

    # -- facts about the library ------------------------------------------------------------------

    def model(self) -> ModelRecord | None:
        """The library's model; None while nothing has been indexed."""
        with self.reading() as db:
            meta = dict(db.execute("SELECT key, value FROM meta WHERE key LIKE 'model.%'").fetchall())
        if not meta:
            return None
        return ModelRecord(meta["model.name"], meta["model.identity"], int(meta["model.dimension"]))

    def set_model(self, record: ModelRecord) -> None:
        """Remember the model; every later vector is its."""
        values = {"name": record.name, "identity": record.identity, "dimension": str(record.dimension)}
        with self.writing() as db:
            for key, value in values.items():
                db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"model.{key}", value))

    def stamp(self, model: str | None = None) -> tuple[str, int]:
        """(library, generation): equal stamps mean equal items and vectors; see `stamp_of`."""
        with self.reading() as db:
            return stamp_of(db, model)

    def holds(self, kind: Modality) -> bool:
        """Whether there is any picture, or any text."""
        query = "SELECT 1 FROM items JOIN contents USING (hash) WHERE (text IS NULL) = ? LIMIT 1"
        with self.reading() as db:
            return db.execute(query, (kind == "image",)).fetchone() is not None

    def counts(self) -> dict[str, int]:
        """Numbers of items, those of them that are texts or offline, contents in use, and vectors."""
        queries = {
            "items": "SELECT count(*) FROM items",
            "offline": "SELECT count(*) FROM items JOIN roots ON roots.id = root_id WHERE NOT online",
            "texts": "SELECT count(*) FROM items JOIN contents USING (hash) WHERE text IS NOT NULL",
            "contents": "SELECT count(DISTINCT hash) FROM items",
            "vectors": "SELECT count(*) FROM vectors",
        }
        with self.reading() as db:
            return {name: int(db.execute(query).fetchone()[0]) for name, query in queries.items()}

    def count_offline(self) -> int:
        """Number of items whose root is missing; quicker than all `counts`."""
        query = "SELECT count(*) FROM items WHERE root_id IN (SELECT id FROM roots WHERE NOT online)"
        with self.reading() as db:
            return int(db.execute(query).fetchone()[0])

    def size(self) -> int:
        """Bytes of the database and its log."""
        return sum(size_of(self.folder / (DATABASE + suffix)) for suffix in ("", "-wal", "-shm"))

    # -- roots ------------------------------------------------------------------------------------

    def roots(self) -> list[Root]:
        """All folders and files that were indexed, by path."""
        query = "SELECT id, path, is_file, mount, online, text_column FROM roots WHERE path != ?"
        with self.reading() as db:
            rows = db.execute(query, (ADDED,)).fetchall()
        roots = (Root(i, from_sql(p), bool(f), from_sql(m), bool(o), c) for i, p, f, m, o, c in rows)
        return sorted(roots, key=lambda root: root.path)

    def added_root(self) -> Root:
        """The root of what is in no file: nothing on the disk, and never looked for there."""
        with self.writing() as db:
            db.execute("INSERT OR IGNORE INTO roots (path, is_file, mount) VALUES (?, 1, '')", (ADDED,))
            (number,) = db.execute("SELECT id FROM roots WHERE path = ?", (ADDED,)).fetchone()
        return Root(int(number), ADDED, is_file=True, mount="", online=True)

    def add_root(self, path: str, mount: str, text_column: str | None = None) -> Root:
        """Remember a root, and hand it the items below it that belonged to a root further up."""
        is_file = not os.path.isdir(path)
        with self.writing() as db:
            values = (to_sql(path), is_file, to_sql(mount), text_column)
            db.execute("INSERT INTO roots (path, is_file, mount, text_column) VALUES (?, ?, ?, ?)", values)
            (number,) = db.execute("SELECT last_insert_rowid()").fetchone()
            for other, other_path in db.execute("SELECT id, path FROM roots").fetchall():
                if is_below(path, from_sql(other_path)):
                    rows = db.execute("SELECT id, path FROM items WHERE root_id = ?", (other,)).fetchall()
                    below = [
                        (number, item)
                        for item, item_path in rows
                        if from_sql(item_path) == path or is_below(from_sql(item_path), path)
                    ]
                    db.executemany("UPDATE items SET root_id = ? WHERE id = ?", below)
        return Root(int(number), path, is_file, mount, online=True, text_column=text_column)

    def remove_root(self, root: Root) -> None:
        """Forget a root that has no items."""
        with self.writing() as db:
            db.execute("DELETE FROM roots WHERE id = ?", (root.id,))

    def update_root(self, root: Root, *, online: bool, mount: str) -> None:
        """Mark a root as there or missing, and where its file system is mounted. Its items stay."""
        with self.writing() as db:
            values = (online, to_sql(mount), root.id)
            db.execute("UPDATE roots SET online = ?, mount = ? WHERE id = ?", values)

    def set_text_column(self, root: Root, name: str) -> Root:
        """Take the texts of a table from another column."""
        with self.writing() as db:
            db.execute("UPDATE roots SET text_column = ? WHERE id = ?", (name, root.id))
        return replace(root, text_column=name)

    def count_in(self, root: Root) -> int:
        """Number of items in a root."""
        with self.reading() as db:
            return int(db.execute("SELECT count(*) FROM items WHERE root_id = ?", (root.id,)).fetchone()[0])

    # -- items and vectors ------------------------------------------------------------------------

    def has_vector(self, hash_: bytes, model: str) -> bool:
        """Whether this content was encoded by this model."""
        with self.reading() as db:
            query = "SELECT 1 FROM vectors WHERE hash = ? AND model = ?"
            return db.execute(query, (hash_, model)).fetchone() is not None

    def record(
        self, entries: Sequence[Entry], moves: Sequence[tuple[int, Item, int]], model: str, runtime: str
    ) -> None:
        """Write a batch: pictures that are new or changed, and moves (item id, new place, root id).

        One transaction: after it all of the batch is there for good, before it nothing is.
        """
        with self.writing() as db:
            write_entries(db, entries, model, runtime)
            db.executemany(
                "UPDATE items SET path = ?, root_id = ?, size = ?, modified_ns = ? WHERE id = ?",
                [
                    (to_sql(item.path), root_id, item.size, item.modified_ns, number)
                    for number, item, root_id in moves
                ],
            )
            _next_generation(db)

    def ids_of(self, paths: Sequence[str]) -> dict[str, int]:
        """Ids of those of the paths that are items, by path."""
        query = "SELECT id FROM items WHERE path = ?"
        with self.reading() as db:
            rows = {path: db.execute(query, (to_sql(path),)).fetchone() for path in paths}
        return {path: row[0] for path, row in rows.items() if row is not None}

    def ids_in(self, root: Root) -> list[int]:
        """Ids of a root's items."""
        with self.reading() as db:
            return [n for (n,) in db.execute("SELECT id FROM items WHERE root_id = ?", (root.id,))]

    def hashes_of(self, paths: Sequence[str]) -> dict[str, bytes]:
        """The content of those of the paths that are items."""
        query = "SELECT hash FROM items WHERE path = ?"
        with self.reading() as db:
            rows = {path: db.execute(query, (to_sql(path),)).fetchone() for path in paths}
        return {path: row[0] for path, row in rows.items() if row is not None}

    def remove(self, ids: Sequence[int]) -> None:
        """Drop items; their vectors stay, so a picture that comes back is not encoded again."""
        with self.writing() as db:
            db.executemany("DELETE FROM items WHERE id = ?", [(i,) for i in ids])
            _next_generation(db)

    def forget(self, targets: Sequence[int | str]) -> int:
        """Drop items by id, by path or by a folder above them, and roots with them; returns how many items.

        One transaction. Raises InputError for a target that is neither, and then drops nothing.
        """
        with self.writing() as db:
            (before,) = db.execute("SELECT count(*) FROM items").fetchone()
            for target in dict.fromkeys(targets):
                found = 0
                for query, bind in conditions_below("items", target):
                    found += db.execute(f"DELETE FROM items WHERE {query}", bind).rowcount
                for query, bind in conditions_below("roots", target):
                    roots = f"SELECT id FROM roots WHERE {query}"
                    found += db.execute(f"DELETE FROM items WHERE root_id IN ({roots})", bind).rowcount
                    found += db.execute(f"DELETE FROM roots WHERE id IN ({roots})", bind).rowcount
                if not found:
                    raise InputError(f"{target} is not in library {self.folder}", "See: crosslens list")
            (after,) = db.execute("SELECT count(*) FROM items").fetchone()
            _next_generation(db)
        return int(before - after)

    def all_items(self) -> Iterator[ItemRow]:
        """Every item, by path; read page by page."""
        query = f"{_ITEMS} WHERE items.path > ? ORDER BY items.path LIMIT 1000"
        last: str | bytes = ""
        while True:
            with self.reading() as db:
                rows = db.execute(query, (last,)).fetchall()
            yield from (_item_row(row) for row in rows)
            if not rows:
                return
            last = rows[-1][1]

    def items(self, ids: Sequence[int]) -> list[ItemRow]:
        """Items by id, in the order asked for; ids that are gone are left out."""
        with self.reading() as db:
            rows = [
                db.execute(f"{_ITEMS} WHERE items.id = ?", (number,)).fetchone()
                for number in ids
                if number <= _LARGEST_ID
            ]
        return [_item_row(row) for row in rows if row is not None]

    def items_with_vectors(self, ids: Sequence[int], model: str) -> list[tuple[ItemRow, bytes]]:
        """As `items`, each with its vector, both as of one moment; items without one are left out."""
        query = (
            f"SELECT vector, {_ITEM} {_OF_ITEMS} JOIN vectors USING (hash) WHERE items.id = ? AND model = ?"
        )
        with self.reading() as db:
            rows = [db.execute(query, (number, model)).fetchone() for number in ids]
        return [(_item_row(row[1:]), row[0]) for row in rows if row is not None]

    def same_content(self) -> list[list[int]]:
        """Ids of items with the same content, in groups of two and more, by id."""
        query = (
            "SELECT hash, id FROM items WHERE hash IN "
            "(SELECT hash FROM items GROUP BY hash HAVING count(*) > 1) ORDER BY hash, id"
        )
        groups: dict[bytes, list[int]] = {}
        with self.reading() as db:
            for hash_, number in db.execute(query):
                groups.setdefault(hash_, []).append(number)
        return sorted(groups.values())

    @contextmanager
    def snapshot(self, model: str, dimension: int, kind: Modality = "image") -> Iterator[Snapshot]:
        """All vectors of a model of pictures or of texts as they are now, whatever is written meanwhile."""
        with explained(self.folder):
            db = open_database(self.folder, create=False)
            try:
                db.execute("BEGIN")
                yield Snapshot(db, self.folder, model, dimension, kind)
            finally:
                db.close()

    @staticmethod
    def has_words(db: sqlite3.Connection) -> bool:
        """Whether the library knows tags and words: an older one that is only read does not."""
        query = "SELECT 1 FROM sqlite_master WHERE name = 'words'"
        return db.execute(query).fetchone() is not None

    # -- transactions -----------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for queries."""
        with self._lock, explained(self.folder):
            if self._frozen is not None and self._frozen != file_state(self.folder / DATABASE):
                # Opened where nothing can be written; but somebody else did.
                fresh = open_database(self.folder, create=False)
                self._connection.close()
                self._connection, self._frozen = fresh, frozen_state(fresh)
            yield self._connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The connection inside a transaction that is committed at the end, or rolled back by an error."""
        with self._lock, explained(self.folder):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


_LARGEST_ID = 2**63 - 1
_ITEM = "items.id, items.path, online, width, height, size, modified_ns, text"
_OF_ITEMS = "FROM items JOIN contents USING (hash) JOIN roots ON roots.id = root_id"
_ITEMS = f"SELECT {_ITEM} {_OF_ITEMS}"


def _item_row(row: tuple[Any, ...]) -> ItemRow:
    number, path, online, *facts = row
    return ItemRow(number, from_sql(path), bool(online), *facts)


def conditions_below(table: str, target: int | str) -> list[tuple[str, tuple[object, ...]]]:
    """Conditions that find a row by id, or by its path and those below it, in both forms a path may have."""
    if isinstance(target, int):
        return [("id = ?", (target,))] if table == "items" and target <= _LARGEST_ID else []
    condition = f"{table}.path = ? OR ({table}.path > ? AND {table}.path < ?)"
    return [(condition, bind) for bind in path_range(target)]


def _next_generation(db: sqlite3.Connection) -> None:
    db.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'generation'")
