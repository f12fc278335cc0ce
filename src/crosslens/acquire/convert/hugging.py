"""Conversion of transformers folders: CLIP, SigLIP, SigLIP 2 of fixed resolution, Chinese-CLIP."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from crosslens.acquire.convert import layout, pictures, tokenizers
from crosslens.acquire.convert.layout import Layout
from crosslens.acquire.convert.result import Converted, sigmoid_match
from crosslens.acquire.convert.source import Source
from crosslens.errors import ConversionError
from crosslens.models.spec import Activation, ImageSpec, NetworkSpec, TextSpec

ACTIVATIONS: dict[object, Activation] = {
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "quick_gelu": "quick_gelu",
}
# Files hold only what differs from these, which are the defaults of transformers' classes.
_DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
    "clip": {
        "vision": {"heads": 12, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "image_size": 224},
        "text": {"heads": 8, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "eos_token_id": 49407},
    },
    "siglip": {
        "vision": {"heads": 12, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6, "image_size": 224},
        "text": {"heads": 12, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6},
    },
    "chinese_clip": {
        "vision": {"heads": 12, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "image_size": 224},
        "text": {"heads": 12, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "pad_token_id": 0},
    },
}


def convert_hugging(source: Source) -> Converted:
    """Raises ConversionError for models of other kinds."""
    config = source.read("config.json")
    kind = config.get("model_type")
    if kind == "siglip2" or "num_patches" in config.get("vision_config", {}):
        raise ConversionError(
            f"{source.folder} is a SigLIP 2 of the NaFlex kind, whose pictures have no fixed size",
            "Convert one of fixed resolution, such as siglip2-base-patch16-256",
        )
    if kind not in _FAMILIES:
        raise ConversionError(
            f'{source.folder}: "model_type" is {kind!r}',
            "Supported of transformers are clip, siglip (and SigLIP 2 of fixed resolution), chinese_clip",
        )
    moved = Layout(source.tensors())
    return _FAMILIES[kind](source, config, moved)


def _clip(source: Source, config: dict[str, Any], moved: Layout) -> Converted:
    vision, words = (_section(source, config, tower) for tower in ("vision", "text"))
    _vision(moved)
    _text(moved)
    _projections(moved)
    tokenizer = tokenizers.from_folder(source, "clip")
    text = TextSpec(
        tokenizers.context(source, len(moved.made["text.positions"])),
        tokenizers.pad_id(source, tokenizer, "<|endoftext|>"),
    )
    end = tokenizers.end_id(tokenizer)
    # Older files say 2, by which transformers means the highest id.
    if words["eos_token_id"] not in (2, end):
        raise ConversionError(
            f"{source.folder}: texts end with token {end}, and the network looks for {words['eos_token_id']}",
            "The tokeniser belongs to another model: put the right one there",
        )
    network = _network(source, words, pool="end", causal=True, end_id=end)
    image = pictures.of_transformers(source, pictures.CLIP, vision["image_size"])
    return _finished(moved, image, _network(source, vision, pool="first"), text, network, tokenizer)


def _siglip(source: Source, config: dict[str, Any], moved: Layout) -> Converted:
    vision, words = (_section(source, config, tower) for tower in ("vision", "text"))
    _vision(moved)
    _attention_pool(moved, "vision_model.head")
    _text(moved)
    moved.pair("text.projection", "text_model.head")
    # The classes of SigLIP's tokeniser clean texts in Python, that of SigLIP 2 in its tokenizer.json.
    positions = len(moved.made["text.positions"])
    tokenizer = tokenizers.from_folder(source, "siglip", made=True)
    if tokenizer.token_to_id("</s>") is not None and tokenizer.token_to_id("<bos>") is None:
        tokenizer = tokenizers.end_only(tokenizer, "</s>")
        text = TextSpec(positions, tokenizers.pad_id(source, tokenizer, "</s>"), clean="siglip")
    else:
        tokenizer = tokenizers.lower_case(tokenizers.end_only(tokenizer, "<eos>"))
        text = TextSpec(positions, tokenizers.pad_id(source, tokenizer, "<pad>"))
    image = pictures.of_transformers(source, pictures.SIGLIP, vision["image_size"])
    image_network = _network(source, vision, pool="attention")
    return _finished(moved, image, image_network, text, _network(source, words, pool="last"), tokenizer)


def _chinese_clip(source: Source, config: dict[str, Any], moved: Layout) -> Converted:
    vision, words = (_section(source, config, tower) for tower in ("vision", "text"))
    _vision(moved)
    moved.bert("text_model.")
    _projections(moved)
    tokenizer = tokenizers.from_folder(source, "bert")
    text = TextSpec(
        tokenizers.context(source, len(moved.made["text.positions"])),
        tokenizers.pad_id(source, tokenizer, "[PAD]"),
    )
    image = pictures.of_transformers(source, pictures.CLIP, vision["image_size"])
    network = _network(source, words, pool="first", norm="after", masked=True)
    return _finished(moved, image, _network(source, vision, pool="first"), text, network, tokenizer)


_FAMILIES = {"clip": _clip, "siglip": _siglip, "chinese_clip": _chinese_clip}


def _vision(moved: Layout) -> None:
    embeddings = "vision_model.embeddings"
    moved.pair("image.patch", f"{embeddings}.patch_embedding")
    if moved.has(f"{embeddings}.class_embedding"):
        moved.flat("image.class_token", f"{embeddings}.class_embedding")
    moved.table("image.positions", f"{embeddings}.position_embedding.weight")
    moved.pair_if_there("image.first_norm", "vision_model.pre_layrnorm")  # so it is spelt
    moved.blocks("image", "vision_model.encoder.layers", layout.HUGGING)
    moved.pair("image.final_norm", "vision_model.post_layernorm")


def _text(moved: Layout) -> None:
    moved.table("text.tokens", "text_model.embeddings.token_embedding.weight")
    moved.table("text.positions", "text_model.embeddings.position_embedding.weight")
    moved.blocks("text", "text_model.encoder.layers", layout.HUGGING)
    moved.pair("text.final_norm", "text_model.final_layer_norm")


def _projections(moved: Layout) -> None:
    moved.pair("image.projection", "visual_projection")
    moved.pair("text.projection", "text_projection")


def _attention_pool(moved: Layout, prefix: str) -> None:
    """The query does not depend on the picture, so its projection is done here."""
    weight = moved.take(f"{prefix}.attention.in_proj_weight").astype(np.float32)
    bias = moved.take(f"{prefix}.attention.in_proj_bias").astype(np.float32)
    width = len(bias) // 3
    query = moved.take(f"{prefix}.probe").astype(np.float32).reshape(-1)
    moved.made["image.pool.query"] = query @ weight[:width].T + bias[:width]
    moved.made["image.pool.key_value.weight"] = weight[width:]
    moved.made["image.pool.key_value.bias"] = bias[width:]
    moved.pair("image.pool.out", f"{prefix}.attention.out_proj")
    moved.pair("image.pool.norm", f"{prefix}.layernorm")
    moved.pair("image.pool.mlp.in", f"{prefix}.mlp.fc1")
    moved.pair("image.pool.mlp.out", f"{prefix}.mlp.fc2")


def _section(source: Source, config: dict[str, Any], tower: str) -> dict[str, Any]:
    """A tower's part of config.json, with what is left out because it is the default."""
    facts = dict(_DEFAULTS[config["model_type"]][tower])
    for key in (f"{tower}_config", f"{tower}_config_dict"):  # the second was written by older versions
        found = config.get(key) or {}
        if not isinstance(found, dict):
            raise ConversionError(f'{source.folder}/config.json: "{key}" is no object', "Download it again")
        facts |= found
    return facts


