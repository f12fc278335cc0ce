"""The vector matrix that search maps into memory: derived from the database, rebuilt when in doubt.

    derived/<stamp>/index.faiss       float16 vectors, a FAISS flat index, opened memory-mapped
                    ids.npy           int64 (n,), the item of each row
                    moments.npy       float32 (1 + d, d), mean and covariance of the vectors; they give the
                                      mean and the spread of any query's scores
                    stamp.json        library, generation, model, sizes and checksums of the others

A folder is written under another name and renamed when whole. One of another stamp is stale; one whose
checksums do not fit is damaged; both are deleted.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from crosslens.checksum import checksum
from crosslens.errors import LibraryDamagedError
from crosslens.store.database import Catalog
from crosslens.store.network_filesystem import file_system_of, size_of
from crosslens.store.records import ItemRow, ModelRecord
from crosslens.store.vector_snapshot import Snapshot
from crosslens.types import Float32, Int64, Modality

DERIVED = "derived"
# How the names of folders end that hold codes for approximate search (annfiles.py).
CODES = "-ann"
_FILES = ("index.faiss", "ids.npy", "moments.npy")
# Rows that the moments are computed from: enough for a spread, evenly taken, the same ones every time.
_MOMENTS_ROWS = 65_536
_DRAFT = ".draft-"
_DRAFT_SECONDS = 3600
# A float16 vector of unit norm is this near to 1.
_NORM_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class Matrix:
    """index: FAISS flat index, n rows of float16; ids: int64 (n,); mean, covariance: float32 (d,), (d, d)."""

    index: Any
    ids: Int64
    mean: Float32
    covariance: Float32
    stamp: tuple[str, int]


def open_matrix(catalog: Catalog, model: ModelRecord, kind: Modality = "image") -> Matrix:
    """The matrix of a library's pictures, or of its texts, as they are now.

    The derived one if it is current and whole, else a new one.
    A library that cannot be written is served from memory.
    """
    stamp = catalog.stamp(model.identity)
    folder = folder_of(catalog.folder, stamp, model, kind)
    matrix = _load(folder, stamp, model)
    if matrix is None:
        with catalog.snapshot(model.identity, model.dimension, kind) as snapshot:
            matrix = _build(snapshot, model.dimension)
        _save(folder_of(catalog.folder, matrix.stamp, model, kind), matrix, model)
    return matrix


def covariance_of(matrices: Sequence[Matrix]) -> Float32:
    """Of all vectors together, (d, d), so that terms are mixed alike in all libraries."""
    if len(matrices) == 1:
        return matrices[0].covariance
    shares = np.array([len(matrix.ids) for matrix in matrices], np.float32)
    shares /= max(1, shares.sum())
    means = np.stack([matrix.mean for matrix in matrices])
    apart = means - shares @ means
    within = sum(share * matrix.covariance for share, matrix in zip(shares, matrices, strict=True))
    covariance: Float32 = (within + (shares[:, None] * apart).T @ apart).astype(np.float32)
    return covariance


def items_of(catalog: Catalog, matrix: Matrix, model: ModelRecord, ids: Sequence[int]) -> list[ItemRow]:
    """Items of a matrix by id; without those that are gone, or got another content, since it was made."""
    rows = catalog.items(ids)
    if catalog.stamp(model.identity) == matrix.stamp:  # asked last: so nothing was written until then
        return rows
    kept = []
    for row, vector in catalog.items_with_vectors(ids, model.identity):
        at = int(np.searchsorted(matrix.ids, row.id))
        if matrix.index.reconstruct(at).astype("<f2").tobytes() == vector:
            kept.append(row)
    return kept


def folder_of(library: Path, stamp: tuple[str, int], model: ModelRecord, kind: Modality) -> Path:
    """Where the matrix of a stamp lies: a folder of its own, as one may be read while another is made."""
    batch = stamp[0].partition("+")[2]  # of a model that the library is being migrated to
    name = f"{stamp[1]}-{model.identity[:12]}{'' if kind == 'image' else '-text'}"
    return library / DERIVED / (f"{name}.{batch}" if batch else name)


def without_batch(folder: Path) -> str:
    """The name of a folder but for the number of its batch."""
    return re.sub(r"\.\d+", "", folder.name)


def _build(snapshot: Snapshot, dimension: int) -> Matrix:
    codes = np.empty((snapshot.count, 2 * dimension), dtype=np.uint8)
    ids = np.empty(snapshot.count, dtype=np.int64)
    for row, (number, blob) in enumerate(snapshot.vectors()):
        ids[row] = number
        codes[row] = np.frombuffer(blob, dtype=np.uint8)
    index = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True
    if len(codes):
        # The blobs are what the quantiser would make of the vectors: little-endian float16.
        index.add_sa_codes(codes)
    vectors = codes.view("<f2")
    _check_norms(vectors, ids)
    return Matrix(index, ids, *_moments(vectors), snapshot.stamp)


def _check_norms(vectors: NDArray[np.float16], ids: Int64) -> None:
    for start in range(0, len(vectors), _MOMENTS_ROWS):
        norms = np.linalg.norm(vectors[start : start + _MOMENTS_ROWS].astype(np.float32), axis=1)
        wrong = ~(np.abs(norms - 1) < _NORM_TOLERANCE)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise LibraryDamagedError(
                f"the vector of item {ids[start + row]} has length {norms[row]:.3g}, wanted 1",
                "Restore the library from a backup, or move its folder away and index again",
            )


def _moments(vectors: NDArray[np.float16]) -> tuple[Float32, Float32]:
    """Mean, float32 (d,), and covariance, float32 (d, d), of vectors (n, d); zeros where there are none."""
    sample = vectors[:: max(1, -(-len(vectors) // _MOMENTS_ROWS))].astype(np.float32)
    if len(sample) == 0:
        return np.zeros(vectors.shape[1], np.float32), np.zeros((vectors.shape[1],) * 2, np.float32)
    mean: Float32 = sample.mean(axis=0)
    sample -= mean
    covariance: Float32 = (sample.T @ sample / len(sample)).astype(np.float32)
    return mean, covariance


def _save(target: Path, matrix: Matrix, model: ModelRecord) -> None:
    """Write the matrix and delete the old ones. Not being able to is no failure: it can be rebuilt."""
    stamp = {"library": matrix.stamp[0], "generation": matrix.stamp[1], "model": model.identity}
    saved = save_folder(
        target,
        stamp,
        {
            "index.faiss": lambda path: write_index(matrix.index, path),
            "ids.npy": lambda path: np.save(path, matrix.ids),
            "moments.npy": lambda path: np.save(path, np.vstack([matrix.mean, matrix.covariance])),
        },
    )
    folders = [path for path in target.parent.iterdir() if path.is_dir()] if saved else []
    for other in folders:
        same_generation = other.name.partition("-")[0] == str(matrix.stamp[1])
        is_older = other != target and without_batch(other) == without_batch(target)
        # Codes of an older generation are what the new ones are made from (annfiles.py), which deletes them.
        is_old = is_older or not same_generation
        if is_old and not other.name.endswith(CODES) and not _is_at_work(other):
            remove_folder(other)


def save_folder(target: Path, stamp: dict[str, Any], files: dict[str, Callable[[Path], None]]) -> bool:
    """Write a folder, whole or not at all; returns which.

    files: by name, what writes them to a path. stamp: becomes stamp.json, with their sizes and checksums.
    """
    parent = target.parent
    try:
        parent.mkdir(exist_ok=True)
        # Not by `tempfile`, whose folders only their maker can read.
        draft = parent / f"{_DRAFT}{uuid.uuid4().hex}"
        draft.mkdir()
    except OSError:
        return False
    try:
        for name, write in files.items():
            write(draft / name)
        facts = {name: [(draft / name).stat().st_size, checksum(draft / name)] for name in files}
        (draft / "stamp.json").write_text(json.dumps({**stamp, "files": facts}, indent=1))
        if target.exists():
            remove_folder(target)
        draft.rename(target)
    except (OSError, RuntimeError):  # FAISS reports a full disk as RuntimeError
        shutil.rmtree(draft, ignore_errors=True)
        return False
    return True


def remove_folder(folder: Path) -> None:
    """Delete a folder so that nobody meets half of it under its name."""
    doomed = folder.with_name(f"{_DRAFT}{uuid.uuid4().hex}")
    with suppress(OSError):  # another process may be first
        folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def is_whole(folder: Path, wanted: dict[str, Any], names: Sequence[str]) -> bool:
    """Whether the stamp of a folder says what is wanted, and all files are as they were written.

    Raises OSError, ValueError, KeyError, TypeError, RecursionError for a folder that is none of ours.
    """
    facts: dict[str, Any] = json.loads((folder / "stamp.json").read_text())
    if any(facts[key] != value for key, value in wanted.items()):
        return False
    for name in names:
        size, wanted_checksum = facts["files"][name]
        if (folder / name).stat().st_size != size or checksum(folder / name) != wanted_checksum:
            return False
    return True


def _load(folder: Path, stamp: tuple[str, int], model: ModelRecord) -> Matrix | None:
    """The matrix in a folder; None when it is not there, not of this stamp, or not whole."""
    try:
        wanted = {"library": stamp[0], "generation": stamp[1], "model": model.identity}
        if not is_whole(folder, wanted, _FILES):
            return None
        index, ids = open_files(folder)
        mean, *covariance = np.load(folder / "moments.npy")
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):  # also: JSON nested too deeply
        return None
    return Matrix(index, ids, mean, np.stack(covariance), stamp)


def write_index(index: Any, path: Path) -> None:
    """Write through Python: FAISS itself cannot name every path, and prints when a disk is full."""
    with path.open("wb") as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))  # type: ignore[attr-defined]


def open_files(folder: Path) -> tuple[Any, Int64]:
    """The index and the ids of a matrix: memory-mapped, or read, where another machine may delete them.

    A page that is gone with its file kills the process.
    """
    network = file_system_of(folder).is_network
    ids = np.load(folder / "ids.npy", mmap_mode=None if network else "r")
    with (folder / "index.faiss").open("rb") as file:  # by its number: FAISS cannot name every path
        return faiss.read_index(f"/dev/fd/{file.fileno()}", 0 if network else faiss.IO_FLAG_MMAP_IFC), ids


def _is_at_work(folder: Path) -> bool:
    """Whether a folder is a draft of a process that is still writing it."""
    try:
        return folder.name.startswith(_DRAFT) and time.time() - folder.stat().st_mtime < _DRAFT_SECONDS
    except OSError:
        return False


def derived_size(library: Path) -> int:
    """Bytes that derived files take."""
    files = [os.path.join(place, name) for place, _, names in os.walk(library / DERIVED) for name in names]
    return sum(map(size_of, files))
