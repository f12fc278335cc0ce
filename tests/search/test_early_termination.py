"""How many cells may hold better rows, from the scores of their centroids."""

from __future__ import annotations

import numpy as np
import pytest

from crosslens.search import early_termination as reach_module
from crosslens.search.early_termination import Curves, Reach
from crosslens.search.exact import Exact
from vectorsets import approximate, unit

ROWS, WIDTH, CELLS, K = 3_000, 64, 64, 10
SHARES = reach_module._SHARES


@pytest.fixture(scope="module")
def made() -> tuple[object, Exact]:
    one = approximate(unit(ROWS, WIDTH, seed=1), np.arange(ROWS), CELLS)
    return one.codes, one.exact


def of_cells(made: tuple[object, Exact], queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the centroids, and of the best rows of their cells, (queries, cells)."""
    codes, exact = made
    rows = exact.vectors(slice(0, ROWS))
    centroids = codes.quantizer.reconstruct_n(0, CELLS)  # type: ignore[attr-defined]
    cells, scores = (rows @ centroids.T).argmax(axis=1), queries @ rows.T
    best = np.stack([scores[:, cells == cell].max(axis=1, initial=-1) for cell in range(CELLS)], axis=1)
    return queries @ centroids.T, best


def missed_by(reach: Reach, near: np.ndarray, best: np.ndarray, missed: float) -> tuple[float, float]:
    """Of queries: cells with better rows that are left out, and the part of all cells that is looked into."""
    left_out, looked = [], []
    for scores, rows in zip(near, best, strict=True):
        order, least = np.argsort(-scores), -np.sort(-rows)[K - 1]
        count = reach.cells(scores[order], least, missed)
        left_out.append(np.count_nonzero(rows[order[count:]] >= least))
        looked.append(count / CELLS)
    return float(np.mean(left_out)), float(np.mean(looked))


@pytest.mark.parametrize("missed", [0.03, 0.3, 3])
def test_what_is_left_out_holds_no_more_than_was_said(made: tuple[object, Exact], missed: float) -> None:
    reach = Reach.measured(*made, unit(128, WIDTH, seed=9))
    left_out, looked = missed_by(reach, *of_cells(made, unit(200, WIDTH, seed=10)), missed)
    assert left_out <= 1.5 * missed + 0.1
    assert looked < 1


def test_the_more_may_be_missed_the_fewer_cells_are_looked_into(made: tuple[object, Exact]) -> None:
    reach = Reach.measured(*made, unit(128, WIDTH, seed=9))
    pairs = of_cells(made, unit(100, WIDTH, seed=10))
    looked = [missed_by(reach, *pairs, missed)[1] for missed in (0, 0.1, 1, 3)]
    assert looked == sorted(looked, reverse=True)
    assert looked[-1] < looked[0]


def test_odds_fall_with_the_score_and_rise_with_the_centroid(made: tuple[object, Exact]) -> None:
    reach = Reach.measured(*made, unit(64, WIDTH, seed=9))
    assert len(reach.groups) == 4
    assert [group.nearest for group in reach.groups] == sorted(group.nearest for group in reach.groups)
    centroids = np.linspace(-1, 1, 50).astype(np.float32)
    for group in reach.groups:
        assert np.shape(group.rows) == (len(SHARES), len(group.centroids))
        odds = np.array([group.odds(centroids, least) for least in np.linspace(-1, 1, 50)])
        assert (np.diff(odds, axis=1) >= 0).all()
        assert (np.diff(odds, axis=0) <= 0).all()
        assert (odds[0].min(), odds[-1].max()) == (1, 0)


def test_queries_far_from_everything_have_curves_of_their_own(made: tuple[object, Exact]) -> None:
    """As texts are, all whose scores lie within a narrow band."""
    near, best = (0.2 * part for part in of_cells(made, unit(64, WIDTH, seed=3)))
    like_near, like_best = of_cells(made, made[1].vectors(slice(0, 64)))
    reach = Reach.of(np.concatenate([near, like_near]).T, np.concatenate([best, like_best]).T)
    pooled = Reach((reach.groups[-1],))
    assert missed_by(reach, near, best, 1)[1] < missed_by(pooled, near, best, 1)[1] - 0.1


def test_steps_and_groups_reach_beyond_their_ends() -> None:
    rows, lower = ((0.2, 0.5),) * len(SHARES), ((0.1, 0.2),) * len(SHARES)
    reach = Reach((Curves(0.4, (0.1, 0.3), lower), Curves(0.9, (0.1, 0.3), rows)))
    for nearest in (0.8, 0.95):
        asked = np.array([nearest, 0.3, 0.29, 0.1, -1], np.float32)
        assert reach._group(nearest).odds(asked, 0.3).tolist() == [1, 1, 0, 0, 0]
        assert reach.cells(asked, 0.3, 0) == 2
        assert reach.cells(asked, 0.3, 1) == 1
        assert reach.cells(asked, -np.inf, 0) == 5
        assert reach.cells(asked, np.nan, 0) == 5
    assert reach._group(0.4).odds(np.array([0.3], np.float32), 0.3).tolist() == [0]
    asked = np.array([0.3, 0.3, np.nan], np.float32)
    nearest, least = np.array([0.4, 0.8, np.nan]), np.array([0.3, 0.3, np.nan])
    assert reach.may_hold(asked, nearest, least).tolist() == [False, True, True]
