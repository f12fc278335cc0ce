"""A checkpoint with LoRA adapters as the trainer takes a model: only the adapters are trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from crosslens.errors import InputError
from crosslens.models.spec import NetworkSpec
from crosslens.train.lora import Lora, add_adapters
from crosslens.train.pretrained_checkpoints import Pretrained
from crosslens.train.torch_towers import TwoTowers


@dataclass(frozen=True, slots=True)
class AdaptedTower:
    """One of the towers. adapters: its trained parameters. spec: the network in the converter's terms."""

    embed: Callable[[Tensor], Tensor]
    adapters: list[nn.Parameter]
    spec: NetworkSpec
    table: None = None  # of tokens; it is not trained

    def __call__(self, batch: Tensor) -> Tensor:
        """Normalised pixels or ids → (n, d)."""
        return self.embed(batch)

    def head_parameters(self) -> list[nn.Parameter]:
        """None: the projection is frozen."""
        return []

    def body_parameters(self, blocks: int = -1) -> list[nn.Parameter]:
        """The adapters of all blocks."""
        del blocks
        return self.adapters


class AdaptedTowers(TwoTowers):
    """Both towers of a checkpoint, with adapters.

    bias: whether the logit bias is trained; the sigmoid loss needs one. Raises MissingExtraError, InputError.
    state_dict() holds what is trained, and nothing else.
    """

    def __init__(self, pretrained: Pretrained, lora: Lora, *, bias: bool) -> None:
        network = pretrained.network
        adapted = add_adapters(network, lora)
        image, text = ([], [])  # type: tuple[list[nn.Parameter], list[nn.Parameter]]
        for name, value in network.named_parameters():
            if value.requires_grad:
                (image if name.startswith(("vision_model.", "visual.")) else text).append(value)
        facts = pretrained.facts
        towers: Any = (
            AdaptedTower(pretrained.embed_images, image, facts.image_network),
            AdaptedTower(pretrained.embed_texts, text, facts.text_network),
        )
        super().__init__(towers[0], towers[1], (facts.image.mean, facts.image.std), facts.logit_scale)
        self.network = adapted
        self.log_scale = network.logit_scale
        self.log_scale.requires_grad = True
        if getattr(network, "logit_bias", None) is not None:
            self.bias = network.logit_bias
        self.bias.requires_grad = bias
        self._most = max(100.0, facts.logit_scale)

    @property
    def scale(self) -> Tensor:
        """What cosines are multiplied by; at most 100, or what the checkpoint came with."""
        return self.log_scale.exp().clamp(max=self._most)

    def select(self, image_blocks: int, *, text: bool) -> None:
        """Nothing: adapters are trained in all blocks of both towers."""

    def trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The adapters, the logit scale, and the bias where it is trained, by name."""
        return ((name, value) for name, value in self.named_parameters() if value.requires_grad)

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Tensor]:
        """What is trained, by name."""
        return {name: value.detach() for name, value in self.trained()}

    def load_state_dict(self, state_dict: Mapping[str, Tensor], *_: Any, **__: Any) -> None:
        """Take over what `state_dict` gave. Raises InputError where it is of other adapters."""
        own = dict(self.trained())
        if {name: value.shape for name, value in own.items()} != {
            name: value.shape for name, value in state_dict.items()
        }:
            raise InputError(
                "the checkpoint is one of other adapters", "Start the run anew in another folder"
            )
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(state_dict[name])
