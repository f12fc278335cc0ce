"""Image–caption sets from disk: folders, tables, Parquet with pictures inside, Karpathy's JSON, qrels.

Which kind a file is, its ending and its columns tell:

    .csv .tsv .jsonl .parquet   a row names or holds a picture, and has one text or several
    the same, with a column `relevance`   a row judges how well a picture answers a query
    .json                       Karpathy's splits (`images` with `sentences`), or COCO's captions
    (`annotations`) a folder                    what of these lies in it; several .parquet are one set in
    pieces
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crosslens.arguments import brief
from crosslens.errors import InputError
from crosslens.matching.datasets import Builder, Pairs
from crosslens.tables import TABLE_SUFFIXES, Row, read_table
from crosslens.types import ImageInput

IMAGE_COLUMNS = (
    *("image", "file", "file_name", "filename", "image_path", "filepath", "path", "picture", "image_id"),
    *("img", "photo"),
)
TEXT_COLUMNS = ("text", "texts", "caption", "captions", "query", "sentence", "sentences", "title")
LABEL_COLUMNS = ("label", "match", "is_match", "matches")
RELEVANCE_COLUMNS = ("relevance", "qrel", "grade")
_NAMED_SO = ("captions", "metadata", "pairs", "qrels", "dataset")
_IMAGE_FOLDERS = ("", "images", "Images", "pictures", "photos")


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a table's values are; None: in a column of a usual name. where: column → the value wanted."""

    image: str | None = None
    text: str | None = None
    label: str | None = None
    where: Mapping[str, str] | None = None


def load_pairs(
    data: str | os.PathLike[str],
    *,
    image_column: str | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
    split: str | None = None,
    where: Mapping[str, str] | None = None,
    images: str | os.PathLike[str] | None = None,
) -> Pairs:
    """Read an image–caption set: a table, Karpathy's JSON, qrels, or a folder that holds one of these.

    image_column: paths of pictures, or their bytes (in Parquet: binary, or a struct of bytes and path).
    text_column: a text, or a list of texts. Without these two, the usual names are looked for
    (`IMAGE_COLUMNS`, `TEXT_COLUMNS`). label_column: whether the two match, 0 or 1.
    split: only rows with this in the column `split`. where: only rows with these values in these columns.
    images: the folder that paths are relative to; without it the table's own, or `images` in it.
    Raises InputError, which names the file and the row, or MissingExtraError. Pictures are not opened here.
    """
    wanted = dict(where or {})
    if split is not None:
        wanted["split"] = split
    path = os.path.expanduser(os.fspath(data))
    if not os.path.exists(path):
        raise InputError(f"{path}: there is no such file or folder", "Check the spelling")
    files = _files_in(path) if os.path.isdir(path) else [path]
    builder = Builder(os.path.basename(os.path.normpath(path)))
    folder = None if images is None else os.fspath(images)
    if files[0].endswith(".json"):
        _read_json(builder, files[0], folder, wanted)
    else:
        columns = Columns(image_column, text_column, label_column, wanted)
        rows = ((f"{file}: row {n}", row) for file in files for n, row in enumerate(read_table(file), 1))
        _read_rows(builder, rows, columns, _Pictures(os.path.dirname(files[0]), folder))
    return builder.pairs()


def column_names(data: str | os.PathLike[str]) -> tuple[str, ...]:
    """The names of a table's columns, or of the table in a folder; none for JSON. Raises InputError."""
    path = os.path.expanduser(os.fspath(data))
    file = _files_in(path)[0] if os.path.isdir(path) else path
    return () if file.endswith(".json") else tuple(next(read_table(file), {}))


class _Pictures:
    """Finds the pictures that a table names: beside it, or in a folder of its."""

    def __init__(self, beside: str, folder: str | None) -> None:
        self._folders = (
            [os.path.join(beside, name) for name in _IMAGE_FOLDERS] if folder is None else [folder]
        )
        self._found: str | None = None

    def at(self, name: str) -> str:
        """The path of a picture; where none is there, beside the table, so that an error names it."""
        if os.path.isabs(name):
            return name
        if self._found is None:
            there = (path for path in self._folders if os.path.exists(os.path.join(path, name)))
            self._found = next(there, None)
        return os.path.join(self._found if self._found is not None else self._folders[0], name)


def _files_in(folder: str) -> list[str]:
    """The table or tables that make up a set. Raises InputError where that is none, or not clear."""
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    tables = [name for name in names if Path(name).suffix.lower() in (*TABLE_SUFFIXES, ".json")]
    called = [name for name in tables if Path(name).stem.lower().partition("_")[0] in _NAMED_SO]
    if len(tables) != 1 and tables and not all(name.endswith(".parquet") for name in tables):
        tables = called
    if len(tables) == 1 or (tables and all(name.endswith(".parquet") for name in tables)):
        return [os.path.join(folder, name) for name in tables]
    if not tables:
        remedy = f"Wanted one of {', '.join((*TABLE_SUFFIXES, '.json'))} with pictures and their texts"
        raise InputError(f"{folder}: there is no table in this folder", remedy)
    raise InputError(f"{folder} holds several tables: {', '.join(tables)}", "Name the one that is meant")


