"""The sample that `models check` takes: the user's own pictures, and their texts or ours."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crosslens.acquire.certify import Sample
from crosslens.cli.output.render import Output
from crosslens.errors import ImageError, ImageNotFoundError, InputError, LibraryError
from crosslens.images.decode import decode
from crosslens.images.folder_walk import walk
from crosslens.library.library import Library
from crosslens.models.bundle import Bundle
from crosslens.models.probe_texts import captions
from crosslens.texts.tabular_files import column, read_table

FEW = 200


@dataclass(frozen=True, slots=True)
class Material:
    """Where the pictures and texts are.

    images: a folder; None: the pictures of the library. captions: a table of pictures with their texts.
    limit: of the pictures.
    """

    images: Path | None
    library: Path | None
    captions: str | None = None
    image_column: str = "image"
    text_column: str = "caption"
    limit: int = FEW


def sample(output: Output, bundle: Bundle, material: Material) -> Sample:
    """Pictures and texts for a check. Raises InputError where there are too few."""
    if material.captions is not None:
        return _captioned(output, material)
    pictures = list(_readable(output, _spread(_pictures(material), material.limit)))
    return Sample(pictures, captions(bundle.spec.scripts))


def any_pictures(material: Material) -> bool:
    """Whether there are pictures to check a model with, without asking for any."""
    try:
        return len(_pictures(material)) >= FEW // 4
    except InputError:
        return False


def _pictures(material: Material) -> list[str]:
    """Paths of all the pictures. Raises InputError without any."""
    if material.images is not None:
        if not material.images.is_dir():
            raise ImageNotFoundError(str(material.images), "there is no such folder", "Check the spelling")
        return [
            item.path
            for item in walk(
                str(material.images),
                skip=frozenset(),
                on_error=lambda _path, _reason: None,
                on_ignored=lambda _path, _reason: None,
            )
        ]
    try:
        with Library.open(material.library) as library:
            items = [item for item in library.items() if item.text is None and item.online]
    except LibraryError as error:
        raise InputError(
            f"there are no pictures to check it with: {error.problem}", "Name a folder of some: --images DIR"
        ) from error
    paths = [item.path for item in items if os.path.isfile(item.path)]
    if not paths:
        raise InputError("the library holds no pictures to check it with", "Name some: --images DIR")
    return paths


def _captioned(output: Output, material: Material) -> Sample:
    """Pictures of a table, and the rows' texts with the place of the picture each belongs to."""
    table = str(material.captions)
    rows = column(read_table(table), material.image_column, table)
    texts: dict[str, list[str]] = {}
    for row, image in rows:
        path = _found(image, table, material.images)
        if path in texts or len(texts) < material.limit:
            [(_, text)] = column(iter([row]), material.text_column, table)
            texts.setdefault(path, []).append(text)
    pictures = list(_readable(output, list(texts)))
    every = [(text, place) for place, picture in enumerate(pictures) for text in texts[picture]]
    return Sample(pictures, [text for text, _ in every], [place for _, place in every])


def _found(image: str, table: str, folder: Path | None) -> str:
    """A picture named in a table: in the folder given, beside the table, or as it stands."""
    places = [folder] if folder is not None else [Path(table).parent, Path()]
    return next((str(path / image) for path in places if path and (path / image).is_file()), image)


def _spread(items: Sequence[str], count: int) -> list[str]:
    """At most so many, evenly from all over."""
    count = min(count, len(items))
    return [items[number * len(items) // count] for number in range(count)]


def _readable(output: Output, paths: Sequence[str]) -> Iterator[str]:
    """Those that can be decoded; the others are named."""
    for path in paths:
        try:
            decode(path, path, shrink_to=64)
        except ImageError as error:
            output.warn(f"{error.source}: {error.reason}; left out")
        else:
            yield path
