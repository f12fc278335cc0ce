"""Tabular files: CSV, TSV, JSON Lines and Parquet → rows, and vectors → files."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from crosslens.arguments import brief, numbers
from crosslens.errors import InputError, MissingExtraError
from crosslens.types import Float32

Row = dict[str, Any]
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
VECTOR_SUFFIXES = (".npy", ".safetensors", ".parquet")


def read_table(path: str) -> Iterator[Row]:
    """Yield the rows of a table, one at a time; column names come from its head.

    Raises InputError, which names the file and the line.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise InputError(f"{path} is no table that can be read", f"Wanted one of {', '.join(TABLE_SUFFIXES)}")
    if suffix == ".parquet":
        yield from _read_parquet(path)
        return
    try:
        with _opened(path, encoding="utf-8-sig", newline="") as file:
            rows = _read_json_lines(path, file) if "json" in suffix else _read_csv(path, file, suffix)
            yield from rows
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 ({error.reason})", "Save the file as UTF-8") from error
    except OSError as error:  # half-way
        raise InputError(f"{path} cannot be read ({error.strerror})", "Check the disk it is on") from error


def column(rows: Iterator[Row], name: str, path: str) -> Iterator[tuple[Row, str]]:
    """(row, its value in a column as text), "" where a row has none.

    Raises InputError for a column that the first row does not have, and for a value that is a list or object.
    """
    for number, row in enumerate(rows, 1):
        value = row.get(name)
        if number == 1 and name not in row:
            known = ", ".join(repr(key) for key in row if key is not None)
            raise InputError(f"{path}: row {number} has no {name!r}", f"Its columns are {known}")
        if isinstance(value, list | dict):
            raise InputError(f"{path}: row {number} has {brief(value)} for {name!r}", "Wanted a text")
        yield row, "" if value is None else str(value)


def write_vectors(path: str, ids: Sequence[str], vectors: Float32) -> None:
    """Write vectors (n, d) and their ids.

    .npy: float32 (n, d), and beside it NAME.ids.json, a list. .safetensors: tensor "vectors", ids in the
    metadata. .parquet: columns "id" and "vector". Written under another name first: whole or not there.
    Raises InputError, MissingExtraError, OSError.
    """
    vectors = numbers("vectors", vectors, np.float32)
    if vectors.ndim != 2 or not vectors.shape[1] or len(ids) != len(vectors):
        problem = f"there are {len(ids)} ids, and vectors of shape {vectors.shape}"
        raise InputError(problem, "Give vectors (n, d) and n ids")
    for row, name in enumerate(ids):
        if not isinstance(name, str):
            raise InputError(f"id {row} is {brief(name)}", "Give texts")
    suffix = Path(path).suffix.lower()
    draft = f"{path}.draft"
    if suffix == ".npy":
        with open(draft, "wb") as file:
            np.save(file, vectors)
        names = Path(path).with_suffix(".ids.json")
        names.write_text(json.dumps(list(ids)))
    elif suffix == ".safetensors":
        _write_safetensors(draft, ids, vectors)
    elif suffix == ".parquet":
        _write_parquet(draft, ids, vectors)
    else:
        raise InputError(
            f"{path}: vectors are not written as {suffix!r}", f"Wanted {', '.join(VECTOR_SUFFIXES)}"
        )
    os.replace(draft, path)


def _opened(path: str, **how: Any) -> IO[Any]:
    try:
        return open(path, **how)  # type: ignore[no-any-return]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error  # str(error) repeats the path
        raise InputError(f"{path} cannot be read ({reason})", "Check the spelling") from error


def _read_csv(path: str, file: Any, suffix: str) -> Iterator[Row]:
    reader = csv.DictReader(file, delimiter="\t" if suffix == ".tsv" else ",")
    try:
        for row in reader:
            if None in row:
                problem = f"{path}: line {reader.line_num} has more values than the head has names"
                raise InputError(problem, "Put quotes around values that hold the separator")
            yield row
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: {error}", "Repair the line") from error


def _read_json_lines(path: str, file: Any) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            problem = f"{path}: line {number} is no JSON ({error})"
            raise InputError(problem, "Write one object to a line") from error
        if not isinstance(row, dict):
            raise InputError(f"{path}: line {number} is no JSON object", "Write one object to a line")
        yield row


def _read_parquet(path: str) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet") from error
    try:
        # Opened here, because pyarrow takes no name that is not UTF-8.
        with _opened(path, mode="rb") as opened, pyarrow.parquet.ParquetFile(opened) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{path} cannot be read ({error})", "Write the table anew") from error


def _write_safetensors(path: str, ids: Sequence[str], vectors: Float32) -> None:
    from safetensors.numpy import save

    # Not by its `save_file`, whose errors are no OSError.
    tensors = {"vectors": np.ascontiguousarray(vectors)}
    Path(path).write_bytes(save(tensors, metadata={"ids": json.dumps(list(ids))}))


def _write_parquet(path: str, ids: Sequence[str], vectors: Float32) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet") from error
    flat = pyarrow.array(np.ascontiguousarray(vectors).ravel())
    values = pyarrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    try:
        table = pyarrow.table({"id": list(ids), "vector": values})
    except UnicodeEncodeError as error:
        problem = f"{path}: Parquet holds only UTF-8, which the id {error.object!a} is not"
        raise InputError(problem, "Write .npy or .safetensors, or rename the file") from error
    with open(path, "wb") as file:
        pyarrow.parquet.write_table(table, file)
