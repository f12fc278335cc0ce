"""verify, backup and compact: what each finds, copies and throws out, and what it leaves alone."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from crosslens import Library, Matcher
from crosslens.cli.app import main
from crosslens.errors import (
    InputError,
    LibraryBusyError,
    LibraryDamagedError,
    LibraryNotFoundError,
)
from crosslens.maintenance.backup_and_compact import backup, compact, verify_deep
from crosslens.maintenance.integrity_check import Verification, verify
from crosslens.maintenance.tagging import tag
from crosslens.store.locks import writer_lock
from crosslens.store.schema import DATABASE

# Bits flipped, one database to each.
FLIPS = int(os.environ.get("CROSSLENS_SOAK_FLIPS", "60"))


@pytest.fixture
def folder(tmp_path: Path, fake: Matcher, pictures: Path) -> Path:
    """A closed library of four pictures and two texts."""
    with Library.open(tmp_path / "library", fake) as library:
        library.index(pictures)
        library.add(texts=["a red wall", "the blue sea"])
        library.search("red")
        library.search("red", kind="text")
    return tmp_path / "library"


def change(folder: Path, *statements: str) -> None:
    database = sqlite3.connect(folder / DATABASE)
    with database:
        for statement in statements:
            database.execute(statement)
    database.close()


def dump(folder: Path) -> list[str]:
    """Everything in a database but the library's identity."""
    database = sqlite3.connect(folder / DATABASE)
    rows = [line for line in database.iterdump() if "'library'" not in line]
    database.close()
    return rows


def said(found: Verification) -> str:
    return "\n".join(f"{finding.what}. {finding.remedy}." for finding in found.findings)


# -- verify ---------------------------------------------------------------------------------------


def test_a_whole_library_is_clean_and_everything_was_looked_at(folder: Path) -> None:
    found = verify(folder)
    assert found.clean, said(found)
    wanted = {"contents": 6, "roots": 2, "items": 6, "vectors": 6, "derived folders": 2}
    assert found.checked.items() >= wanted.items()


def test_a_missing_library_is_an_error_and_no_finding(tmp_path: Path) -> None:
    with pytest.raises(LibraryNotFoundError):
        verify(tmp_path)


DAMAGE = {
    "UPDATE vectors SET vector = x'00' WHERE rowid = 2": "item 2: its vector has 1 bytes, wanted 8",
    "UPDATE vectors SET vector = zeroblob(8) WHERE rowid = 2": "item 2: its vector has length 0, wanted 1",
    "UPDATE vectors SET vector = x'007e007e007e007e' WHERE rowid = 3": "item 3: its vector has length nan",
    "UPDATE vectors SET vector = x'003c000000000000' WHERE rowid = 1": "item 1: its vector is not the one",
    "DELETE FROM vectors WHERE rowid = 1": "item 1: it has no vector",
    "UPDATE contents SET hash = x'00' WHERE rowid = 1": "hash of another length",
    "UPDATE contents SET text = 'a rad wall' WHERE text = 'a red wall'": "its text is not the one",
    "UPDATE contents SET width = 'wide' WHERE rowid = 1": "'wide' ×",
    "DELETE FROM roots WHERE id = 1": "of items belongs to nothing in roots",
    "UPDATE roots SET path = '/elsewhere' WHERE id = 1": "does not lie in '/elsewhere'",
    "UPDATE roots SET online = 7 WHERE id = 1": "root 1 is",
    "UPDATE items SET path = '/elsewhere/x.png' WHERE id = 1": "item 1, '/elsewhere/x.png', does not lie in",
    "UPDATE items SET size = -1 WHERE id = 1": "item 1 has size -1",
    "UPDATE sqlite_sequence SET seq = 1 WHERE name = 'items'": "a number that was never given out",
    "UPDATE meta SET value = 'many' WHERE key = 'generation'": "the generation is 'many'",
    "DELETE FROM meta WHERE key LIKE 'model.%'": "no model is noted",
    "DROP INDEX items_hash": "items_hash is not as format",
    "DROP TABLE vectors": "vectors is not as format",
}


@pytest.mark.parametrize(("statement", "what"), DAMAGE.items())
def test_damage_of_every_kind_is_found_with_the_way_back(folder: Path, statement: str, what: str) -> None:
    change(folder, statement)
    found = verify(folder)
    assert what in said(found)
    assert f"crosslens backup -L BACKUP {folder}" in said(found)


def test_of_many_findings_of_one_kind_some_are_named_and_the_rest_counted(
    folder: Path, fake: Matcher
) -> None:
    with Library.open(folder, fake) as library:
        library.add(texts=[f"red {number}" for number in range(40)])
    change(folder, "UPDATE vectors SET vector = zeroblob(8)")
    found = verify(folder)
    assert len(found.findings) < 30
    assert "more items whose vectors are missing or damaged" in said(found)


