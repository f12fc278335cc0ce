"""A library that follows its folders, by what really happens on the disk."""

from __future__ import annotations

import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from crosslens import InputError, Library, Matcher
from crosslens.cli.app import main
from crosslens.errors import ImageNotFoundError, LibraryFullError, MissingExtraError
from crosslens.images.folder_walk import walk
from crosslens.images.path_selection import Changes, outermost
from crosslens.maintenance.integrity_check import verify
from crosslens.store.locks import writer_lock
from crosslens.store.vector_matrix import DERIVED
from crosslens.watch import folder_watcher
from crosslens.watch.file_events import Events, EventsLostError
from crosslens.watch.folder_watcher import Batch, Pace, watch
from crosslens.watch.retry_queue import Pending, has_links

FAST = Pace(quiet=0.15, longest=1.5, check=0.05, retry=1.0, calm=0.05)
PATIENCE = 30.0
# Of random ones; `make soak` makes more.
CHANGES = int(os.environ.get("CROSSLENS_SOAK_CHANGES", "150"))


@pytest.fixture(autouse=True)
def quick_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crosslens.watch.file_events._STEP", 20)


class Watcher:
    """A `watch` in a thread of its own, and what it says."""

    def __init__(self, library: Path, matcher: Matcher, *sources: Path, pace: Pace = FAST) -> None:
        self.folder = library
        self.matcher = matcher
        self.notices: list[str] = []
        self.stop = threading.Event()
        self._batches: queue.Queue[Batch | BaseException] = queue.Queue()
        self._thread = threading.Thread(target=self._run, args=(sources, pace))

    def _run(self, sources: tuple[Path, ...], pace: Pace) -> None:
        try:
            with Library.open(self.folder, self.matcher) as library:
                for batch in watch(
                    library, sources, pace=pace, stop=self.stop, on_notice=self.notices.append
                ):
                    self._batches.put(batch)
        except BaseException as error:
            self._batches.put(error)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "it does not end"
        assert verify(self.folder).clean
        assert self._batches.empty(), f"more was done: {self._batches.get()}"

    def next(self) -> Batch:
        batch = self._batches.get(timeout=PATIENCE)
        if isinstance(batch, BaseException):
            raise batch
        return batch

    def until(self, **counts: int) -> list[Batch]:
        """Batches until these many were added, removed … in all."""
        batches: list[Batch] = []
        seen = dict.fromkeys(counts, 0)
        while seen != counts:
            batches.append(self.next())
            seen = {name: sum(getattr(b.report, name) for b in batches) for name in counts}
        return batches

    def says_nothing(self, seconds: float = 0.7) -> None:
        time.sleep(seconds)
        assert self._batches.empty(), self._batches.get()

    def drain(self) -> None:
        """Take what was said, when it has ended."""
        self._thread.join(PATIENCE)
        while not self._batches.empty():
            self.next()

    def told(self, words: str) -> None:
        until = time.monotonic() + PATIENCE
        while not any(words in notice for notice in self.notices):
            assert time.monotonic() < until, self.notices
            time.sleep(0.02)

    def items(self) -> dict[str, int]:
        """Name → id of every item."""
        with Library.open(self.folder, self.matcher) as library:
            return {Path(item.path).name: item.id for item in library.items()}


@pytest.fixture
def watcher(tmp_path: Path, fake: Matcher, pictures: Path) -> Iterator[Watcher]:
    """Of a folder with red, green, blue and yellow, which was looked at."""
    with Watcher(tmp_path / "library", fake, pictures) as watcher:
        first = watcher.next()
        assert (first.whole, first.report.added) == (True, 4)
        yield watcher


# -- what happens to files ------------------------------------------------------------------------


def test_a_new_picture_is_found_by_others_soon_after(watcher: Watcher, pictures: Path) -> None:
    Image.new("RGB", (8, 8), "black").save(pictures / "black.png")
    batch = watcher.next()
    assert (batch.whole, batch.report.added, batch.report.unchanged) == (False, 1, 0)
    with Library.open(watcher.folder, watcher.matcher) as library:
        assert library.search("black", k=1)[0].path == str(pictures / "black.png")


