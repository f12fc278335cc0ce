"""Duplicate finder: pictures that are the same or nearly so, in clusters, and which of them to keep.

    identical    the same bytes
    re-encoded   the same picture in another size, format or quality: small pictures of both agree bit by bit
    burst        taken within seconds of each other by one camera, and near each other by meaning
    similar      near each other by meaning only: a motif

Nothing is deleted. Each cluster is of the strongest kind that holds it together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from math import isfinite
from typing import Literal

import numpy as np

from crosslens.arguments import number
from crosslens.errors import InputError
from crosslens.library.library import Library
from crosslens.maintenance.perceptual_hash import Likeness, sharpnesses
from crosslens.search.near_duplicate_join import Pairs, near_pairs
from crosslens.store.filter_sql import known_of
from crosslens.store.vector_matrix import Matrix
from crosslens.types import Hit

Kind = Literal["identical", "re-encoded", "burst", "similar"]
OnProgress = Callable[[int, int], None]

# Below this cosine two files are not looked at as one picture re-encoded.
_REENCODED_COSINE = 0.85
# Two frames of one scene, one of them shaken, reach 0.83 and more, four of 1,000 other pairs reach 0.8
# (benchmarks/duplicates.py).
_BURST_COSINE = 0.8
# A picture is held against so many that were taken next: enough for a burst, and no work without end where
# a camera without a clock gives all its pictures one time.
_NEXT = 64
# Pairs whose vectors are held at once.
_PAIRS = 4096
# Pictures are as sharp as the sharpest from this part of its sharpness on.
_AS_SHARP = 0.9


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
    library: Library,
    similar: float | None = None,
    on_progress: OnProgress | None = None,
    *,
    burst: float | None = None,
) -> list[Cluster]:
    """Clusters of pictures, those that free most first.

    similar: cosine in (0, 1] from which pictures that are not the same count as similar; None: none do.
    burst: seconds within which pictures of one camera were taken that count as a burst if they are near by
    meaning; None: none do. Only what EXIF says of the time counts.
    on_progress(done, all): is told how many pictures were compared, then how many files looked at. Pictures
    whose files are not there now are compared by what the library knows, so they cannot be re-encoded.
    Raises InputError, LibraryNotFoundError.
    """
    if similar is not None and not 0 < number("similar", similar) <= 1:
        raise InputError(f"similar is {similar}", "Wanted a cosine above 0, at most 1")
    if burst is not None and not (number("burst", burst) >= 0 and isfinite(burst)):
        raise InputError(f"burst is {burst}", "Wanted a number of seconds")
    items = {item.id: item for item in library.items() if item.text is None}
    found = {kind: _Groups() for kind in _wanted(similar, burst)}
    for group in library.same_content():
        _join(found, "identical", ((group[0], other) for other in group[1:]))
    matrix = library.matrix("image")
    near = _near(matrix, items, min(_REENCODED_COSINE, similar or 1.0), on_progress)
    _join(found, "re-encoded", _reencoded(items, near, on_progress))
    if burst is not None:
        _join(found, "burst", _bursts(library, matrix, items, burst))
    if similar is not None:
        close = near.where(near.cosine >= similar)
        _join(found, "similar", zip(close.one.tolist(), close.other.tolist(), strict=True))
    return _clusters(items, found)


def _wanted(similar: float | None, burst: float | None) -> tuple[Kind, ...]:
    """Kinds to look for, the strongest first."""
    bursts: tuple[Kind, ...] = () if burst is None else ("burst",)
    similars: tuple[Kind, ...] = () if similar is None else ("similar",)
    return ("identical", "re-encoded", *bursts, *similars)


def _join(found: dict[Kind, _Groups], kind: Kind, pairs: Iterable[tuple[int, int]]) -> None:
    """Join pairs of a kind, which are of every weaker kind too."""
    kinds = list(found)
    for one, other in pairs:
        for weaker in kinds[kinds.index(kind) :]:
            found[weaker].join(one, other)


def _near(matrix: Matrix, items: dict[int, Hit], least: float, on_progress: OnProgress | None) -> Pairs:
    """Pairs of items (smaller id first) whose cosine is at least this."""
    ids, found = np.asarray(matrix.ids), [Pairs.none()]
    for share, rows in near_pairs(matrix.index, least):
        found.append(Pairs(ids[rows.one], ids[rows.other], rows.cosine))
        if on_progress:
            on_progress(round(share * len(ids)), len(ids))
    near = Pairs.all_of(found)
    here = np.fromiter(items, np.int64, len(items))
    return near.where(np.isin(near.one, here) & np.isin(near.other, here))


def _reencoded(
    items: dict[int, Hit], near: Pairs, on_progress: OnProgress | None
) -> Iterator[tuple[int, int]]:
    """Pairs of items whose small pictures agree."""
    near = near.where(near.cosine >= _REENCODED_COSINE)
    likeness = Likeness({number: item.path for number, item in items.items()})
    likeness.look(np.union1d(near.one, near.other).tolist(), on_progress)
    same = near.where(likeness.agree(near.one, near.other))
    return zip(same.one.tolist(), same.other.tolist(), strict=True)


def _bursts(
    library: Library, matrix: Matrix, items: dict[int, Hit], seconds: float
) -> Iterator[tuple[int, int]]:
    """Pairs of items that one camera took within seconds, and that are near by meaning."""
    rows = {int(item): row for row, item in enumerate(matrix.ids) if int(item) in items}
    known = known_of(library.database, list(rows))
    taken = sorted(
        (datetime.fromisoformat(facts.taken), items[item].path, item)
        for item, facts in known.items()
        if facts.taken is not None
    )
    pairs: list[tuple[int, int]] = []
    for place, (time, _, one) in enumerate(taken):
        for later, _, other in islice(taken, place + 1, place + 1 + _NEXT):
            if (later - time).total_seconds() > seconds:
                break
            if known[one].camera == known[other].camera:
                pairs.append((one, other))
    for start in range(0, len(pairs), _PAIRS):
        some = pairs[start : start + _PAIRS]
        ones, others = (
            matrix.index.reconstruct_batch(np.array([rows[pair[side]] for pair in some])) for side in (0, 1)
        )
        near = np.einsum("nd,nd->n", ones, others) >= _BURST_COSINE
        yield from (pair for pair, is_near in zip(some, near, strict=True) if is_near)


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


def _clusters(items: dict[int, Hit], found: dict[Kind, _Groups]) -> list[Cluster]:
    """Every group under the strongest kind that has exactly these members."""
    kinds: dict[frozenset[int], Kind] = {}
    for kind, groups in found.items():
        for group in groups.all():
            members = frozenset(item for item in group if item in items)
            if len(members) > 1:
                kinds.setdefault(members, kind)
    # What is part of a larger cluster is said there: the groups of a kind are parts of those of the weaker.
    largest: dict[int, frozenset[int]] = {}
    for members in sorted(kinds, key=len):
        largest |= dict.fromkeys(members, members)
    clusters = [
        _cluster(kinds[members], [items[item] for item in sorted(members)])
        for members in set(largest.values())
    ]
    return sorted(clusters, key=lambda cluster: (-cluster.freed, cluster.keep.path))


def _cluster(kind: Kind, items: list[Hit]) -> Cluster:
    sharpness = _sharpness(items) if kind == "burst" else {}
    sharpest = max(sharpness.values(), default=0.0)

    def is_sharp(item: Hit) -> bool:
        return sharpness.get(item.id, 0.0) >= _AS_SHARP * sharpest

    def worth(item: Hit) -> tuple[bool, int, bool, int, float, int, str]:
        size = item.width * item.height
        return (item.online, size, is_sharp(item), item.size, -item.modified, -len(item.path), item.path)

    ranked = sorted(items, key=worth, reverse=True)
    best, next_best = ranked[:2]
    if best.online != next_best.online:
        reason = "the only one whose file is there"
    elif best.width * best.height != next_best.width * next_best.height:
        reason = f"most pixels, {best.width} × {best.height}"
    elif is_sharp(best) != is_sharp(next_best):
        others = sorted(sharpness.values())[:-1]
        reason = f"the sharpest, {sharpest:,.0f}; the next {others[-1]:,.0f}"
    elif best.size != next_best.size:
        reason = f"largest file, {best.size:,} bytes"
    elif best.modified != next_best.modified:
        reason = "the oldest file"
    else:
        reason = "the shortest path"
    return Cluster(kind, tuple(ranked), reason)


def _sharpness(items: list[Hit]) -> dict[int, float]:
    """How sharp those are, by id, that have the most pixels; others come after them anyway."""
    most = max((item.online, item.width * item.height) for item in items)
    rivals = [item for item in items if (item.online, item.width * item.height) == most]
    found = sharpnesses([item.path for item in rivals])
    return {item.id: sharp for item, sharp in zip(rivals, found, strict=True)}