def test_a_damaged_vector_is_encoded_anew_by_what_the_finding_says(
    folder: Path, pictures: Path, fake: Matcher
) -> None:
    before = {line.partition("VALUES")[2] for line in dump(folder) if 'INTO "vectors"' in line}
    change(folder, "UPDATE vectors SET vector = zeroblob(8) WHERE rowid = 2")
    assert "crosslens remove -L" in verify(folder).findings[0].remedy
    with Library.open(folder, fake) as library:
        library.remove(2)
        compact(folder)
        assert library.index().encoded == 1
    assert verify(folder).clean
    assert {line.partition("VALUES")[2] for line in dump(folder) if 'INTO "vectors"' in line} == before


def test_a_damaged_derived_file_is_found_and_the_next_search_makes_it_anew(
    folder: Path, fake: Matcher
) -> None:
    for name in ("index.faiss", "ids.npy", "moments.npy", "stamp.json"):
        for spoil in (_flip, _cut):
            [file] = (folder / "derived").glob(f"*[!t]/{name}")
            spoil(file)
            found = verify(folder)
            assert "the next search makes it anew" in said(found), (name, spoil)
            with Library.open(folder, fake) as library:
                assert library.search("red", k=1)[0].path.endswith("red.png")
            assert verify(folder).clean


def _flip(file: Path, position: int | None = None, bit: int = 1) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2 if position is None else position] ^= bit
    file.write_bytes(data)


def _cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


def test_drafts_and_derived_files_of_the_past_are_no_findings(folder: Path) -> None:
    (folder / "derived" / ".draft-1").mkdir()
    (folder / "derived" / "0-abc").mkdir()
    assert verify(folder).clean


def test_garbage_is_a_finding_with_the_way_back(folder: Path) -> None:
    (folder / DATABASE).write_bytes(random.Random(0).randbytes(9999))  # noqa: S311
    assert f"mv {folder} {folder}.damaged; crosslens backup -L BACKUP {folder}" in said(verify(folder))


def test_flipped_bits_of_a_database_are_found_or_change_nothing_that_is_searched(
    folder: Path, fake: Matcher
) -> None:
    """Where nothing is found, ids, paths, hashes, texts, vectors, tags and words of items are as before."""
    with Library.open(folder, fake) as library:
        ids = library.add(texts=[f"{colour} wall {n}" for n in range(100) for colour in ("red", "blue")])
        tag(library, ids[::3], ["family/anna", "house"])
        library.search("red")
        library.search("red", kind="text")
    compact(folder)
    good, wanted, everything = (folder / DATABASE).read_bytes(), _what_is_searched(folder), dump(folder)
    chance = random.Random(FLIPS)  # noqa: S311
    counts: Counter[str] = Counter()
    for _ in range(FLIPS):
        for suffix in ("-wal", "-shm"):
            (folder / (DATABASE + suffix)).unlink(missing_ok=True)
        (folder / DATABASE).write_bytes(good)
        position, bit = chance.randrange(len(good)), chance.randrange(8)
        _flip(folder / DATABASE, position, 1 << bit)
        found = verify(folder)
        if not found.clean:
            anew = all(f"crosslens compact -L {folder} makes it anew" in f.remedy for f in found.findings)
            if anew:
                compact(folder)
                assert verify(folder).clean
                assert _what_is_searched(folder) == wanted
            assert anew or f"crosslens backup -L BACKUP {folder}" in said(found)
            counts["found, in the index of words" if anew else "found"] += 1
            continue
        assert _what_is_searched(folder) == wanted, f"bit {bit} of byte {position} changed what is searched"
        counts["in unused space" if dump(folder) == everything else "in facts that are there once"] += 1
    print(f"{FLIPS} bits flipped in {len(good):,} bytes: {dict(counts)}")
    assert counts["found"] > FLIPS / 4


def _what_is_searched(folder: Path) -> list[list[tuple[object, ...]]]:
    database = sqlite3.connect(folder / DATABASE)
    tables = "items LEFT JOIN contents USING (hash) LEFT JOIN vectors USING (hash)"
    words = [
        f'"{word}"' for word in ("red", "wall", "png", "blue wall 7", "family anna", "house", "17", "none")
    ]
    rows = [
        database.execute(f"SELECT id, path, hash, text, vector FROM {tables} ORDER BY id").fetchall(),
        database.execute("SELECT hash, key, tag FROM tags ORDER BY hash, key").fetchall(),
        *(
            database.execute(
                f"SELECT rowid, bm25(words) FROM words WHERE words MATCH ?{order}", (word,)
            ).fetchall()
            for word in words
            for order in ("", " ORDER BY bm25(words), rowid")
        ),
    ]
    database.close()
    return rows


