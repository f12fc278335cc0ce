"""Checkpoints: everything that the next step depends on, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from crosslens.errors import InputError


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values; a kill at any moment leaves the checkpoint before it."""
    draft = path.with_name(f"{path.name}.draft")
    with draft.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What was saved; nothing in the file is run. Raises InputError."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises plain RuntimeError, and pickle's own
        raise InputError(
            f"{path} is no checkpoint that can be read ({str(error).splitlines()[0]})",
            "Start the run anew in another folder",
        ) from error
    return state
