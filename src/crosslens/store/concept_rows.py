"""Concepts in the database: a linear head by name, its training examples, and the tags it gave.

Table `concepts` has one a row. Table `examples` has the contents that were marked; they stay when the library
goes to another model, so that a concept can be taught again. `tags.source` is "concept:KEY" of a tag that a
concept gave, NULL where a person or a file did.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crosslens.errors import InputError
from crosslens.store.database import Catalog
from crosslens.store.tag_rows import clean_tag, key_of
from crosslens.types import Float32, Int64, Modality


@dataclass(frozen=True, slots=True)
class ConceptRow:
    """A concept. model: identity of the one whose vectors it is for; kind: of what it was taught on.

    weights: float32 (d,); bias; threshold: score in (0, 1) from which on something fits. yes, no: numbers of
    examples; presumed: of items that were presumed no. missed, alarms: (wrong, of) among held-out yes
    and no, None where too few were marked. taught: UTC, YYYY-MM-DDTHH:MM:SSZ.
    """

    name: str
    kind: Modality
    model: str
    weights: Float32
    bias: float
    threshold: float
    presumed: int
    missed: tuple[int, int] | None
    alarms: tuple[int, int] | None
    taught: str
    yes: int = 0
    no: int = 0


def clean_name(text: str) -> str:
    """A concept's name as it is kept. Raises InputError for what is none."""
    name = clean_tag(text)
    if "/" in name:
        raise InputError(f"{text[:40]!r} is no name of a concept", 'Wanted a word or a few, without "/"')
    return name


def concept_rows(catalog: Catalog) -> list[ConceptRow]:
    """All concepts, by name."""
    with catalog.reading() as db:
        rows = db.execute(f"{_SELECT} ORDER BY key").fetchall() if has_concepts(db) else []
    return [_row(*row) for row in rows]


def concept_row(catalog: Catalog, name: str) -> ConceptRow | None:
    """A concept by its name, in any case; None where there is none."""
    with catalog.reading() as db:
        row = db.execute(f"{_SELECT} WHERE key = ?", (_key(name),)).fetchone() if has_concepts(db) else None
    return None if row is None else _row(*row)


def examples_of(catalog: Catalog, name: str) -> dict[bytes, bool]:
    """The contents that were marked, each with whether it is a yes."""
    query = (
        "SELECT hash, is_yes FROM examples JOIN concepts ON concepts.id = concept WHERE key = ? ORDER BY hash"
    )
    with catalog.reading() as db:
        rows = db.execute(query, (_key(name),)).fetchall() if has_concepts(db) else []
    return {bytes(hash_): bool(is_yes) for hash_, is_yes in rows}


def keep_concept(catalog: Catalog, row: ConceptRow, examples: Mapping[bytes, bool]) -> None:
    """Write a concept and its examples in place of what had its name. One transaction."""
    key = _key(row.name)
    values = (
        row.name, row.kind, row.model, row.weights.astype("<f4").tobytes(), row.bias, row.threshold,
        row.presumed, *(row.missed or (None, None)), *(row.alarms or (None, None)), row.taught,
    )  # fmt: skip
    with catalog.writing() as db:
        db.execute("DELETE FROM concepts WHERE key = ?", (key,))
        marks = ", ".join("?" * (1 + len(values)))
        (number,) = db.execute(
            f"INSERT INTO concepts (key, {_COLUMNS}) VALUES ({marks}) RETURNING id", (key, *values)
        ).fetchone()
        known = "SELECT ?, ?, ? WHERE EXISTS (SELECT 1 FROM contents WHERE hash = ?)"
        rows = [(number, hash_, is_yes, hash_) for hash_, is_yes in examples.items()]
        db.executemany(f"INSERT INTO examples (concept, hash, is_yes) {known}", rows)


def drop_concept(catalog: Catalog, name: str) -> bool:
    """Delete a concept and its marks; returns whether there was one. Tags that it gave stay."""
    with catalog.writing() as db:
        return db.execute("DELETE FROM concepts WHERE key = ?", (_key(name),)).rowcount > 0


def contents_of(catalog: Catalog, ids: Iterable[int]) -> dict[bytes, Modality]:
    """The contents of items, each with its kind; items that are gone are left out."""
    query = "SELECT hash, text IS NULL FROM items JOIN contents USING (hash) WHERE items.id = ?"
    with catalog.reading() as db:
        rows = [db.execute(query, (number,)).fetchone() for number in ids]
    return {bytes(row[0]): "image" if row[1] else "text" for row in rows if row is not None}


def marked(catalog: Catalog, name: str) -> tuple[Int64, Int64]:
    """Ids of the items that were marked yes, and of those marked no, copies too; int64, ascending."""
    query = (
        f"SELECT items.id, is_yes FROM {_EXAMPLES} JOIN items USING (hash) "
        "WHERE concepts.key = ? ORDER BY items.id"
    )
    with catalog.reading() as db:
        rows = db.execute(query, (_key(name),)).fetchall() if has_concepts(db) else []
    ids, is_yes = np.array(rows, np.int64).reshape(-1, 2).T
    return ids[is_yes == 1], ids[is_yes == 0]


