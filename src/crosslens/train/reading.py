"""Training data on disk → pairs: tables with pictures or their paths, and class folders."""

from __future__ import annotations

import os
from pathlib import Path

from crosslens.arguments import brief
from crosslens.decode import read_bytes
from crosslens.errors import InputError
from crosslens.matching.classes import load_classes
from crosslens.matching.datasets import Pairs as DataSet
from crosslens.matching.reading import load_pairs
from crosslens.train.pairs import Pairs, split
from crosslens.train.recipe import DataSpec, Recipe
from crosslens.types import ImageInput

# Texts of a label that stands for a class of pictures.
_TEMPLATES = ("{}", "a {}", "a photo of a {}", "a picture of a {}")


def read_pairs(recipe: Recipe, folder: Path) -> tuple[Pairs, Pairs]:
    """Training and held-out pairs. folder: that paths in the recipe are relative to. Raises InputError."""
    data = recipe.data
    train = _read(data, folder / Path(data.train).expanduser(), data.train_split)
    if data.val is not None or data.val_split is not None:
        place = data.train if data.val is None else data.val
        return train, _read(data, folder / Path(place).expanduser(), data.val_split)
    return split(train, data.val_fraction, recipe.seed)


def _read(data: DataSpec, place: Path, part: str | None) -> Pairs:
    if data.classes:
        found = load_classes(place, image_column=data.image_column, class_column=data.text_column, split=part)
        said = [tuple(t.format(found.classes[label]) for t in _TEMPLATES) for label in found.labels.tolist()]
        return Pairs([_bytes(image) for image in found.images], said, found.image_ids)
    pairs = load_pairs(
        place,
        image_column=data.image_column,
        text_column=data.text_column,
        label_column=data.label_column,
        split=part,
    )
    return of_data_set(pairs)


def of_data_set(pairs: DataSet) -> Pairs:
    """Pictures with the texts that match them.

    Pictures without one, and texts that match none, are left out.
    """
    texts: list[list[str]] = [[] for _ in pairs.images]
    matches = [1] * len(pairs.texts) if pairs.labels is None else pairs.labels.tolist()
    for text, row, match in zip(pairs.texts, pairs.text_to_image.tolist(), matches, strict=True):
        if match and text not in texts[row]:
            texts[row].append(text)
    kept = [row for row, said in enumerate(texts) if said]
    if not kept:
        raise InputError(f"{pairs.name}: no picture matches a text", "Check the column of labels")
    return Pairs(
        [_bytes(pairs.images[row]) for row in kept],
        [tuple(texts[row]) for row in kept],
        [pairs.image_ids[row] for row in kept],
    )


def _bytes(image: ImageInput) -> bytes:
    if isinstance(image, bytes):
        return image
    if not isinstance(image, str | os.PathLike):
        raise InputError(f"a picture is {brief(image)}", "Give paths, or the bytes of files")
    return read_bytes(image)
