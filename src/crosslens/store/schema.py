"""Database schema: tables, creation, migration from older versions, and the meaning of its errors.

docs/store-format.md is the contract for people; this file is the one for SQLite.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from crosslens.errors import (
    LibraryBusyError,
    LibraryDamagedError,
    LibraryError,
    LibraryFullError,
    LibraryNotFoundError,
    LibraryReadOnlyError,
    LibraryVersionError,
)
from crosslens.store.connection import connect, connect_to_read, is_empty

DATABASE = "library.sqlite3"
APPLICATION_ID = 0x786C656E  # "xlen", so that `file` and other tools can tell what this is

# Numbered by place and append-only: entry i brings a database from version i to i + 1.
MIGRATIONS = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    INSERT INTO meta VALUES ('library', lower(hex(randomblob(16))));
    INSERT INTO meta VALUES ('generation', '0');
    CREATE TABLE roots (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        path NOT NULL UNIQUE,                       -- TEXT, or BLOB where it is not valid UTF-8
        is_file INTEGER NOT NULL,                   -- 1: a single file, 0: a folder
        mount NOT NULL,                             -- where its file system was mounted when it was added
        text_column TEXT,                           -- of a table: the column that holds its texts
        online INTEGER NOT NULL DEFAULT 1
    );
    CREATE TABLE contents (
        hash BLOB PRIMARY KEY,                      -- SHA-256 of the file; of a text: paths.text_hash
        width INTEGER NOT NULL,                     -- pixels, after EXIF orientation; 0 for a text
        height INTEGER NOT NULL,
        text TEXT                                   -- NULL for a picture
    );
    CREATE TABLE items (
        id INTEGER PRIMARY KEY AUTOINCREMENT,       -- never used twice
        root_id INTEGER NOT NULL REFERENCES roots (id),
        path NOT NULL UNIQUE,                       -- absolute; TEXT, or BLOB where it is not valid UTF-8
        hash BLOB NOT NULL REFERENCES contents (hash),
        size INTEGER NOT NULL,                      -- bytes
        modified_ns INTEGER NOT NULL                -- mtime, nanoseconds since the epoch
    );
    CREATE INDEX items_root ON items (root_id);
    CREATE INDEX items_hash ON items (hash);
    CREATE TABLE vectors (
        hash BLOB NOT NULL REFERENCES contents (hash),
        model TEXT NOT NULL,                        -- identity of the model
        vector BLOB NOT NULL,                       -- float16, little-endian, unit norm
        runtime TEXT NOT NULL,                      -- provenance: runtime and precision
        PRIMARY KEY (hash, model)
    );
    """,
    """
    CREATE TABLE facts (                            -- no row: not looked for yet; NULL: not in the file
        hash BLOB PRIMARY KEY REFERENCES contents (hash) ON DELETE CASCADE,
        taken TEXT,                                 -- YYYY-MM-DDTHH:MM:SS, by the clock of the camera
        latitude REAL,                              -- degrees, north positive
        longitude REAL,                             -- degrees, east positive
        camera TEXT                                 -- its maker and model
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE facts ADD COLUMN caption TEXT;      -- what the file itself says that it shows
    CREATE TABLE tags (
        hash BLOB NOT NULL REFERENCES contents (hash) ON DELETE CASCADE,
        key TEXT NOT NULL,                          -- the tag as it is looked for: store.tags.key_of
        tag TEXT NOT NULL,                          -- as it was written
        PRIMARY KEY (hash, key)
    ) WITHOUT ROWID;
    CREATE INDEX tags_key ON tags (key);
    CREATE VIRTUAL TABLE words USING fts5 (         -- rowid: of the item
        name, caption, tags, tokenize = 'unicode61 remove_diacritics 2'
    );
    CREATE VIEW words_of_items (id, hash, name, caption, tags) AS
        SELECT items.id, hash, CASE typeof(path) WHEN 'text' THEN path END, coalesce(text, facts.caption),
            (SELECT group_concat(tag, ' ') FROM (SELECT tag FROM tags WHERE hash = items.hash ORDER BY key))
        FROM items JOIN contents USING (hash) LEFT JOIN facts USING (hash);
    CREATE TRIGGER words_item_new AFTER INSERT ON items BEGIN
        INSERT INTO words (rowid, name, caption, tags)
            SELECT id, name, caption, tags FROM words_of_items WHERE id = new.id;
    END;
    CREATE TRIGGER words_item_changed AFTER UPDATE OF path, hash ON items BEGIN
        DELETE FROM words WHERE rowid = old.id;
        INSERT INTO words (rowid, name, caption, tags)
            SELECT id, name, caption, tags FROM words_of_items WHERE id = new.id;
    END;
    CREATE TRIGGER words_item_gone AFTER DELETE ON items BEGIN
        DELETE FROM words WHERE rowid = old.id;
    END;
    CREATE TRIGGER words_caption_new AFTER INSERT ON facts WHEN new.caption IS NOT NULL BEGIN
        UPDATE words SET caption = new.caption WHERE rowid IN (SELECT id FROM items WHERE hash = new.hash);
    END;
    CREATE TRIGGER words_caption_changed AFTER UPDATE OF caption ON facts BEGIN
        UPDATE words SET caption = new.caption WHERE rowid IN (SELECT id FROM items WHERE hash = new.hash);
    END;
    CREATE TRIGGER words_tag_new AFTER INSERT ON tags BEGIN
        UPDATE words SET tags = (SELECT tags FROM words_of_items WHERE id = words.rowid)
            WHERE rowid IN (SELECT id FROM items WHERE hash = new.hash);
    END;
    CREATE TRIGGER words_tag_gone AFTER DELETE ON tags BEGIN
        UPDATE words SET tags = (SELECT tags FROM words_of_items WHERE id = words.rowid)
            WHERE rowid IN (SELECT id FROM items WHERE hash = old.hash);
    END;
    INSERT INTO words (rowid, name, caption, tags) SELECT id, name, caption, tags FROM words_of_items;
    """,
    """
    ALTER TABLE tags ADD COLUMN source TEXT;        -- "concept:" and a key where a concept gave it, else NULL
    CREATE TABLE concepts (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,                   -- its name as it is looked for: store.tags.key_of
        name TEXT NOT NULL,
        kind TEXT NOT NULL,                         -- what it was taught on: image or text
        model TEXT NOT NULL,                        -- identity of the model whose vectors it is for
        weights BLOB NOT NULL,                      -- float32, little-endian
        bias REAL NOT NULL,
        threshold REAL NOT NULL,                    -- score in (0, 1) from which on an item fits
        presumed INTEGER NOT NULL,                  -- items taken at random that were presumed no
        missed INTEGER, missed_of INTEGER,          -- held-out yes that were missed; NULL: too few to say
        alarms INTEGER, alarms_of INTEGER,          -- held-out no that were taken for yes; likewise
        taught TEXT NOT NULL                        -- YYYY-MM-DDTHH:MM:SSZ
    );
    CREATE TABLE examples (
        concept INTEGER NOT NULL REFERENCES concepts (id) ON DELETE CASCADE,
        hash BLOB NOT NULL REFERENCES contents (hash) ON DELETE CASCADE,
        is_yes INTEGER NOT NULL,
        PRIMARY KEY (concept, hash)
    ) WITHOUT ROWID;
    CREATE INDEX examples_hash ON examples (hash);
    """,
)
VERSION = len(MIGRATIONS)


