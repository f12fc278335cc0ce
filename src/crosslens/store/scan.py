"""Comparing a library with what is on the disk.

What was found lies in a temporary table beside the database, so a scan of any size takes little memory
and the differences are set operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from crosslens.store.catalog import Catalog
from crosslens.store.paths import from_sql, path_range, to_sql
from crosslens.store.records import Root
from crosslens.types import Item

_PENDING = (
    "FROM temp.scan LEFT JOIN items ON items.path = scan.path WHERE (items.id IS NULL "
    "OR items.size != scan.size OR items.modified_ns != scan.modified_ns)"
)
_MISSING = (
    "FROM items WHERE root_id IN (SELECT root_id FROM temp.scanned) "
    "AND NOT EXISTS (SELECT 1 FROM temp.scan WHERE scan.path = items.path)"
)
_PAGE = 1000


class Scan:
    """What was found on the disk in some roots, against what their library knows."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        with catalog.reading() as db:
            db.execute("DROP TABLE IF EXISTS temp.scan")
            db.execute("DROP TABLE IF EXISTS temp.scanned")
            db.execute("CREATE TEMP TABLE scanned (root_id INTEGER PRIMARY KEY)")
            db.execute(
                "CREATE TEMP TABLE scan "
                "(path PRIMARY KEY, root_id INTEGER, size INTEGER, modified_ns INTEGER)"
            )

    def add(self, root: Root, found: Iterable[Item]) -> None:
        """Add everything that was found in a root; what is not among it counts as missing."""
        rows = ((to_sql(item.path), root.id, item.size, item.modified_ns) for item in found)
        # Page by page: the disk is walked while the database is free for others.
        while page := list(islice(rows, _PAGE)):
            with self._catalog.reading() as db:
                db.executemany("INSERT OR IGNORE INTO temp.scan VALUES (?, ?, ?, ?)", page)
        with self._catalog.reading() as db:
            db.execute("INSERT OR IGNORE INTO temp.scanned VALUES (?)", (root.id,))

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
        """(item, root id) of files that are new or differ in size or time, by path.

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
        """Ids of items in the scanned roots that were not found."""
        with self._catalog.reading() as db:
            return [number for (number,) in db.execute(f"SELECT id {_MISSING}")]

    def missing_with(self, hash_: bytes, besides: Sequence[int]) -> int | None:
        """An item that was not found and had this content: a file found elsewhere is that item, moved."""
        query = f"SELECT id {_MISSING} AND hash = ? ORDER BY id"
        with self._catalog.reading() as db:
            rows = db.execute(query, (hash_,)).fetchall()
        return next((number for (number,) in rows if number not in besides), None)
