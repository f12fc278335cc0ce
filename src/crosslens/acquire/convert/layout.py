"""Names and layouts of weights in other formats → those of `towers.transformer`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslens.acquire.convert.tensors import Tensors
from crosslens.errors import ConversionError

# What checkpoints hold beside their weights.
_NO_WEIGHTS = re.compile(
    r"(.*\.)?(position_ids|attn_mask|token_type_ids|input_resolution|context_length|vocab_size)$"
)


@dataclass(frozen=True, slots=True)
class Block:
    """Names of a transformer's block. attention_in: three tensors, or one that has them joined.

    A name stands for NAME.weight and NAME.bias; one that ends in "_", for NAME_weight and NAME_bias.
    """

    attention_norm: str
    attention_in: tuple[str, ...]
    attention_out: str
    mlp_norm: str
    mlp_in: str
    mlp_out: str


HUGGING = Block(
    "layer_norm1",
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attn.out_proj",
    "layer_norm2",
    "mlp.fc1",
    "mlp.fc2",
)
OPENCLIP = Block("ln_1", ("attn.in_proj_",), "attn.out_proj", "ln_2", "mlp.c_fc", "mlp.c_proj")
TIMM = Block("norm1", ("attn.qkv",), "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
BERT = Block(
    "attention.output.LayerNorm",
    ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention.output.dense",
    "output.LayerNorm",
    "intermediate.dense",
    "output.dense",
)
DISTILBERT = Block(
    "sa_layer_norm",
    ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    "attention.out_lin",
    "output_layer_norm",
    "ffn.lin1",
    "ffn.lin2",
)


class Layout:
    """Moves tensors under their names in a bundle, and knows which were not asked for.

    made: what has been moved, under its new names.
    """

    def __init__(self, tensors: Tensors) -> None:
        self.made: dict[str, NDArray[Any]] = {}
        self._tensors = tensors
        self._used: set[str] = set()

    def has(self, name: str) -> bool:
        """Whether there is such a tensor."""
        return name in self._tensors

    def take(self, name: str) -> NDArray[Any]:
        """A tensor. Raises ConversionError when there is none."""
        if name not in self._tensors:
            raise ConversionError(
                f"{self._tensors.origin} has no tensor {name}",
                "Its weights and its config do not belong together, or it is incomplete: download it again",
            )
        self._used.add(name)
        return self._tensors[name]

    def scalar(self, name: str) -> float:
        """A single number."""
        return float(self.take(name).reshape(-1)[0])

    def table(self, to: str, name: str, first_row: int = 0) -> None:
        """A tensor as it is, or its later rows."""
        self.made[to] = self.take(name)[first_row:]

    def flat(self, to: str, name: str) -> None:
        """A tensor as one row."""
        self.made[to] = self.take(name).reshape(-1)

    def turned(self, to: str, name: str) -> None:
        """A matrix that is multiplied from the left, as a linear layer's weight."""
        self.made[f"{to}.weight"] = np.ascontiguousarray(self.take(name).T)

    def pair(self, to: str, *names: str) -> None:
        """Weights, and biases where there are any; those of several layers are joined."""
        dots = [name if name.endswith("_") else f"{name}." for name in names]
        for part in ("weight", "bias"):
            if part == "weight" or self.has(f"{dots[0]}bias"):
                values = [self.take(f"{dot}{part}") for dot in dots]
                self.made[f"{to}.{part}"] = values[0] if len(values) == 1 else np.concatenate(values)

    def pair_if_there(self, to: str, name: str) -> None:
        """The same, where there is such a layer."""
        if self.has(f"{name}.weight"):
            self.pair(to, name)

    def blocks(self, tower: str, prefix: str, block: Block) -> None:
        """All blocks under prefix.0, prefix.1 and so on."""
        number = 0
        while number == 0 or self.has(f"{prefix}.{number}.{block.mlp_in}.weight"):
            to, name = f"{tower}.blocks.{number}", f"{prefix}.{number}"
            self.pair(f"{to}.attention_norm", f"{name}.{block.attention_norm}")
            self.pair(f"{to}.attention.in", *(f"{name}.{part}" for part in block.attention_in))
            self.pair(f"{to}.attention.out", f"{name}.{block.attention_out}")
            self.pair(f"{to}.mlp_norm", f"{name}.{block.mlp_norm}")
            self.pair(f"{to}.mlp.in", f"{name}.{block.mlp_in}")
            self.pair(f"{to}.mlp.out", f"{name}.{block.mlp_out}")
            number += 1

    def bert(self, prefix: str, *, first_position: int = 0) -> None:
        """BERT's text tower, or one of its kin, up to its last states.

        first_position: row of the positions that the first token gets.
        """
        embeddings = f"{prefix}embeddings"
        self.table("text.tokens", f"{embeddings}.word_embeddings.weight")
        positions = self.take(f"{embeddings}.position_embeddings.weight")[first_position:]
        if self.has(f"{embeddings}.token_type_embeddings.weight"):
            # All tokens are of the first type.
            first_type = self.take(f"{embeddings}.token_type_embeddings.weight")[0]
            positions = positions.astype(np.float32) + first_type.astype(np.float32)
        self.made["text.positions"] = positions
        self.pair("text.first_norm", f"{embeddings}.LayerNorm")
        if self.has(f"{prefix}transformer.layer.0.{DISTILBERT.mlp_in}.weight"):
            self.blocks("text", f"{prefix}transformer.layer", DISTILBERT)
        else:
            self.blocks("text", f"{prefix}encoder.layer", BERT)

    def refuse_rest(self, allowed: str = "") -> None:
        """Raise ConversionError when tensors were left: then this is another network than it seemed.

        allowed: a pattern of names that may be left.
        """
        rest = [name for name in self._tensors if name not in self._used and not _NO_WEIGHTS.match(name)]
        rest = [name for name in rest if not (allowed and re.match(allowed, name))]
        if rest:
            more = f" and {len(rest) - 3} more" if len(rest) > 3 else ""
            raise ConversionError(
                f"{self._tensors.origin} has parts that are not supported: "
                f"{', '.join(sorted(rest)[:3])}{more}",
                "Supported are plain vision and text transformers as in CLIP, OpenCLIP, SigLIP, Chinese-CLIP",
            )
