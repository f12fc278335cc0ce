"""Graph files of others: ids as int32, a mask beside them, one row at a time."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13 as op

from bundles import CONTEXT, DIMENSION, PAD, SIZE, image_vectors, text_vectors, tokenizer, write_bundle
from crosslens import BundleError, Matcher
from crosslens.models.bundle import load_bundle
from crosslens.towers.openvino_graph import OpenVinoOps, image_graph
from crosslens.towers.openvino_runtime import OpenVinoModel
from crosslens.towers.transformer import text_tower


class WithMask(OpenVinoOps):
    """Takes from a second input which ids are not padding."""

    def __init__(self, weights: Any, mask: Any) -> None:
        super().__init__(weights)
        self.mask = mask

    def differs(self, ids: Any, number: int) -> Any:  # noqa: ARG002
        return op.convert(self.mask, "boolean")


def write_graphs(folder: Path, *, dtype: str = "i32", mask: bool = True, batch: int = 1) -> Any:
    """A bundle of two graphs, as exporters write them, made from a bundle of weights, which are returned."""
    weights = write_bundle(folder.with_name("weights"), "bert")
    networks: Any = load_bundle(folder.with_name("weights")).spec.towers
    folder.mkdir()
    ids = op.parameter([batch, CONTEXT], openvino.Type(np.dtype(dtype.replace("i", "int"))), name="ids")
    inputs = [ids]
    ids.output(0).set_names({"ids"})
    ops = OpenVinoOps(weights)
    if mask:
        inputs.append(op.parameter([batch, CONTEXT], ids.get_element_type(), name="mask"))
        inputs[1].output(0).set_names({"mask"})
        ops = WithMask(weights, inputs[1])
    text = text_tower(ops, networks.text, op.convert(ids, "i64"), PAD)
    text.output(0).set_names({"embeddings"})
    image = image_graph(networks.image, weights, SIZE)
    image.reshape([batch, 3, SIZE, SIZE])
    openvino.save_model(openvino.Model([text], inputs, "text"), folder / "text.xml", compress_to_fp16=False)
    openvino.save_model(image, folder / "image.xml", compress_to_fp16=False)
    config = json.loads((folder.with_name("weights") / "config.json").read_text())
    del config["weights"]
    config["image"] |= {"file": "image.xml", "input": "pixel_values", "output": "embeddings"}
    config["text"] |= {"file": "text.xml", "input": "ids", "output": "embeddings"}
    if mask:
        config["text"]["mask"] = "mask"
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer()))
    names = ("image.xml", "text.xml", "tokenizer.json")
    config["sha256"] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    (folder / "config.json").write_text(json.dumps(config))
    return weights


def model_of(folder: Path) -> OpenVinoModel:
    return OpenVinoModel(load_bundle(folder), "f32")


@pytest.mark.parametrize(("dtype", "mask"), [("i32", True), ("i64", True), ("i32", False)])
def test_ids_and_mask_are_brought_into_one_form(tmp_path: Path, dtype: str, mask: bool) -> None:
    weights = write_graphs(tmp_path / "graphs", dtype=dtype, mask=mask)
    model = model_of(tmp_path / "graphs")
    ids = model.tokenize(["a red dog", "cat", "beach"]).ids
    found = model.text.submit(ids).result()
    assert found.shape == (3, DIMENSION)
    np.testing.assert_allclose(found, text_vectors("bert", weights, ids), atol=2e-4)


def test_a_graph_for_one_picture_takes_several(tmp_path: Path) -> None:
    weights = write_graphs(tmp_path / "graphs")
    batch = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    mean, std = np.reshape([0.48, 0.45, 0.4], (3, 1, 1)), np.reshape([0.27, 0.26, 0.28], (3, 1, 1))
    found = model_of(tmp_path / "graphs").image.submit(batch).result()
    wanted = image_vectors("bert", weights, (batch.transpose(0, 3, 1, 2) / 255 - mean) / std)
    np.testing.assert_allclose(found, wanted, atol=2e-4)


def test_the_whole_of_it_gives_what_the_weights_give(tmp_path: Path) -> None:
    write_graphs(tmp_path / "graphs")
    graphs, weights = (Matcher(model_of(tmp_path / name)) for name in ("graphs", "weights"))
    texts = ["a red dog", "cat"]
    np.testing.assert_allclose(graphs.embed_texts(texts), weights.embed_texts(texts), atol=1e-5)


def test_a_mask_that_the_graph_does_not_have_is_refused(tmp_path: Path) -> None:
    write_graphs(tmp_path / "graphs", mask=False)
    config = json.loads((tmp_path / "graphs" / "config.json").read_text())
    config["text"]["mask"] = "attention_mask"
    (tmp_path / "graphs" / "config.json").write_text(json.dumps(config))
    with pytest.raises(BundleError, match=r"text\.xml.*'attention_mask'"):
        model_of(tmp_path / "graphs").text  # noqa: B018 (opens it)
