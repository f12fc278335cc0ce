"""Folder walk: folders and files → `Item`s, lazily, with ignore rules; says what is passed over.

Only names and sizes are looked at here; nothing is opened but `.crosslensignore`, which says in gitignore's
syntax what below its folder is to be left alone.
"""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

from crosslens.images.path_selection import folders_above
from crosslens.types import Item

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

# What the decode stage can read, by the endings people give such files.
IMAGE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("jpg", "jpeg", "jpe", "jfif", "mpo", "png", "apng", "webp", "gif", "bmp", "dib"),
        *("tif", "tiff", "avif", "heic", "heif", "hif", "jp2", "j2k", "jpx", "ppm", "pgm", "pbm", "pnm"),
    )
)

IGNORE_FILE = ".crosslensignore"
_LARGEST_IGNORE_FILE = 1 << 20

OnError = Callable[[str, str], None]
# A folder and what its ignore file says, for every such file above a place, the outermost first.
_Rules = tuple[tuple[str, "GitIgnoreSpec"], ...]


def has_image_name(path: str) -> bool:
    """Whether a path ends like a picture's."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES


def walk(
    root: str,
    *,
    skip: frozenset[str],
    on_error: OnError,
    on_ignored: OnError,
    only: Collection[str] | None = None,
) -> Iterator[Item]:
    """Yield the pictures at or below root, sorted within each folder; a file given as root always counts.

    Names that begin with a dot are hidden and left out. Linked folders are followed, each real folder
    once, so a link that points upwards does no harm. Folders in `skip` are not entered.
    only: files and folders below root. Nothing else is looked at but the names in the folders above them.
    on_error(path, reason): called for what cannot be looked at, and for an ignore file that cannot be used.
    on_ignored(path, reason): called for files not named like a picture, and for pictures and folders that an
    ignore file names; what is below such a folder is not looked at.
    """
    if not os.path.isdir(root):
        yield from _item(root, on_error)
        return
    entered: set[tuple[int, int]] = set()
    named = frozenset(only or ())
    towards = {above for path in named for above in (path, *folders_above(path))}
    # A folder, the rules that hold in it, and whether all of it is looked at.
    folders: list[tuple[str, _Rules, bool]] = [(root, (), only is None)]
    while folders:
        folder, rules, whole = folders.pop()
        below: list[tuple[str, _Rules, bool]] = []
        entries = _entries(folder, entered, on_error)
        if any(entry.name == IGNORE_FILE for entry in entries):
            rules += _rules(folder, on_error)
        for entry in entries:
            if entry.name.startswith(".") or not (whole or entry.path in towards):
                continue
            is_folder = _is_folder(entry)
            if not is_folder and not has_image_name(entry.name):
                on_ignored(entry.path, "its name is not that of a picture")
            elif rules and _is_ignored(entry.path, is_folder, rules):
                on_ignored(entry.path, f"named in {IGNORE_FILE}")
            elif not is_folder:
                yield from _item(entry.path, on_error)
            elif entry.path not in skip:
                below.append((entry.path, rules, whole or entry.path in named))
        folders.extend(reversed(below))


def _is_ignored(path: str, is_folder: bool, rules: _Rules) -> bool:
    """What the nearest ignore file says that says anything about a path."""
    for folder, spec in reversed(rules):
        # A wildcard stops at a line break, which names may hold and patterns may not.
        relative = os.path.relpath(path, folder).replace("\n", "\r") + ("/" if is_folder else "")
        include = spec.check_file(relative).include
        if include is not None:
            return include
    return False


def _rules(folder: str, on_error: OnError) -> _Rules:
    """What a folder's ignore file says. A line that is no pattern is reported, the others hold."""
    from pathspec import GitIgnoreSpec

    path = os.path.join(folder, IGNORE_FILE)
    patterns = []
    for number, line in enumerate(_lines(path, on_error), start=1):
        try:
            patterns.append(_pattern(line))
        except Exception as error:  # pathspec's own or the regular expressions'
            on_error(path, f"line {number} is no pattern: {line!a:.60} ({error})")
    # Its other ways of matching need libraries that may be there or not.
    return ((folder, GitIgnoreSpec(patterns, backend="simple")),)


def _pattern(line: str) -> GitIgnoreSpecPattern:
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of brackets that Python may read otherwise some day
        pattern = GitIgnoreSpecPattern(line)
    if pattern.include is None and line.strip() and not line.startswith("#"):
        raise ValueError("it matches nothing")
    return pattern


def _lines(path: str, on_error: OnError) -> list[str]:
    """Lines of an ignore file, bytes that are no UTF-8 as names have them."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            on_error(path, "this is no regular file")
        elif status.st_size > _LARGEST_IGNORE_FILE:
            on_error(path, f"{status.st_size:,} bytes are too many for an ignore file")
        else:
            with open(path, "rb") as file:
                text = os.fsdecode(file.read(_LARGEST_IGNORE_FILE).removeprefix(b"\xef\xbb\xbf"))
            return [line.removesuffix("\r") for line in text.split("\n")]
    except OSError as error:
        on_error(path, f"the file cannot be read ({error.strerror})")
    return []


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
