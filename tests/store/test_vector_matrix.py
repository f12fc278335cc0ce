"""The derived matrix: reused while it is current and whole, rebuilt otherwise, never trusted."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from crosslens import Library
from crosslens.errors import LibraryDamagedError
from crosslens.store import vector_matrix
from crosslens.store.database import Catalog
from crosslens.store.records import Entry, ModelRecord
from crosslens.store.vector_matrix import Matrix, derived_size, open_matrix
from crosslens.types import Item

MODEL = ModelRecord("fake", "f" * 32, 4)
FILES = ("index.faiss", "ids.npy", "moments.npy", "stamp.json")


def unit_rows(count: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, MODEL.dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def fill(catalog: Catalog, rows: np.ndarray, name: str = "") -> None:
    root = next(iter(catalog.roots()), None) or catalog.add_root("/p", "/")
    entries = [
        Entry(Item(f"/p/{name}{i}.png", 1, 1), root.id, f"{name}{i}".encode(), 1, 1, row)
        for i, row in enumerate(rows)
    ]
    catalog.record(entries, [], MODEL.identity, "fake f32")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """A library of twenty items whose first is gone, so that ids are not row numbers."""
    catalog = Catalog(tmp_path / "library", create=True)
    fill(catalog, unit_rows(20, seed=0))
    catalog.remove([1])
    yield catalog
    catalog.close()


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one whenever a matrix is built from the database."""
    seen: list[int] = []
    build = vector_matrix._build

    def counted(*arguments: object) -> Matrix:
        seen.append(1)
        return build(*arguments)

    monkeypatch.setattr(vector_matrix, "_build", counted)
    return seen


def derived(catalog: Catalog) -> Path:
    """The one folder that derived files are in."""
    (folder,) = (catalog.folder / "derived").iterdir()
    return folder


def assert_right(matrix: Matrix, catalog: Catalog) -> None:
    """The matrix holds what the database holds, to the bit."""
    with catalog.snapshot(MODEL.identity, MODEL.dimension) as snapshot:
        truth = {number: np.frombuffer(blob, "<f2").astype(np.float32) for number, blob in snapshot.vectors()}
    assert matrix.ids.tolist() == list(truth)
    assert matrix.index.reconstruct_n(0, len(truth)).tolist() == [row.tolist() for row in truth.values()]
    np.testing.assert_allclose(matrix.covariance, np.cov(np.stack([*truth.values()]).T, ddof=0), atol=1e-6)
    assert matrix.stamp == catalog.stamp()


def flip(path: Path, place: float) -> None:
    """Change one bit, at a place from 0 (the first byte) to 1 (the last)."""
    data = bytearray(path.read_bytes())
    data[round(place * (len(data) - 1))] ^= 0x10
    path.write_bytes(data)


def test_the_matrix_holds_the_vectors_of_the_database(catalog: Catalog) -> None:
    built = open_matrix(catalog, MODEL)
    assert_right(built, catalog)
    loaded = open_matrix(catalog, MODEL)
    assert loaded.index is not built.index
    assert_right(loaded, catalog)


def test_scores_are_those_of_the_float16_vectors(catalog: Catalog) -> None:
    open_matrix(catalog, MODEL)
    matrix = open_matrix(catalog, MODEL)
    queries = unit_rows(3, seed=1)
    scores, found = matrix.index.search(queries, len(matrix.ids))
    rows = unit_rows(20, seed=0).astype(np.float16).astype(np.float32)
    expected = [
        [query @ rows[number - 1] for number in matrix.ids[line]]
        for query, line in zip(queries, found, strict=True)
    ]
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_a_current_matrix_is_reused(catalog: Catalog, builds: list[int]) -> None:
    open_matrix(catalog, MODEL)
    before = derived(catalog).stat()
    open_matrix(catalog, MODEL)
    again = Catalog(catalog.folder)
    open_matrix(again, MODEL)
    again.close()
    assert len(builds) == 1
    assert derived(catalog).stat() == before


