"""The towers as torch modules.

Pixels or ids in, raw vectors out, weights under the names that bundles have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from crosslens.models.spec import NetworkSpec
from crosslens.towers.torch_ops import TorchOps
from crosslens.towers.transformer import image_tower, text_tower
from crosslens.train.frozen_blocks import FrozenBlocks


class NetworkTower(nn.Module):
    """A transformer of `towers.transformer` whose weights are trained.

    tower: "image" or "text". weights: by their names in a bundle, float32.
    """

    def __init__(
        self, tower: str, spec: NetworkSpec, weights: Mapping[str, NDArray[np.float32]], pad_id: int = 0
    ) -> None:
        super().__init__()
        self.tower, self.spec, self.pad_id = tower, spec, pad_id
        # A module's names hold no dots.
        self.values = nn.ParameterDict(
            {name.replace(".", "/"): nn.Parameter(torch.from_numpy(np.array(w, np.float32)))
             for name, w in weights.items()}
        )  # fmt: skip

    def forward(self, batch: Tensor) -> Tensor:
        """Normalised pixels float32 (n, 3, s, s), or ids int64 (n, t) → (n, d)."""
        ops = TorchOps({name.replace("/", "."): value for name, value in self.values.items()})
        if self.tower == "image":
            return image_tower(ops, self.spec, batch)
        return text_tower(ops, self.spec, batch, self.pad_id)

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """As they stand, by their names in a bundle."""
        return {name.replace("/", "."): value.detach().numpy() for name, value in self.values.items()}

    @property
    def table(self) -> Any:
        """The token table of a text tower; None for an image tower."""
        return dict(self.values.items()).get("text/tokens")

    def head_parameters(self) -> list[nn.Parameter]:
        """The projection into the space."""
        return [value for name, value in self.values.items() if "/projection/" in name]

    def body_parameters(self, blocks: int = -1) -> list[nn.Parameter]:
        """All but the projection; or those of the last so many blocks, and what comes after them."""
        last = max((_block(name) for name in self.values), default=-1)
        first = 0 if blocks < 0 else last + 1 - blocks
        kept = []
        for name, value in self.values.items():
            after = _block(name) >= first or "/final_norm/" in name or "/pool/" in name
            if "/projection/" not in name and (blocks < 0 or (blocks > 0 and after)):
                kept.append(value)
        return kept


def _block(name: str) -> int:
    parts = name.split("/")
    return int(parts[2]) if len(parts) > 2 and parts[1] == "blocks" else -1


class PooledHead(nn.Module):
    """The last map of a convolutional network → a vector.

    The mean over the map, corrected by learned poolings (each attends to places for its share of the
    channels; none at the start), through a linear layer plus a hidden layer beside it.
    """

    def __init__(self, channels: int, dimension: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.Conv2d(channels, heads, 1)
        nn.init.zeros_(self.attention.weight)
        nn.init.zeros_(self.attention.bias)
        self.linear = nn.Linear(channels, dimension)
        self.hidden = nn.Linear(channels, hidden) if hidden else None
        self.out = nn.Linear(hidden, dimension) if hidden else None

    def forward(self, states: Tensor) -> Tensor:
        """(n, c, h, w) → (n, d)."""
        heads = self.attention.out_channels
        weights = torch.softmax(self.attention(states).flatten(2).float(), dim=2)  # (n, heads, places)
        parts = states.flatten(2).unflatten(1, (heads, -1))  # (n, heads, c / heads, places)
        pooled = (parts * weights[:, :, None].to(parts.dtype)).sum(dim=3).flatten(1)
        vectors = self.linear(pooled)
        if self.hidden is None or self.out is None:
            return vectors
        return vectors + self.out(functional.gelu(self.hidden(pooled)))


class ClassNames(nn.Module):
    """The last map of a network with a classifier of its own → a mix of the vectors of its classes' names.

    Names of the classes that the classifier sees, the likelier the more: what no caption of the training
    pictures mentions is still found by its name. Source: Norouzi et al., ICLR 2014 (ConSE).
    names: float32 (classes, d), unit length. weight: of the mix. temperature: of the classifier's softmax.
    """

    def __init__(self, classifier: nn.Linear, names: Tensor, weight: float, temperature: float) -> None:
        super().__init__()
        self.classifier = nn.Linear(classifier.in_features, classifier.out_features)
        self.names = nn.Parameter(weight * (names - names.mean(dim=0)), requires_grad=False)
        with torch.no_grad():
            self.classifier.weight.copy_(classifier.weight / temperature)
            self.classifier.bias.copy_(classifier.bias / temperature)

    def forward(self, states: Tensor) -> Tensor:
        """(n, c, h, w) → (n, d)."""
        likely = torch.softmax(self.classifier(states.mean(dim=(2, 3))).float(), dim=1)
        return likely @ self.names


class ConvolutionalTower(nn.Module):
    """An image network of convolutional blocks, and a pooled head.

    blocks: from pixels to the last map, in order. class_names: what is added to the head's unit vectors.
    """

    def __init__(self, blocks: nn.ModuleList, head: PooledHead) -> None:
        super().__init__()
        self.blocks, self.head = blocks, head
        self.class_names: ClassNames | None = None
        self.trained_blocks = len(blocks)
        self.frozen: FrozenBlocks | None = None
        self.frozen_blocks = 0

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels float32 (n, 3, s, s) → (n, d). Blocks that are not trained keep no gradients."""
        states = self.last_map(pixels)
        vectors = self.head(states)
        if self.class_names is None:
            return vectors
        return functional.normalize(vectors, dim=1) + self.class_names(states)

    def last_map(self, pixels: Tensor) -> Tensor:
        """(n, c, h, w), before the head."""
        fixed = len(self.blocks) - self.trained_blocks
        with torch.no_grad():
            done = 0
            if self.frozen is not None:
                pixels, done = self.frozen(pixels), self.frozen_blocks
                pixels = pixels.contiguous(memory_format=torch.channels_last)
            for block in self.blocks[done:fixed]:
                pixels = block(pixels)
        for block in self.blocks[max(fixed, done) :]:
            pixels = block(pixels)
        return pixels

    def freeze(self, trained: int) -> None:
        """Run all but the last so many blocks by OpenVINO from now on; they must not change any more."""
        self.frozen_blocks = len(self.blocks) - trained
        self.frozen = FrozenBlocks(self.blocks[: self.frozen_blocks])

    def head_parameters(self) -> list[nn.Parameter]:
        """Those of the pooled head."""
        return list(self.head.parameters())

    def body_parameters(self, blocks: int = -1) -> list[nn.Parameter]:
        """Those of the last so many blocks; all for -1."""
        first = 0 if blocks < 0 else len(self.blocks) - blocks
        return [value for block in self.blocks[first:] for value in block.parameters()]


