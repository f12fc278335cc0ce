"""Choice of a search backend: exact, until an approximate index is there and good enough.

Codes on the disk, of this generation, whole: approximate search. Else exact search; `build` makes the codes,
while others search.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crosslens.search.ann import LEAST_ROWS, MOST_GROWTH, AnnFacts, Approximate, build, extend
from crosslens.search.backend import Connect, SearchBackend
from crosslens.search.early_termination import Curves, Reach
from crosslens.search.exact import Exact
from crosslens.search.recall_tuning import Recall, Setting
from crosslens.store.ann_files import Codes, CodesPlace, row_digests
from crosslens.store.records import ModelRecord
from crosslens.store.vector_matrix import Matrix
from crosslens.types import Float32, Int64, Modality


@dataclass(frozen=True, slots=True)
class _Rows:
    """A matrix as `search.backend.Rows`."""

    matrix: Matrix

    @property
    def ids(self) -> Int64:
        return self.matrix.ids

    @property
    def stamp(self) -> tuple[str, int]:
        return self.matrix.stamp

    def vectors(self, which: slice) -> Float32:
        return Exact(self.matrix.index, self.matrix.ids).vectors(which)


@dataclass(frozen=True, slots=True)
class _Found:
    """What searches a matrix. tried: the state of the codes on the disk when they were last looked at."""

    stamp: tuple[str, int]
    backend: Exact | Approximate
    tried: tuple[int, int] | None


class Searching:
    """The back ends of one library. Safe to call from several threads; no call but `build` takes long."""

    def __init__(self, folder: Path, connect: Connect | None = None) -> None:
        """connect: makes another back end search a library's vectors; None for those of this package."""
        self._folder = folder
        self._connect = connect
        self._connected: dict[tuple[str, Modality], tuple[tuple[str, int], SearchBackend]] = {}
        self._found: dict[tuple[str, Modality], _Found] = {}
        self._lock = threading.Lock()

    def backend(self, matrix: Matrix, model: ModelRecord, kind: Modality) -> SearchBackend:
        """What searches this matrix the fastest way there is now."""
        if self._connect is not None:
            return self._elsewhere(self._connect, matrix, (model.identity, kind))
        return self._current(matrix, CodesPlace(self._folder, model, kind)).backend

    def facts(self, matrix: Matrix, model: ModelRecord, kind: Modality) -> AnnFacts | None:
        """What is known of the approximate search of this matrix; None while it is searched exactly."""
        backend = None if self._connect else self.backend(matrix, model, kind)
        return backend.facts if isinstance(backend, Approximate) else None

    def build(
        self, matrix: Matrix, model: ModelRecord, kind: Modality, probes: Callable[[], Float32]
    ) -> AnnFacts | None:
        """Make the codes of this matrix unless they are there, and save them; returns what `facts` does.

        probes: gives texts' vectors to measure with, float32 (p, d), 1,000 or more; called only if needed.
        """
        place = CodesPlace(self._folder, model, kind)
        if self._connect is not None:
            self.backend(matrix, model, kind)
            return None
        if len(matrix.ids) < LEAST_ROWS:
            place.forget_older(matrix.stamp)
            return None
        if isinstance(self._current(matrix, place).backend, Exact) and not _is_vain(matrix, place):
            made = _make(matrix, place, probes())
            if made is None:
                place.give_up(matrix)
            else:
                with self._lock:
                    self._found[model.identity, kind] = _Found(matrix.stamp, made, _state(place, matrix))
        return self.facts(matrix, model, kind)

    def keep_only(self, models: Container[str]) -> None:
        """Let go of what searches the vectors of other models than these identities."""
        with self._lock:
            self._found = {key: found for key, found in self._found.items() if key[0] in models}
            self._connected = {key: found for key, found in self._connected.items() if key[0] in models}

    def _elsewhere(self, connect: Connect, matrix: Matrix, key: tuple[str, Modality]) -> SearchBackend:
        with self._lock:
            known = self._connected.get(key)
            if known is None or known[0] != matrix.stamp:
                known = self._connected[key] = (matrix.stamp, connect(_Rows(matrix)))
            return known[1]

    def _current(self, matrix: Matrix, place: CodesPlace) -> _Found:
        key = (place.model.identity, place.kind)
        found = self._found.get(key)
        known = found is not None and found.stamp == matrix.stamp
        if found is not None and known and isinstance(found.backend, Approximate):
            return found
        state = _state(place, matrix) if len(matrix.ids) >= LEAST_ROWS else None
        if found is not None and known and found.tried == state:
            return found
        backend = None if state is None else _load(matrix, place)
        now = _Found(matrix.stamp, backend or Exact(matrix.index, matrix.ids), state)
        with self._lock:
            self._found[key] = now
        return now


def _is_vain(matrix: Matrix, place: CodesPlace) -> bool:
    """Whether no setting was good enough before, and the library has not grown much since."""
    return len(matrix.ids) <= (1 + MOST_GROWTH) * place.gave_up_at(matrix)


def _state(place: CodesPlace, matrix: Matrix) -> tuple[int, int] | None:
    """What changes when another process writes the codes; None while there are none."""
    try:
        facts = (place.folder(matrix.stamp) / "stamp.json").stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns


def _load(matrix: Matrix, place: CodesPlace) -> Approximate | None:
    codes = place.load(matrix.stamp)
    if codes is None or codes.index.ntotal != len(matrix.ids):
        return None
    facts = _facts(codes.facts)
    return None if facts is None else Approximate(codes.index, Exact(matrix.index, matrix.ids), facts)


def _make(matrix: Matrix, place: CodesPlace, probes: Float32) -> Approximate | None:
    """Extend the older codes when the matrix begins with their rows, else build new ones; save them."""
    exact, rows = Exact(matrix.index, matrix.ids), row_digests(matrix)
    older = place.load_older(matrix.stamp)
    if older is not None and len(older.rows) <= len(rows) and (older.rows == rows[: len(older.rows)]).all():
        made = extend(older.index, exact, probes)
    else:
        made = build(exact, probes)
    if made is not None:
        place.save(matrix.stamp, Codes(made.codes, rows, asdict(made.facts)))
    return made


def _facts(saved: dict[str, Any]) -> AnnFacts | None:
    """Facts from a stamp; None where they are not those of this version."""
    try:
        setting, recall = Setting(**saved["setting"]), Recall(**saved["recall"])
        groups = (Curves(group["nearest"], tuple(group["centroids"]), tuple(map(tuple, group["rows"])))
                  for group in saved["reach"]["groups"])  # fmt: skip
        reach = Reach(tuple(groups))
        facts = AnnFacts(**{**saved, "setting": setting, "recall": recall, "reach": reach})
    except (KeyError, TypeError):
        return None
    return facts if recall.enough else None
