"""Stage 1, read: folders and files → `Item`s, lazily, saying what is passed over.

Only names and sizes are looked at here; nothing is opened.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator

from crosslens.types import Item

# What the decode stage can read, by the endings people give such files.
IMAGE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("jpg", "jpeg", "jpe", "jfif", "mpo", "png", "apng", "webp", "gif", "bmp", "dib"),
        *("tif", "tiff", "avif", "jp2", "j2k", "jpx", "ppm", "pgm", "pbm", "pnm"),
    )
)

OnError = Callable[[str, str], None]


def has_image_name(path: str) -> bool:
    """Whether a path ends like a picture's."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES


def walk(root: str, *, skip: frozenset[str], on_error: OnError, on_ignored: OnError) -> Iterator[Item]:
    """Yield the pictures at or below root, sorted within each folder; a file given as root always counts.

    Names that begin with a dot are hidden and left out. Linked folders are followed, each real folder
    once, so a link that points upwards does no harm. Folders in `skip` are not entered.
    on_error(path, reason): called for what cannot be looked at.
    on_ignored(path, reason): called for files not named like a picture.
    """
    if not os.path.isdir(root):
        yield from _item(root, on_error)
        return
    entered: set[tuple[int, int]] = set()
    folders = [root]
    while folders:
        folder = folders.pop()
        below: list[str] = []
        for entry in _entries(folder, entered, on_error):
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                if entry.path not in skip:
                    below.append(entry.path)
            elif has_image_name(entry.name):
                yield from _item(entry.path, on_error)
            else:
                on_ignored(entry.path, "its name is not that of a picture")
        folders.extend(reversed(below))


def _entries(folder: str, entered: set[tuple[int, int]], on_error: OnError) -> list[os.DirEntry[str]]:
    """Entries of a folder by name; empty when it was entered before under another name."""
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            return []
        entered.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        on_error(folder, f"the folder cannot be read ({error.strerror})")
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself; looking at it as a file will say so
        return False


def _item(path: str, on_error: OnError) -> Iterator[Item]:
    try:
        status = os.stat(path)
    except OSError as error:
        on_error(path, f"the file cannot be read ({error.strerror})")
        return
    if not stat.S_ISREG(status.st_mode):
        on_error(path, "this is no regular file")  # reading from a pipe might never end
        return
    yield Item(path, status.st_size, status.st_mtime_ns)
