"""SQLite connections: for reading and for writing, on local disks and network file systems."""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack
from pathlib import Path

from crosslens.errors import LibraryBusyError, NetworkLibraryWarning, warn
from crosslens.store.network_filesystem import OVER_NETWORK, file_system_of

_BUSY_SECONDS = 10
# Over a network readers and the writer wait for each other.
_NETWORK_BUSY_SECONDS = 60


def file_state(path: Path) -> tuple[object, ...]:
    """What changes when a database is written by whomever."""
    states = []
    for suffix in ("", "-wal"):
        try:
            status = os.stat(f"{path}{suffix}")
            states.append((status.st_ino, status.st_size, status.st_mtime_ns))
        except OSError:
            states.append((0, 0, 0))
    return tuple(states)


class _Frozen(sqlite3.Connection):
    """A connection that may not notice a change. opened_at: the state of the file before it was opened."""

    opened_at: tuple[object, ...] = ()


def frozen_state(connection: sqlite3.Connection) -> tuple[object, ...] | None:
    """The state of the file as a connection knows it; None for one that notices what changes."""
    return connection.opened_at if isinstance(connection, _Frozen) else None


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open a database in a mode of SQLite's URIs: rwc to write, rw and ro to read.

    With rw, what a kill left half-done is undone whenever it is met; ro may not touch the file.
    Warns NetworkLibraryWarning.
    """
    network = file_system_of(path.parent).is_network
    state = file_state(path)
    # Where nothing can be written, the owner may change the journal's mode, and this connection not follow.
    frozen = mode != "rwc" and ("immutable" in mode or not os.access(path.parent, os.W_OK))
    with ExitStack() as undo:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=_NETWORK_BUSY_SECONDS if network else _BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            factory=_Frozen if frozen else sqlite3.Connection,
        )
        undo.callback(connection.close)
        if isinstance(connection, _Frozen):
            connection.opened_at = state
        connection.execute("PRAGMA foreign_keys = ON")
        if mode == "rwc":
            # FULL: a commit that returned survives a power cut.
            connection.execute("PRAGMA synchronous = FULL")
            if network:
                _leave_wal(connection, path.parent)
            else:
                connection.execute("PRAGMA journal_mode = WAL")
        else:
            connection.execute("PRAGMA query_only = ON")
        undo.pop_all()  # it stays open
    return connection


def _leave_wal(connection: sqlite3.Connection, folder: Path) -> None:
    """Let file locks alone keep writer and readers apart: they work over networks; shared memory does not."""
    # Exclusive while it changes: what is left in a WAL is then read without shared memory.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    connection.execute("PRAGMA journal_mode = TRUNCATE")
    connection.execute("PRAGMA locking_mode = NORMAL")
    if is_empty(connection) or mode == "wal":  # once, not with every run
        where = f"a network file system ({file_system_of(folder)})"
        warn(NetworkLibraryWarning(f"library {folder} lies on {where}: {OVER_NETWORK}"))


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open for queries. A WAL database on a read-only or full disk is immutable, which nobody may write."""
    if file_system_of(path.parent).is_network:
        return _connect_over_network(path)
    connection = connect(path, "ro")
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        connection.close()
        if error.sqlite_errorcode == sqlite3.SQLITE_READONLY_ROLLBACK:
            return connect(path, "rw")
        refused = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
        no_right = refused and not os.access(path.parent, os.W_OK)
        no_room = error.sqlite_errorcode == sqlite3.SQLITE_IOERR_SHMSIZE
        if not (no_right or no_room) or _is_unfinished(path):
            raise
        connection = connect(path, "ro&immutable=1")
    return connection


def _connect_over_network(path: Path) -> sqlite3.Connection:
    """Open for queries, by file locks; one that is in WAL mode all the same, only while nobody writes."""
    connection = connect(path, "rw&readonly_shm=1")  # the memory that a WAL shares is not to be touched
    try:
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    except sqlite3.Error as error:
        connection.close()
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CANTOPEN:
            raise
        mode = "wal"  # and nobody has made that memory
    if mode != "wal":
        return connection
    connection.close()
    if _is_unfinished(path):
        raise LibraryBusyError(
            f"library {path.parent} lies on a network file system ({file_system_of(path)}), and a process "
            "to which it is local writes to it, or was killed while it did",
            f"Wait until it has finished; if it was killed: crosslens compact -L {path.parent}",
        )
    return connect(path, "ro&immutable=1")


def _is_unfinished(path: Path) -> bool:
    """Whether commits, or what undoes one, lie in a file beside the database."""
    logs = [Path(f"{path}{suffix}") for suffix in ("-wal", "-journal")]
    return any(log.exists() and log.stat().st_size > 0 for log in logs)


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether nothing was ever committed: a first run was stopped before it made the tables."""
    return connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None
