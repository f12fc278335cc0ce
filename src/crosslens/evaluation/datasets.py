"""Data sets of pictures and texts, in memory, as the evaluations take them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from crosslens.arguments import brief, numbers, two_lists
from crosslens.errors import InputError
from crosslens.evaluation.bootstrap import Int64
from crosslens.evaluation.ranks import Relevance
from crosslens.images.open_image import name_of
from crosslens.types import ImageInput


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pictures, each once, and texts, each with its picture.

    name: what the set is called in reports. images: paths, or the bytes of image files.
    image_ids: what stands for each picture in results. texts: as read; a text that occurs twice is two
    queries.
    text_to_image: int64 (texts,), row of each text's picture.
    labels: int64 (texts,), whether text and picture match (1) or not (0); None where all do.
    judgements: int64 (m, 3), rows of text, picture and relevance, where graded relevance says what belongs
    together in place of text_to_image; else None.
    """

    name: str
    images: tuple[ImageInput, ...]
    image_ids: tuple[str, ...]
    texts: tuple[str, ...]
    text_to_image: Int64
    labels: Int64 | None = None
    judgements: Int64 | None = None

    @classmethod
    def of(
        cls, pairs: Iterable[tuple[ImageInput, str]], labels: ArrayLike | None = None, name: str = "pairs"
    ) -> Pairs:
        """From (picture, text), and labels of 0 or 1 if they do not all match. Raises InputError."""
        builder = Builder(name)
        images, texts = two_lists(pairs)
        values = [None] * len(images) if labels is None else numbers("labels", labels).ravel().tolist()
        if len(values) != len(images):
            raise InputError(f"there are {len(images)} pairs and {len(values)} labels", "Give one to a pair")
        for row, (image, text, label) in enumerate(zip(images, texts, values, strict=True)):
            builder.add(image, [text], f"pair {row}", label=None if label is None else _label(label, row))
        return builder.pairs()

    @property
    def relevance(self) -> Relevance:
        """Which pictures are right for each text."""
        if self.judgements is not None:
            return Relevance.of(*self.judgements.T)
        rows = np.arange(len(self.texts))
        return Relevance.of(
            rows, self.text_to_image, np.ones_like(rows) if self.labels is None else self.labels
        )


@dataclass(slots=True)
class Builder:
    """Gathers pairs row by row; a picture that comes again is recognised by its path or its content."""

    name: str
    images: list[ImageInput] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    judged: list[tuple[int, int, int]] = field(default_factory=list)
    _rows: dict[Any, int] = field(default_factory=dict)
    _queries: dict[str, int] = field(default_factory=dict)

    def add(self, image: ImageInput, texts: Sequence[str], where: str, label: int | None = None) -> None:
        """A picture with its texts. where: of the row, for the id of a picture without a path."""
        row = self._picture(image, where)
        self.texts += texts
        self.owners += [row] * len(texts)
        if label is not None:
            self.labels += [label] * len(texts)

    def judge(self, query: str, image: ImageInput, level: int, where: str) -> None:
        """A relevance judgement; the same text is the same query."""
        row = self._picture(image, where)
        text = self._queries.setdefault(query, len(self.texts))
        if text == len(self.texts):
            self.texts.append(query)
            self.owners.append(row)
        self.judged.append((text, row, level))

    def pairs(self) -> Pairs:
        """What was gathered. Raises InputError where that is nothing."""
        if not self.images or not self.texts:
            lacking = "picture" if not self.images else "text"
            raise InputError(f"{self.name}: there is no {lacking}", "Check the columns and the split")
        return Pairs(
            self.name,
            tuple(self.images),
            tuple(self.ids),
            tuple(self.texts),
            np.array(self.owners, dtype=np.int64),
            np.array(self.labels, dtype=np.int64) if self.labels else None,
            np.array(self.judged, dtype=np.int64) if self.judged else None,
        )

    def _picture(self, image: ImageInput, where: str) -> int:
        is_path = isinstance(image, str | os.PathLike)
        key: Any = id(image)
        if is_path:
            key = os.fspath(image)  # type: ignore[arg-type]
        elif isinstance(image, bytes):
            key = hashlib.sha256(image).digest()
        row = self._rows.setdefault(key, len(self.images))
        if row == len(self.images):
            self.images.append(image)
            self.ids.append(name_of(image, row) if is_path else where)
        return row


def _label(value: float, row: int) -> int:
    if value not in (0, 1):
        raise InputError(f"label {row} is {brief(value)}", "Wanted 0 (no match) or 1 (match)")
    return int(value)
