"""Bundles of weights: every kind of network gives what the same arithmetic in NumPy gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bundles import CONTEXT, DIMENSION, KINDS, SIZE, Array, image_vectors, text_vectors, write_bundle
from crosslens import BundleError, Matcher
from crosslens.models.bundle import load_bundle
from crosslens.models.weights import as_floats, read_weights
from crosslens.towers.openvino_runtime import OpenVinoModel

TEXTS = ["a red dog", "cat", "a green cat beach", "blue " * 40, "dog dog", "a red dog"]


def model_of(folder: Path) -> OpenVinoModel:
    return OpenVinoModel(load_bundle(folder), "f32")


def unit(vectors: Array) -> Array:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("kind", KINDS)
def test_the_image_tower_gives_what_numpy_gives(tmp_path: Path, kind: str) -> None:
    weights = write_bundle(tmp_path / "it", kind)
    batch = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)
    pixels = (batch.transpose(0, 3, 1, 2) / 255 - np.reshape([0.48, 0.45, 0.4], (3, 1, 1))) / np.reshape(
        [0.27, 0.26, 0.28], (3, 1, 1)
    )
    found = model_of(tmp_path / "it").image.submit(batch).result()
    assert found.shape == (5, DIMENSION)
    np.testing.assert_allclose(found, image_vectors(kind, weights, pixels), atol=2e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_tower_gives_what_numpy_gives(tmp_path: Path, kind: str) -> None:
    weights = write_bundle(tmp_path / "it", kind)
    model = model_of(tmp_path / "it")
    ids = model.tokenize(TEXTS).ids
    assert ids.shape == (len(TEXTS), CONTEXT)
    np.testing.assert_allclose(model.text.submit(ids).result(), text_vectors(kind, weights, ids), atol=2e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:.*longer than")
def test_short_and_repeated_texts_cost_less_and_give_the_same(tmp_path: Path, kind: str) -> None:
    weights = write_bundle(tmp_path / "it", kind)
    model = model_of(tmp_path / "it")
    shapes: list[tuple[int, ...]] = []
    submit = model.text.submit
    model.text.submit = lambda batch: (shapes.append(batch.shape), submit(batch))[1]  # type: ignore[method-assign,assignment]
    found = Matcher(model).embed_texts(TEXTS)
    wanted = unit(text_vectors(kind, weights, model.tokenize(TEXTS).ids))
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert sum(rows for rows, _ in shapes) == len(set(TEXTS))
    Matcher(model).embed_texts(["cat", "dog"])
    assert shapes[-1] == (2, 8 if kind != "siglip" else CONTEXT)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_weights_are_read_as_they_are(tmp_path: Path, kind: str) -> None:
    weights = write_bundle(tmp_path / "it", kind, np.float16)
    model = model_of(tmp_path / "it")
    ids = model.tokenize(TEXTS).ids
    wanted = text_vectors(kind, {name: w.astype(np.float64) for name, w in weights.items()}, ids)
    np.testing.assert_allclose(model.text.submit(ids).result(), wanted, atol=2e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_matrices_in_int8_are_widened_by_the_scale_of_each_row(tmp_path: Path, kind: str) -> None:
    weights = write_bundle(tmp_path / "it", kind, int8_text=True)
    stored = read_weights(tmp_path / "it" / "model.safetensors")
    assert sum(value.dtype == np.int8 for value in stored.values()) > 4
    wide = as_floats(stored)
    assert wide.keys() == weights.keys()
    for name, value in weights.items():
        half_a_step = np.abs(value).max(axis=-1, keepdims=True) / 127 / 2
        assert (np.abs(wide[name] - value) <= 1.01 * half_a_step + 1e-6).all()
    model = model_of(tmp_path / "it")
    ids = model.tokenize(TEXTS).ids
    np.testing.assert_allclose(model.text.submit(ids).result(), text_vectors(kind, wide, ids), atol=2e-4)


def test_a_bundle_of_weights_is_kept_compiled_and_opened_again(tmp_path: Path) -> None:
    write_bundle(tmp_path / "it", "clip")
    bundle = load_bundle(tmp_path / "it")
    first = Matcher(OpenVinoModel(bundle, "f32", tmp_path / "cache")).embed_texts(TEXTS[:3])
    assert len(list((tmp_path / "cache").glob("*.blob"))) == 1
    again = Matcher(OpenVinoModel(bundle, "f32", tmp_path / "cache")).embed_texts(TEXTS[:3])
    np.testing.assert_array_equal(first, again)


def edited(folder: Path, key: str, value: object) -> Path:
    config = json.loads((folder / "config.json").read_text())
    *parents, last = key.split("/")
    inner = config
    for part in parents:
        inner = inner[part]
    inner[last] = value
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image/network", None),
        ("image/network/heads", 0),
        ("text/network/activation", "relu"),
        ("text/network/norm", "between"),
        ("text/network/epsilon", -1),
        ("text/network/pool", "max"),
        ("text/network/end_id", None),
        ("weights", "../model.safetensors"),
        ("space", ""),
    ],
)
def test_a_network_that_is_not_described_is_refused_by_its_key(
    tmp_path: Path, key: str, value: object
) -> None:
    write_bundle(tmp_path / "it", "clip")
    with pytest.raises(BundleError, match=key.rpartition("/")[2]):
        load_bundle(edited(tmp_path / "it", key, value))


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "it", "clip")
    path = tmp_path / "it" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(BundleError, match=r"model\.safetensors is damaged or was exchanged"):
        model_of(tmp_path / "it").image  # noqa: B018 (opens it)


def test_the_identity_is_that_of_weights_and_network(tmp_path: Path) -> None:
    write_bundle(tmp_path / "one", "clip")
    write_bundle(tmp_path / "two", "clip")
    write_bundle(tmp_path / "half", "clip", np.float16)
    one, two, half = (load_bundle(tmp_path / name).spec.identity for name in ("one", "two", "half"))
    assert one == two
    assert one != half
    assert load_bundle(edited(tmp_path / "two", "image/network/heads", 2)).spec.identity != one
    assert load_bundle(edited(tmp_path / "half", "space", one)).spec.identity == one
