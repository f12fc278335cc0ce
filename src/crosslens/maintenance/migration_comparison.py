"""Two models compared in one library: how alike they search, and which finds the right pictures."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np

from crosslens.errors import CrosslensError, CrosslensWarning, InputError
from crosslens.library.search_view import View
from crosslens.library.text_indexing import embed_each
from crosslens.models.probe_texts import captions as probes
from crosslens.search.exact import Exact
from crosslens.store.database import Catalog
from crosslens.types import Float32, Int64, Modality

T = TypeVar("T")
# (path of a picture, text that says what it shows).
Captions: TypeAlias = Iterable[tuple[str, str]]
# Text → ids of the pictures that it belongs to.
Relevant: TypeAlias = Mapping[str, frozenset[int]]

CUTOFFS = (1, 5, 10)
_TOP = 10
_TEXTS, _PICTURES, _CAPTIONS = 100, 50, 500


@dataclass(frozen=True, slots=True)
class Overlap:
    """The mean share, in [0, 1], of the first ten results that both models have. queries: their number."""

    queries: int
    mean: float


@dataclass(frozen=True, slots=True)
class Recall:
    """By cutoff k, the share in [0, 1] of the captions whose picture is among the first k results."""

    captions: int
    before: dict[int, float]
    after: dict[int, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two models search the same items, exactly.

    items: those that both have a vector of. texts, pictures: by what was searched. None: there were none, or
    the old model cannot be run any more.
    """

    items: int
    texts: Overlap | None
    pictures: Overlap | None
    recall: Recall | None


def relevant(catalog: Catalog, given: Captions | None = None) -> Relevant:
    """What recall is measured with: captions as given, or those that pictures bring with them; some hundred.

    Copies of a picture count as it does. Raises InputError where none of those given is of a picture in the
    library.
    """
    query = "SELECT caption, items.id FROM items JOIN facts USING (hash) WHERE caption IS NOT NULL"
    copies = "SELECT id FROM items WHERE hash = (SELECT hash FROM items WHERE id = ?)"
    rows: list[tuple[str, int]] = []
    if given is None:
        with catalog.reading() as db:
            rows = db.execute(query).fetchall()
    else:
        pairs = list(given)
        ids = catalog.ids_of([path for path, _ in pairs])
        with catalog.reading() as db:
            for path, text in pairs:
                rows += [(text, number) for (number,) in db.execute(copies, (ids.get(path),))]
        if not rows:
            raise InputError(
                f"of the pictures with captions, {len(pairs):,}, none is in library {catalog.folder}",
                "Give captions of pictures that were indexed",
            )
    found: dict[str, set[int]] = {}
    for text, number in rows:
        found.setdefault(text, set()).add(number)
    return {text: frozenset(found[text]) for text in _spread(sorted(found), _CAPTIONS)}


def compare(old: View, new: View, captions: Relevant) -> Comparison | None:
    """Search with both models for the same; None where no item has a vector of both. captions: `relevant`."""
    kind = old.resolve_kind(None)
    both = _Both(old, new, kind)
    if not len(both.ids):
        return None
    is_images = kind == "image"
    of_texts = _Both(old, new, "text")
    texts = of_texts.some(_TEXTS)
    pictures = both.some(_PICTURES if is_images else 0)
    embeds = _can_embed(old)
    if len(texts):
        by_texts = both.overlap(of_texts.vectors(texts), None if is_images else texts)
    else:
        scripts = old.matcher.spec.scripts or new.matcher.spec.scripts if embeds else ()
        by_texts = both.overlap(both.embed(probes(scripts) if embeds else ())[0])
    return Comparison(
        items=len(both.ids),
        texts=by_texts,
        pictures=both.overlap(both.vectors(pictures), pictures),
        recall=both.recall(captions) if is_images and embeds else None,
    )


# -- inside ---------------------------------------------------------------------------------------

# Of the old model and of the new.
_Pair: TypeAlias = tuple[Float32, Float32]


class _Both:
    """The items of one kind that two models have vectors of. ids: int64 (n,), ascending."""

    def __init__(self, old: View, new: View, kind: Modality) -> None:
        self._views = (old, new)
        self._searched = tuple(
            Exact(matrix.index, np.asarray(matrix.ids)) for matrix in (old.matrix(kind), new.matrix(kind))
        )
        self.ids: Int64 = np.intersect1d(self._searched[0].ids, self._searched[1].ids)

    def some(self, count: int) -> Int64:
        """At most so many of the items, from all over."""
        return np.array(_spread(self.ids.tolist(), count), np.int64)

    def vectors(self, ids: Int64) -> _Pair:
        """The stored vectors of items, float32 (n, d) each."""
        first, second = (
            np.array([one.vectors(slice(row, row + 1))[0] for row in np.searchsorted(one.ids, ids)])
            for one in self._searched
        )
        return first, second

    def embed(self, texts: Sequence[str]) -> tuple[_Pair, list[str]]:
        """(vectors, the texts that both models can embed)."""
        with warnings.catch_warnings():  # of what a user did not write
            warnings.simplefilter("ignore", CrosslensWarning)
            found = [embed_each(view.matcher, texts)[0] if texts else {} for view in self._views]
        kept = [text for text in texts if text in found[0] and text in found[1]]
        first, second = (np.array([vectors[text] for text in kept], np.float32) for vectors in found)
        return (first, second), kept

    def search(self, queries: _Pair, k: int) -> list[list[list[int]]]:
        """Ids of the k nearest of the items, by model and query."""
        found = []
        for one, vectors in zip(self._searched, queries, strict=True):
            allowed = None if len(one.ids) == len(self.ids) else self.ids
            found.append(one.search(vectors, k, allowed)[0].tolist())
        return found

    def overlap(self, queries: _Pair, own: Int64 | None = None) -> Overlap | None:
        """Of the first ten results of each query. own: the items that are the queries, which do not count."""
        if not len(queries[0]):
            return None
        shares = []
        for row, lists in enumerate(zip(*self.search(queries, _TOP + 1), strict=True)):
            itself = None if own is None else int(own[row])
            first, second = (set([one for one in found if one != itself][:_TOP]) for found in lists)
            shares.append(len(first & second) / max(1, len(first)))
        return Overlap(len(shares), float(np.mean(shares)))

    def recall(self, captions: Relevant) -> Recall | None:
        """Of captions, by both models; None without any whose picture both have."""
        here = set(self.ids.tolist())
        queries, texts = self.embed([text for text, ids in captions.items() if not ids.isdisjoint(here)])
        if not texts:
            return None
        wanted = [captions[text] for text in texts]
        before, after = (
            {k: sum(map(_is_in, wanted, [ids[:k] for ids in found])) / len(texts) for k in CUTOFFS}
            for found in self.search(queries, max(CUTOFFS))
        )
        return Recall(len(texts), before, after)


def _is_in(wanted: frozenset[int], found: list[int]) -> bool:
    return not wanted.isdisjoint(found)


def _spread(items: Sequence[T], count: int) -> list[T]:
    """At most so many, evenly from all over."""
    count = min(count, len(items))
    return [items[number * len(items) // count] for number in range(count)]


def _can_embed(view: View) -> bool:
    """Whether the model is still there: one may migrate because it is not."""
    try:
        return bool(view.matcher)
    except CrosslensError:
        return False
