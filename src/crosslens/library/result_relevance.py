"""Relevance of results: `search.relevance_calibration` for one library and model.

The texts that no picture shows are embedded once for a model, and held against a library once for each of its
states. Both are kept in the user's cache, where they may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np

from crosslens import app_folders
from crosslens.matching.matcher import Matcher
from crosslens.models.null_texts import UNPICTURED
from crosslens.models.spec import ModelSpec
from crosslens.search.relevance_calibration import DEFAULT, TOP, Background, Presence, level, relevance
from crosslens.store.vector_matrix import Matrix
from crosslens.types import Float32, Hit, Modality

_TEXTS = sha256("\n".join(UNPICTURED).encode()).hexdigest()[:12]
# A float16 vector of unit norm is this near to 1.
_NORM_TOLERANCE = 0.01


class Judged(Protocol):
    """What relevance needs of a library; `view.View` has it."""

    @property
    def matcher(self) -> Matcher: ...  # noqa: D102
    def matrix(self, kind: Modality) -> Matrix: ...  # noqa: D102
    def nearest(self, queries: Float32, k: int, kind: Modality) -> list[list[Hit]]: ...  # noqa: D102


def is_known(spec: ModelSpec) -> bool:
    """Whether relevance can be told with a model: it must read the letters of `UNPICTURED`."""
    return not spec.scripts or "LATIN" in spec.scripts


def judged(
    library: Judged, queries: Float32, found: Sequence[list[Hit]], *, are_best: bool
) -> list[list[Hit]]:
    """Pictures that were found by words, with their relevance.

    queries: unit vectors of texts, float32 (q, d). found: what was found by each, best first; are_best:
    whether that is the best of the whole library, and not only of some of its items.
    """
    if not any(found):
        return list(found)
    is_enough = are_best and min(map(len, found)) >= TOP
    whole = found if is_enough else library.nearest(queries, TOP, "image")
    background, fitted = _background(library), _fitted(library.matcher.spec)
    return [
        _told(hits, relevance(_scores(hits), _scores(best), query, background, fitted))
        if hits and best
        else hits
        for query, hits, best in zip(queries, found, whole, strict=True)
    ]


def showable(hits: Sequence[Hit], spec: ModelSpec) -> list[Hit]:
    """Results for people: without relevance, where it is wrong too often for that (`RelevanceSpec.shown`)."""
    return list(hits) if spec.shows_relevance else [replace(hit, relevance=None) for hit in hits]


def _told(hits: list[Hit], numbers: Float32) -> list[Hit]:
    return [replace(hit, relevance=float(number)) for hit, number in zip(hits, numbers, strict=True)]


def _fitted(spec: ModelSpec) -> Presence:
    return DEFAULT if spec.relevance is None else Presence(spec.relevance.middle, spec.relevance.steepness)


def _background(library: Judged) -> Background:
    """What a library as it is now is to any text."""
    # A view stays as it is and can keep it; a library cannot.
    notes: dict[str, Background] = getattr(library, "notes", {})
    if "background" not in notes:
        matrix = library.matrix("image")
        levels, usual = _kept_levels(library, matrix)
        notes["background"] = Background(levels, matrix.mean, len(matrix.ids), usual)
    return notes["background"]


def _kept_levels(library: Judged, matrix: Matrix) -> tuple[Float32, float]:
    """Levels of texts that no picture shows, and their mean score, from the user's cache or new ones."""
    spec, (name, generation) = library.matcher.spec, matrix.stamp
    # By a digest: a database from elsewhere may have any name in it. A migration counts behind a "+".
    digest = sha256(name.partition("+")[0].encode()).hexdigest()[:32]
    file = app_folders.relevance(spec.identity) / f"{digest}.json"
    stamp = [name, generation, _TEXTS]
    try:
        kept = json.loads(file.read_text())
        levels, usual = np.array(kept["levels"], np.float32), float(kept["usual"])
        are_cosines = levels.ndim == 1 and len(levels) and (np.abs(levels) <= 1).all() and abs(usual) <= 1
        if kept["stamp"] == stamp and are_cosines:
            return levels, usual
    except (OSError, ValueError, KeyError, TypeError):  # not there, or not whole
        pass
    texts = _unpictured(library.matcher)
    found = library.nearest(texts, TOP, "image")
    levels = np.array([level(_scores(hits)[None])[0] if hits else 0 for hits in found], np.float32)
    usual = float(texts.mean(axis=0) @ matrix.mean)
    _keep(file, json.dumps({"stamp": stamp, "levels": levels.tolist(), "usual": usual}).encode())
    return levels, usual


def _unpictured(matcher: Matcher) -> Float32:
    """Vectors of the texts that no picture shows, float32 (m, d)."""
    file = app_folders.relevance(matcher.spec.identity) / f"texts-{_TEXTS}.f16"
    shape = (len(UNPICTURED), matcher.dimension)
    try:
        vectors: Float32 = np.frombuffer(file.read_bytes(), "<f2").reshape(shape).astype(np.float32)
        if (np.abs(np.linalg.norm(vectors, axis=1) - 1) < _NORM_TOLERANCE).all():
            return vectors
    except (OSError, ValueError):
        pass
    vectors = matcher.embed_texts(UNPICTURED)
    _keep(file, vectors.astype("<f2").tobytes())
    return vectors


def _keep(file: Path, data: bytes) -> None:
    """Write a file whole; failing to costs time at the next search, no more."""
    draft = file.with_suffix(f".{os.getpid()}.draft")
    with contextlib.suppress(OSError):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(data)
            draft.replace(file)
        finally:
            draft.unlink(missing_ok=True)


def _scores(hits: Sequence[Hit]) -> Float32:
    return np.array([hit.score for hit in hits], np.float32)
