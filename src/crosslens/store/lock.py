"""One writer to a library: a lock that the system releases when its holder ends, however it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from crosslens.errors import LibraryBusyError
from crosslens.store.schema import explained

_LOCK = "writer.lock"
# Beside the lock, not in it: whoever tries the lock may empty it.
_HOLDER = "writer.pid"


@contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Be the only process that writes. Raises LibraryBusyError (names its pid), LibraryReadOnlyError."""
    import filelock  # here, because it is slow to import and a search needs none

    lock = filelock.FileLock(folder / _LOCK)
    with explained(folder):
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise LibraryBusyError(
                f"library {folder} is being written by another process{_holder(folder)}",
                "Wait until it has finished",
            ) from error
    try:
        with suppress(OSError):  # a full disk, say; whoever is refused then learns no number
            (folder / _HOLDER).write_text(f"{os.getpid()}\n")
        yield
    finally:
        with suppress(OSError):
            (folder / _HOLDER).unlink()
        lock.release()


def _holder(folder: Path) -> str:
    """The process that holds the lock, in words, where it is known."""
    try:
        number = (folder / _HOLDER).read_text().strip()
    except (OSError, ValueError):
        return ""
    return f" (pid {number})" if number.isdecimal() else ""
