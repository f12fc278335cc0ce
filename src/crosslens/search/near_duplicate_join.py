"""Near-duplicate join: all pairs of rows above a similarity, by matrix products of blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslens.types import Float32, Int64

# Rows of a block: two blocks and their cosines take 80 MB at 512 numbers a row.
_BLOCK = 4096
# Of a row at most so many pairs are kept: enough to hold any group together.
_KEPT = 32


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of rows, or of items: int64 (n,) each, and their cosines, float32 (n,)."""

    one: Int64
    other: Int64
    cosine: Float32

    @classmethod
    def none(cls) -> Pairs:
        """No pairs."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))

    @classmethod
    def all_of(cls, parts: Sequence[Pairs]) -> Pairs:
        """Several, one after the other."""
        return cls(
            np.concatenate([part.one for part in parts]),
            np.concatenate([part.other for part in parts]),
            np.concatenate([part.cosine for part in parts]),
        )

    def where(self, kept: NDArray[np.bool_]) -> Pairs:
        """Some of them, by a mask (n,)."""
        return Pairs(self.one[kept], self.other[kept], self.cosine[kept])


def near_pairs(index: Any, least: float) -> Iterator[tuple[float, Pairs]]:
    """(share of the work that is done, pairs of rows whose cosine is at least this), block by block.

    index: FAISS index, n unit vectors. Every row is compared with every other once; the first of a pair is
    the smaller row. Of those that one row is the first of, the 32 nearest are kept.
    """
    starts = range(0, index.ntotal, _BLOCK)
    done, all_blocks = 0, len(starts) * (len(starts) + 1) // 2
    for start in starts:
        rows, parts = _rows(index, start), []
        for begin in starts[start // _BLOCK :]:
            cosines = rows @ (rows if begin == start else _rows(index, begin)).T
            if begin == start:
                cosines[np.tri(len(rows), dtype=np.bool_)] = -np.inf
            line, place = np.nonzero(_highest(cosines, least))
            parts.append(Pairs(line + start, place + begin, cosines[line, place]))
            done += 1
        yield done / all_blocks, _nearest(Pairs.all_of(parts))


def _rows(index: Any, start: int) -> Float32:
    rows: Float32 = index.reconstruct_n(start, min(_BLOCK, index.ntotal - start))
    return rows


def _highest(cosines: Float32, least: float) -> NDArray[np.bool_]:
    """A mask of those that are at least so high; of a line that has many, of the highest only."""
    mask = cosines >= least
    for line in np.flatnonzero(mask.sum(axis=1) > _KEPT):
        mask[line] = False
        mask[line, np.argpartition(cosines[line], -_KEPT)[-_KEPT:]] = True
    return mask


def _nearest(pairs: Pairs) -> Pairs:
    """Of the pairs that one row is the first of, the nearest."""
    order = np.lexsort((-pairs.cosine, pairs.one))
    ones = pairs.one[order]
    place = np.arange(len(order)) - np.searchsorted(ones, ones)
    kept = order[place < _KEPT]
    return Pairs(pairs.one[kept], pairs.other[kept], pairs.cosine[kept])
