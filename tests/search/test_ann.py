"""Approximate search: against the exact one; its files, which are derived and never trusted; its making."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crosslens.library import vector_search
from crosslens.library.vector_search import Searching
from crosslens.search import ann, recall_tuning
from crosslens.search.ann import Approximate
from crosslens.search.backend import rows_of
from crosslens.search.exact import Exact
from crosslens.store import vector_matrix
from crosslens.store.ann_files import CodesPlace, row_digests
from crosslens.store.records import ModelRecord
from crosslens.store.vector_matrix import Matrix
from vectorsets import approximate, exact, float16, index_of, small, unit

ROWS, WIDTH = 3_000, 64
MODEL = ModelRecord("fake", "f" * 32, WIDTH)
FILES = ("codes.faiss", "rows.npy", "facts.json", "stamp.json")
ALL = unit(ROWS + 1_500, WIDTH, seed=1)


def matrix_of(rows: np.ndarray, generation: int = 1, library: str = "l") -> Matrix:
    ids = np.arange(len(rows)) * 2 + 1
    return Matrix(
        index_of(rows),
        ids,
        np.zeros(WIDTH, np.float32),
        np.eye(WIDTH, dtype=np.float32),
        (library, generation),
    )


def probes() -> np.ndarray:
    return unit(200, WIDTH, seed=9)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A library's folder, where approximate search is for small libraries too."""
    with (
        small(cells=64),
        mock.patch.object(vector_search, "LEAST_ROWS", 1_000),
        mock.patch.object(ann, "LEAST_ROWS", 1_000),
        mock.patch.object(recall_tuning, "_ASKED_RECALL", 0.9),
    ):
        yield tmp_path


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the codes of `matrix_of(ALL[:ROWS])`."""
    path = tmp_path_factory.mktemp("codes")
    with (
        small(64),
        mock.patch.object(vector_search, "LEAST_ROWS", 1),
        mock.patch.object(recall_tuning, "_ASKED_RECALL", 0.9),
    ):
        make(path, matrix_of(ALL[:ROWS]))
    return path


@pytest.fixture
def filled(folder: Path, made_once: Path) -> Path:
    """`folder`, with those codes."""
    shutil.copytree(made_once / "derived", folder / "derived")
    return folder


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done to make codes, in order."""
    seen: list[str] = []
    for name in ("build", "extend"):
        made = getattr(vector_search, name)
        monkeypatch.setattr(
            vector_search, name, lambda *a, name=name, made=made: (seen.append(name), made(*a))[1]
        )
    return seen


def make(folder: Path, matrix: Matrix) -> Searching:
    one = Searching(folder)
    assert one.build(matrix, MODEL, "image", probes) is not None
    return one


def place(folder: Path, matrix: Matrix) -> Path:
    return CodesPlace(folder, MODEL, "image").folder(matrix.stamp)


def is_approximate(one: Searching, matrix: Matrix) -> bool:
    return isinstance(one.backend(matrix, MODEL, "image"), Approximate)


# -- exact search, with filters -------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(data=st.data(), count=st.integers(0, 40), k=st.integers(1, 50), blocks=st.sampled_from([1, 3, 8192]))
def test_exact_search_among_allowed_rows_is_that_of_numpy_whatever_the_threads_do(
    data: st.DataObject, count: int, k: int, blocks: int
) -> None:
    # Whole numbers, so that sums are exact and equal scores are common.
    whole = st.integers(-2, 2)
    rows = np.array([[data.draw(whole) for _ in range(4)] for _ in range(count)], np.float32).reshape(-1, 4)
    queries = np.array([[data.draw(whole) for _ in range(4)] for _ in range(2)], np.float32)
    kept = np.array([data.draw(st.booleans()) for _ in range(count)], bool)
    ids = np.arange(count) * 3 + 2
    with mock.patch.multiple("crosslens.search.exact", _ALONE=0, _BLOCK=blocks, _CACHED_BLOCK=blocks):
        for allowed in (None, kept, ids[kept], ids[kept][::-1]):
            part = np.ones(count, bool) if allowed is None else kept
            found, scores = exact(rows, ids).search(queries, k, allowed)
            all_scores = queries @ rows[part].T
            order = np.argsort(-all_scores, axis=1, kind="stable")[:, :k]
            assert found.tolist() == ids[part][order].tolist()
            assert scores.tolist() == np.take_along_axis(all_scores, order, axis=1).tolist()


