"""An indexing process is killed at random moments, over and over; nothing that was committed may be lost.

`make test` kills 20 times, `make soak` 200.
"""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from PIL import Image

from crosslens import Library, Limits, Matcher
from crosslens.errors import LibraryBusyError
from crosslens.library import indexing
from crosslens.maintenance.backup_and_compact import verify_deep
from crosslens.maintenance.integrity_check import verify
from crosslens.store.locks import writer_lock
from crosslens.store.schema import DATABASE
from killing import Nursery, Trial, reading, unless_locked

KILLS = int(os.environ.get("CROSSLENS_SOAK_KILLS", "20"))
PICTURES = 480
# After so many kills a library is let finish, so that early moments of new ones are met as well.
_PER_LIBRARY = 4


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some hundred pictures in two folders, every tenth a copy of another."""
    folder = tmp_path_factory.mktemp("killed")
    for number in range(PICTURES):
        shade = number - 1 if number % 10 == 9 else number
        path = folder / ("a" if number % 3 else "b/c") / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (200, 200), (shade % 256, shade // 4, 255 - shade % 200)).save(path)
    return folder


Rows = dict[str, tuple[object, ...]]


def held(folder: Path, patience: float = 10) -> Rows:
    """Path → size, time, hash and vector of every item; none while there is no database, or no table."""
    if not (folder / DATABASE).exists():
        return {}
    query = "SELECT path, size, modified_ns, hash, vector FROM items JOIN vectors USING (hash)"
    with reading(folder / DATABASE, patience) as database:
        if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'items'").fetchone() is None:
            return {}
        rows = database.execute(query).fetchall()
    assert len({row[0] for row in rows}) == len(rows), "an item is there twice"
    return {row[0]: row[1:] for row in rows}


def index(folder: Path, pictures: Path) -> tuple[object, ...]:
    return ("index", "-L", folder, pictures, "--model", "fake")


def start(folder: Path, pictures: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "crosslens", *map(str, index(folder, pictures))]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def until_it_writes(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until the process holds the lock: what comes before touches nothing."""
    until = time.monotonic() + 60
    while not (folder / "writer.pid").exists() and process.poll() is None:
        assert time.monotonic() < until, "it never began"
        time.sleep(0.0005)


@pytest.fixture(scope="session")
def undisturbed(many: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Rows, float]:
    """What a run that nothing disturbs ends with, and how many seconds it writes."""
    folder = tmp_path_factory.mktemp("undisturbed") / "library"
    with start(folder, many) as process:
        until_it_writes(process, folder)
        began = time.monotonic()
        assert process.wait() == 0, process.stderr and process.stderr.read()
    return held(folder), time.monotonic() - began


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    nursery = Nursery(tmp_path)
    yield nursery
    nursery.close()


def test_killed_at_random_moments_a_library_loses_doubles_and_damages_nothing(
    tmp_path: Path, many: Path, nursery: Nursery
) -> None:
    first = tmp_path / "first"
    nursery.run(*index(tmp_path / "warm", many))
    seconds = nursery.run(*index(first, many), begins=first / "writer.pid")
    wanted = held(first)
    assert len(wanted) == PICTURES
    counts: Counter[str] = Counter()
    began = time.monotonic()
    while counts["kills"] < KILLS:
        counts["libraries"] += 1
        folder = tmp_path / f"library{counts['libraries']}"
        for _ in range(_PER_LIBRARY):
            if counts["kills"] == KILLS:
                break
            moment = random.uniform(0, 1.2 * seconds)  # noqa: S311
            trial = nursery.start(*index(folder, many), after=moment, begins=folder / "writer.pid")
            if not kill(trial, folder, wanted, counts):
                seconds *= 0.9  # the machine is faster than it was
                break
            seconds *= 1.03
        nursery.run(*index(folder, many))
        look_at_finished(folder, wanted, deep=counts["libraries"] % 5 == 1)
    print(f"{dict(counts)} in {time.monotonic() - began:.0f} s; an undisturbed run writes {seconds:.2f} s")


def kill(trial: Trial, folder: Path, wanted: Rows, counts: Counter[str]) -> bool:
    """Kill a run and look at what is left. False: it had ended by itself."""
    committed = unless_locked(lambda: held(folder, patience=0), {})  # seen by another: it is committed
    if not trial.kill():
        counts["ended before"] += 1
        return False
    counts["kills"] += 1
    left = held(folder)
    assert committed.items() <= left.items(), "what was committed is gone"
    assert left.items() <= wanted.items(), "something is there that should not be"
    moment = "before the first batch" if not left else "all written" if len(left) == PICTURES else "between"
    counts[moment] += 1
    if (folder / DATABASE).exists() and left:
        found = verify(folder)
        assert found.clean, found.findings
    return True


