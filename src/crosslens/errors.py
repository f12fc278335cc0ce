"""Every error that crosslens raises on purpose.

    CrosslensError
    ├── InputError (also ValueError)      something a caller passed in
    │   ├── ImageError                    one picture; `.source` names it
    │   │   ├── ImageNotFoundError        no such file
    │   │   ├── UnreadableImageError      empty, truncated, damaged, or no picture at all
    │   │   └── ImageTooLargeError        more pixels or bytes than the limits allow
    │   ├── TextError                     one text: empty, or a path passed as a text
    │   └── QueryError                    a search that asks for nothing, or k < 1
    │       └── QuerySyntaxError          a query that cannot be read; `.column` says where
    ├── ModelError
    │   ├── UnknownModelError             no model of that name
    │   ├── BundleError                   a model folder that is incomplete, damaged or inconsistent
    │   ├── ConversionError               a model in another format that cannot be made a bundle
    │   ├── DownloadError                 a model's files that could not be fetched
    │   └── EncodingError                 a tower returned something that is no embedding
    ├── MissingExtraError (also ImportError)   an optional package that is not installed
    └── LibraryError                      a library folder
        ├── LibraryNotFoundError          nothing there yet
        ├── LibraryVersionError           written by a newer crosslens
        ├── LibraryModelError             its vectors come from another model
        ├── LibraryBusyError              another process is indexing into it
        ├── LibraryReadOnlyError          the folder cannot be written
        ├── LibraryFullError              no space left on its disk
        └── LibraryDamagedError           its database is not sound

Each says what was wrong, with which input, and what to do next: `str(error)` is "problem. remedy".
"""

from __future__ import annotations

import sys
import warnings

# Characters of a query that are shown on either side of where it goes wrong.
_SHOWN_BEFORE = 50


class CrosslensError(Exception):
    """Base of all errors raised on purpose.

    problem: what was wrong and with which input, one sentence without a final stop.
    remedy: what to do next, one sentence without a final stop; may be empty.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}. {self.remedy}." if self.remedy else f"{self.problem}."


class InputError(CrosslensError, ValueError):
    """Something a caller passed in cannot be used."""


class ImageError(InputError):
    """One picture cannot be used; `source` is its path, or a name like "image 3"."""

    def __init__(self, source: str, reason: str, remedy: str = "") -> None:
        super().__init__(f"{source}: {reason}", remedy)
        self.args = (source, reason, remedy)
        self.source = source
        self.reason = reason


class ImageNotFoundError(ImageError):
    """There is no such file."""


class UnreadableImageError(ImageError):
    """Empty, truncated, damaged, or not a picture."""


class ImageTooLargeError(ImageError):
    """More pixels or bytes than the limits allow; found before anything is decoded."""


class TextError(InputError):
    """A text that cannot be embedded."""


class QueryError(InputError):
    """A search that cannot be answered as asked."""


class QuerySyntaxError(QueryError):
    """A query that cannot be read.

    column: of the character where it goes wrong, from 1. pointer: the query, with a caret below it.
    """

    def __init__(self, text: str, at: int, problem: str, remedy: str = "") -> None:
        super().__init__(f"character {at + 1} of the query: {problem}", remedy)
        self.args = (text, at, problem, remedy)
        self.column = at + 1
        begin = max(0, at - _SHOWN_BEFORE)
        shown = "".join(c if c.isprintable() else " " for c in text[begin : at + _SHOWN_BEFORE])
        self.pointer = f"{shown}\n{' ' * (at - begin)}^"


class ModelError(CrosslensError):
    """A model cannot be used."""


class UnknownModelError(ModelError, ValueError):
    """No model of that name, and no folder either."""


class BundleError(ModelError):
    """A model folder is incomplete, damaged, or contradicts itself."""


class ConversionError(ModelError):
    """A model in another format is incomplete, damaged, of a kind that is not supported, or has no room."""


class DownloadError(ModelError):
    """A model's files could not be fetched; nothing of it was kept but what the next try goes on from."""


class EncodingError(ModelError):
    """A tower returned a zero or non-finite vector."""


class MissingExtraError(CrosslensError, ImportError):
    """What was asked for needs an optional package; the message ends with the line that installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"this needs {package}, which is not installed", f'pip install "crosslens[{extra}]"')
        self.args = (package, extra)

    def __str__(self) -> str:
        return f"{self.problem}: {self.remedy}"  # without a final stop, so that the line can be copied


class LibraryError(CrosslensError):
    """A library folder cannot be used as asked."""


class LibraryNotFoundError(LibraryError):
    """There is no library in that folder."""


class LibraryVersionError(LibraryError):
    """The library was written by a newer crosslens."""


class LibraryModelError(LibraryError):
    """The library's vectors come from another model."""


class LibraryBusyError(LibraryError):
    """Another process is indexing into the library."""


class LibraryReadOnlyError(LibraryError):
    """The library's folder cannot be written."""


class LibraryFullError(LibraryError):
    """No space is left where the library lies."""


class LibraryDamagedError(LibraryError):
    """The library's database is not sound."""


class CrosslensWarning(UserWarning):
    """Base of the warnings below."""


def warn(warning: CrosslensWarning) -> None:
    """Warn, and point at the line outside this package that led here."""
    level, frame = 1, sys._getframe()
    # Between two frames of ours lies contextlib's, where one of them is a context manager.
    ours = ("crosslens", "contextlib")
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in ours:
        level, frame = level + 1, frame.f_back
    warnings.warn(warning, stacklevel=level)


class TextTruncatedWarning(CrosslensWarning):
    """A text was longer than the model's context and lost its end."""


class UncalibratedWarning(CrosslensWarning):
    """Match probabilities come from a guess, not from a fit."""


class ImageSkippedWarning(CrosslensWarning):
    """Pictures that could not be read were left out or marked, as asked for."""


class UnseenScriptWarning(CrosslensWarning):
    """A text is written in a script that the model was not trained on."""


class NetworkLibraryWarning(CrosslensWarning):
    """A library lies on a network file system, where its database is kept in another way."""
