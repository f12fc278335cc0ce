"""The database: its tables, how it is opened, and what its errors mean.

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
    NetworkLibraryWarning,
    warn,
)
from crosslens.store.filesystem import OVER_NETWORK, file_system_of

DATABASE = "library.sqlite3"
APPLICATION_ID = 0x786C656E  # "xlen", so that `file` and other tools can tell what this is
_BUSY_SECONDS = 10
# Over a network readers and the writer wait for each other.
_NETWORK_BUSY_SECONDS = 60

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
)
VERSION = len(MIGRATIONS)


def open_database(folder: Path, *, create: bool) -> sqlite3.Connection:
    """Open a library's database, made or migrated first if need be.

    Without `create` nothing is written but what undoes a commit that a kill cut short, and a library on a
    read-only disk can be opened too. Warns NetworkLibraryWarning when it is made on, or moved to, a network disk.
    Raises LibraryNotFoundError, LibraryVersionError, LibraryDamagedError, LibraryReadOnlyError.
    """
    path = folder / DATABASE
    if not create and not os.path.isfile(path):
        raise _not_found(folder)
    with explained(folder), ExitStack() as undo:
        if create:
            folder.mkdir(parents=True, exist_ok=True)
        connection = undo.enter_context(closing(_connect(path, "rwc") if create else _open_for_reading(path)))
        if create:
            _migrate(connection, folder)
        else:
            _check_version(connection, folder)
        undo.pop_all()  # it stays open
    return connection


def file_state(folder: Path) -> tuple[object, ...]:
    """What changes when a library's database is written by whomever."""
    states = []
    for suffix in ("", "-wal"):
        try:
            status = os.stat(folder / (DATABASE + suffix))
            states.append((status.st_ino, status.st_size, status.st_mtime_ns))
        except OSError:
            states.append((0, 0, 0))
    return tuple(states)


class _Immutable(sqlite3.Connection):
    """A connection without locks, which would not notice a change. opened_at: the file's state before it."""

    opened_at: tuple[object, ...] = ()


def frozen_state(connection: sqlite3.Connection) -> tuple[object, ...] | None:
    """The state of the file that an immutable connection reads; None for one that notices what changes."""
    return connection.opened_at if isinstance(connection, _Immutable) else None


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
        if isinstance(error, FileExistsError | NotADirectoryError):
            raise LibraryError(f"{folder} cannot be a library: it is no folder", "Name a folder") from error
        raise LibraryError(f"library {folder}: {error.strerror} ({error.filename})", _ELSEWHERE) from error


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    network = file_system_of(path.parent).is_network
    state = file_state(path.parent)
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=_NETWORK_BUSY_SECONDS if network else _BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        factory=_Immutable if "immutable" in mode else sqlite3.Connection,
    )
    if isinstance(connection, _Immutable):
        connection.opened_at = state
    connection.execute("PRAGMA foreign_keys = ON")
    if mode == "rwc":
        # FULL: a commit that returned survives a power cut.
        connection.execute("PRAGMA synchronous = FULL")
        if network:
            _leave_wal(connection, path.parent)
        else:
            connection.execute("PRAGMA journal_mode = WAL")
    elif mode.startswith("rw"):
        connection.execute("PRAGMA query_only = ON")
    return connection


def _leave_wal(connection: sqlite3.Connection, folder: Path) -> None:
    """Let file locks alone keep writer and readers apart: they work over a network, shared memory does not."""
    # Exclusive while it changes: what is left in a WAL is then read without shared memory.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    connection.execute("PRAGMA journal_mode = TRUNCATE")
    connection.execute("PRAGMA locking_mode = NORMAL")
    if _is_empty(connection) or mode == "wal":  # once, not with every run
        where = f"a network file system ({file_system_of(folder)})"
        warn(NetworkLibraryWarning(f"library {folder} lies on {where}: {OVER_NETWORK}"))


def _open_for_reading(path: Path) -> sqlite3.Connection:
    """Open read-only. A WAL database on a read-only disk needs `immutable`, right while nobody writes."""
    if file_system_of(path.parent).is_network:
        return _open_over_network(path)
    connection = _connect(path, "ro")
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode == sqlite3.SQLITE_READONLY_ROLLBACK:  # a kill cut a commit short: undo it
            return _connect(path, "rw")
        if os.access(path.parent, os.W_OK) or _is_unfinished(path):
            raise
        if "unable to open" not in str(error) and "readonly" not in str(error):
            raise
        connection = _connect(path, "ro&immutable=1")
    return connection


def _open_over_network(path: Path) -> sqlite3.Connection:
    """Open for queries by file locks; a WAL database, whose shared memory is not touched, while nobody writes."""
    connection = _connect(path, "rw&readonly_shm=1")  # a writer may be killed while it is open
    try:
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CANTOPEN:
            raise
        mode = "wal"  # whose shared memory is not there
    if mode != "wal":
        return connection
    connection.close()
    if _is_unfinished(path):
        raise LibraryBusyError(
            f"library {path.parent} lies on a network file system ({file_system_of(path)}), and a process "
            "that took it for a local one writes to it, or was killed while it did",
            f"Wait until it has finished; if it was killed: crosslens compact -L {path.parent}",
        )
    return _connect(path, "ro&immutable=1")


def _is_unfinished(path: Path) -> bool:
    """Whether commits, or what undoes one, lie in a file beside the database."""
    logs = [Path(f"{path}{suffix}") for suffix in ("-wal", "-journal")]
    return any(log.exists() and log.stat().st_size > 0 for log in logs)


def _is_empty(connection: sqlite3.Connection) -> bool:
    """Whether nothing was ever committed: a first run was stopped before it made the tables."""
    return connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None


def _check_version(connection: sqlite3.Connection, folder: Path) -> int:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if _is_empty(connection):
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
        if _is_empty(connection):
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


def _explain(error: sqlite3.Error, folder: Path) -> LibraryError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_READONLY:
        return _read_only(folder, str(error))
    if code == sqlite3.SQLITE_FULL or getattr(error, "sqlite_errorcode", 0) in _WRITE_FAILED:
        return _full(folder)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return LibraryBusyError(f"library {folder} is being written by another process", "Try again shortly")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return LibraryDamagedError(
            f"library {folder}: {DATABASE} is damaged ({error})",
            "Restore it from a backup, or move the folder away and index again",
        )
    if code == sqlite3.SQLITE_CANTOPEN:
        return _read_only(folder, str(error))
    return LibraryError(f"library {folder}: the database reports: {error}", _ELSEWHERE)
