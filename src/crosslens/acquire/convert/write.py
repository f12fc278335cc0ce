"""Atomic writing of a bundle: written beside its place, checked, moved there."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslens.errors import ConversionError

# Called with the bytes written so far and those to write in all.
Progress = Callable[[int, int], None]

_CHUNK = 1 << 24
_TYPES = {np.dtype(np.float32): "F32", np.dtype(np.float16): "F16", np.dtype(np.int8): "I8"}


class Draft:
    """A folder that is being written. sums: SHA-256 of what is in it, by name."""

    def __init__(self, folder: Path, total: int, on_progress: Progress | None) -> None:
        self.folder = folder
        self.sums: dict[str, str] = {}
        self._done, self._total, self._on_progress = 0, total, on_progress

    def write(self, name: str, pieces: Iterable[bytes | memoryview]) -> None:
        """A file, safely on the disk when this returns."""
        digest = hashlib.sha256()
        with (self.folder / name).open("xb") as file:
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
                self._done += len(piece)
                if self._on_progress is not None:
                    self._on_progress(min(self._done, self._total), self._total)
            file.flush()
            os.fsync(file.fileno())
        self.sums[name] = digest.hexdigest()

    def write_config(self, config: dict[str, Any]) -> None:
        """config.json, with the sums of all files before it."""
        text = json.dumps({**config, "sha256": self.sums}, indent=1, ensure_ascii=False) + "\n"
        self.write("config.json", [text.encode()])


@contextmanager
def drafted(out: Path, total: int, on_progress: Progress | None = None) -> Iterator[Draft]:
    """A draft that becomes `out` when the block ends well, and vanishes otherwise.

    total: bytes to write, for which there must be room. Raises ConversionError when out exists, cannot be
    made, or there is no room.
    """
    refuse_existing(out)
    folder = out.parent / f".{out.name}.{secrets.token_hex(4)}.part"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(out.parent).free
        if free < total:
            raise ConversionError(*_no_room(out, total))
        folder.mkdir()
        yield Draft(folder, total, on_progress)
        _sync(folder)
        refuse_existing(out)
        folder.rename(out)
        _sync(out.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ConversionError(*_no_room(out, total)) from error
        raise ConversionError(f"{out} cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def refuse_existing(out: Path) -> None:
    """Raise ConversionError when there is something at out already."""
    if out.exists() or out.is_symlink():
        raise ConversionError(f"{out} exists already", "Remove it, or give another folder")


def safetensors_pieces(weights: dict[str, NDArray[Any]]) -> Iterator[bytes | memoryview]:
    """The content of a safetensors file, tensor by tensor, so that no second copy is made of them all."""
    header: dict[str, Any] = {}
    place = 0
    for name, value in weights.items():
        kind = _TYPES[value.dtype]
        header[name] = {
            "dtype": kind,
            "shape": list(value.shape),
            "data_offsets": [place, place + value.nbytes],
        }
        place += value.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield struct.pack("<Q", len(text)) + text
    for value in weights.values():
        little = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
        yield from _sliced(little.reshape(-1).view(np.uint8).data)


def file_pieces(path: Path) -> Iterator[bytes]:
    """The content of a file."""
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece


def _sliced(data: memoryview) -> Iterator[memoryview]:
    for start in range(0, len(data), _CHUNK):
        yield data[start : start + _CHUNK]


def _no_room(out: Path, total: int) -> tuple[str, str]:
    return (
        f"there is no room for {out}: it takes {total / 1e6:,.0f} MB",
        "Make room, or give a folder on another disk",
    )


def _sync(folder: Path) -> None:
    """Make the names in a folder last, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
