"""Pictures that are the same, or nearly so."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import faiss
import numpy as np
import pytest
from PIL import Image, ImageFilter

from crosslens import InputError, Library, Matcher
from crosslens.cli.app import main
from crosslens.maintenance import duplicate_finder
from crosslens.maintenance.duplicate_finder import Cluster, find_duplicates
from crosslens.maintenance.duplicate_report import write_plan
from crosslens.maintenance.perceptual_hash import sharpnesses
from crosslens.search import near_duplicate_join
from crosslens.search.near_duplicate_join import near_pairs


def photograph(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """Three different pictures; of the first a copy, a smaller one and one of poor quality."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in (1, 2, 3):
        photograph(seed).save(folder / f"{seed}.png")
    shutil.copy(folder / "1.png", folder / "1 copy.png")
    photograph(1).resize((160, 120), Image.Resampling.LANCZOS).save(folder / "1 small.png")
    photograph(1).save(folder / "1 poor.jpg", quality=40)
    with Library.open(tmp_path / "library") as library:
        library.index(folder)
        yield library


def names(cluster: Cluster) -> list[str]:
    return [Path(item.path).name for item in cluster.items]


def test_one_picture_saved_several_times_is_one_cluster(library: Library) -> None:
    [cluster] = find_duplicates(library)
    assert cluster.kind == "re-encoded"
    assert set(names(cluster)) == {"1.png", "1 copy.png", "1 small.png", "1 poor.jpg"}
    assert Path(cluster.keep.path).name in ("1.png", "1 copy.png")
    assert names(cluster)[-1] == "1 small.png"
    assert cluster.freed == sum(item.size for item in cluster.items[1:])


def test_copies_are_identical_even_where_their_files_are_gone(library: Library, tmp_path: Path) -> None:
    for name in ("1 small.png", "1 poor.jpg"):
        library.remove(tmp_path / "pictures" / name)
    shutil.rmtree(tmp_path / "pictures")
    [cluster] = find_duplicates(library)
    assert cluster.kind == "identical"
    assert set(names(cluster)) == {"1.png", "1 copy.png"}


def test_what_is_kept_is_said_with_the_reason(library: Library, tmp_path: Path) -> None:
    for name in ("1 copy.png", "1 poor.jpg"):
        os.remove(tmp_path / "pictures" / name)
    library.index()
    [cluster] = find_duplicates(library)
    assert names(cluster) == ["1.png", "1 small.png"]
    assert cluster.reason == "most pixels, 320 × 240"


def test_similar_pictures_are_found_only_when_asked_for(library: Library) -> None:
    assert {cluster.kind for cluster in find_duplicates(library, similar=0.01)} == {"similar"}
    assert {cluster.kind for cluster in find_duplicates(library, similar=0.999)} == {"re-encoded"}


def test_flat_pictures_of_different_colours_are_not_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "flat"
    folder.mkdir()
    for value in (100, 140):
        Image.new("RGB", (64, 64), (value, value, value)).save(folder / f"{value}.png")
    with Library.open(tmp_path / "library") as library:
        library.index(folder)
        assert find_duplicates(library) == []


def test_texts_are_left_out(library: Library) -> None:
    library.add(texts=["a dog", "a dog"], names=["one", "two"])
    assert len(find_duplicates(library)) == 1


@pytest.mark.parametrize("similar", [0, -1, 1.5, float("nan")])
def test_a_cosine_that_is_none_is_refused(library: Library, similar: float) -> None:
    with pytest.raises(InputError, match="similar"):
        find_duplicates(library, similar=similar)


def test_progress_is_told(library: Library) -> None:
    told: list[tuple[int, int]] = []
    find_duplicates(library, on_progress=lambda done, total: told.append((done, total)))
    assert told[0] == (6, 6), "all pictures were compared"
    assert told[1:] == [(done, len(told) - 1) for done in range(1, len(told))], "some files were looked at"


