"""Small bundles with random weights, one for each kind of network, and their vectors worked out by NumPy."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from crosslens.models.weights import rows_in_int8

Array = NDArray[Any]

# A bundle of two graphs with random weights, from scripts/make_graphs.py.
GRAPHS = Path(__file__).parent / "golden" / "graphs"

WIDTH, LAYERS, HEADS, HIDDEN, DIMENSION, SIZE, PATCH, CONTEXT = 32, 2, 4, 48, 16, 32, 8, 12
WORDS = ["<pad>", "<end>", "<start>", "<unk>", "a", "red", "green", "blue", "dog", "cat", "beach"]
PAD, END = 0, 1
TOKENS = (SIZE // PATCH) ** 2

# What differs between the kinds: image network, text network.
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "clip": (
        {"activation": "quick_gelu", "norm": "before", "epsilon": 1e-5, "pool": "first"},
        {"activation": "quick_gelu", "norm": "before", "epsilon": 1e-5, "pool": "end", "end_id": END,
         "causal": True},
    ),
    "siglip": (
        {"activation": "gelu_tanh", "norm": "before", "epsilon": 1e-6, "pool": "attention"},
        {"activation": "gelu_tanh", "norm": "before", "epsilon": 1e-6, "pool": "last"},
    ),
    "bert": (
        {"activation": "gelu", "norm": "before", "epsilon": 1e-5, "pool": "first"},
        {"activation": "gelu", "norm": "after", "epsilon": 1e-12, "pool": "first", "masked": True},
    ),
    "mean": (
        {"activation": "gelu", "norm": "before", "epsilon": 1e-5, "pool": "mean"},
        {"activation": "gelu", "norm": "after", "epsilon": 1e-5, "pool": "mean", "masked": True},
    ),
}  # fmt: skip


def write_bundle(
    folder: Path, kind: str, dtype: type = np.float32, *, int8_text: bool = False
) -> dict[str, Array]:
    """Write a bundle of this kind and return its weights, before matrices of the text tower became int8."""
    folder.mkdir(parents=True)
    image, text = ({"heads": HEADS, **facts} for facts in KINDS[kind])
    weights = random_weights(kind, dtype)
    save_file(_texts_in_int8(weights) if int8_text else weights, folder / "model.safetensors")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer()))
    config = {
        "format": "two-tower-bundle",
        "name": f"tiny-{kind}",
        "version": 0,
        "embedding_dim": DIMENSION,
        "logit_scale": 100.0,
        "weights": "model.safetensors",
        "image": {
            "size": SIZE,
            "resize": "shortest_edge",
            "interpolation": "bicubic",
            "crop": "center",
            "mean": [0.48, 0.45, 0.4],
            "std": [0.27, 0.26, 0.28],
            "network": image,
        },
        "text": {"tokenizer": "tokenizer.json", "context_length": CONTEXT, "pad_id": PAD, "network": text},
        "license": "none",
        "sha256": {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in ("model.safetensors", "tokenizer.json")
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    return weights


def _texts_in_int8(weights: dict[str, Array]) -> dict[str, Array]:
    stored = dict(weights)
    for name, value in weights.items():
        if name.startswith("text.") and value.ndim == 2 and name.endswith((".tokens", ".weight")):
            stored[name], stored[f"{name}.scale"] = rows_in_int8(value)
    return stored


def write_graph_and_network(folder: Path) -> None:
    """Write a bundle of the image graph of golden/graphs and the text network of "mean"."""
    weights = write_bundle(folder, "mean")
    graphs = json.loads((GRAPHS / "config.json").read_text())
    dimension = graphs["embedding_dim"]
    kept = {name: value for name, value in weights.items() if name.startswith("text.")}
    wider = np.random.default_rng(0).standard_normal((dimension, 24)).astype(np.float32)
    save_file({**kept, "text.projection.out.weight": wider}, folder / "model.safetensors")
    shutil.copy(GRAPHS / "image.onnx", folder)
    config = json.loads((folder / "config.json").read_text())
    files = ("image.onnx", "model.safetensors", "tokenizer.json")
    config |= {
        "name": "tiny-mixed",
        "embedding_dim": dimension,
        "image": graphs["image"],
        "source": "a text, as those that trained a model leave it",
        "sha256": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files},
    }
    (folder / "config.json").write_text(json.dumps(config))


def random_weights(kind: str, dtype: type) -> dict[str, Array]:  # noqa: C901 (one weight after another)
    random = np.random.default_rng(sum(kind.encode()))
    found: dict[str, Array] = {}

    def put(name: str, *shape: int, scale: float = 1.0) -> None:
        found[name] = (scale * random.standard_normal(shape)).astype(dtype)

    def linear(name: str, out: int, into: int, *, bias: bool = True) -> None:
        put(f"{name}.weight", out, into, scale=into**-0.5)
        if bias:
            put(f"{name}.bias", out, scale=0.1)

    def norm(name: str) -> None:
        found[f"{name}.weight"] = (1 + 0.1 * random.standard_normal(WIDTH)).astype(dtype)
        put(f"{name}.bias", WIDTH, scale=0.1)

    def mlp(name: str) -> None:
        linear(f"{name}.in", HIDDEN, WIDTH)
        linear(f"{name}.out", WIDTH, HIDDEN)

    put("image.patch.weight", WIDTH, 3, PATCH, PATCH, scale=0.1)
    if kind == "siglip":
        put("image.patch.bias", WIDTH)
    if kind in ("clip", "bert"):
        put("image.class_token", WIDTH)
        norm("image.first_norm")
    put("image.positions", TOKENS + (kind in ("clip", "bert")), WIDTH)
    put("text.tokens", len(WORDS), WIDTH)
    put("text.positions", CONTEXT, WIDTH)
    if kind in ("bert", "mean"):
        norm("text.first_norm")
    else:
        norm("text.final_norm")
    norm("image.final_norm")
    for tower in ("image", "text"):
        for number in range(LAYERS):
            name = f"{tower}.blocks.{number}"
            linear(f"{name}.attention.in", 3 * WIDTH, WIDTH)
            linear(f"{name}.attention.out", WIDTH, WIDTH)
            norm(f"{name}.attention_norm")
            norm(f"{name}.mlp_norm")
            mlp(f"{name}.mlp")
    if kind == "siglip":
        put("image.pool.query", WIDTH)
        linear("image.pool.key_value", 2 * WIDTH, WIDTH)
        linear("image.pool.out", WIDTH, WIDTH)
        norm("image.pool.norm")
        mlp("image.pool.mlp")
    linear("image.projection", DIMENSION, WIDTH, bias=False)
    if kind == "mean":
        linear("text.projection.in", 24, WIDTH, bias=False)
        linear("text.projection.out", DIMENSION, 24, bias=False)
    else:
        linear("text.projection", DIMENSION, WIDTH, bias=kind == "siglip")
    return found


def tokenizer() -> dict[str, Any]:
    """Words, one id each, between a start and an end token."""
    special = [
        {"id": number, "content": word, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}
        for number, word in enumerate(WORDS[:4])
    ]  # fmt: skip
    return {
        "version": "1.0",
        "added_tokens": special,
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "<start>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "<end>", "type_id": 0}},
            ],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {
                "<start>": {"id": "<start>", "ids": [2], "tokens": ["<start>"]},
                "<end>": {"id": "<end>", "ids": [END], "tokens": ["<end>"]},
            },
        },
        "model": {
            "type": "WordLevel",
            "vocab": {word: number for number, word in enumerate(WORDS)},
            "unk_token": "<unk>",
        },
    }


# -- the same in NumPy, in float64 ----------------------------------------------------------------


def image_vectors(kind: str, weights: dict[str, Array], pixels: Array) -> Array:
    """Normalised pixels (n, 3, s, s) → raw vectors."""
    side = SIZE // PATCH
    cut = pixels.reshape(len(pixels), 3, side, PATCH, side, PATCH).transpose(0, 2, 4, 1, 3, 5)
    states = cut.reshape(len(pixels), TOKENS, -1) @ weights["image.patch.weight"].reshape(WIDTH, -1).T
    states = states + weights.get("image.patch.bias", np.zeros(WIDTH))
    if "image.class_token" in weights:
        token = np.broadcast_to(weights["image.class_token"], (len(pixels), 1, WIDTH))
        states = np.concatenate([token, states], axis=1)
    facts = KINDS[kind][0]
    states = encoded("image", facts, weights, states + weights["image.positions"], None)
    if facts["pool"] == "attention":
        states = norm(states, "image.final_norm", facts, weights)
        pooled = attention_pool(facts, weights, states)
    elif facts["pool"] == "mean":
        pooled = norm(states, "image.final_norm", facts, weights).mean(axis=1)
    else:
        pooled = norm(states[:, 0], "image.final_norm", facts, weights)
    return pooled @ weights["image.projection.weight"].T


def text_vectors(kind: str, weights: dict[str, Array], ids: Array) -> Array:
    """Ids (n, t) → raw vectors."""
    facts = KINDS[kind][1]
    kept = ids != PAD
    states = weights["text.tokens"][ids] + weights["text.positions"][: ids.shape[1]]
    states = encoded("text", facts, weights, states, kept if facts.get("masked") else None)
    if "text.final_norm.weight" in weights:
        states = norm(states, "text.final_norm", facts, weights)
    rows = np.arange(len(ids))
    pooled = {
        "end": lambda: states[rows, (ids == END).argmax(axis=1)],
        "last": lambda: states[:, -1],
        "first": lambda: states[:, 0],
        "mean": lambda: (states * kept[..., None]).sum(axis=1) / kept.sum(axis=1, keepdims=True),
    }[facts["pool"]]()
    if "text.projection.in.weight" in weights:
        hidden = activate(pooled @ weights["text.projection.in.weight"].T, "gelu")
        return hidden @ weights["text.projection.out.weight"].T
    return linear(pooled, "text.projection", weights)


def encoded(
    tower: str, facts: dict[str, Any], weights: dict[str, Array], states: Array, kept: Array | None
) -> Array:
    if f"{tower}.first_norm.weight" in weights:
        states = norm(states, f"{tower}.first_norm", facts, weights)
    for number in range(LAYERS):
        name = f"{tower}.blocks.{number}"

        def mixed(x: Array, name: str = name) -> Array:
            query, key, value = np.split(linear(x, f"{name}.attention.in", weights), 3, axis=-1)
            x = attend(query, key, value, kept, causal=bool(facts.get("causal")))
            return linear(x, f"{name}.attention.out", weights)

        def mlp(x: Array, name: str = name) -> Array:
            x = activate(linear(x, f"{name}.mlp.in", weights), facts["activation"])
            return linear(x, f"{name}.mlp.out", weights)

        if facts["norm"] == "before":
            states = states + mixed(norm(states, f"{name}.attention_norm", facts, weights))
            states = states + mlp(norm(states, f"{name}.mlp_norm", facts, weights))
        else:
            states = norm(states + mixed(states), f"{name}.attention_norm", facts, weights)
            states = norm(states + mlp(states), f"{name}.mlp_norm", facts, weights)
    return states


def attention_pool(facts: dict[str, Any], weights: dict[str, Array], states: Array) -> Array:
    key, value = np.split(linear(states, "image.pool.key_value", weights), 2, axis=-1)
    query = np.broadcast_to(weights["image.pool.query"], (len(states), 1, WIDTH))
    pooled = linear(attend(query, key, value, None, causal=False), "image.pool.out", weights)[:, 0]
    hidden = linear(norm(pooled, "image.pool.norm", facts, weights), "image.pool.mlp.in", weights)
    return pooled + linear(activate(hidden, facts["activation"]), "image.pool.mlp.out", weights)


def attend(query: Array, key: Array, value: Array, kept: Array | None, *, causal: bool) -> Array:
    query, key, value = (
        x.reshape(*x.shape[:2], HEADS, -1).transpose(0, 2, 1, 3) for x in (query, key, value)
    )
    scores = query @ key.swapaxes(-1, -2) / math.sqrt(WIDTH // HEADS)
    if causal:
        scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -np.inf)
    if kept is not None:
        scores = np.where(kept[:, None, None, :], scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed = (weights / weights.sum(axis=-1, keepdims=True)) @ value
    return mixed.transpose(0, 2, 1, 3).reshape(len(mixed), -1, WIDTH)


def linear(x: Array, name: str, weights: dict[str, Array]) -> Array:
    return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0)


def norm(x: Array, name: str, facts: dict[str, Any], weights: dict[str, Array]) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + facts["epsilon"])
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def activate(x: Array, kind: str) -> Array:
    if kind == "quick_gelu":
        return x / (1 + np.exp(-1.702 * x))
    if kind == "gelu_tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
