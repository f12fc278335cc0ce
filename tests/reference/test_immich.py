"""Pairs of ONNX files exported the way Immich's are, compared with the model they were exported from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from same import compare, randomise, same_ids
from test_openclip import OPENAI, VISION, WORDS, roberta_tokenizer
from test_transformers import clip_tokenizer

from crosslens.acquire.convert.convert import convert

pytest.importorskip("onnx")


class Function(torch.nn.Module):
    """A function of tensors, for the exporter."""

    def __init__(self, model: torch.nn.Module, call: Any) -> None:
        super().__init__()
        self.model, self.call = model, call

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.call(self.model, *inputs)


def export(module: Any, inputs: tuple[torch.Tensor, ...], path: Path, names: list[str], rows: str) -> None:
    """rows: "any", as in Immich's older graphs, or "one", as in those of today."""
    path.parent.mkdir(parents=True, exist_ok=True)
    axes = {name: {0: "batch_size"} for name in (*names, "embedding")} if rows == "any" else None
    torch.onnx.export(
        module, inputs, str(path), input_names=names, output_names=["embedding"], opset_version=17,
        dynamic_axes=axes, dynamo=False,
    )  # fmt: skip


def write(source: Path, config: dict[str, Any], tokenizer: Any, prepared: dict[str, Any]) -> None:
    (source / "config.json").write_text(json.dumps(config))
    (source / "visual/preprocess_cfg.json").write_text(json.dumps(prepared))
    tokenizer.save_pretrained(source / "textual")


def export_image(model: Any, source: Path, rows: str) -> Any:
    call = Function(model, lambda model, image: model.encode_image(image, normalize=True))
    export(call, (torch.rand(1, 3, 64, 64),), source / "visual/model.onnx", ["image"], rows)
    return open_clip.transform.image_transform_v2(
        open_clip.transform.PreprocessCfg(size=64, **OPENAI), is_train=False
    )


class Words(torch.nn.Module):
    """What M-CLIP's graphs do with two inputs, in one layer: attention without padding, then the mean."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(rows, 64)
        self.query, self.key, self.linear = (torch.nn.Linear(64, n) for n in (64, 64, 40))

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        states = self.embedding(ids)
        scores = self.query(states) @ self.key(states).transpose(1, 2) / 8
        scores = scores + (1 - mask.float())[:, None, :] * -1e9
        states = states + scores.softmax(dim=-1) @ states
        mean = (states * mask.unsqueeze(2)).sum(dim=1) / mask.sum(dim=1)[:, None]
        return torch.nn.functional.normalize(self.linear(mean), dim=-1)


PREPARED = {
    "size": [64, 64],
    "mode": "RGB",
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "fill_color": 0,
}


@pytest.mark.parametrize("rows", ["any", "one"])
def test_clip_with_int32_ids(photographs: list[Path], tmp_path: Path, rows: str) -> None:
    config = {"embed_dim": 40, "vision_cfg": VISION, "text_cfg": WORDS}
    model = randomise(open_clip.model.CLIP(**config))
    source, tokenizer = tmp_path / "source", clip_tokenizer()
    transform = export_image(model, source, rows)
    call = Function(model, lambda model, ids: model.encode_text(ids, normalize=True))
    export(call, (torch.ones(1, 77, dtype=torch.int32),), source / "textual/model.onnx", ["text"], rows)
    write(source, config, tokenizer, {**PREPARED, **OPENAI})
    convert(source, tmp_path / "out")
    compare(
        f"Immich CLIP, {rows} rows",
        tmp_path / "out",
        photographs,
        lambda pictures: model.encode_image(torch.stack([transform(picture) for picture in pictures])),
        lambda texts: model.encode_text(open_clip.tokenize(texts)),
    )


@pytest.mark.parametrize("rows", ["any", "one"])
def test_mclip_with_a_mask(photographs: list[Path], tmp_path: Path, rows: str) -> None:
    images = randomise(open_clip.model.CLIP(40, VISION, WORDS))
    source, tokenizer = tmp_path / "source", roberta_tokenizer(tmp_path)
    transform = export_image(images, source, rows)
    words = randomise(Words(len(tokenizer)), seed=5)
    # A mask of ones alone would let the tracer leave it out.
    inputs = (torch.full((1, 77), 5, dtype=torch.int32), torch.ones(1, 77, dtype=torch.int32))
    inputs[0][:, 40:], inputs[1][:, 40:] = 1, 0
    export(words, inputs, source / "textual/model.onnx", ["input_ids", "attention_mask"], rows)
    # The config is that of the model whose pictures it fits.
    write(
        source, {"embed_dim": 40, "vision_cfg": VISION, "text_cfg": WORDS}, tokenizer, {**PREPARED, **OPENAI}
    )
    bundle = convert(source, tmp_path / "out")
    assert bundle.spec.towers.text.mask == "attention_mask"

    def text_vectors(texts: list[str]) -> torch.Tensor:
        tokens = tokenizer(texts, padding=True, max_length=77, truncation=True, return_tensors="pt")
        return words(tokens["input_ids"], tokens["attention_mask"])

    compare(
        f"Immich M-CLIP, {rows} rows",
        tmp_path / "out",
        photographs,
        lambda pictures: images.encode_image(torch.stack([transform(picture) for picture in pictures])),
        text_vectors,
    )
    same_ids(
        "Immich M-CLIP",
        tmp_path / "out",
        lambda text: tokenizer(text, padding="max_length", max_length=77, truncation=True).input_ids,
    )
