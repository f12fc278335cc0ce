"""A library handle: opened once, searched by many threads, written by one at a time.

A search sees the library as it was at its beginning. When something was indexed since, the library is opened
anew, and where that takes long, searches go on meanwhile with what there was.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from crosslens.errors import LibraryNotFoundError
from crosslens.images.path_selection import Changes
from crosslens.library.indexing import IndexRun, mount_of
from crosslens.library.library import Library
from crosslens.library.search_view import View
from crosslens.library.stats import library_stats
from crosslens.matching.matcher import Compute, Matcher
from crosslens.serve.error_responses import Problem
from crosslens.serve.inference.engine import Engine
from crosslens.store.database import Catalog
from crosslens.store.migration_target import models_of
from crosslens.store.path_encoding import ADDED, below_root
from crosslens.store.records import ItemRow
from crosslens.types import LibraryStats

# The folder in a library that keeps what clients send.
FILES = "files"
# Times as long as it took to open that a library is searched as it was then.
_REST = 10
# Beyond this, nobody is kept waiting for it.
_LONG_SECONDS = 0.1
_STATS_SECONDS = 2.0
_MOST_REMEMBERED = 4

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Seen:
    """A view. stamp: of what it shows; until: when it is good enough; took: seconds that opening it took."""

    view: View
    stamp: tuple[str, int]
    until: float
    took: float


class Book:
    """One library of the service. Safe to call from several threads."""

    def __init__(self, name: str, folder: Path, engine: Engine) -> None:
        self.name = name
        self.folder = folder
        self.files = folder / FILES
        self._engine = engine
        self._library = self._opened(engine)
        self._aside = self._opened(engine)
        self._seen: _Seen | None = None
        self._stats: tuple[float, LibraryStats] | None = None
        self._remembered: dict[tuple[object, ...], tuple[tuple[str, int], object]] = {}
        self._slow = threading.Lock()
        # Held while a file of a client gets its name.
        self.placing = threading.Lock()
        self._opening = threading.Lock()
        # Held while a job takes or leaves the library's lock, and by what is quick to write.
        self._gate = threading.Lock()
        self._filling = False
        self._touched: set[str] = set()

    def close(self) -> None:
        """Close the database."""
        self._library.close()
        self._aside.close()

    @property
    def engine(self) -> Engine:
        """The service's own."""
        return self._engine

    @property
    def catalog(self) -> Catalog | None:
        """Its database; None while nothing was ever put into it."""
        if not self._library.is_open:
            with self._opening:
                self._library.find_database()
        return self._library.find_database() if self._library.is_open else None

    def existing(self) -> Catalog:
        """Its database. Raises LibraryNotFoundError."""
        self.catalog  # noqa: B018 (opens it)
        return self._library.database

    @property
    def aside(self) -> Library:
        """For what takes long, on a connection of its own: searches do not wait for it.

        Raises LibraryNotFoundError, Problem for a library of another model.
        """
        self.check_model()
        self.beside()
        return self._aside

    def beside(self) -> Catalog:
        """The database on that connection. Raises LibraryNotFoundError."""
        if not self._aside.is_open:
            with self._opening:
                self._aside.find_database()
        return self._aside.database

    def remembered(self, key: tuple[object, ...], make: Callable[[], T]) -> T:
        """What takes long to find out, found out once for each state of the library, one thing at a time."""
        with self._slow:
            stamp = self.existing().stamp()
            kept = self._remembered.get(key)
            if kept is None or kept[0] != stamp:
                self._remembered.pop(key, None)
                kept = self._remembered[key] = (stamp, make())
                while len(self._remembered) > _MOST_REMEMBERED:
                    del self._remembered[next(iter(self._remembered))]
            return cast(T, kept[1])

    # -- searching --------------------------------------------------------------------------------

    def view(self) -> View | None:
        """What a search works with; None where there is nothing to search yet.

        Raises Problem for a library of another model.
        """
        catalog = self.catalog
        if catalog is None:
            return None
        seen, stamp = self._seen, catalog.stamp(self._engine.spec.identity)
        if seen is None or (seen.stamp != stamp and seen.took < _LONG_SECONDS):
            return self.refresh()
        if seen.stamp != stamp and time.monotonic() > seen.until and not self._opening.locked():
            threading.Thread(target=self._reopen, name="crosslens-open", daemon=True).start()
        return seen.view

    def refresh(self) -> View | None:
        """`view` with all that was committed before the call."""
        catalog = self.catalog
        if catalog is None:
            return None
        with self._opening:
            stamp = catalog.stamp(self._engine.spec.identity)
            if self._seen is not None and self._seen.stamp == stamp:
                return self._seen.view
            began = time.monotonic()
            self.check_model()
            try:
                view = self._library.view()
            except LibraryNotFoundError:  # it has a database, and nothing in it
                return None
            view.matrix(view.resolve_kind(None))
            now, self._stats = time.monotonic(), None
            self._seen = _Seen(view, stamp, now + _REST * (now - began), now - began)
            return view

    def _reopen(self) -> None:
        """`refresh` behind the scenes. What cannot be opened is told to the next search."""
        try:
            self.refresh()
        except Exception:
            self._seen = None

    def check_model(self) -> None:
        """Raise Problem where it has another model than the service."""
        record = self._library.find_record()
        if record is not None and record.identity != self._engine.spec.identity:
            said = f"{self.name!r} has the model {record.name!r}, this service {self._engine.reference!r}"
            remedy = "The operator can serve it with its own model: crosslens serve --model"
            raise Problem(409, "other_model", "The vectors are of another model", said, remedy)

    # -- facts ------------------------------------------------------------------------------------

    def stats(self) -> LibraryStats | None:
        """Numbers about it, a moment old at most; None while it is empty."""
        kept, began = self._stats, time.monotonic()
        if kept is not None and began < kept[0]:
            return kept[1]
        record = None if self.catalog is None else models_of(self.beside()).serving
        if record is None:
            return None
        facts = None
        if record.identity == self._engine.spec.identity and (view := self.view()) is not None:
            kind = view.resolve_kind(None)
            facts = self._library.vectors.searching.facts(view.matrix(kind), record, kind)
        stats, now = library_stats(self.beside(), record, facts), time.monotonic()
        self._stats = (now + _REST * (now - began) + self._filling * _STATS_SECONDS, stats)
        return stats

    @property
    def is_writable(self) -> bool:
        """Whether something can be put into it."""
        folder = next(one for one in (self.folder, *self.folder.parents) if one.exists())
        return os.access(folder, os.W_OK)

    def row(self, number: int) -> ItemRow:
        """An item. Raises Problem."""
        catalog = self.catalog
        rows = [] if catalog is None else catalog.items([number])
        if not rows:
            raise self.lacks(number)
        return rows[0]

    def lacks(self, number: int) -> Problem:
        """That there is no such item, or no more."""
        said = f"there is no item {self.name}:{number}"
        return Problem(404, "item_not_found", "There is no such item", said)

    def name_of(self, path: str) -> str:
        """A path as clients may read it: below the folder that was indexed."""
        catalog = self.catalog
        roots = [] if catalog is None else [root.path for root in catalog.roots()]
        above = [root for root in roots if path == root or path.startswith(root.rstrip(os.sep) + os.sep)]
        return below_root(path, max(above, key=len)) if above else os.path.basename(path)

    def is_own(self, path: str) -> bool:
        """Whether a path is that of a file that clients sent."""
        return not path.startswith(ADDED) and os.path.dirname(path) == str(self.files)

    # -- writing ----------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[tuple[Catalog, Matcher]]:
        """The database, for what is quick to write, also while a job of this service fills the library.

        Raises what `Library.index` raises about the library; LibraryBusyError for another process alone.
        """
        library = self._opened(self._engine.plain)
        with self._gate, ExitStack() as stack:
            stack.callback(library.close)
            # While a job is at work the lock is this process's already.
            catalog = library.open_for_writing() if self._filling else stack.enter_context(library.writing())
            self._know_files(catalog)
            yield catalog, self._engine.plain

    def touched(self, path: str) -> None:
        """Inside `writing`: a client replaced or deleted its file, which a job may have read before."""
        if self._filling:
            self._touched.add(path)

    @contextmanager
    def filling(self) -> Iterator[tuple[Catalog, Matcher]]:
        """The database, for a job. Raises as `writing`."""
        library = self._opened(self._engine.plain)
        with ExitStack() as stack:
            stack.callback(library.close)
            with self._gate:
                catalog = stack.enter_context(library.writing())
                self._know_files(catalog)
                self._filling = True
            try:
                yield catalog, self._engine.plain
            finally:
                with self._gate:
                    self._filling = False
                    try:
                        self._look_again(catalog)
                    finally:
                        stack.close()

    def prepare(self) -> None:
        """Make what searches need after a job. Nothing where the library is still empty."""
        with closing(self._opened(self._engine.plain)) as library, suppress(LibraryNotFoundError):
            library.find_database()
            library.prepare()
        self.refresh()

    def _look_again(self, catalog: Catalog) -> None:
        """Have what clients touched while a job was at work be what it is now."""
        paths, self._touched = tuple(self._touched), set()
        if paths:
            IndexRun(catalog, self._engine.plain).run([str(self.files)], changes=Changes(paths))

    def _know_files(self, catalog: Catalog) -> None:
        """Note the folder of what clients send as one that is indexed: two runs at once might both do it."""
        path = str(self.files)
        there = self.files.is_dir() and any(name[0] != "." for name in os.listdir(path))
        if there and all(root.path != path for root in catalog.roots()):
            catalog.add_root(path, mount_of(path))

    def _opened(self, matcher: Matcher) -> Library:
        """A library object of its own; the database is opened when needed."""
        return Library(self.folder, matcher, Compute())