def ids_with(catalog: Catalog, hashes: Iterable[bytes]) -> Int64:
    """Ids of the items that have one of these contents, int64."""
    query = "SELECT id FROM items WHERE hash = ?"
    with catalog.reading() as db:
        found = [number for hash_ in hashes for (number,) in db.execute(query, (hash_,))]
    return np.array(found, np.int64)


def vectors_of(catalog: Catalog, hashes: Iterable[bytes], model: str) -> dict[bytes, Float32]:
    """Vectors of contents by a model, float32 (d,); contents without one are left out."""
    query = "SELECT vector FROM vectors WHERE hash = ? AND model = ?"
    with catalog.reading() as db:
        rows = [(hash_, db.execute(query, (hash_, model)).fetchone()) for hash_ in hashes]
    return {hash_: np.frombuffer(row[0], "<f2").astype(np.float32) for hash_, row in rows if row is not None}


# -- tags that concepts give ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TagChange:
    """What giving a tag changes, in items. new: get it; gone: lose it, having it from the concept alone."""

    new: int
    gone: int


def plan_tag(catalog: Catalog, name: str, tag: str, fits: Int64, judged: Int64) -> TagChange:
    """What `give_tag` would change. Writes nothing."""
    with catalog.reading() as db:
        new, gone = _change(db, name, tag, fits, judged) if has_concepts(db) else ([], [])
    return TagChange(len(new), len(gone))


def give_tag(catalog: Catalog, name: str, tag: str, fits: Int64, judged: Int64) -> TagChange:
    """Tag the items that fit a concept, and take the tag from those that have it of it and fit no more.

    fits, judged: ids, int64, ascending. A tag that a person or a file gave stays. One transaction.
    """
    with catalog.writing() as db:
        new, gone = _change(db, name, tag, fits, judged)
        insert = (
            "INSERT OR IGNORE INTO tags (hash, key, tag, source) SELECT hash, ?, ?, ? FROM items WHERE id = ?"
        )
        db.executemany(insert, [(key_of(tag), clean_tag(tag), _source(name), number) for number in new])
        delete = (
            "DELETE FROM tags WHERE key = ? AND source = ? AND hash = (SELECT hash FROM items WHERE id = ?)"
        )
        db.executemany(delete, [(key_of(tag), _source(name), number) for number in gone])
    return TagChange(len(new), len(gone))


def tags_given(catalog: Catalog, name: str) -> dict[str, int]:
    """How many items have which tag from a concept."""
    query = (
        "SELECT min(tag), count(*) FROM tags JOIN items USING (hash) "
        "WHERE source = ? GROUP BY key ORDER BY key"
    )
    with catalog.reading() as db:
        rows = db.execute(query, (_source(name),)).fetchall() if has_concepts(db) else []
    return {tag: int(count) for tag, count in rows}


def has_concepts(db: sqlite3.Connection) -> bool:
    """Whether the library knows concepts: an older one that is only read does not."""
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'concepts'").fetchone() is not None


# -- inside ---------------------------------------------------------------------------------------

_COLUMNS = (
    "name, kind, model, weights, bias, threshold, presumed, missed, missed_of, alarms, alarms_of, taught"
)
_EXAMPLES = "examples JOIN concepts ON concepts.id = concept"
_MARKED = "(SELECT count(*) FROM examples WHERE concept = concepts.id AND is_yes = {})"
_SELECT = f"SELECT {_COLUMNS}, {_MARKED.format(1)}, {_MARKED.format(0)} FROM concepts"


def _row(*values: Any) -> ConceptRow:
    weights = np.frombuffer(
        values[3][: len(values[3]) // 4 * 4], "<f4"
    )  # a damaged one is refused where it is used
    missed, alarms = (None if pair[0] is None else pair for pair in (values[7:9], values[9:11]))
    name, kind, model, _, bias, threshold, presumed = values[:7]
    return ConceptRow(name, kind, model, weights, bias, threshold, presumed, missed, alarms, *values[11:])


def _key(name: str) -> str:
    return key_of(clean_name(name))


def _source(name: str) -> str:
    return f"concept:{_key(name)}"


def _change(
    db: sqlite3.Connection, name: str, tag: str, fits: Int64, judged: Int64
) -> tuple[Sequence[int], Sequence[int]]:
    """(items that get the tag, items that lose it)."""
    query = "SELECT items.id, source FROM tags JOIN items USING (hash) WHERE key = ?"
    having = dict(db.execute(query, (key_of(tag),)).fetchall())
    own = np.array(sorted(number for number, source in having.items() if source == _source(name)), np.int64)
    unfit = np.setdiff1d(np.intersect1d(own, judged), fits)
    return [number for number in fits.tolist() if number not in having], unfit.tolist()
