"""Uploads into a library: archives are unpacked, each content is kept once, and indexed."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from crosslens.changes import Changes
from crosslens.decode import decode
from crosslens.errors import ImageError, LibraryError
from crosslens.indexing import IndexRun
from crosslens.read import has_image_name
from crosslens.serve.book import Book
from crosslens.serve.config import RequestLimits
from crosslens.serve.jobs import CancelledError, Job, Jobs, Task, fill
from crosslens.serve.problems import Problem, too_large
from crosslens.serve.uploads import Arrived, Incoming, accepted, arrived_in, clean, folder_in, safe_name
from crosslens.store.details import files_of, paths_with
from crosslens.types import Failure

_BLOCK = 1 << 20
# Of the list at the end of an archive, for an entry: its name and all.
_BYTES_PER_ENTRY = 1 << 10
_NO_PICTURE = "its name is not that of a picture"
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass
class Intake:
    """What was accepted, as it is taken in. folder: where it lies; paths: of files put into the library."""

    book: Book
    folder: Path
    limits: RequestLimits
    paths: list[str] = field(default_factory=list)
    _present: int = 0
    _contents: dict[str, str] = field(default_factory=dict)
    _numbers: dict[str, int] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        """As a job does it."""
        return Task(self.run, self.discard)

    def run(self, job: Job) -> None:
        """Take it in. Raises CancelledError, and what indexing raises."""
        source = folder_in(self.folder)
        if source is None:
            self._take_in(job)
            return
        try:
            fill(job, self.book, [source])
        except CancelledError:
            raise  # what is left is done after the next start, unless a user wanted it so
        except Exception:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        shutil.rmtree(self.folder, ignore_errors=True)

    def _take_in(self, job: Job) -> None:
        arrived = arrived_in(self.folder) if self.folder.is_dir() else []
        for one in arrived:
            job.check()
            if is_archive(one.name):
                self._unpack(job, one)
            elif has_image_name(one.name):
                with suppress(FileNotFoundError):  # taken in before the service was stopped
                    self._place(self.folder / one.file, one.name, one.sha256)
            else:
                job.fail(one.name, _NO_PICTURE)
        if any(is_archive(one.name) for one in arrived):
            os.sync()  # what was unpacked must be on the disk before the archive goes
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.paths:
            report = fill(job, self.book, [str(self.book.files)], Changes(tuple(self.paths)))
            self._throw_out(report.failures)
        job.report = (job.report or {}) | {"present": self._present}

    def discard(self) -> None:
        """A user cancelled it: nothing is kept but what was indexed."""
        shutil.rmtree(self.folder, ignore_errors=True)
        catalog = self.book.catalog
        known = catalog.ids_of(self.paths) if catalog is not None else {}
        for path in self.paths:
            if path not in known:
                Path(path).unlink(missing_ok=True)

    def _unpack(self, job: Job, one: Arrived) -> None:
        try:
            with zipfile.ZipFile(self.folder / one.file) as archive:
                for info, reason in sorted_out(archive, self.limits):
                    job.check()
                    if reason or (reason := self._extract(archive, info)):
                        job.fail(f"{one.name}/{info.filename}", reason)
        except FileNotFoundError:
            return
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            job.fail(one.name, f"the archive cannot be read ({error})")

    def _extract(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
        """Put an entry into the library; returns why it cannot be, or ""."""
        draft, digest = self.folder / "entry", hashlib.sha256()
        try:
            with archive.open(info) as entry, draft.open("wb") as file:
                while block := entry.read(_BLOCK):  # never more than the archive's list says
                    digest.update(block)
                    file.write(block)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            return f"it cannot be unpacked ({error})"
        self._place(draft, safe_name(info.filename), digest.hexdigest())
        return ""

    def _place(self, file: Path, name: str, sha256: str) -> None:
        """Give a whole file its place, unless the library has its content among its own files."""
        with self.book.placing:
            if self._is_there(sha256):
                file.unlink()
                self._present += 1
                return
            target = self._free_name(name, sha256)
            if target is None:
                target = self.book.files / name
                file.unlink()
            else:
                file.rename(target)
            self._contents[sha256] = str(target)
            self.paths.append(str(target))

    def _is_there(self, sha256: str) -> bool:
        catalog = self.book.catalog
        known = [] if catalog is None else paths_with(catalog, bytes.fromhex(sha256))
        own = [path for path in known if self.book.is_own(path) and os.path.isfile(path)]
        return bool(own) or sha256 in self._contents

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

    def _throw_out(self, failures: tuple[Failure, ...]) -> None:
        """Delete files of this upload that are no pictures; what failed for another reason stays."""
        own, limits = set(self.paths), self.book.engine.limits
        for failure in failures:
            path = Path(failure.path)
            if failure.path not in own or not os.access(path, os.R_OK):
                continue
            try:
                decode(path.read_bytes(), path.name, limits=limits)
            except ImageError:
                path.unlink()
            except OSError:
                continue


def is_archive(name: str) -> bool:
    """Whether a file is unpacked."""
    return name.lower().endswith(".zip")


def check_archive(path: Path, name: str, limits: RequestLimits) -> None:
    """Refuse an archive that would become too much. Raises Problem."""
    try:
        with path.open("rb") as file:
            end = cast(Any, zipfile)._EndRecData(file)  # what `ZipFile` itself would go by
        if end and (end[4] > limits.zip_entries or end[5] > limits.zip_entries * _BYTES_PER_ENTRY):
            raise too_large(f"{name} has more than {limits.zip_entries:,} files")
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return  # the job will say so, and take in the rest
    if len(entries) > limits.zip_entries:
        raise too_large(f"{name} has more than {limits.zip_entries:,} files")
    size, unpacked = path.stat().st_size, sum(info.file_size for info in entries)
    if unpacked > limits.upload or unpacked > max(size, 1) * limits.zip_ratio:
        raise too_large(f"{name} would become {unpacked:,} bytes")


def sorted_out(archive: zipfile.ZipFile, limits: RequestLimits) -> Iterator[tuple[zipfile.ZipInfo, str]]:
    """Entries of an archive, each with why it is refused, or "". Folders and hidden files are passed over."""
    for info in archive.infolist():
        parts = [part for part in re.split(r"[/\\]", info.filename) if part]
        escapes = ".." in parts or info.filename[:1] in ("/", "\\") or _DRIVE.match(info.filename)
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts if part != "..")
        if escapes:
            yield info, "its path leads out of the archive"
        elif info.is_dir() or hidden or not parts:
            continue
        elif info.flag_bits & 1:
            yield info, "it is encrypted"
        elif not stat.S_ISREG(info.external_attr >> 16) and stat.S_IFMT(info.external_attr >> 16):
            yield info, "it is no regular file"
        elif is_archive(info.filename):
            yield info, "an archive in an archive is not opened"
        elif not has_image_name(info.filename):
            yield info, _NO_PICTURE
        elif info.file_size > limits.file:
            yield info, f"it has more than {limits.file:,} bytes"
        else:
            yield info, ""


def put(book: Book, incoming: Incoming, name: str) -> tuple[int, bool]:
    """Let a picture that has come be the file of this name; returns its item, and whether the name is new.

    Raises Problem, ImageError for what is no picture, and what indexing raises.
    """
    [one] = incoming.arrived
    new, old, target = incoming.folder / one.file, incoming.folder / "old", book.files / name
    if one.size > book.engine.limits.max_bytes:
        raise too_large(f"{name} has more than {book.engine.limits.max_bytes:,} bytes")
    book.engine.plain.prepare(new.read_bytes(), name)
    with book.writing() as (catalog, matcher):
        with book.placing:
            same = target.is_file() and _sha256(target) == one.sha256
            known = catalog.ids_of([str(target)])
            if target.is_file():
                shutil.copy2(target, old)
            if not same:
                new.replace(target)
        if not (same and known):
            report = IndexRun(catalog, matcher).run([str(book.files)], changes=Changes((str(target),)))
            if report.failures:
                old.replace(target) if old.exists() else target.unlink()
                reason = report.failures[0].reason
                raise Problem(422, "image_unreadable", "A picture cannot be read", f"{name}: {reason}")
        number = catalog.ids_of([str(target)])[str(target)]
    book.refresh()
    return number, not known


def pick_up(book: Book, jobs: Jobs, limits: RequestLimits) -> None:
    """Take up what an earlier process accepted and did not finish."""
    clean(book.files)
    left = [Intake(book, folder, limits) for folder in accepted(book.files)]

    def run(job: Job) -> None:
        for intake in left:
            intake.run(job)
        if _unindexed(book):
            fill(job, book, [str(book.files)])

    def discard() -> None:
        for intake in left:
            intake.discard()

    with suppress(LibraryError):  # a job would come to it, too
        if left or _unindexed(book):
            jobs.submit(book.name, "upload" if left else "index", Task(run, discard))


def _unindexed(book: Book) -> bool:
    """Whether the library's own files differ from what was indexed of them."""
    catalog, known = book.catalog, {}
    if catalog is not None:
        for root in catalog.roots():
            if root.path == str(book.files):
                known = files_of(catalog, root)
    try:
        with os.scandir(book.files) as entries:
            return any(
                known.get(entry.path) != (entry.stat().st_size, entry.stat().st_mtime_ns)
                for entry in entries
                if not entry.name.startswith(".") and has_image_name(entry.name)
            )
    except OSError:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
