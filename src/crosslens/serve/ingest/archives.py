"""ZIP archives of pictures: which entries are extracted, and which archives are refused."""

from __future__ import annotations

import lzma
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from crosslens.images.folder_walk import has_image_name
from crosslens.serve.config import RequestLimits
from crosslens.serve.error_responses import Problem, too_large

NO_PICTURE = "its name is not that of a picture"
_BLOCK = 1 << 20
# Of the list at the end of an archive, for an entry: its name and all.
_BYTES_PER_ENTRY = 1 << 10
_DRIVE = re.compile(r"[A-Za-z]:")
# What `zipfile` and the decompressors raise, from what was made to break them too.
_FOUL = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, ValueError,
         RuntimeError, IndexError, OverflowError)  # fmt: skip


class BrokenError(Exception):
    """An archive, or an entry of one, cannot be read."""


def is_archive(name: str) -> bool:
    """Whether a file is unpacked."""
    return name.lower().endswith(".zip")


def open_archive(path: Path) -> zipfile.ZipFile:
    """An archive with its list read. Raises BrokenError, FileNotFoundError."""
    with _read():
        return zipfile.ZipFile(path)


def blocks_of(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """The bytes of an entry, never more of them than the archive's list says. Raises BrokenError."""
    with _read(), archive.open(info) as entry:
        while block := entry.read(_BLOCK):
            yield block


def check_archive(path: Path, name: str, limits: RequestLimits) -> None:
    """Refuse an archive that would become too much. Raises Problem."""
    try:
        with path.open("rb") as file, _read():
            end = cast(Any, zipfile)._EndRecData(file)  # what `ZipFile` itself would go by
        if end and (end[4] > limits.zip_entries or end[5] > limits.zip_entries * _BYTES_PER_ENTRY):
            raise _too_many(name, limits)
        with open_archive(path) as archive:
            entries = archive.infolist()
    except BrokenError:
        return  # the job will say so, and take in the rest
    if len(entries) > limits.zip_entries:
        raise _too_many(name, limits)
    size, unpacked = path.stat().st_size, sum(info.file_size for info in entries)
    if unpacked > limits.upload or unpacked > max(size, 1) * limits.zip_ratio:
        raise too_large(f"{name} would become {unpacked:,} bytes")


def sorted_out(archive: zipfile.ZipFile, limits: RequestLimits) -> Iterator[tuple[zipfile.ZipInfo, str]]:
    """Entries of an archive, each with why it is refused, or "". Folders and hidden files are passed over."""
    for info in archive.infolist():
        parts = [part for part in re.split(r"[/\\]", info.filename) if part]
        escapes = ".." in parts or info.filename[:1] in ("/", "\\") or _DRIVE.match(info.filename)
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts if part != "..")
        if escapes:
            yield info, "its path leads out of the archive"
        elif info.is_dir() or hidden or not parts:
            continue
        elif info.flag_bits & 1:
            yield info, "it is encrypted"
        elif not stat.S_ISREG(info.external_attr >> 16) and stat.S_IFMT(info.external_attr >> 16):
            yield info, "it is no regular file"
        elif is_archive(info.filename):
            yield info, "an archive in an archive is not opened"
        elif not has_image_name(info.filename):
            yield info, NO_PICTURE
        elif info.file_size > limits.file:
            yield info, f"it has more than {limits.file:,} bytes"
        else:
            yield info, ""


@contextmanager
def _read() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except _FOUL as error:
        raise BrokenError(str(error)) from error


def _too_many(name: str, limits: RequestLimits) -> Problem:
    return too_large(f"{name} has more than {limits.zip_entries:,} files")
