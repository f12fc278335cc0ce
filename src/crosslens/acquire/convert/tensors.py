"""Tensors of other formats as numpy arrays, by name, each read when it is asked for."""

from __future__ import annotations

import json
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslens.errors import ConversionError, MissingExtraError

Array = NDArray[Any]
_AGAIN = "Download it again"


class Tensors(Mapping[str, Array]):
    """Names and what reads them: float16 stays so, all other floating point becomes float32."""

    def __init__(self, origin: str, readers: Mapping[str, Callable[[], Array]]) -> None:
        self.origin = origin
        self._readers = readers

    def __getitem__(self, name: str) -> Array:
        value = self._readers[name]()
        return value if value.dtype == np.float16 else value.astype(np.float32, copy=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)


def safetensors(files: list[Path]) -> Tensors:
    """Of safetensors files, which may be shards of one model. Raises ConversionError for damaged ones."""
    readers: dict[str, Callable[[], Array]] = {}
    for path in files:
        readers |= _readers(path)
    return Tensors(str(files[0] if len(files) == 1 else files[0].parent), readers)


def _readers(path: Path) -> dict[str, Callable[[], Array]]:
    from safetensors import SafetensorError, safe_open

    try:
        file: Any = safe_open(path, framework="numpy")
        names = list(file.keys())
        types = {name: file.get_slice(name).get_dtype() for name in names}
    except (SafetensorError, OSError) as error:
        raise ConversionError(f"{path} is damaged or incomplete ({error})", _AGAIN) from error

    def reader(name: str) -> Callable[[], Array]:
        if types[name] == "BF16":  # which numpy does not know
            return lambda: _bfloat16(path, name)
        return lambda: _tensor(file, path, name)

    return {name: reader(name) for name in names}


def _tensor(file: Any, path: Path, name: str) -> Array:
    try:
        value: Array = file.get_tensor(name)
    except Exception as error:  # the library raises plain exceptions for types that numpy lacks
        raise ConversionError(
            f"{path}: {name} cannot be read ({error})", "Wanted are float32, float16 and bfloat16"
        ) from error
    return value


def _bfloat16(path: Path, name: str) -> Array:
    """The upper halves of float32 numbers, made whole. The file's header has been checked."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        entry = json.loads(file.read(length))[name]
        start, end = entry["data_offsets"]
        file.seek(8 + length + start)
        halves = np.frombuffer(file.read(end - start), dtype="<u2")
    return (halves.astype(np.uint32) << 16).view(np.float32).reshape(entry["shape"])


def pickled(files: list[Path]) -> Tensors:
    """Of PyTorch's pickles, which are read with weights_only. Raises MissingExtraError, ConversionError."""
    torch = _torch()
    values: dict[str, Any] = {}
    for path in files:
        try:
            values |= _state(torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:  # torch raises many kinds
            raise ConversionError(
                f"{path} is no checkpoint that can be read safely ({_first_line(error)})", _AGAIN
            ) from error
    return _of_torch(str(files[0]), values)


def torchscript(path: Path) -> Tensors:
    """Of OpenAI's archives, or of a pickle under the same ending."""
    torch = _torch()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated, and the only reader of what OpenAI published
            state = torch.jit.load(str(path), map_location="cpu").state_dict()
    except RuntimeError:
        return pickled([path])
    return _of_torch(str(path), dict(state))


def _state(value: Any) -> dict[str, Any]:
    """The table of tensors in a checkpoint, without what training put around it."""
    table = value.get("state_dict", value) if isinstance(value, dict) else None
    if not isinstance(table, dict) or not table:
        raise ValueError("it holds no table of tensors")
    return {name.removeprefix("module."): tensor for name, tensor in table.items()}


def _of_torch(origin: str, values: dict[str, Any]) -> Tensors:
    import torch

    def reader(tensor: Any) -> Callable[[], Array]:
        def read() -> Array:
            kept = tensor if tensor.dtype in (torch.float16, torch.float32) else tensor.float()
            value: Array = kept.detach().cpu().numpy()
            return value

        return read

    tensors = {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}
    return Tensors(origin, {name: reader(value) for name, value in tensors.items()})


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("torch", "torch") from error
    return torch


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
