"""The optimiser of both towers, its rates by step, and the running mean of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from crosslens.train.recipe import Rates, Recipe
from crosslens.train.torch_towers import TwoTowers


def make_optimizer(model: TwoTowers, rates: Rates) -> torch.optim.Optimizer:
    """AdamW. Each group's "highest" is what its rate is a part of (`rate_at`)."""
    heads = [model.log_scale, model.bias, *model.image.head_parameters(), *model.text.head_parameters()]
    kinds = (
        (heads, rates.heads),
        (model.text.body_parameters(), rates.text),
        (model.image.body_parameters(), rates.image),
    )
    table = model.text.table
    groups = []
    for values, rate in kinds:
        # Decay would shrink what is seldom used, such as rows of the token table, and what is no matrix.
        decayed = [v for v in values if v.ndim > 1 and v is not table]
        rest = [v for v in values if v.ndim <= 1 or v is table]
        groups += [
            {"params": decayed, "highest": rate, "weight_decay": rates.decay},
            {"params": rest, "highest": rate, "weight_decay": 0.0},
        ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=1e-3, betas=(0.9, 0.98), eps=1e-6)


def rate_at(recipe: Recipe, step: int) -> float:
    """What the highest rates are multiplied by at a step, counted from 0: in (0, 1]."""
    rates = recipe.rates
    if step < rates.warmup:
        return (step + 1) / rates.warmup
    part = (step - rates.warmup) / max(1, recipe.steps - rates.warmup)
    return rates.final + (1 - rates.final) * (1 + float(np.cos(np.pi * part))) / 2


class RunningMean:
    """The mean of a model's weights over the last steps, by name. decay: 0 for the weights as they are."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model, self._decay = model, decay
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def update(self, step: int) -> None:
        """Take in the weights after a step, counted from 0."""
        # A young mean follows quickly, so that it does not remember the start.
        decay = min(self._decay, (1 + step) / (10 + step)) if self._decay else 0.0
        for name, value in self._model.state_dict().items():
            self.weights[name].lerp_(value.detach(), 1 - decay)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Take over what was kept."""
        self.weights = {name: value.to(self.weights[name].device) for name, value in weights.items()}

    @contextmanager
    def in_model(self) -> Iterator[None]:
        """The mean is in the model while a block runs."""
        kept = {name: value.detach().clone() for name, value in self._model.state_dict().items()}
        self._model.load_state_dict(self.weights)
        try:
            yield
        finally:
            self._model.load_state_dict(kept)
