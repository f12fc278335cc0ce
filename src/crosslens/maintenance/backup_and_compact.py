"""Deep verification, backup, and compaction of a library."""

from __future__ import annotations

import hashlib
import os
import random
import secrets
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crosslens.errors import ImageError, InputError, LibraryBusyError, LibraryDamagedError, LibraryError
from crosslens.library.library import Library
from crosslens.maintenance import derived_files
from crosslens.maintenance.integrity_check import UNUSED, Findings, Verification, verify
from crosslens.matching.matcher import Matcher
from crosslens.store.database import Catalog
from crosslens.store.locks import writer_lock
from crosslens.store.migration_target import count_others, drop_others
from crosslens.store.network_filesystem import file_system_of
from crosslens.store.path_encoding import ADDED, from_sql
from crosslens.store.schema import DATABASE, explained, open_database
from crosslens.store.tag_rows import rebuild_words
from crosslens.store.vector_matrix import CODES, derived_size, remove_folder
from crosslens.store.vector_snapshot import stamp_of
from crosslens.types import Progress

SAMPLE = 50
# The same runtime computes nearly the same; another precision comes as near as models check lets it.
_NEAR, _NEAR_ENOUGH = 0.999, 0.97
_BACKUP_PAGES = 2048
_DRAFT_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy that was made and found whole."""

    path: str
    items: int
    vectors: int
    size: int


@dataclass(frozen=True, slots=True)
class Compaction:
    """What was thrown out. before, after: bytes of the whole folder.

    other_models: vectors of models that the library was migrated from; kept: such vectors that stay.
    """

    vectors: int
    contents: int
    folders: int
    before: int
    after: int
    other_models: int = 0
    kept: int = 0


# -- verify --deep --------------------------------------------------------------------------------


def verify_deep(
    library: Library, sample: int = SAMPLE, on_progress: Callable[[Progress], None] = lambda _: None
) -> Verification:
    """`verify`, and then: every file that is there and unchanged is hashed, and a sample encoded again.

    sample: at most so many pictures, and so many texts, taken at random. Raises what `verify` raises.
    """
    shallow = verify(library.folder)
    findings, checked = Findings(library.folder), dict(shallow.checked)
    try:
        matcher = library.matcher  # the library may be migrated meanwhile
        rows = _rows(library.folder, matcher.spec.identity)
        whole = _hash_files(rows, findings, checked, on_progress)
        texts = [row for row in rows if row.text is not None]
        chosen = _some(whole, sample) + _some(texts, sample)
        _encode_again(matcher, chosen, findings)
        checked["encoded again"] = len(chosen)
    except LibraryDamagedError as error:
        findings.broken(error.problem)
    more = tuple(finding for finding in findings.all() if finding not in shallow.findings)
    return Verification(shallow.library, checked, shallow.spare, shallow.findings + more)


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    path: str
    hash: bytes
    state: tuple[int, int]
    text: str | None
    vector: bytes
    runtime: str


def _rows(folder: Path, model: str) -> list[_Row]:
    query = (
        "SELECT items.id, path, hash, size, modified_ns, text, vector, runtime FROM items "
        "JOIN contents USING (hash) JOIN vectors USING (hash) "
        "WHERE model = ? ORDER BY items.id"
    )
    with explained(folder), closing(open_database(folder, create=False)) as db:
        return [
            _Row(number, from_sql(path), hash_, (size, modified), *rest)
            for number, path, hash_, size, modified, *rest in db.execute(query, (model,))
        ]


def _hash_files(
    rows: Sequence[_Row],
    findings: Findings,
    checked: dict[str, int],
    on_progress: Callable[[Progress], None],
) -> list[_Row]:
    """Hash all files that should be as they were indexed; returns those that are."""
    files = [row for row in rows if row.text is None and not row.path.startswith(ADDED)]
    whole: list[_Row] = []
    checked["files hashed"] = checked["files away or changed since"] = 0
    for done, row in enumerate(files):
        on_progress(Progress(done, len(files), 0, len(whole)))
        if _state(row.path) != row.state:  # the next `index` will see to it
            checked["files away or changed since"] += 1
            continue
        checked["files hashed"] += 1
        try:
            with open(row.path, "rb") as file:
                same = hashlib.file_digest(file, "sha256").digest() == row.hash
        except OSError as error:
            findings.add("files", f"{row.path} cannot be read ({error.strerror})", "Check the disk it is on")
            continue
        if same:
            whole.append(row)
        elif _state(row.path) == row.state:
            what = f"{row.path} holds other bytes than were indexed, though its size and time are the same"
            remedy = "Look whether it is damaged; if it is as you want it: touch it, then crosslens index"
            findings.add("files that hold other bytes", what, remedy)
    return whole


def _state(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _some(rows: Sequence[_Row], count: int) -> list[_Row]:
    return random.sample(rows, min(count, len(rows)))


def _encode_again(matcher: Matcher, rows: Sequence[_Row], findings: Findings) -> None:
    for row in rows:
        try:
            if row.text is None:
                [fresh] = matcher.embed_images([row.path])
            else:
                [fresh] = matcher.embed_texts([row.text])
        except ImageError as error:
            findings.vector(row.id, f"it cannot be encoded again ({error.reason})")
            continue
        kept = np.frombuffer(row.vector, "<f2").astype(np.float32)
        cosine = float(kept @ fresh) if kept.shape == fresh.shape else float("nan")
        wanted = _NEAR if row.runtime == matcher.provenance else _NEAR_ENOUGH
        if not cosine >= wanted:
            findings.vector(
                row.id, f"encoded again, its vector has cosine {cosine:.4f} with the old, wanted {wanted}"
            )


# -- backup ---------------------------------------------------------------------------------------


def backup(folder: Path, target: Path, on_progress: Callable[[Progress], None] = lambda _: None) -> Backup:
    """Copy a library as it is now into a new folder, while others may index into it.

    The copy is whole, checked and on the disk, or it is not there. It is a library of its own: what is
    derived is made anew by its first search.
    Raises InputError for a target that exists, LibraryNotFoundError, LibraryFullError, LibraryReadOnlyError,
    LibraryDamagedError when the library is not sound.
    """
    if os.path.lexists(target):
        raise InputError(f"{target} exists", "Name a new folder for the backup")
    with explained(folder), closing(open_database(folder, create=False)) as source:
        with explained(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(target)
            draft = target.parent / f".{target.name}.draft-{uuid.uuid4().hex}"
            draft.mkdir()
        try:
            _copy(source, draft, target, on_progress)
            checked = verify(draft)
            if not checked.clean:
                what = checked.findings[0].what.replace(str(draft), str(folder))
                raise LibraryDamagedError(
                    f"library {folder} is not sound, and a copy of it would not be either: {what}",
                    f"See: crosslens verify -L {folder}. Earlier backups are as they were",
                )
            with explained(target):
                _publish(draft, target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    size = (target / DATABASE).stat().st_size
    return Backup(str(target), checked.checked["items"], checked.checked["vectors"], size)


def _remove_abandoned(target: Path) -> None:
    """Delete what killed backups to the same place left there."""
    for draft in target.parent.iterdir():
        if draft.name.startswith(f".{target.name}.draft-") and not any(
            _touched_lately(path) for path in (draft, *draft.iterdir())
        ):
            shutil.rmtree(draft, ignore_errors=True)


def _copy(
    source: sqlite3.Connection, draft: Path, target: Path, on_progress: Callable[[Progress], None]
) -> None:
    """Copy page by page what one transaction sees: a writer does not make it begin again."""
    source.execute("BEGIN")
    stamp_of(source)  # a transaction begins with its first read

    def progress(_status: int, remaining: int, total: int) -> None:
        on_progress(Progress(total - remaining, total, 0, 0))

    with explained(target), closing(sqlite3.connect(draft / DATABASE, isolation_level=None)) as copy:
        copy.execute("PRAGMA locking_mode = EXCLUSIVE")  # nobody knows it yet; so no memory is shared
        source.backup(copy, pages=_BACKUP_PAGES, progress=progress, sleep=0)
        # Equal stamps mean equal vectors, which will not be so when both have gone on for a while.
        copy.execute("UPDATE meta SET value = ? WHERE key = 'library'", (secrets.token_hex(16),))
        copy.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if file_system_of(target).is_network:
            copy.execute("PRAGMA journal_mode = DELETE")
    source.execute("ROLLBACK")


def _publish(draft: Path, target: Path) -> None:
    """Give a folder its name when its files are on the disk. Raises FileExistsError for one that is taken."""
    for suffix in ("-wal", "-shm", "-journal"):  # of the check, and empty
        (draft / (DATABASE + suffix)).unlink(missing_ok=True)
    for path in (*draft.iterdir(), draft):
        _sync(path)
    if os.path.lexists(target):  # an empty folder would be replaced
        raise LibraryError(f"{target} was made meanwhile", "Name a new folder for the backup")
    draft.rename(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


# -- compact --------------------------------------------------------------------------------------


def compact(folder: Path, *, other_models: bool = False) -> Compaction:
    """Throw out contents and vectors that no item uses, derived files of the past, and free pages.

    Pictures that were removed are then encoded again should they come back. Searching goes on meanwhile.
    other_models: throw out vectors of models that the library was migrated from, too; but for contents that
    the model of now has not encoded.
    Raises LibraryNotFoundError, LibraryBusyError, LibraryReadOnlyError, LibraryFullError.
    """
    with suppress(LibraryBusyError):  # which what follows waits for, or ends
        open_database(folder, create=False).close()  # one that is not there is not made
    with writer_lock(folder), closing(Catalog(folder, create=True)) as catalog:
        before = catalog.size() + derived_size(folder)
        with catalog.writing() as db:
            rebuild_words(db)  # first: where it is damaged, no row can be deleted
            dropped = {
                table: db.execute(f"DELETE FROM {table} WHERE {UNUSED}").rowcount
                for table in (*_about_contents(db), "contents")
            }
            of_others = drop_others(db) if other_models else 0
            kept = count_others(db)
        with catalog.reading() as db:
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        gone = _remove_old(folder, catalog.stamp())
        after = catalog.size() + derived_size(folder)
    return Compaction(dropped["vectors"], dropped["contents"], gone, before, after, of_others, kept)


def _about_contents(db: sqlite3.Connection) -> list[str]:
    """The tables, but for items, whose rows belong to a content, by its hash."""
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    parents = {
        name: {row[2] for row in db.execute(f"PRAGMA foreign_key_list({name})")} - {"roots"}
        for name in tables
        if name != "items"
    }
    return [name for name in tables if parents.get(name) == {"contents"}]


def _remove_old(folder: Path, stamp: tuple[str, int]) -> int:
    """Delete derived folders of other generations, but not what a process may be writing now."""
    keep = derived_files.current(folder, stamp)
    # The codes of approximate search are made from older ones, which are kept until there are newer.
    codes = () if any(path.name.endswith(CODES) for path in keep) else (CODES,)
    old = [
        path
        for path in derived_files.folders(folder)
        if path not in keep
        and not path.name.endswith(codes)
        and (path.name[0].isdigit() or not _touched_lately(path))
    ]
    for path in old:
        remove_folder(path)
    return len(old)


def _touched_lately(path: Path) -> bool:
    """Whether it was touched within the hour: a process may be writing it."""
    try:
        return abs(time.time() - path.stat().st_mtime) < _DRAFT_SECONDS
    except OSError:
        return False