def finish(folder: Path, many: Path, wanted: Rows) -> None:
    """An undisturbed run: ends with what a library that was never disturbed holds."""
    with start(folder, many) as process:
        assert process.wait() == 0, process.stderr and process.stderr.read()
    look_at_finished(folder, wanted)


def look_at_finished(folder: Path, wanted: Rows, *, deep: bool = True) -> None:
    """Whether it is what a library that was never disturbed holds."""
    assert held(folder) == wanted
    assert verify(folder).clean
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        (vectors,) = database.execute("SELECT count(*) FROM vectors").fetchone()
        (contents,) = database.execute("SELECT count(*) FROM contents").fetchone()
    assert vectors == contents == len({row[2] for row in wanted.values()})
    with Library.open(folder) as library:
        assert {hit.path for hit in library.search("blue", k=2 * PICTURES)} == wanted.keys()
        assert not deep or verify_deep(library).clean


# -- two at once ----------------------------------------------------------------------------------


def test_a_second_indexer_is_refused_with_the_pid_of_the_first(tmp_path: Path, many: Path) -> None:
    folder = tmp_path / "library"
    folder.mkdir()
    with writer_lock(folder), start(folder, many) as process:
        assert process.wait() == 1
        assert process.stderr is not None
        assert f"(pid {os.getpid()}). Wait until it has finished" in process.stderr.read().decode()
    assert not (folder / "writer.pid").exists()
    finished = start(folder, many)
    finished.communicate()
    assert finished.returncode == 0


def test_the_pid_of_a_killed_process_bars_nobody(tmp_path: Path, many: Path) -> None:
    folder = tmp_path / "library"
    with start(folder, many) as process:
        until_it_writes(process, folder)
        process.kill()
    (folder / "writer.pid").write_text(f"{process.pid}\n")
    with start(folder, many) as process:
        assert process.wait() == 0


