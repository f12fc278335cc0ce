"""Explanations of a result: each term's share of the score, and where in the picture it is.

The query vector is q = Σ cᵢ·vᵢ (search/query_mixing.py), so the score of an item x is Σ cᵢ·(vᵢ·x): a share
for each term. Where: each cell of a grid over what the model saw is covered with the picture's mean
colour, and the score without it is compared with the score. It asks nothing of a model but vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise, product

import numpy as np

from crosslens.encode import Job, vector_of
from crosslens.images.preprocess import preprocess
from crosslens.library.concept_filters import concept_filters
from crosslens.library.query_search import Asked, ranked_by_concepts
from crosslens.library.search_view import View
from crosslens.models.spec import ImageSpec
from crosslens.search.query_language import Phrase
from crosslens.search.query_mixing import Term, weigh
from crosslens.serve.inference.engine import Engine
from crosslens.store import filter_sql
from crosslens.store.vector_matrix import covariance_of
from crosslens.types import Float32, Modality, UInt8

_CELLS = 7  # on a side


@dataclass(frozen=True, slots=True)
class Share:
    """A term's part in a score. similarity: its own cosine with the item; the shares sum to the score."""

    term: str
    weight: float
    similarity: float
    share: float


@dataclass(frozen=True, slots=True)
class Heat:
    """How much of the score goes with each cell, row by row, in [0, 1].

    box: left, top, right, bottom of the grid, as fractions of the upright picture.
    """

    rows: int
    columns: int
    values: tuple[float, ...]
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Explained:
    """What makes a score. query: the unit vector that was searched with, float32 (d,)."""

    score: float
    terms: tuple[Share, ...]
    query: Float32

    def document(self, heat: Heat | None) -> dict[str, object]:
        """For clients."""
        return {
            "score": self.score,
            "terms": [asdict(term) for term in self.terms],
            "heat": None if heat is None else asdict(heat),
        }


def explain(views: Sequence[View], asked: Asked, names: Sequence[str], item: tuple[View, int]) -> Explained:
    """Shares of the terms in the score of an item. names: of the terms in `asked.more`.

    views: the libraries that are searched. item: the one it is in, and its number. Raises QueryError and
    TextError.
    """
    view, number = item
    engine = view.matcher
    phrases = [Phrase(asked.query.words)] if asked.query.words else []
    phrases += [term for term in asked.query.terms if isinstance(term, Phrase)]
    texts = [phrase.text for phrase in phrases]
    vectors = engine.embed_texts(texts) if texts else ()
    terms = [Term(vector, phrase.weight) for vector, phrase in zip(vectors, phrases, strict=True)]
    ranked = ranked_by_concepts(views, asked)
    wanted = [str(one) for one in concept_filters(asked.query) if not one.negated]
    names = [*names, *wanted] if ranked is not asked else names
    terms += ranked.more
    rows = view.database.items([number])  # none, where it was removed in between
    kind: Modality = "text" if rows and rows[0].text is not None else "image"
    holding = [one for one in views if one.database.holds(kind)] or [view]
    weights = weigh(terms, covariance_of([one.matrix(kind) for one in holding]))
    vector = filter_sql.vector_of(view.database, number, view.record.identity)
    cosines = [float(term.vector @ vector) for term in terms]
    shares = [
        Share(name, term.weight, cosine, float(weight) * cosine)
        for name, term, weight, cosine in zip([*texts, *names], terms, weights, cosines, strict=True)
    ]
    query: Float32 = (weights @ np.stack([term.vector for term in terms])).astype(np.float32)
    return Explained(sum(share.share for share in shares), tuple(shares), query)


def heat_of(engine: Engine, data: bytes, name: str, query: Float32) -> Heat:
    """Where in a picture the score lies. Raises ImageError."""
    decoded = engine.decode(data, name)
    spec = engine.spec.image
    seen = preprocess(decoded.image, spec)
    cells = min(_CELLS, spec.size)
    edges = np.linspace(0, spec.size, cells + 1).round().astype(int)
    pictures = enumerate([seen, *_covered(seen, edges)])
    jobs = [Job(number, partial(np.asarray, picture)) for number, picture in pictures]
    vectors = np.stack([vector_of(result, name) for result in engine.encode(jobs)])  # type: ignore[misc]
    scores = vectors @ query
    lost = np.maximum(scores[0] - scores[1:], 0)
    values = lost / lost.max() if lost.max() > 0 else lost
    box = seen_part(decoded.width, decoded.height, spec)
    return Heat(cells, cells, tuple(round(float(value), 4) for value in values), box)


def _covered(seen: UInt8, edges: np.ndarray[tuple[int], np.dtype[np.int_]]) -> list[UInt8]:
    colour = seen.mean(axis=(0, 1)).round().astype(np.uint8)
    pictures = []
    for (top, bottom), (left, right) in product(pairwise(edges), repeat=2):
        picture = seen.copy()
        picture[top:bottom, left:right] = colour
        pictures.append(picture)
    return pictures


def seen_part(width: int, height: int, spec: ImageSpec) -> tuple[float, float, float, float]:
    """Which part of an upright picture a model sees: left, top, right, bottom as fractions of its sides."""
    if spec.resize == "squash":
        return (0.0, 0.0, 1.0, 1.0)
    if spec.resize == "longest_edge":  # the grid is larger than the picture
        side = float(max(width, height))
    else:
        side = min(width, height) * spec.size / spec.side
    across, down = side / width, side / height
    return (0.5 - across / 2, 0.5 - down / 2, 0.5 + across / 2, 0.5 + down / 2)
