"""Weights on disk: a safetensors file, read by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