def test_the_pid_of_a_killed_process_is_not_taken_for_the_holders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who holds the lock may have had no room to write its number."""
    (tmp_path / "writer.pid").write_text("123456789\n")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with writer_lock(tmp_path), pytest.raises(LibraryBusyError) as refused, writer_lock(tmp_path):
        pass
    assert refused.value.problem.endswith("by another process")


def test_of_several_that_begin_at_once_each_finishes_or_is_refused(
    tmp_path: Path, many: Path, undisturbed: tuple[Rows, float]
) -> None:
    folder = tmp_path / "library"
    processes = [start(folder, many) for _ in range(5)]
    said = [process.communicate()[1].decode() for process in processes]
    ended = [process.returncode for process in processes]
    assert set(ended) <= {0, 1}
    assert 0 in ended
    assert all(ended[n] == 0 or "by another process" in said[n] for n in range(5)), said
    finish(folder, many, undisturbed[0])


# -- readers --------------------------------------------------------------------------------------


def test_readers_see_whole_batches_that_only_grow_while_another_process_indexes(
    tmp_path: Path, many: Path, undisturbed: tuple[Rows, float]
) -> None:
    folder, sizes = tmp_path / "library", [0]
    with start(folder, many) as process:
        until_it_writes(process, folder)
        while process.poll() is None:
            rows = held(folder)
            assert rows.items() <= undisturbed[0].items()
            sizes.append(len(rows))
            if rows:
                found = verify(folder)
                assert found.clean, found.findings
                with Library.open(folder) as library:
                    hits = library.search("blue", k=2 * PICTURES)
                assert len({hit.id for hit in hits}) == len(hits) >= len(rows)
        assert process.returncode == 0, process.stderr and process.stderr.read()
    assert sizes == sorted(sizes)


# -- clocks ---------------------------------------------------------------------------------------


def test_a_picture_with_an_earlier_time_is_a_changed_one(tmp_path: Path, fake: Matcher) -> None:
    """Put back from a backup, or written while the clock was wrong."""
    picture = tmp_path / "pictures" / "x.png"
    picture.parent.mkdir()
    Image.new("RGB", (8, 8), "red").save(picture)
    with Library.open(tmp_path / "library", fake) as library:
        library.index(picture.parent)
        Image.new("RGB", (8, 8), "blue").save(picture)
        os.utime(picture, (0, 0))
        assert library.index().changed == 1
        assert library.search("blue", k=1)[0].score == pytest.approx(1)
        os.utime(picture, ns=(-(10**18), -(10**18)))  # before 1970
        assert library.index().unchanged == 1
        assert library.search("blue", k=1)[0].modified == -(10**9)
    assert verify(tmp_path / "library").clean


def test_a_clock_that_goes_back_harms_nothing(
    tmp_path: Path, fake: Matcher, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, now_ns = time.time, time.time_ns
    with Library.open(tmp_path / "library", fake) as library:
        library.index(pictures)
        library.add(texts="a red wall")
        for years in (1, 10, 60):
            back = years * 365 * 86400
            monkeypatch.setattr(time, "time", lambda back=back: now() - back)
            monkeypatch.setattr(time, "time_ns", lambda back=back: now_ns() - back * 10**9)
            library.add(texts=f"a blue wall, {years}")
            assert library.index().unchanged == 4
            assert len(library.search("red")) == 4
            assert verify(library.folder).clean


def test_a_clock_that_goes_back_while_it_indexes_harms_nothing(
    tmp_path: Path,
    fake: Matcher,
    many: Path,
    undisturbed: tuple[Rows, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, calls = time.time(), count()
    monkeypatch.setattr(time, "time", lambda: now - 3600 * next(calls))
    monkeypatch.setattr(time, "time_ns", lambda: int((now - 3600 * next(calls)) * 10**9))
    with Library.open(tmp_path / "library", fake) as library:
        assert library.index(many).added == PICTURES
        assert library.index().unchanged == PICTURES
    assert held(tmp_path / "library") == undisturbed[0]
    assert verify(tmp_path / "library").clean


def test_a_time_in_the_future_is_a_time_like_any_other(tmp_path: Path, fake: Matcher, pictures: Path) -> None:
    future = time.time_ns() + 10 * 365 * 86400 * 10**9
    os.utime(pictures / "red.png", ns=(future, future))
    with Library.open(tmp_path / "library", fake) as library:
        library.index(pictures)
        assert library.index().unchanged == 4
        Image.new("RGB", (16, 16), "blue").save(pictures / "red.png")  # which gives it a time before that
        assert library.index().changed == 1
        assert [hit.score for hit in library.search("blue", k=2)] == pytest.approx([1, 1])


def test_files_of_one_size_and_time_that_change_places_are_found_by_verify_deep_alone(
    tmp_path: Path, fake: Matcher, paint: Callable[..., Path]
) -> None:
    """The limit of not opening files that look as they were; git has it, and rsync."""
    red, blue, aside = paint("red.bmp"), paint("blue.bmp"), tmp_path / "aside"
    assert red.stat().st_size == blue.stat().st_size
    for path in (red, blue):
        os.utime(path, (10**9, 10**9))
    with Library.open(tmp_path / "library", fake) as library:
        library.index(red.parent)
        red.rename(aside)
        blue.rename(red)
        aside.rename(blue)
        assert library.index().unchanged == 2
        assert Path(library.search("red", k=1)[0].path) == red  # which is wrong now
        found = verify_deep(library)
        assert len(found.findings) == 2
        assert "touch it, then crosslens index" in found.findings[0].remedy
        red.touch()
        blue.touch()
        assert library.index().changed == 2
        assert Path(library.search("red", k=1)[0].path) == blue
        assert verify_deep(library).clean


@pytest.mark.parametrize("when", ["before it is read", "after it was read"])
def test_a_file_that_changes_while_it_is_indexed_is_indexed_again_by_the_next_run(
    tmp_path: Path, fake: Matcher, pictures: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    read = indexing.read_bytes
    changed = pictures / "red.png"

    def read_and_change(path: str, limits: Limits) -> bytes:
        data = read(path, limits) if when == "after it was read" else b""
        if Path(path) == changed:
            Image.new("RGB", (40, 40), "cyan").save(path)
        return data or read(path, limits)

    monkeypatch.setattr(indexing, "read_bytes", read_and_change)
    with Library.open(tmp_path / "library", fake) as library:
        library.index(pictures)
        monkeypatch.undo()
        again = library.index()
        assert again.changed + again.unchanged == 4
        assert (again.changed, again.encoded) == ((1, 1) if when == "after it was read" else (0, 0))
        assert Path(library.search("cyan", k=1)[0].path) == changed
        assert library.index().unchanged == 4
        assert verify_deep(library).clean
