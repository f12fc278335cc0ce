"""Checks of derived files: whole, and holding the vectors of the database.

A matrix has checksums, so where it is whole and a vector of the database differs, the database is damaged.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crosslens.checksum import checksum
from crosslens.store.vector_matrix import DERIVED, open_files
from crosslens.store.vector_snapshot import stamp_of
from crosslens.types import Int64

_PAGE = 4096


def folders(library: Path) -> list[Path]:
    """The derived folders, drafts among them."""
    try:
        return sorted(path for path in (library / DERIVED).iterdir() if path.is_dir())
    except OSError:
        return []


def current(library: Path, stamp: tuple[str, int]) -> list[Path]:
    """Those that were made from the library as it is."""
    return [path for path in folders(library) if path.name.partition("-")[0] == str(stamp[1])]


def damaged_files(db: sqlite3.Connection, library: Path) -> Iterator[str]:
    """What is wrong with each derived folder of now; one that is deleted or replaced meanwhile is passed."""
    for folder in current(library, stamp_of(db)):
        before = _state(folder)
        wrong = _wrong_files(folder)
        if wrong and before is not None and _state(folder) == before:
            yield f"{folder}: not as it was written: {', '.join(wrong)}"


def _wrong_files(folder: Path) -> list[str]:
    try:
        facts = json.loads((folder / "stamp.json").read_text())
        return [
            name
            for name, (size, wanted) in facts["files"].items()
            if (folder / name).stat().st_size != size or checksum(folder / name) != wanted
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return [f"stamp.json ({error})"]


def _state(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from one that takes its place; None: there is none."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns


def differing_vectors(db: sqlite3.Connection, library: Path) -> Iterator[int]:
    """Items whose vectors in the database are not those in a matrix that is whole."""
    damaged = {line.partition(": not as")[0] for line in damaged_files(db, library)}
    query = "SELECT value FROM meta WHERE key IN ('model.identity', 'target.identity')"
    models = {value: stamp_of(db, value)[0] for (value,) in db.execute(query).fetchall()}
    for folder in current(library, stamp_of(db)):
        if str(folder) in damaged or not (folder / "index.faiss").exists():
            continue
        try:
            facts = json.loads((folder / "stamp.json").read_text())
            index, ids = open_files(folder)
        except (OSError, ValueError, RuntimeError):  # deleted since
            continue
        if facts["library"] == models.get(facts["model"]):
            yield from _differing(db, facts["model"], index, ids)


def _differing(db: sqlite3.Connection, model: str, index: Any, ids: Int64) -> Iterator[int]:
    query = "SELECT vector FROM items JOIN vectors USING (hash) WHERE items.id = ? AND model = ?"
    for start in range(0, len(ids), _PAGE):
        numbers = ids[start : start + _PAGE].tolist()
        # Decoded float16 is float16 again without loss.
        kept = index.reconstruct_n(start, len(numbers)).astype("<f2")
        for number, vector in zip(numbers, kept, strict=True):
            row = db.execute(query, (number, model)).fetchone()
            # Of another length or none: other checks say so.
            if row is not None and len(row[0]) == vector.nbytes and row[0] != vector.tobytes():
                yield number