class TwoTowers(nn.Module):
    """Both towers with the scale and bias of their cosines.

    pixels arrive as uint8 (n, 3, s, s); mean and std: per channel, of values in [0, 1].
    """

    def __init__(
        self,
        image: NetworkTower | ConvolutionalTower,
        text: NetworkTower,
        norm: tuple[tuple[float, float, float], tuple[float, float, float]],
        logit_scale: float,
        logit_bias: float = 0.0,
    ) -> None:
        super().__init__()
        self.image, self.text = image, text
        self.log_scale = nn.Parameter(torch.tensor(math.log(logit_scale)))
        self.bias = nn.Parameter(torch.tensor(float(logit_bias)))
        for name, values in zip(("pixel_mean", "pixel_std"), norm, strict=True):
            self.register_buffer(name, torch.tensor(values).mul(255).reshape(1, 3, 1, 1), persistent=False)

    def embed_images(self, pixels: Tensor) -> Tensor:
        """uint8 (n, 3, s, s) → float32 (n, d), unit length."""
        normalised = (pixels.float() - self.pixel_mean) / self.pixel_std
        if isinstance(self.image, ConvolutionalTower):
            normalised = normalised.contiguous(memory_format=torch.channels_last)
        return functional.normalize(self.image(normalised).float(), dim=1)

    def embed_texts(self, ids: Tensor) -> Tensor:
        """int64 (n, t) → float32 (n, d), unit length."""
        return functional.normalize(self.text(ids).float(), dim=1)

    @property
    def scale(self) -> Tensor:
        """What cosines are multiplied by; at most 100, as in CLIP."""
        return self.log_scale.exp().clamp(max=100)

    def select(self, image_blocks: int, *, text: bool) -> None:
        """Train the heads, the last image blocks (-1: all), and the text tower or not; freeze the rest."""
        for value in self.parameters():
            value.requires_grad = False
        trained = [self.log_scale, self.bias, *self.image.head_parameters(), *self.text.head_parameters()]
        trained += self.image.body_parameters(image_blocks)
        trained += self.text.body_parameters() if text else []
        for value in trained:
            value.requires_grad = True
        if isinstance(self.image, ConvolutionalTower):
            blocks = len(self.image.blocks)
            self.image.trained_blocks = blocks if image_blocks < 0 else min(image_blocks, blocks)