def open_database(folder: Path, *, create: bool) -> sqlite3.Connection:
    """Open a library's database, made or migrated first if need be.

    Without `create` nothing is written but what undoes a commit that a kill cut short, and a library on a
    read-only disk can be opened too. Warns NetworkLibraryWarning once for a library on a network disk.
    Raises LibraryNotFoundError, LibraryVersionError, LibraryDamagedError, LibraryReadOnlyError.
    """
    path = folder / DATABASE
    if not create and not os.path.isfile(path):
        raise _not_found(folder)
    with explained(folder), ExitStack() as undo:
        if create:
            folder.mkdir(parents=True, exist_ok=True)
        connection = undo.enter_context(closing(connect(path, "rwc") if create else connect_to_read(path)))
        if create:
            _migrate(connection, folder)
        else:
            _check_version(connection, folder)
        undo.pop_all()  # it stays open
    return connection


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn what SQLite and the system say about a library into errors with a remedy."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explain(error, folder) from error
    except OSError as error:
        if isinstance(error, PermissionError) or error.errno in _READ_ONLY:
            raise _read_only(folder, str(error.strerror)) from error
        if error.errno in _NO_SPACE:
            raise _full(folder) from error
        if error.errno in _NO_LOCKS:
            raise LibraryError(
                f"library {folder} lies on a file system that cannot lock files ({error.strerror})",
                "Mount it with locks, or name a folder on another disk with -L/--library",
            ) from error
        if isinstance(error, FileExistsError | NotADirectoryError):
            raise LibraryError(f"{folder} cannot be a library: it is no folder", "Name a folder") from error
        raise LibraryError(f"library {folder}: {error.strerror} ({error.filename})", _ELSEWHERE) from error


