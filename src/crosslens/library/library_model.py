"""The model of a library: remembered, found again, and checked against the one that is given."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from crosslens.errors import LibraryModelError, UnknownModelError
from crosslens.matching.matcher import Compute, Matcher
from crosslens.models.catalogue import STARTER
from crosslens.store.database import Catalog
from crosslens.store.migration_target import models_of
from crosslens.store.records import ModelRecord


def record_of(matcher: Matcher) -> ModelRecord:
    """What a library notes of its model."""
    return ModelRecord(matcher.reference, matcher.spec.identity, matcher.dimension)


def matcher_of(model: str | PathLike[str], how: Compute) -> Matcher:
    """A model run in a certain way. Raises what `Matcher` raises."""
    return Matcher(model, precision=how.precision, decode=how.decode, device=how.device)


def remembered(folder: Path, record: ModelRecord | None, how: Compute) -> Matcher:
    """A matcher with a library's model; the starter for a new library. Raises LibraryModelError."""
    name = record.name if record is not None else STARTER
    try:
        return matcher_of(name, how)
    except UnknownModelError as error:
        raise LibraryModelError(
            f"library {folder} was made with the model in {name}, which is not there any more",
            f"Tell where it is now: crosslens index -L {folder} --model NEW_PLACE",
        ) from error


def searched_model(catalog: Catalog, asked: Matcher | None) -> ModelRecord | None:
    """The model to search with; None while nothing has been indexed.

    It is the one that serves, or that which was asked for, while the library is being migrated to it.
    """
    models = models_of(catalog)
    to_come = asked is not None and models.target is not None
    if to_come and models.target.identity == asked.spec.identity:  # type: ignore[union-attr]
        return models.target
    return models.serving


def check_model(folder: Path, record: ModelRecord | None, matcher: Matcher) -> None:
    """Raise LibraryModelError for another model than the library's: their vectors cannot be compared."""
    if record is None or record.identity == matcher.spec.identity:
        return
    if record.name == matcher.reference:
        raise LibraryModelError(
            f"library {folder} was made with another version of {record.name!r} than this one "
            f"({record.identity[:12]}, {matcher.spec.identity[:12]}): their vectors cannot be compared",
            f"Bring it over: crosslens migrate -L {folder} --model {record.name}",
        )
    raise LibraryModelError(
        f"library {folder} was made with model {record.name!r} ({record.identity[:12]}), "
        f"not with {matcher.spec.name!r} ({matcher.spec.identity[:12]}): "
        "their vectors cannot be compared",
        f"Leave the model out, or index into another library folder with {matcher.spec.name!r}, "
        "or change this one over: crosslens migrate",
    )
