"""Conversion of OpenCLIP checkpoints, and OpenAI's, which have the same names."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import numpy as np

from crosslens.acquire.convert import layout, pictures, tokenizers
from crosslens.acquire.convert.layout import Layout
from crosslens.acquire.convert.result import Converted, sigmoid_match
from crosslens.acquire.convert.source import Source
from crosslens.errors import ConversionError
from crosslens.models.spec import Activation, Clean, NetworkSpec, Pool, TextSpec

_SUPPORTED = (
    "Supported of OpenCLIP are vision transformers (its own, and SigLIP's) with its own text transformer or "
    "an XLM-RoBERTa or RoBERTa"
)
# timm's names of SigLIP's vision transformers begin with their size, which tells the heads.
_TIMM_HEADS = {"vit_base_": 12, "vit_large_": 16, "vit_so400m_": 16, "vit_giantopt_": 16}
# Those that timm builds with the approximation of GELU; all others have the exact one.
_TIMM_TANH = (
    "vit_base_patch32_siglip_",
    "vit_large_patch16_siglip_512",
    "vit_so400m_patch16_siglip_",
    "vit_giantopt_",
)
_UNSUPPORTED_VISION = ("attentional_pool", "ls_init_value", "qk_norm", "scaled_cosine_attn", "scale_heads",
                       "scale_attn_inner", "scale_attn", "scale_fc")  # fmt: skip
_UNSUPPORTED_TEXT = ("embed_cls", *_UNSUPPORTED_VISION[1:])
_CLEAN: dict[object, Clean] = {"whitespace": "whitespace", "lower": "lower", "canonicalize": "canonicalize"}


def convert_openclip(source: Source) -> Converted:
    """A folder with open_clip_config.json. Raises ConversionError for what is not supported."""
    config = source.read("open_clip_config.json")
    model = config.get("model_cfg")
    if not isinstance(model, dict) or not isinstance(model.get("vision_cfg"), dict):
        raise ConversionError(
            f'{source.folder}/open_clip_config.json has no "model_cfg"', "Download it again"
        )
    if "multimodal_cfg" in model:
        _refuse(source, "it is a CoCa")
    prepared = config.get("preprocess_cfg")
    return _convert(source, model, prepared if isinstance(prepared, dict) else {})


def convert_openai(source: Source) -> Converted:
    """A .pt file as OpenAI published it; its architecture shows in its tensors."""
    tensors = source.tensors()
    if "visual.proj" not in tensors or "visual.conv1.weight" not in tensors:
        reason = "it is a ResNet" if "visual.layer1.0.conv1.weight" in tensors else "its tensors are others"
        raise ConversionError(f"{source.file} is no CLIP with a vision transformer: {reason}", _SUPPORTED)
    patch = tensors["visual.conv1.weight"].shape[-1]
    grid = round((len(tensors["visual.positional_embedding"]) - 1) ** 0.5)
    text = {
        "width": len(tensors["ln_final.weight"]),
        "context_length": len(tensors["positional_embedding"]),
    }
    text["heads"] = text["width"] // 64
    vision = {"width": len(tensors["visual.conv1.weight"]), "image_size": patch * grid}
    return _convert(source, {"quick_gelu": True, "vision_cfg": vision, "text_cfg": text}, {})


def _convert(source: Source, model: dict[str, Any], prepared: dict[str, Any]) -> Converted:
    vision, words = model["vision_cfg"], model.get("text_cfg") or {}
    moved = Layout(source.tensors())
    activation: Activation = "quick_gelu" if model.get("quick_gelu") else "gelu"
    if vision.get("timm_model_name"):
        image_network = _timm(source, vision, moved)
    else:
        image_network = _vision(source, vision, moved, activation)
    if words.get("hf_model_name"):
        text_network, text, tokenizer = _hugging_text(source, words, moved)
    else:
        text_network, text, tokenizer = _text(source, words, moved, activation)
    scale = math.exp(moved.scalar("logit_scale"))
    match = sigmoid_match(scale, moved.scalar("logit_bias")) if moved.has("logit_bias") else None
    moved.refuse_rest(r"text\.transformer\.pooler\.")
    return Converted(
        dimension=_dimension(moved),
        logit_scale=scale,
        image=pictures.of_openclip(source, prepared, _square(source, vision.get("image_size", 224))),
        image_network=image_network,
        text=text,
        text_network=text_network,
        weights=moved.made,
        tokenizer=tokenizer,
        match=match,
    )


def _vision(source: Source, facts: dict[str, Any], moved: Layout, activation: Activation) -> NetworkSpec:
    if isinstance(facts.get("layers"), list):
        _refuse(source, "its vision tower is a ResNet")
    _refuse_options(source, facts, _UNSUPPORTED_VISION)
    if facts.get("pool_type", "tok") != "tok":
        _refuse(source, f"its vision tower pools by {facts['pool_type']!r}")
    moved.pair("image.patch", "visual.conv1")
    moved.table("image.class_token", "visual.class_embedding")
    moved.table("image.positions", "visual.positional_embedding")
    moved.pair_if_there("image.first_norm", "visual.ln_pre")
    moved.blocks("image", "visual.transformer.resblocks", layout.OPENCLIP)
    moved.pair("image.final_norm", "visual.ln_post")
    moved.turned("image.projection", "visual.proj")
    width = len(moved.made["image.class_token"])
    return NetworkSpec(
        heads=width // int(facts.get("head_width", 64)),
        activation=_activation(facts, activation),
        norm="before",
        epsilon=_epsilon(facts),
        pool="first",
    )


def _timm(source: Source, facts: dict[str, Any], moved: Layout) -> NetworkSpec:
    """SigLIP's vision tower as timm builds it."""
    name = str(facts["timm_model_name"])
    heads = next((heads for start, heads in _TIMM_HEADS.items() if name.startswith(start)), None)
    if heads is None or "_siglip_" not in name or facts.get("timm_pool") != "map":
        _refuse(source, f"its vision tower is timm's {name}")
    trunk, pool = "visual.trunk", "visual.trunk.attn_pool"
    moved.pair("image.patch", f"{trunk}.patch_embed.proj")
    positions = moved.take(f"{trunk}.pos_embed")
    moved.made["image.positions"] = positions.reshape(positions.shape[-2:])
    moved.blocks("image", f"{trunk}.blocks", layout.TIMM)
    moved.pair("image.final_norm", f"{trunk}.norm")
    # The query does not depend on the picture, so its projection is done here.
    query = moved.take(f"{pool}.latent").astype(np.float32).reshape(-1)
    weight, bias = (moved.take(f"{pool}.q.{part}").astype(np.float32) for part in ("weight", "bias"))
    moved.made["image.pool.query"] = query @ weight.T + bias
    moved.pair("image.pool.key_value", f"{pool}.kv")
    moved.pair("image.pool.out", f"{pool}.proj")
    moved.pair("image.pool.norm", f"{pool}.norm")
    moved.pair("image.pool.mlp.in", f"{pool}.mlp.fc1")
    moved.pair("image.pool.mlp.out", f"{pool}.mlp.fc2")
    moved.pair_if_there("image.projection", "visual.head.proj")
    activation: Activation = "gelu_tanh" if name.startswith(_TIMM_TANH) else "gelu"
    return NetworkSpec(heads, activation, "before", 1e-6, "attention")


