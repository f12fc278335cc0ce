"""`crosslens watch`: keeps a library up to date with folders while others search it.

    changes ── gathered until they rest ── only these paths are looked at ── what came of it

Everything is looked at when it starts, when a root comes or goes, when more changes at once than the kernel
can be trusted to have told, when a path has several names, and once in a while. Folders are watched before
they are looked through, so nothing falls between the two.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from crosslens.arguments import several_paths
from crosslens.errors import InputError, LibraryBusyError, LibraryFullError, LibraryNotFoundError
from crosslens.images.folder_walk import IGNORE_FILE, has_image_name
from crosslens.images.path_selection import Changes, folders_above, outermost
from crosslens.library.indexing import OnProgress
from crosslens.library.library import Library
from crosslens.store.network_filesystem import file_system_of
from crosslens.store.path_encoding import is_below
from crosslens.types import IndexReport, Progress
from crosslens.watch.file_events import POLL_SECONDS, Change, Events, EventsLostError, StopEvent
from crosslens.watch.retry_queue import Doubts, Pending, has_links, state_of

# More paths at once than this: some may be missing among them, and looking at everything costs no more.
_MANY = 2000
_SECONDS_AFTER_MANY = 60.0
# Preparing searches takes at most one part in so many of the time.
_PREPARING = 20
# So many losses in a minute: the kernel's way of telling does not work here.
_MOST_LOSSES = 3

OnNotice = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Pace:
    """How watching keeps time; all in seconds.

    quiet: a path is looked at when nothing happened to it for so long; longest: others wait so long for one
    that does not rest. check: between looks at whether the roots are there. retry: a file that cannot be read
    is tried again after so long, before it is reported. calm: after the last change, before searches are
    prepared. whole: between looks at everything. poll: between looks at all names, where the kernel cannot
    tell what changes (network disks); None: it tells.
    """

    quiet: float = 1.5
    longest: float = 10.0
    check: float = 3.0
    retry: float = 10.0
    calm: float = 5.0
    whole: float = 3600.0
    poll: float | None = None

    def __post_init__(self) -> None:
        """Raises InputError."""
        if self.poll is not None and not self.poll >= 0.01:
            raise InputError(f"polling every {self.poll} seconds is asked for", "Wanted more than 0")


@dataclass(frozen=True, slots=True)
class Batch:
    """What was done at a time. whole: everything was looked at; else `report.unchanged` is of what was.

    The report's failures are those that were not reported before.
    """

    at: datetime
    whole: bool
    report: IndexReport


def watch(
    library: Library,
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    *,
    pace: Pace = Pace(),
    stop: StopEvent | None = None,
    on_progress: OnProgress | None = None,
    on_notice: OnNotice | None = None,
) -> Generator[Batch]:
    """Keep a library up to date with folders, until `stop` is set; yields a Batch whenever something changed.

    The first one comes always, after everything was looked at, as `index` does. sources: folders, which are
    indexed if they were not yet; none: all that the library knows, also those that it learns of meanwhile.
    library: one that no other thread uses. It is locked only while it is written; while another process
    writes, or the disk is full, this waits. on_notice: is told of that, and of what cannot be watched.
    Raises what `Library.index` raises, InputError for a file that was not indexed, MissingExtraError.
    """
    paths = [os.path.abspath(path) for path in several_paths("a source", sources)]
    watcher = _Watch(library, paths, pace, stop or threading.Event())
    watcher.on_progress, watcher.on_notice = on_progress, on_notice
    return watcher.run()


class _Stopped(Exception):  # noqa: N818 (it is none)
    """It is time to end."""


class _Watch:
    """One call of `watch`."""

    on_progress: OnProgress | None = None
    on_notice: OnNotice | None = None

    def __init__(self, library: Library, sources: list[str], pace: Pace, stop: StopEvent) -> None:
        self._library = library
        self._sources = sources
        self._pace = pace
        self._poll = pace.poll
        self._stop = stop
        self._pending = Pending(pace.quiet, pace.longest)
        self._doubts = Doubts(pace.retry)
        self._began = False
        # Of every root, what tells whether it is there and the same; folders with links below them.
        self._roots: dict[str, tuple[int, ...] | None] = {}
        self._linked: set[str] = set()
        self._offline = 0
        self._unprepared, self._prepare_at = True, 0.0
        self._check_at = self._whole_at = 0.0
        self._interval = pace.whole
        self._losses: list[float] = []
        self._told: set[str] = set()
        for path in sources:
            if os.path.isfile(path) and path not in self._known():
                raise InputError(f"{path} is a file, not a folder", f"Index it once: crosslens index {path}")

    def run(self) -> Generator[Batch]:
        """See `watch`."""
        try:
            while not self._stop.is_set():
                with self._opened() as events:
                    yield from self._look(Changes(unfinished=self._pending.unfinished()))
                    self._whole_at = time.monotonic() + self._interval
                    self._interval = self._pace.whole
                    yield from self._follow(events)
        except _Stopped:
            return

    # -- following --------------------------------------------------------------------------------

    def _opened(self) -> Events:
        """The events of all roots that are there; by polling where the kernel cannot tell."""
        while True:
            self._roots = self._states()
            folders = outermost(path for path in self._roots if os.path.isdir(path))
            self._linked = {folder for folder in folders if has_links(folder)}
            folders = [folder for folder in folders if self._can_be_named(folder)]
            try:
                events = Events(folders, self._stop, self._poll)
            except OSError as error:
                if not all(map(os.path.isdir, folders)):
                    continue  # gone between the two
                if self._poll is not None:
                    raise InputError(f"{', '.join(folders)} cannot be watched ({error})") from error
                self._poll_instead(f"the kernel does not tell what changes ({error}; sysctl fs.inotify)")
                continue
            for folder in folders if self._poll is None else ():
                if (place := file_system_of(Path(folder))).is_network:
                    self._notice(f"{folder} is on {place}: what others do there is seen with --poll SECONDS")
            return events

    def _can_be_named(self, folder: str) -> bool:
        """Whether watchfiles can be told of a folder; one that it cannot is looked through once a while."""
        if not any("\ud800" <= c <= "\udfff" for c in folder):
            return True
        self._interval = min(self._interval, _SECONDS_AFTER_MANY)
        self._notice(f"{folder} is no UTF-8: it is looked through every {self._interval:g} s")
        return False

    def _follow(self, events: Events) -> Iterator[Batch]:
        """Look at what changes, until everything is to be looked at."""
        while (changes := self._read(events)) is not None:
            now = time.monotonic()
            self._pending.add([change.path for change in changes if self._is_ours(change)], now)
            if now >= self._whole_at or self._have_roots_changed(now):
                return
            paths = [*self._pending.take(now), *self._doubts.due(now)]
            paths = [os.path.dirname(p) if os.path.basename(p) == IGNORE_FILE else p for p in paths]
            if len(paths) > _MANY:
                self._interval = min(_SECONDS_AFTER_MANY, self._interval)
            if len(paths) > _MANY or any(map(self._concerns_all, paths)):
                return
            if paths:
                yield from self._look(Changes(tuple(paths), self._pending.unfinished()))
            elif not self._pending:
                self._prepare(now)

    def _read(self, events: Events) -> list[Change] | None:
        """Changes; None when it is time to end, or to look at everything."""
        try:
            return events.read()
        except EventsLostError as error:
            now = time.monotonic()
            self._losses = [*(at for at in self._losses if now - at < 60), now]
            if len(self._losses) >= _MOST_LOSSES and self._poll is None:
                self._poll_instead(f"the kernel's messages cannot be read ({error.__cause__})")
            return None

    def _is_ours(self, change: Change) -> bool:
        """Whether a change can be one of the library's pictures, or of what decides which these are."""
        path = change.path
        own = str(self._library.folder)
        if path == own or is_below(path, own):
            return False
        if path in self._roots:
            return not (change.touched and self._poll)  # polling, a folder is touched by what comes into it
        root = next((folder for folder in folders_above(path) if folder in self._roots), None)
        if root is None:
            return any(is_below(root, path) for root in self._roots)
        *above, name = os.path.relpath(path, root).split(os.sep)
        if any(part.startswith(".") for part in above) or (name.startswith(".") and name != IGNORE_FILE):
            return False
        if os.path.isdir(path):
            return not (change.touched and self._poll)
        return has_image_name(path) or name == IGNORE_FILE or not os.path.lexists(path)

    def _concerns_all(self, path: str) -> bool:
        """Whether what happened to a path cannot be understood from the path alone."""
        if path in self._roots or any(is_below(root, path) for root in self._roots):
            return True
        if not self._linked.isdisjoint(folders_above(path)):
            return True
        return os.path.isdir(path) and (os.path.islink(path) or has_links(path))

    # -- looking ----------------------------------------------------------------------------------

    def _look(self, changes: Changes) -> Iterator[Batch]:
        """Bring the library up to date; yields what was done, if anything."""
        sources = self._sources if not self._began else [path for path in self._roots if self._sources]
        if self._sources and not sources:
            return  # all of them were removed from the library
        report = self._indexed(sources, changes)
        failures = self._doubts.news(report.failures, time.monotonic(), told_at_once=not self._began)
        done = report.added + report.changed + report.moved + report.removed
        self._unprepared |= done > 0
        if done or failures or report.offline != self._offline or not self._began:
            self._began, self._offline = True, report.offline
            whole = changes.paths is None
            yield Batch(datetime.now().astimezone(), whole, replace(report, failures=failures))

    def _indexed(self, sources: Sequence[str], changes: Changes) -> IndexReport:
        """What `Library.index` says, as soon as nobody else writes and there is room on the disk."""
        waiting = ""
        while True:
            try:
                return self._library.index(sources, self._progress, changes=changes)
            except (LibraryBusyError, LibraryFullError) as error:
                if waiting != error.problem:
                    self._notice(f"{error.problem}; waiting")
                waiting = error.problem
                self._pause(1.0 if isinstance(error, LibraryBusyError) else self._pace.retry)

    def _prepare(self, now: float) -> None:
        """Make what searches need when nothing has happened for a while, and not too often."""
        if self._unprepared and self._pending.since + self._pace.calm <= now >= self._prepare_at:
            self._library.prepare()
            self._unprepared = False
            self._prepare_at = now + _PREPARING * (time.monotonic() - now)

    def _progress(self, progress: Progress) -> None:
        if self._stop.is_set():
            raise _Stopped
        if self.on_progress:
            self.on_progress(progress)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._stop.is_set():
                raise _Stopped
            time.sleep(min(0.1, seconds))

    # -- roots ------------------------------------------------------------------------------------

    def _known(self) -> set[str]:
        """Paths of all roots of the library."""
        try:
            return {root.path for root in self._library.database.roots()}
        except LibraryNotFoundError:
            return set()

    def _states(self) -> dict[str, tuple[int, ...] | None]:
        """The roots that are watched: those that were asked for, and those of the library below them."""
        known, asked = self._known(), self._sources
        roots = {path for path in known if not asked or any(path == s or is_below(path, s) for s in asked)}
        return {path: state_of(path) for path in sorted(roots.union([] if self._began else asked))}

    def _have_roots_changed(self, now: float) -> bool:
        """Whether a root came, went, or is another now; one that is a file may rest first."""
        if now < self._check_at:
            return False
        self._check_at = now + self._pace.check
        states = self._states()
        if states == self._roots:
            return False
        files = [path for path in states if states[path] != self._roots.get(path) and os.path.isfile(path)]
        self._pending.add(files, now)
        self._roots |= {path: states[path] for path in files}
        return states != self._roots

    # -- saying so --------------------------------------------------------------------------------

    def _poll_instead(self, why: str) -> None:
        self._poll = POLL_SECONDS
        self._notice(f"{why}; looking at all names every {self._poll:g} s instead")

    def _notice(self, message: str) -> None:
        """Say something that has not been said."""
        if self.on_notice and message not in self._told:
            self.on_notice(message)
        self._told.add(message)
