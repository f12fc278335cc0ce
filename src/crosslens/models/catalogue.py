"""The models known by name."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path

from crosslens.errors import UnknownModelError
from crosslens.models.bundle import Bundle, load_bundle

STARTER = "starter"


@dataclass(frozen=True, slots=True)
class Entry:
    """A model that can be asked for by name. folder: where its bundle lies."""

    name: str
    summary: str
    folder: Path


CATALOGUE = {
    entry.name: entry
    for entry in (
        Entry(
            STARTER,
            "the small embedded model: English, everyday things; no download",
            Path(__file__).parent / "starter",
        ),
    )
}


def find_bundle(model: str | PathLike[str]) -> Bundle:
    """The bundle of a model given by name or by folder.

    Raises UnknownModelError (with the nearest names) or BundleError.
    """
    name = fspath(model)
    if name in CATALOGUE:
        return load_bundle(CATALOGUE[name].folder)
    folder = Path(os.path.expanduser(name))
    if folder.is_dir():
        return load_bundle(folder.resolve())
    near = difflib.get_close_matches(name.lower(), CATALOGUE, n=3, cutoff=0.5)
    raise UnknownModelError(
        f"there is no model named {name!r}, and no folder of that name",
        (f"Did you mean {' or '.join(near)}? " if near else "")
        + f"Known by name: {', '.join(CATALOGUE)}; any other is given as the path of its bundle folder",
    )