def test_verify_writes_nothing(folder: Path) -> None:
    def states() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    verify(folder)  # whose -shm stays
    before = states()
    verify(folder)
    assert states() == before


# -- verify --deep --------------------------------------------------------------------------------


def deep(folder: Path, fake: Matcher) -> Verification:
    with Library.open(folder, fake) as library:
        return verify_deep(library)


def test_deep_hashes_files_and_encodes_a_sample_again(folder: Path, fake: Matcher) -> None:
    found = deep(folder, fake)
    assert found.clean, said(found)
    assert found.checked["files hashed"] == 4
    assert found.checked["encoded again"] == 6


def test_deep_finds_a_picture_that_changed_behind_its_size_and_time(
    folder: Path, fake: Matcher, pictures: Path
) -> None:
    file = pictures / "red.png"
    status = file.stat()
    _flip(file)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert f"{file} holds other bytes than were indexed" in said(deep(folder, fake))
    file.touch()
    assert deep(folder, fake).clean  # the next `index` will see to it


def test_deep_passes_over_files_that_are_away(folder: Path, fake: Matcher, pictures: Path) -> None:
    shutil.rmtree(pictures)
    found = deep(folder, fake)
    assert found.clean
    assert found.checked["files away or changed since"] == 4


def test_deep_finds_a_sound_vector_that_is_not_the_pictures(folder: Path, fake: Matcher) -> None:
    change(folder, "UPDATE vectors SET vector = x'0000003c00000000' WHERE rowid = 1")
    shutil.rmtree(folder / "derived")
    assert verify(folder).clean
    assert "item 1: encoded again, its vector has cosine" in said(deep(folder, fake))


# -- backup ---------------------------------------------------------------------------------------


def test_a_backup_holds_what_the_library_holds_and_is_one_of_its_own(
    folder: Path, tmp_path: Path, fake: Matcher
) -> None:
    made = backup(folder, tmp_path / "backup")
    assert (made.items, made.vectors) == (6, 6)
    assert [path.name for path in (tmp_path / "backup").iterdir()] == [DATABASE]
    assert dump(tmp_path / "backup") == dump(folder)
    with Library.open(tmp_path / "backup", fake) as copy, Library.open(folder, fake) as library:
        assert copy.search("red") == library.search("red")
        assert copy.database.stamp() != library.database.stamp()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_backup_includes_what_is_only_in_the_log(folder: Path, tmp_path: Path, fake: Matcher) -> None:
    with Library.open(folder, fake) as library:
        library.add(texts="green grass")
        assert (folder / f"{DATABASE}-wal").stat().st_size > 0
        assert backup(folder, tmp_path / "backup").items == 7


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_a_target_that_exists_is_refused_and_left_alone(folder: Path, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "target"
    if kind == "file":
        target.touch()
    elif kind == "folder":
        target.mkdir()
    else:
        target.symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="exists"):
        backup(folder, target)
    assert not target.is_dir() or not list(target.iterdir())


def test_a_library_that_is_not_sound_is_not_backed_up_and_says_why(folder: Path, tmp_path: Path) -> None:
    change(folder, "DELETE FROM vectors WHERE rowid = 1")
    with pytest.raises(LibraryDamagedError, match=r"item 1: it has no vector.*crosslens verify"):
        backup(folder, tmp_path / "backup")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["library", "pictures"]


