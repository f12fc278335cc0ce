"""Counts of an indexing run so far, in files and rows."""

from __future__ import annotations

from dataclasses import dataclass, field

from crosslens.types import Failure


@dataclass(slots=True)
class Tally:
    """Counts that make an `IndexReport`. pending: files to look into; done: of those."""

    pending: int = 0
    unchanged: int = 0
    done: int = 0
    added: int = 0
    changed: int = 0
    moved: int = 0
    removed: int = 0
    encoded: int = 0
    ignored: int = 0
    failures: list[Failure] = field(default_factory=list)
