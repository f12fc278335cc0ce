"""Vector file formats: Parquet, clip-retrieval's folders, rclip's database → rows; and rows → files.

    FILE.parquet                  columns id, path, text, width, height, size, modified (seconds), vector
    FOLDER/img_emb/img_emb_0.npy, FOLDER/metadata/metadata_0.parquet (image_path, caption)    clip-retrieval
    FILE.db                       SQLite, table images (filepath, modified_at, size, vector)            rclip

What crosslens writes names its model: in the metadata of the Parquet file, or in FOLDER/crosslens.json.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crosslens.errors import InputError, MissingExtraError
from crosslens.store.records import ModelRecord

_PAGE = 2048
_KEY = "crosslens"
_FACTS = ("width", "height", "size", "modified")
# Rows of one part of a folder: held in memory while they are written.
_PART = 250_000
RCLIP_MODEL = "OpenCLIP's ViT-B-32-256, datacomp_s34b_b86k (here: openclip-vit-b-32-256-datacomp)"


@dataclass(frozen=True, slots=True)
class Row:
    """A vector and what it is of. row: its number in the source, from 1. None: the source does not say."""

    row: int
    path: str
    vector: Any
    text: str | None = None
    width: int = 0
    height: int = 0
    size: int | None = None
    modified: float | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A source of vectors. kind: in words; model: what it says of its model, None where it says nothing."""

    path: Path
    kind: str
    model: ModelRecord | None

    def rows(self) -> Iterator[Row]:
        """Its rows, in order. Raises InputError."""
        readers = {"Parquet": _parquet_rows, "clip-retrieval": _folder_rows, "rclip": _rclip_rows}
        try:
            yield from readers[self.kind](self.path)
        except (OSError, ValueError, KeyError, sqlite3.Error) as error:
            if isinstance(error, InputError):
                raise
            problem = f"{self.path} cannot be read as vectors of {self.kind} ({error})"
            raise InputError(problem, "Write it anew") from error


def open_source(path: Path) -> Source:
    """Find out what a file or folder is. Raises InputError, MissingExtraError."""
    if (path / "img_emb").is_dir():
        return Source(path, "clip-retrieval", _noted(path / "crosslens.json"))
    if path.suffix.lower() == ".parquet" and path.is_file():
        parquet = _pyarrow()
        try:
            noted = (parquet.read_schema(path).metadata or {}).get(_KEY.encode())
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read ({error})", "Write it anew") from error
        return Source(path, "Parquet", ModelRecord(**json.loads(noted)) if noted else None)
    if path.is_file():
        with path.open("rb") as file:
            if file.read(16) == b"SQLite format 3\0":
                return Source(path, "rclip", None)
    raise InputError(
        f"{path} holds no vectors that can be imported",
        "Wanted a .parquet file, a folder with img_emb and metadata, or rclip's database",
    )


def write_parquet(path: Path, model: ModelRecord, rows: Iterator[tuple[int, Row]]) -> int:
    """Write (id, row)s, vectors as float32; returns how many. Raises MissingExtraError, OSError."""
    parquet = _pyarrow()
    import pyarrow

    schema = pyarrow.schema(
        {"id": "int64", "path": "string", "text": "string", "width": "int32", "height": "int32",
         "size": "int64", "modified": "float64", "vector": pyarrow.list_(pyarrow.float32(), model.dimension)},
        metadata={_KEY: json.dumps(_facts(model))},
    )  # fmt: skip
    names, count = schema.names[1:-1], 0
    with parquet.ParquetWriter(path, schema) as writer:
        for page in _pages(rows):
            columns: dict[str, Any] = {"id": [number for number, _ in page]}
            columns |= {name: [_utf8(getattr(row, name)) for _, row in page] for name in names}
            vectors = np.stack([row.vector for _, row in page]).astype(np.float32)
            columns["vector"] = pyarrow.FixedSizeListArray.from_arrays(vectors.ravel(), model.dimension)
            writer.write_table(pyarrow.table(columns, schema=schema))
            count += len(page)
    return count


