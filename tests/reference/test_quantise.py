"""int8 by the real NNCF."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from bundles import GRAPHS, write_bundle
from crosslens import Matcher, app_folders
from crosslens.acquire.certify import Sample
from crosslens.acquire.quantize import quantise
from crosslens.errors import ModelError
from crosslens.models.bundle import load_bundle


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept of a model is kept for one test."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_an_int8_tower_is_made_without_the_network_and_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bundle(tmp_path / "it", "clip")
    bundle, random = load_bundle(tmp_path / "it"), np.random.default_rng(5)
    pictures = []
    for number in range(24):
        small = Image.fromarray(random.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        pictures.append(str(tmp_path / f"{number}.png"))
        small.resize((64, 48), Image.Resampling.BICUBIC).save(pictures[-1])
    texts = [f"{a} {b}" for a in ("a red", "blue", "green") for b in ("dog", "cat", "beach", "a")]
    certificate = quantise(bundle, Sample(pictures, texts), force=True)
    [run] = [run for run in certificate.runs if run.subject == "int8"]
    assert 0.9 < run.image_mean < 0.99999
    matcher = Matcher(tmp_path / "it", precision="int8", decode="exact")
    assert matcher.provenance == "OpenVINO CPU int8, exact decoding"
    cosines = (
        matcher.embed_images(pictures) * Matcher(tmp_path / "it", precision="f32").embed_images(pictures)
    ).sum(axis=1)
    assert cosines.mean() == pytest.approx(run.image_mean, abs=1e-3)
    assert capsys.readouterr().out == ""


def test_an_image_graph_that_is_in_int8_already_is_refused(tmp_path: Path) -> None:
    shutil.copytree(GRAPHS, tmp_path / "it")
    path = tmp_path / "it" / "image.onnx"
    model = onnx.load(path)
    nodes = model.graph.node
    pooling = next(node for node in nodes if node.op_type == "ReduceMean")
    at = list(nodes).index(pooling)
    nodes.insert(at, helper.make_node("QuantizeLinear", [pooling.input[0], "scale", "zero"], ["whole"]))
    nodes.insert(at + 1, helper.make_node("DequantizeLinear", ["whole", "scale", "zero"], ["rounded"]))
    pooling.input[0] = nodes[at + 1].output[0]
    facts = {"scale": np.array(1 / 127, np.float32), "zero": np.array(0, np.int8)}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in facts.items())
    onnx.save(model, path)
    config = json.loads((tmp_path / "it" / "config.json").read_text())
    config["sha256"]["image.onnx"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "it" / "config.json").write_text(json.dumps(config))
    bundle = load_bundle(tmp_path / "it")
    pictures = [np.full((96, 96, 3), 20 * number, np.uint8) for number in range(12)]
    assert Matcher(tmp_path / "it", precision="f32").embed_images(pictures).shape == (12, 256)
    with pytest.raises(ModelError, match="the image tower of 'graphs' is in int8 already"):
        quantise(bundle, Sample(pictures, [f"a dog {number}" for number in range(12)]))
    assert not app_folders.quantised(bundle.spec.identity).parent.exists()
