"""The full-text index: kept by the database itself, checked by verify, and made anew by compact."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from crosslens import Library, Matcher
from crosslens.errors import LibraryDamagedError, LibraryFullError
from crosslens.maintenance.backup_and_compact import backup, compact
from crosslens.maintenance.import_export import export_vectors, import_vectors
from crosslens.maintenance.integrity_check import verify
from crosslens.maintenance.tagging import tag, untag
from crosslens.store.database import Catalog
from crosslens.store.fulltext import matching
from crosslens.store.schema import DATABASE
from crosslens.store.tag_rows import renew_facts
from crosslens.types import Facts


@pytest.fixture
def folder(tmp_path: Path, fake: Matcher, pictures: Path) -> Path:
    """A closed library of four pictures, of which one is tagged, and a hundred texts."""
    with Library.open(tmp_path / "library", fake) as library:
        library.index(pictures)
        library.add(
            texts=[f"wall number {number}" for number in range(100)], names=[str(n) for n in range(100)]
        )
        tag(library, pictures / "red.png", "family/anna")
    return tmp_path / "library"


def change(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / DATABASE)) as database, database:
        for statement in statements:
            database.execute(statement)


def ids_with(folder: Path, words: str, kind: str = "image") -> list[int]:
    with closing(Catalog(folder)) as catalog:
        return sorted(matching(catalog, kind, words).tolist())  # type: ignore[arg-type]


def said(folder: Path) -> str:
    return "\n".join(f"{finding.what}. {finding.remedy}." for finding in verify(folder).findings)


def triggers(folder: Path) -> set[str]:
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")}


# -- kept -----------------------------------------------------------------------------------------


def test_adding_tagging_replacing_and_removing_are_in_the_index_with_their_commit(
    folder: Path, fake: Matcher, pictures: Path
) -> None:
    with Library.open(folder, fake) as library:
        [number] = library.add(texts="a yellow submarine", names="7")  # instead of wall number 7
        assert ids_with(folder, "wall number 7", "text") == []
        assert ids_with(folder, "submarine", "text") == [number]
        tag(library, number, "music")
        assert ids_with(folder, "music", "text") == [number]
        untag(library, number, "music")
        assert ids_with(folder, "music", "text") == []
        os.rename(pictures / "red.png", pictures / "crimson.png")
        library.index()
        assert ids_with(folder, "red") == []
        assert ids_with(folder, "crimson") == ids_with(folder, "anna") != []
        library.remove(number)
        assert ids_with(folder, "submarine", "text") == []
    assert said(folder) == ""


def test_a_caption_that_is_not_there_any_more_is_not_found_any_more(folder: Path) -> None:
    with closing(Catalog(folder, create=True)) as catalog:
        for caption, found in (("a lighthouse", 1), (None, 0), ("the lighthouse", 1)):
            with catalog.writing() as db:
                (hash_,) = db.execute("SELECT hash FROM items WHERE id = 1").fetchone()
                renew_facts(db, hash_, Facts(caption=caption))
            assert len(ids_with(folder, "lighthouse")) == found
            assert said(folder) == ""


@pytest.mark.parametrize("by", ["VACUUM", "backup", "compact", "export and import"])
def test_the_index_and_what_keeps_it_survive(
    folder: Path, tmp_path: Path, fake: Matcher, pictures: Path, by: str
) -> None:
    if by == "VACUUM":
        change(folder, "DELETE FROM items WHERE id % 3 = 0")
        with closing(sqlite3.connect(folder / DATABASE, isolation_level=None)) as database:
            database.execute("VACUUM")
    elif by == "compact":
        change(folder, "DELETE FROM items WHERE id % 3 = 0")
        compact(folder)
    elif by == "backup":
        backup(folder, tmp_path / "backup")
        folder = tmp_path / "backup"
    else:
        with Library.open(folder, fake) as library, Library.open(tmp_path / "other", fake) as other:
            export_vectors(library, tmp_path / "out.parquet")
            import_vectors(other, tmp_path / "out.parquet")
        folder = tmp_path / "other"
    assert len(triggers(folder)) == 7
    assert len(ids_with(folder, "wall number", "text")) in (66, 67, 100)
    with Library.open(folder, fake) as library:
        [number] = library.add(texts="a yellow submarine")
        tag(library, number, "music")
        library.remove(pictures / "blue.png")
    assert ids_with(folder, "submarine", "text") == ids_with(folder, "music", "text") == [number]
    assert ids_with(folder, "blue") == []
    assert said(folder) == ""


# -- damaged --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE words_content SET c1 = 'a mill' WHERE id = 7",
        "DELETE FROM words_content WHERE id = 7",
        "UPDATE words_docsize SET sz = x'010109' WHERE id = 7",
        "UPDATE words_data SET block = zeroblob(length(block)) WHERE id > 10",
        "UPDATE words_data SET block = x'00' WHERE id = 10",
        "DELETE FROM words WHERE rowid = 7",
    ],
)
def test_a_damaged_index_is_found_and_made_anew_by_what_the_finding_says(folder: Path, damage: str) -> None:
    change(folder, damage)
    before = (folder / DATABASE).read_bytes()
    assert f"crosslens compact -L {folder}" in said(folder)
    assert (folder / DATABASE).read_bytes() == before
    compact(folder)
    assert said(folder) == ""
    assert ids_with(folder, "wall number 2", "text") == [7]
    assert ids_with(folder, "anna") != []


def test_a_tag_or_a_caption_that_differs_from_the_index_is_damaged_itself(folder: Path) -> None:
    for damage in (
        "UPDATE tags SET tag = 'family/anne'",
        "UPDATE contents SET text = 'mill' WHERE rowid = 9",
    ):
        change(folder, damage)
        assert "its name, caption and tags are not those in the index of words" in said(folder)
        assert f"crosslens backup -L BACKUP {folder}" in said(folder)
        assert "Nothing is lost" not in said(folder)


def test_a_search_that_meets_a_damaged_index_says_how_to_make_it_anew(folder: Path, fake: Matcher) -> None:
    change(folder, "UPDATE words_data SET block = x'00' WHERE id > 10")
    with pytest.raises(LibraryDamagedError, match=r"index of words is damaged.*Nothing is lost.*compact -L"):
        ids_with(folder, "wall", "text")
    with Library.open(folder, fake) as library:
        assert len(library.search("red")) == 4  # by meaning


def test_temporary_files_that_find_no_room_are_no_damage(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: sqlite3.Connection) -> bool:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr("crosslens.maintenance.integrity_check.words_are_indexed", full)
    with pytest.raises(LibraryFullError, match="TMPDIR"):
        verify(folder)
