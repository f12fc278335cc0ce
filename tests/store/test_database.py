"""The database of a library: its schema, what is recorded in it, and the comparison with the disk."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from crosslens.errors import (
    LibraryBusyError,
    LibraryDamagedError,
    LibraryError,
    LibraryFullError,
    LibraryNotFoundError,
    LibraryReadOnlyError,
)
from crosslens.store import connection, schema
from crosslens.store import disk_scan as scan_module
from crosslens.store.database import Catalog
from crosslens.store.disk_scan import Scan
from crosslens.store.path_encoding import from_sql, is_below, to_sql
from crosslens.store.records import Entry, ModelRecord, Root
from crosslens.store.schema import APPLICATION_ID, DATABASE, VERSION, explained, open_database
from crosslens.types import Item

MODEL = ModelRecord("fake", "f" * 32, 4)
EAST = np.array([1, 0, 0, 0], np.float32)
NORTH = np.array([0, 1, 0, 0], np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "library"


@pytest.fixture
def catalog(folder: Path) -> Iterator[Catalog]:
    catalog = Catalog(folder, create=True)
    yield catalog
    catalog.close()


@pytest.fixture
def root(catalog: Catalog, pictures_folder: str) -> Root:
    return catalog.add_root(pictures_folder, "/")


@pytest.fixture
def pictures_folder(tmp_path: Path) -> str:
    (tmp_path / "p").mkdir()
    return str(tmp_path / "p")


def entry(root: Root, name: str, vector: np.ndarray | None = EAST, content: bytes | None = None) -> Entry:
    path = os.path.join(root.path, name)
    return Entry(Item(path, 10, 1000), root.id, content or name.encode(), 40, 30, vector)


def record(catalog: Catalog, *entries: Entry) -> None:
    catalog.record(entries, [], MODEL.identity, "fake f32")


def rows(catalog: Catalog) -> dict[str, int]:
    """Names → ids of all items."""
    with catalog.reading() as db:
        found = db.execute("SELECT path, id FROM items ORDER BY id").fetchall()
    return {os.path.basename(from_sql(path)): number for path, number in found}


def vectors(catalog: Catalog) -> dict[int, list[float]]:
    with catalog.snapshot(MODEL.identity, MODEL.dimension) as snapshot:
        return {number: np.frombuffer(blob, "<f2").tolist() for number, blob in snapshot.vectors()}


# -- schema ---------------------------------------------------------------------------------------


def test_a_new_database_says_what_it_is(catalog: Catalog, folder: Path) -> None:
    database = sqlite3.connect(folder / DATABASE)
    assert database.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert database.execute("PRAGMA user_version").fetchone() == (VERSION,)
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()


def test_the_application_id_spells_xlen() -> None:
    assert APPLICATION_ID.to_bytes(4, "big") == b"xlen"


def test_opening_what_is_not_there_makes_nothing(folder: Path) -> None:
    with pytest.raises(LibraryNotFoundError, match="crosslens index"):
        open_database(folder, create=False)
    assert not folder.exists()


def test_opening_again_keeps_what_is_there(catalog: Catalog, root: Root, folder: Path) -> None:
    record(catalog, entry(root, "a.png"))
    stamp = catalog.stamp()
    with_create = Catalog(folder, create=True)
    assert with_create.stamp() == stamp
    assert rows(with_create) == rows(catalog)
    with_create.close()


def test_a_library_of_an_older_format_is_brought_up_to_date(
    catalog: Catalog, root: Root, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(catalog, entry(root, "a.png"))
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "ALTER TABLE items ADD COLUMN place;"))
    monkeypatch.setattr(schema, "VERSION", VERSION + 1)
    migrated = open_database(folder, create=True)
    assert migrated.execute("PRAGMA user_version").fetchone() == (VERSION + 1,)
    assert migrated.execute("SELECT id, place FROM items").fetchall() == [(1, None)]
    migrated.close()


def test_a_migration_that_fails_leaves_the_old_format_whole(
    catalog: Catalog, root: Root, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(catalog, entry(root, "a.png"))
    bad = "ALTER TABLE items ADD COLUMN place;\nINSERT INTO nowhere VALUES (1);\n"
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, bad))
    monkeypatch.setattr(schema, "VERSION", VERSION + 1)
    with pytest.raises(LibraryError, match="nowhere"):
        open_database(folder, create=True)
    with catalog.reading() as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
        columns = [name for _, name, *_ in db.execute("PRAGMA table_info(items)")]
    assert "id" in columns
    assert "place" not in columns


def test_a_second_writer_does_not_wait_for_ever(
    catalog: Catalog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_BUSY_SECONDS", 0.05)
    with catalog.writing(), pytest.raises(LibraryBusyError):
        Catalog(folder, create=True)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EACCES, LibraryReadOnlyError),
        (errno.EPERM, LibraryReadOnlyError),
        (errno.EROFS, LibraryReadOnlyError),
        (errno.ENOSPC, LibraryFullError),
        (errno.EDQUOT, LibraryFullError),
        (errno.EFBIG, LibraryFullError),
        (errno.EIO, LibraryError),
    ],
)
def test_what_the_system_says_becomes_an_error_that_names_the_library(
    number: int, kind: type[LibraryError], folder: Path
) -> None:
    with pytest.raises(LibraryError, match=str(folder)) as raised, explained(folder):
        raise OSError(number, os.strerror(number), "file")
    assert type(raised.value) is kind


# -- catalog --------------------------------------------------------------------------------------


def test_the_model_is_unknown_until_it_is_set(catalog: Catalog, folder: Path) -> None:
    assert catalog.model() is None
    catalog.set_model(MODEL)
    again = Catalog(folder)
    assert again.model() == MODEL
    again.close()


def test_an_item_comes_back_as_it_was_recorded(catalog: Catalog, root: Root) -> None:
    record(catalog, entry(root, "a.png"))
    (item,) = catalog.items([1])
    assert (item.path, item.online) == (os.path.join(root.path, "a.png"), True)
    assert (item.width, item.height, item.size, item.modified_ns) == (40, 30, 10, 1000)


def test_items_come_in_the_order_asked_for_without_those_that_are_gone(catalog: Catalog, root: Root) -> None:
    record(catalog, entry(root, "a"), entry(root, "b"), entry(root, "c"))
    assert [item.id for item in catalog.items([3, 99, 1])] == [3, 1]


def test_vectors_are_kept_as_float16_by_content(catalog: Catalog, root: Root) -> None:
    third = np.full(4, 1 / 3, np.float32)
    record(catalog, entry(root, "a", third, b"same"), entry(root, "copy", None, b"same"), entry(root, "b"))
    assert vectors(catalog) == {1: [float(np.float16(1 / 3))] * 4, 2: vectors(catalog)[1], 3: EAST.tolist()}
    assert catalog.counts() == {"items": 3, "texts": 0, "offline": 0, "contents": 2, "vectors": 2}


def test_a_vector_is_known_for_its_model_only(catalog: Catalog, root: Root) -> None:
    record(catalog, entry(root, "a", content=b"A"))
    assert catalog.has_vector(b"A", MODEL.identity)
    assert not catalog.has_vector(b"A", "another")
    assert not catalog.has_vector(b"B", MODEL.identity)


def test_a_batch_is_recorded_whole_or_not_at_all(catalog: Catalog, root: Root) -> None:
    before = catalog.stamp()
    unknown = entry(root, "b", None, b"never encoded")
    with pytest.raises(LibraryError):
        record(catalog, entry(root, "a"), unknown, entry(root, "c"))
    assert catalog.counts() == {"items": 0, "texts": 0, "offline": 0, "contents": 0, "vectors": 0}
    assert catalog.stamp() == before


def test_each_batch_and_each_removal_makes_a_generation(catalog: Catalog, root: Root) -> None:
    assert catalog.stamp()[1] == 0
    record(catalog, entry(root, "a"))
    record(catalog, entry(root, "b"))
    assert catalog.stamp()[1] == 2
    catalog.remove([1])
    assert catalog.stamp()[1] == 3


def test_libraries_have_different_stamps(catalog: Catalog, tmp_path: Path) -> None:
    other = Catalog(tmp_path / "other", create=True)
    assert other.stamp()[1] == catalog.stamp()[1]
    assert other.stamp() != catalog.stamp()
    other.close()


def test_a_changed_item_keeps_its_id(catalog: Catalog, root: Root) -> None:
    record(catalog, entry(root, "a", EAST, b"old"), entry(root, "b"))
    record(catalog, entry(root, "a", NORTH, b"new"))
    assert rows(catalog) == {"a": 1, "b": 2}
    assert vectors(catalog)[1] == NORTH.tolist()


def test_a_moved_item_keeps_its_id_and_vector(catalog: Catalog, root: Root) -> None:
    record(catalog, entry(root, "a"))
    place = Item(os.path.join(root.path, "z"), 11, 2000)
    catalog.record([], [(1, place, root.id)], MODEL.identity, "fake f32")
    (item,) = catalog.items([1])
    assert (item.path, item.size, item.modified_ns) == (place.path, 11, 2000)
    assert vectors(catalog) == {1: EAST.tolist()}


def test_an_id_is_never_used_twice(catalog: Catalog, root: Root) -> None:
    record(catalog, entry(root, "a"), entry(root, "b"))
    catalog.remove([2])
    record(catalog, entry(root, "c"))
    assert rows(catalog) == {"a": 1, "c": 3}


def test_removed_items_leave_their_vectors_behind(catalog: Catalog, root: Root) -> None:
    record(catalog, entry(root, "a", content=b"A"))
    catalog.remove([1])
    assert catalog.has_vector(b"A", MODEL.identity)
    assert vectors(catalog) == {}


def test_a_snapshot_does_not_see_what_is_written_after_it(catalog: Catalog, root: Root) -> None:
    record(catalog, entry(root, "a"))
    with catalog.snapshot(MODEL.identity, 4) as snapshot:
        record(catalog, entry(root, "b"))
        assert snapshot.count == 1
        assert [number for number, _ in snapshot.vectors()] == [1]
        assert snapshot.stamp[1] == catalog.stamp()[1] - 1


def test_hashes_are_told_of_the_paths_that_are_items(catalog: Catalog, root: Root) -> None:
    record(catalog, entry(root, "a"))
    known, unknown = entry(root, "a").item.path, entry(root, "b").item.path
    assert list(catalog.hashes_of([known, unknown])) == [known]


def test_a_path_that_is_not_utf8_comes_back_byte_for_byte(catalog: Catalog, root: Root) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    assert isinstance(to_sql(name), bytes)
    record(catalog, entry(root, name, content=b"A"))
    assert os.fsencode(catalog.items([1])[0].path).endswith(b"/caf\xe9.png")
    path = os.path.join(root.path, name)
    assert list(catalog.hashes_of([path])) == [path]


def test_a_catalog_opened_for_reading_cannot_write(catalog: Catalog, folder: Path) -> None:
    reader = Catalog(folder)
    with pytest.raises(LibraryReadOnlyError):
        reader.set_model(MODEL)
    reader.close()
    assert catalog.model() is None


def test_an_error_inside_a_transaction_undoes_it(catalog: Catalog) -> None:
    def half_a_change() -> None:
        with catalog.writing() as db:
            db.execute("INSERT INTO meta VALUES ('key', 'value')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half_a_change()
    catalog.set_model(MODEL)
    with catalog.reading() as db:
        assert db.execute("SELECT 1 FROM meta WHERE key = 'key'").fetchone() is None


# -- roots ----------------------------------------------------------------------------------------


def test_a_root_says_whether_it_is_a_file(catalog: Catalog, pictures_folder: str) -> None:
    file = Path(pictures_folder, "a.png")
    file.touch()
    assert not catalog.add_root(pictures_folder, "/").is_file
    assert catalog.add_root(str(file), "/").is_file


def test_roots_are_listed_by_path_as_they_were_added(catalog: Catalog, pictures_folder: str) -> None:
    later = catalog.add_root(pictures_folder, "/")
    earlier = catalog.add_root("/" + os.fsdecode(b"\xe9"), "/mnt")
    assert catalog.roots() == sorted([later, earlier], key=lambda root: root.path)


def test_items_of_a_root_that_is_missing_are_offline(catalog: Catalog, root: Root) -> None:
    record(catalog, entry(root, "a"))
    catalog.update_root(root, online=False, mount="/")
    assert not catalog.items([1])[0].online
    assert catalog.counts()["offline"] == 1
    catalog.update_root(root, online=True, mount="/")
    assert catalog.items([1])[0].online


def test_a_new_root_takes_the_items_below_it_and_no_others(catalog: Catalog, root: Root) -> None:
    record(catalog, entry(root, "sub/a"), entry(root, "sub"), entry(root, "submarine/b"), entry(root, "c"))
    below = catalog.add_root(os.path.join(root.path, "sub"), "/")
    assert catalog.count_in(below) == 2  # the folder's, and what had its name when it was a file
    assert catalog.count_in(root) == 2


def test_a_root_without_items_can_be_forgotten(catalog: Catalog, root: Root) -> None:
    catalog.remove_root(root)
    assert catalog.roots() == []


@pytest.mark.parametrize(
    ("path", "folder", "below"),
    [
        ("/a/b", "/a", True),
        ("/a/b/c", "/a", True),
        ("/a", "/", True),
        ("/a", "/a", False),
        ("/ab", "/a", False),
        ("/a", "/a/b", False),
        ("/", "/", False),
    ],
)
def test_below_means_inside_at_any_depth(path: str, folder: str, below: bool) -> None:
    assert is_below(path, folder) is below


# -- scan -----------------------------------------------------------------------------------------


def found(root: Root, *names: str, size: int = 10, modified_ns: int = 1000) -> list[Item]:
    return [Item(os.path.join(root.path, name), size, modified_ns) for name in names]


def pending(scan: Scan) -> list[str]:
    return [os.path.basename(item.path) for item, _ in scan.pending()]


def test_new_and_changed_files_are_pending_and_others_are_not(catalog: Catalog, root: Root) -> None:
    record(catalog, entry(root, "same"), entry(root, "resized"), entry(root, "touched"))
    scan = Scan(catalog)
    scan.add(root, found(root, "same", "new"))
    scan.add(root, found(root, "resized", size=11) + found(root, "touched", modified_ns=1001))
    assert pending(scan) == ["new", "resized", "touched"]
    assert scan.counts() == (3, 1)
    assert scan.missing() == []


def test_what_was_not_found_is_missing(catalog: Catalog, root: Root) -> None:
    record(catalog, entry(root, "a"), entry(root, "b"))
    scan = Scan(catalog)
    scan.add(root, found(root, "b"))
    assert scan.missing() == [1]


def test_nothing_is_missing_from_a_root_that_was_not_scanned(
    catalog: Catalog, root: Root, tmp_path: Path
) -> None:
    record(catalog, entry(root, "a"))
    scan = Scan(catalog)
    scan.add(catalog.add_root(str(tmp_path / "other"), "/"), [])
    assert scan.missing() == []


def test_a_new_scan_knows_nothing_of_the_last(catalog: Catalog, root: Root) -> None:
    Scan(catalog).add(root, found(root, "a"))
    assert Scan(catalog).counts() == (0, 0)


def test_pending_files_are_met_once_each_while_they_are_recorded(
    catalog: Catalog, root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_module, "_PAGE", 2)
    names = [*"abcdefg", os.fsdecode(b"\xe9"), os.fsdecode(b"\xea")]
    scan = Scan(catalog)
    scan.add(root, found(root, *names))
    met = []
    for item, root_id in scan.pending():
        assert root_id == root.id
        met.append(os.path.basename(item.path))
        record(catalog, entry(root, met[-1], content=os.fsencode(met[-1])))
    assert met == names
    assert pending(scan) == []


def test_a_file_found_in_two_roots_counts_for_the_first(catalog: Catalog, root: Root, tmp_path: Path) -> None:
    other = catalog.add_root(str(tmp_path / "other"), "/")
    scan = Scan(catalog)
    scan.add(root, found(root, "a"))
    scan.add(other, found(root, "a"))
    assert [root_id for _, root_id in scan.pending()] == [root.id]


def test_a_missing_item_is_recognised_by_its_content_once(catalog: Catalog, root: Root) -> None:
    record(catalog, entry(root, "a", content=b"A"), entry(root, "b", None, b"A"), entry(root, "c"))
    scan = Scan(catalog)
    scan.add(root, found(root, "x", "y", "z"))
    assert scan.missing_with(b"A", besides=[]) == 1
    assert scan.missing_with(b"A", besides=[1]) == 2
    assert scan.missing_with(b"A", besides=[1, 2]) is None
    assert scan.missing_with(b"B", besides=[]) is None


def test_a_scan_that_fails_half_way_leaves_the_catalog_usable(catalog: Catalog, root: Root) -> None:
    def broken() -> Iterator[Item]:
        yield from found(root, "a")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Scan(catalog).add(root, broken())
    record(catalog, entry(root, "b"))
    assert rows(catalog) == {"b": 1}


def test_a_missing_table_is_an_error_about_the_library(catalog: Catalog, folder: Path) -> None:
    with catalog.writing() as db:
        db.execute("DROP TABLE vectors")
    with pytest.raises(LibraryError, match=str(folder)):
        catalog.counts()


def test_a_vector_of_the_wrong_length_is_damage(catalog: Catalog, root: Root) -> None:
    record(catalog, entry(root, "a"))
    error = pytest.raises(LibraryDamagedError, match="item 1 has 8 bytes, wanted 16")
    with catalog.snapshot(MODEL.identity, 8) as snapshot, error:
        list(snapshot.vectors())