def _read_rows(
    builder: Builder, rows: Iterator[tuple[str, Row]], columns: Columns, pictures: _Pictures
) -> None:
    image = text = relevance = ""
    seen: dict[str, dict[Any, None]] = {name: {} for name in columns.where or {}}
    for number, (where, row) in enumerate(rows):
        if number == 0:
            image = _column(row, columns.image, IMAGE_COLUMNS, "picture", "--image-column", where)
            others = {name: value for name, value in row.items() if name != image}
            text = _column(others, columns.text, TEXT_COLUMNS, "text", "--text-column", where)
            relevance = _named(row, RELEVANCE_COLUMNS) or ""
            for name in (*seen, *([columns.label] if columns.label else [])):
                _column(row, name, (), name, "--where", where)
        for name, values in seen.items():
            values[row.get(name)] = None
        if any(str(row.get(name)) != value for name, value in (columns.where or {}).items()):
            continue
        picture, texts = _picture(row.get(image), pictures, where), _texts(row.get(text), where)
        if relevance and columns.label is None:
            level = _level(row.get(relevance), where)
            for query in texts:
                builder.judge(query, picture, level, where)
            continue
        label = None if columns.label is None else _match(row.get(columns.label), where)
        builder.add(picture, texts, where, label)
    if not builder.images and seen:
        held = "; ".join(f"{name}: {', '.join(map(str, list(values)[:5]))}" for name, values in seen.items())
        asked = ", ".join(f"{name} = {value}" for name, value in (columns.where or {}).items())
        raise InputError(f"{builder.name}: no row has {asked}", f"There is {held or 'no row at all'}")


def _named(row: Row, names: Sequence[str]) -> str | None:
    """The first of some names that a row has, in any case."""
    known = {str(name).lower(): str(name) for name in row}
    return next((known[name] for name in names if name in known), None)


def _column(row: Row, name: str | None, usual: Sequence[str], what: str, option: str, where: str) -> str:
    found = name if name in row else None if name is not None else _named(row, usual)
    if found is None:
        problem = (
            f"{where} has no {name!r}" if name else f"{where}: which column holds the {what} is not clear"
        )
        raise InputError(problem, f"Its columns are {', '.join(map(repr, row))}; name one by {option}")
    return found


def _picture(value: Any, pictures: _Pictures, where: str) -> ImageInput:
    """A path, or bytes, as a table has it."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes) and value:
        return value
    if isinstance(value, str) and value.strip():
        return pictures.at(value.strip())
    raise InputError(
        f"{where} has {brief(value)} for its picture", "Wanted a path, or the bytes of a picture"
    )


def _texts(value: Any, where: str) -> list[str]:
    """One text or several; none where there is nothing to read."""
    values = value if isinstance(value, list) else [] if value is None else [value]
    for text in values:
        if not isinstance(text, str):
            raise InputError(f"{where} has {brief(text)} for a text", "Wanted a text, or a list of texts")
    return [text for text in values if text.strip()]


def _level(value: Any, where: str) -> int:
    try:
        level = float(value)
    except (TypeError, ValueError):
        level = -1.0
    if level < 0 or level != int(level):
        raise InputError(f"{where} has the relevance {brief(value)}", "Wanted a whole number from 0 on")
    return int(level)


def _match(value: Any, where: str) -> int:
    text = str(value).strip().lower()
    if text not in ("0", "1", "0.0", "1.0", "false", "true", "no", "yes"):
        raise InputError(f"{where} has the label {brief(value)}", "Wanted 0 (no match) or 1 (match)")
    return int(text[0] in "1ty")


def _read_json(builder: Builder, path: str, folder: str | None, where: Mapping[str, str]) -> None:
    """Karpathy's splits (Karpathy and Fei-Fei, CVPR 2015), or COCO's captions."""
    try:
        content = json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({error})", "Wanted Karpathy's or COCO's JSON") from error
    pictures = _Pictures(os.path.dirname(path), folder)
    splits: dict[str, None] = {}
    try:
        texts: dict[Any, list[str]] = {}
        for note in content.get("annotations", ()):
            texts.setdefault(note["image_id"], []).append(str(note["caption"]))
        for number, entry in enumerate(content["images"]):
            splits[str(entry.get("split"))] = None
            if any(str(entry.get(name)) != value for name, value in where.items()):
                continue
            name = entry.get("filename") or entry["file_name"]
            captions = [s["raw"] for s in entry.get("sentences", ())] or texts.get(entry.get("id"), [])
            found = pictures.at(os.path.join(entry.get("filepath", ""), name))
            builder.add(found, [text for text in captions if text.strip()], f"{path}: picture {number}")
    except (AttributeError, KeyError, TypeError) as error:
        problem = f"{path} is neither Karpathy's JSON nor COCO's ({error!r})"
        raise InputError(problem, "Wanted `images` with `filename`, `split` and `sentences`") from error
    if not builder.images:
        asked = ", ".join(f"{name} = {value}" for name, value in where.items())
        raise InputError(f"{path}: no picture has {asked}", f"Its splits are {', '.join(splits)}")