def _network(source: Source, facts: dict[str, Any], **rest: Any) -> NetworkSpec:
    activation = ACTIVATIONS.get(facts["hidden_act"])
    if activation is None:
        raise ConversionError(
            f'{source.folder}/config.json: "hidden_act" is {facts["hidden_act"]!r}',
            f"Supported are {', '.join(map(str, ACTIVATIONS))}",
        )
    return NetworkSpec(
        heads=int(facts.get("num_attention_heads", facts["heads"])),
        activation=activation,
        epsilon=float(facts["layer_norm_eps"]),
        **{"norm": "before", **rest},
    )


def _finished(
    moved: Layout,
    image: ImageSpec,
    image_network: NetworkSpec,
    text: TextSpec,
    text_network: NetworkSpec,
    tokenizer: Any,
) -> Converted:
    scale = math.exp(moved.scalar("logit_scale"))
    match = sigmoid_match(scale, moved.scalar("logit_bias")) if moved.has("logit_bias") else None
    moved.refuse_rest(r"text_model\.pooler\.")
    return Converted(
        dimension=len(moved.made["text.projection.weight"]),
        logit_scale=scale,
        image=image,
        image_network=image_network,
        text=text,
        text_network=text_network,
        weights=moved.made,
        tokenizer=tokenizer,
        match=match,
    )
