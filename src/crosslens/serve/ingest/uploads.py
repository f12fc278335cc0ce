"""Uploads: streamed from the socket to the disk, never all in memory.

    files/.incoming/ID    on its way; deleted when it does not arrive whole
    files/.accepted/ID    arrived, or the name of a folder to index: a job takes it in (intake.py)
    files/NAME            taken in

What was accepted when the process was killed is taken in after the next start.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import time
import unicodedata
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from crosslens.serve.config import RequestLimits
from crosslens.serve.error_responses import Problem, invalid, too_large
from crosslens.store.schema import explained

INCOMING, ACCEPTED = ".incoming", ".accepted"
NAMES, FOLDER = "names.json", "folder.json"
_LONGEST_NAME = 200  # bytes; file systems take 255, and a number may follow
_OLD_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Arrived:
    """A file that came. file: its name in the folder of the upload; name: what it is to be called."""

    file: str
    name: str
    size: int
    sha256: str


def safe_name(text: str) -> str:
    """What a client calls a file, as one in a folder can be called: not hidden, nothing unprintable."""
    name = unicodedata.normalize("NFC", re.split(r"[/\\]", text)[-1])
    name = "".join(c if c.isprintable() else "_" for c in name).strip().lstrip(".").strip()
    stem, ending = os.path.splitext(name)
    while len((stem + ending).encode()) > _LONGEST_NAME:
        stem, ending = (stem[:-1], ending) if stem else ("", ending[:-1])
    return (stem or "picture") + ending


class Incoming:
    """One upload on its way to a library's folder. Call `close` at the end, in any case."""

    def __init__(self, files: Path, limits: RequestLimits) -> None:
        self._identity = secrets.token_hex(8)
        self._files = files
        self._limits = limits
        self.folder = files / INCOMING / self._identity
        self._arrived: list[Arrived] = []
        self._file: BinaryIO | None = None
        self._accepted = False
        self._name = ""
        self._size = 0
        self._hash = hashlib.sha256()
        with explained(files.parent):
            self.folder.mkdir(parents=True)

    @property
    def arrived(self) -> list[Arrived]:
        """The files that are whole."""
        return self._arrived

    def begin(self, name: str) -> None:
        """A file begins. Raises Problem for one too many."""
        if len(self._arrived) >= self._limits.zip_entries:
            raise too_large(f"the request has more than {self._limits.zip_entries:,} files")
        self._name, self._size, self._hash = safe_name(name), 0, hashlib.sha256()
        with explained(self._files.parent):
            self._file = (self.folder / str(len(self._arrived))).open("wb")

    def write(self, data: bytes) -> None:
        """More of it. Raises Problem for too much, LibraryFullError."""
        self._size += len(data)
        if self._size > self._limits.file:
            raise too_large(f"{self._name} has more than {self._limits.file:,} bytes")
        self._hash.update(data)
        with explained(self._files.parent):
            assert self._file is not None  # noqa: S101 (its caller began it)
            self._file.write(data)

    def end(self) -> Arrived:
        """The file is whole: it is on the disk, whatever happens to the machine."""
        assert self._file is not None  # noqa: S101 (as above)
        with explained(self._files.parent):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        file, self._file = str(len(self._arrived)), None
        self._arrived.append(Arrived(file, self._name, self._size, self._hash.hexdigest()))
        return self._arrived[-1]

    def accept(self) -> Path:
        """All has come: from here on it is the service's to take in. Returns where it lies."""
        accepted = self._files / ACCEPTED / self._identity
        with explained(self._files.parent):
            (self.folder / NAMES).write_text(json.dumps([asdict(one) for one in self._arrived]))
            accepted.parent.mkdir(exist_ok=True)
            self.folder.rename(accepted)
        self._accepted = True
        return accepted

    def close(self) -> None:
        """Leave nothing of what was not accepted; what was is deleted by who takes it in."""
        if self._file is not None:
            self._file.close()
        if not self._accepted:
            shutil.rmtree(self.folder, ignore_errors=True)


class FormReader:
    """Files of a form (multipart/form-data), written down as they come; other fields are passed over."""

    def __init__(self, content_type: str, incoming: Incoming) -> None:
        """Raises Problem where it is no form."""
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            said = content_type.partition(";")[0][:100]
            raise Problem(415, "unsupported_media", "The form of the request is not known", said,
                          "Send the files as multipart/form-data")  # fmt: skip
        self._incoming = incoming
        self._is_file = False
        self._headers: dict[bytes, bytes] = {}
        self._header = self._value = b""
        self._whole = False
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_field": self._field,
            "on_header_value": self._content,
            "on_header_end": self._header_ends,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._data,
            "on_part_end": self._part_ends,
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(options[b"boundary"], callbacks)
        except FormParserError as error:  # a boundary that is too long
            raise _unreadable(error) from error

    def feed(self, data: bytes) -> None:
        """More of the body. Raises Problem."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _unreadable(error) from error

    def finish(self) -> None:
        """The body is whole. Raises Problem where it is not, or holds no file."""
        if not self._whole:
            raise invalid("the form ends too early", "Send it again")
        if not self._incoming.arrived:
            raise invalid("there is no file in the form", "Send one or several, each with its name")

    def _begin(self) -> None:
        self._headers, self._is_file = {}, False

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _content(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ends(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header = self._value = b""

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"filename")
        self._is_file = name is not None
        if name is not None:
            self._incoming.begin(name.decode("utf-8", "replace"))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._incoming.write(data[start:end])

    def _part_ends(self) -> None:
        if self._is_file:
            self._incoming.end()

    def _end(self) -> None:
        self._whole = True


def _unreadable(error: FormParserError) -> Problem:
    return invalid(f"the form cannot be read ({error})", "Send multipart/form-data")


def clean(files: Path) -> None:
    """Delete uploads that did not arrive whole, or were not deleted whole, because the process was killed."""
    for folder in accepted(files):
        if not ((folder / NAMES).exists() or (folder / FOLDER).exists()):
            let_go(folder)
    with suppress(OSError):
        for folder in (files / INCOMING).iterdir():
            newest = max((path.stat().st_mtime for path in (folder, *folder.iterdir())), default=0.0)
            if time.time() - newest > _OLD_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def accepted(files: Path) -> list[Path]:
    """Uploads that were accepted and not taken in, the oldest first."""
    try:
        return sorted((files / ACCEPTED).iterdir(), key=lambda folder: folder.stat().st_mtime)
    except OSError:
        return []


def let_go(folder: Path) -> None:
    """Delete an accepted upload, in one step: a kill must not leave a part of it that counts as accepted."""
    away = folder.parent.parent / INCOMING / folder.name
    with suppress(OSError):
        away.parent.mkdir(exist_ok=True)
        os.rename(folder, away)
    shutil.rmtree(away, ignore_errors=True)


def arrived_in(folder: Path) -> list[Arrived]:
    """The files of an accepted upload."""
    return [Arrived(**entry) for entry in json.loads((folder / NAMES).read_text())]


def accept_folder(files: Path, path: str) -> Path:
    """Note a folder that is to be indexed, as an upload is noted; returns where."""
    draft = files / INCOMING / secrets.token_hex(8)
    target = files / ACCEPTED / draft.name
    with explained(files.parent):
        draft.mkdir(parents=True)
        (draft / FOLDER).write_text(json.dumps(path))
        target.parent.mkdir(exist_ok=True)
        draft.rename(target)
    return target


def folder_in(folder: Path) -> str | None:
    """The folder that is to be indexed; None where files arrived."""
    try:
        return str(json.loads((folder / FOLDER).read_text()))
    except FileNotFoundError:
        return None
