"""Compiled graphs on disk: used when whole, thrown away when not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crosslens import Matcher
from crosslens.models.catalogue import find_bundle
from crosslens.towers.cache import seal_cache, sound_cache
from crosslens.towers.openvino import OpenVinoModel


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
    [file] = cache.glob("*/*.blob")
    return file


def test_a_compiled_graph_is_kept_and_used_again(cache: Path) -> None:
    before = blob(cache).stat()
    vector = text_vector(cache)
    assert blob(cache).stat().st_mtime_ns == before.st_mtime_ns
    np.testing.assert_array_equal(vector, text_vector(None))


@pytest.mark.parametrize("damage", [truncated, emptied, with_one_bit_flipped])
def test_a_damaged_graph_is_compiled_anew(cache: Path, damage: Callable[[bytes], bytes]) -> None:
    damaged = damage(blob(cache).read_bytes())
    blob(cache).chmod(0o644)
    blob(cache).write_bytes(damaged)
    np.testing.assert_array_equal(text_vector(cache), text_vector(None))
    assert blob(cache).read_bytes() != damaged


def test_a_graph_that_was_never_sealed_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "1.blob").write_bytes(b"half written")
    sound_cache(tmp_path)
    assert list(tmp_path.glob("*.blob")) == []


def test_a_sealed_graph_stays(tmp_path: Path) -> None:
    (tmp_path / "1.blob").write_bytes(b"whole")
    seal_cache(tmp_path)
    sound_cache(tmp_path)
    assert [file.name for file in tmp_path.glob("*.blob")] == ["1.blob"]


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert text_vector(tmp_path / "file" / "below").shape == (256,)