def _check_version(connection: sqlite3.Connection, folder: Path) -> int:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if is_empty(connection):
        raise _not_found(folder)
    if application != APPLICATION_ID:
        raise LibraryDamagedError(
            f"{folder / DATABASE} is a database of another program", "Choose another folder for the library"
        )
    if version > VERSION:
        raise LibraryVersionError(
            f"library {folder} has format {version}, this crosslens knows up to {VERSION}",
            "Upgrade crosslens: pip install -U crosslens",
        )
    return int(version)


def _migrate(connection: sqlite3.Connection, folder: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if is_empty(connection):
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            version = 0
        else:
            version = _check_version(connection, folder)
        for script in MIGRATIONS[version:]:
            for statement in _statements(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has rolled back already
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """Split a script without `executescript`, which would commit half-way."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


_ELSEWHERE = "Try again, and if it stays so, name another folder with -L/--library"
_READ_ONLY = (1, 13, 30)  # EPERM, EACCES, EROFS
_NO_SPACE = (27, 28, 122)  # EFBIG, ENOSPC, EDQUOT
_NO_LOCKS = (37, 38, 95)  # ENOLCK, ENOSYS, EOPNOTSUPP
# What SQLite says when a limit other than the disk's own stops it, or there is no room for its -shm file.
_WRITE_FAILED = (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE)


def _not_found(folder: Path) -> LibraryNotFoundError:
    return LibraryNotFoundError(
        f"there is no crosslens library in {folder}", f"Make one with: crosslens index -L {folder} PICTURES"
    )


def _read_only(folder: Path, detail: str) -> LibraryReadOnlyError:
    return LibraryReadOnlyError(
        f"library {folder} cannot be written ({detail})",
        "Make the folder writable, or name another with -L/--library; searching needs no writing",
    )


def _full(folder: Path) -> LibraryFullError:
    return LibraryFullError(
        f"library {folder} cannot grow: no space is left on its disk, or a quota is used up",
        "Free some and run the same command again: everything committed so far is kept",
    )


def _damaged(error: sqlite3.Error, folder: Path) -> LibraryDamagedError:
    if error.sqlite_errorcode == sqlite3.SQLITE_CORRUPT_VTAB:
        return LibraryDamagedError(
            f"library {folder}: its index of words is damaged",
            f"Nothing is lost, and this makes it anew: crosslens compact -L {folder}",
        )
    return LibraryDamagedError(
        f"library {folder}: {DATABASE} is damaged ({error})",
        "Restore it from a backup, or move the folder away and index again",
    )


def _explain(error: sqlite3.Error, folder: Path) -> LibraryError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_READONLY:
        return _read_only(folder, str(error))
    if code == sqlite3.SQLITE_FULL or getattr(error, "sqlite_errorcode", 0) in _WRITE_FAILED:
        return _full(folder)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return LibraryBusyError(f"library {folder} is in use by another process", "Try again shortly")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _damaged(error, folder)
    if code == sqlite3.SQLITE_CANTOPEN:
        return _read_only(folder, str(error))
    return LibraryError(f"library {folder}: the database reports: {error}", _ELSEWHERE)
