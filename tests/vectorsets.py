"""Vectors to search among, and the back ends over them, without a library."""

from __future__ import annotations

from typing import Any
from unittest import mock

import faiss
import numpy as np

from crosslens.search import ann, recall_tuning
from crosslens.search.ann import Approximate
from crosslens.search.exact import Exact


def unit(count: int, width: int, seed: int) -> np.ndarray:
    """Clustered unit vectors, float32 (count, width)."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((20, width))
    rows = centres[random.integers(0, 20, count)] + 0.6 * random.standard_normal((count, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def float16(rows: np.ndarray) -> np.ndarray:
    """What is left of rows once they are stored."""
    return rows.astype(np.float16).astype(np.float32)


def index_of(rows: np.ndarray) -> Any:
    """The index that the store builds: float16 rows, inner product."""
    width = rows.shape[1]
    index = faiss.IndexScalarQuantizer(width, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True
    if len(rows):
        index.add_sa_codes(np.ascontiguousarray(rows, "<f2").view(np.uint8))
    return index


def exact(rows: np.ndarray, ids: np.ndarray) -> Exact:
    return Exact(index_of(rows), ids)


def small(cells: int) -> Any:
    """Approximate search from the first row on, in so many cells, as a context."""
    values = {
        "LEAST_ROWS": 1,
        "LEAST_ROWS_FOR_CELLS": 1 if cells else 10**9,
        "FEW_ROWS": 100,
        "cells_of": lambda _rows: cells,
    }
    return mock.patch.multiple(ann, **values)


def approximate(rows: np.ndarray, ids: np.ndarray, cells: int) -> Approximate:
    """A back end with codes, however few the rows."""
    with small(cells), mock.patch.object(recall_tuning, "_ASKED_RECALL", 0.9):
        made = ann.build(exact(rows, ids), unit(200, rows.shape[1], seed=9))
    assert made is not None
    return made
