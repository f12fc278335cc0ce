"""Weights on disk: a safetensors file, read by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslens.errors import BundleError


def read_weights(path: Path, prefix: str = "") -> dict[str, NDArray[Any]]:
    """The tensors whose names begin so: float32, float16, or int8 beside a scale for each row (NAME.scale).

    Raises BundleError for what is no such file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError) as error:
        raise BundleError(
            f"{path} is not a file of weights ({error})", "Copy the whole bundle again"
        ) from error


def rows_in_int8(value: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A matrix (n, m) as int8 with a scale for each row: int8 (n, m), float32 (n,)."""
    scale = np.abs(value).max(axis=1).astype(np.float32).clip(1e-12) / 127
    return np.rint(value / scale[:, None]).astype(np.int8), scale


def as_floats(weights: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Weights with what is int8 widened to float32 by its scales, which are left out."""
    found: dict[str, NDArray[Any]] = {}
    for name, value in weights.items():
        if value.dtype == np.int8:
            found[name] = value * weights[f"{name}.scale"].astype(np.float32)[:, None]
        elif weights.get(name.removesuffix(".scale"), value).dtype != np.int8:
            found[name] = value
    return found
