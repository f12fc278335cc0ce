"""Labelled pictures: folders named after classes, or a table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from crosslens.errors import InputError
from crosslens.evaluation.bootstrap import Int64
from crosslens.evaluation.table_rows import Selection, files_of, picture_rows
from crosslens.images.folder_walk import walk
from crosslens.types import ImageInput

CLASS_COLUMNS = ("label", "class", "category", "labels", "class_name")


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """images: paths, or bytes. classes: their names. labels: int64 (images,), rows of classes."""

    name: str
    images: tuple[ImageInput, ...]
    image_ids: tuple[str, ...]
    classes: tuple[str, ...]
    labels: Int64


def load_classes(
    data: str | os.PathLike[str],
    *,
    image_column: str | None = None,
    class_column: str | None = None,
    split: str | None = None,
    where: Mapping[str, str] | None = None,
    images: str | os.PathLike[str] | None = None,
    names: Mapping[str, str] | None = None,
) -> LabelledImages:
    """Read a set of classes: a folder with one folder of pictures for each class, or a table.

    A folder's name is its class's, with spaces for "_". split: a folder in data that holds the classes'
    folders, or of a table the rows with this in the column `split`. names: what folders or values stand for
    ("n02084071": "dog").
    The other arguments are for tables; see `load_pairs`. Raises InputError, MissingExtraError.
    """
    path = os.path.expanduser(os.fspath(data))
    if not os.path.exists(path):
        raise InputError(f"{path}: there is no such file or folder", "Check the spelling")
    called = dict(names or {})
    if split is not None and os.path.isdir(os.path.join(path, split)):
        path = os.path.join(path, split)
    found, words = _in_folders(path) if os.path.isdir(path) else [], list[str]()
    if not found:
        selection = Selection.of(image_column, class_column, split, where, images)
        words = selection.words
        found = [
            (row.picture, row.picture if isinstance(row.picture, str) else row.where, str(row.value))
            for row in picture_rows(files_of(path), selection, CLASS_COLUMNS, "class")
        ]
    label_of = {value: called.get(value, value.replace("_", " ")) for _, _, value in found}
    classes = tuple(dict.fromkeys(label_of[value] for value in sorted(label_of)))
    if len(classes) < 2:
        remedy = "Give a folder with a folder of pictures for each class, or a table with a column of classes"
        raise InputError(f"{path} holds pictures of one class only", remedy)
    row_of = {name: row for row, name in enumerate(classes)}
    labels = np.array([row_of[label_of[value]] for _, _, value in found], dtype=np.int64)
    name = ", ".join([os.path.basename(os.path.abspath(path)), *words])
    return LabelledImages(
        name, tuple(image for image, _, _ in found), tuple(id_ for _, id_, _ in found), classes, labels
    )


def _in_folders(folder: str) -> list[tuple[ImageInput, str, str]]:
    """(path, path, class) of every picture in a folder's folders; none where only one folder has any."""
    found: list[tuple[ImageInput, str, str]] = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir() and not entry.name.startswith("."):
            items = walk(
                entry.path,
                skip=frozenset(),
                on_error=lambda _path, _reason: None,
                on_ignored=lambda _path, _reason: None,
            )
            found += [(item.path, item.path, entry.name) for item in items]
    return found if len({name for _, _, name in found}) > 1 else []
