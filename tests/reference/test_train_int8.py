"""An image tower that is exported in int8, against itself in float."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from crosslens import Matcher
from crosslens.errors import MissingExtraError, ModelError
from crosslens.train.export import About, Storage, export_bundle
from crosslens.train.int8 import quantised_onnx
from crosslens.train.pairs import Pairs
from crosslens.train.start import start
from tests.reference.test_train import draw, recipe


def test_an_int8_tower_is_small_and_close_to_the_one_in_float(tmp_path: Path) -> None:
    rows = draw(tmp_path)
    pairs = Pairs([(tmp_path / name).read_bytes() for name, _ in rows[:8]], [(text,) for _, text in rows[:8]])
    plain = recipe(tmp_path, 3)
    facts = dataclasses.replace(
        plain, dimension=64, image=dataclasses.replace(plain.image, kind="efficientnet-lite2", size=64)
    )
    started = start(facts, pairs, tmp_path)
    pictures = [str(tmp_path / name) for name, _ in rows]
    export_bundle(started, About("float"), tmp_path / "float")
    matcher = Matcher(tmp_path / "float", precision="f32", decode="exact")
    pixels = np.stack([matcher.prepare(picture, picture) for picture in pictures]).transpose(0, 3, 1, 2)
    export_bundle(started, About("int8"), tmp_path / "int8", Storage(int8=True), pixels)
    sizes = [(tmp_path / name / "image.onnx").stat().st_size for name in ("float", "int8")]
    assert sizes[1] < 0.3 * sizes[0]
    kinds = {node.op_type for node in onnx.load(tmp_path / "int8" / "image.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    found = Matcher(tmp_path / "int8", precision="f32", decode="exact").embed_images(pictures)
    cosines = (found * matcher.embed_images(pictures)).sum(axis=1)
    assert cosines.mean() > 0.95
    with pytest.raises(ModelError, match="ranges"):
        export_bundle(started, About("none"), tmp_path / "none", Storage(int8=True))
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("package", ["onnxruntime", "nncf"])
def test_without_a_package_the_line_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setattr("crosslens.train.int8.find_spec", lambda name: None if name == package else object())
    if package == "nncf":
        monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MissingExtraError, match=r"crosslens\[int8\]"):
        quantised_onnx(b"", np.zeros((1, 3, 8, 8), np.float32))
