"""Files of the approximate index: written, checked and loaded; derived from the vector matrix.

    derived/<stamp>-ann/codes.faiss    FAISS index of 1-bit codes, a row to a row of the matrix
                        rows.npy       uint64 (n,), a digest of each row's item and vector
                        facts.json     how it searches, and how well
                        stamp.json     library, generation, model; sizes and checksums of the others
    derived/exact-<model>-ann.json     of how many rows it was found that no setting is good enough

The same rules hold as for the matrix (vectors.py), but one of an older generation stays until there is a
newer one: while only items were added, the newer one is the older one and some rows.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from crosslens.store.records import ModelRecord
from crosslens.store.vector_matrix import (
    CODES,
    Matrix,
    folder_of,
    is_whole,
    remove_folder,
    save_folder,
    without_batch,
    write_index,
)
from crosslens.types import Modality

_FILES = ("codes.faiss", "rows.npy", "facts.json")
_BLOCK = 65_536


@dataclass(frozen=True, slots=True)
class Codes:
    """index: FAISS index, n rows; rows: uint64 (n,), see `row_digests`; facts: what was saved with them."""

    index: Any
    rows: NDArray[np.uint64]
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CodesPlace:
    """Where a library's codes of one model and kind lie."""

    library: Path
    model: ModelRecord
    kind: Modality

    def folder(self, stamp: tuple[str, int]) -> Path:
        """The folder of one generation."""
        folder = folder_of(self.library, stamp, self.model, self.kind)
        return folder.with_name(folder.name + CODES)

    def load(self, stamp: tuple[str, int]) -> Codes | None:
        """The codes of one generation; None when they are not there, not of it, or not whole."""
        return self._read(self.folder(stamp), {"library": stamp[0], "generation": stamp[1]})

    def load_older(self, stamp: tuple[str, int]) -> Codes | None:
        """Codes of another generation, the newest that is whole."""
        for folder in sorted(self._others(stamp), key=lambda path: -_generation(path)):
            codes = self._read(folder, {"library": stamp[0]})
            if codes is not None:
                return codes
        return None

    def save(self, stamp: tuple[str, int], codes: Codes) -> None:
        """Write codes and delete the older ones. Not being able to is no failure: they can be rebuilt."""
        saved = save_folder(
            self.folder(stamp),
            {"library": stamp[0], "generation": stamp[1], "model": self.model.identity},
            {
                "codes.faiss": lambda path: write_index(codes.index, path),
                "rows.npy": lambda path: np.save(path, codes.rows),
                "facts.json": lambda path: _write_json(path, codes.facts),
            },
        )
        if saved:
            self.forget_older(stamp)

    def forget_older(self, stamp: tuple[str, int]) -> None:
        """Delete the codes of older generations."""
        for folder in self._others(stamp):
            if _generation(folder) <= stamp[1]:  # of the same one: of an earlier batch
                remove_folder(folder)

    def give_up(self, matrix: Matrix) -> None:
        """Note that approximate search is not good enough for these rows, so that nobody tries it again."""
        with suppress(OSError):
            note = {"library": matrix.stamp[0], "model": self.model.identity, "rows": len(matrix.ids)}
            self._note.write_text(json.dumps(note))

    def gave_up_at(self, matrix: Matrix) -> int:
        """Rows that the library had when it was given up; 0: it was not."""
        try:
            note = json.loads(self._note.read_text())
            fits = (note["library"], note["model"]) == (matrix.stamp[0], self.model.identity)
            return int(note["rows"]) if fits else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    @property
    def _note(self) -> Path:
        folder = self.folder(("", 0))
        return folder.with_name(f"exact-{folder.name.partition('-')[2]}.json")

    def _others(self, stamp: tuple[str, int]) -> list[Path]:
        this = self.folder(stamp)
        tail = without_batch(this).partition("-")[2]
        try:
            return [
                path
                for path in this.parent.iterdir()
                if without_batch(path).partition("-")[2] == tail and path != this and _generation(path) >= 0
            ]
        except OSError:
            return []

    def _read(self, folder: Path, wanted: dict[str, Any]) -> Codes | None:
        try:
            if not is_whole(folder, {**wanted, "model": self.model.identity}, _FILES):
                return None
            with (folder / "codes.faiss").open("rb") as file:
                index: Any = faiss.read_index(faiss.PyCallbackIOReader(file.read))  # type: ignore[attr-defined]
            rows = np.load(folder / "rows.npy")
            facts = dict(json.loads((folder / "facts.json").read_text()))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError):
            return None
        if (index.d, index.ntotal) != (self.model.dimension, len(rows)):
            return None
        return Codes(index, rows, facts)


def row_digests(matrix: Matrix) -> NDArray[np.uint64]:
    """uint64 (n,): equal where item and vector are equal, and (but for 1 in 2⁶⁴) nowhere else.

    A sum of the row's numbers, each times a random one, modulo 2⁶⁴: as fast as memory is read.
    """
    index = matrix.index
    if index.ntotal == 0:
        return np.empty(0, np.uint64)
    codes = faiss.rev_swig_ptr(index.codes.data(), index.ntotal * index.code_size)
    words = codes.reshape(index.ntotal, index.code_size).view("<u8" if index.code_size % 8 == 0 else "<u2")
    factors = np.random.default_rng(0).integers(1, 2**63, words.shape[1] + 1, dtype=np.uint64) | np.uint64(1)
    digests: NDArray[np.uint64] = np.asarray(matrix.ids).astype(np.uint64) * factors[-1]
    for start in range(0, len(words), _BLOCK):
        part = words[start : start + _BLOCK].astype(np.uint64, copy=False)
        digests[start : start + _BLOCK] += part @ factors[:-1]
    return digests


def _generation(folder: Path) -> int:
    head = folder.name.partition("-")[0]
    return int(head) if head.isdecimal() else -1


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1))
