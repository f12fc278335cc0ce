"""Frozen dataclasses from the tables of a TOML or JSON file, each value checked against its declared type."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Literal, get_args, get_origin

from crosslens.errors import InputError


def settings_from(kind: Any, facts: Any, where: str) -> Any:
    """A dataclass `kind` from a table. where: what messages begin with.

    Raises InputError, which names the key: for one that is unknown, missing, or of another type.
    """
    if not isinstance(facts, dict):
        raise InputError(f"{where or 'the recipe'} is {facts!r}", "Wanted a table")
    hints = typing.get_type_hints(kind)
    for key in facts:
        if key not in hints:
            raise InputError(f"{where}there is no setting {key!r}", f"Wanted any of {', '.join(hints)}")
    values = {key: _value(hints[key], value, f"{where}{key}") for key, value in facts.items()}
    for entry in dataclasses.fields(kind):
        needed = entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
        if needed and entry.name not in values:
            raise InputError(f"{where}{entry.name!r} is missing", "See docs/train.md for all settings")
    return kind(**values)


def _value(hint: Any, value: Any, where: str) -> Any:
    origin = get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        hint = next(part for part in get_args(hint) if part is not type(None))
        origin = get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return settings_from(hint, value, f"{where}.")
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{where} is {value!r}", "Wanted a list")
        return tuple(_value(get_args(hint)[0], entry, f"{where}[{n}]") for n, entry in enumerate(value))
    if origin is Literal:
        if value not in get_args(hint):
            raise InputError(f"{where} is {value!r}", f"Wanted one of {', '.join(map(str, get_args(hint)))}")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise InputError(f"{where} is {value!r}", f"Wanted {_WORDS[hint]}")
    return value


_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
