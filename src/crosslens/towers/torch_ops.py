"""`towers.transformer` in torch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from crosslens.models.spec import Activation


class TorchOps:
    """See `towers.transformer.Ops`; weights lie on the device and in the dtype that it computes in."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights

    def has(self, name: str) -> bool:
        return name in self._weights

    def patches(self, pixels: Tensor, name: str) -> Tensor:
        kernel = self._weights[f"{name}.weight"]
        states = functional.conv2d(pixels, kernel, self._weights.get(f"{name}.bias"), stride=kernel.shape[2:])
        return states.flatten(2).transpose(1, 2)

    def look_up(self, ids: Tensor, name: str) -> Tensor:
        return functional.embedding(ids, self._weights[name])

    def prepend(self, states: Tensor, name: str) -> Tensor:
        return torch.cat([self.learned(name, states), states], dim=1)

    def place(self, states: Tensor, name: str) -> Tensor:
        return states + self._weights[name][: states.shape[1]]

    def add(self, one: Tensor, other: Tensor) -> Tensor:
        return one + other

    def linear(self, states: Tensor, name: str) -> Tensor:
        return functional.linear(states, self._weights[f"{name}.weight"], self._weights.get(f"{name}.bias"))

    def norm(self, states: Tensor, name: str, epsilon: float) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights.get(f"{name}.bias")
        return functional.layer_norm(states, states.shape[-1:], weight, bias, epsilon)

    def activate(self, states: Tensor, kind: Activation) -> Tensor:
        if kind == "quick_gelu":
            return states * torch.sigmoid(1.702 * states)
        return functional.gelu(states, approximate="tanh" if kind == "gelu_tanh" else "none")

    def split(self, states: Tensor, parts: int) -> list[Tensor]:
        return list(states.chunk(parts, dim=-1))

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, heads: int, *, causal: bool, seen: Tensor | None
    ) -> Tensor:
        query, key, value = (s.unflatten(-1, (heads, -1)).transpose(1, 2) for s in (query, key, value))
        mask = None if seen is None else seen[:, None, None, :]
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
        return mixed.transpose(1, 2).flatten(2)

    def learned(self, name: str, like: Tensor) -> Tensor:
        return self._weights[name].expand(like.shape[0], 1, -1)

    def differs(self, ids: Tensor, number: int) -> Tensor:
        return ids != number

    def row(self, states: Tensor, index: int) -> Tensor:
        return states[:, index]

    def row_of(self, states: Tensor, ids: Tensor, number: int) -> Tensor:
        place = (ids == number).int().argmax(dim=1)
        return states[torch.arange(len(states), device=states.device), place]

    def mean(self, states: Tensor, seen: Tensor | None) -> Tensor:
        if seen is None:
            return states.mean(dim=1)
        kept = seen[:, :, None].to(states.dtype)
        return (states * kept).sum(dim=1) / kept.sum(dim=1)
