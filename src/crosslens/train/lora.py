"""LoRA by peft on a network of transformers or open_clip: which layers, adding, saving, merging.

Source: Hu et al., ICLR 2022: W + (alpha / rank) · B A, with B = 0 at the start and only A and B trained.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from crosslens.errors import InputError, MissingExtraError
from crosslens.train.torchvision_compat import load_torchvision

# Where the blocks of a tower are, in transformers, open_clip and timm.
_IN_BLOCK = re.compile(r"\.(?:layers?|resblocks|blocks)\.\d+\.")


@dataclass(frozen=True, slots=True)
class Lora:
    """The adapters of a run.

    rank: of A and B. alpha: what their product is multiplied by, times rank. dropout: of the layer's input.
    targets: names of layers, whole or their last part; () for all linear layers of all blocks.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ()


class SplitAttention(nn.Module):
    """nn.MultiheadAttention of open_clip's blocks, with its two projections as linear layers.

    There they are plain parameters of one fused operation, which no adapter can stand beside. The weights
    are the same objects, so what is merged into these layers is in the original too.
    """

    def __init__(self, original: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads = original.num_heads
        self.in_proj = nn.Linear(original.embed_dim, 3 * original.embed_dim, device="meta")
        self.in_proj.weight, self.in_proj.bias = original.in_proj_weight, original.in_proj_bias
        self.out_proj = nn.Linear(original.embed_dim, original.embed_dim, device="meta")
        self.out_proj.weight, self.out_proj.bias = original.out_proj.weight, original.out_proj.bias
        self._original = (original,)  # in a tuple, so that its parameters are not counted twice

    @property
    def original(self) -> nn.MultiheadAttention:
        """The layer that this one stands for."""
        return self._original[0]

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        need_weights: bool = False,
        attn_mask: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """Self-attention: (n, t, w) → (n, t, w); key and value are the query. attn_mask: (t, t), added."""
        del key, value, need_weights
        parts = self.in_proj(query).unflatten(-1, (3, self.heads, -1))  # (n, t, 3, heads, w / heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        mask = None if attn_mask is None else attn_mask.to(q.dtype)
        states = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out_proj(states.transpose(1, 2).flatten(2)), None


def split_attention(network: nn.Module) -> None:
    """Put a SplitAttention in the place of each nn.MultiheadAttention of the blocks."""
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.MultiheadAttention) and _splittable(name, module):
            _put(network, name, SplitAttention(module))


def join_attention(network: nn.Module) -> None:
    """Put the originals back."""
    for name, module in list(network.named_modules()):
        if isinstance(module, SplitAttention):
            _put(network, name, module.original)


def choose_layers(network: nn.Module, targets: Sequence[str]) -> list[str]:
    """Names of the linear layers that get adapters.

    Raises InputError for a target that names none, with those that there are.
    """
    layers = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and _IN_BLOCK.search(f".{name}")
    ]
    if not targets:
        return layers
    chosen = []
    for target in targets:
        fitting = [name for name in layers if f".{name}".endswith(f".{target}")]
        if not fitting:
            there = ", ".join(sorted({name.rpartition(".")[2] for name in layers}))
            raise InputError(
                f"the checkpoint has no layer {target!r} to adapt", f"Wanted auto, or any of {there}"
            )
        chosen += [name for name in fitting if name not in chosen]
    return chosen


def add_adapters(network: nn.Module, lora: Lora) -> nn.Module:
    """The network with adapters in its layers; all else is frozen. Raises MissingExtraError, InputError."""
    peft = _peft()
    split_attention(network)
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=choose_layers(network, lora.targets),
    )
    return peft.get_peft_model(network, config)


def save_adapter(adapted: nn.Module, folder: Path) -> None:
    """adapter_model.safetensors and adapter_config.json, as peft reads them."""
    adapted.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # peft's own, an empty form


def merge_adapter(network: nn.Module, folder: Path) -> nn.Module:
    """The network as it was read, with a saved adapter added to its weights."""
    split_attention(network)
    merged = _peft().PeftModel.from_pretrained(network, str(folder)).merge_and_unload()
    join_attention(merged)
    return merged


def _peft() -> Any:
    load_torchvision()
    try:
        import peft
    except ImportError as error:
        raise MissingExtraError("peft", "adapters") from error
    return peft


def _splittable(name: str, module: nn.MultiheadAttention) -> bool:
    plain = module._qkv_same_embed_dim and module.in_proj_bias is not None and module.bias_k is None
    return bool(_IN_BLOCK.search(f".{name}")) and plain and module.batch_first and not module.dropout


def _put(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, module)
