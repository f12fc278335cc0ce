"""The probability of a match: a sigmoid with a fit, never a flat (cos + 1) / 2 unless asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosslens import Matcher
from crosslens.errors import InputError, MissingExtraError, UncalibratedWarning
from crosslens.matching.match_probability import (
    default_match,
    fit_match,
    is_calibrated,
    is_name,
    load_match,
    match_probability,
    save_match,
)
from crosslens.models.spec import MatchSpec
from crosslens.towers.fake_model import FAKE_SPEC, FakeModel

UNCALIBRATED = replace(FAKE_SPEC, match=None)


def test_probability_is_the_sigmoid_of_the_fit() -> None:
    # FAKE_SPEC: a = 10, b = -5
    np.testing.assert_allclose(
        match_probability([0.5, 1.0, 0.0], FAKE_SPEC),
        [[0.5, 0.5], [1 / (1 + np.e**5), 1 / (1 + np.e**-5)], [1 / (1 + np.e**-5), 1 / (1 + np.e**5)]],
    )


@given(st.lists(st.floats(-1, 1), min_size=1), st.sampled_from(["calibrated", "automm"]))
def test_rows_sum_to_one_and_grow_with_the_cosine(cosines: list[float], kind: str) -> None:
    p = match_probability(cosines, FAKE_SPEC, kind)  # type: ignore[arg-type]
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert ((p >= 0) & (p <= 1)).all()
    assert (np.diff(p[np.argsort(cosines, kind="stable"), 1]) >= 0).all()


def test_automm_probability_is_half_of_cosine_and_one() -> None:
    assert match_probability([0.2], FAKE_SPEC, "automm").tolist() == [[0.4, 0.6]]


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="Wanted 'calibrated' or 'automm'"):
        match_probability([0.2], FAKE_SPEC, "honest")  # type: ignore[arg-type]


def test_a_model_without_a_fit_is_warned_of() -> None:
    with pytest.warns(UncalibratedWarning, match=r"Matcher\.calibrate"):
        p = match_probability([0.23], UNCALIBRATED)
    np.testing.assert_allclose(p, [[0.5, 0.5]])
    assert not default_match(UNCALIBRATED).calibrated


@pytest.mark.parametrize("text", ["dog", "dogs", "Red cars", "a dog", "The guide dog.", "t-shirt", " été "])
def test_one_or_two_words_are_a_name(text: str) -> None:
    assert is_name(text)


@pytest.mark.parametrize(
    "text", ["dogs at play", "a very large dog", "12", "dog?", "a", "", "一只狗", "two 4x4"]
)
def test_everything_else_is_a_caption(text: str) -> None:
    assert not is_name(text)


def test_names_of_things_have_a_fit_of_their_own() -> None:
    names = MatchSpec(0, 2, calibrated=True, fitted_on="names")
    spec, texts = replace(FAKE_SPEC, match_names=names), ["dog", "a dog in the snow", "two dogs"]
    p = match_probability([0.5, 0.5, 0.5], spec, texts=texts)[:, 1]
    assert p.tolist() == pytest.approx([1 / (1 + np.e**-2), 0.5, 1 / (1 + np.e**-2)])
    assert match_probability([0.5], spec)[0, 1] == 0.5
    # A fit to somebody's own pairs holds for all texts.
    own = MatchSpec(0, 0, calibrated=True, fitted_on="own")
    assert match_probability([0.9] * 3, spec, match=own, texts=texts)[:, 1].tolist() == [0.5] * 3
    assert is_calibrated(spec, texts).all()


def test_names_without_a_fit_are_warned_of_and_marked() -> None:
    spec, texts = replace(FAKE_SPEC, match_names=None), ["dog", "a dog in the snow"]
    with pytest.warns(UncalibratedWarning, match=r"names of things \(\"dog\"\) are a guess"):
        p = match_probability([0.5, 0.5], spec, texts=texts)[:, 1]
    assert p.tolist() == [0.5, 0.5]
    assert is_calibrated(spec, texts).tolist() == [False, True]
    assert not is_calibrated(UNCALIBRATED, texts[1:]).any()
    assert match_probability([0.5], spec, texts=texts[1:])[0, 1] == 0.5  # and nothing is warned of


def test_texts_are_as_many_as_cosines() -> None:
    with pytest.raises(InputError, match="2 cosines and 1 texts"):
        match_probability([0.1, 0.2], FAKE_SPEC, texts=["dog"])


def test_the_extremes_do_not_overflow() -> None:
    steep = MatchSpec(1e6, 0, calibrated=True, fitted_on="")
    assert match_probability([-1, 1], FAKE_SPEC, match=steep).tolist() == [[1, 0], [0, 1]]


def test_a_fit_equals_scikit_learns_logistic_regression() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 400)
    cosines = np.where(labels, 0.3, 0.2) + random.normal(0, 0.06, 400)
    ours = fit_match(cosines, labels)
    # C = 1 / ridge; scikit-learn does not regularise the intercept, which moves b by little.
    theirs = linear_model.LogisticRegression(C=1000, tol=1e-9).fit(cosines[:, None], labels)
    assert ours.a == pytest.approx(theirs.coef_[0, 0], rel=0.01)
    assert ours.b == pytest.approx(theirs.intercept_[0], rel=0.01)
    assert ours.calibrated


def test_pairs_that_can_be_told_apart_perfectly_have_a_finite_fit() -> None:
    fit = fit_match([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
    assert np.isfinite([fit.a, fit.b]).all()
    assert match_probability([0.1, 0.9], FAKE_SPEC, match=fit)[:, 1].round().tolist() == [0, 1]


@pytest.mark.parametrize("labels", [[1, 1, 1], [0, 2, 1], [0, 1]])
def test_labels_that_cannot_be_fitted_are_refused(labels: list[int]) -> None:
    with pytest.raises(InputError):
        fit_match([0.1, 0.2, 0.3], labels)


def test_a_fit_is_kept_and_a_damaged_one_is_not_trusted(tmp_path: Path) -> None:
    fit = MatchSpec(3.5, -1.25, calibrated=True, fitted_on="two pairs")
    save_match(fit, tmp_path / "below" / "fit.json")
    assert load_match(tmp_path / "below" / "fit.json") == fit
    (tmp_path / "below" / "fit.json").write_text('{"a": 1')
    assert load_match(tmp_path / "below" / "fit.json") is None
    assert load_match(tmp_path / "none.json") is None


def test_a_matcher_predicts_pairs(fake: Matcher, pictures: Path) -> None:
    images = [pictures / "red.png", pictures / "blue.png"]
    assert fake.predict(images, ["red", "red"]).tolist() == [1, 0]
    assert fake.predict(images, ["red", "red"], threshold=0.001).tolist() == [1, 1]
    np.testing.assert_allclose(fake.predict_proba(images, ["red", "red"], "automm")[:, 1], [1, 0.5])


def test_pictures_and_texts_must_be_pairs(fake: Matcher, pictures: Path) -> None:
    with pytest.raises(InputError, match="1 pictures and 2 texts"):
        fake.predict_proba(pictures / "red.png", ["red", "blue"])


def test_calibrating_changes_this_matcher_and_those_to_come(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crosslens.app_folders.calibration", lambda identity: tmp_path / f"{identity}.json")
    images = [pictures / "red.png"] * 4
    matcher = Matcher(FakeModel())
    fit = matcher.calibrate(list(zip(images, ["red", "red", "blue", "green"], strict=True)), [1, 1, 0, 0])
    assert fit.fitted_on == "2 pairs that match and 2 that do not"
    assert matcher.match_spec == fit
    assert Matcher(FakeModel()).match_spec == fit
    unsaved = Matcher(FakeModel())
    unsaved.calibrate(
        list(zip(images, ["red", "red", "blue", "green"], strict=True)), [1, 1, 1, 0], save=False
    )
    with pytest.raises(InputError, match="match the better the less alike"):
        unsaved.calibrate(list(zip(images, ["red", "red", "blue", "green"], strict=True)), [0, 0, 1, 1])
    assert Matcher(FakeModel()).match_spec == fit


def test_a_missing_extra_names_the_line_that_installs_it() -> None:
    error = MissingExtraError("scipy", "eval")
    assert str(error) == 'this needs scipy, which is not installed: pip install "crosslens[eval]"'
    assert isinstance(error, ImportError)
