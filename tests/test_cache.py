"""Compiled graphs on disk: used when whole, thrown away when not."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crosslens import Matcher
from crosslens.models.catalogue import find_bundle
from crosslens.towers.cache import seal_cache, sound_cache
from crosslens.towers.openvino import OpenVinoModel

Damage = Callable[[bytes], bytes]
DAMAGES: dict[str, Damage] = {
    "truncated": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "one bit flipped": lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :],
}  # fmt: skip


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


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_graph_is_compiled_anew(cache: Path, damage: str) -> None:
    whole = blob(cache).read_bytes()
    blob(cache).chmod(0o644)
    blob(cache).write_bytes(DAMAGES[damage](whole))
    np.testing.assert_array_equal(text_vector(cache), text_vector(None))
    assert blob(cache).stat().st_size == len(whole)


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


def test_the_cache_makes_a_start_faster(cache: Path) -> None:
    def best(where: Path | None) -> float:
        times = []
        for _ in range(3):
            started = time.perf_counter()
            text_vector(where)
            times.append(time.perf_counter() - started)
        return min(times)

    assert best(cache) < best(None)
