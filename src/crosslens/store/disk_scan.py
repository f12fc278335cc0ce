"""Disk scan: compares the database with the file system; new, changed, moved and missing files.

What was found lies in a temporary table beside the database, so a scan of any size takes little memory
and the differences are set operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from crosslens.store.database import Catalog
from crosslens.store.migration_target import WAITING, is_any_waiting
from crosslens.store.path_encoding import from_sql, path_range, to_sql
from crosslens.store.records import Root
from crosslens.types import Item

_PENDING = (
    "FROM temp.scan LEFT JOIN items ON items.path = scan.path WHERE (items.id IS NULL "
    "OR items.size != scan.size OR items.modified_ns != scan.modified_ns "
    "OR items.id IN (SELECT id FROM temp.waiting))"
)
_NOT_FOUND = "NOT EXISTS (SELECT 1 FROM temp.scan WHERE scan.path = items.path)"
_PAGE = 1000


class Scan:
    """What was found on the disk in some roots, against what their library knows."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        with catalog.reading() as db:
            db.execute("DROP TABLE IF EXISTS temp.scan")
            db.execute("DROP TABLE IF EXISTS temp.expected")
            db.execute("DROP TABLE IF EXISTS temp.waiting")
            db.execute("CREATE TEMP TABLE waiting (id INTEGER PRIMARY KEY)")
            if is_any_waiting(db):
                db.execute(f"INSERT INTO temp.waiting SELECT id {WAITING}")
            db.execute("CREATE TEMP TABLE expected (id INTEGER PRIMARY KEY)")
            db.execute(
                "CREATE TEMP TABLE scan "
                "(path PRIMARY KEY, root_id INTEGER, size INTEGER, modified_ns INTEGER)"
            )

    def add(self, root: Root, found: Iterable[Item], only: Iterable[str] | None = None) -> None:
        """Add everything that was found in a root; what is not among it counts as missing.

        only: the files and folders that were looked at; None: all of the root.
        """
        # Asked before the disk is: what others add meanwhile is not missed, whether it is found or not.
        expect = "INSERT OR IGNORE INTO temp.expected SELECT id FROM items WHERE"
        with self._catalog.reading() as db:
            if only is None:
                db.execute(f"{expect} root_id = ?", (root.id,))
            for bind in (bind for path in only or () for bind in path_range(path)):
                # The sign keeps SQLite from going through all of the root.
                db.execute(
                    f"{expect} (path = ? OR (path > ? AND path < ?)) AND +root_id = ?", (*bind, root.id)
                )
        rows = ((to_sql(item.path), root.id, item.size, item.modified_ns) for item in found)
        # Page by page: the disk is walked while the database is free for others.
        while page := list(islice(rows, _PAGE)):
            with self._catalog.reading() as db:
                db.executemany("INSERT OR IGNORE INTO temp.scan VALUES (?, ?, ?, ?)", page)

    def keep(self, path: str) -> None:
        """Count an item, or all items below a folder, as found unchanged: they cannot be looked at now."""
        with self._catalog.reading() as db:
            for bind in path_range(path):
                db.execute(
                    "INSERT OR IGNORE INTO temp.scan SELECT path, root_id, size, modified_ns FROM items "
                    "WHERE path = ? OR (path > ? AND path < ?)",
                    bind,
                )

    def counts(self) -> tuple[int, int]:
        """(files that must be looked into, files that are as they were)."""
        with self._catalog.reading() as db:
            (pending,) = db.execute(f"SELECT count(*) {_PENDING}").fetchone()
            (total,) = db.execute("SELECT count(*) FROM temp.scan").fetchone()
        return int(pending), int(total) - int(pending)

    def pending(self) -> Iterator[tuple[Item, int]]:
        """(item, root id) of files that are new, differ in size or time, or lack their vector, by path.

        Read page by page, so that results may be written meanwhile; none is met twice.
        """
        after, bind = "", []  # type: ignore[var-annotated]
        while True:
            query = (
                f"SELECT scan.path, scan.root_id, scan.size, scan.modified_ns {_PENDING} {after} "
                f"ORDER BY scan.path LIMIT {_PAGE}"
            )
            with self._catalog.reading() as db:
                rows = db.execute(query, bind).fetchall()
            for path, root_id, size, modified_ns in rows:
                yield Item(from_sql(path), size, modified_ns), root_id
            if len(rows) < _PAGE:
                return
            after, bind = "AND scan.path > ?", [rows[-1][0]]

    def missing(self) -> list[int]:
        """Ids of items that were looked for and not found."""
        with self._catalog.reading() as db:
            query = f"SELECT id FROM temp.expected CROSS JOIN items USING (id) WHERE {_NOT_FOUND}"
            return [number for (number,) in db.execute(query)]

    def missing_with(self, hash_: bytes, besides: Sequence[int]) -> int | None:
        """An item that was not found and had this content: a file found elsewhere is that item, moved."""
        # The sign makes SQLite begin with the hash, and not with each that is expected.
        expected = "+id IN (SELECT id FROM temp.expected)"
        query = f"SELECT id FROM items WHERE hash = ? AND {expected} AND {_NOT_FOUND} ORDER BY id"
        with self._catalog.reading() as db:
            rows = db.execute(query, (hash_,)).fetchall()
        return next((number for (number,) in rows if number not in besides), None)