def _text(
    source: Source, facts: dict[str, Any], moved: Layout, activation: Activation
) -> tuple[NetworkSpec, TextSpec, Any]:
    """OpenCLIP's own text transformer."""
    _refuse_options(source, facts, _UNSUPPORTED_TEXT)
    prefix = "text." if moved.has("text.token_embedding.weight") else ""
    moved.table("text.tokens", f"{prefix}token_embedding.weight")
    moved.table("text.positions", f"{prefix}positional_embedding")
    moved.blocks("text", f"{prefix}transformer.resblocks", layout.OPENCLIP)
    moved.pair("text.final_norm", f"{prefix}ln_final")
    if moved.has(f"{prefix}text_projection"):
        moved.turned("text.projection", f"{prefix}text_projection")
    else:
        moved.pair_if_there("text.projection", f"{prefix}text_projection")
    tokenizer, clean = _tokenizer(source, facts)
    pools: dict[object, Pool] = {"argmax": "end", "eos": "end", "last": "last", "first": "first"}
    pool = pools.get(facts.get("pool_type", "argmax"))
    if pool is None:
        _refuse(source, f"its text tower pools by {facts['pool_type']!r}")
    end = facts.get("eos_id", 2) if facts.get("pool_type") == "eos" else tokenizers.end_id(tokenizer)
    network = NetworkSpec(
        heads=int(facts.get("heads", 8)),
        activation=_activation(facts, activation),
        norm="before",
        epsilon=_epsilon(facts),
        pool=pool,
        causal=not facts.get("no_causal_mask", False),
        end_id=end if pool == "end" else None,
    )
    # The tokeniser in OpenCLIP's code pads with 0.
    pad = tokenizers.pad_id(source, tokenizer, "<pad>") if facts.get("hf_tokenizer_name") else 0
    return network, TextSpec(len(moved.made["text.positions"]), pad, clean), tokenizer


