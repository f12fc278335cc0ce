"""`crosslens duplicates`: pictures that are the same or nearly so, in clusters, and which of them to keep.

    identical    the same bytes
    re-encoded   the same picture in another size, format or quality: small pictures of both agree bit by bit
    similar      near each other by meaning only: a burst, a motif

Nothing is deleted. Each cluster is of the strongest kind that holds it together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crosslens.arguments import number
from crosslens.decode import decode
from crosslens.errors import ImageError, InputError
from crosslens.library import Library
from crosslens.types import Float32, Hit, Int64

Kind = Literal["identical", "re-encoded", "similar"]

# Below this cosine two files are not looked at as one picture re-encoded.
_REENCODED_COSINE = 0.85
# Bits of 64 in which the small pictures of one picture, saved twice, may differ.
_MOST_BITS = 8
# Of 255, by which their mean colours may.
_MOST_COLOUR = 10
_SIDE = 8
_NEIGHBOURS = 32
_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Cluster:
    """Pictures that belong together. items: the one to keep first; reason: why that one."""

    kind: Kind
    items: tuple[Hit, ...]
    reason: str

    @property
    def keep(self) -> Hit:
        """The one that is suggested to be kept."""
        return self.items[0]

    @property
    def freed(self) -> int:
        """Bytes that the others take."""
        return sum(item.size for item in self.items[1:])


def find_duplicates(
    library: Library, similar: float | None = None, on_progress: Callable[[int, int], None] | None = None
) -> list[Cluster]:
    """Clusters of pictures, those that free most first.

    similar: cosine in (0, 1] from which pictures that are not the same count as similar; None: none do.
    on_progress(done, all): is told how many pictures were compared. Pictures whose files are not there now
    are compared by what the library knows, so they can be identical or similar.
    Raises InputError, LibraryNotFoundError.
    """
    least = _REENCODED_COSINE
    if similar is not None:
        if not 0 < number("similar", similar) <= 1:
            raise InputError(f"similar is {similar}", "Wanted a cosine above 0, at most 1")
        least = min(least, similar)
    items = {item.id: item for item in library.items() if item.text is None}
    small = _Small(items)
    found: dict[Kind, _Groups] = {"identical": _Groups(), "re-encoded": _Groups(), "similar": _Groups()}
    for group in library.same_content():
        for other in group[1:]:
            for groups in found.values():
                groups.join(group[0], other)
    for one, other, cosine in _near(library, least, on_progress):
        if one not in items or other not in items:
            continue
        if cosine >= _REENCODED_COSINE and small.agree(one, other):
            found["re-encoded"].join(one, other)
            found["similar"].join(one, other)
        elif similar is not None and cosine >= similar:
            found["similar"].join(one, other)
    return _clusters(items, found, ("similar",) if similar is not None else ())


def _near(
    library: Library, least: float, on_progress: Callable[[int, int], None] | None
) -> Iterator[tuple[int, int, float]]:
    """Pairs of items (smaller id first) whose cosine is at least this, from each one's nearest."""
    matrix = library.matrix("image")
    count = len(matrix.ids)
    for start in range(0, count, _BLOCK):
        rows = range(start, min(start + _BLOCK, count))
        block: Float32 = matrix.index.reconstruct_n(start, len(rows))
        cosines, neighbours = matrix.index.search(block, min(_NEIGHBOURS, count))
        yield from _pairs(matrix.ids, rows, cosines, neighbours, least)
        if on_progress:
            on_progress(rows.stop, count)


def _pairs(
    ids: Int64, rows: range, cosines: Float32, neighbours: Int64, least: float
) -> Iterator[tuple[int, int, float]]:
    for line, place in zip(*np.nonzero(cosines >= least), strict=True):
        row, other = rows[int(line)], int(neighbours[line, place])
        if other > row:
            yield int(ids[row]), int(ids[other]), float(cosines[line, place])


class _Small:
    """Small pictures of files, made when asked for."""

    def __init__(self, items: dict[int, Hit]) -> None:
        self._items = items
        self._known: dict[int, tuple[NDArray[np.bool_], NDArray[np.float64]] | None] = {}

    def agree(self, one: int, other: int) -> bool:
        """Whether two files show the same picture; False where one cannot be read."""
        first, second = self._look(one), self._look(other)
        if first is None or second is None:
            return False
        bits, colours = int((first[0] != second[0]).sum()), np.abs(first[1] - second[1]).max()
        return bits <= _MOST_BITS and bool(colours <= _MOST_COLOUR)

    def _look(self, item: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]] | None:
        if item not in self._known:
            self._known[item] = _small(self._items[item].path)
        return self._known[item]


def _small(path: str) -> tuple[NDArray[np.bool_], NDArray[np.float64]] | None:
    """(difference hash, mean colour): 64 bits, each whether a pixel of 9 × 8 is darker than the next.

    Source: N. Krawetz, Kind of like that, 2013. It knows nothing of pictures without detail, colour does.
    """
    if not os.path.isfile(path):
        return None
    try:
        image = decode(path, path, shrink_to=4 * _SIDE).image
    except ImageError:
        return None
    small = image.resize((_SIDE + 1, _SIDE), Image.Resampling.BOX)
    grey = np.asarray(small.convert("L"), dtype=np.int16)
    return (grey[:, 1:] > grey[:, :-1]).ravel(), np.asarray(small, np.float64).mean(axis=(0, 1))


class _Groups:
    """Items joined pair by pair into groups (union–find)."""

    def __init__(self) -> None:
        self._above: dict[int, int] = {}

    def join(self, one: int, other: int) -> None:
        self._above[self._top(one)] = self._top(other)

    def all(self) -> Iterable[list[int]]:
        groups: dict[int, list[int]] = {}
        for item in sorted(self._above):
            groups.setdefault(self._top(item), []).append(item)
        return groups.values()

    def _top(self, number: int) -> int:
        above = self._above.setdefault(number, number)
        while above != number:
            self._above[number] = self._above[above]
            number, above = above, self._above[above]
        return number


def _clusters(items: dict[int, Hit], found: dict[Kind, _Groups], also: Sequence[Kind]) -> list[Cluster]:
    """Every group under the strongest kind that has exactly these members."""
    clusters: dict[frozenset[int], Cluster] = {}
    kinds: tuple[Kind, ...] = ("identical", "re-encoded", *also)
    for kind in kinds:
        for group in found[kind].all():
            members = frozenset(item for item in group if item in items)
            if len(members) > 1 and members not in clusters:
                clusters[members] = _cluster(kind, [items[number] for number in sorted(members)])
    weaker = [members for members in clusters if any(members < other for other in clusters)]
    for members in weaker:  # what is part of a larger cluster is said there
        del clusters[members]
    return sorted(clusters.values(), key=lambda cluster: (-cluster.freed, cluster.keep.path))


def _cluster(kind: Kind, items: list[Hit]) -> Cluster:
    def worth(item: Hit) -> tuple[bool, int, int, float, int, str]:
        return (item.online, item.width * item.height, item.size, -item.modified, -len(item.path), item.path)

    ranked = sorted(items, key=worth, reverse=True)
    best, next_best = ranked[:2]
    if best.online != next_best.online:
        reason = "the only one whose file is there"
    elif best.width * best.height != next_best.width * next_best.height:
        reason = f"most pixels, {best.width} × {best.height}"
    elif best.size != next_best.size:
        reason = f"largest file, {best.size:,} bytes"
    elif best.modified != next_best.modified:
        reason = "the oldest file"
    else:
        reason = "the shortest path"
    return Cluster(kind, tuple(ranked), reason)
