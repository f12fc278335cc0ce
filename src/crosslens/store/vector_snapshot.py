"""A consistent snapshot of all vectors of a library while others write."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from crosslens.errors import LibraryDamagedError
from crosslens.types import Modality


def stamp_of(db: sqlite3.Connection, model: str | None = None) -> tuple[str, int]:
    """(library, generation) as a connection sees them now: where they are equal, items and vectors are.

    model: identity of the one whose vectors are meant; None: the one that serves. Vectors of one that the
    library is being migrated to come in without a new generation, and are counted behind the library's name.
    """
    meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
    batches = f"+{meta['target.generation']}" if model and meta.get("target.identity") == model else ""
    return meta["library"] + batches, int(meta["generation"])


class Snapshot:
    """The vectors of one model at one moment. stamp: (library, generation); count: number of vectors."""

    def __init__(
        self, db: sqlite3.Connection, folder: Path, model: str, dimension: int, kind: Modality
    ) -> None:
        self._db = db
        self._folder = folder
        self._bind = (model, kind == "image")
        self._bytes = 2 * dimension
        self.stamp = stamp_of(db, model)
        self.count = int(db.execute(f"SELECT count(*) {_VECTORS}", self._bind).fetchone()[0])

    def vectors(self) -> Iterator[tuple[int, bytes]]:
        """(item id, float16 vector as bytes), by id. Raises LibraryDamagedError for one of a wrong length."""
        query = f"SELECT items.id, vector {_VECTORS} ORDER BY items.id"
        for number, blob in self._db.execute(query, self._bind):
            if len(blob) != self._bytes:
                raise LibraryDamagedError(
                    f"library {self._folder}: the vector of item {number} has {len(blob)} bytes, "
                    f"wanted {self._bytes}",
                    "Restore the library from a backup, or move the folder away and index again",
                )
            yield int(number), blob


_VECTORS = (
    "FROM items JOIN vectors USING (hash) JOIN contents USING (hash) WHERE model = ? AND (text IS NULL) = ?"
)