def test_a_stale_matrix_is_rebuilt_and_the_old_one_deleted(catalog: Catalog, builds: list[int]) -> None:
    open_matrix(catalog, MODEL)
    old = derived(catalog)
    fill(catalog, unit_rows(5, seed=2), "more")
    assert_right(open_matrix(catalog, MODEL), catalog)
    assert len(builds) == 2
    assert derived(catalog) != old


def test_a_matrix_in_use_outlives_its_files(catalog: Catalog) -> None:
    open_matrix(catalog, MODEL)
    mapped = open_matrix(catalog, MODEL)
    before = mapped.index.reconstruct_n(0, 19).tolist()
    fill(catalog, unit_rows(5, seed=2), "more")
    open_matrix(catalog, MODEL)
    assert mapped.index.reconstruct_n(0, 19).tolist() == before


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("place", [0, 0.2, 0.5, 0.8, 1])
def test_a_flipped_bit_in_any_file_is_found(
    catalog: Catalog, builds: list[int], file: str, place: float
) -> None:
    open_matrix(catalog, MODEL)
    flip(derived(catalog) / file, place)
    assert_right(open_matrix(catalog, MODEL), catalog)
    assert_right(open_matrix(catalog, MODEL), catalog)
    assert len(builds) == 2  # once more because of the damage, and then its files are good


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("length", [0, 1, 0.5, -1])
def test_a_truncated_file_is_found(catalog: Catalog, builds: list[int], file: str, length: float) -> None:
    open_matrix(catalog, MODEL)
    path = derived(catalog) / file
    size = path.stat().st_size
    os.truncate(path, {0: 0, 1: 1, 0.5: size // 2, -1: size - 1}[length])
    assert_right(open_matrix(catalog, MODEL), catalog)
    assert len(builds) == 2


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_made_again(catalog: Catalog, builds: list[int], file: str) -> None:
    open_matrix(catalog, MODEL)
    (derived(catalog) / file).unlink()
    assert_right(open_matrix(catalog, MODEL), catalog)
    assert len(builds) == 2
    assert {path.name for path in derived(catalog).iterdir()} == set(FILES)


@pytest.mark.parametrize("text", ["[]", "null", "{}", '{"files": []}', "\xff", "[" * 10_000])
def test_a_stamp_of_another_shape_is_not_trusted(catalog: Catalog, builds: list[int], text: str) -> None:
    open_matrix(catalog, MODEL)
    (derived(catalog) / "stamp.json").write_text(text, encoding="latin-1")
    assert_right(open_matrix(catalog, MODEL), catalog)
    assert len(builds) == 2


def test_files_of_another_library_are_not_trusted(
    catalog: Catalog, tmp_path: Path, builds: list[int]
) -> None:
    other = Catalog(tmp_path / "other", create=True)
    fill(other, unit_rows(7, seed=3))
    other.remove([1])
    open_matrix(other, MODEL)
    assert other.stamp()[1] == catalog.stamp()[1]
    shutil.copytree(other.folder / "derived", catalog.folder / "derived")
    other.close()
    assert_right(open_matrix(catalog, MODEL), catalog)
    assert len(builds) == 2


def test_files_of_another_generation_are_not_trusted(catalog: Catalog, builds: list[int]) -> None:
    open_matrix(catalog, MODEL)
    old = derived(catalog)
    fill(catalog, unit_rows(5, seed=2), "more")
    old.rename(old.with_name(old.name.replace("2-", "3-")))
    assert_right(open_matrix(catalog, MODEL), catalog)
    assert len(builds) == 2


def test_files_of_another_model_are_not_trusted(catalog: Catalog) -> None:
    open_matrix(catalog, MODEL)
    other = ModelRecord("other", "f" * 31 + "0", MODEL.dimension)  # its folder has the same name
    assert open_matrix(catalog, other).ids.tolist() == []


def test_everything_derived_may_be_deleted_at_any_time(catalog: Catalog) -> None:
    open_matrix(catalog, MODEL)
    shutil.rmtree(catalog.folder / "derived")
    assert_right(open_matrix(catalog, MODEL), catalog)


def test_what_lies_around_is_cleaned_up_but_not_the_drafts_of_others_at_work(catalog: Catalog) -> None:
    parent = catalog.folder / "derived"
    for name in ("0-old", ".draft-old", ".draft-new"):
        (parent / name).mkdir(parents=True)
    long_ago = time.time() - 86_400
    os.utime(parent / ".draft-old", (long_ago, long_ago))
    open_matrix(catalog, MODEL)
    assert sorted(path.name for path in parent.iterdir()) == [".draft-new", "2-ffffffffffff"]


def test_what_another_process_deletes_during_the_clean_up_does_no_harm(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    iterdir = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: [*iterdir(path), path / "listed, then deleted"])
    assert_right(open_matrix(catalog, MODEL), catalog)


def test_a_library_whose_derived_files_cannot_be_written_still_searches(
    catalog: Catalog, builds: list[int]
) -> None:
    (catalog.folder / "derived").write_text("a file where a folder should be")
    assert_right(open_matrix(catalog, MODEL), catalog)
    assert_right(open_matrix(catalog, MODEL), catalog)
    assert len(builds) == 2


@pytest.mark.parametrize("fault", [OSError(28, "No space left"), RuntimeError("faiss: write error")])
def test_a_disk_that_fills_up_while_the_matrix_is_written_leaves_nothing_half_done(
    catalog: Catalog, fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_index(*_arguments: object) -> None:
        raise fault

    monkeypatch.setattr(vector_matrix.faiss, "write_index", write_index)
    assert_right(open_matrix(catalog, MODEL), catalog)
    assert list((catalog.folder / "derived").iterdir()) == []


def test_whoever_can_read_the_derived_folder_can_read_what_is_in_it(catalog: Catalog) -> None:
    """A library is often indexed by one user and searched by others."""
    open_matrix(catalog, MODEL)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (catalog.folder / "derived", derived(catalog))]
    assert modes[1] == modes[0]


def test_an_empty_library_has_an_empty_matrix(tmp_path: Path) -> None:
    empty = Catalog(tmp_path / "empty", create=True)
    for _ in range(2):
        matrix = open_matrix(empty, MODEL)
        assert (matrix.index.ntotal, matrix.ids.tolist()) == (0, [])
        assert not matrix.covariance.any()
    empty.close()


def test_the_covariance_of_a_large_library_is_that_of_an_even_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_matrix, "_MOMENTS_ROWS", 10)
    rows = np.tile(np.eye(4, dtype=np.float32)[:2], (15, 1))  # thirty, of two kinds by turns
    large = Catalog(tmp_path / "large", create=True)
    fill(large, rows)
    matrix = open_matrix(large, MODEL)
    large.close()
    np.testing.assert_allclose(matrix.covariance, np.cov(rows[::3].T, ddof=0), atol=1e-6)
    np.testing.assert_allclose(matrix.mean, rows[::3].mean(axis=0), atol=1e-6)


def test_the_derived_size_counts_all_files(catalog: Catalog) -> None:
    assert derived_size(catalog.folder) == 0
    open_matrix(catalog, MODEL)
    assert derived_size(catalog.folder) == sum(path.stat().st_size for path in derived(catalog).iterdir())


def test_a_vector_of_the_wrong_length_is_damage_and_no_matrix(catalog: Catalog) -> None:
    with catalog.writing() as db:
        db.execute("UPDATE vectors SET vector = x'0000' WHERE hash = ?", (b"5",))
    with pytest.raises(LibraryDamagedError, match="item 6 has 2 bytes, wanted 8"):
        open_matrix(catalog, MODEL)
    assert not (catalog.folder / "derived").exists()


def test_a_search_notices_that_the_derived_files_were_damaged(
    fake: object, pictures: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "library"
    with Library.open(folder, fake) as library:
        library.index(pictures)
        before = library.search("red")
    for file in FILES:
        (damaged,) = (folder / "derived").glob(f"*/{file}")
        flip(damaged, 0.5)
        with Library.open(folder, fake) as library:
            assert library.search("red") == before
