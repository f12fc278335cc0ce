"""A ViT-B/32 with random weights in the formats of the peers: one set of weights, one set of vectors.

Needs torch, transformers and open_clip.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

VOCABULARY = 49408
_IN_A_BLOCK = (
    ("self_attn.out_proj", "attn.out_proj"),
    ("layer_norm1", "ln_1"),
    ("layer_norm2", "ln_2"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
)


def declare_missing_operators() -> Any:
    """With torch for the CPU only, torchvision's import looks for two operators that are not there."""
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        try:
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        except RuntimeError:  # the full torchvision has them
            break
    return library


def write_transformers_clip(
    folder: Path,
    size: int = 224,
    vision: dict[str, int] | None = None,
    dimension: int = 512,
    seed: int = 0,
) -> None:
    """A CLIP in the format of transformers: config, safetensors, tokeniser, preprocessor."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    text = {"eos_token_id": VOCABULARY - 1, "bos_token_id": VOCABULARY - 2, "pad_token_id": VOCABULARY - 1}
    config = CLIPConfig(
        text_config=text, vision_config={"image_size": size, **(vision or {})}, projection_dim=dimension
    )
    model = CLIPModel(config).eval()
    with torch.no_grad():  # the initial weights are so small that every picture gives the same vector
        for name, weight in model.named_parameters():
            if weight.ndim == 2 and "embedding" not in name:
                torch.nn.init.xavier_uniform_(weight)
    model.save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": size}, crop_size=size).save_pretrained(folder)
    write_clip_vocabulary(folder)


def write_clip_vocabulary(folder: Path) -> None:
    """vocab.json and merges.txt of CLIP's tokeniser, from the copy that open_clip carries."""
    import open_clip

    path = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(path.read_bytes()).decode().split("\n")[1 : VOCABULARY - 2 * 256 - 2 + 1]
    letters = list(open_clip.tokenizer.bytes_to_unicode().values())
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(line.split()) for line in lines)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    assert len(tokens) == VOCABULARY
    ids = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(lines) + "\n")


def open_clip_weights(state: dict[str, Any]) -> dict[str, Any]:
    """The same weights under open_clip's names."""
    import torch

    found = {"logit_scale": state["logit_scale"]}
    for tower, source, name in (("vision_model", "encoder.layers", "visual.transformer.resblocks"),
                                ("text_model", "encoder.layers", "transformer.resblocks")):  # fmt: skip
        number = 0
        while f"{tower}.{source}.{number}.mlp.fc1.weight" in state:
            old, new = f"{tower}.{source}.{number}", f"{name}.{number}"
            for kind in ("weight", "bias"):
                parts = [state[f"{old}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
                found[f"{new}.attn.in_proj_{kind}"] = torch.cat(parts)
                for a, b in _IN_A_BLOCK:
                    found[f"{new}.{b}.{kind}"] = state[f"{old}.{a}.{kind}"]
            number += 1
    for kind in ("weight", "bias"):
        found[f"visual.ln_pre.{kind}"] = state[f"vision_model.pre_layrnorm.{kind}"]
        found[f"visual.ln_post.{kind}"] = state[f"vision_model.post_layernorm.{kind}"]
        found[f"ln_final.{kind}"] = state[f"text_model.final_layer_norm.{kind}"]
    found["visual.class_embedding"] = state["vision_model.embeddings.class_embedding"]
    found["visual.conv1.weight"] = state["vision_model.embeddings.patch_embedding.weight"]
    found["visual.positional_embedding"] = state["vision_model.embeddings.position_embedding.weight"]
    found["visual.proj"] = state["visual_projection.weight"].T.contiguous()
    found["token_embedding.weight"] = state["text_model.embeddings.token_embedding.weight"]
    found["positional_embedding"] = state["text_model.embeddings.position_embedding.weight"]
    found["text_projection"] = state["text_projection.weight"].T.contiguous()
    return found
