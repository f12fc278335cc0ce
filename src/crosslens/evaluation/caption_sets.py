"""Image–caption sets from disk: folders, tables, Parquet with pictures inside, Karpathy's JSON, qrels.

Which kind a file is, its ending and its columns tell:

    .csv .tsv .jsonl .parquet   a row names or holds a picture, and has one text or several
    with a column `relevance`   a row judges how well a picture answers a query
    .json                       Karpathy's splits (`images` with `sentences`), or COCO's (`annotations`)
    a folder                    what of these lies in it; several .parquet are one set in pieces
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from crosslens.arguments import brief
from crosslens.errors import InputError
from crosslens.evaluation.datasets import Builder, Pairs
from crosslens.evaluation.table_rows import (
    PictureRow,
    Pictures,
    Selection,
    column_of,
    files_of,
    named,
    picture_rows,
)

TEXT_COLUMNS = ("text", "texts", "caption", "captions", "query", "sentence", "sentences", "title")
LABEL_COLUMNS = ("label", "match", "is_match", "matches")
RELEVANCE_COLUMNS = ("relevance", "grade")
_YES, _NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")


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
    text_column: a text, or a list of texts. Without these two, columns of the usual names are taken
    (`IMAGE_COLUMNS`, `TEXT_COLUMNS`). label_column: whether the two match, 0 or 1.
    split: only rows with this in the column `split`. where: only rows with these values in these columns.
    images: the folder that paths are relative to; without it the table's own, or `images` in it.
    Raises InputError, which names the file and the row, or MissingExtraError. Pictures are not opened here.
    """
    path = os.path.expanduser(os.fspath(data))
    if not os.path.exists(path):
        raise InputError(f"{path}: there is no such file or folder", "Check the spelling")
    selection = Selection.of(image_column, text_column, split, where, images)
    builder = Builder(", ".join([os.path.basename(os.path.abspath(path)), *selection.words]))
    files = files_of(path)
    if files[0].lower().endswith(".json"):
        _add_json(builder, files[0], selection)
    else:
        _add_rows(builder, picture_rows(files, selection, TEXT_COLUMNS), label_column)
    return builder.pairs()


def label_column_of(data: str | os.PathLike[str]) -> str | None:
    """The column of a set that says by its name whether picture and text match; None where there is none."""
    from crosslens.texts.tabular_files import read_table

    file = files_of(os.path.expanduser(os.fspath(data)))[0]
    return None if file.lower().endswith(".json") else named(next(read_table(file), {}), LABEL_COLUMNS)


def _add_rows(builder: Builder, rows: Iterable[PictureRow], label_column: str | None) -> None:
    relevance: str | None = None
    for number, row in enumerate(rows):
        if number == 0 and label_column is None:
            relevance = named(row.row, RELEVANCE_COLUMNS)
        elif number == 0:
            column_of(row.row, label_column, (), "label", row.where)
        texts = _texts(row.value, row.where)
        if relevance is not None:
            level = _level(row.row.get(relevance), row.where)
            for query in texts:
                builder.judge(query, row.picture, level, row.where)
            continue
        label = None if label_column is None else _match(row.row.get(label_column), row.where)
        builder.add(row.picture, texts, row.where, label)


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
    if text not in (*_YES, *_NO):
        raise InputError(f"{where} has the label {brief(value)}", "Wanted 0 (no match) or 1 (match)")
    return int(text in _YES)


def _add_json(builder: Builder, path: str, selection: Selection) -> None:
    """Karpathy's splits (Karpathy and Fei-Fei, CVPR 2015), or COCO's captions."""
    try:
        content = json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({error})", "Wanted Karpathy's or COCO's JSON") from error
    pictures, wanted = Pictures(os.path.dirname(path), selection.images), selection.where
    splits: dict[str, None] = {}
    try:
        texts: dict[Any, list[str]] = {}
        for note in content.get("annotations", ()):
            texts.setdefault(note["image_id"], []).append(str(note["caption"]))
        for number, entry in enumerate(content["images"]):
            splits[str(entry.get("split"))] = None
            if any(str(entry.get(name)) != value for name, value in wanted.items()):
                continue
            name = entry.get("filename") or entry["file_name"]
            captions = [line["raw"] for line in entry.get("sentences", ())] or texts.get(entry.get("id"), [])
            found = pictures.at(os.path.join(entry.get("filepath", ""), name))
            builder.add(found, _texts(captions, path), f"{path}: picture {number}")
    except (AttributeError, KeyError, TypeError) as error:
        problem = f"{path} is neither Karpathy's JSON nor COCO's ({error!r})"
        raise InputError(problem, "Wanted `images` with `filename`, `split` and `sentences`") from error
    if not builder.images:
        asked = ", ".join(selection.words) or "a name"
        raise InputError(f"{path}: no picture has {asked}", f"Its splits are {', '.join(splits)}")
