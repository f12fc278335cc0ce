"""How well the rows of a cell may score, from the score of its centroid."""

from __future__ import annotations

import numpy as np
import pytest

from crosslens.search.exact import Exact
from crosslens.search.reach import Reach
from vectorsets import approximate, unit

ROWS, WIDTH, CELLS = 3_000, 64, 64


@pytest.fixture(scope="module")
def made() -> tuple[object, Exact]:
    one = approximate(unit(ROWS, WIDTH, seed=1), np.arange(ROWS), CELLS)
    return one.codes, one.exact


def test_no_row_scores_better_than_the_curve_says_of_its_cell(made: tuple[object, Exact]) -> None:
    codes, exact = made
    queries, rows = unit(64, WIDTH, seed=9), exact.vectors(slice(0, ROWS))
    reach = Reach.measured(codes, exact, queries)
    assert list(reach.centroids) == sorted(reach.centroids)
    assert list(reach.rows) == sorted(reach.rows)
    centroids = codes.quantizer.reconstruct_n(0, CELLS)  # type: ignore[attr-defined]
    cells = (rows @ centroids.T).argmax(axis=1)
    scores, near = queries @ rows.T, (queries @ centroids.T)[:, cells]
    assert (scores <= reach.best(near) + 1e-5).all()
    # Nor does it say of all cells that the best may be in them.
    assert (reach.best(queries @ centroids.T) < scores.max(axis=1, keepdims=True)).mean() > 0.5


def test_other_queries_are_hardly_ever_beyond_it(made: tuple[object, Exact]) -> None:
    codes, exact = made
    reach = Reach.measured(codes, exact, unit(64, WIDTH, seed=9))
    queries, rows = unit(200, WIDTH, seed=10), exact.vectors(slice(0, ROWS))
    centroids = codes.quantizer.reconstruct_n(0, CELLS)  # type: ignore[attr-defined]
    cells = (rows @ centroids.T).argmax(axis=1)
    beyond = queries @ rows.T > reach.best((queries @ centroids.T)[:, cells])
    assert beyond.mean() < 0.001


def test_a_score_beyond_the_curve_has_that_of_its_end() -> None:
    reach = Reach((0.1, 0.3), (0.2, 0.5))
    assert reach.best(np.array([-1, 0.1, 0.29, 0.3, 0.9])).tolist() == pytest.approx(
        [0.2, 0.2, 0.2, 0.5, 0.5]
    )
