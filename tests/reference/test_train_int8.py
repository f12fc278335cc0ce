"""What is done to an image tower when it is exported: int8, and names of classes."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from test_train import draw, recipe

from crosslens import Matcher
from crosslens.errors import MissingExtraError, ModelError
from crosslens.train.export import About, Storage, check_export, export_bundle
from crosslens.train.initial_model import start
from crosslens.train.int8_export import quantised_onnx
from crosslens.train.pair_dataset import Pairs
from crosslens.train.torch_towers import ClassNames, ConvolutionalTower


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
    # 0.944 where products of int8 are added up in 16 bits (AVX2), above 0.95 where in 32 (VNNI).
    assert cosines.mean() > 0.92
    with pytest.raises(ModelError, match="ranges"):
        export_bundle(started, About("none"), tmp_path / "none", Storage(int8=True))
    assert not (tmp_path / "none").exists()


def test_names_of_classes_are_added_to_the_heads_vectors(tmp_path: Path) -> None:
    rows = draw(tmp_path)
    pairs = Pairs([(tmp_path / name).read_bytes() for name, _ in rows[:8]], [(text,) for _, text in rows[:8]])
    plain = recipe(tmp_path, 3)
    image = dataclasses.replace(plain.image, kind="efficientnet-lite2", size=64)
    started = start(dataclasses.replace(plain, dimension=64, image=image), pairs, tmp_path)
    tower, classifier = started.model.image.eval(), started.classifier
    assert isinstance(tower, ConvolutionalTower)
    assert classifier is not None
    names = torch.nn.functional.normalize(torch.randn(1000, 64, generator=torch.Generator().manual_seed(0)))
    pixels = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = torch.nn.functional.normalize(tower(pixels))
        likely = torch.softmax(classifier(tower.last_map(pixels).mean(dim=(2, 3))) / 2, dim=1)
        tower.class_names = ClassNames(classifier, names, 0.3, 2.0)
        after = tower(pixels)
    assert torch.allclose(after, before + 0.3 * likely @ (names - names.mean(dim=0)), atol=1e-5)
    exact = export_bundle(started, About("names"), tmp_path / "names")
    drawn = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64), np.uint8)
    assert check_export(started, exact, drawn, ["a dog", "two red cars"]) < 1e-4
    export_bundle(started, About("int8"), tmp_path / "int8", Storage(int8=True), drawn)
    nodes = onnx.load(tmp_path / "int8" / "image.onnx").graph.node
    widened = [name for node in nodes if node.op_type == "QuantizeLinear" for name in node.input[:1]]
    assert "/blocks.1/Clip_output_0" in " ".join(widened)
    inner = set(widened) - {"pixel_values"}
    assert not [name for name in inner if name.count("/") < 2 or name.startswith(("/head", "/class_names"))]


@pytest.mark.parametrize("package", ["onnxruntime", "nncf"])
def test_without_a_package_the_line_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setattr(
        "crosslens.train.int8_export.find_spec", lambda name: None if name == package else object()
    )
    if package == "nncf":
        monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MissingExtraError, match=r"crosslens\[int8\]"):
        quantised_onnx(b"", np.zeros((1, 3, 8, 8), np.float32))
