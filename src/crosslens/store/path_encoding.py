"""Paths in the database: text, or bytes where a name is not valid UTF-8; and keys of texts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from numbers import Integral
from typing import Any

from crosslens.arguments import several_paths, whole

# Begins the path of an item that is in no file. No absolute path begins so.
ADDED = "added:"


def to_sql(path: str) -> str | bytes:
    """A path as SQLite keeps it: text, or bytes where the name is not valid UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def from_sql(value: str | bytes) -> str:
    """A path as Python keeps it."""
    return value if isinstance(value, str) else os.fsdecode(value)


def targets_of(targets: Any) -> list[str | int]:
    """Items as they are named by one or several: ids, paths made absolute, "added:NAME" as it is.

    Raises InputError for what names nothing.
    """
    one = isinstance(targets, str | bytes | os.PathLike) or not isinstance(targets, Iterable)
    named: list[str | int] = []
    for target in [targets] if one else targets:
        if isinstance(target, Integral):
            named.append(whole("an id", target))
        else:
            [path] = several_paths("what to remove", target)
            named.append(path if path.startswith(ADDED) else os.path.abspath(path))
    return named


def is_below(path: str, folder: str) -> bool:
    """Whether a path lies below a folder (a folder is not below itself)."""
    return path.startswith(folder.rstrip(os.sep) + os.sep) and path != folder


def below_root(path: str, root: str) -> str:
    """A path as it goes on below the folder that was indexed; of a file that was itself, its name."""
    if is_below(path, root):
        return path[len(root.rstrip(os.sep)) + 1 :]
    return path if path.startswith(ADDED) else os.path.basename(path)


def text_hash(text: str) -> bytes:
    """What stands for a text as content: SHA-256 of "text", a zero byte and the text."""
    return hashlib.sha256(b"text\0" + text.encode()).digest()


def path_range(path: str) -> list[tuple[str | bytes, str | bytes, str | bytes]]:
    """(path, first, last): what lies below a path sorts between the two; as text and as bytes."""
    # "0" follows "/".
    raw = os.fsencode(path)
    text = to_sql(path)
    ranges: list[tuple[str | bytes, str | bytes, str | bytes]] = [(raw, raw + b"/", raw + b"0")]
    if isinstance(text, str):
        ranges.append((text, text + "/", text + "0"))
    return ranges
