"""The model catalogue: a name or folder → a bundle on disk."""

from __future__ import annotations

import difflib
import os
import re
from os import PathLike, fspath
from pathlib import Path

from crosslens import app_folders
from crosslens.errors import UnknownModelError
from crosslens.models.bundle import Bundle, load_bundle
from crosslens.models.catalogue_entry import STARTER, Choice, Entry
from crosslens.models.known_models import TABLE

__all__ = ["CATALOGUE", "STARTER", "Entry", "entry_of", "find_bundle", "is_built_in", "local_name"]

CATALOGUE = {entry.name: entry for entry in TABLE}
_BY_REPO = {entry.repo.lower(): entry for entry in TABLE if entry.repo}
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_REPO = re.compile(r"(hf-hub:)?([A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*)")


def is_built_in(bundle: Bundle) -> bool:
    """Whether a bundle is part of this package, where nothing is ever written."""
    return Path(__file__).parent in bundle.folder.parents


def entry_of(name: str) -> Entry | None:
    """The catalogue's entry of a model given by our name or by its repository's; None if it has none."""
    return CATALOGUE.get(name) or _BY_REPO.get(name.removeprefix("hf-hub:").lower())


def repo_of(name: str) -> str | None:
    """The repository that a name is, owner/name with or without "hf-hub:"; None if it is none."""
    match = _REPO.fullmatch(name)
    return match[2] if match else None


def own_name(name: str) -> str | None:
    """What a model given by name is called here; None for what cannot be a name."""
    entry = entry_of(name)
    if entry is not None:
        return entry.name
    repo = repo_of(name)
    # With its owner: others may have a model of the same name.
    plain = repo.replace("/", "--").lower() if repo else name
    return plain if _PLAIN.fullmatch(plain) else None


def local_name(model: str | PathLike[str]) -> str | None:
    """The name by which a model is here, built in or pulled; None if it is a folder, or not here."""
    name = own_name(fspath(model))
    return name if name is not None and os.path.isfile(_folder(name) / "config.json") else None


def find_bundle(model: str | PathLike[str]) -> Bundle:
    """The bundle of a model: built in, pulled, or in a folder.

    Raises UnknownModelError, with the command that gets it or with the nearest names, or BundleError.
    """
    asked = fspath(model)
    name = local_name(asked)
    if name is not None:
        return load_bundle(_folder(name))
    folder = os.path.expanduser(asked)
    if os.path.isdir(folder):  # false for "", too
        return load_bundle(Path(folder).resolve())
    entry = entry_of(asked)
    if entry is not None:
        raise UnknownModelError(f"{entry.name} is not on this machine yet", how_to_get(entry))
    raise _unknown(asked)


def how_to_get(entry: Entry) -> str:
    """What to do about a model that is not here, with and without a network."""
    return (
        f"Get it with: crosslens models pull {entry.name} (about {entry.download / 1e9:.1f} GB). "
        f"Without a network: {by_hand(entry)}"
    )


def by_hand(entry: Entry) -> str:
    """Which files to put where."""
    at = f"/tree/{entry.revision}" if entry.revision else ""
    return (
        f"put {files_of(entry.layout)} of huggingface.co/{entry.repo}{at} into a folder, and: "
        f"crosslens models pull {entry.name} --from FOLDER"
    )


def files_of(layout: tuple[Choice, ...]) -> str:
    """The files of a layout, in words."""
    needed = [" and ".join(choice[0]) for choice in layout if () not in choice]
    welcome = [" and ".join(choice[0]) for choice in layout if () in choice]
    others = layout[-1][1:] if layout else ()
    instead = f" (or {' or '.join(' and '.join(names) for names in others)})" if others else ""
    return ", ".join(needed) + instead + (f", and if they are there {', '.join(welcome)}," if welcome else "")


def _folder(name: str) -> Path:
    return CATALOGUE[name].folder if name in CATALOGUE else app_folders.models() / name


def _unknown(name: str) -> UnknownModelError:
    near = difflib.get_close_matches(name.lower(), CATALOGUE, n=3, cutoff=0.6)
    hub = f"; this one, if it is on the hub: crosslens models pull {name}" if repo_of(name) else ""
    return UnknownModelError(
        f"there is no model named {name!r}, and no folder of that name",
        (f"Did you mean {' or '.join(near)}? " if near else "")
        + f"Built in is {STARTER}; `crosslens models` lists all that are known by name; any other is given as"
        + f" the path of its bundle folder{hub}",
    )
