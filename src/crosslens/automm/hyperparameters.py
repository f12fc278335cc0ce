"""AutoMM's presets and hyperparameters: which model they name, and what they say of training."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from crosslens.arguments import brief, number, whole
from crosslens.errors import CrosslensWarning, InputError, UnknownModelError, warn
from crosslens.matching.matcher import Matcher
from crosslens.models.catalogue import STARTER

PRESETS = {
    "default": STARTER,
    "medium_quality": "openai/clip-vit-base-patch32",
    "high_quality": "openai/clip-vit-large-patch14",
    "best_quality": "openai/clip-vit-large-patch14-336",
}
_CHECKPOINT = ".checkpoint_name"
# AutoMM's keys, of today and of before 1.2, → ours. What comes first has the last word.
_TRAINING = {
    "optim.lr": "rate",
    "optimization.learning_rate": "rate",
    "optim.max_epochs": "epochs",
    "optimization.max_epochs": "epochs",
    "optim.max_steps": "steps",
    "optimization.max_steps": "steps",
    "optim.patience": "patience",
    "optimization.patience": "patience",
    "env.batch_size": "batch",
    "env.per_gpu_batch_size": "batch",
}


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """What is heeded here; None: not given.

    checkpoint: the model, a name or a bundle folder. rate: the highest learning rate. epochs, steps: at most
    so many passes over the training pictures, so many steps. batch: pairs a step. patience: validations
    without a better recall before training ends.
    """

    checkpoint: str | None = None
    rate: float | None = None
    epochs: int | None = None
    steps: int | None = None
    batch: int | None = None
    patience: int | None = None

    def over(self, other: Hyperparameters) -> Hyperparameters:
        """Those of `other`, but where these say something."""
        said = {name: value for name, value in asdict(self).items() if value is not None}
        return replace(other, **said)


def read_hyperparameters(given: Any) -> Hyperparameters:
    """From a dict, from "key=value key=value", or from a list of such; the rest is warned of.

    Raises InputError for several models, and for a value that cannot be.
    """
    values = _as_mapping(given)
    named = {value for key, value in values.items() if str(key).endswith(_CHECKPOINT)}
    if len(named) > 1:
        problem = f"hyperparameters name several models: {sorted(map(str, named))}"
        raise InputError(problem, "Name one for both sides")
    known = [key for key in values if key in _TRAINING]
    ignored = sorted(str(key) for key in values if key not in known and not str(key).endswith(_CHECKPOINT))
    if ignored:
        message = f"hyperparameters without effect here: {', '.join(ignored)}"
        warn(CrosslensWarning(message))
    found: dict[str, Any] = {}
    for key, ours in _TRAINING.items():
        if key in values and ours not in found and not (ours == "steps" and values[key] == -1):
            found[ours] = number(key, values[key]) if ours == "rate" else whole(key, values[key])
    return Hyperparameters(os.fspath(named.pop()) if named else None, **found)


def _as_mapping(given: Any) -> dict[Any, Any]:
    """What is given in any of AutoMM's three forms, as a dict. Raises InputError."""
    if given is None or isinstance(given, Mapping):
        return dict(given or {})
    words = given.split() if isinstance(given, str) else given
    if not isinstance(words, Sequence) or not all(isinstance(word, str) and "=" in word for word in words):
        problem = f"hyperparameters are {brief(given)}"
        raise InputError(problem, 'Give a dict, or "key=value key=value"')
    pairs = (word.split("=", 1) for word in words)
    return {key: _value(text) for key, text in pairs}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def open_model(presets: str | None, checkpoint: str | None) -> Matcher:
    """The matcher that a preset or a checkpoint name stands for; a checkpoint name has the last word.

    Raises UnknownModelError, with the presets that are known, or BundleError.
    """
    asked = os.fspath(checkpoint or presets or STARTER)
    name = PRESETS.get(asked, asked)
    try:
        return Matcher(name)
    except UnknownModelError as error:
        stands_for = f"{asked!r} stands for {name}: " if name != asked else ""
        remedy = f"{error.remedy}. Presets: {', '.join(PRESETS)}"
        raise UnknownModelError(stands_for + error.problem, remedy) from error
