"""Pairs told apart: figures equal to scikit-learn's, and calibrations that hold and that a Matcher takes."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import linear_model, metrics

from crosslens import Matcher, app_folders
from crosslens.errors import InputError
from crosslens.evaluation import (
    Pairs,
    calibrate_pairs,
    evaluate_pairs,
    load_calibration,
    pair_metrics,
    save_calibration,
)
from crosslens.evaluation.pairs import with_strangers
from crosslens.matching.match_probability import apply_match, fit_match, load_match, save_match
from crosslens.towers.fake_model import FAKE_SPEC


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_figures_are_scikit_learns_also_with_ties(seed: int, steps: int) -> None:
    random = np.random.default_rng(seed)
    labels = np.concatenate([[0, 1], random.integers(2, size=random.integers(30))])
    p = random.integers(steps + 1, size=len(labels)) / steps
    found = pair_metrics(labels, p, resamples=0)
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(labels, p))
    assert found["pr_auc"] == pytest.approx(metrics.average_precision_score(labels, p))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, p >= 0.5))
    assert found["f1"] == pytest.approx(metrics.f1_score(labels, p >= 0.5, zero_division=0.0))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(labels, p, labels=[0, 1]))


def test_intervals_hold_the_figure() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 100)
    p = np.clip(0.3 + 0.3 * labels + 0.2 * random.standard_normal(200), 0, 1)
    for name, figure in pair_metrics(labels, p).figures.items():
        if name != "calibration_error":
            assert figure.low is not None
            assert figure.high is not None
            assert figure.low < figure.value < figure.high < figure.low + 0.3


def test_platt_is_scikit_learns_logistic_regression_and_isotonic_follows_the_truth() -> None:
    random = np.random.default_rng(0)
    cosines = random.uniform(-0.2, 0.6, 4000)
    truth = np.where(cosines < 0.3, 0.1, 0.7)  # a step, which no sigmoid is
    labels = (random.random(4000) < truth).astype(int)
    platt, isotonic = fit_match(cosines, labels), fit_match(cosines, labels, "isotonic")
    reference = linear_model.LogisticRegression(C=1e3).fit(cosines[:, None], labels)
    assert platt.a == pytest.approx(reference.coef_[0, 0], rel=1e-2)
    assert (isotonic.a, isotonic.b) == (platt.a, platt.b)
    at = np.array([0.1, 0.5])
    assert apply_match(isotonic, at) == pytest.approx([0.1, 0.7], abs=0.04)
    assert np.abs(apply_match(platt, np.array([0.28])) - 0.1) > 0.2
    p = apply_match(isotonic, np.array([-1.0, 1.0]))
    assert 0 < p[0] < p[1] < 1


def colours(count: int) -> Pairs:
    """Pictures of one colour with texts; of four texts one names another colour."""
    names = ("red", "green", "blue", "yellow")
    arrays = {
        "red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0)
    }  # fmt: skip
    pairs, labels = [], []
    for number in range(count):
        name, other = names[number % 4], names[(number // 4 + 1 + number) % 4]
        picture = np.full((8, 8, 3), arrays[name], np.uint8)
        pairs.append((picture, other if number % 3 == 0 else name))
        labels.append(int(number % 3 != 0 or other == name))
    return Pairs.of(pairs, labels, name="colours")


def test_a_matcher_uses_a_stored_calibration(fake: Matcher, tmp_path: Path) -> None:
    report = evaluate_pairs(fake, colours(60), resamples=0)
    assert not report.drawn
    assert report.fitted_on == FAKE_SPEC.match.fitted_on  # type: ignore[union-attr]
    calibration = calibrate_pairs(report, "isotonic")
    assert calibration.match.fitted_on.startswith("colours: ")
    path = tmp_path / "kept.json"
    save_calibration(fake, calibration, path)
    kept = json.loads(path.read_text())
    assert kept["method"] == "isotonic"
    assert kept["model"] == "fake"
    assert kept["held_out"]["log_loss"] > 0
    other = Matcher(fake.model)
    assert load_calibration(path, other) == calibration.match
    picture = np.full((8, 8, 3), (255, 0, 0), np.uint8)
    p = other.predict_proba([picture], ["red"])[0, 1]
    assert p == apply_match(calibration.match, np.array([1.0]))[0]
    assert p != fake.predict_proba([picture], ["red"])[0, 1]


def test_a_calibration_in_the_data_folder_serves_every_later_matcher(fake: Matcher) -> None:
    calibration = calibrate_pairs(evaluate_pairs(fake, colours(60), resamples=0))
    path = Path(save_calibration(fake, calibration))
    try:
        assert path == app_folders.calibration(fake.spec.identity)
        assert Matcher(fake.model).match_spec == fake.match_spec == calibration.match
    finally:
        path.unlink()


def test_calibrate_takes_the_method(fake: Matcher) -> None:
    pairs = colours(24)
    given = list(zip((pairs.images[i] for i in pairs.text_to_image), pairs.texts, strict=True))
    assert fake.calibrate(given, pairs.labels, save=False, method="isotonic").points  # type: ignore[arg-type]
    with pytest.raises(InputError, match="method is 'guess'"):
        fake.calibrate(given, pairs.labels, method="guess")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"a": 1}', '{"a": 1, "b": 2, "fitted_on": "", "points": [[1, 0.5], [0, 0.7]]}',
     '{"a": 1, "b": 2, "fitted_on": "", "points": [[0, 7]]}'],
)  # fmt: skip
def test_a_damaged_calibration_is_refused(fake: Matcher, tmp_path: Path, content: str) -> None:
    path = tmp_path / "kept.json"
    path.write_text(content)
    with pytest.raises(InputError, match="no stored calibration"):
        load_calibration(path, fake)


def test_a_calibration_of_another_model_is_refused(fake: Matcher, tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    save_match(fit_match([0.1, 0.5], [0, 1]), path, {"identity": "another"})
    assert load_match(path)
    with pytest.raises(InputError, match="another model"):
        load_calibration(path, fake)


def test_without_labels_strangers_are_drawn(fake: Matcher) -> None:
    pairs = colours(8)
    whole = Pairs(pairs.name, pairs.images, pairs.image_ids, pairs.texts, pairs.text_to_image)
    drawn = with_strangers(whole)
    assert len(drawn.texts) == 16
    assert drawn.labels is not None
    assert drawn.labels.tolist() == [1] * 8 + [0] * 8
    assert (drawn.text_to_image[:8] == whole.text_to_image).all()
    assert (drawn.text_to_image[8:] != whole.text_to_image).all()
    assert (with_strangers(whole).text_to_image == drawn.text_to_image).all()
    assert evaluate_pairs(fake, whole, resamples=0).drawn


def test_pairs_of_one_kind_are_refused() -> None:
    with pytest.raises(InputError, match="both of them"):
        pair_metrics([1, 1], [0.5, 0.6])