def _hugging_text(source: Source, facts: dict[str, Any], moved: Layout) -> tuple[NetworkSpec, TextSpec, Any]:
    """A text tower of transformers inside OpenCLIP: RoBERTa or XLM-RoBERTa."""
    name = str(facts["hf_model_name"])
    if "roberta" not in name:
        _refuse(source, f"its text tower is {name}")
    poolers: dict[object, Pool] = {"mean_pooler": "mean", "cls_last_hidden_state_pooler": "first"}
    pool = poolers.get(facts.get("hf_pooler_type", "mean_pooler"))
    if pool is None:
        _refuse(source, f"its text tower pools by {facts['hf_pooler_type']!r}")
    # Positions are counted from the one after the padding token's id, which is 1.
    moved.bert("text.transformer.", first_position=2)
    if moved.has("text.proj.0.weight"):
        moved.pair("text.projection.in", "text.proj.0")
        moved.pair("text.projection.out", "text.proj.2")
    else:
        moved.pair_if_there("text.projection", "text.proj")
    tokenizer, clean = _tokenizer(source, {"hf_tokenizer_name": name, **facts})
    heads = moved.made["text.tokens"].shape[1] // 64
    length = min(int(facts.get("context_length", 77)), len(moved.made["text.positions"]))
    text = TextSpec(length, tokenizers.pad_id(source, tokenizer, "<pad>"), clean)
    return NetworkSpec(heads, "gelu", "after", 1e-5, pool, masked=True), text, tokenizer


def _tokenizer(source: Source, facts: dict[str, Any]) -> tuple[Any, Clean]:
    """(tokeniser, what is done to a text before it)."""
    options = dict(facts.get("tokenizer_kwargs") or {})
    named = facts.get("hf_tokenizer_name")
    clean = _CLEAN.get(options.pop("clean", "whitespace" if named else "lower"))
    if clean is None or options or facts.get("tokenizer_mode"):
        asked = {**(facts.get("tokenizer_kwargs") or {}), "tokenizer_mode": facts.get("tokenizer_mode")}
        _refuse(source, f"its tokeniser is to be used with {asked}")
    if named:
        return tokenizers.from_folder(source, "clip", "siglip", "xlm-roberta"), clean
    return tokenizers.openclip_bpe(source), clean


def _activation(facts: dict[str, Any], otherwise: Activation) -> Activation:
    options = facts.get("act_kwargs") or {}
    return "gelu_tanh" if options.get("approximate") == "tanh" and otherwise == "gelu" else otherwise


def _epsilon(facts: dict[str, Any]) -> float:
    return float((facts.get("norm_kwargs") or {}).get("eps", 1e-5))


def _dimension(moved: Layout) -> int:
    for name in ("text.projection.weight", "text.projection.out.weight", "image.projection.weight"):
        if name in moved.made:
            return len(moved.made[name])
    return int(moved.made["text.tokens"].shape[1])


def _square(source: Source, size: object) -> int:
    sides = list(size) if isinstance(size, list | tuple) else [size]
    if not all(isinstance(side, int) and side == sides[0] for side in sides):
        _refuse(source, f"its pictures are {size}, not square")
    return int(str(sides[0]))


def _refuse_options(source: Source, facts: dict[str, Any], options: tuple[str, ...]) -> None:
    for option in options:
        if facts.get(option):
            _refuse(source, f"it uses {option}")


def _refuse(source: Source, reason: str) -> NoReturn:
    raise ConversionError(f"{source.file or source.folder} is not supported: {reason}", _SUPPORTED)