def test_changed_and_deleted_pictures_are_so_in_the_library(
    watcher: Watcher, pictures: Path, paint: Callable[..., Path]
) -> None:
    paint("red.png", "black")
    os.remove(pictures / "green.png")
    report = watcher.until(changed=1, removed=1)[-1].report
    assert report.added == report.moved == 0
    assert watcher.items().keys() == {"red.png", "blue.png", "yellow.png"}


def test_a_renamed_picture_keeps_its_id_and_is_not_encoded(watcher: Watcher, pictures: Path) -> None:
    before = watcher.items()["red.png"]
    os.rename(pictures / "red.png", pictures / "scarlet.png")
    report = watcher.next().report
    assert (report.moved, report.added, report.removed, report.encoded) == (1, 0, 0, 0)
    assert watcher.items()["scarlet.png"] == before


def test_a_renamed_folder_keeps_its_ids(watcher: Watcher, pictures: Path, paint: Callable[..., Path]) -> None:
    for colour in ("black", "white"):
        paint(f"old/deep/{colour}.png")
    watcher.until(added=2)
    before = watcher.items()
    os.rename(pictures / "old", pictures / "new")
    assert watcher.until(moved=2)[-1].report.removed == 0
    assert watcher.items() == before


def test_folders_come_and_go_with_all_that_is_in_them(
    watcher: Watcher, pictures: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere" / "deep"
    elsewhere.mkdir(parents=True)
    Image.new("RGB", (8, 8), "black").save(elsewhere / "black.png")
    os.rename(elsewhere.parent, pictures / "come")
    watcher.until(added=1)
    Image.new("RGB", (8, 8), "white").save(pictures / "come" / "deep" / "white.png")
    watcher.until(added=1)
    os.rename(pictures / "come", tmp_path / "gone")
    watcher.until(removed=2)


def test_hidden_files_and_those_that_are_no_pictures_are_nothing_to_it(
    watcher: Watcher, pictures: Path
) -> None:
    (pictures / ".thumbnails").mkdir()
    for name in (".red.png", ".thumbnails/red.png", "notes.txt"):
        (pictures / name).write_bytes(b"no picture")
    os.remove(pictures / "notes.txt")
    watcher.says_nothing()


def test_what_crosslensignore_says_holds_at_once(
    watcher: Watcher, pictures: Path, paint: Callable[..., Path]
) -> None:
    paint("sub/black.png")
    watcher.until(added=1)
    (pictures / "sub" / ".crosslensignore").write_text("bl*\n")
    assert watcher.until(removed=1)[-1].whole is False
    paint("sub/black.png", "white")
    watcher.says_nothing()
    (pictures / ".crosslensignore").write_text("red.png\n")
    watcher.until(removed=1)
    os.remove(pictures / ".crosslensignore")
    os.remove(pictures / "sub" / ".crosslensignore")
    watcher.until(added=2)


# -- files that are being written ------------------------------------------------------------------


def half(path: Path, whole: bytes) -> None:
    path.write_bytes(whole[: len(whole) // 2])


@pytest.fixture
def noise(tmp_path: Path) -> bytes:
    """A picture of some size."""
    path = tmp_path / "noise.png"
    Image.effect_noise((64, 64), 50).save(path)
    return path.read_bytes()


def test_a_half_written_picture_is_no_failure_and_is_added_when_it_is_whole(
    watcher: Watcher, pictures: Path, noise: bytes
) -> None:
    half(pictures / "slow.png", noise)
    watcher.says_nothing(0.4)  # it was looked at, and will be again
    (pictures / "slow.png").write_bytes(noise)
    report = watcher.next().report
    assert (report.added, report.failures) == (1, ())


def test_a_broken_picture_is_reported_once_when_it_stays_so(
    watcher: Watcher, pictures: Path, noise: bytes, paint: Callable[..., Path]
) -> None:
    half(pictures / "broken.png", noise)
    [failure] = watcher.next().report.failures
    assert failure.path == str(pictures / "broken.png")
    (pictures / ".crosslensignore").write_text("nothing.png\n")  # everything is looked at again
    paint("black.png")
    assert [batch.report.failures for batch in watcher.until(added=1)] == [()]
    watcher.says_nothing(2 * FAST.retry)
    half(pictures / "broken.png", noise[:-100])
    assert len(watcher.next().report.failures) == 1, "another file, another failure"


def test_a_file_is_opened_when_it_rests_and_others_do_not_wait_for_it(
    watcher: Watcher, pictures: Path, noise: bytes, paint: Callable[..., Path]
) -> None:
    began = time.monotonic()
    paint("black.png")
    with open(pictures / "growing.png", "wb") as file:
        while time.monotonic() - began < 1.8 * FAST.longest:
            file.write(b"x")
            file.flush()
            time.sleep(0.02)
    report = watcher.next().report
    assert (report.added, report.failures) == (1, ())
    (pictures / "growing.png").write_bytes(noise)
    report = watcher.next().report
    assert (report.added, report.failures) == (1, ())


def test_a_path_rests_when_nothing_is_told_of_it_and_it_does_not_grow(tmp_path: Path) -> None:
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    pending = Pending(quiet=2, longest=10)
    pending.add([one], now=0)
    assert pending.take(1) == []
    assert pending.take(2) == [one]
    assert not pending
    pending.add([one, other], now=10)
    Path(one).write_text("grown, and nobody told")
    assert pending.take(12) == []
    pending.add([other], now=13)
    assert pending.take(14) == []
    assert pending.take(15) == [one, other]
    for second in range(20, 40):
        pending.add([other, *([one] if second == 20 else [])], second)
        assert pending.take(second) == ([one] if second == 30 else [])
        assert other in pending.unfinished()


def test_a_picture_that_is_deleted_while_it_is_looked_at_is_no_failure(
    watcher: Watcher, pictures: Path, noise: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Library.index

    def deleted_meanwhile(*args: object, **how: object) -> object:
        report = index(*args, **how)  # type: ignore[arg-type]
        (pictures / "broken.png").unlink(missing_ok=True)
        return report

    monkeypatch.setattr(Library, "index", deleted_meanwhile)
    half(pictures / "broken.png", noise)
    watcher.says_nothing(2 * FAST.retry)


# -- roots ----------------------------------------------------------------------------------------


def test_a_root_that_vanishes_is_offline_and_comes_back_as_it_was(
    watcher: Watcher, pictures: Path, tmp_path: Path, paint: Callable[..., Path]
) -> None:
    before = watcher.items()
    os.rename(pictures, tmp_path / "unplugged")
    report = watcher.next().report
    assert (report.offline, report.removed) == (4, 0)
    watcher.says_nothing(0.5)
    os.rename(tmp_path / "unplugged", pictures)
    report = watcher.next().report
    assert (report.offline, report.unchanged, report.encoded) == (0, 4, 0)
    assert watcher.items() == before
    paint("black.png")
    watcher.until(added=1)


def test_without_folders_it_follows_all_that_the_library_knows_and_comes_to_know(
    tmp_path: Path, fake: Matcher, pictures: Path, paint: Callable[..., Path]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    Image.new("RGB", (8, 8), "white").save(other / "white.png")
    with Library.open(tmp_path / "library", fake) as library:
        library.index(pictures)
        with Watcher(tmp_path / "library", fake) as watcher:
            assert watcher.next().report.unchanged == 4
            paint("black.png")
            watcher.until(added=1)
            library.index(other)  # by another process, as it were
            time.sleep(0.3)
            Image.new("RGB", (8, 8), "black").save(other / "black.png")
            watcher.until(added=1)
            library.remove(other)
            time.sleep(0.3)
            Image.new("RGB", (8, 8), "red").save(other / "red.png")
            watcher.says_nothing()


def test_a_folder_that_was_removed_from_the_library_does_not_come_back(
    watcher: Watcher, pictures: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with Library.open(watcher.folder, watcher.matcher) as library:
        library.index(other)
        library.remove(pictures)
    Image.new("RGB", (8, 8), "white").save(other / "white.png")
    time.sleep(0.3)
    Image.new("RGB", (8, 8), "black").save(pictures / "black.png")
    watcher.says_nothing()
    assert watcher.items() == {}


def test_only_the_folders_named_are_followed(
    tmp_path: Path, fake: Matcher, pictures: Path, paint: Callable[..., Path]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with Library.open(tmp_path / "library", fake) as library:
        library.index([pictures, other])
    with Watcher(tmp_path / "library", fake, other) as watcher:
        watcher.next()
        paint("black.png")
        watcher.says_nothing()
        Image.new("RGB", (8, 8), "white").save(other / "white.png")
        watcher.until(added=1)


def test_a_table_that_is_indexed_is_followed_too(tmp_path: Path, fake: Matcher, pictures: Path) -> None:
    table = tmp_path / "captions.csv"
    table.write_text("caption\na red wall\n")
    with Library.open(tmp_path / "library", fake) as library:
        library.index([pictures, table], text_column="caption")
    with Watcher(tmp_path / "library", fake) as watcher:
        watcher.next()
        with table.open("a") as file:
            file.write("the blue sea\n")
        watcher.until(added=1)


def test_a_picture_in_a_linked_folder_is_one_picture(
    tmp_path: Path, fake: Matcher, pictures: Path, paint: Callable[..., Path]
) -> None:
    os.symlink(pictures / "sub", pictures / "link")
    paint("sub/white.png")
    with Watcher(tmp_path / "library", fake, pictures) as watcher:
        assert watcher.next().report.added == 5
        for folder in ("sub", "link"):
            Image.new("RGB", (8, 8), f"#0{len(folder)}0000").save(pictures / folder / f"in-{folder}.png")
            assert watcher.until(added=1)[-1].whole
        assert len(watcher.items()) == 7


def test_a_folder_that_is_linked_later_is_followed_too(
    watcher: Watcher, pictures: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    os.symlink(outside, pictures / "link")
    watcher.says_nothing()
    Image.new("RGB", (8, 8), "black").save(outside / "black.png")
    watcher.until(added=1)


def test_a_library_inside_its_folder_does_not_wake_itself(
    tmp_path: Path, fake: Matcher, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[object] = []
    index = Library.index
    monkeypatch.setattr(Library, "index", lambda *args, **how: (looks.append(how), index(*args, **how))[1])
    with Watcher(pictures / "library", fake, pictures) as watcher:
        watcher.next()
        Image.new("RGB", (8, 8), "black").save(pictures / "black.png")
        watcher.until(added=1)
        count = len(looks)
        watcher.says_nothing()
        assert len(looks) == count


# -- others who write -----------------------------------------------------------------------------


def test_a_busy_library_is_waited_for_and_free_in_between(
    watcher: Watcher, paint: Callable[..., Path]
) -> None:
    with writer_lock(watcher.folder):  # free, though it is watched
        paint("black.png")
        watcher.told("is being written by another process")
        paint("white.png")
        watcher.says_nothing(0.5)
    watcher.until(added=2)


def test_a_full_disk_is_waited_for(
    watcher: Watcher, paint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Library.index

    def full(*_: object, **__: object) -> None:
        raise LibraryFullError("there is no room")

    monkeypatch.setattr(Library, "index", full)
    paint("black.png")
    watcher.told("there is no room; waiting")
    monkeypatch.setattr(Library, "index", index)
    watcher.until(added=1)


def test_searches_are_prepared_when_it_is_calm(watcher: Watcher, paint: Callable[..., Path]) -> None:
    paint("black.png")
    watcher.until(added=1)
    with Library.open(watcher.folder, watcher.matcher) as library:
        generation = library.database.stamp()[1]
    until = time.monotonic() + PATIENCE
    while not list((watcher.folder / DERIVED).glob(f"{generation}-*")):
        assert time.monotonic() < until
        time.sleep(0.05)


# -- when the kernel does not tell ------------------------------------------------------------------


def test_many_changes_at_once_make_it_look_at_everything(
    watcher: Watcher, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_watcher, "_MANY", 3)
    for number in range(5):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(pictures / f"{number}.png")
    assert any(batch.whole for batch in watcher.until(added=5))


def test_everything_is_looked_at_once_in_a_while(
    tmp_path: Path, fake: Matcher, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Events, "read", lambda _: time.sleep(0.1) or [])  # nothing is ever told
    with Watcher(tmp_path / "library", fake, pictures, pace=Pace(whole=1.0)) as watcher:
        watcher.next()
        Image.new("RGB", (8, 8), "black").save(pictures / "black.png")
        assert watcher.until(added=1)[-1].whole


def test_names_that_are_no_utf8_are_found_although_they_cannot_be_told(
    watcher: Watcher, pictures: Path
) -> None:
    Image.new("RGB", (8, 8), "black").save(os.fsencode(pictures) + b"/\xff.png", "png")
    watcher.until(added=1)
    Image.new("RGB", (8, 8), "white").save(pictures / "white.png")
    watcher.until(added=1)


def test_reading_such_a_file_over_and_over_makes_it_poll(
    watcher: Watcher, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_watcher, "POLL_SECONDS", 0.3)
    Path(os.fsdecode(os.fsencode(pictures) + b"/\xff.png")).write_text("broken")
    watcher.told("the kernel's messages cannot be read")
    Image.new("RGB", (8, 8), "white").save(pictures / "white.png")
    batches = watcher.until(added=1)
    if not any(batch.report.failures for batch in batches):
        assert watcher.next().report.failures


def test_a_folder_whose_name_is_no_utf8_makes_it_poll(
    tmp_path: Path, fake: Matcher, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_watcher, "POLL_SECONDS", 0.3)
    odd = os.fsencode(pictures) + b"/\xff"
    os.mkdir(odd)
    with Watcher(tmp_path / "library", fake, pictures) as watcher:
        watcher.next()
        watcher.told("looking at all names every 0.3 s instead")
        Image.new("RGB", (8, 8), "black").save(odd + b"/black.png", "png")
        watcher.until(added=1)
        Image.new("RGB", (8, 8), "white").save(pictures / "white.png")
        watcher.until(added=1)


def test_where_the_kernel_watches_no_more_folders_it_polls(
    tmp_path: Path, fake: Matcher, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Limited(Events):
        def __init__(self, folders: list[str], stop: threading.Event, poll: float | None = None) -> None:
            if poll is None:
                raise OSError("OS file watch limit reached")
            super().__init__(folders, stop, poll)

    monkeypatch.setattr(folder_watcher, "Events", Limited)
    monkeypatch.setattr(folder_watcher, "POLL_SECONDS", 0.2)
    with Watcher(tmp_path / "library", fake, pictures) as watcher:
        watcher.next()
        watcher.told("watch limit reached")
        Image.new("RGB", (8, 8), "black").save(pictures / "black.png")
        watcher.until(added=1)


def test_polling_finds_what_changes(tmp_path: Path, fake: Matcher, pictures: Path) -> None:
    pace = Pace(quiet=0.2, longest=2, check=0.1, poll=0.2)
    with Watcher(tmp_path / "library", fake, pictures, pace=pace) as watcher:
        watcher.next()
        (pictures / "sub").mkdir()
        Image.new("RGB", (8, 8), "black").save(pictures / "sub" / "black.png")
        assert not watcher.until(added=1)[-1].whole
        os.rename(pictures / "sub" / "black.png", pictures / "black.png")
        watcher.until(moved=1)
        shutil.rmtree(pictures / "sub")
        os.remove(pictures / "black.png")
        watcher.until(removed=1)


def test_events_that_cannot_be_named_are_lost_and_said_to_be(pictures: Path) -> None:
    with Events([str(pictures)], threading.Event()) as events:
        Path(os.fsdecode(os.fsencode(pictures) + b"/\xff.png")).touch()
        with pytest.raises(EventsLostError):
            all(events.read() == [] for _ in range(100))


# -- what it is given -----------------------------------------------------------------------------


def test_a_file_that_was_not_indexed_is_refused(tmp_path: Path, fake: Matcher, pictures: Path) -> None:
    with Library.open(tmp_path / "library", fake) as library, pytest.raises(InputError, match="is a file"):
        watch(library, pictures / "red.png")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, fake: Matcher) -> None:
    with Library.open(tmp_path / "library", fake) as library, pytest.raises(ImageNotFoundError):
        next(watch(library, tmp_path / "nowhere"))


@pytest.mark.parametrize("poll", [0, -1, float("nan")])
def test_a_time_to_poll_that_is_none_is_refused(poll: float) -> None:
    with pytest.raises(InputError, match="polling"):
        Pace(poll=poll)


def test_without_watchfiles_it_says_how_to_install_it(
    tmp_path: Path, fake: Matcher, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with (
        Library.open(tmp_path / "library", fake) as library,
        pytest.raises(MissingExtraError, match=r'pip install "crosslens\[watch\]"$'),
    ):
        next(watch(library, pictures))


# -- the parts ------------------------------------------------------------------------------------


def test_changes_belong_to_the_innermost_root_and_the_outermost_path_stands_for_those_below() -> None:
    changes = Changes(("/a/b/c/d", "/a/b/c", "/a/x", "/a/x", "/elsewhere"))
    assert changes.by_root(["/a/b", "/a"]) == {"/a": ["/a/x"], "/a/b": ["/a/b/c"]}
    assert Changes(("/a/b",)).by_root(["/a/b"]) == {}
    assert outermost(["/a/b", "/a/bc", "/a/b/c", "/"]) == ["/"]
    assert outermost(["/a/b", "/a/bc", "/a/b/c"]) == ["/a/b", "/a/bc"]


def test_links_are_seen_at_any_depth_and_loops_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    os.symlink(tmp_path / "nowhere", tmp_path / "a" / "broken")
    assert not has_links(str(tmp_path))
    os.symlink(tmp_path, tmp_path / "a" / "b" / "up")
    assert has_links(str(tmp_path))


def test_looking_at_some_paths_finds_what_looking_at_everything_finds_there(tmp_path: Path) -> None:
    names = [
        "x.png",
        "a/x.png",
        "a/y.png",
        "a/b/x.png",
        "a/b/.hidden/x.png",
        "ab/x.png",
        "c/d/x.png",
        "c/note.txt",
    ]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "a" / ".crosslensignore").write_text("y.png\n!b\n")
    (tmp_path / "c" / "d" / ".crosslensignore").write_text("*\n")
    (tmp_path / ".crosslensignore").write_text("ab\n")

    def found(only: list[str] | None) -> set[str]:
        paths = None if only is None else [str(tmp_path / name) for name in only]
        items = walk(str(tmp_path), skip=frozenset(), on_error=refuse, on_ignored=lambda *_: None, only=paths)
        return {os.path.relpath(item.path, tmp_path) for item in items}

    def refuse(path: str, reason: str) -> None:
        raise AssertionError(path, reason)

    whole = found(None)
    assert whole == {"x.png", "a/x.png", "a/b/x.png"}
    folders = ["a", "a/b", "ab", "c", "c/d", "a/b/.hidden", "gone", "gone/x.png"]
    for part in [*names, *folders]:
        assert found([part]) == {name for name in whole if name == part or name.startswith(f"{part}/")}, part
    assert found(["a/b", "x.png"]) == {"a/b/x.png", "x.png"}
    assert found([]) == set()


def test_looking_at_some_paths_leaves_all_others_alone(
    tmp_path: Path, fake: Matcher, pictures: Path, paint: Callable[..., Path]
) -> None:
    with Library.open(tmp_path / "library", fake) as library:
        library.index(pictures)
        for name in ("red.png", "green.png"):
            os.remove(pictures / name)
        paint("black.png")
        paint("blue.png", "white")
        seen = library.index(changes=Changes((str(pictures / "red.png"), str(pictures / "none"))))
        assert (seen.removed, seen.added, seen.changed, seen.unchanged) == (1, 0, 0, 0)
        unfinished = (str(pictures / "green.png"), str(pictures / "blue.png"), str(pictures / "black.png"))
        seen = library.index(changes=Changes(unfinished=unfinished))
        assert (seen.removed, seen.added, seen.changed) == (0, 0, 0)
        seen = library.index(changes=Changes())
        assert (seen.removed, seen.added, seen.changed) == (1, 1, 1)


def test_a_missing_root_loses_nothing_by_a_look_at_its_paths(
    tmp_path: Path, fake: Matcher, pictures: Path
) -> None:
    with Library.open(tmp_path / "library", fake) as library:
        library.index(pictures)
        os.rename(pictures, tmp_path / "unplugged")
        seen = library.index(changes=Changes((str(pictures / "red.png"),)))
        assert (seen.removed, seen.offline) == (0, 4)


# -- the command ----------------------------------------------------------------------------------


@contextmanager
def command(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    line = [sys.executable, "-m", "crosslens", "watch", *map(str, arguments), "--model", "fake"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_says_what_it_does_a_line_to_a_batch_and_ends_with_a_summary(
    tmp_path: Path, pictures: Path, paint: Callable[..., Path], number: int, status: int
) -> None:
    with command(pictures, "-L", tmp_path / "library") as process:
        assert line_of(process)[8:] == "  4 added"
        paint("black.png")
        os.remove(pictures / "red.png")
        assert line_of(process)[8:] == "  1 added, 1 removed"
        process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == status
    assert "5 added, 1 removed; what was committed is kept" in errors.splitlines()[-1]
    assert verify(tmp_path / "library").clean


def test_as_json_it_says_the_same(tmp_path: Path, pictures: Path) -> None:
    with command(pictures, "-L", tmp_path / "library", "--json") as process:
        first = json.loads(line_of(process))
        assert (first["whole"], first["added"], first["failures"]) == (True, 4, [])
        os.remove(pictures / "red.png")
        second = json.loads(line_of(process))
        assert (second["whole"], second["removed"]) == (False, 1)
        assert second["time"] > first["time"]


def test_killed_in_the_middle_the_library_is_whole_and_the_next_start_catches_up(
    tmp_path: Path, pictures: Path
) -> None:
    for number in range(300):
        Image.new("RGB", (64, 64), (number % 256, number // 256, 9)).save(pictures / f"{number}.png")
    folder = tmp_path / "library"
    with command(pictures, "-L", folder) as process:
        until = time.monotonic() + PATIENCE
        while not (folder / "writer.pid").exists():
            assert time.monotonic() < until
            time.sleep(0.001)
        time.sleep(0.15)
        process.kill()
        process.wait()
    if (folder / "library.sqlite3").exists():
        assert verify(folder).clean
    os.remove(pictures / "red.png")
    Image.new("RGB", (64, 64), "white").save(pictures / "later.png")
    with command(pictures, "-L", folder) as process:
        line_of(process)
        os.remove(pictures / "later.png")
        assert line_of(process)[8:] == "  1 removed"
    assert verify(folder).clean
    with Library.open(folder) as library:
        assert {Path(item.path).name for item in library.items()} == {
            path.name for path in pictures.iterdir()
        }


def test_without_a_library_and_a_folder_it_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crosslens.cli.app._prepare_streams", lambda: None)
    terminate = signal.getsignal(signal.SIGTERM)
    assert main(["watch", "-L", str(tmp_path / "library")]) == 1
    signal.signal(signal.SIGTERM, terminate)
    assert "Name a folder of pictures to index" in capsys.readouterr().err


def test_after_any_changes_the_library_holds_what_is_there(watcher: Watcher, pictures: Path) -> None:
    random_ = random.Random(0)  # noqa: S311
    for number in range(CHANGES):
        change_something(pictures, random_, number)
        time.sleep(random_.choice([0, 0, 0.01, 0.05]))
    found = walk(str(pictures), skip=frozenset(), on_error=lambda *_: None, on_ignored=lambda *_: None)
    wanted = {item.path for item in found}
    until = time.monotonic() + PATIENCE
    with Library.open(watcher.folder, watcher.matcher) as library:
        while {item.path for item in library.items()} != wanted:
            assert time.monotonic() < until
            time.sleep(0.1)
        watcher.stop.set()
        watcher.drain()
        report = library.index()
        assert (report.added, report.changed, report.moved, report.removed) == (0, 0, 0, 0)


def change_something(root: Path, random_: random.Random, number: int) -> None:
    folders = [root, *(path for path in sorted(root.rglob("*")) if path.is_dir())]
    files = sorted(root.rglob("*.png"))
    folder, below = random_.choice(folders), random_.choice(folders[1:] or folders)
    match random_.randrange(8):
        case 0 | 1 | 2:
            Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number}.png")
        case 3 if files:
            os.remove(random_.choice(files))
        case 4 if files:
            os.rename(random_.choice(files), folder / f"renamed{number}.png")
        case 5:
            (folder / f"folder{number}").mkdir()
        case 6 if below != root and not folder.is_relative_to(below):
            os.rename(below, folder / f"moved{number}")
        case 7 if files:
            random_.choice(files).write_bytes(files[0].read_bytes() + b"changed")
