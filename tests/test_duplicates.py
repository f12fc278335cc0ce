"""Pictures that are the same, or nearly so."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crosslens import InputError, Library
from crosslens.cli.parse import main
from crosslens.duplicates import Cluster, find_duplicates


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
    assert told == [(6, 6)]


def test_the_command_prints_a_plan_and_deletes_nothing(
    library: Library, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crosslens.cli.parse._prepare_streams", lambda: None)
    before = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert main(["duplicates", "-L", str(tmp_path / "library")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "re-encoded: 4 pictures"
    assert lines[1].startswith(f"  keep   {tmp_path / 'pictures'}")
    assert lines[-1].startswith("1 clusters; 3 pictures could go, ")
    assert main(["duplicates", "-L", str(tmp_path / "library"), "--json"]) == 0
    [cluster] = json.loads(capsys.readouterr().out)["clusters"]
    assert cluster["keep"] == cluster["items"][0]["id"]
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == before
