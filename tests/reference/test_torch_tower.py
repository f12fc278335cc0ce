"""The torch runtime, on the CPU: the vectors that OpenVINO gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bundles import GRAPHS, KINDS, SIZE, write_bundle, write_graph_and_network
from crosslens import InputError, Matcher
from crosslens.errors import ModelError
from crosslens.models.bundle import load_bundle
from crosslens.towers.openvino_runtime import OpenVinoModel
from crosslens.towers.torch_runtime import TorchModel

TEXTS = ["a red dog", "cat", "a green cat beach", "blue " * 40, "dog dog", "a red dog"]
PICTURES = [np.random.default_rng(n).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8) for n in range(70)]


@pytest.mark.parametrize("int8_text", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:.*longer than")
def test_torch_gives_the_vectors_that_openvino_gives(tmp_path: Path, kind: str, int8_text: bool) -> None:
    write_bundle(tmp_path / "it", kind, int8_text=int8_text)
    bundle = load_bundle(tmp_path / "it")
    torch, openvino = Matcher(TorchModel(bundle, "cpu")), Matcher(OpenVinoModel(bundle, "f32"))
    assert torch.model.runtime == "torch cpu f32"
    np.testing.assert_allclose(torch.embed_images(PICTURES), openvino.embed_images(PICTURES), atol=2e-5)
    np.testing.assert_allclose(torch.embed_texts(TEXTS), openvino.embed_texts(TEXTS), atol=2e-5)


def test_bf16_is_near_f32(tmp_path: Path) -> None:
    write_bundle(tmp_path / "it", "clip")
    bundle = load_bundle(tmp_path / "it")
    half, full = (Matcher(TorchModel(bundle, "cpu", precision)) for precision in ("bf16", "f32"))
    cosines = (half.embed_images(PICTURES) * full.embed_images(PICTURES)).sum(axis=1)
    assert 0.99 < cosines.min() < 1


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_bundle(tmp_path / "it", "clip")
    with pytest.raises(ModelError, match=r"torch cannot use device 'cuda:99'.*device=\"cpu\""):
        TorchModel(load_bundle(tmp_path / "it"), "cuda:99")


def test_graphs_are_not_for_torch(tmp_path: Path) -> None:
    write_graph_and_network(tmp_path / "mixed")
    for folder, name in ((GRAPHS, "graphs"), (tmp_path / "mixed", "tiny-mixed")):
        with pytest.raises(ModelError, match=f"image tower of model '{name}' is a graph, which torch does"):
            TorchModel(load_bundle(folder), "cpu")


def test_int8_is_not_offered(tmp_path: Path) -> None:
    write_bundle(tmp_path / "it", "clip")
    with pytest.raises(InputError, match="int8"):
        TorchModel(load_bundle(tmp_path / "it"), "cpu", "int8")


def test_an_automm_script_runs_with_real_tensors(tmp_path: Path) -> None:
    import torch

    from crosslens.automm import MultiModalPredictor, semantic_search

    predictor = MultiModalPredictor(problem_type="image_text_similarity")
    vectors = predictor.extract_embedding(["a dog", "a cat", "the sea"], as_tensor=True)
    assert isinstance(vectors, torch.Tensor)
    assert vectors.dtype == torch.float32
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        query = vectors[1][None,].to(dtype).requires_grad_()
        hits = semantic_search(
            matcher=predictor, query_embeddings=query, response_embeddings=vectors, top_k=1
        )
        assert hits[0][0]["response_id"] == 1