@given(
    st.lists(st.integers(-5, 60)),
    (st.lists(st.integers(0, 50), unique=True) | st.integers(1, 40).map(lambda n: list(range(5, 5 + n)))).map(
        sorted
    ),
)
def test_allowed_ids_are_found_in_any_order_and_others_passed_over(asked: list[int], ids: list[int]) -> None:
    all_ids = np.array(ids, np.int64)
    found = rows_of(all_ids, np.array(asked, np.int64))
    assert all_ids[found].tolist() == sorted(set(asked) & set(ids))
    mask = ann._mask(all_ids, np.array(asked, np.int64))
    assert np.flatnonzero(mask).tolist() == found.tolist()


def test_memory_does_not_grow_with_the_number_of_searches() -> None:
    backend, query = exact(ALL[:100], np.arange(100)), ALL[:1]
    for _ in range(200):
        backend.search(query, 5)
    before = resident()
    for _ in range(4_000):
        backend.search(query, 5)
    assert resident() - before < 500_000  # what FAISS compares by takes 100 bytes and more a search


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


# -- approximate search --------------------------------------------------------------------------------


@pytest.mark.parametrize("cells", [0, 64])
def test_a_build_measures_recall_of_stored_vectors_and_of_probes(cells: int) -> None:
    facts = approximate(ALL[:ROWS], np.arange(ROWS), cells).facts
    assert (facts.rows, facts.cells) == (ROWS, cells)
    assert 0.9 <= facts.recall.worse <= min(facts.recall.stored, facts.recall.probes or 0)
    assert facts.seconds > 0


def test_the_measured_recall_is_the_recall() -> None:
    made = approximate(ALL[:ROWS], np.arange(ROWS), 64)
    asked = unit(200, WIDTH, seed=9)
    scores = asked.astype(np.float64) @ float16(ALL[:ROWS]).T.astype(np.float64)
    least = -np.sort(-scores, axis=1)[:, 9:10]
    right = made.search(asked, 10)[1] >= least - 1e-5
    assert made.facts.recall.probes == pytest.approx(right.mean())


def test_more_is_looked_at_until_recall_is_enough_and_else_nothing_is_used() -> None:
    with small(0):
        for asked, wanted in ((0.0, 1), (0.999, None)):
            with mock.patch.object(recall_tuning, "_ASKED_RECALL", asked):
                made = ann.build(exact(ALL[:ROWS], np.arange(ROWS)), probes())
            assert (made and made.facts.setting.probes + 1) == wanted


