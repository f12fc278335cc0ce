"""Cache of compiled OpenVINO graphs on disk, checked before use.

OpenVINO uses a compiled graph without looking whether it is whole, and a flipped bit gives wrong vectors. So
each comes with a note: its checksum, and the size and time of the files it was made from, which need not be
read again while they are as they were.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslens.checksum import checksum


def load_compiled(file: Path, sources: Sequence[Path]) -> NDArray[np.uint8] | None:
    """A compiled graph, mapped into memory; None if none is there that is whole and of these sources."""
    try:
        note = json.loads(_note(file).read_text())
        if note != {"checksum": checksum(file), "sources": _state(sources)}:
            return None
        return np.memmap(file, np.uint8, "r")
    except (OSError, ValueError):
        return None


def save_compiled(file: Path, data: bytes | memoryview, sources: Sequence[Path]) -> None:
    """Keep a compiled graph; failing to costs time at the next start, no more."""
    draft = file.with_suffix(f".{os.getpid()}.draft")
    with contextlib.suppress(OSError):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            _note(file).unlink(missing_ok=True)
            draft.write_bytes(data)
            state = {"checksum": checksum(draft), "sources": _state(sources)}
            draft.replace(file)
            draft.write_text(json.dumps(state))
            draft.replace(_note(file))
        finally:
            draft.unlink(missing_ok=True)


def _note(file: Path) -> Path:
    return file.with_suffix(".json")


def _state(sources: Sequence[Path]) -> list[list[Any]]:
    status = [path.stat() for path in sources]
    return [[path.name, s.st_size, s.st_mtime_ns] for path, s in zip(sources, status, strict=True)]
