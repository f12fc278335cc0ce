"""Libraries of coloured pictures: indexed once, searched ever after."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from crosslens import Hit, Library, Matcher, Progress
from crosslens.errors import (
    ImageNotFoundError,
    InputError,
    LibraryBusyError,
    LibraryError,
    LibraryModelError,
    LibraryNotFoundError,
    LibraryReadOnlyError,
    QueryError,
    TextError,
    UnreadableImageError,
)
from crosslens.library import indexing
from crosslens.models.catalogue import CATALOGUE
from crosslens.search.query_mixing import Term, mix
from crosslens.store.locks import writer_lock
from crosslens.towers.fake_model import FAKE_SPEC, FakeModel
from crosslens.types import Float32

Paint = Callable[..., Path]


class OtherModel(FakeModel):
    """Computes the same and says that it is another."""

    spec = dataclasses.replace(FAKE_SPEC, name="other", tokenizer_sha256="other")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "library"


@pytest.fixture
def library(folder: Path, fake: Matcher) -> Iterator[Library]:
    with Library.open(folder, fake) as library:
        yield library


@pytest.fixture
def every_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is reported after each batch, however soon it follows the last."""
    monkeypatch.setattr(indexing, "_PROGRESS_SECONDS", 0)


def names(hits: list[Hit]) -> list[str]:
    return [os.path.basename(hit.path) for hit in hits]


def everything(library: Library) -> dict[str, Hit]:
    """All items, by the names of their files."""
    return {os.path.basename(hit.path): hit for hit in library.search("red", k=1000)}


