"""An indexing run: walks folders, encodes what is new, and updates the database.

    walk ── scan ── pending files ── read + hash ── new content? ── decode … encode ── record, batch by batch

Names and times are compared first, so only new and changed files are opened; content hashes second, so
only content never seen is decoded and encoded. A batch is committed as soon as it is encoded.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from crosslens.encode import Encoded, Job, ordered_map
from crosslens.errors import ImageError, ImageNotFoundError, InputError, UnreadableImageError
from crosslens.images.decode import read_bytes
from crosslens.images.exif import facts_of
from crosslens.images.folder_walk import has_image_name, walk
from crosslens.images.path_selection import Changes
from crosslens.images.preprocess import preprocess
from crosslens.library.index_counts import Tally
from crosslens.library.text_indexing import index_table
from crosslens.matching.matcher import Matcher
from crosslens.store.database import Catalog
from crosslens.store.disk_scan import Scan
from crosslens.store.path_encoding import is_below
from crosslens.store.records import Entry, Root
from crosslens.texts.tabular_files import TABLE_SUFFIXES, column, read_table
from crosslens.towers.openvino_runtime import available_cores
from crosslens.types import Facts, Failure, IndexReport, Item, Progress, UInt8

OnProgress = Callable[[Progress], None]

_COMMIT_EVERY = 64
_PROGRESS_SECONDS = 0.1


@dataclass(slots=True)
class _File:
    """A pending file on its way through the run."""

    item: Item
    root_id: int
    data: bytes = b""
    hash: bytes = b""
    error: ImageError | None = None
    width: int = 0
    height: int = 0
    facts: Facts | None = None


class IndexRun:
    """Brings a library up to date with some roots. Interrupted at any moment it loses the batch in flight."""

    def __init__(self, catalog: Catalog, matcher: Matcher, on_progress: OnProgress | None = None) -> None:
        self._catalog = catalog
        self._matcher = matcher
        self._on_progress = on_progress
        self._model = matcher.spec.identity
        self._tally = Tally()
        self._started = time.monotonic()
        self._last_progress = 0.0
        # Content on its way to the database, and content that turned out to be no picture.
        self._in_flight: set[bytes] = set()
        self._unreadable: dict[bytes, str] = {}

    def run(
        self,
        paths: Sequence[str],
        text_column: str | None = None,
        changes: Changes = Changes(),  # noqa: B008
    ) -> IndexReport:
        """Index these files and folders and the roots below them; with none, all roots that are known.

        changes: with its paths, only those are looked at, wherever they lie.
        """
        roots = self._roots(paths, text_column)
        parts = changes.by_root([root.path for root in roots if not root.is_file])
        if changes.paths is not None:
            roots = [root for root in roots if root.path in parts]
        skip = frozenset(root.path for root in self._catalog.roots())
        present = [root for root in roots if self._is_there(root)]
        self._scan = Scan(self._catalog)
        self._unfinished = frozenset(changes.unfinished)
        for path in self._unfinished:
            self._scan.keep(path)
        tables = [root for root in present if root.text_column and os.path.isfile(root.path)]
        for root in (root for root in present if root not in tables):
            part = parts.get(root.path)
            self._scan.add(root, self._walk(root, skip - {root.path}, part), part)
        self._tally.pending, self._tally.unchanged = self._scan.counts()
        self._report(force=True)
        try:
            self._encode_pending()
            for table in tables:
                index_table(self._catalog, self._matcher, table, self._tally, self._report)
            self._remove_missing(present)
        finally:
            self._report(force=True)  # what was committed, also when interrupted
        return self.report()

    def _encode_pending(self) -> None:
        batch: list[Encoded[_File]] = []
        for result in self._matcher.encode(self._jobs()):
            batch.append(result)
            if len(batch) >= _COMMIT_EVERY:
                self._commit(batch)
                batch = []
        self._commit(batch)

    def report(self) -> IndexReport:
        """What was done so far."""
        tally = self._tally
        return IndexReport(
            added=tally.added,
            changed=tally.changed,
            moved=tally.moved,
            removed=tally.removed,
            unchanged=tally.unchanged,
            offline=self._catalog.count_offline(),
            encoded=tally.encoded,
            ignored=tally.ignored,
            seconds=time.monotonic() - self._started,
            failures=tuple(tally.failures),
        )

    # -- which roots ------------------------------------------------------------------------------

    def _roots(self, paths: Sequence[str], text_column: str | None) -> list[Root]:
        known = {root.path: root for root in self._catalog.roots()}
        if not paths:
            return list(known.values())
        chosen: dict[str, Root] = {}
        folders = [os.path.abspath(path) for path in paths if os.path.isdir(path)]
        for path in paths:
            absolute = os.path.abspath(path)
            is_table = Path(absolute).suffix.lower() in TABLE_SUFFIXES
            if os.path.isfile(absolute) and has_image_name(absolute):
                # A picture in a folder that is indexed belongs to it; the folder is brought up to date.
                above = [folder for folder in {*known, *folders} if is_below(absolute, folder)]
                absolute = max(above, key=len, default=absolute)
            if absolute not in known:
                texts_in = text_column if is_table else None
                known[absolute] = self._catalog.add_root(absolute, mount_of(absolute), texts_in)
            elif is_table and text_column and text_column != known[absolute].text_column:
                known[absolute] = self._catalog.set_text_column(known[absolute], text_column)
            chosen[absolute] = known[absolute]
            chosen |= {p: root for p, root in known.items() if is_below(p, absolute)}
        return list(chosen.values())

    def _is_there(self, root: Root) -> bool:
        """Whether a root can be compared with the disk; one that cannot goes offline and keeps its items.

        A missing folder is offline: its disk may be unplugged. So is an empty one that had pictures, unless
        the file system it was on is still mounted. A missing file was deleted if its folder is there.
        """
        if root.is_file:
            deleted = not os.path.lexists(root.path) and os.path.isdir(os.path.dirname(root.path))
            there = os.path.isfile(root.path) or deleted
        else:
            there = os.path.isdir(root.path) and (
                not self._is_empty(root) or os.path.ismount(root.mount) or not self._catalog.count_in(root)
            )
        mount = mount_of(root.path) if there else root.mount
        if (there, mount) != (root.online, root.mount):
            self._catalog.update_root(root, online=there, mount=mount)
        return there

    @staticmethod
    def _is_empty(root: Root) -> bool:
        try:
            with os.scandir(root.path) as entries:
                return not any(entries)
        except OSError:  # not to be read is not empty; walking it will say why
            return False

    def _walk(self, root: Root, skip: frozenset[str], only: Sequence[str] | None) -> Iterator[Item]:
        if not os.path.lexists(root.path):
            return iter(())
        skip |= self._unfinished
        found = walk(root.path, skip=skip, on_error=self._cannot_look, on_ignored=self._ignore, only=only)
        return (item for item in found if item.path not in self._unfinished)

    # -- from files to results --------------------------------------------------------------------

    def _jobs(self) -> Iterator[Job[_File]]:
        """Every pending file, in order; those of known content with nothing to encode."""
        cores = available_cores()
        with ThreadPoolExecutor(cores, thread_name_prefix="crosslens-read") as pool:
            for file in ordered_map(pool, self._read, self._scan.pending(), window=2 * cores):
                if self._is_known(file):
                    # Content that was encoded before there were facts gets them now.
                    file.facts = facts_of(file.data) if file.data else None
                    file.data = b""
                    yield Job(file, None)
                else:
                    self._in_flight.add(file.hash)
                    yield Job(file, partial(self._load, file))

    def _is_known(self, file: _File) -> bool:
        """Whether there is nothing to encode: it cannot be read, or its content is known or on its way."""
        seen = file.hash in self._in_flight or file.hash in self._unreadable
        return bool(file.error) or seen or self._catalog.has_vector(file.hash, self._model)

    def _read(self, pending: tuple[Item, int]) -> _File:
        file = _File(*pending)
        try:
            file.data = read_bytes(file.item.path, self._matcher.limits)
            file.hash = hashlib.sha256(file.data).digest()
        except ImageError as error:
            file.error = error
        return file

    def _load(self, file: _File) -> UInt8:
        spec = self._matcher.spec.image
        data, file.data = file.data, b""
        decoded = self._matcher.decode(data, file.item.path)
        file.width, file.height = decoded.width, decoded.height
        file.facts = facts_of(data)
        return preprocess(decoded.image, spec)

    def _commit(self, batch: Sequence[Encoded[_File]]) -> None:
        """Write a batch, then count it: what the report says is on the disk."""
        entries: list[Entry] = []
        moves: dict[int, tuple[Item, int]] = {}
        failures: list[Failure] = []
        known = self._catalog.hashes_of([result.key.item.path for result in batch])
        for result in batch:
            file, path = result.key, result.key.item.path
            if error := file.error or result.error:
                reason = error.reason if isinstance(error, ImageError) else error.problem
                failures.append(Failure(path, reason))
                self._unreadable |= {file.hash: failures[-1].reason} if file.hash else {}
                continue
            if file.hash in self._unreadable:
                failures.append(Failure(path, self._unreadable[file.hash]))
                continue
            old = None if path in known else self._scan.missing_with(file.hash, besides=list(moves))
            if old is None:
                size = (file.width, file.height)
                entries.append(
                    Entry(file.item, file.root_id, file.hash, *size, result.vector, facts=file.facts)
                )
            else:
                moves[old] = (file.item, file.root_id)
        if entries or moves:
            changes = [(number, item, root_id) for number, (item, root_id) in moves.items()]
            self._catalog.record(entries, changes, self._model, self._matcher.provenance)
        self._in_flight -= {result.key.hash for result in batch}
        before = [known.get(entry.item.path) for entry in entries]
        touched = sum(hash_ == entry.hash for hash_, entry in zip(before, entries, strict=True))
        self._tally.added += before.count(None)
        self._tally.unchanged += touched  # another time, the same content
        self._tally.changed += len(entries) - before.count(None) - touched
        self._tally.moved += len(moves)
        self._tally.encoded += sum(result.vector is not None for result in batch)
        self._tally.failures += failures
        self._tally.done += len(batch)
        self._report()

    def _remove_missing(self, present: Sequence[Root]) -> None:
        missing = self._scan.missing()
        if missing:
            self._catalog.remove(missing)
            self._tally.removed += len(missing)
        for root in present:
            if root.is_file and not self._catalog.count_in(root):  # deleted, or never readable
                self._catalog.remove_root(root)

    # -- saying so --------------------------------------------------------------------------------

    def _cannot_look(self, path: str, reason: str) -> None:
        """What cannot be looked at may still be there: it is a failure, and no deletion."""
        self._scan.keep(path)
        self._tally.failures.append(Failure(path, reason))

    def _ignore(self, _path: str, _reason: str) -> None:
        self._tally.ignored += 1

    def _report(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if self._on_progress and (force or now - self._last_progress >= _PROGRESS_SECONDS):
            self._last_progress = now
            tally = self._tally
            self._on_progress(Progress(tally.done, tally.pending, len(tally.failures), tally.encoded))


def check_sources(paths: Sequence[str], known: Set[str], text_column: str | None) -> None:
    """Refuse what is neither on the disk nor known; a known folder may be missing (an unplugged disk).

    Raises ImageNotFoundError, UnreadableImageError, InputError for a new table without its column.
    """
    if text_column is not None and not any(Path(path).suffix.lower() in TABLE_SUFFIXES for path in paths):
        raise InputError(
            f"there is no table for column {text_column!r}", f"Name one: {', '.join(TABLE_SUFFIXES)}"
        )
    for path in paths:
        if not path or (not os.path.lexists(path) and os.path.abspath(path) not in known):
            raise ImageNotFoundError(path or "''", "there is no such file or folder", "Check the spelling")
        is_table = Path(path).suffix.lower() in TABLE_SUFFIXES and not os.path.isdir(path)
        if is_table and text_column is None and os.path.abspath(path) not in known:
            raise InputError(f"{path} is a table", "Say which column holds its texts: --text-column NAME")
        if is_table and text_column is not None and os.path.isfile(path):
            next(column(read_table(path), text_column, path), None)
        if os.path.exists(path) and not os.path.isdir(path) and not os.path.isfile(path):
            raise UnreadableImageError(path, "this is no regular file", "Name pictures or folders")


def mount_of(path: str) -> str:
    """The place where the file system that holds a path is mounted."""
    path = os.path.realpath(path)
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path
