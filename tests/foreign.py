"""Tiny models in other formats, written by hand: no torch, no transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WIDTH, DIMENSION, SIZE, PATCH, LENGTH = 16, 8, 32, 16, 12
WORDS = ["a", "red", "green", "blue", "dog", "cat", "beach"]
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]

Tensors = dict[str, NDArray[Any]]


def random(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng([seed, *shape])
    return (rng.standard_normal(shape) / max(1, shape[-1]) ** 0.5).astype(np.float32)


def clip_vocabulary() -> dict[str, int]:
    """Letters, letters that end a word, and the two special tokens."""
    letters = [chr(n) for n in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return {word: number for number, word in enumerate(words)}


def word_tokenizer(pad: str = "[PAD]") -> Tokenizer:
    """A word is a token."""
    special = [pad, "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106 (no password)
    tokenizer.add_special_tokens(special)
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def linear(name: str, out: int, into: int, *, separator: str = ".") -> Tensors:
    return {f"{name}{separator}weight": random(out, into, seed=len(name)),
            f"{name}{separator}bias": random(out, seed=len(name))}  # fmt: skip


def norm(name: str) -> Tensors:
    return {f"{name}.weight": 1 + random(WIDTH), f"{name}.bias": random(WIDTH, seed=1)}


def hugging_blocks(prefix: str, count: int = 2) -> Tensors:
    found: Tensors = {}
    for number in range(count):
        name = f"{prefix}.encoder.layers.{number}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            found |= linear(f"{name}.self_attn.{part}", WIDTH, WIDTH)
        found |= norm(f"{name}.layer_norm1") | norm(f"{name}.layer_norm2")
        found |= linear(f"{name}.mlp.fc1", 2 * WIDTH, WIDTH) | linear(f"{name}.mlp.fc2", WIDTH, 2 * WIDTH)
    return found


def clip_tensors() -> Tensors:
    """As transformers names them."""
    patches = (SIZE // PATCH) ** 2
    return {
        "logit_scale": np.array(np.log(50.0), dtype=np.float32),
        "vision_model.embeddings.class_embedding": random(WIDTH),
        "vision_model.embeddings.patch_embedding.weight": random(WIDTH, 3, PATCH, PATCH),
        "vision_model.embeddings.position_embedding.weight": random(patches + 1, WIDTH),
        "vision_model.embeddings.position_ids": np.arange(patches + 1)[None],
        **norm("vision_model.pre_layrnorm"),
        **hugging_blocks("vision_model"),
        **norm("vision_model.post_layernorm"),
        "visual_projection.weight": random(DIMENSION, WIDTH),
        "text_model.embeddings.token_embedding.weight": random(len(clip_vocabulary()), WIDTH),
        "text_model.embeddings.position_embedding.weight": random(LENGTH, WIDTH),
        **hugging_blocks("text_model"),
        **norm("text_model.final_layer_norm"),
        "text_projection.weight": random(DIMENSION, WIDTH, seed=3),
    }


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_clip(folder: Path, tensors: Tensors | None = None, **config: Any) -> Path:
    """A CLIP as transformers saves it."""
    facts = {
        "model_type": "clip",
        "text_config": {"num_attention_heads": 2, "eos_token_id": len(clip_vocabulary()) - 1},
        "vision_config": {"num_attention_heads": 4, "image_size": SIZE, "hidden_act": "gelu"},
        **config,
    }
    write_json(folder / "config.json", facts)
    preprocessing = {
        "size": {"shortest_edge": SIZE},
        "crop_size": SIZE,
        "do_center_crop": True,
        "resample": 3,
        "image_mean": MEAN,
        "image_std": STD,
    }
    write_json(folder / "preprocessor_config.json", preprocessing)
    write_json(folder / "vocab.json", clip_vocabulary())
    (folder / "merges.txt").write_text("#version: 0.2\n")
    save_file(clip_tensors() if tensors is None else tensors, folder / "model.safetensors")
    return folder


def openclip_tensors() -> Tensors:
    """As OpenCLIP and OpenAI name them."""
    found: Tensors = {
        "logit_scale": np.array(np.log(50.0), dtype=np.float32),
        "visual.class_embedding": random(WIDTH),
        "visual.conv1.weight": random(WIDTH, 3, PATCH, PATCH),
        "visual.positional_embedding": random((SIZE // PATCH) ** 2 + 1, WIDTH),
        **norm("visual.ln_pre"),
        **norm("visual.ln_post"),
        "visual.proj": random(WIDTH, DIMENSION),
        "token_embedding.weight": random(len(clip_vocabulary()), WIDTH),
        "positional_embedding": random(LENGTH, WIDTH),
        **norm("ln_final"),
        "text_projection": random(WIDTH, DIMENSION, seed=4),
        "attn_mask": np.zeros((LENGTH, LENGTH), dtype=np.float32),
    }
    for tower in ("visual.transformer", "transformer"):
        name = f"{tower}.resblocks.0"
        found |= linear(f"{name}.attn.in_proj", 3 * WIDTH, WIDTH, separator="_")
        found |= linear(f"{name}.attn.out_proj", WIDTH, WIDTH) | norm(f"{name}.ln_1") | norm(f"{name}.ln_2")
        found |= linear(f"{name}.mlp.c_fc", 2 * WIDTH, WIDTH) | linear(f"{name}.mlp.c_proj", WIDTH, 2 * WIDTH)
    return found


def write_openclip(folder: Path, vision: Any = None, text: Any = None, **config: Any) -> Path:
    model = {
        "embed_dim": DIMENSION,
        "quick_gelu": True,
        "vision_cfg": {"image_size": SIZE, "layers": 1, "width": WIDTH, "head_width": 8, **(vision or {})},
        "text_cfg": {"context_length": LENGTH, "heads": 2, **(text or {})},
        **config,
    }
    write_json(
        folder / "open_clip_config.json", {"model_cfg": model, "preprocess_cfg": {"mean": MEAN, "std": STD}}
    )
    save_file(openclip_tensors(), folder / "open_clip_model.safetensors")
    write_json(folder / "vocab.json", clip_vocabulary())
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return folder


def write_sentence_transformer(folder: Path) -> Path:
    """DistilBERT, mean, dense: as sentence-transformers' multilingual CLIP is."""
    modules = [("0_Transformer", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense")]
    listed = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(modules)
    ]
    write_json(folder / "modules.json", listed)
    inner = folder / "0_Transformer"
    write_json(inner / "config.json", {"model_type": "distilbert", "n_heads": 2, "activation": "gelu"})
    write_json(inner / "sentence_bert_config.json", {"max_seq_length": 10, "do_lower_case": False})
    word_tokenizer().save(str(inner / "tokenizer.json"))
    found: Tensors = {
        "embeddings.word_embeddings.weight": random(4 + len(WORDS), WIDTH),
        "embeddings.position_embeddings.weight": random(LENGTH, WIDTH),
        **norm("embeddings.LayerNorm"),
    }
    name = "transformer.layer.0"
    for part in ("q_lin", "k_lin", "v_lin", "out_lin"):
        found |= linear(f"{name}.attention.{part}", WIDTH, WIDTH)
    found |= norm(f"{name}.sa_layer_norm") | norm(f"{name}.output_layer_norm")
    found |= linear(f"{name}.ffn.lin1", 2 * WIDTH, WIDTH) | linear(f"{name}.ffn.lin2", WIDTH, 2 * WIDTH)
    save_file(found, inner / "model.safetensors")
    write_json(
        folder / "1_Pooling/config.json", {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    )
    write_json(folder / "2_Dense/config.json", {"activation_function": "torch.nn.modules.linear.Identity"})
    save_file({"linear.weight": random(DIMENSION, WIDTH)}, folder / "2_Dense/model.safetensors")
    return folder
