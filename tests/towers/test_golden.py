"""The starter against ONNX Runtime and Pillow alone; golden/starter.json is from scripts/make_golden.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from crosslens import Matcher
from crosslens.errors import TextTruncatedWarning

# Texts, measured on AVX-512: 1.3e-7, of which 0.5e-7 is the rounding of the file.
CLOSE = 1e-6
# Pictures, as cosine: their tower computes in int8, and each runtime rounds in its own way. Measured: 0.9988
# where products of int8 are added up in 32 bits (VNNI), 0.984 where in 16 (AVX2); either finds as many.
_FACTS = Path("/proc/cpuinfo")
SAME_WAY = 0.997 if _FACTS.is_file() and "vnni" in _FACTS.read_text() else 0.97

Golden = dict[str, Any]


@pytest.fixture(scope="module")
def golden() -> Golden:
    golden: Golden = json.loads((Path(__file__).parents[1] / "golden" / "starter.json").read_text())
    return golden


@pytest.fixture(scope="module")
def starter_bf16() -> Matcher:
    return Matcher("starter", precision="bf16")


def picture(width: int, height: int, seed: int) -> Image.Image:
    """The same smooth random picture as in scripts/make_golden.py."""
    small = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def pictures(golden: Golden) -> list[Image.Image]:
    return [picture(image["width"], image["height"], image["seed"]) for image in golden["images"]]


def texts(golden: Golden) -> list[str]:
    return [text["text"] for text in golden["texts"]]


def vectors(entries: list[dict[str, Any]]) -> NDArray[np.float64]:
    return np.array([entry["vector"] for entry in entries])


def embed_texts(matcher: Matcher, golden: Golden) -> NDArray[np.float32]:
    with pytest.warns(TextTruncatedWarning):  # one of them is longer than the context
        return matcher.embed_texts(texts(golden))


def test_token_ids_equal_the_reference(starter: Matcher, golden: Golden) -> None:
    ids = starter.model.tokenize(texts(golden)).ids
    assert ids.tolist() == [text["ids"] for text in golden["texts"]]


def test_text_vectors_equal_the_reference(starter: Matcher, golden: Golden) -> None:
    found = embed_texts(starter, golden)
    assert np.abs(found - vectors(golden["texts"])).max() < CLOSE


def test_image_vectors_equal_the_reference(starter: Matcher, golden: Golden) -> None:
    cosines = (starter.embed_images(pictures(golden)) * vectors(golden["images"])).sum(axis=1)
    assert cosines.min() >= SAME_WAY


def test_text_vectors_in_bf16_point_the_same_way(starter_bf16: Matcher, golden: Golden) -> None:
    cosines = (embed_texts(starter_bf16, golden) * vectors(golden["texts"])).sum(axis=1)
    assert cosines.min() >= 0.999


def test_image_vectors_in_bf16_point_the_same_way(starter_bf16: Matcher, golden: Golden) -> None:
    cosines = (starter_bf16.embed_images(pictures(golden)) * vectors(golden["images"])).sum(axis=1)
    assert cosines.min() >= SAME_WAY


@pytest.mark.parametrize("side", ["texts", "images"])
def test_the_references_differ_enough_to_tell_them_apart(golden: Golden, side: str) -> None:
    references = vectors(golden[side])
    assert np.allclose(np.linalg.norm(references, axis=1), 1, atol=1e-6)
    different = np.abs(references[:, None] - references).max(axis=2) > 100 * CLOSE
    # A tokeniser may give texts that differ in case or in their full stop the same ids.
    alike = np.array([[a.get("ids", 0) == b.get("ids", 1) for b in golden[side]] for a in golden[side]])
    assert (different == ~alike)[np.triu_indices(len(references), 1)].all()