def test_settings_go_from_fast_to_slow_and_stay_below_exact_search() -> None:
    for cells, rows in ((0, 60_000), (1024, 250_000), (2048, 1_000_000), (4096, 3_000_000)):
        tried = list(recall_tuning.settings(cells, rows))
        order = [(-setting.missed, setting.candidates) for setting in tried]
        assert order == sorted(order)
        assert all(setting.probes <= cells // 8 and setting.candidates <= rows // 20 for setting in tried)
        assert len(set(tried)) == len(tried) >= 5


def test_small_matrices_get_no_codes() -> None:
    assert ann.build(exact(ALL[:ROWS], np.arange(ROWS)), probes()) is None


def test_cells_grow_with_the_rows() -> None:
    assert [ann.cells_of(n) for n in (0, 199_999, 200_000, 1_000_000, 3_000_000)] == [0, 0, 1024, 2048, 4096]


def test_queries_whose_cells_hold_too_little_are_searched_exactly() -> None:
    made = approximate(ALL[:ROWS], np.arange(ROWS), 64)
    asked = unit(5, WIDTH, seed=4)
    expected = made.exact.search(asked, 10)
    seen: list[int] = []

    def nothing(_codes: object, queries: np.ndarray, count: int, probes: int, _mask: object) -> np.ndarray:
        seen.append(probes)
        return np.full((len(queries), count), -1)

    with mock.patch.object(ann, "candidates", nothing):
        found = made.search(asked, 10)
    assert seen == [8]
    assert [part.tolist() for part in found] == [part.tolist() for part in expected]


def test_a_query_that_is_no_number_ends() -> None:
    made = approximate(ALL[:ROWS], np.arange(ROWS), 64)
    assert made.search(np.full((1, WIDTH), np.nan, np.float32), 10)[0].shape == (1, 10)


@pytest.mark.parametrize("k", [1, 10, 50])
def test_a_filter_that_leaves_out_all_that_lies_near_costs_no_recall(
    k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ann, "FEW_ROWS", 0)
    made, asked = approximate(ALL[:ROWS], np.arange(ROWS), 64), ALL[:ROWS:97][:30]
    nearest = made.exact.search(asked, ROWS // 2)[0]
    for query, near in zip(asked, nearest, strict=True):
        allowed = np.ones(ROWS, np.bool_)
        allowed[near] = False
        found, truth = (one.search(query[None], k, allowed)[1] for one in (made, made.exact))
        assert (found >= truth[0, -1] - 1e-5).mean() > 0.95


def test_few_queries_of_the_measured_kinds_have_to_look_farther() -> None:
    made, asked = approximate(ALL[:ROWS], np.arange(ROWS), 64), probes()[:200]
    least = made.search(asked, 10)[1][:, -1]
    assert len(made._doubtful(asked, least)) < 0.5 * len(asked)


def test_texts_near_to_no_picture_are_not_searched_exactly_for_that() -> None:
    """Their scores with pictures lie in a band of its own, far below those of pictures with each other."""
    count, shared, rng = 20_000, 48, np.random.default_rng(2)
    rows = np.zeros((count, WIDTH), np.float32)
    rows[:, :shared] = unit(200, shared, seed=3)[rng.integers(200, size=count)]
    rows[:, :shared] += 0.05 * rng.standard_normal((count, shared))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    texts = np.concatenate([0.2 * rows[::50, :shared], 0.98 * unit(400, WIDTH - shared, seed=4)], axis=1)
    with small(256), mock.patch.object(recall_tuning, "_ASKED_RECALL", 0.98):
        made = ann.build(exact(rows, np.arange(count)), texts[::2])
    assert made is not None
    with mock.patch.object(ann, "search_exact", side_effect=ann.search_exact) as looked_at_all:
        found = made.search(texts[1::2], 10)[1]
    assert sum(len(call.args[2]) for call in looked_at_all.call_args_list) < 0.1 * len(found)
    assert (found >= made.exact.search(texts[1::2], 10)[1][:, -1:] - 1e-5).mean() > 0.97


def test_an_index_that_grew_finds_old_and_new_and_the_old_one_stays_as_it_was() -> None:
    old = approximate(ALL[:ROWS], np.arange(ROWS), 64)
    with small(64), mock.patch.object(recall_tuning, "_ASKED_RECALL", 0.9):
        new = ann.extend(old.codes, exact(ALL[: ROWS + 500], np.arange(ROWS + 500)), probes())
        assert new is not None
        assert (old.codes.ntotal, new.codes.ntotal) == (ROWS, ROWS + 500)
        added = new.search(ALL[ROWS : ROWS + 500], 1)[0][:, 0]
        assert (added == np.arange(ROWS, ROWS + 500)).mean() > 0.95


# -- its files -----------------------------------------------------------------------------------------


def test_codes_are_saved_with_their_figures_and_loaded_by_others(folder: Path, builds: list[str]) -> None:
    matrix = matrix_of(ALL[:ROWS])
    made = make(folder, matrix)
    facts = json.loads((place(folder, matrix) / "facts.json").read_text())
    assert facts["recall"]["stored"] >= 0.9
    assert facts["recall"]["probes"] >= 0.9
    other = Searching(folder)
    assert is_approximate(other, matrix)
    assert other.facts(matrix, MODEL, "image") == made.facts(matrix, MODEL, "image")
    asked = unit(20, WIDTH, seed=5)
    for one, two in zip(
        made.backend(matrix, MODEL, "image").search(asked, 10),
        other.backend(matrix, MODEL, "image").search(asked, 10),
        strict=True,
    ):
        assert one.tolist() == two.tolist()
    other.build(matrix, MODEL, "image", probes)
    assert builds == ["build"]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", ["a bit in the middle", "a bit at the end", "half", "empty", "gone"])
def test_damaged_codes_are_not_used_and_made_again(
    filled: Path, builds: list[str], file: str, damage: str
) -> None:
    matrix = matrix_of(ALL[:ROWS])
    path = place(filled, matrix) / file
    data = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    elif damage.startswith("a bit"):
        data[len(data) // 2 if "middle" in damage else -1] ^= 0x10
        path.write_bytes(data)
    else:
        path.write_bytes(data[: len(data) // 2 if damage == "half" else 0])
    again = Searching(filled)
    asked = unit(5, WIDTH, seed=5)
    assert not is_approximate(again, matrix)
    expected = exact(ALL[:ROWS], matrix.ids).search(asked, 10)
    assert again.backend(matrix, MODEL, "image").search(asked, 10)[0].tolist() == expected[0].tolist()
    assert again.build(matrix, MODEL, "image", probes) is not None
    assert builds == ["build"]
    assert is_approximate(Searching(filled), matrix)


@pytest.mark.parametrize(
    "other", [matrix_of(ALL[:ROWS], 2), matrix_of(ALL[:ROWS], 1, "another library"), matrix_of(ALL[:2_000])]
)
def test_codes_of_another_state_are_not_used(filled: Path, other: Matrix) -> None:
    matrix = matrix_of(ALL[:ROWS])
    if other.stamp != matrix.stamp and not place(filled, other).exists():
        shutil.copytree(place(filled, matrix), place(filled, other))
    assert not is_approximate(Searching(filled), other)


def test_what_was_only_added_to_is_extended(filled: Path, builds: list[str]) -> None:
    grown = matrix_of(ALL[: ROWS + 500], generation=2)
    one = make(filled, grown)
    assert builds == ["extend"]
    facts = one.facts(grown, MODEL, "image")
    assert facts is not None
    assert facts.rows == ROWS + 500
    assert [path.name for path in (filled / "derived").iterdir()] == [place(filled, grown).name]
    made_anew = one.backend(grown, MODEL, "image").search(ALL[ROWS : ROWS + 100], 1)[0][:, 0]
    assert (made_anew == grown.ids[ROWS : ROWS + 100]).mean() > 0.95


@pytest.mark.parametrize("change", ["a vector", "removed", "order"])
def test_what_was_changed_otherwise_is_built_anew(filled: Path, builds: list[str], change: str) -> None:
    rows = ALL[: ROWS + 500].copy()
    if change == "a vector":
        rows[17] = -rows[17]
    elif change == "removed":
        rows = np.delete(rows, 5, axis=0)
    else:
        rows[[3, 4]] = rows[[4, 3]]
    make(filled, matrix_of(rows, generation=2))
    assert builds == ["build"]


def test_a_digest_is_that_of_item_and_vector() -> None:
    matrix = matrix_of(ALL[:200])
    digests = row_digests(matrix)
    assert len(set(digests.tolist())) == 200
    assert row_digests(matrix_of(ALL[:100])).tolist() == digests[:100].tolist()
    renumbered = replace(matrix, ids=matrix.ids + 1)
    assert not (row_digests(renumbered) == digests).any()
    assert row_digests(matrix_of(ALL[:0])).tolist() == []


def test_a_new_matrix_leaves_the_older_codes_which_the_new_ones_are_made_from(filled: Path) -> None:
    matrix, grown = matrix_of(ALL[:ROWS]), matrix_of(ALL[: ROWS + 100], generation=2)
    vector_matrix._save(vector_matrix.folder_of(filled, grown.stamp, MODEL, "image"), grown, MODEL)
    assert place(filled, matrix).exists()
    make(filled, grown)
    assert not place(filled, matrix).exists()


def test_a_library_that_became_small_keeps_no_codes(filled: Path) -> None:
    Searching(filled).build(matrix_of(ALL[:500], generation=2), MODEL, "image", probes)
    assert list((filled / "derived").iterdir()) == []


def test_where_nothing_can_be_written_codes_serve_from_memory(folder: Path) -> None:
    (folder / "derived").write_text("a file where a folder should be")
    matrix = matrix_of(ALL[:ROWS])
    assert is_approximate(make(folder, matrix), matrix)
    assert not is_approximate(Searching(folder), matrix)


def test_a_disk_that_fills_up_leaves_nothing_half_done(folder: Path) -> None:
    matrix = matrix_of(ALL[:ROWS])
    with mock.patch.object(faiss, "write_index", side_effect=OSError(28, "No space left")):
        assert is_approximate(make(folder, matrix), matrix)
    assert list((folder / "derived").iterdir()) == []


# -- its making, while others search -------------------------------------------------------------------


def test_while_codes_are_made_searches_are_exact_and_do_not_wait(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix, go, begun = matrix_of(ALL[:ROWS]), threading.Event(), threading.Event()
    build = vector_search.build

    def slow(*arguments: object) -> Approximate | None:
        begun.set()
        assert go.wait(20)
        return build(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(vector_search, "build", slow)
    one = Searching(folder)
    thread = threading.Thread(target=one.build, args=(matrix, MODEL, "image", probes))
    thread.start()
    assert begun.wait(20)
    asked = unit(5, WIDTH, seed=5)
    backend = one.backend(matrix, MODEL, "image")
    assert isinstance(backend, Exact)
    assert backend.search(asked, 10)[0].shape == (5, 10)
    assert one.facts(matrix, MODEL, "image") is None
    go.set()
    thread.join(60)
    assert is_approximate(one, matrix)
    scores = one.backend(matrix, MODEL, "image").search(asked, 10)[1]
    assert (scores == backend.search(asked, 10)[1]).mean() > 0.9


def test_codes_that_another_process_made_are_noticed(folder: Path) -> None:
    matrix = matrix_of(ALL[:ROWS])
    one = Searching(folder)
    assert not is_approximate(one, matrix)
    make(folder, matrix)
    assert is_approximate(one, matrix)


def test_probes_are_not_made_when_they_are_not_needed(filled: Path) -> None:
    def never() -> np.ndarray:
        raise AssertionError("asked for probes")

    matrix = matrix_of(ALL[:ROWS])
    assert Searching(filled).build(matrix, MODEL, "image", never) is not None
    assert Searching(filled).build(matrix_of(ALL[:10]), MODEL, "image", never) is None