def test_the_command_prints_a_plan_and_deletes_nothing(
    library: Library, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crosslens.cli.app._prepare_streams", lambda: None)
    before = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert main(["duplicates", "-L", str(tmp_path / "library")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("re-encoded: 4 pictures, ")
    assert lines[1].startswith(f"  keep   {tmp_path / 'pictures'}")
    assert lines[-1].startswith("1 clusters; 3 pictures could go, ")
    assert main(["duplicates", "-L", str(tmp_path / "library"), "--json"]) == 0
    [cluster] = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["clusters"]
    assert cluster["keep"] == cluster["items"][0]["id"]
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == before


# -- bursts ---------------------------------------------------------------------------------------

MAKER, TAKEN, DETAILS = 0x010F, 0x9003, 0x8769


def take(path: Path, image: Image.Image, taken: str | None, camera: str = "Camera") -> Path:
    """Save a picture as a camera does."""
    exif = Image.Exif()
    exif[MAKER] = camera
    if taken is not None:
        exif.get_ifd(DETAILS)[TAKEN] = f"2024:05:17 {taken}"
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, exif=exif, quality=95)
    return path


def frame(seed: int, number: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """One of a series: the same scene, a little further on."""
    wide = photograph(seed, (size[0] * 3 // 2, size[1] * 3 // 2))
    grain = np.random.default_rng(seed).normal(0, 10, (wide.height, wide.width, 1))
    wide = Image.fromarray(np.clip(wide + grain, 0, 255).astype(np.uint8))
    return wide.crop((25 * number, 10 * number, 25 * number + size[0], 10 * number + size[1]))


def of_pictures(library: Library, folder: Path, **how: float) -> list[tuple[str, set[str]]]:
    library.index(folder)
    return [(cluster.kind, set(names(cluster))) for cluster in find_duplicates(library, **how)]


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Three frames of one scene, a second apart; before and after them others."""
    for number, second in enumerate(("01", "02", "03")):
        take(tmp_path / "album" / f"burst{number}.jpg", frame(7, number), f"12:00:{second}")
    take(tmp_path / "album" / "before.jpg", Image.new("RGB", (320, 240), "navy"), "12:00:00")
    take(tmp_path / "album" / "after.jpg", Image.effect_noise((320, 240), 80).convert("RGB"), "12:00:04")
    return tmp_path / "album"


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "other library") as library:
        yield library


def test_frames_of_one_scene_taken_within_seconds_are_a_burst(empty: Library, album: Path) -> None:
    assert of_pictures(empty, album) == []
    assert of_pictures(empty, album, burst=0) == []
    assert of_pictures(empty, album, burst=1) == [("burst", {"burst0.jpg", "burst1.jpg", "burst2.jpg"})]


def test_frames_that_were_taken_later_or_by_another_camera_or_nobody_knows_when_are_none(
    empty: Library, album: Path
) -> None:
    take(album / "later.jpg", frame(7, 3), "12:00:13")
    take(album / "yours.jpg", frame(7, 4), "12:00:02", camera="Another")
    take(album / "unknown.jpg", frame(7, 5), None)
    assert of_pictures(empty, album, burst=3) == [("burst", {"burst0.jpg", "burst1.jpg", "burst2.jpg"})]
    [(kind, _)] = of_pictures(empty, album, burst=3, similar=0.8)
    assert kind == "similar", "what holds more together is the weaker kind"


def test_the_sharpest_of_a_burst_is_kept(empty: Library, album: Path) -> None:
    for number in (0, 2):
        shaken = frame(7, number).filter(ImageFilter.GaussianBlur(1.5))
        noise = Image.effect_noise(shaken.size, 3).convert("RGB")
        take(album / f"burst{number}.jpg", shaken, f"12:00:0{number + 1}")
        with open(album / f"burst{number}.jpg", "ab") as file:
            file.write(noise.tobytes())  # a larger file is no sharper picture
    empty.index(album)
    [cluster] = find_duplicates(empty, burst=1)
    assert names(cluster)[0] == "burst1.jpg"
    assert cluster.reason.startswith("the sharpest, ")


def test_a_larger_picture_is_kept_before_a_sharper_one(empty: Library, album: Path) -> None:
    large = frame(7, 1, (640, 480)).filter(ImageFilter.GaussianBlur(2))
    take(album / "burst1.jpg", large, "12:00:02")
    empty.index(album)
    [cluster] = find_duplicates(empty, burst=1)
    assert (names(cluster)[0], cluster.reason) == ("burst1.jpg", "most pixels, 640 × 480")


def test_frames_as_sharp_as_each_other_are_told_apart_by_their_files(empty: Library, album: Path) -> None:
    empty.index(album)
    [cluster] = find_duplicates(empty, burst=1)
    sharp = sharpnesses([item.path for item in cluster.items])
    assert min(sharp) > 0.9 * max(sharp)
    assert cluster.reason.startswith("largest file, ")
    for path in album.iterdir():
        path.unlink()
    (album / "none.txt").touch()
    [cluster] = find_duplicates(empty, burst=1)
    assert len(cluster.items) == 3, "away they are a burst still"


def test_copies_of_a_frame_are_part_of_its_burst(empty: Library, album: Path) -> None:
    shutil.copy(album / "burst0.jpg", album / "copy.jpg")
    frame(7, 2).resize((160, 120)).save(album / "sent.jpg")  # without its time
    burst = {"burst0.jpg", "burst1.jpg", "burst2.jpg", "copy.jpg", "sent.jpg"}
    assert of_pictures(empty, album, burst=1) == [("burst", burst)]


def test_pictures_of_one_time_are_held_against_the_next_ones_only(
    tmp_path: Path, fake: Matcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a camera without a clock would mean work without end."""
    for number in range(30):
        colour = ((255, number, 0), (0, 255, number), (number, 0, 255))[number % 3]
        take(tmp_path / "many" / f"{number:02}.png", Image.new("RGB", (8, 8), colour), "00:00:00")
    with Library.open(tmp_path / "fakes", fake) as library:
        for following, sizes in ((2, []), (3, [10, 10, 10])):
            monkeypatch.setattr(duplicate_finder, "_NEXT", following)
            monkeypatch.setattr(duplicate_finder, "_REENCODED_COSINE", 2.0)
            library.index(tmp_path / "many")
            assert [len(cluster.items) for cluster in find_duplicates(library, burst=0)] == sizes


@pytest.mark.parametrize("burst", [-1, float("nan"), float("inf")])
def test_seconds_that_are_none_are_refused(library: Library, burst: float) -> None:
    with pytest.raises(InputError, match="burst"):
        find_duplicates(library, burst=burst)


def test_what_is_blurred_is_less_sharp_and_what_is_no_picture_not_at_all(tmp_path: Path) -> None:
    sharp = photograph(1, (3000, 2000))
    sharp.paste(Image.effect_noise((3000, 2000), 60).convert("RGB"), mask=Image.new("L", sharp.size, 128))
    sharp.save(tmp_path / "sharp.jpg")
    sharp.filter(ImageFilter.GaussianBlur(8)).save(tmp_path / "blurred.jpg")
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    found = ("sharp.jpg", "blurred.jpg", "dot.png", "broken.jpg", "gone.jpg")
    sharp_, blurred, *rest = sharpnesses([str(tmp_path / name) for name in found])
    assert sharp_ > 1.2 * blurred > 0
    assert rest == [0, 0, 0]


# -- pairs ----------------------------------------------------------------------------------------


def index_of(vectors: np.ndarray) -> faiss.IndexScalarQuantizer:
    index = faiss.IndexScalarQuantizer(
        vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    index.train(vectors)
    index.add(vectors)
    return index


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 9, 30])
def test_every_pair_is_found_once_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(near_duplicate_join, "_BLOCK", 8)
    vectors = np.random.default_rng(0).standard_normal((count, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    parts = list(near_pairs(index_of(vectors) if count else faiss.IndexFlatIP(4), 0.5))
    found = sorted((int(a), int(b)) for _, part in parts for a, b in zip(part.one, part.other, strict=True))
    cosines = vectors @ vectors.T
    wanted = [(a, b) for a in range(count) for b in range(a + 1, count) if cosines[a, b] >= 0.5]
    assert found == wanted
    assert [share for share, _ in parts][-1:] == ([1.0] if count else [])


def test_of_many_that_are_near_the_nearest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicate_join, "_KEPT", 3)
    angles = np.linspace(0, 1, 20)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    for block in (4096, 8):
        monkeypatch.setattr(near_duplicate_join, "_BLOCK", block)
        found = near_duplicate_join.Pairs.all_of([part for _, part in near_pairs(index_of(vectors), 0.1)])
        for row in (0, 6, 18):
            assert sorted(found.other[found.one == row]) == [row + 1, row + 2, row + 3][: 19 - row]


# -- plans ----------------------------------------------------------------------------------------


@pytest.fixture
def run(library: Library, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """The command, with the library of three pictures."""
    monkeypatch.setattr("crosslens.cli.app._prepare_streams", lambda: None)
    terminate = signal.getsignal(signal.SIGTERM)
    yield lambda *words: main(["duplicates", "-L", str(library.folder), *map(str, words)])
    signal.signal(signal.SIGTERM, terminate)


def test_a_plan_in_a_file_is_what_the_command_prints(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    printed = capsys.readouterr().out
    assert run("--plan", tmp_path / "plan.txt") == 0
    assert (tmp_path / "plan.txt").read_text() == printed
    summary, where = capsys.readouterr().out.splitlines()
    assert summary == printed.splitlines()[-1]
    assert where == f"the plan is in {tmp_path / 'plan.txt'}"


def test_a_plan_as_json_names_what_to_keep_and_what_it_frees(
    run: Callable[..., int], library: Library, tmp_path: Path
) -> None:
    assert run("--plan", tmp_path / "plan.json") == 0
    plan = json.loads((tmp_path / "plan.json").read_text())
    [cluster] = find_duplicates(library)
    [written] = plan["clusters"]
    assert written == {
        "kind": "re-encoded",
        "keep": cluster.keep.path,
        "spare": [item.path for item in cluster.items[1:]],
        "reason": cluster.reason,
        "freed": cluster.freed,
    }
    assert plan["freed"] == sum(os.path.getsize(path) for path in written["spare"])
    assert all(os.path.exists(path) for path in (written["keep"], *written["spare"]))


def test_a_file_that_is_there_is_left_as_it_is_and_nothing_is_compared(
    run: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("crosslens.cli.commands.duplicates.find_duplicates", None)
    (tmp_path / "plan.txt").write_text("mine")
    assert run("--plan", tmp_path / "plan.txt") == 1
    assert "is there already, and is left as it is" in capsys.readouterr().err
    assert (tmp_path / "plan.txt").read_text() == "mine"
    os.symlink(tmp_path / "nowhere", tmp_path / "link.json")
    assert run("--plan", tmp_path / "link.json") == 1
    assert run("--plan", tmp_path / "nowhere" / "plan.txt") == 1


@pytest.mark.parametrize("name", ["plan.txt", "plan.json"])
def test_names_that_are_no_text_stand_in_a_plan(library: Library, tmp_path: Path, name: str) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path / "pictures") + b"/\xff.png")
    shutil.copy(tmp_path / "pictures" / "2.png", odd)
    library.index()
    write_plan(tmp_path / name, find_duplicates(library))
    written = (tmp_path / name).read_bytes()
    if name == "plan.txt":
        assert b"/\xff.png" in written
    else:
        assert any(odd in (row["keep"], *row["spare"]) for row in json.loads(written)["clusters"])
