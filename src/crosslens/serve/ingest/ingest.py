"""Ingestion of uploads: archives are unpacked, each content is kept once, and indexed."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from crosslens.errors import ImageError
from crosslens.images.decode import decode
from crosslens.images.folder_walk import has_image_name
from crosslens.images.path_selection import Changes
from crosslens.library.indexing import IndexRun
from crosslens.matching.matcher import Matcher
from crosslens.serve.config import ServeConfig
from crosslens.serve.error_responses import Problem, invalid, too_large
from crosslens.serve.ingest.archives import (
    NO_PICTURE,
    BrokenError,
    blocks_of,
    is_archive,
    open_archive,
    sorted_out,
)
from crosslens.serve.ingest.jobs import CancelledError, Job, Task, fill
from crosslens.serve.ingest.uploads import Arrived, Incoming, arrived_in, folder_in, let_go, safe_name
from crosslens.serve.libraries.library_handle import Book
from crosslens.store.database import Catalog
from crosslens.store.item_details import files_of, paths_with
from crosslens.store.schema import explained
from crosslens.types import Failure


@dataclass
class Intake:
    """What was accepted, as it is taken in.

    folder: where it lies. again: an earlier process may have begun with it. paths: of files put into the
    library, each with what its client called it.
    """

    book: Book
    folder: Path
    config: ServeConfig
    again: bool = False
    paths: dict[str, str] = field(default_factory=dict)
    _present: int = 0
    _contents: dict[str, str] = field(default_factory=dict)
    _placed: dict[str, str] = field(default_factory=dict)
    _numbers: dict[str, int] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        """As a job does it."""
        return Task(self.run, self.discard)

    def run(self, job: Job) -> None:
        """Take it in. Raises CancelledError, Problem, and what indexing raises."""
        source = folder_in(self.folder)
        if source is None:
            self._take_in(job)
            return
        try:
            # Looked at now: what was allowed, or where a link led, may have changed since.
            fill(job, self.book, [allowed_folder(source, self.config.folders)])
        except CancelledError:
            raise  # what is left is done after the next start, unless a user wanted it so
        except Exception:
            let_go(self.folder)
            raise
        let_go(self.folder)

    def _take_in(self, job: Job) -> None:
        arrived = arrived_in(self.folder) if self.folder.is_dir() else []
        if self.again and arrived:
            there = [path for path in unindexed(self.book) if os.path.isfile(path)]
            self._placed = {_sha256(Path(path)): path for path in there}
        for one in arrived:
            job.check()
            if is_archive(one.name):
                self._unpack(job, one)
            elif not has_image_name(one.name):
                job.fail(one.name, NO_PICTURE)
            elif (self.folder / one.file).exists():
                self._place(job, one.name, one)
            else:
                self._was_placed(one.name, one.sha256)
        if any(is_archive(one.name) for one in arrived):
            os.sync()  # what was unpacked must be on the disk before the archive goes
        let_go(self.folder)
        if self.paths:
            files = str(self.book.files)
            report = fill(job, self.book, [files], Changes(tuple(self.paths)), self.paths)
            throw_out(self.book, report.failures)
        job.report = (job.report or {}) | {"present": self._present}

    def discard(self) -> None:
        """A user cancelled it: nothing is kept but what was indexed."""
        let_go(self.folder)
        catalog = self.book.catalog
        known = catalog.ids_of(list(self.paths)) if catalog is not None else {}
        for path in self.paths:
            if path not in known:
                Path(path).unlink(missing_ok=True)

    def _unpack(self, job: Job, one: Arrived) -> None:
        try:
            archive = open_archive(self.folder / one.file)
        except FileNotFoundError:
            return
        except BrokenError as error:
            job.fail(one.name, f"the archive cannot be read ({error})")
            return
        with archive:
            for info, reason in sorted_out(archive, self.config.limits):
                job.check()
                name = f"{one.name}/{info.filename}"
                if reason or (reason := self._extract(job, archive, info, name)):
                    job.fail(name, reason)

    def _extract(self, job: Job, archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> str:
        """Put an entry into the library; returns why it cannot be, or "". Raises LibraryFullError."""
        draft, digest, size = self.folder / "entry", hashlib.sha256(), 0
        try:
            with explained(self.book.folder), draft.open("wb") as file:
                for block in blocks_of(archive, info):
                    digest.update(block)
                    size += file.write(block)
        except BrokenError as error:
            return f"it cannot be unpacked ({error})"
        one = Arrived(draft.name, safe_name(info.filename), size, digest.hexdigest())
        if not self._was_placed(name, one.sha256):
            self._place(job, name, one)
        return ""

    def _was_placed(self, name: str, sha256: str) -> bool:
        """Whether an earlier process gave this its place; it is indexed now."""
        path = self._placed.pop(sha256, None)
        if path is not None:
            self._contents[sha256] = path
            self.paths[path] = name
        return path is not None

    def _place(self, job: Job, name: str, one: Arrived) -> None:
        """Give a whole file its place, unless the library has its content among its own files."""
        file = self.folder / one.file
        with self.book.placing, explained(self.book.folder):
            same = self._same(one.sha256)
            if same is not None:
                file.unlink()
                self._present += 1
                job.same(name, self.book.name_of(same))
                return
            target = self._free_name(one.name, one.sha256)
            if target is None:
                target = self.book.files / one.name
                file.unlink()
            else:
                file.rename(target)
            self._contents[one.sha256] = str(target)
            self.paths[str(target)] = name

    def _same(self, sha256: str) -> str | None:
        """The path of the library's own file with this content, if there is one."""
        catalog = self.book.catalog
        known = [] if catalog is None else paths_with(catalog, bytes.fromhex(sha256))
        own = [path for path in known if self.book.is_own(path) and os.path.isfile(path)]
        return next(iter(own), None) or self._contents.get(sha256) or self._placed.get(sha256)

    def _free_name(self, name: str, sha256: str) -> Path | None:
        """A path that is free; None where this very content has the name, and was not indexed yet."""
        stem, ending = os.path.splitext(name)
        number = self._numbers.get(name, 1)
        path = self.book.files / name if number == 1 else self.book.files / f"{stem}-{number}{ending}"
        while os.path.lexists(path):
            if number == 1 and _sha256(path) == sha256:
                return None
            number += 1
            path = self.book.files / f"{stem}-{number}{ending}"
        self._numbers[name] = number
        return path


