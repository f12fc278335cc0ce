"""Cells of the approximate search: none much larger than the others, however the rows lie."""

from __future__ import annotations

import numpy as np
import pytest

from crosslens.search import ivf
from crosslens.search.ivf import centroids


def clustered(seed: int, clusters: int, each: int, lean: float) -> np.ndarray:
    """Tight clusters of unit vectors that all lean to one side, as CLIP's pictures do."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((clusters, 64), np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    centres[:, 0] += lean
    rows = np.repeat(centres, each, axis=0) + 0.01 * random.standard_normal((clusters * each, 64), np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def largest(rows: np.ndarray, means: np.ndarray) -> float:
    """Rows of the largest cell, as so many times the mean."""
    sizes = np.bincount((rows @ means.T).argmax(axis=1), minlength=len(means))
    return float(sizes.max() * len(means) / len(rows))


@pytest.mark.parametrize("seed", [1, 2, 5])
def test_no_cell_is_much_larger_than_the_others(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = clustered(seed, 128, 32, 0.8)
    found = centroids(rows, 128)
    assert found.shape == (128, 64)
    assert found.dtype == np.float32
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert largest(rows, found) <= ivf._LARGE
    monkeypatch.setattr(ivf, "_MOST_SPLITS", 0)
    assert largest(rows, centroids(rows, 128)) > ivf._LARGE, "k-means alone would do"


def test_rows_that_are_all_the_same_end_in_some_cells() -> None:
    rows = np.repeat(np.eye(1, 16, dtype=np.float32), 400, axis=0)
    found = centroids(rows, 8)
    assert found.shape == (8, 16)
    assert np.isfinite(found).all()
