"""Compiled graphs on disk, kept by OpenVINO and checked by us.

OpenVINO uses a cached graph without looking whether it is whole, and a flipped bit gives wrong vectors. So
each graph has a folder of its own, in which every file needs the checksum that was written when it was new.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from crosslens.checksum import checksum

_SUMS = "checksums.json"


def sound_cache(folder: Path) -> None:
    """Make the folder, and delete from it whatever is not as it was sealed. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        sums = json.loads((folder / _SUMS).read_text())
    except (OSError, ValueError):
        sums = {}
    for file in folder.glob("*.blob"):
        if sums.get(file.name) != checksum(file):
            file.unlink(missing_ok=True)


def seal_cache(folder: Path) -> None:
    """Note the checksums of what is in the folder now; failing to costs time at the next start, no more."""
    with contextlib.suppress(OSError):
        sums = {file.name: checksum(file) for file in folder.glob("*.blob")}
        draft = folder / f"{_SUMS}.draft"
        draft.write_text(json.dumps(sums))
        draft.replace(folder / _SUMS)