def allowed_folder(path: str, allowed: Sequence[Path]) -> str:
    """A folder below one of those allowed, with every link on the way resolved. Raises Problem."""
    real = os.path.realpath(os.path.expanduser(path)) if "\0" not in path else ""
    for folder in allowed:
        above = os.path.realpath(folder)
        if real == above or real.startswith(above.rstrip(os.sep) + os.sep):
            if not os.path.isdir(real):
                raise invalid("there is no such folder", "Name a folder of pictures")
            return real
    remedy = "The operator can allow it: crosslens serve --folder DIR"
    raise Problem(403, "folder_not_allowed", "The folder is not among those allowed", "", remedy)


def put(book: Book, incoming: Incoming, name: str) -> tuple[int, bool]:
    """Let a picture that has come be the file of this name; returns its item, and whether the name is new.

    Raises Problem, ImageError for what is no picture, and what indexing raises; then all is as it was.
    """
    [one] = incoming.arrived
    new, old, target = incoming.folder / one.file, incoming.folder / "old", book.files / name
    if one.size > book.engine.limits.max_bytes:
        raise too_large(f"{name} has more than {book.engine.limits.max_bytes:,} bytes")
    book.engine.plain.prepare(new.read_bytes(), name)
    path = str(target)
    with book.writing() as (catalog, matcher):
        known = catalog.ids_of([path])
        with book.placing, explained(book.folder):
            same = target.is_file() and _sha256(target) == one.sha256
            if target.is_file():
                shutil.copy2(target, old)
            if not same:
                new.replace(target)
        try:
            _index(book, catalog, matcher, path)
        except BaseException:
            old.replace(target) if old.exists() else target.unlink(missing_ok=True)
            raise
        book.touched(path)
        number = catalog.ids_of([path])[path]
    book.refresh()
    return number, not known


def _index(book: Book, catalog: Catalog, matcher: Matcher, path: str) -> None:
    report = IndexRun(catalog, matcher).run([str(book.files)], changes=Changes((path,)))
    if report.failures:
        reason = report.failures[0].reason
        said = f"{os.path.basename(path)}: {reason}"
        raise Problem(422, "image_unreadable", "A picture cannot be read", said)


def throw_out(book: Book, failures: Sequence[Failure]) -> None:
    """Delete clients' files that are no pictures; what could not be indexed for another reason stays."""
    for path in (Path(failure.path) for failure in failures if book.is_own(failure.path)):
        with book.placing, suppress(OSError):  # gone, or not to be read now
            data = path.read_bytes()
            try:
                decode(data, path.name, limits=book.engine.limits)
            except ImageError:
                path.unlink()


def unindexed(book: Book) -> list[str]:
    """A library's own files that differ from what was indexed of them, and those of items that are gone."""
    catalog, known, there = book.catalog, {}, {}
    if catalog is not None:
        for root in catalog.roots():
            if root.path == str(book.files):
                known = files_of(catalog, root)
    try:
        with os.scandir(book.files) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and has_image_name(entry.name):
                    with suppress(FileNotFoundError):
                        there[entry.path] = (entry.stat().st_size, entry.stat().st_mtime_ns)
    except OSError:
        return []
    differing = [path for path, state in there.items() if known.get(path) != state]
    return differing + [path for path in known if path not in there]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
