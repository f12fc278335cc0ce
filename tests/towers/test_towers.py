"""What every model must do, whatever computes it: one suite over all of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bundles import GRAPHS, write_graph_and_network
from crosslens import Matcher
from crosslens.models.bundle import load_bundle
from crosslens.towers.base import Tower, TwoTowers
from crosslens.towers.fake_model import FakeModel
from crosslens.towers.openvino_runtime import OpenVinoModel

TEXTS = ["a red car", "blue", "two green dogs on the white beach", "yellow", "black and white", "sea"]


@pytest.fixture(scope="module")
def models(starter: Matcher, tmp_path_factory: pytest.TempPathFactory) -> dict[str, TwoTowers]:
    mixed = tmp_path_factory.mktemp("towers") / "mixed"
    write_graph_and_network(mixed)
    return {
        "fake": FakeModel(),
        "starter": starter.model,
        "graphs": OpenVinoModel(load_bundle(GRAPHS), "f32"),
        "graph and network": OpenVinoModel(load_bundle(mixed), "f32"),
    }


@pytest.fixture(params=["fake", "starter", "graphs", "graph and network"])
def model(request: pytest.FixtureRequest, models: dict[str, TwoTowers]) -> TwoTowers:
    return models[request.param]


@pytest.fixture(params=["image", "text"])
def side(request: pytest.FixtureRequest) -> str:
    side: str = request.param
    return side


@pytest.fixture
def tower(model: TwoTowers, side: str) -> Tower:
    return model.image if side == "image" else model.text


@pytest.fixture
def batch(model: TwoTowers, side: str) -> NDArray[Any]:
    """Six different rows."""
    if side == "text":
        return model.tokenize(TEXTS).ids
    size = model.spec.image.size
    noise = np.random.default_rng(0).integers(0, 256, (6, size, size, 3))
    tints = np.random.default_rng(1).uniform(0, 1, (6, 1, 1, 3))
    return (noise * tints).astype(np.uint8)


def vectors(tower: Tower, batch: NDArray[Any]) -> NDArray[Any]:
    return tower.submit(batch).result(timeout=60)


def same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Equal up to rounding, at the scale of the vectors."""
    return np.allclose(a, b, rtol=0, atol=1e-5 * float(np.abs(b).max()))


def test_the_facts_are_there(model: TwoTowers) -> None:
    assert model.spec.name
    assert model.runtime
    assert model.concurrency >= 1


def test_tokens_fit_the_text_tower(model: TwoTowers) -> None:
    tokens = model.tokenize([*TEXTS, "word " * 200])
    assert tokens.ids.shape == (7, model.spec.text.context_length)
    assert tokens.ids.dtype == np.int64
    assert tokens.lengths[-1] > model.spec.text.context_length >= tokens.lengths[:-1].max()
    assert vectors(model.text, tokens.ids).shape == (7, model.spec.dimension)


def test_no_texts_are_no_tokens(model: TwoTowers) -> None:
    tokens = model.tokenize([])
    assert tokens.ids.shape == (0, model.spec.text.context_length)
    assert tokens.lengths.shape == tokens.contents.shape == (0,)


def test_a_batch_becomes_finite_float32_rows(model: TwoTowers, tower: Tower, batch: NDArray[Any]) -> None:
    rows = vectors(tower, batch)
    assert (rows.shape, rows.dtype) == ((6, model.spec.dimension), np.float32)
    assert np.isfinite(rows).all()
    assert np.linalg.norm(rows, axis=1).min() > 0


def test_different_rows_have_different_vectors(tower: Tower, batch: NDArray[Any]) -> None:
    first, second = vectors(tower, batch[:2])
    assert not same(first, second)


def test_a_batch_of_one_is_a_batch(model: TwoTowers, tower: Tower, batch: NDArray[Any]) -> None:
    assert vectors(tower, batch[:1]).shape == (1, model.spec.dimension)


def test_a_row_does_not_depend_on_its_company(tower: Tower, batch: NDArray[Any]) -> None:
    together = vectors(tower, batch)
    for row in range(6):
        assert same(vectors(tower, batch[row : row + 1])[0], together[row])
    assert same(vectors(tower, np.tile(batch, (6,) + (1,) * (batch.ndim - 1))), np.tile(together, (6, 1)))


def test_rows_come_back_in_their_order(tower: Tower, batch: NDArray[Any]) -> None:
    order = [3, 0, 5, 5, 1]
    assert same(vectors(tower, batch[order]), vectors(tower, batch)[order])


def test_a_view_is_read_as_it_looks(tower: Tower, batch: NDArray[Any]) -> None:
    assert same(vectors(tower, batch[::-2]), vectors(tower, batch)[::-2])


def test_a_result_stays_as_it_is_when_the_next_batch_runs(tower: Tower, batch: NDArray[Any]) -> None:
    first = vectors(tower, batch)
    before = first.copy()
    for _ in range(4):  # more than there are streams on a small machine
        vectors(tower, batch[::-1])
    assert np.array_equal(first, before)


def test_the_batch_is_not_changed(tower: Tower, batch: NDArray[Any]) -> None:
    before = batch.copy()
    vectors(tower, batch)
    assert np.array_equal(batch, before)


def test_many_threads_get_their_own_results(tower: Tower, batch: NDArray[Any]) -> None:
    together = vectors(tower, batch)
    rows = [number % 6 for number in range(48)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda row: vectors(tower, batch[row : row + 1])[0], rows))
    assert same(np.stack(results), together[rows])


def test_many_batches_may_be_in_flight(tower: Tower, batch: NDArray[Any]) -> None:
    together = vectors(tower, batch)
    rows = [number % 6 for number in range(48)]
    futures = [tower.submit(batch[row : row + 1]) for row in rows]
    assert same(np.concatenate([future.result(timeout=60) for future in futures]), together[rows])


def is_shorter(ids: NDArray[Any], whole: NDArray[Any]) -> bool:
    """Whether these are rows of ids, with fewer columns than the context has."""
    return ids.ndim == 2 and ids.dtype == whole.dtype and ids.shape[1] < whole.shape[1]


def test_less_padding_gives_the_same_vectors_or_is_refused(model: TwoTowers) -> None:
    tokens = model.tokenize(TEXTS)
    longest = tokens.lengths.max()
    assert longest < model.spec.text.context_length
    if model.spec.short_texts:
        assert same(vectors(model.text, tokens.ids[:, :longest]), vectors(model.text, tokens.ids))
    else:
        with pytest.raises(ValueError, match=r"^wanted .*, got "):
            model.text.submit(tokens.ids[:, :longest])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda batch: batch[0],
        lambda batch: batch[None],
        lambda batch: batch[:, :-1],
        lambda batch: np.concatenate([batch, batch], axis=1),
        lambda batch: batch.astype(np.float32),
        lambda batch: batch.astype(np.int32),
        lambda batch: np.moveaxis(batch, -1, 0),
    ],
    ids=["one row", "an axis more", "too short", "too long", "float32", "int32", "turned"],
)
def test_a_batch_of_another_shape_or_dtype_is_refused(
    model: TwoTowers, side: str, tower: Tower, batch: NDArray[Any], wrong: Any
) -> None:
    refused = wrong(batch)
    if side == "text" and model.spec.short_texts and is_shorter(refused, batch):
        assert vectors(tower, refused).shape == (len(refused), model.spec.dimension)
        return
    with pytest.raises(ValueError, match=r"^wanted .*, got ") as caught:
        tower.submit(refused)
    assert str(refused.shape) in str(caught.value)
    assert str(refused.dtype) in str(caught.value)
