"""Tags and file metadata in the database.

A tag belongs to the content, so copies and renamed files have it too; a picture that is edited in its place
keeps those it had. "/" divides it: what is tagged "people/anna" is found by "people".
"""

from __future__ import annotations

import sqlite3
import unicodedata
from collections.abc import Sequence
from contextlib import closing

from crosslens.errors import InputError
from crosslens.types import Facts

_LONGEST = 200


def clean_tag(text: str) -> str:
    """A tag as it is kept: its parts in order, single spaces. Raises InputError for what is none."""
    parts = [" ".join(part.split()) for part in unicodedata.normalize("NFC", text).split("/")]
    tag = "/".join(parts)
    if not all(parts) or not tag.isprintable() or len(tag) > _LONGEST:
        wanted = f'Wanted a word or a few, at most {_LONGEST} characters: "family", "people/anna"'
        raise InputError(f"{text[:40]!r} is no tag", wanted)
    return tag


def key_of(tag: str) -> str:
    """What tells tags apart: case does not."""
    return unicodedata.normalize("NFC", clean_tag(tag).casefold())


def note_facts(db: sqlite3.Connection, hash_: bytes, facts: Facts) -> None:
    """Keep what a file says of itself, unless that was kept before; its keywords become tags."""
    new = db.execute(
        "INSERT OR IGNORE INTO facts (hash, taken, latitude, longitude, camera, caption) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (hash_, facts.taken, facts.latitude, facts.longitude, facts.camera, facts.caption),
    ).rowcount
    if new:  # one that was taken away does not come back with every copy
        add_tags(db, hash_, facts.keywords)


def renew_facts(db: sqlite3.Connection, hash_: bytes, facts: Facts) -> None:
    """Replace what is kept of a file by what it says now; its keywords become tags again."""
    # Triggers see a caption that changes, not a row that goes.
    db.execute("UPDATE facts SET caption = NULL WHERE hash = ? AND caption IS NOT NULL", (hash_,))
    db.execute("DELETE FROM facts WHERE hash = ?", (hash_,))
    note_facts(db, hash_, facts)


def add_tags(db: sqlite3.Connection, hash_: bytes, tags: Sequence[str]) -> int:
    """Tag a content that is known; returns how many tags are new to it. The first way to write one stays.

    One that a concept gave (store/concept_rows.py) is from now on as if it had not.
    """
    rows = [(hash_, key_of(tag), clean_tag(tag)) for tag in tags]
    claim = "UPDATE tags SET source = NULL WHERE hash = ? AND key = ? AND source IS NOT NULL"
    db.executemany(claim, [row[:2] for row in rows])
    return (
        db.executemany("INSERT OR IGNORE INTO tags (hash, key, tag) VALUES (?, ?, ?)", rows).rowcount
        if rows
        else 0
    )


def keep_tags(db: sqlite3.Connection, path: str | bytes, hash_: bytes) -> None:
    """Before the item at a path gets another content: that gets the tags of the one it had."""
    db.execute(
        "INSERT OR IGNORE INTO tags SELECT ?, key, tag, source FROM tags "
        "WHERE hash = (SELECT hash FROM items WHERE path = ? AND hash <> ?)",
        (hash_, path, hash_),
    )


def wrong_words(db: sqlite3.Connection) -> list[int]:
    """Ids of items whose words in the full-text index are not those of the tables."""
    query = (
        "SELECT id FROM (SELECT id, name, caption, tags FROM words_of_items "
        "EXCEPT SELECT rowid, name, caption, tags FROM words) "
        "UNION SELECT rowid FROM words WHERE rowid NOT IN (SELECT id FROM items) ORDER BY 1"
    )
    return [number for (number,) in db.execute(query)]


def words_are_indexed(db: sqlite3.Connection) -> bool:
    """Whether the full-text index finds every word where it is, and no other. The library is only read."""
    sql = db.execute("SELECT sql FROM sqlite_master WHERE name = 'words'").fetchone()[0]
    # SQLite's own check needs to write, so it is run on a copy, in a file that is deleted when it is closed.
    with closing(sqlite3.connect("", isolation_level=None)) as copy:
        copy.execute("BEGIN")
        copy.execute(sql)
        for part in ("config", "content", "data", "docsize", "idx"):
            rows = db.execute(f"SELECT * FROM words_{part}")
            copy.execute(f"DELETE FROM words_{part}")
            marks = ", ".join("?" * len(rows.description))
            copy.executemany(f"INSERT INTO words_{part} VALUES ({marks})", rows)
        try:
            copy.execute("INSERT INTO words (words) VALUES ('integrity-check')")
        except sqlite3.DatabaseError:
            return False
    return True


def rebuild_words(db: sqlite3.Connection) -> None:
    """Make the full-text index anew from the tables, whatever state it is in."""
    sql = db.execute("SELECT sql FROM sqlite_master WHERE name = 'words'").fetchone()[0]
    db.execute("DROP TABLE words")
    db.execute(sql)
    db.execute(
        "INSERT INTO words (rowid, name, caption, tags) SELECT id, name, caption, tags FROM words_of_items"
    )
