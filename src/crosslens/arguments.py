"""Argument validation: numbers, whole numbers, choices, arrays, paths; errors name the argument.

What is something else is an InputError that names the argument and what it was.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosslens.errors import InputError

F = TypeVar("F", np.float32, np.float64)

_LONGEST = 60


def choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise InputError for what is none of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{name} is {brief(value)}", f"Wanted {' or '.join(map(repr, choices))}")


def whole(name: str, value: Any, least: int = 1, error: type[InputError] = InputError) -> int:
    """A whole number, of NumPy's too. Raises `error` for any other and for what is below `least`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise error(f"{name} is {brief(value)}", f"Wanted a whole number of at least {least}")
    return int(value)


def word(name: str, value: Any) -> str:
    """A text that can be a file's or a column's name. Raises InputError for any other."""
    try:
        if isinstance(value, str) and value and "\0" not in value:
            os.fsencode(value)
            return value
    except UnicodeEncodeError:
        pass
    raise InputError(f"{name} is {brief(value)}", "Wanted a name, as text")


def several_paths(name: str, values: Any) -> list[str]:
    """Paths as text, of one path or of several. Raises InputError for what is none."""
    if isinstance(values, str | bytes | os.PathLike) or not isinstance(values, Iterable):
        values = [values]
    return [word(name, os.fspath(v) if isinstance(v, os.PathLike) else v) for v in values]


def two_lists(pairs: Any) -> tuple[list[Any], list[Any]]:
    """The first of every pair, and the second. Raises InputError for what is no list of pairs."""
    pairs = list(pairs) if isinstance(pairs, Iterable) else [pairs]
    for row, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise InputError(f"pair {row} is {brief(pair)}", "Wanted (picture, text)")
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def number(name: str, value: Any) -> float:
    """A finite number. Raises InputError for anything else."""
    try:
        found = float(value) if isinstance(value, Real) else math.nan
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise InputError(f"{name} is {brief(value)}", "Wanted a number")
    return found


@overload
def numbers(name: str, values: ArrayLike) -> NDArray[np.float64]: ...
@overload
def numbers(name: str, values: ArrayLike, kind: type[F]) -> NDArray[F]: ...
def numbers(name: str, values: ArrayLike, kind: type[Any] = np.float64) -> NDArray[Any]:
    """Values of any shape as floating point, a copy only where need be.

    None becomes NaN, and what is too large infinite.
    Raises InputError for what is no array of numbers.
    """
    try:
        array = np.asarray(values)
        if array.dtype.kind in "biufO":  # no text, no dates, no complex numbers
            with np.errstate(over="ignore"):
                return array.astype(kind, copy=False)
        reason = str(array.dtype)
    except (TypeError, ValueError, OverflowError) as error:
        reason = str(error)
    raise InputError(f"{name} are no numbers ({reason:.{_LONGEST}})", "Give a list or an array of numbers")


def brief(value: object) -> str:
    """What a value looks like, cut to a length fit for messages."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
