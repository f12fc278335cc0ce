"""Registry of libraries by name: those the service was started with, and those that clients made."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from pathlib import Path

from crosslens import app_folders
from crosslens.errors import InputError
from crosslens.library.search_view import View
from crosslens.serve.config import ServeConfig
from crosslens.serve.error_responses import Problem, invalid
from crosslens.serve.inference.engine import Engine
from crosslens.serve.libraries.library_handle import Book

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


class Shelf:
    """All libraries, by name. Call `close` at the end."""

    def __init__(self, config: ServeConfig, engine: Engine) -> None:
        self._config = config
        self._engine = engine
        self._data = config.data or app_folders.libraries()
        self._lock = threading.Lock()
        folders = {path.name: path for path in config.libraries}
        for folder in self._made():
            if folder.name in folders and folders[folder.name] != folder:
                raise InputError(
                    f"there are two libraries {folder.name!r}: {folders[folder.name]} and {folder}",
                    "Rename the folder of one",
                )
            folders[folder.name] = folder
        self._books = {name: Book(name, folder.absolute(), engine) for name, folder in folders.items()}

    def close(self) -> None:
        """Close all databases."""
        for book in self.books():
            book.close()

    def books(self) -> list[Book]:
        """All libraries, by name."""
        return [self._books[name] for name in sorted(self._books)]

    def book(self, name: str) -> Book:
        """A library. Raises Problem."""
        if name not in self._books:
            raise Problem(404, "library_not_found", "There is no such library", f"{name[:100]!r}")
        return self._books[name]

    def chosen(self, names: Sequence[str] | None) -> list[tuple[Book, View]]:
        """Libraries that hold something, with their views; None: all that have the service's model.

        Raises Problem for one that is not there or has another model.
        """
        books = self.books() if names is None else [self.book(name) for name in dict.fromkeys(names)]
        found = []
        for book in books:
            try:
                view = book.view()
            except Problem:
                if names is not None:
                    raise
                continue
            if view is not None:
                found.append((book, view))
        return found

    def item(self, text: str) -> tuple[Book, int]:
        """The library and the number of an item, "photos:12". Raises Problem."""
        name, _, digits = text.rpartition(":")
        if not name or not (digits.isascii() and digits.isdecimal() and len(digits) <= 18):
            raise invalid(f"{text[:100]!r} names no item", "Wanted, for example: photos:12")
        return self.book(name), int(digits)

    def create(self, name: str) -> Book:
        """A new library, empty. Raises Problem."""
        if not _NAME.fullmatch(name):
            wanted = "Use small letters, digits, '.', '_' and '-', at most 64, a letter or digit first"
            raise invalid(f"{name[:100]!r} is no name for a library", wanted)
        with self._lock:
            if name in self._books:
                raise Problem(409, "library_exists", "There is such a library already", f"{name!r}")
            folder = (self._data / name).absolute()
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                said = f"the folder of libraries cannot be written ({error.strerror})"
                raise Problem(507, "library_full", "The library cannot be made", said) from error
            book = self._books[name] = Book(name, folder, self._engine)
            return book

    def hide(self, text: str) -> str:
        """A sentence without the folders of this machine: libraries go by their names."""
        for book in sorted(self.books(), key=lambda book: -len(str(book.folder))):
            text = text.replace(str(book.folder), book.name)
        return text

    def _made(self) -> list[Path]:
        """Folders of libraries that clients made, now or before."""
        try:
            return [path for path in self._data.iterdir() if path.is_dir() and _NAME.fullmatch(path.name)]
        except OSError:
            return []
