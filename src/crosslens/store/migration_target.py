"""The target model of a migration: its vectors, kept beside those of the model that serves.

    meta    target.name, target.identity, target.dimension    as model.*; there while a migration is under way
            target.generation                                 grows with every batch of its vectors
            waiting                                           there while items may lack a vector of the model

The generation of the library stays while vectors of the target come in: what serves is not touched, nor what
is derived from it. It grows when a migration ends, either way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from crosslens.errors import LibraryModelError, LibraryNotFoundError
from crosslens.store.database import Catalog
from crosslens.store.path_encoding import from_sql
from crosslens.store.records import ModelRecord
from crosslens.types import Float32, Modality

_PAGE = 1000
_FACTS = ("name", "identity", "dimension")


@dataclass(frozen=True, slots=True)
class Models:
    """The model that serves, None while nothing has been indexed, and the one that is to come, if any."""

    serving: ModelRecord | None
    target: ModelRecord | None


@dataclass(frozen=True, slots=True)
class Lacking:
    """An item whose content has no vector of a model. text: None for a picture."""

    hash: bytes
    path: str
    text: str | None


def models_of(catalog: Catalog) -> Models:
    """Both models, as of one moment."""
    with catalog.reading() as db:
        return models_in(db)


def note_target(catalog: Catalog, record: ModelRecord) -> bool:
    """Note that the library is being migrated to a model; False where that is the one that serves.

    Raises LibraryNotFoundError for a library without a model, LibraryModelError while it is being migrated to
    another.
    """
    with catalog.writing() as db:
        models = models_in(db)
        if models.serving is None:
            raise LibraryNotFoundError(
                f"the library in {catalog.folder} is empty", "Fill it with: crosslens index FOLDER"
            )
        if models.target is not None and models.target.identity != record.identity:
            raise LibraryModelError(
                f"library {catalog.folder} is being migrated to {models.target.name!r}, "
                f"not to {record.name!r}",
                f"Finish that: crosslens migrate -L {catalog.folder}, or give it up with --abandon",
            )
        if models.serving.identity == record.identity:
            return False
        _note(db, "target", record)
        db.execute("INSERT OR IGNORE INTO meta VALUES ('target.generation', '0')")
    return True


def lacking(catalog: Catalog, model: str, kind: Modality) -> Iterator[list[Lacking]]:
    """Items whose content has no vector of a model, by id; page by page, each as it is when it is taken."""
    query = (
        f"SELECT items.id, items.hash, path, text {_ITEMS} AND items.id > ? AND (text IS NULL) = ? "
        f"ORDER BY items.id LIMIT {_PAGE}"
    )
    last = 0
    while True:
        with catalog.reading() as db:
            rows = db.execute(query, (model, last, kind == "image")).fetchall()
        yield [Lacking(bytes(hash_), from_sql(path), text) for _, hash_, path, text in rows]
        if len(rows) < _PAGE:
            return
        last = rows[-1][0]


def count_lacking(catalog: Catalog, model: str) -> int:
    """Number of contents that items have and that have no vector of a model."""
    with catalog.reading() as db:
        return int(db.execute(f"SELECT count(DISTINCT items.hash) {_ITEMS}", (model,)).fetchone()[0])


def keep_vectors(
    catalog: Catalog, target: ModelRecord, vectors: Sequence[tuple[bytes, Float32]], runtime: str
) -> None:
    """Write a batch of vectors of the target: (content, unit float32 (d,)). One transaction.

    Contents that were thrown out meanwhile are passed over. Raises LibraryModelError when the migration was
    given up meanwhile.
    """
    query = (
        "INSERT OR IGNORE INTO vectors SELECT ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM contents WHERE hash = ?)"
    )
    rows = [(hash_, target.identity, v.astype("<f2").tobytes(), runtime, hash_) for hash_, v in vectors]
    with catalog.writing() as db:
        _check(catalog, db, target)
        db.executemany(query, rows)
        _grow(db, "target.generation")


def switch(catalog: Catalog, target: ModelRecord, given_up: Container[tuple[bytes, str]]) -> bool:
    """Let the target serve, if each item has a vector of it or was given up; returns whether it does.

    One transaction. given_up: (content, path) of items that are to wait for theirs. Raises LibraryModelError
    when the migration was given up meanwhile.
    """
    with catalog.writing() as db:
        _check(catalog, db, target)
        rows = db.execute(f"SELECT items.hash, path {_ITEMS}", (target.identity,)).fetchall()
        if any((bytes(hash_), from_sql(path)) not in given_up for hash_, path in rows):
            return False
        _note(db, "model", target)
        db.execute("DELETE FROM meta WHERE key LIKE 'target.%' OR key = 'waiting'")
        if rows:
            db.execute("INSERT INTO meta VALUES ('waiting', '1')")
        _grow(db, "generation")
    return True


def abandon(catalog: Catalog) -> tuple[str, int] | None:
    """Forget the target and its vectors; (its name, how many vectors), None where there was none.

    The vector of a content that has none of the model that serves stays: it may be the last one.
    """
    with catalog.writing() as db:
        target = models_in(db).target
        if target is None:
            return None
        query = f"DELETE FROM vectors WHERE model = ? AND {_HAS_OWN}"
        dropped = db.execute(query, (target.identity,)).rowcount
        db.execute("DELETE FROM meta WHERE key LIKE 'target.%'")
        _grow(db, "generation")
    return target.name, dropped


def waiting(catalog: Catalog) -> int:
    """Number of items that a migration left without a vector of the model that serves."""
    with catalog.reading() as db:
        return int(db.execute(f"SELECT count(*) {WAITING}").fetchone()[0]) if is_any_waiting(db) else 0


def waiting_of(catalog: Catalog, contents: Iterable[bytes], model: str) -> set[bytes]:
    """Those of the contents that are waiting. model: identity of the one that serves."""
    with catalog.reading() as db:
        noted = is_any_waiting(db)
    return {hash_ for hash_ in contents if noted and not catalog.has_vector(hash_, model)}


def settle(catalog: Catalog) -> None:
    """Forget that items are waiting when none is any more."""
    with catalog.reading() as db:
        noted = is_any_waiting(db)
    if noted and not waiting(catalog):
        with catalog.writing() as db:
            db.execute("DELETE FROM meta WHERE key = 'waiting'")


def is_any_waiting(db: sqlite3.Connection) -> bool:
    """Whether items may lack a vector of the model: to look at all of them would take long."""
    return db.execute("SELECT 1 FROM meta WHERE key = 'waiting'").fetchone() is not None


def drop_others(db: sqlite3.Connection) -> int:
    """Delete vectors of models that neither serve nor are to come; returns how many. See `count_others`."""
    return db.execute(f"DELETE FROM vectors WHERE {_OTHERS} AND {_HAS_OWN}").rowcount


def count_others(db: sqlite3.Connection) -> int:
    """How many `drop_others` would delete: not those of contents that have none of the model that serves."""
    return int(db.execute(f"SELECT count(*) FROM vectors WHERE {_OTHERS} AND {_HAS_OWN}").fetchone()[0])


# -- inside ---------------------------------------------------------------------------------------

_SERVING = "(SELECT value FROM meta WHERE key = 'model.identity')"
WAITING = (
    "FROM items WHERE NOT EXISTS "
    f"(SELECT 1 FROM vectors WHERE vectors.hash = items.hash AND vectors.model = {_SERVING})"
)
_ITEMS = (
    "FROM items JOIN contents USING (hash) WHERE NOT EXISTS "
    "(SELECT 1 FROM vectors WHERE vectors.hash = items.hash AND vectors.model = ?)"
)
_OTHERS = "model NOT IN (SELECT value FROM meta WHERE key IN ('model.identity', 'target.identity'))"
_HAS_OWN = f"EXISTS (SELECT 1 FROM vectors AS own WHERE own.hash = vectors.hash AND own.model = {_SERVING})"


def models_in(db: sqlite3.Connection) -> Models:
    """Both models, as a connection sees them now."""
    meta = dict(db.execute("SELECT key, value FROM meta").fetchall())

    def record(which: str) -> ModelRecord | None:
        if f"{which}.identity" not in meta:
            return None
        name, identity, dimension = (meta[f"{which}.{fact}"] for fact in _FACTS)
        return ModelRecord(name, identity, int(dimension))

    return Models(record("model"), record("target"))


def _note(db: sqlite3.Connection, which: str, record: ModelRecord) -> None:
    for fact, value in zip(_FACTS, (record.name, record.identity, str(record.dimension)), strict=True):
        db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"{which}.{fact}", value))


def _check(catalog: Catalog, db: sqlite3.Connection, target: ModelRecord) -> None:
    found = models_in(db).target
    if found is None or found.identity != target.identity:
        raise LibraryModelError(
            f"library {catalog.folder} is not being migrated to {target.name!r} any more",
            "Another process ended the migration; see: crosslens stats",
        )


def _grow(db: sqlite3.Connection, key: str) -> None:
    db.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = ?", (key,))
