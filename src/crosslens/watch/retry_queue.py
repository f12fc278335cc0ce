"""Queue of changed paths until they rest, and of unreadable files until they are tried again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from crosslens.types import Failure


class Pending:
    """Paths that changed, each kept until it rests.

    A path rests when for `quiet` seconds nothing was told of it and its size and time stay. What rests is
    given out when all of them do, or `longest` seconds after the first of them came: `since`.
    """

    def __init__(self, quiet: float, longest: float) -> None:
        self._quiet = quiet
        self._longest = longest
        self._last: dict[str, tuple[float, object]] = {}
        self.since = 0.0

    def __bool__(self) -> bool:
        return bool(self._last)

    def add(self, paths: Iterable[str], now: float) -> None:
        """Take note. now: of a clock in seconds, here and below."""
        for path in paths:
            self.since = self.since if self._last else now
            self._last[path] = (now, state_of(path))

    def take(self, now: float) -> list[str]:
        """Paths to look at now; they are no longer kept."""
        resting = []
        for path, (last, state) in list(self._last.items()):
            if now - last >= self._quiet:
                if state == (seen := state_of(path)):
                    resting.append(path)
                else:
                    self._last[path] = (now, seen)
        if len(resting) < len(self._last) and now - self.since < self._longest:
            return []
        for path in resting:
            del self._last[path]
        self.since = now if resting else self.since
        return resting

    def unfinished(self) -> tuple[str, ...]:
        """Paths that are still kept."""
        return tuple(self._last)


class Doubts:
    """Files that could not be read: each is tried again, and reported if it is still the same then."""

    def __init__(self, retry: float) -> None:
        self._retry = retry
        self._told: dict[str, tuple[str, object]] = {}
        self._doubted: dict[str, tuple[object, float]] = {}
        self._tried_again: dict[str, object] = {}

    def news(self, failures: Sequence[Failure], now: float, *, told_at_once: bool) -> tuple[Failure, ...]:
        """Those to report now: files that are as they were when they failed before, and what is no file.

        What is gone meanwhile is no news: that it is gone will be told.
        """
        news = []
        for failure in failures:
            path, state = failure.path, state_of(failure.path)
            is_row = os.path.isfile(path.rpartition("#")[0])
            if self._told.get(path) == (failure.reason, state) or not (is_row or os.path.lexists(path)):
                continue
            again = path in self._tried_again and self._tried_again[path] == state
            if told_at_once or again or not os.path.isfile(path):
                self._told[path] = (failure.reason, state)
                news.append(failure)
            elif self._doubted.get(path, (None, 0))[0] != state:
                self._doubted[path] = (state, now + self._retry)
        self._tried_again = {}
        return tuple(news)

    def due(self, now: float) -> list[str]:
        """Files to try again now."""
        self._tried_again = {path: state for path, (state, at) in self._doubted.items() if at <= now}
        for path in self._tried_again:
            del self._doubted[path]
        return list(self._tried_again)


def state_of(path: str) -> tuple[int, ...] | None:
    """What tells a file from itself after a change, a folder from another of its name; None: not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    if os.path.isdir(path):
        return status.st_dev, status.st_ino
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def has_links(folder: str) -> bool:
    """Whether there are links to folders in a folder, at any depth: what lies there has several paths."""
    folders = [folder]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                below = [entry for entry in entries if _is_folder(entry)]
        except OSError:
            continue
        if any(entry.is_symlink() for entry in below):
            return True
        folders += [entry.path for entry in below]
    return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
