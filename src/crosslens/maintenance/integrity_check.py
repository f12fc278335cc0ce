"""Integrity check of a library: every row, vector and derived file. Reads only, as of one moment.

SQLite keeps no checksums, but most of a library is there twice: hashes and paths in tables and indexes, texts
in their hashes, vectors of items in the derived matrix, which has checksums. What disagrees is damage.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crosslens.errors import LibraryDamagedError, LibraryFullError
from crosslens.maintenance.derived_files import current, damaged_files, differing_vectors
from crosslens.store.migration_target import WAITING, is_any_waiting, models_in
from crosslens.store.path_encoding import ADDED, from_sql, is_below, text_hash
from crosslens.store.schema import DATABASE, MIGRATIONS, open_database
from crosslens.store.tag_rows import words_are_indexed, wrong_words
from crosslens.store.vector_snapshot import stamp_of

_PAGE = 4096
# Of one kind, so many are named; of the others, how many there are.
_NAMED = 10
# A float16 vector of unit norm is this near to 1.
_NORM_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with a library. what: one sentence; remedy: what to do about it."""

    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found out about a library.

    checked: how many of each kind were looked at. spare: contents that no item uses, which are kept in case
    their pictures come back.
    """

    library: str
    checked: dict[str, int]
    spare: int
    findings: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


@dataclass(slots=True)
class Findings:
    """Findings as they come in; of many of one kind, a few by name and then their number."""

    folder: Path
    named: list[Finding] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, what: str, remedy: str) -> None:
        """Note one. kind: what it is one of, in words, as "vectors that are damaged"."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self.counts[kind] <= _NAMED:
            self.named.append(Finding(what, remedy))

    def broken(self, what: str) -> None:
        """Note that the database itself is not sound."""
        self.add("faults of the database", what, restore(self.folder))

    def vector(self, number: int, what: str) -> None:
        """Note an item whose vector is no good."""
        self.add("items whose vectors are missing or damaged", f"item {number}: {what}", self._anew(number))

    def all(self) -> tuple[Finding, ...]:
        """All of them, the uncounted ones last."""
        rest = [
            Finding(f"{count - _NAMED:,} more {kind}", "See the ones above")
            for kind, count in self.counts.items()
            if count > _NAMED
        ]
        return (*self.named, *rest)

    def _anew(self, number: int) -> str:
        where = f"-L {self.folder}"
        return (
            f"Have it encoded anew: crosslens remove {where} {number}; crosslens compact {where}; "
            f"crosslens index {where}. Or {restore(self.folder, 'go')}"
        )


def restore(folder: Path, begin: str = "Go") -> str:
    """The way back from a backup, in words."""
    return (
        f"{begin} back to a backup: mv {folder} {folder}.damaged; crosslens backup -L BACKUP {folder}. "
        "Without one: crosslens index into a new folder"
    )


def verify(folder: Path) -> Verification:
    """Check everything that a library holds as it is now, while others may write.

    Raises LibraryNotFoundError, LibraryVersionError, and LibraryFullError where temporary files have no room;
    what is wrong is a finding, and no error.
    """
    findings = Findings(folder)
    checked: dict[str, int] = {}
    spare = 0
    try:
        with closing(open_database(folder, create=False)) as db:
            db.execute("BEGIN")
            for check in _CHECKS:
                _guarded(check, db, findings, checked)
            (spare,) = db.execute(f"SELECT count(*) FROM contents WHERE {UNUSED}").fetchone()
    except LibraryDamagedError as error:
        findings.broken(error.problem)
    except (sqlite3.Error, ValueError, TypeError, KeyError, OverflowError) as error:
        findings.broken(f"{DATABASE} cannot be read to its end ({error})")
    return Verification(str(folder), checked, int(spare), findings.all())


# Of contents and of vectors: what no item needs.
UNUSED = "hash NOT IN (SELECT hash FROM items)"


def _guarded(
    check: Callable[[sqlite3.Connection, Findings, dict[str, int]], None],
    db: sqlite3.Connection,
    findings: Findings,
    checked: dict[str, int],
) -> None:
    """One check, which may run into damage of any kind and then must not hide what the others find."""
    try:
        check(db, findings, checked)
    except (sqlite3.Error, ValueError, TypeError, KeyError, OverflowError) as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:  # of what is looked at elsewhere
            raise LibraryFullError(
                f"there is no room to look at library {findings.folder}: the disk of temporary files is full",
                "Free some there, or name another place in the variable TMPDIR",
            ) from error
        findings.broken(f"{DATABASE}: while looking at the {check.__name__.strip('_')}: {error}")


