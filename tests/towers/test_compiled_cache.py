"""Compiled graphs on disk: used when whole, thrown away when not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crosslens import Matcher
from crosslens.models.catalogue import find_bundle
from crosslens.towers.compiled_cache import load_compiled, save_compiled
from crosslens.towers.openvino_runtime import OpenVinoModel


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def emptied(data: bytes) -> bytes:
    return data[:0]


def with_one_bit_flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def text_vector(cache: Path | None) -> np.ndarray:
    return Matcher(OpenVinoModel(find_bundle("starter"), "f32", cache)).embed_texts("a dog on the beach")[0]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    text_vector(folder)
    return folder


def blob(cache: Path) -> Path:
    [file] = cache.glob("*.blob")
    return file


def test_a_compiled_graph_is_kept_and_used_again(cache: Path) -> None:
    before = blob(cache).stat()
    vector = text_vector(cache)
    assert blob(cache).stat().st_mtime_ns == before.st_mtime_ns
    np.testing.assert_array_equal(vector, text_vector(None))


@pytest.mark.parametrize("damage", [truncated, emptied, with_one_bit_flipped])
def test_a_damaged_graph_is_compiled_anew(cache: Path, damage: Callable[[bytes], bytes]) -> None:
    damaged = damage(blob(cache).read_bytes())
    blob(cache).write_bytes(damaged)
    np.testing.assert_array_equal(text_vector(cache), text_vector(None))
    assert blob(cache).read_bytes() != damaged


def test_what_was_saved_is_loaded_while_its_sources_are_as_they_were(tmp_path: Path) -> None:
    source, file = tmp_path / "weights", tmp_path / "below" / "it.blob"
    source.write_bytes(b"weights")
    save_compiled(file, b"whole", [source])
    loaded = load_compiled(file, [source])
    assert loaded is not None
    assert bytes(loaded) == b"whole"
    os.utime(source, ns=(0, 0))
    assert load_compiled(file, [source]) is None


@pytest.mark.parametrize("note", [None, "", "[]", "{}", '{"checksum": 1, "sources": []}'])
def test_a_graph_without_its_note_is_not_trusted(tmp_path: Path, note: str | None) -> None:
    file = tmp_path / "it.blob"
    file.write_bytes(b"half written")
    if note is not None:
        file.with_suffix(".json").write_text(note)
    assert load_compiled(file, []) is None


def test_nothing_is_left_of_a_graph_that_cannot_be_kept(tmp_path: Path) -> None:
    save_compiled(tmp_path / "it.blob", b"data", [tmp_path / "gone"])
    assert load_compiled(tmp_path / "it.blob", []) is None
    assert [file.name for file in tmp_path.iterdir()] == []


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert text_vector(tmp_path / "file" / "below").shape == (256,)
