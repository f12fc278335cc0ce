"""Real faults: interruptions, kills, full and read-only disks, busy, foreign and damaged libraries."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crosslens import Library, Matcher, Progress
from crosslens.errors import (
    LibraryBusyError,
    LibraryDamagedError,
    LibraryFullError,
    LibraryModelError,
    LibraryNotFoundError,
    LibraryVersionError,
)
from crosslens.library import indexing
from crosslens.store import schema
from crosslens.store.schema import DATABASE, VERSION
from crosslens.towers.fake_model import FAKE_SPEC, FakeModel

MANY = 400


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "library"


@pytest.fixture
def every_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is reported after each batch, however soon it follows the last."""
    monkeypatch.setattr(indexing, "_PROGRESS_SECONDS", 0)


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four hundred pictures of different colours."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(MANY):
        Image.new("RGB", (8, 8), (number % 256, number // 256, 99)).save(folder / f"{number:03}.png")
    return folder


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def vectors(folder: Path) -> dict[str, bytes]:
    """What the database holds, sound: the vector of each path, and no item without one."""
    if not (folder / DATABASE).exists():
        return {}
    database = sqlite3.connect(folder / DATABASE)
    try:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        if database.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
            return {}
        rows = database.execute("SELECT path, vector FROM items LEFT JOIN vectors USING (hash)").fetchall()
    finally:
        database.close()
    assert all(len(vector) == 2 * FAKE_SPEC.dimension for _, vector in rows)
    return dict(rows)


@pytest.fixture(scope="session")
def undisturbed(many: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a library of the many pictures holds when nothing goes wrong."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with Library.open(folder, "fake") as library:
        library.index(many)
    return vectors(folder)


# -- interrupted ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("every_progress")
@pytest.mark.parametrize("moment", [0, 1, 3])
def test_an_interrupted_run_keeps_what_was_committed_and_the_next_one_finishes(
    folder: Path, fake: Matcher, many: Path, undisturbed: dict[str, bytes], moment: int
) -> None:
    calls: list[Progress] = []

    def interrupt(progress: Progress) -> None:
        calls.append(progress)
        if len(calls) > moment:
            raise KeyboardInterrupt

    with Library.open(folder, fake) as library:
        with pytest.raises(KeyboardInterrupt):
            library.index(many, on_progress=interrupt)
        committed = calls[-1].done
        assert committed == 64 * moment
        assert len(library.search("blue", k=MANY)) == committed
        assert library.index().encoded == MANY - committed
    assert vectors(folder) == undisturbed


_INDEX = """
import sys, time
from crosslens import Library
library = Library.open(sys.argv[1], "fake")
submit = library.matcher.model.image.submit
def slowly(batch):
    time.sleep(0.05)
    return submit(batch)
library.matcher.model.image.submit = slowly
print("ready", flush=True)
library.index(sys.argv[2])
"""


@pytest.mark.parametrize("attempt", range(6))
def test_a_run_killed_at_a_random_moment_leaves_whole_batches_and_the_next_one_finishes(
    folder: Path, many: Path, undisturbed: dict[str, bytes], attempt: int
) -> None:
    moment = random.uniform(0, 0.4)  # noqa: S311
    command = [sys.executable, "-c", _INDEX, folder, many]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(moment)
        process.kill()
    assert process.returncode == -signal.SIGKILL, "the run ended by itself"
    with Library.open(folder, "fake") as library:
        committed = vectors(folder)
        assert committed.items() <= undisturbed.items(), f"wrong when killed after {moment} s"
        assert len(committed) % 64 == 0, f"a torn batch when killed after {moment} s"
        if committed:
            assert {hit.path for hit in library.search("blue", k=MANY)} == committed.keys()
        report = library.index(many)
    assert report.encoded == MANY - len(committed)
    assert vectors(folder) == undisturbed


@pytest.mark.parametrize("header", [False, True])
def test_a_database_whose_making_was_cut_short_is_made_anew(
    folder: Path, fake: Matcher, pictures: Path, header: bool
) -> None:
    """A kill or a full disk between making the file and writing its tables leaves one without tables."""
    folder.mkdir()
    database = sqlite3.connect(folder / DATABASE)
    if header:
        database.execute("PRAGMA journal_mode = WAL")
    database.close()
    (folder / DATABASE).touch()
    with Library.open(folder, fake) as library:
        with pytest.raises(LibraryNotFoundError):
            library.search("red")
        assert library.index(pictures).added == 4


def test_a_library_without_its_first_facts_says_so_and_is_finished_by_the_next_run(
    folder: Path, fake: Matcher, pictures: Path
) -> None:
    schema.open_database(folder, create=True).close()  # as when killed right after the tables were made
    with Library.open(folder, fake) as library:
        with pytest.raises(LibraryNotFoundError, match="crosslens index"):
            library.search("red")
        assert library.index(pictures).added == 4
        assert len(library.search("red")) == 4


# -- no space -------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Limits databases opened from now on to a number of pages; 0 lifts the limit."""
    connect = schema.connect
    limit = 0

    def limited(path: Path, mode: str) -> sqlite3.Connection:
        connection = connect(path, mode)
        if limit:
            connection.execute(f"PRAGMA max_page_count = {limit}")
        return connection

    def set_limit(pages: int) -> None:
        nonlocal limit
        limit = pages

    monkeypatch.setattr(schema, "connect", limited)
    return set_limit


def page_count(folder: Path) -> int:
    database = sqlite3.connect(folder / DATABASE)
    (count,) = database.execute("PRAGMA page_count").fetchone()
    database.close()
    return int(count)


def test_a_full_disk_loses_nothing_that_was_committed(
    folder: Path,
    fake: Matcher,
    pictures: Path,
    many: Path,
    small_disk: Callable[[int], None],
    undisturbed: dict[str, bytes],
) -> None:
    with Library.open(folder, fake) as library:
        library.index(pictures)
        first = vectors(folder)
        small_disk(page_count(folder) + 30)
        with pytest.raises(LibraryFullError, match="Free some and run the same command again") as raised:
            library.index(many)
        assert str(folder) in str(raised.value)
        kept = vectors(folder)
        assert first.items() < kept.items() < (first | undisturbed).items()
        assert {hit.path for hit in library.search("red", k=1000)} == kept.keys()
        small_disk(0)
        assert library.index(many).encoded == len(first) + len(undisturbed) - len(kept)
    assert vectors(folder) == first | undisturbed


def test_a_disk_too_full_for_a_new_library_can_be_freed_and_tried_again(
    folder: Path, fake: Matcher, pictures: Path, small_disk: Callable[[int], None]
) -> None:
    small_disk(2)
    with Library.open(folder, fake) as library, pytest.raises(LibraryFullError):
        library.index(pictures)
    small_disk(0)
    with Library.open(folder, fake) as library:
        assert library.index(pictures).added == 4


_WITH_SMALL_FILES = """
import resource, sys
from crosslens import Library
from crosslens.errors import CrosslensError
with Library.open(sys.argv[1], "fake") as library:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
    try:
        library.index(sys.argv[2])
    except CrosslensError as error:
        print(type(error).__name__)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


def test_a_limit_on_the_size_of_files_is_a_full_disk(
    folder: Path, fake: Matcher, pictures: Path, many: Path, undisturbed: dict[str, bytes]
) -> None:
    with Library.open(folder, fake) as library:
        library.index(pictures)
    first = vectors(folder)
    done = python(_WITH_SMALL_FILES, folder, many, 300_000)
    kept = vectors(folder)
    assert first.items() < kept.items() < (first | undisturbed).items()
    with Library.open(folder) as library:
        assert library.index(many).encoded == len(first) + len(undisturbed) - len(kept)
    assert vectors(folder) == first | undisturbed
    assert (done.stdout, done.stderr) == ("LibraryFullError\n", "")


def test_a_limit_too_small_for_a_new_library_is_a_full_disk_and_can_be_lifted(
    folder: Path, fake: Matcher, pictures: Path
) -> None:
    done = python(_WITH_SMALL_FILES, folder, pictures, 5_000)
    with Library.open(folder, fake) as library:
        assert library.index(pictures).added == 4
    assert (done.stdout, done.stderr) == ("LibraryFullError\n", "")


_SEARCH_WITH_SMALL_FILES = """
import resource, sys
from crosslens import Library
with Library.open(sys.argv[1]) as library:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    print(len(library.search("red", k=1000)))
"""


def test_a_disk_too_full_for_the_derived_files_is_searched_all_the_same(folder: Path, many: Path) -> None:
    with Library.open(folder, "fake") as library:
        library.index(many)
    shutil.rmtree(folder / "derived")
    done = python(_SEARCH_WITH_SMALL_FILES, folder)
    assert (done.stdout, done.stderr) == (f"{MANY}\n", "")
    assert list((folder / "derived").iterdir()) == []


_ON_A_SMALL_DISK = """
import os, shutil, subprocess, sys
from crosslens import Library
from crosslens.errors import LibraryFullError
disk, many, size = sys.argv[1:]
if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", disk], stderr=-3).returncode:
    sys.exit("no mount")
with Library.open(disk + "/library", "fake") as library:
    try:
        library.index(many)
    except LibraryFullError:
        print("full")
subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
with Library.open(disk + "/library", "fake") as library:
    print(library.index(many).unchanged > 0, library.stats().items)
"""


@pytest.mark.parametrize(("kilobytes", "kept"), [(8, False), (60, False), (400, True)])
def test_a_disk_that_is_really_full_can_be_freed_and_the_run_repeated(
    tmp_path: Path, many: Path, kilobytes: int, kept: bool
) -> None:
    """On a small file system in memory, which only this process sees and which ends with it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["unshare", "--mount", sys.executable, "-c", _ON_A_SMALL_DISK, disk, many, str(kilobytes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "no mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip("file systems may not be mounted here")
    assert (done.stdout, done.stderr) == (f"full\n{kept} {MANY}\n", "")


# -- read-only ------------------------------------------------------------------------------------


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that any user can reach, which those of pytest are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


# Imports whatever is needed later: Python itself may lie where nobody can read it.
_AS_NOBODY = """
import os, sys, tempfile
from PIL import Image
from crosslens import Library
from crosslens.errors import LibraryReadOnlyError
folder = sys.argv[1]
# Everything once, so that what is imported late is there: the packages may lie where only root can read.
with tempfile.TemporaryDirectory() as warm:
    Image.new("RGB", (8, 8), "red").save(f"{warm}/red.png")
    for _ in range(2):
        with Library.open(f"{warm}/library", "fake") as library:
            library.index(warm)
            library.search("red")
if os.getuid() == 0:
    try:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    except OSError:
        sys.exit("root for ever")
if os.access(folder, os.W_OK):
    sys.exit("writable all the same")
"""
_SEARCH = """
with Library.open(folder) as library:
    print(*[hit.path.rpartition("/")[2] for hit in library.search("red")])
"""
_INDEX_ROOT = """
try:
    Library.open(folder, "fake").index(sys.argv[1])
except LibraryReadOnlyError as error:
    print(error.remedy)
"""


def as_nobody(folder: Path, code: str) -> str:
    """Run code as a user who cannot write the folder; what it printed."""
    folder.chmod(0o555)
    done = python(_AS_NOBODY + code, folder)
    folder.chmod(0o755)
    if done.stderr.strip() in ("root for ever", "writable all the same"):
        pytest.skip("runs as a user for whom no folder is read-only")
    assert done.stderr == ""
    return done.stdout


def test_a_read_only_library_can_be_searched(public: Path, fake: Matcher, pictures: Path) -> None:
    with Library.open(public, fake) as library:
        library.index(pictures)
    before = {path: path.read_bytes() for path in public.rglob("*") if path.is_file()}
    assert as_nobody(public, _SEARCH) == "red.png yellow.png blue.png green.png\n"
    assert {path: path.read_bytes() for path in public.rglob("*") if path.is_file()} == before


def test_a_read_only_library_without_derived_files_can_be_searched(
    public: Path, fake: Matcher, pictures: Path
) -> None:
    with Library.open(public, fake) as library:
        library.index(pictures)
    shutil.rmtree(public / "derived")
    assert as_nobody(public, _SEARCH) == "red.png yellow.png blue.png green.png\n"


_INDEX_AND_DIE = """
import os, signal, sys
from crosslens import Library
library = Library.open(sys.argv[1], "fake")
library.index(sys.argv[2])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_read_only_library_whose_indexer_was_killed_can_be_searched(public: Path, pictures: Path) -> None:
    assert python(_INDEX_AND_DIE, public, pictures).returncode == -signal.SIGKILL
    assert (public / f"{DATABASE}-wal").stat().st_size > 0
    assert as_nobody(public, _SEARCH) == "red.png yellow.png blue.png green.png\n"


_SEARCH_WHEN_ASKED = """
library = Library.open(folder)
for _ in sys.stdin:
    print(len(library.search("red", k=1000)), flush=True)
"""


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_a_library_opened_read_only_sees_what_its_owner_indexes_later(
    public: Path, fake: Matcher, pictures: Path, paint: Callable[..., Path], journal: str
) -> None:
    with Library.open(public, fake) as library:
        library.index(pictures)
    change(public, f"PRAGMA journal_mode = {journal}")  # DELETE: as when it comes from a network disk
    assert as_nobody(public, _SEARCH)
    public.chmod(0o555)
    command = [sys.executable, "-c", _AS_NOBODY + _SEARCH_WHEN_ASKED, public]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        counts = []
        for colour in ("cyan", "magenta"):
            print(file=process.stdin, flush=True)
            counts.append(process.stdout.readline())
            public.chmod(0o755)
            paint(f"{colour}.png")
            with Library.open(public, fake) as library:
                library.index(pictures)
            public.chmod(0o555)
        process.stdin.close()
    assert counts == ["4\n", "5\n"]


def test_a_read_only_library_cannot_be_indexed(public: Path, fake: Matcher, pictures: Path) -> None:
    with Library.open(public, fake) as library:
        library.index(pictures)
    before = vectors(public)
    assert "searching needs no writing" in as_nobody(public, _INDEX_ROOT)
    assert vectors(public) == before


def test_a_library_cannot_be_made_in_a_read_only_folder(public: Path) -> None:
    assert "Make the folder writable" in as_nobody(public, 'folder += "/new"' + _INDEX_ROOT)
    assert list(public.iterdir()) == []


# -- busy -----------------------------------------------------------------------------------------


def test_a_second_indexer_is_refused_while_one_runs_and_searching_is_not(
    folder: Path, fake: Matcher, pictures: Path
) -> None:
    refused = []

    def meanwhile(_progress: Progress) -> None:
        with Library.open(folder, fake) as other:
            with pytest.raises(LibraryBusyError, match="Wait until it has finished"):
                other.index(pictures)
            refused.append(other.search("red"))

    with Library.open(folder, fake) as library:
        assert library.index(pictures, on_progress=meanwhile).added == 4
        assert library.index(pictures).unchanged == 4
    assert refused


_INDEX_TOO = """
import sys
from crosslens import Library
from crosslens.errors import LibraryBusyError
try:
    Library.open(sys.argv[1]).index()
except LibraryBusyError as error:
    print(error)
"""


def test_a_second_process_is_refused_while_one_indexes(folder: Path, fake: Matcher, pictures: Path) -> None:
    said: list[str] = []

    def meanwhile(_progress: Progress) -> None:
        if not said:
            done = python(_INDEX_TOO, folder)
            said.append(done.stdout + done.stderr)

    with Library.open(folder, fake) as library:
        library.index(pictures)
        library.index(pictures, on_progress=meanwhile)
    refusal = f"library {folder} is being written by another process (pid {os.getpid()}). "
    assert said == [f"{refusal}Wait until it has finished.\n"]


# -- foreign and damaged --------------------------------------------------------------------------


@pytest.fixture
def indexed(folder: Path, fake: Matcher, pictures: Path) -> Path:
    """A closed library of four pictures."""
    with Library.open(folder, fake) as library:
        library.index(pictures)
    return folder


def change(folder: Path, statement: str) -> None:
    database = sqlite3.connect(folder / DATABASE)
    with database:
        database.execute(statement)
    database.close()


def use(folder: Path) -> None:
    """What anyone would do with a library."""
    with Library.open(folder) as library:
        library.search("red")
        library.stats()


def test_a_library_of_a_newer_version_is_refused_and_left_alone(indexed: Path, fake: Matcher) -> None:
    change(indexed, f"PRAGMA user_version = {VERSION + 1}")
    before = (indexed / DATABASE).read_bytes()
    with pytest.raises(LibraryVersionError, match=f"format {VERSION + 1}.*pip install -U crosslens"):
        Library.open(indexed)
    with pytest.raises(LibraryVersionError):
        Library.open(indexed, fake)
    assert (indexed / DATABASE).read_bytes() == before


def test_a_database_of_another_program_is_refused_and_left_alone(folder: Path, fake: Matcher) -> None:
    folder.mkdir()
    change(folder, "CREATE TABLE songs (title)")
    before = (folder / DATABASE).read_bytes()
    with pytest.raises(LibraryDamagedError, match="another program"):
        Library.open(folder, fake)
    assert (folder / DATABASE).read_bytes() == before


@pytest.mark.parametrize("length", [99, 100, 4096, 100_000])
def test_garbage_is_damage(folder: Path, length: int) -> None:
    folder.mkdir()
    garbage = random.Random(length).randbytes(length)  # noqa: S311
    (folder / DATABASE).write_bytes(garbage)
    with pytest.raises(LibraryDamagedError, match="backup"):
        use(folder)
    assert (folder / DATABASE).read_bytes() == garbage


@pytest.mark.parametrize("pages", [0.01, 0.5, 1, 2, 5, -1])
def test_a_truncated_database_is_damage(indexed: Path, pages: float) -> None:
    size = (indexed / DATABASE).stat().st_size
    os.truncate(indexed / DATABASE, int(pages * 4096) if pages > 0 else size - 4096)
    with pytest.raises(LibraryDamagedError, match="backup"):
        use(indexed)


def test_damage_in_the_middle_of_the_database_is_found_where_it_is_read(indexed: Path) -> None:
    data = bytearray((indexed / DATABASE).read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    (indexed / DATABASE).write_bytes(data)
    with pytest.raises(LibraryDamagedError):
        use(indexed)


class OtherModel(FakeModel):
    """Computes the same and says that it is another."""

    spec = dataclasses.replace(FAKE_SPEC, name="other", tokenizer_sha256="other")


def test_another_model_is_refused_with_the_way_out(indexed: Path, fake: Matcher) -> None:
    other = Matcher(OtherModel())
    with pytest.raises(LibraryModelError, match=r"was made with model 'fake'.*not with 'other'") as raised:
        Library.open(indexed, other)
    assert raised.value.remedy == (
        "Leave the model out, or index into another library folder with 'other', "
        "or change this one over: crosslens migrate"
    )
    with Library.open(indexed, fake) as library:
        assert len(library.search("red")) == 4


@pytest.mark.parametrize("blob", ["x''", "x'00'", "zeroblob(10)", "zeroblob(1024)"])
def test_a_vector_of_the_wrong_length_is_damage(indexed: Path, blob: str) -> None:
    change(indexed, f"UPDATE vectors SET vector = {blob} WHERE rowid = 2")
    shutil.rmtree(indexed / "derived")
    with pytest.raises(LibraryDamagedError, match="wanted 8"):
        use(indexed)


@pytest.mark.parametrize("value", [np.nan, 0, 60_000])
def test_a_vector_that_is_not_of_unit_length_is_damage(indexed: Path, value: float) -> None:
    blob = np.full(4, value, "<f2").tobytes().hex()
    change(indexed, f"UPDATE vectors SET vector = x'{blob}' WHERE rowid = 2")
    shutil.rmtree(indexed / "derived")
    with pytest.raises(LibraryDamagedError, match="item 2"):
        use(indexed)
