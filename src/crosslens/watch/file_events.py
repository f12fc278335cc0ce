"""File system events: changed paths from the kernel (inotify and others), or by polling."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from crosslens.errors import MissingExtraError

if TYPE_CHECKING:
    from watchfiles.main import FileChange

# Milliseconds between two looks at what has come in; each costs some microseconds.
_STEP = 100
# Seconds between two polls where nothing else was asked for.
POLL_SECONDS = 30.0


class StopEvent(Protocol):
    """What says that it is time to end: a `threading.Event`, or anything like it."""

    def is_set(self) -> bool:
        """Whether it is."""
        ...


class EventsLostError(Exception):
    """Some changes were not told; which ones is not known. Look at everything."""


@dataclass(frozen=True, slots=True)
class Change:
    """A path that was added, changed or removed. touched: it was there before, and is there still."""

    path: str
    touched: bool


class Events:
    """Changes at and below folders, linked ones too. Close it, or use it as a context manager."""

    def __init__(self, folders: Sequence[str], stop: StopEvent, poll: float | None = None) -> None:
        """Return when all folders are watched.

        poll: seconds between two looks at all names below the folders; None: the kernel tells.
        Raises OSError where the kernel does not watch so many, where names below are no UTF-8, and where a
        folder is gone; MissingExtraError.
        """
        try:
            from watchfiles import watch
        except ImportError as error:
            raise MissingExtraError("watchfiles", "watch") from error
        self._source: Generator[set[FileChange], None, None] = watch(
            *folders,
            watch_filter=None,
            debounce=10 * _STEP,
            step=_STEP,
            rust_timeout=2 * _STEP,
            yield_on_timeout=True,
            stop_event=stop,
            force_polling=poll is not None,
            poll_delay_ms=round(1000 * (poll or POLL_SECONDS)),
            ignore_permission_denied=True,
        )
        try:
            self._first = next(self._source, None)
        except RuntimeError as error:  # watchfiles' own is one, here and below
            raise OSError(str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Watch no longer."""
        self._source.close()

    def read(self) -> list[Change] | None:
        """What changed since the last call, after a fraction of a second; None when it is time to end.

        Raises EventsLostError; KeyboardInterrupt after a signal, whatever its handler raises.
        """
        changes, self._first = self._first, None
        try:
            changes = changes or next(self._source, None)
        except RuntimeError as error:  # of a name that is no UTF-8
            raise EventsLostError from error
        return None if changes is None else [Change(path, kind.name == "modified") for kind, path in changes]