def test_an_interrupted_backup_is_not_there(folder: Path, tmp_path: Path) -> None:
    def interrupt(_progress: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup(folder, tmp_path / "backup", interrupt)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["library", "pictures"]


_ON_A_SMALL_DISK = """
import os, subprocess, sys
from pathlib import Path
from crosslens.errors import LibraryFullError
from crosslens.maintenance.tagging import tag
from crosslens.maintenance.backup_and_compact import backup
disk, library = sys.argv[1:]
if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", disk], stderr=-3).returncode:
    sys.exit("no mount")
try:
    backup(Path(library), Path(disk, "backup"))
except LibraryFullError:
    print("full", os.listdir(disk))
"""


def test_a_backup_to_a_full_disk_leaves_nothing_there(folder: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["unshare", "--mount", sys.executable, "-c", _ON_A_SMALL_DISK, disk, folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "no mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip("file systems may not be mounted here")
    assert (done.stdout, done.stderr) == ("full []\n", "")


def test_a_damaged_library_is_replaced_by_its_backup_as_the_finding_says(
    folder: Path, tmp_path: Path, fake: Matcher
) -> None:
    with Library.open(folder, fake) as library:
        wanted = library.search("red")
    backup(folder, tmp_path / "backup")
    data = (folder / DATABASE).read_bytes()
    (folder / DATABASE).write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    assert not verify(folder).clean
    folder.rename(f"{folder}.damaged")
    backup(tmp_path / "backup", folder)
    assert verify(folder).clean
    with Library.open(folder, fake) as library:
        assert library.search("red") == wanted
        assert library.index().unchanged == 4


def test_verify_search_and_backup_while_another_writes(folder: Path, tmp_path: Path, fake: Matcher) -> None:
    stop, failed = threading.Event(), []

    def write() -> None:
        number = 0
        try:
            with Library.open(folder, Matcher("fake")) as library:
                while not stop.is_set():
                    number += 1
                    library.add(texts=[f"red {number}", f"blue {number}"])
                    if number % 5 == 0:
                        library.search("red", kind="text")
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    counts, until = [], time.monotonic() + 2
    with Library.open(folder, fake) as library:
        while time.monotonic() < until:
            found = verify(folder)
            assert found.clean, said(found)
            made = backup(folder, tmp_path / f"backup{len(counts)}")
            hits = library.search("red", k=10_000, kind="text")
            assert len({hit.id for hit in hits}) == len(hits) >= made.items - 4
            counts.append(made.items)
    stop.set()
    thread.join()
    assert not failed
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]


# -- compact --------------------------------------------------------------------------------------


def test_compact_drops_what_no_item_uses_and_nothing_else(
    folder: Path, fake: Matcher, pictures: Path
) -> None:
    with Library.open(folder, fake) as library:
        library.remove(pictures / "red.png")
        wanted = library.search("blue")
        assert verify(folder).spare == 1
        done = compact(folder)
        assert (done.vectors, done.contents) == (1, 1)
        assert library.search("blue") == wanted
        assert verify(folder).clean
        assert verify(folder).spare == 0
        assert library.index().encoded == 1  # it was there, and had to be encoded again


def test_compact_gives_space_back(folder: Path, fake: Matcher) -> None:
    with Library.open(folder, fake) as library:
        ids = library.add(texts=[f"red {number} " + "x" * 900 for number in range(300)])
        library.remove(ids)
    done = compact(folder)
    assert done.contents == 300
    assert done.after < done.before / 3


def test_compact_deletes_derived_files_of_the_past_and_no_draft_at_work(folder: Path) -> None:
    derived = folder / "derived"
    now = {path.name for path in derived.iterdir() if verify(folder).clean}
    for name in ("0-abc", "1-abc-text", ".draft-new", ".draft-old"):
        (derived / name).mkdir()
    os.utime(derived / ".draft-old", (0, 0))
    assert compact(folder).folders == 3 + len([name for name in now if name.startswith("1-")])
    assert (derived / ".draft-new").exists()
    assert verify(folder).clean


def test_compact_keeps_codes_of_the_past_until_there_are_newer(folder: Path) -> None:
    generation = next((folder / "derived").iterdir()).name.partition("-")[0]
    (folder / "derived" / "0-abc-ann").mkdir()
    assert compact(folder).folders == 0
    (folder / "derived" / f"{generation}-abc-ann").mkdir()
    assert compact(folder).folders == 1


def test_compact_is_refused_while_another_process_writes(folder: Path) -> None:
    with writer_lock(folder), pytest.raises(LibraryBusyError, match=rf"\(pid {os.getpid()}\)"):
        compact(folder)


def test_compact_makes_no_library(tmp_path: Path) -> None:
    with pytest.raises(LibraryNotFoundError):
        compact(tmp_path / "none")
    assert not (tmp_path / "none").exists()


# -- at the command line --------------------------------------------------------------------------


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.setattr("crosslens.cli.app._prepare_streams", lambda: None)
    return lambda *words: main([str(word) for word in words])


def test_the_exit_status_of_verify_says_whether_all_is_well(
    folder: Path, command_line: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line("verify", "-L", folder, "--deep") == 0
    assert "whole; looked at" in capsys.readouterr().out
    change(folder, "DELETE FROM vectors WHERE rowid = 1")
    assert command_line("verify", "-L", folder) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("item 1: it has no vector. Have it encoded anew: crosslens remove")
    assert "finding" in lines[-1]
    assert command_line("verify", "-L", folder, "--json") == 1
    assert json.loads(capsys.readouterr().out)["clean"] is False


def test_backup_and_compact_say_what_they_did(
    folder: Path, tmp_path: Path, command_line: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line("backup", tmp_path / "backup", "-L", folder) == 0
    assert capsys.readouterr().out.startswith(f"6 items and 6 vectors in {tmp_path / 'backup'}, ")
    assert command_line("compact", "-L", folder, "--json") == 0
    assert json.loads(capsys.readouterr().out)["contents"] == 0