def paint_many(paint: Paint, count: int) -> Path:
    """Pictures of different contents, 0000.png and up."""
    for number in range(count):
        path = paint(f"many/{number:04}.png", "red", (1 + number % 100, 1 + number // 100))
    return path.parent


# -- searching ------------------------------------------------------------------------------------


def test_words_find_pictures_and_scores_are_cosines(library: Library, pictures: Path) -> None:
    library.index(pictures)
    hits = library.search("something red")
    assert names(hits) == ["red.png", "yellow.png", "blue.png", "green.png"]
    assert [hit.score for hit in hits] == pytest.approx([1, 0.5**0.5, 0, 0], abs=1e-3)


def test_a_picture_finds_its_like(library: Library, pictures: Path, paint: Paint) -> None:
    library.index(pictures)
    probe = paint("../probe.png", "green")
    assert names(library.search(image=probe, k=2)) == ["green.png", "yellow.png"]
    assert names(library.search(image=probe.read_bytes(), k=2)) == ["green.png", "yellow.png"]


def test_words_and_a_picture_are_looked_for_together(library: Library, pictures: Path, paint: Paint) -> None:
    paint("magenta.png")
    library.index(pictures)
    assert names(library.search("blue", image=pictures / "red.png", k=1)) == ["magenta.png"]


def test_what_should_not_be_there_sinks(library: Library, pictures: Path) -> None:
    library.index(pictures)
    plain, without = library.search("yellow"), library.search("yellow", without="green")
    assert names(plain).index("green.png") < names(plain).index("red.png")
    assert names(without).index("green.png") > names(without).index("red.png")


def test_a_mixed_search_scores_by_the_mixed_query(library: Library, pictures: Path, fake: Matcher) -> None:
    library.index(pictures)
    pixels = np.full((9, 9, 3), (0, 0, 255), np.uint8)
    terms = [
        Term(fake.embed_texts("yellow")[0], 1),
        Term(fake.embed_images([pixels])[0], 1),
        Term(fake.embed_texts("green")[0], -0.5),
    ]
    stored = fake.embed_images([pictures / f"{name}.png" for name in ("red", "green", "blue", "yellow")])
    stored = stored.astype(np.float16).astype(np.float32)
    scores = stored @ mix(terms, np.cov(stored.T, ddof=0).astype(np.float32))
    hits = {hit.path: hit.score for hit in library.search("yellow", image=pixels, without="green")}
    assert list(hits.values()) == pytest.approx(sorted(scores, reverse=True), abs=1e-5)
    assert hits[str(pictures / "red.png")] == pytest.approx(scores[0], abs=1e-5)


@pytest.mark.parametrize(("k", "count"), [(1, 1), (3, 3), (4, 4), (100, 4)])
def test_k_hits_come_back_or_all_there_are(library: Library, pictures: Path, k: int, count: int) -> None:
    library.index(pictures)
    assert len(library.search("red", k=k)) == count


def test_fewer_hits_are_the_first_of_more(library: Library, paint: Paint) -> None:
    for number in range(6):
        paint(f"{number}.png", "blue")
    library.index(paint("red.png").parent)
    more = library.search("red", k=7)
    assert [library.search("red", k=k) for k in range(1, 8)] == [more[:k] for k in range(1, 8)]


def test_a_hit_carries_the_facts_of_its_file(library: Library, paint: Paint) -> None:
    path = paint("red.png", "red", (40, 30))
    os.utime(path, ns=(0, 1_500_000_000_250_000_000))
    library.index(path.parent)
    (hit,) = library.search("red")
    assert (hit.path, hit.width, hit.height, hit.size) == (str(path), 40, 30, path.stat().st_size)
    assert hit.modified == pytest.approx(1_500_000_000.25, abs=1e-6)
    assert hit.online


def test_many_searches_at_once_give_what_single_ones_give(library: Library, pictures: Path) -> None:
    library.index(pictures)
    texts = ["red", "a green thing", "yellow", "black", "red blue"]
    assert library.search_many(texts, k=3) == [library.search(text, k=3) for text in texts]
    assert library.search_many([]) == []


def test_a_search_for_nothing_is_refused(library: Library, pictures: Path) -> None:
    library.index(pictures)
    with pytest.raises(QueryError, match="asks for nothing"):
        library.search()
    with pytest.raises(QueryError, match="asks for nothing"):
        library.search(without="red")
    with pytest.raises(TextError):
        library.search("")


@pytest.mark.parametrize("k", [0, -1])
def test_a_search_for_less_than_one_result_is_refused(library: Library, pictures: Path, k: int) -> None:
    library.index(pictures)
    with pytest.raises(QueryError, match=f"k is {k}"):
        library.search("red", k=k)
    with pytest.raises(QueryError, match=f"k is {k}"):
        library.search_many(["red"], k=k)


def test_a_picture_to_search_by_that_cannot_be_read_is_named(library: Library, pictures: Path) -> None:
    library.index(pictures)
    (pictures / "bad.png").write_bytes(b"no picture")
    with pytest.raises(UnreadableImageError, match=r"bad\.png"):
        library.search(image=pictures / "bad.png")


def test_a_library_without_pictures_finds_nothing(library: Library, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    library.index(tmp_path / "empty")
    assert library.search("red", without="blue") == []
    assert library.search_many(["red", "blue"]) == [[], []]


def test_several_threads_may_search_one_library(library: Library, pictures: Path) -> None:
    library.index(pictures)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(library.search, ["red", "green"] * 20))
    assert found == [library.search("red"), library.search("green")] * 20


# -- what is encoded ------------------------------------------------------------------------------


def test_the_first_run_encodes_everything_and_the_second_nothing(library: Library, pictures: Path) -> None:
    first, second = library.index(pictures), library.index(pictures)
    assert (first.added, first.encoded, first.unchanged) == (4, 4, 0)
    assert (second.added, second.encoded, second.unchanged) == (0, 0, 4)


def test_only_new_and_changed_files_are_encoded(library: Library, pictures: Path, paint: Paint) -> None:
    library.index(pictures)
    paint("cyan.png")
    paint("red.png", "magenta")
    report = library.index(pictures)
    assert (report.added, report.changed, report.unchanged, report.encoded) == (1, 1, 3, 2)
    assert names(library.search("magenta", k=1)) == ["red.png"]


def test_a_changed_file_keeps_its_id(library: Library, pictures: Path, paint: Paint) -> None:
    library.index(pictures)
    before = everything(library)["red.png"].id
    paint("red.png", "magenta", (20, 10))
    library.index(pictures)
    hit = everything(library)["red.png"]
    assert (hit.id, hit.width, hit.height) == (before, 20, 10)


def test_a_touched_file_is_not_encoded_again(library: Library, pictures: Path) -> None:
    library.index(pictures)
    os.utime(pictures / "red.png", (1, 1))
    assert library.index(pictures).encoded == 0
    assert everything(library)["red.png"].modified == 1


def test_a_renamed_file_is_recognised_and_keeps_its_id(library: Library, pictures: Path) -> None:
    library.index(pictures)
    before = everything(library)
    (pictures / "red.png").rename(pictures / "crimson.png")
    report = library.index(pictures)
    assert (report.moved, report.added, report.removed, report.encoded) == (1, 0, 0, 0)
    after = everything(library)
    assert after["crimson.png"].id == before["red.png"].id
    assert after.keys() == before.keys() - {"red.png"} | {"crimson.png"}


def test_a_renamed_folder_is_recognised(library: Library, pictures: Path) -> None:
    (pictures / "old").mkdir()
    for path in pictures.glob("*.png"):
        path.rename(pictures / "old" / path.name)
    library.index(pictures)
    before = everything(library)
    (pictures / "old").rename(pictures / "new")
    report = library.index(pictures)
    assert (report.moved, report.encoded, report.removed) == (4, 0, 0)
    assert {name: hit.id for name, hit in everything(library).items()} == {
        name: hit.id for name, hit in before.items()
    }
    assert names(library.search("red")) == ["red.png", "yellow.png", "blue.png", "green.png"]


def test_a_copied_file_is_recognised_and_gets_an_id_of_its_own(library: Library, pictures: Path) -> None:
    library.index(pictures)
    shutil.copy(pictures / "red.png", pictures / "copy.png")
    report = library.index(pictures)
    assert (report.added, report.moved, report.encoded) == (1, 0, 0)
    found = everything(library)
    assert found["copy.png"].id != found["red.png"].id
    assert found["copy.png"].score == found["red.png"].score


def test_a_file_renamed_and_copied_is_moved_once_and_added_once(library: Library, pictures: Path) -> None:
    library.index(pictures)
    before = everything(library)["red.png"].id
    shutil.copy(pictures / "red.png", pictures / "a.png")
    (pictures / "red.png").rename(pictures / "b.png")
    report = library.index(pictures)
    assert (report.moved, report.added, report.removed, report.encoded) == (1, 1, 0, 0)
    found = everything(library)
    assert found["a.png"].id == before
    assert found["b.png"].id not in (before, None)


def test_two_files_that_swap_names_swap_what_is_known_of_them(library: Library, pictures: Path) -> None:
    library.index(pictures)
    (pictures / "red.png").rename(pictures / "x")
    (pictures / "green.png").rename(pictures / "red.png")
    (pictures / "x").rename(pictures / "green.png")
    for number, name in enumerate(("red.png", "green.png")):
        os.utime(pictures / name, (number + 1, number + 1))
    assert library.index(pictures).encoded == 0
    assert names(library.search("red", k=1)) == ["green.png"]


def test_a_file_moved_to_another_root_is_recognised(library: Library, paint: Paint) -> None:
    left, right = paint("left/red.png").parent, paint("right/blue.png").parent
    library.index([left, right])
    before = everything(library)["red.png"].id
    (left / "red.png").rename(right / "red.png")
    report = library.index()
    assert (report.moved, report.encoded, report.removed) == (1, 0, 0)
    assert everything(library)["red.png"].id == before


def test_two_identical_new_files_are_encoded_once(library: Library, pictures: Path) -> None:
    shutil.copy(pictures / "red.png", pictures / "copy.png")
    report = library.index(pictures)
    assert (report.added, report.encoded) == (5, 4)
    assert names(library.search("red", k=2)) == ["copy.png", "red.png"]


def test_identical_files_far_apart_are_encoded_once(library: Library, paint: Paint) -> None:
    many = paint_many(paint, 300)
    for number in range(0, 300, 50):
        paint(f"many/z{number}.png", "blue")
    report = library.index(many)
    assert (report.added, report.encoded) == (306, 301)


def test_identical_files_that_are_no_pictures_all_fail(library: Library, pictures: Path) -> None:
    for name in ("a.png", "b.png", "z.png"):
        (pictures / name).write_bytes(b"no picture")
    report = library.index(pictures)
    assert report.added == 4
    assert [os.path.basename(failure.path) for failure in report.failures] == ["a.png", "b.png", "z.png"]
    assert len({failure.reason for failure in report.failures}) == 1


def test_the_content_of_known_pictures_is_not_kept_in_memory(library: Library, tmp_path: Path) -> None:
    """Three hundred names of one picture of 300 kB, of which a handful may be in memory at a time."""
    from PIL import Image

    (tmp_path / "links").mkdir()
    Image.new("RGB", (400, 250)).save(tmp_path / "links" / "0.bmp")
    for number in range(1, 300):
        os.link(tmp_path / "links" / "0.bmp", tmp_path / "links" / f"{number}.bmp")
    tracemalloc.start()
    try:
        library.index(tmp_path / "links")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20e6


# -- what goes away -------------------------------------------------------------------------------


def test_a_deleted_file_leaves_the_results(library: Library, pictures: Path) -> None:
    library.index(pictures)
    (pictures / "red.png").unlink()
    assert library.index(pictures).removed == 1
    assert "red.png" not in everything(library)


def test_a_deleted_file_that_comes_back_is_not_encoded_again(
    library: Library, pictures: Path, paint: Paint
) -> None:
    library.index(pictures)
    before = everything(library)["red.png"].id
    (pictures / "red.png").unlink()
    library.index(pictures)
    paint("red.png")
    report = library.index(pictures)
    assert (report.added, report.encoded) == (1, 0)
    assert everything(library)["red.png"].id > before


def test_a_folder_that_is_missing_goes_offline_and_comes_back(library: Library, pictures: Path) -> None:
    library.index(pictures)
    before = library.search("red")
    aside = pictures.rename(pictures.with_name("aside"))
    report = library.index()
    assert (report.offline, report.removed) == (4, 0)
    offline = library.search("red")
    assert not any(hit.online for hit in offline)
    assert names(offline) == names(before)
    aside.rename(pictures)
    report = library.index()
    assert (report.offline, report.encoded, report.unchanged) == (0, 0, 4)
    assert library.search("red") == before


def test_a_missing_folder_may_be_named_again(library: Library, pictures: Path) -> None:
    library.index(pictures)
    shutil.rmtree(pictures)
    assert library.index(pictures).offline == 4


def test_one_missing_folder_does_not_hold_up_the_others(library: Library, paint: Paint) -> None:
    left, right = paint("left/red.png").parent, paint("right/blue.png").parent
    library.index([left, right])
    shutil.rmtree(left)
    paint("right/green.png")
    report = library.index()
    assert (report.offline, report.added, report.removed) == (1, 1, 0)
    assert {name: hit.online for name, hit in everything(library).items()} == {
        "red.png": False,
        "blue.png": True,
        "green.png": True,
    }


def test_an_emptied_folder_on_a_file_system_that_is_there_was_emptied(
    library: Library, pictures: Path
) -> None:
    library.index(pictures)
    for path in pictures.iterdir():
        path.unlink()
    report = library.index()
    assert (report.removed, report.offline) == (4, 0)
    assert library.search("red") == []


def test_an_emptied_folder_whose_file_system_is_gone_is_offline(
    library: Library, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_mount = os.path.ismount
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) == str(pictures) or is_mount(path))
    library.index(pictures)
    before = library.search("red")
    monkeypatch.setattr(os.path, "ismount", is_mount)
    disk = pictures.rename(pictures.with_name("disk"))
    pictures.mkdir()  # the empty place where it was mounted
    report = library.index()
    assert (report.removed, report.offline) == (0, 4)
    pictures.rmdir()
    disk.rename(pictures)
    library.index()
    assert library.search("red") == before


def test_a_disk_mounted_after_its_folder_was_first_indexed_can_vanish_too(
    library: Library, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First the empty mount point was indexed, then the disk came, then it went."""
    disk = pictures.rename(pictures.with_name("disk"))
    pictures.mkdir()
    library.index(pictures)
    pictures.rmdir()
    disk.rename(pictures)
    is_mount = os.path.ismount
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) == str(pictures) or is_mount(path))
    assert library.index().added == 4
    monkeypatch.setattr(os.path, "ismount", is_mount)
    pictures.rename(disk)
    pictures.mkdir()
    report = library.index()
    assert (report.removed, report.offline) == (0, 4)


def test_a_root_that_is_a_link_to_a_vanished_disk_goes_offline(
    library: Library, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(pictures)
    library.index(tmp_path / "link")
    pictures.rename(tmp_path / "unplugged")
    report = library.index()
    assert (report.removed, report.offline) == (0, 4)


def test_a_folder_below_a_root_that_cannot_be_read_keeps_what_was_known(
    library: Library, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, bad = paint("blue.png").parent, paint("sub/red.png").parent
    library.index(root)
    before = everything(library)
    scandir = os.scandir

    def failing(path: str) -> Iterator[os.DirEntry[str]]:
        if path == str(bad):
            raise OSError(5, "Input/output error", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", failing)
    report = library.index()
    assert [failure.path for failure in report.failures] == [str(bad)]
    assert report.removed == 0
    assert everything(library) == before


@pytest.mark.parametrize("first_time", [True, False])
def test_a_root_that_cannot_be_read_is_a_failure_with_a_reason(
    library: Library, pictures: Path, monkeypatch: pytest.MonkeyPatch, first_time: bool
) -> None:
    if not first_time:
        library.index(pictures)
    scandir = os.scandir

    def refusing(path: str) -> Iterator[os.DirEntry[str]]:
        if path == str(pictures):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    report = library.index(pictures)
    assert report.removed == 0
    (failure,) = report.failures
    assert failure.path == str(pictures)
    assert "Permission denied" in failure.reason


# -- roots ----------------------------------------------------------------------------------------


def test_several_roots_are_indexed_together_or_one_after_the_other(library: Library, paint: Paint) -> None:
    left, right = paint("left/red.png").parent, paint("right/blue.png").parent
    assert library.index([left]).added == 1
    assert library.index([right]).added == 1
    assert library.index([str(left), right]).unchanged == 2
    assert library.stats().roots == (str(left), str(right))


def test_indexing_one_root_leaves_the_others_alone(library: Library, paint: Paint) -> None:
    left, right = paint("left/red.png").parent, paint("right/blue.png").parent
    library.index([left, right])
    (left / "red.png").unlink()
    assert library.index(right).removed == 0
    assert library.index(left).removed == 1


def test_without_sources_all_roots_are_brought_up_to_date(library: Library, paint: Paint) -> None:
    left, right = paint("left/red.png").parent, paint("right/blue.png").parent
    library.index([left, right])
    paint("left/green.png")
    (right / "blue.png").unlink()
    report = library.index()
    assert (report.added, report.removed, report.unchanged) == (1, 1, 1)


@pytest.mark.parametrize("order", [("outer", "inner"), ("inner", "outer"), "together"])
@pytest.mark.parametrize("deleted", ["outer/red.png", "outer/inner/blue.png"])
def test_roots_may_lie_in_one_another(
    library: Library, paint: Paint, order: tuple[str, str] | str, deleted: str
) -> None:
    paint("outer/inner/blue.png")
    paint("outer/inner/deep/green.png")
    outer = paint("outer/red.png").parent
    folders = {"outer": outer, "inner": outer / "inner"}
    if order == "together":
        library.index([outer, outer / "inner"])
    else:
        for name in order:
            library.index(folders[name])
    assert sorted(everything(library)) == ["blue.png", "green.png", "red.png"]
    report = library.index()
    assert (report.added, report.removed, report.unchanged) == (0, 0, 3)
    (outer.parent / deleted).unlink()
    report = library.index(outer)
    assert (report.removed, report.unchanged, report.encoded) == (1, 2, 0)
    assert Path(deleted).name not in everything(library)


@pytest.mark.parametrize("order", [("outer", "inner"), ("inner", "outer")])
def test_indexing_the_inner_root_removes_nothing_from_the_outer_one(
    library: Library, paint: Paint, order: tuple[str, str]
) -> None:
    paint("outer/inner/blue.png")
    outer = paint("outer/red.png").parent
    folders = {"outer": outer, "inner": outer / "inner"}
    for name in order:
        library.index(folders[name])
    (outer / "red.png").unlink()
    (outer / "inner/blue.png").unlink()
    assert library.index(outer / "inner").removed == 1
    assert list(everything(library)) == ["red.png"]
    assert library.index(outer).removed == 1


def test_a_file_moved_between_nested_roots_is_recognised(library: Library, paint: Paint) -> None:
    paint("outer/inner/blue.png")
    outer = paint("outer/red.png").parent
    library.index([outer, outer / "inner"])
    before = everything(library)["red.png"].id
    (outer / "red.png").rename(outer / "inner" / "red.png")
    report = library.index()
    assert (report.moved, report.removed, report.encoded) == (1, 0, 0)
    assert everything(library)["red.png"].id == before
    (outer / "inner" / "red.png").unlink()
    assert library.index(outer / "inner").removed == 1


def test_a_folder_may_be_named_in_many_ways(
    library: Library, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictures.parent)
    library.index([pictures, "pictures/", "./pictures/../pictures", str(pictures) + "//"])
    assert library.stats().roots == (str(pictures),)
    assert library.stats().items == 4


def test_a_single_file_is_a_root_too(library: Library, pictures: Path) -> None:
    library.index(pictures / "red.png")
    assert list(everything(library)) == ["red.png"]
    assert library.index().unchanged == 1


def test_a_single_file_counts_whatever_its_name(library: Library, pictures: Path) -> None:
    plain = (pictures / "red.png").rename(pictures / ".photo")
    assert library.index(plain).added == 1


def test_a_single_file_that_was_deleted_is_forgotten(library: Library, pictures: Path) -> None:
    library.index([pictures / "red.png", pictures / "blue.png"])
    (pictures / "red.png").unlink()
    assert library.index().removed == 1
    assert list(everything(library)) == ["blue.png"]
    assert library.stats().roots == (str(pictures / "blue.png"),)


def test_a_single_file_whose_folder_is_gone_is_offline(library: Library, pictures: Path) -> None:
    library.index(pictures / "red.png")
    aside = pictures.rename(pictures.with_name("aside"))
    report = library.index()
    assert (report.removed, report.offline) == (0, 1)
    assert not everything(library)["red.png"].online
    aside.rename(pictures)
    assert library.index().offline == 0
    assert everything(library)["red.png"].online


@pytest.mark.parametrize("file_first", [True, False])
def test_a_single_file_may_lie_in_a_folder_that_is_a_root(
    library: Library, pictures: Path, file_first: bool
) -> None:
    sources = [pictures / "red.png", pictures]
    for source in sources if file_first else sources[::-1]:
        library.index(source)
    assert library.index().unchanged == 4
    (pictures / "red.png").unlink()
    assert library.index().removed == 1
    assert sorted(everything(library)) == ["blue.png", "green.png", "yellow.png"]
    assert library.stats().roots == (str(pictures),)


def test_a_single_file_renamed_within_a_root_keeps_its_id(library: Library, pictures: Path) -> None:
    library.index([pictures / "red.png", pictures])
    before = everything(library)["red.png"].id
    (pictures / "red.png").rename(pictures / "crimson.png")
    assert library.index().moved == 1
    assert everything(library)["crimson.png"].id == before


def test_a_single_file_deleted_during_the_run_does_not_stop_it(library: Library, pictures: Path) -> None:
    library.index([pictures / "red.png", pictures / "blue.png"])

    def delete(_progress: Progress) -> None:
        (pictures / "red.png").unlink(missing_ok=True)

    library.index(on_progress=delete)
    library.index()
    assert list(everything(library)) == ["blue.png"]


def test_a_source_that_does_not_exist_is_refused_and_nothing_is_made(
    library: Library, folder: Path, pictures: Path
) -> None:
    with pytest.raises(ImageNotFoundError, match="nowhere"):
        library.index([pictures, pictures / "nowhere"])
    assert not folder.exists()


def test_without_any_source_ever_there_is_nothing_to_index(library: Library, folder: Path) -> None:
    with pytest.raises(LibraryNotFoundError, match="Name a folder"):
        library.index()
    assert not folder.exists()


# -- hostile files --------------------------------------------------------------------------------


def test_files_that_cannot_be_read_are_listed_with_reasons(library: Library, pictures: Path) -> None:
    (pictures / "empty.png").touch()
    (pictures / "text.jpg").write_text("this is no picture")
    (pictures / "torn.png").write_bytes((pictures / "red.png").read_bytes()[:50])
    (pictures / "gone.png").symlink_to("nowhere")
    report = library.index(pictures)
    reasons = {os.path.basename(failure.path): failure.reason for failure in report.failures}
    assert reasons["empty.png"] == "the file is empty"
    assert "not a picture" in reasons["text.jpg"]
    assert "damaged or truncated" in reasons["torn.png"]
    assert "No such file" in reasons["gone.png"]
    assert len(reasons) == len(report.failures) == 4
    assert report.added == 4
    assert sorted(everything(library)) == ["blue.png", "green.png", "red.png", "yellow.png"]


def test_a_file_that_cannot_be_read_is_tried_again_each_time(library: Library, pictures: Path) -> None:
    bad = pictures / "bad.png"
    bad.write_bytes(b"no picture")
    assert [len(library.index(pictures).failures) for _ in range(2)] == [1, 1]
    shutil.copy(pictures / "red.png", bad)
    report = library.index(pictures)
    assert (report.failures, report.added) == ((), 1)


def test_a_file_that_turns_bad_keeps_what_was_known(library: Library, pictures: Path) -> None:
    library.index(pictures)
    before = everything(library)
    (pictures / "red.png").write_bytes(b"no picture any more")
    report = library.index(pictures)
    assert [os.path.basename(failure.path) for failure in report.failures] == ["red.png"]
    assert (report.removed, report.changed) == (0, 0)
    assert everything(library) == before


def test_a_file_that_vanishes_during_the_run_is_a_failure(library: Library, pictures: Path) -> None:
    def delete(_progress: Progress) -> None:
        (pictures / "red.png").unlink(missing_ok=True)

    report = library.index(pictures, on_progress=delete)
    assert [(failure.path, failure.reason) for failure in report.failures] == [
        (str(pictures / "red.png"), "there is no such file")
    ]
    assert report.added == 3


def test_a_picture_that_the_model_cannot_place_is_a_failure_in_plain_words(
    folder: Path, pictures: Path
) -> None:
    model = FakeModel()
    submit = model.image.submit

    def nothing_for_red(batch: np.ndarray) -> object:
        future = submit(batch)
        vectors: Float32 = future.result()
        vectors[vectors[:, 0] > 0.9] = 0
        return future

    model.image.submit = nothing_for_red  # type: ignore[method-assign]
    with Library.open(folder, Matcher(model)) as library:
        report = library.index(pictures)
    assert [os.path.basename(failure.path) for failure in report.failures] == ["red.png", "yellow.png"]
    assert "_File(" not in report.failures[0].reason


def test_hidden_files_and_folders_are_left_out(library: Library, paint: Paint) -> None:
    paint(".hidden.png", "red")
    paint(".thumbnails/red.png")
    report = library.index(paint("blue.png").parent)
    assert (report.added, report.ignored, report.failures) == (1, 0, ())


def test_files_not_named_like_pictures_are_counted(library: Library, pictures: Path) -> None:
    (pictures / "notes.txt").touch()
    (pictures / "red").write_bytes((pictures / "red.png").read_bytes())
    report = library.index(pictures)
    assert (report.added, report.ignored) == (4, 2)


def test_links_that_point_upwards_are_followed_once(library: Library, paint: Paint) -> None:
    top = paint("red.png").parent
    below = paint("below/blue.png").parent
    (below / "up").symlink_to(top)
    (top / "again").symlink_to(below)
    assert library.index(top).added == 2
    assert library.index(top).unchanged == 2


def test_a_link_to_itself_is_passed_over(library: Library, pictures: Path) -> None:
    (pictures / "loop.png").symlink_to("loop.png")
    report = library.index(pictures)
    assert report.added == 4
    assert [failure.path for failure in report.failures] == [str(pictures / "loop.png")]


def test_a_pipe_named_like_a_picture_does_not_stop_the_run(pictures: Path, folder: Path) -> None:
    """In a process of its own, because reading from a pipe that nobody writes to never ends."""
    os.mkfifo(pictures / "pipe.png")
    code = "import sys, crosslens as c; print(c.Library.open(sys.argv[1], 'fake').index(sys.argv[2]).added)"
    command = [sys.executable, "-c", code, folder, pictures]
    done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    assert done.stdout == "4\n"


def test_a_name_that_is_not_utf8_is_kept_byte_for_byte(library: Library, pictures: Path) -> None:
    below = os.path.join(os.fsencode(pictures), b"\xe9t\xe9")
    os.mkdir(below)
    odd = os.path.join(below, b"caf\xe9.png")
    os.rename(pictures / "red.png", odd)
    library.index(pictures)
    (hit,) = library.search("red", k=1)
    assert os.fsencode(hit.path) == odd
    assert library.index().unchanged == 4
    os.rename(odd, odd + b".jpg")
    assert library.index().moved == 1
    os.unlink(odd + b".jpg")
    assert library.index().removed == 1


def test_a_root_or_library_whose_name_is_not_utf8_works(
    pictures: Path, tmp_path: Path, fake: Matcher
) -> None:
    root = pictures.rename(os.fsdecode(os.fsencode(pictures) + b"\xe9"))
    with Library.open(tmp_path / os.fsdecode(b"biblioth\xe8que"), fake) as library:
        assert library.index(root).added == 4
        assert library.index().unchanged == 4
        assert library.search("red", k=1)[0].path == str(root / "red.png")


@pytest.mark.parametrize("name", ["100% mine?", "a#b&mode=ro", "with 'quotes\"", "new\nline", "%41"])
def test_a_library_may_lie_in_a_folder_of_any_name(
    tmp_path: Path, pictures: Path, fake: Matcher, name: str
) -> None:
    with Library.open(tmp_path / name, fake) as library:
        library.index(pictures)
    with Library.open(tmp_path / name) as library:
        assert names(library.search("red", k=1)) == ["red.png"]
    assert (tmp_path / name / "library.sqlite3").is_file()


def test_the_library_may_lie_among_the_pictures(pictures: Path, fake: Matcher) -> None:
    with Library.open(pictures / "library", fake) as library:
        assert library.index(pictures).added == 4
        assert library.index(pictures).unchanged == 4


# -- progress and searching meanwhile -------------------------------------------------------------


@pytest.mark.usefixtures("every_progress")
def test_progress_grows_to_its_total(library: Library, paint: Paint) -> None:
    many = paint_many(paint, 130)
    (many / "bad.png").touch()
    seen: list[Progress] = []
    library.index(many, on_progress=seen.append)
    assert [progress.done for progress in seen] == [0, 64, 128, 131, 131]
    assert {progress.total for progress in seen} == {131}
    assert (seen[-1].failed, seen[-1].encoded) == (1, 130)


@pytest.mark.usefixtures("every_progress")
def test_what_is_committed_can_be_found_by_others_while_indexing_goes_on(
    library: Library, folder: Path, paint: Paint
) -> None:
    many = paint_many(paint, 150)
    found: list[int] = []

    def search(progress: Progress) -> None:
        with Library.open(folder) as other:
            hits = other.search("red", k=1000)
        assert all(hit.score == pytest.approx(1, abs=1e-3) for hit in hits)
        assert len({hit.id for hit in hits}) == len(hits) == progress.done
        found.append(len(hits))

    library.index(many, on_progress=search)
    assert found == [0, 64, 128, 150, 150]


@pytest.mark.usefixtures("every_progress")
def test_a_library_opened_before_sees_what_is_committed_later(
    library: Library, folder: Path, pictures: Path, paint: Paint
) -> None:
    library.index(pictures)
    found: list[int] = []
    with Library.open(folder) as other:
        many = paint_many(paint, 70)
        library.index(many, on_progress=lambda _: found.append(len(other.search("red", k=1000))))
    assert found == [4, 68, 74, 74]


def test_a_library_opened_before_it_was_made_finds_what_another_put_there(
    folder: Path, pictures: Path, fake: Matcher
) -> None:
    with Library.open(folder) as early, Library.open(folder, fake) as other:
        with pytest.raises(LibraryNotFoundError):
            early.search("red")
        other.index(pictures)
        assert names(early.search("red", k=1)) == ["red.png"]


def test_a_library_opened_before_it_was_made_refreshes_what_another_put_there(
    folder: Path, pictures: Path, fake: Matcher
) -> None:
    with Library.open(folder) as early, Library.open(folder, fake) as other:
        other.index(pictures)
        assert early.index().unchanged == 4


def test_a_library_made_meanwhile_with_another_model_is_refused(
    folder: Path, pictures: Path, fake: Matcher, paint: Paint
) -> None:
    with Library.open(folder, Matcher(OtherModel())) as early, Library.open(folder, fake) as other:
        other.index(pictures)
        paint("cyan.png")
        with pytest.raises(LibraryModelError):
            early.index(pictures)
        with pytest.raises(LibraryModelError):
            early.search("red")


def test_a_run_that_fails_does_not_blind_the_library_to_later_ones(
    library: Library,
    folder: Path,
    pictures: Path,
    fake: Matcher,
    paint: Paint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library.index(pictures)

    def interrupted(*_arguments: object, **_options: object) -> Iterator[object]:
        yield from ()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(indexing, "walk", interrupted)
        with pytest.raises(KeyboardInterrupt):
            library.index()
    paint("magenta.png")
    with Library.open(folder, fake) as other:
        other.index()
    assert names(library.search("magenta", k=1)) == ["magenta.png"]


def test_an_indexing_run_inside_another_is_refused(library: Library, pictures: Path) -> None:
    def again(_progress: Progress) -> None:
        with pytest.raises(LibraryBusyError):
            library.index()

    assert library.index(pictures, on_progress=again).added == 4


# -- the library itself ---------------------------------------------------------------------------


def test_generations_grow_with_changes_and_only_with_them(
    library: Library, pictures: Path, paint: Paint
) -> None:
    generations = []
    for change in (lambda: None, lambda: None, lambda: paint("cyan.png"), (pictures / "red.png").unlink):
        change()
        library.index(pictures)
        generations.append(library.stats().generation)
    assert generations == [1, 1, 2, 3]


def test_stats_are_facts(library: Library, folder: Path, pictures: Path) -> None:
    shutil.copy(pictures / "red.png", pictures / "copy.png")
    library.index(pictures)
    stats = library.stats()
    assert (stats.path, stats.model, stats.dimension) == (str(folder), "fake", 4)
    assert (stats.items, stats.offline, stats.contents, stats.vectors) == (5, 0, 4, 4)
    assert stats.roots == (str(pictures),)
    files = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert stats.size == files - (folder / "writer.lock").stat().st_size
    (pictures / "blue.png").unlink()
    library.index()
    stats = library.stats()
    assert (stats.items, stats.contents, stats.vectors) == (4, 3, 4)


def test_a_library_that_is_not_there_yet_says_how_to_make_it(library: Library, folder: Path) -> None:
    for ask in (library.stats, lambda: library.search("red"), lambda: library.search_many(["red"])):
        with pytest.raises(LibraryNotFoundError, match="crosslens index"):
            ask()
    assert not folder.exists()


def test_a_library_opened_without_a_model_remembers_its_own(
    library: Library, folder: Path, pictures: Path
) -> None:
    library.index(pictures)
    with Library.open(folder) as again:
        assert again.matcher.spec == FAKE_SPEC
        assert again.search("red") == library.search("red")
        assert again.index().unchanged == 4


def test_the_default_library_lies_in_the_users_data_folder(
    pictures: Path, tmp_path: Path, fake: Matcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with Library.open(model=fake) as library:
        library.index(pictures)
        assert library.folder == tmp_path / "data" / "crosslens" / "library"
    with Library.open() as library:
        assert names(library.search("red", k=1)) == ["red.png"]


def test_a_tilde_in_the_name_of_a_library_is_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Library.open("~/pictures").folder == tmp_path / "pictures"


def test_a_closed_library_keeps_everything(folder: Path, pictures: Path, fake: Matcher) -> None:
    with Library.open(folder, fake) as library:
        library.index(pictures)
        before = library.search("red")
    assert not (folder / "library.sqlite3-wal").exists()
    with Library.open(folder) as library:
        assert library.search("red") == before


def test_scores_are_the_same_from_a_built_and_from_a_mapped_matrix(
    library: Library, folder: Path, pictures: Path
) -> None:
    library.index(pictures)
    with Library.open(folder) as other:
        assert other.search("yellow") == library.search("yellow")


def test_a_file_where_the_library_should_be_is_named(library: Library, pictures: Path, folder: Path) -> None:
    folder.touch()
    with pytest.raises(LibraryError, match=str(folder)):
        library.index(pictures)


# -- remove, get, items ----------------------------------------------------------------------------


def test_items_are_removed_by_id_by_path_and_by_folder(library: Library, paint: Paint) -> None:
    red, green, blue = paint("red.png"), paint("sub/green.png"), paint("sub/blue.png")
    library.index(red.parent)
    ids = {Path(item.path).name: item.id for item in library.items()}
    assert library.remove([ids["red.png"]]) == 1
    assert library.get(ids["red.png"]) is None
    assert library.remove([green.parent]) == 2
    assert list(library.items()) == []
    assert library.search("red") == []
    assert all(path.exists() for path in (red, green, blue))
    assert library.index().added == 3


def test_a_folder_that_is_gone_for_good_can_be_forgotten(library: Library, paint: Paint) -> None:
    kept, gone = paint("kept/red.png").parent, paint("gone/blue.png").parent
    library.index([kept, gone])
    gone.rename(gone.with_name("elsewhere"))
    assert library.index().offline == 1
    assert library.stats().missing == (str(gone),)
    assert library.remove([str(gone)]) == 1
    assert library.stats().roots == (str(kept),)
    assert library.index().offline == 0


def test_what_is_not_in_the_library_cannot_be_removed_and_nothing_is(
    library: Library, pictures: Path
) -> None:
    library.index(pictures)
    with pytest.raises(InputError, match=r"none\.png is not in library"):
        library.remove([str(pictures / "red.png"), str(pictures / "none.png")])
    with pytest.raises(InputError, match="999 is not in library"):
        library.remove([999])
    assert library.stats().items == 4


def test_an_item_is_got_by_its_id_with_its_facts(library: Library, pictures: Path) -> None:
    library.index(pictures)
    for item in library.items():
        assert library.get(item.id).path == item.path  # type: ignore[union-attr]
        assert (item.width, item.height, item.online) == (16, 16, True)
    assert [Path(item.path).stem for item in library.items()] == ["blue", "green", "red", "yellow"]


def test_a_library_of_more_than_a_page_lists_every_item(library: Library, paint: Paint) -> None:
    first = paint("0.png", "red")
    for number in range(1, 2100):
        os.link(first, first.with_name(f"{number}.png"))
    library.index(first.parent)
    assert len({item.id for item in library.items()}) == 2100


def test_a_model_that_moved_is_found_again(folder: Path, pictures: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(CATALOGUE["starter"].folder, tmp_path / "bundle")
    with Library.open(folder, bundle) as library:
        library.index(pictures)
    moved = bundle.rename(tmp_path / "moved")
    with Library.open(folder) as library, pytest.raises(LibraryModelError, match="--model NEW_PLACE"):
        library.search("red")
    with Library.open(folder, moved) as library:
        assert library.index().unchanged == 4
    with Library.open(folder) as library:
        assert len(library.search("red")) == 4


def test_several_things_may_be_unwanted(library: Library, pictures: Path) -> None:
    library.index(pictures)
    both = [hit.path for hit in library.search("yellow", without=["red", "blue"])]
    assert both != [hit.path for hit in library.search("yellow", without="blue")]


def test_a_search_takes_one_text(library: Library, pictures: Path) -> None:
    library.index(pictures)
    with pytest.raises(QueryError, match="search_many"):
        library.search(["red", "blue"])  # type: ignore[arg-type]


def test_a_file_in_an_indexed_folder_is_no_root_of_its_own(library: Library, pictures: Path) -> None:
    library.index([pictures / "red.png", pictures])
    library.index(pictures / "blue.png")
    assert library.stats().roots == (str(pictures),)
    assert library.stats().items == 4


def test_a_file_that_was_never_readable_is_no_root(library: Library, pictures: Path) -> None:
    (pictures / "bad.png").touch()
    assert len(library.index(pictures / "bad.png").failures) == 1
    assert library.stats().roots == ()


def test_a_pipe_named_as_a_source_is_refused(library: Library, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(UnreadableImageError, match="no regular file"):
        library.index(tmp_path / "pipe.jpg")


def test_a_removal_that_is_refused_leaves_the_library_usable(
    library: Library, folder: Path, pictures: Path
) -> None:
    library.index(pictures)
    with writer_lock(folder), pytest.raises(LibraryBusyError):
        library.remove([str(pictures / "red.png")])
    assert len(library.search("red")) == 4


def test_a_library_that_cannot_be_opened_for_writing_is_still_searched(
    library: Library, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.index(pictures)

    def refused(*_arguments: object, **_options: object) -> None:
        raise LibraryReadOnlyError("read-only")

    with monkeypatch.context() as patch:
        patch.setattr("crosslens.library.library.Catalog", refused)
        with pytest.raises(LibraryReadOnlyError):
            library.index(pictures)
    assert len(library.search("red")) == 4
