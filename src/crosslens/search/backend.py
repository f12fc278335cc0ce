"""The interface of search backends; tests/search/test_search_backends.py holds what each must do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from crosslens.types import Float32, Int64

# Which items may be found: their ids, in any order (others are passed over), or a mask with a place for
# each row of the matrix.
Allowed: TypeAlias = "Int64 | NDArray[np.bool_]"


class SearchBackend(Protocol):
    """The vectors of a library, however they are held: in memory, on the disk, in another process."""

    def search(self, queries: Float32, k: int, allowed: Allowed | None = None) -> tuple[Int64, Float32]:
        """Top-k by inner product among the allowed items, best first; equal scores by id.

        queries: float32 (q, d). allowed: None for all.
        Returns (ids int64 (q, m), scores float32 (q, m)), m = min(k, number of allowed items): never fewer
        than there are. Scores are exact, those of the stored float16 vectors; which items are found may be
        approximate.
        """
        ...


class Rows(Protocol):
    """All vectors of a library as they are now, for whoever holds a copy of them."""

    @property
    def ids(self) -> Int64:
        """The items, int64 (n,), ascending."""
        ...

    @property
    def stamp(self) -> tuple[str, int]:
        """(library, generation): equal stamps mean equal rows."""
        ...

    def vectors(self, which: slice) -> Float32:
        """Some of the rows, float32 (m, d), unit norm."""
        ...


# Makes a back end of another kind search these rows: called once for every stamp. What is behind it should
# keep the stamp with its copy, so that rows which it has are not sent again.
Connect: TypeAlias = Callable[[Rows], SearchBackend]


def rows_of(ids: Int64, allowed: Allowed) -> Int64:
    """The rows of the allowed items, int64 (m,), ascending. ids: int64 (n,), ascending.

    Raises ValueError for a mask of another length.
    """
    given = np.asarray(allowed)
    if given.dtype == np.bool_:
        if given.shape != ids.shape:
            raise ValueError(f"wanted a mask of shape {ids.shape}, got {given.shape}")
        return np.flatnonzero(given)
    wanted = given.astype(np.int64, copy=False)
    if len(wanted) == 0 or len(ids) == 0:
        return np.empty(0, np.int64)
    if not (wanted[1:] > wanted[:-1]).all():
        wanted = np.unique(wanted)
    first, last = int(ids[0]), int(ids[-1])
    if last - first == len(ids) - 1:  # without gaps, an id says its row
        return wanted[np.searchsorted(wanted, first) : np.searchsorted(wanted, last, "right")] - first
    rows = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    found: Int64 = rows[np.asarray(ids)[rows] == wanted].astype(np.int64, copy=False)
    return found