# -- the checks, each named for what it looks at --------------------------------------------------


def _database(db: sqlite3.Connection, findings: Findings, _checked: dict[str, int]) -> None:
    for (said,) in db.execute(f"PRAGMA integrity_check({_NAMED})"):
        if said != "ok":
            findings.broken(f"{DATABASE} is damaged: {said}")
    for table, row, parent, _ in db.execute("PRAGMA foreign_key_check"):
        findings.broken(f"row {row} of {table} belongs to nothing in {parent}")


def _tables(db: sqlite3.Connection, findings: Findings, _checked: dict[str, int]) -> None:
    """The tables and indexes are those that the migrations make."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    query = "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_stat%'"
    with closing(sqlite3.connect(":memory:")) as fresh:
        for script in MIGRATIONS[:version]:
            fresh.executescript(script)
        wanted = dict(fresh.execute(query).fetchall())
    found = dict(db.execute(query).fetchall())
    for name in sorted({*wanted, *found}):
        if _plain(wanted.get(name)) != _plain(found.get(name)):
            findings.broken(f"{name} is not as format {version} has it")


def _plain(sql: str | None) -> str:
    """A statement without its comments and spaces, which later versions may change."""
    return "".join(re.sub(r"--[^\n]*", "", sql or "").split())


def _facts(db: sqlite3.Connection, findings: Findings, _checked: dict[str, int]) -> None:
    meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
    if not meta["generation"].isdecimal():
        findings.broken(f"the generation is {meta['generation']!r}")
    if not _is_hex(meta["library"]):
        findings.broken(f"the library's identity is {meta['library']!r}")
    if any(key.startswith("model.") for key in meta):
        if not meta["model.dimension"].isdecimal() or not _is_hex(meta["model.identity"]):
            findings.broken(f"the model is {meta['model.identity']!r}, {meta['model.dimension']!r} wide")
    elif db.execute("SELECT 1 FROM items").fetchone():
        findings.broken("there are items, and no model is noted")
    if any(key.startswith("target.") for key in meta):
        numbers = (meta["target.dimension"], meta["target.generation"])
        if not _is_hex(meta["target.identity"]) or not all(number.isdecimal() for number in numbers):
            findings.broken(f"the model migrated to is {meta['target.identity']!r}, {numbers}")


def _contents(db: sqlite3.Connection, findings: Findings, checked: dict[str, int]) -> None:
    query = "SELECT rowid, hash, width, height, text FROM contents"
    for row, hash_, width, height, text in _counted(db.execute(query), checked, "contents"):
        if not isinstance(hash_, bytes) or len(hash_) != 32:
            findings.broken(f"content {row} has a hash of another length than 32 bytes")
        elif text is not None and text_hash(text) != hash_:
            findings.broken(f"content {row}: its text is not the one that was indexed")
        elif any(type(n) is not int or n < 0 for n in (width, height)):
            findings.broken(f"content {row} is {width!r} × {height!r} pixels")


def _roots(db: sqlite3.Connection, findings: Findings, checked: dict[str, int]) -> None:
    query = "SELECT id, path, mount, text_column, is_file, online FROM roots"
    for number, path, _, _, *flags in _counted(db.execute(query), checked, "roots"):
        if not (os.path.isabs(path) or path == ADDED) or any(flag not in (0, 1) for flag in flags):
            findings.broken(f"root {number} is {path!r}, {flags}")


def _items(db: sqlite3.Connection, findings: Findings, checked: dict[str, int]) -> None:
    query = (
        "SELECT items.id, items.path, roots.path, size, modified_ns FROM items "
        "JOIN roots ON roots.id = root_id"
    )
    for number, path, root, size, modified in _counted(db.execute(query), checked, "items"):
        if not _belongs(from_sql(path), from_sql(root)):
            findings.broken(f"item {number}, {path!r}, does not lie in {root!r}")
        if type(size) is not int or size < 0 or type(modified) is not int:
            findings.broken(f"item {number} has size {size!r} and time {modified!r}")
    (last,) = db.execute("SELECT coalesce(max(id), 0) FROM items").fetchone()
    given = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'items'").fetchone()
    if last > (given[0] if given else 0):
        findings.broken(f"item {last} has a number that was never given out")


def _vectors(db: sqlite3.Connection, findings: Findings, checked: dict[str, int]) -> None:
    models = models_in(db)
    widths = {one.identity: 2 * one.dimension for one in (models.serving, models.target) if one is not None}
    noted, waiting = is_any_waiting(db), 0
    query = f"SELECT id, EXISTS (SELECT 1 FROM vectors WHERE vectors.hash = items.hash) {WAITING} ORDER BY id"
    for number, encoded in db.execute(query):
        if noted and encoded:
            waiting += 1
        else:
            findings.vector(number, "it has no vector")
    if waiting:
        checked["items waiting for their files"] = waiting
    rows = _counted(db.execute("SELECT hash, model, vector, runtime FROM vectors"), checked, "vectors")
    for hash_, what in _bad_vectors(rows, widths):
        ids = db.execute("SELECT id FROM items WHERE hash = ? ORDER BY id", (hash_,)).fetchall()
        for (number,) in ids:
            findings.vector(number, what)
        if not ids:
            where = f"crosslens compact -L {findings.folder}"
            findings.add("spare vectors that are damaged", f"a vector that no item uses: {what}", where)


def _bad_vectors(
    rows: Iterator[tuple[bytes, str, bytes, str]], widths: dict[str, int]
) -> Iterator[tuple[bytes, str]]:
    """(content, what is wrong with its vector). widths: bytes, by model; of others they are not known."""
    pages: dict[int, list[tuple[bytes, bytes]]] = {}  # vectors of one width
    for hash_, owner, blob, _ in rows:
        wanted = widths.get(owner, 2 * (len(blob) // 2))
        if not isinstance(blob, bytes) or len(blob) != wanted or not blob:
            yield hash_, f"its vector has {len(blob)} bytes, wanted {wanted or 'some'}"
            continue
        page = pages.setdefault(wanted, [])
        page.append((hash_, blob))
        if len(page) == _PAGE:
            yield from _off_the_sphere(pages.pop(wanted))
    for page in pages.values():
        yield from _off_the_sphere(page)


def _off_the_sphere(page: list[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, str]]:
    vectors = np.frombuffer(b"".join(blob for _, blob in page), "<f2").reshape(len(page), -1)
    norms = np.linalg.norm(vectors.astype(np.float32), axis=1)
    for row in np.flatnonzero(~(np.abs(norms - 1) < _NORM_TOLERANCE)):
        yield page[row][0], f"its vector has length {norms[row]:.3g}, wanted 1"


def _others(db: sqlite3.Connection, _findings: Findings, _checked: dict[str, int]) -> None:
    """Tables that the other checks do not look at can be read: bytes that are no text are found so."""
    looked_at = ("meta", "contents", "roots", "items", "vectors")
    for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        if name not in looked_at:
            for _ in db.execute(f'SELECT * FROM "{name}"'):
                pass


def _words(db: sqlite3.Connection, findings: Findings, _checked: dict[str, int]) -> None:
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'words'").fetchone():
        return  # of an older format
    folder = findings.folder
    if not words_are_indexed(db):
        where = f"Nothing is lost: crosslens compact -L {folder} makes it anew"
        findings.add("indexes of words", "the index of words is damaged", where)
        return
    # It is there twice in itself, so where it is whole and a table says otherwise, the table is damaged.
    for number in wrong_words(db):
        what = f"item {number}: its name, caption and tags are not those in the index of words"
        where = f"{restore(folder)}. Where they are right: crosslens compact -L {folder}"
        findings.add("items that are not in the index of words as they are", what, where)


def _derived(db: sqlite3.Connection, findings: Findings, checked: dict[str, int]) -> None:
    checked["derived folders"] = len(current(findings.folder, stamp_of(db)))
    for what in damaged_files(db, findings.folder):
        findings.add("derived folders", what, "Nothing is lost: the next search makes it anew")
    for number in differing_vectors(db, findings.folder):
        findings.vector(number, "its vector is not the one that was written")


_CHECKS = (_database, _tables, _facts, _contents, _roots, _items, _vectors, _others, _words, _derived)


def _counted(rows: Iterator[Any], checked: dict[str, int], kind: str) -> Iterator[Any]:
    checked[kind] = 0
    for row in rows:
        checked[kind] += 1
        yield row


def _belongs(path: str, root: str) -> bool:
    """Whether an item may lie in a root: in its folder, the file itself, a row of a table, or in no file."""
    return path == root or is_below(path, root) or path.startswith(f"{root}#" if root != ADDED else ADDED)


def _is_hex(text: str) -> bool:
    return bool(text) and set(text) <= set("0123456789abcdef")
