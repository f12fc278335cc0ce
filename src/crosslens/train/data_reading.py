"""Training data on disk → pairs: tables with pictures or their paths, and class folders."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from crosslens.arguments import brief
from crosslens.errors import InputError
from crosslens.evaluation.caption_sets import load_pairs
from crosslens.evaluation.class_folders import load_classes
from crosslens.evaluation.datasets import Pairs as DataSet
from crosslens.evaluation.table_rows import files_of
from crosslens.images.decode import read_bytes
from crosslens.texts.tabular_files import read_table
from crosslens.train.pair_dataset import Pairs, split, split_rows
from crosslens.train.recipe import DataSpec, Recipe
from crosslens.types import ImageInput

# Texts of a label that stands for a class of pictures.
_TEMPLATES = ("{}", "a {}", "a photo of a {}", "a picture of a {}")


def read_pairs(recipe: Recipe, folder: Path) -> tuple[Pairs, Pairs]:
    """Training and held-out pairs. folder: that paths in the recipe are relative to. Raises InputError."""
    train = _read(recipe.data, folder / Path(recipe.data.train).expanduser(), recipe.data.train_split)
    val = _held_out(recipe.data, folder)
    return (train, val) if val is not None else split(train, recipe.data.val_fraction, recipe.seed)


def read_labelled(data: DataSpec, folder: Path, seed: int) -> tuple[Pairs, Pairs, list[tuple[int, str]]]:
    """(training pairs, held-out pairs, pairs that do not match: row of a training picture, text).

    Without a column of labels there are none of the last. Raises InputError.
    """
    place = folder / Path(data.train).expanduser()
    if data.classes or data.label_column is None:
        train, negatives = _read(data, place, data.train_split), list[tuple[int, str]]()
    else:
        train, negatives = with_negatives(_load(data, place, data.train_split))
    val = _held_out(data, folder)
    if val is not None:
        return train, val, negatives
    said = [row for row, texts in enumerate(train.texts) if texts]
    held = [said[row] for row in split_rows(len(said), data.val_fraction, seed)[1]]
    kept = [row for row in range(len(train)) if row not in set(held)]
    new = {row: number for number, row in enumerate(kept)}
    left = [(new[row], text) for row, text in negatives if row in new]
    return train.subset(kept), train.subset(held), left


def _held_out(data: DataSpec, folder: Path) -> Pairs | None:
    if data.val is None and data.val_split is None:
        return None
    place = data.train if data.val is None else data.val
    return _read(data, folder / Path(place).expanduser(), data.val_split)


def _read(data: DataSpec, place: Path, part: str | None) -> Pairs:
    if data.classes:
        found = load_classes(place, image_column=data.image_column, class_column=data.text_column, split=part)
        said = [tuple(t.format(found.classes[label]) for t in _TEMPLATES) for label in found.labels.tolist()]
        return Pairs([_bytes(image) for image in found.images], said, found.image_ids)
    if data.group_column is None:
        return of_data_set(_load(data, place, part))
    groups = {
        group: of_data_set(_load(data, place, part, {data.group_column: group}))
        for group in _values(place, data.group_column, part)
    }
    return Pairs(
        [image for pairs in groups.values() for image in pairs.images],
        [texts for pairs in groups.values() for texts in pairs.texts],
        [source for pairs in groups.values() for source in pairs.sources],
        [group for group, pairs in groups.items() for _ in range(len(pairs))],
    )


def _values(place: Path, column: str, part: str | None) -> list[str]:
    """What stands in a column of the rows of a split. Raises InputError where a row has nothing there."""
    found: set[str] = set()
    for file in files_of(str(place)):
        for number, row in enumerate(read_table(file)):
            if part is not None and str(row.get("split")) != part:
                continue
            if row.get(column) is None:
                raise InputError(f"{file}: row {number} has no {column!r}", "Check data.group_column")
            found.add(str(row[column]))
    return sorted(found)


def _load(data: DataSpec, place: Path, part: str | None, where: Mapping[str, str] | None = None) -> DataSet:
    return load_pairs(
        place,
        image_column=data.image_column,
        text_column=data.text_column,
        label_column=data.label_column,
        split=part,
        where=where,
    )


def of_data_set(pairs: DataSet) -> Pairs:
    """Pictures with the texts that match them.

    Pictures without one, and texts that match none, are left out.
    """
    found, _ = with_negatives(pairs)
    return found.subset([row for row, said in enumerate(found.texts) if said])


def with_negatives(pairs: DataSet) -> tuple[Pairs, list[tuple[int, str]]]:
    """All pictures with the texts that match them, and (row, text) of the pairs that do not.

    A picture that only such pairs name has no texts. Raises InputError where no picture has any.
    """
    texts: list[dict[str, None]] = [{} for _ in pairs.images]
    negatives: dict[tuple[int, str], None] = {}
    matches = [1] * len(pairs.texts) if pairs.labels is None else pairs.labels.tolist()
    for text, row, match in zip(pairs.texts, pairs.text_to_image.tolist(), matches, strict=True):
        if match:
            texts[row][text] = None
        else:
            negatives[row, text] = None
    if not any(texts):
        raise InputError(f"{pairs.name}: no picture matches a text", "Check the column of labels")
    return (
        Pairs([_bytes(image) for image in pairs.images], [tuple(said) for said in texts], pairs.image_ids),
        list(negatives),
    )


def _bytes(image: ImageInput) -> bytes:
    if isinstance(image, bytes):
        return image
    if not isinstance(image, str | os.PathLike):
        raise InputError(f"a picture is {brief(image)}", "Give paths, or the bytes of files")
    return read_bytes(image)
