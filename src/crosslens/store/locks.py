"""File locks: one writer and one migration to a library; released by the system if a process dies."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from crosslens.errors import LibraryBusyError
from crosslens.store.schema import explained


@contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Be the only process that writes. Raises LibraryBusyError (names its pid), LibraryReadOnlyError."""
    with _alone(folder, "writer", "written"):
        yield


@contextmanager
def migration_lock(folder: Path) -> Iterator[None]:
    """Be the only process that migrates, while others may write. Raises what `writer_lock` raises."""
    with _alone(folder, "migration", "migrated"):
        yield


@contextmanager
def _alone(folder: Path, name: str, done: str) -> Iterator[None]:
    # Beside the lock, not in it: whoever tries the lock may empty it.
    holder = folder / f"{name}.pid"
    import filelock  # here, because it is slow to import and a search needs none

    lock = filelock.FileLock(folder / f"{name}.lock")
    with explained(folder):
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise LibraryBusyError(
                f"library {folder} is being {done} by another process{_in_words(holder)}",
                "Wait until it has finished",
            ) from error
    try:
        with suppress(OSError):  # of a process that was killed
            holder.unlink()
        with suppress(OSError):  # a full disk, say; whoever is refused then learns no number
            holder.write_text(f"{os.getpid()} {platform.node()}\n")
        yield
    finally:
        with suppress(OSError):
            holder.unlink()
        lock.release()


def _in_words(holder: Path) -> str:
    """The process that holds the lock, in words, where it is known."""
    try:
        number, _, host = holder.read_text().strip().partition(" ")
    except (OSError, ValueError):
        return ""
    if not number.isdecimal():
        return ""
    return f" (pid {number})" if host in ("", platform.node()) else f" (pid {number} on {host})"
