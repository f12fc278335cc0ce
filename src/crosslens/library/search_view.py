"""A consistent view of a library for one search: one model and one matrix to the end."""

from __future__ import annotations

from collections.abc import Container
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from crosslens.arguments import whole
from crosslens.errors import LibraryDamagedError, QueryError
from crosslens.library.vector_search import Searching
from crosslens.matching.matcher import Matcher
from crosslens.search.backend import Allowed
from crosslens.store.database import Catalog
from crosslens.store.migration_target import models_of
from crosslens.store.records import ModelRecord
from crosslens.store.vector_matrix import Matrix, items_of, open_matrix
from crosslens.types import Float32, Hit, Modality


class Vectors:
    """What was opened of a library's vectors, and what searches them, by model and kind."""

    def __init__(self, searching: Searching) -> None:
        self.searching = searching
        self._matrices: dict[tuple[str, Modality], Matrix] = {}

    def matrix(self, catalog: Catalog, model: ModelRecord, kind: Modality) -> Matrix:
        """The matrix of a model as it is now. Those of models that are gone are let go."""
        matrix = self._matrices.get((model.identity, kind))
        if matrix is None or matrix.stamp != catalog.stamp(model.identity):
            matrix = open_matrix(catalog, model, kind)
            models = models_of(catalog)
            living = {one.identity for one in (models.serving, models.target, model) if one is not None}
            self._keep_only(living)
            self._matrices[model.identity, kind] = matrix
        if matrix.index.d != model.dimension:
            raise LibraryDamagedError(
                f"library {catalog.folder}: its vectors have {matrix.index.d} numbers, "
                f"its model {model.dimension}",
                "Move the folder away and index again",
            )
        return matrix

    def _keep_only(self, models: Container[str]) -> None:
        self._matrices = {key: one for key, one in self._matrices.items() if key[0] in models}
        self.searching.keep_only(models)


class Viewed(Protocol):
    """What a view needs of a library; `library.Library` has it."""

    vectors: Vectors

    @property
    def folder(self) -> Path: ...  # noqa: D102
    @property
    def database(self) -> Catalog: ...  # noqa: D102
    def matcher_with(self, record: ModelRecord) -> Matcher: ...  # noqa: D102


class View:
    """A library with one of its models. For one search: a later one should see what was indexed since.

    record: the model. Its vectors are opened once and then stay as they are.
    """

    def __init__(self, library: Viewed, record: ModelRecord) -> None:
        self.record = record
        self.notes: dict[str, Float32] = {}  # what was worked out from the vectors, by whom
        self._library = library
        self._opened: dict[Modality, Matrix] = {}

    def view(self) -> View:
        """Itself."""
        return self

    @property
    def folder(self) -> Path:
        """Where the library lies."""
        return self._library.folder

    @cached_property
    def matcher(self) -> Matcher:
        """A matcher with the model. Raises LibraryModelError."""
        return self._library.matcher_with(self.record)

    def matrix(self, kind: Modality) -> Matrix:
        """The vectors of the library's pictures or texts."""
        if kind not in self._opened:
            self._opened[kind] = self._library.vectors.matrix(self.database, self.record, kind)
        return self._opened[kind]

    @property
    def database(self) -> Catalog:
        """The library's open database."""
        return self._library.database

    def resolve_kind(self, kind: Modality | None) -> Modality:
        """What to look for. Raises QueryError for what the library does not hold."""
        if kind not in (None, "image", "text"):
            raise QueryError(f"kind is {kind!r}", 'Wanted "image" or "text"')
        if kind == "text" and not self.database.holds("text"):
            raise QueryError(
                f"library {self.folder} holds no texts",
                "Add some: crosslens index TABLE --text-column NAME",
            )
        if kind is None:
            # In this order: whether there is a text among pictures takes long to find out.
            texts_only = not self.database.holds("image") and self.database.holds("text")
            return "text" if texts_only else "image"
        return kind

    def nearest(
        self, queries: Float32, k: int, kind: Modality, allowed: Allowed | None = None
    ) -> list[list[Hit]]:
        """The k nearest items to each query vector, best first. queries: float32 (n, d), unit length.

        allowed: ids to look among; None: all. Raises QueryError.
        """
        k = whole("k", k, error=QueryError)
        matrix = self.matrix(kind)
        backend = self._library.vectors.searching.backend(matrix, self.record, kind)
        ids, scores = backend.search(queries, k, allowed)
        scores = np.clip(scores, -1, 1)  # stored as float16, a unit vector may be a little longer than 1
        rows = items_of(self.database, matrix, self.record, np.unique(ids).tolist())
        items = {row.id: row for row in rows}
        return [
            [
                row.hit(float(score))
                for number, score in zip(line, line_scores, strict=True)
                if (row := items.get(int(number))) is not None
            ]
            for line, line_scores in zip(ids, scores, strict=True)
        ]
