"""Rows of tables of pictures: the files of a set, its columns, and where its pictures lie."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crosslens.arguments import brief
from crosslens.errors import InputError
from crosslens.texts.tabular_files import TABLE_SUFFIXES, Row, read_table
from crosslens.types import ImageInput

IMAGE_COLUMNS = (
    *("image", "file", "file_name", "filename", "image_path", "filepath", "path", "picture", "image_id"),
    *("img", "photo"),
)
_NAMED_SO = ("captions", "metadata", "pairs", "qrels", "dataset", "labels")
_IMAGE_FOLDERS = ("", "images", "Images", "pictures", "photos")


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a table is meant. image, text: columns; None: of a usual name. where: column → value wanted.

    images: the folder that paths are relative to; None: the table's own, or `images` in it.
    """

    image: str | None = None
    text: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    images: str | None = None

    @classmethod
    def of(
        cls,
        image: str | None,
        text: str | None,
        split: str | None,
        where: Mapping[str, str] | None,
        images: str | os.PathLike[str] | None,
    ) -> Selection:
        """split: wanted in the column `split`."""
        wanted = dict(where or {}) | ({} if split is None else {"split": split})
        return cls(image, text, wanted, None if images is None else os.path.expanduser(os.fspath(images)))

    @property
    def words(self) -> list[str]:
        """Which rows are wanted, as people read it."""
        return [f"{name} = {value}" for name, value in self.where.items()]


@dataclass(frozen=True, slots=True)
class PictureRow:
    """One row: its picture, what its text column holds, the whole row, and where that is, for errors."""

    picture: ImageInput
    value: Any
    row: Row
    where: str


def picture_rows(
    files: Sequence[str], selection: Selection, usual: Sequence[str], what: str = "text"
) -> Iterator[PictureRow]:
    """The rows of tables that are meant. usual: names of the text column; what: it holds, for errors.

    Raises InputError, which names the file and the row; also where no row is meant.
    """
    pictures = Pictures(os.path.dirname(files[0]), selection.images)
    wanted, taken = selection.where, 0
    seen: dict[str, dict[str, None]] = {name: {} for name in wanted}
    image = text = ""
    for number, (where, row) in enumerate(_all_rows(files)):
        if number == 0:
            image = column_of(row, selection.image, IMAGE_COLUMNS, "picture", where)
            others = {name: value for name, value in row.items() if name != image}
            text = column_of(others, selection.text, usual, what, where)
            for name in wanted:
                column_of(row, name, (), name, where)
        for name, values in seen.items():
            if len(values) < 6:
                values[str(row.get(name))] = None
        if all(str(row.get(name)) == value for name, value in wanted.items()):
            taken += 1
            yield PictureRow(_picture(row.get(image), pictures, where), row.get(text), row, where)
    if not taken:
        asked = ", ".join(selection.words)
        held = "; ".join(f"{name}: {', '.join(values)}" for name, values in seen.items())
        raise InputError(f"{files[0]}: no row has {asked or 'a picture'}", f"There is {held or 'no row'}")


def files_of(path: str) -> list[str]:
    """The tables that make up a set: the file itself, or what lies in a folder. Raises InputError."""
    if not os.path.isdir(path):
        return [path]
    names = sorted(name for name in os.listdir(path) if not name.startswith("."))
    tables = [name for name in names if Path(name).suffix.lower() in (*TABLE_SUFFIXES, ".json")]
    called = [name for name in tables if Path(name).stem.lower().partition("_")[0] in _NAMED_SO]
    if len(tables) > 1 and not _is_one_set(tables):
        tables = called or tables
    if len(tables) == 1 or _is_one_set(tables):
        return [os.path.join(path, name) for name in tables]
    if not tables:
        remedy = f"Wanted one of {', '.join((*TABLE_SUFFIXES, '.json'))}, with pictures named or inside"
        raise InputError(f"{path}: there is no table in this folder", remedy)
    raise InputError(f"{path} holds several tables: {', '.join(tables)}", "Name the one that is meant")


def column_of(row: Row, name: str | None, usual: Sequence[str], what: str, where: str) -> str:
    """A column by its name, or by one of the usual names in any case. Raises InputError."""
    found = named(row, usual) if name is None else name if name in row else None
    if found is None:
        unclear = f"{where}: it is not clear which column has the {what}"
        raise InputError(
            f"{where} has no {name!r}" if name else unclear,
            f"Its columns are {', '.join(map(repr, row))}; say which is meant",
        )
    return found


def named(row: Row, names: Sequence[str]) -> str | None:
    """The first of some names that a row has, in any case."""
    known = {str(name).lower(): str(name) for name in row}
    return next((known[name] for name in names if name in known), None)


class Pictures:
    """Finds the pictures that a table names: beside it, or in a folder of its."""

    def __init__(self, beside: str, folder: str | None) -> None:
        usual = [os.path.join(beside, name) for name in _IMAGE_FOLDERS]
        self._folders = usual if folder is None else [folder]
        self._found: str | None = None

    def at(self, name: str) -> str:
        """The path of a picture; where none is there, beside the table, so that an error names it."""
        if os.path.isabs(name):
            return name
        if self._found is None:
            there = (path for path in self._folders if os.path.exists(os.path.join(path, name)))
            self._found = next(there, None)
        return os.path.join(self._folders[0] if self._found is None else self._found, name)


def _all_rows(files: Sequence[str]) -> Iterator[tuple[str, Row]]:
    for file in files:
        for number, row in enumerate(read_table(file), 1):
            yield f"{file}: row {number}", row


def _is_one_set(tables: Sequence[str]) -> bool:
    """Whether tables are one set in pieces."""
    return bool(tables) and all(name.lower().endswith(".parquet") for name in tables)


def _picture(value: Any, pictures: Pictures, where: str) -> ImageInput:
    """A path, or bytes, as a table has it."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes) and value:
        return value
    if isinstance(value, str) and value.strip():
        return pictures.at(value.strip())
    raise InputError(f"{where} has {brief(value)} for its picture", "Wanted a path, or a picture's bytes")
