"""One writer to a library: a lock that the system releases when its holder ends, however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crosslens.errors import LibraryBusyError
from crosslens.store.schema import explained

_LOCK = "writer.lock"


@contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Be the only process that writes. Raises LibraryBusyError, LibraryReadOnlyError."""
    import filelock  # here, because it is slow to import and a search needs none

    lock = filelock.FileLock(folder / _LOCK)
    with explained(folder):
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise LibraryBusyError(
                f"library {folder} is being indexed by another process", "Wait until it has finished"
            ) from error
    try:
        yield
    finally:
        lock.release()