def write_folder(path: Path, model: ModelRecord, rows: Iterator[tuple[int, Row]]) -> int:
    """Write pictures in clip-retrieval's layout, vectors as float16. Raises as `write_parquet`."""
    parquet = _pyarrow()
    import pyarrow

    for name in ("img_emb", "metadata"):
        (path / name).mkdir(parents=True)
    (path / "crosslens.json").write_text(json.dumps(_facts(model)))
    count = 0
    for number, page in enumerate(_pages(rows, _PART)):
        np.save(path / "img_emb" / f"img_emb_{number}.npy", np.stack([row.vector for _, row in page]))
        columns = {"image_path": [_utf8(row.path) for _, row in page], "caption": [""] * len(page)}
        columns |= {
            name: [getattr(r, name) for _, r in page] for name in ("width", "height", "size", "modified")
        }
        parquet.write_table(pyarrow.table(columns), path / "metadata" / f"metadata_{number}.parquet")
        count += len(page)
    return count


def _pages(rows: Iterator[Any], length: int = _PAGE) -> Iterator[list[Any]]:
    page = []
    for row in rows:
        page.append(row)
        if len(page) == length:
            yield page
            page = []
    if page:
        yield page


def _utf8(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            problem = f"Parquet holds only UTF-8, which {value!a} is not"
            raise InputError(problem, "Rename the file and index again") from error
    return value


def _facts(model: ModelRecord) -> dict[str, Any]:
    return {"name": model.name, "identity": model.identity, "dimension": model.dimension}


def _noted(path: Path) -> ModelRecord | None:
    try:
        return ModelRecord(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} names no model ({error})", "Delete it, and state the model") from error


# -- reading --------------------------------------------------------------------------------------


def _parquet_rows(path: Path) -> Iterator[Row]:
    names, number = ("text", *_FACTS), 0
    with _pyarrow().ParquetFile(path) as file:
        _need(path, file.schema_arrow.names, ("path", "vector"))
        for batch in file.iter_batches(_PAGE):
            for fields in batch.to_pylist():
                number += 1
                given = {name: fields[name] for name in names if fields.get(name) is not None}
                yield Row(number, str(fields["path"]), fields["vector"], **given)


def _folder_rows(path: Path) -> Iterator[Row]:
    number = 0
    parts = sorted((path / "img_emb").glob("img_emb_*.npy"), key=lambda part: (len(part.name), part.name))
    for part in parts:
        table = path / "metadata" / part.name.replace("img_emb", "metadata").replace(".npy", ".parquet")
        vectors = np.load(part, mmap_mode="r", allow_pickle=False)
        with _pyarrow().ParquetFile(table) as file:
            _need(table, file.schema_arrow.names, ("image_path",))
            if file.metadata.num_rows != len(vectors):
                problem = f"{table} has {file.metadata.num_rows} rows, {part} {len(vectors)}"
                raise InputError(problem, "Make both anew, together")
            place = 0
            for batch in file.iter_batches(_PAGE):
                for fields in batch.to_pylist():
                    number, place = number + 1, place + 1
                    given = {name: fields[name] for name in _FACTS if fields.get(name) is not None}
                    yield Row(number, str(fields["image_path"]), vectors[place - 1], **given)


def _rclip_rows(path: Path) -> Iterator[Row]:
    query = "SELECT filepath, vector, size, modified_at FROM images WHERE deleted IS NULL ORDER BY id"
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        for number, (file, blob, size, modified) in enumerate(db.execute(query), 1):
            vector = np.frombuffer(blob, "<f4") if len(blob) % 4 == 0 else None
            yield Row(number, file, vector, size=size, modified=modified)


def _need(path: Path, columns: Sequence[str], wanted: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise InputError(f"{path} has no column {missing[0]!r}", f"Its columns are {', '.join(columns)}")


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet") from error
    return pyarrow.parquet
