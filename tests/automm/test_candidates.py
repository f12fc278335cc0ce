"""The best of several candidates, under AutoMM's names, over the model that can be worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crosslens import Matcher
from crosslens.automm import MultiModalPredictor
from crosslens.errors import ImageError, InputError, TextError

FAKE = {"model.clip.checkpoint_name": "fake"}
COLOURS = ["red", "green", "blue"]


def predictor(**arguments: Any) -> MultiModalPredictor:
    return MultiModalPredictor(
        **{"problem_type": "zero_shot_image_classification", "hyperparameters": FAKE} | arguments
    )


@pytest.fixture
def images(pictures: Path) -> list[str]:
    return [str(pictures / f"{colour}.png") for colour in COLOURS]


def softmax(scores: list[float]) -> np.ndarray:
    exponentials = np.exp(np.array(scores) - max(scores))
    return exponentials / exponentials.sum()


def test_pictures_are_classified_as_in_automms_tutorial(images: list[str]) -> None:
    candidates = {"text": ["a blue one", "red", "yellow"]}
    found = predictor().predict_proba({"image": [images[0]]}, candidates)
    np.testing.assert_allclose(found, [softmax([0, 10, 10 / np.sqrt(2)])], atol=1e-6)
    labels = predictor().predict({"image": images}, candidates)
    assert labels.dtype == np.int64
    assert labels.tolist() == [1, 2, 0]


def test_lists_do_as_well_as_columns(images: list[str]) -> None:
    assert predictor().predict(images, COLOURS).tolist() == [0, 1, 2]
    assert predictor().predict(images[0], COLOURS).tolist() == [0]


def test_confidence_is_that_of_the_matcher_or_automms(images: list[str]) -> None:
    ours = predictor().predict_proba(images, COLOURS)
    ranked = Matcher("fake").classify(images, COLOURS, templates=("{}",))
    for row, labels in zip(ours, ranked, strict=True):
        assert {label.index: label.confidence for label in labels} == pytest.approx(dict(enumerate(row)))
    candidates = ["red", "red yellow"]
    cosine = 2 / np.sqrt(5)  # of red and the mean of red and yellow
    automms = predictor().predict_proba(images[:1], candidates, probability="automm")
    np.testing.assert_allclose(automms, [softmax([100, 100 * cosine])], atol=1e-6)


def test_templates_are_averaged_as_in_classify(images: list[str]) -> None:
    templates = ["{} red", "{} {}"]
    ours = predictor().predict_proba(images, COLOURS, templates=templates)
    ranked = Matcher("fake").classify(images, COLOURS, templates)
    assert ours.max(axis=1) == pytest.approx([labels[0].confidence for labels in ranked])
    assert not np.allclose(ours, predictor().predict_proba(images, COLOURS))
    with pytest.raises(InputError, match=r"no \"\{\}\""):
        predictor().predict(images, COLOURS, templates=["a photo"])


def test_texts_choose_among_pictures_and_pictures_among_texts(images: list[str]) -> None:
    matching = predictor(problem_type="image_text_similarity", query="caption", response="picture")
    data = {"caption": ["blue", "red"]}
    assert matching.predict(data, {"picture": images}).tolist() == [2, 0]
    assert matching.predict({"picture": images}, {"caption": ["blue", "red"]}).tolist()[2] == 0
    mapped = matching.predict(data, {"picture": ["x", "y"]}, {"picture": {"x": images[0], "y": images[2]}})
    assert mapped.tolist() == [1, 0]
    with pytest.raises(InputError, match="'caption' and 'picture' both hold texts"):
        matching.predict(data, ["red"])
    with pytest.raises(InputError, match="templates are for candidates that are texts"):
        matching.predict(data, {"picture": images}, templates=["a {}"])


@pytest.mark.parametrize("kind", ["text_similarity", "image_similarity"])
def test_alike_is_chosen_among_alike(images: list[str], kind: str) -> None:
    items = COLOURS if kind == "text_similarity" else images
    assert predictor(problem_type=kind).predict(items, items[::-1]).tolist() == [2, 1, 0]


def test_a_dataframe_keeps_its_index(images: list[str]) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"image": images}, index=["a", "b", "c"])
    assert predictor(label="class").predict(frame, COLOURS).to_dict() == {"a": 0, "b": 1, "c": 2}
    proba = predictor().predict_proba(frame, pandas.DataFrame({"name": COLOURS}))
    assert proba.columns.tolist() == [0, 1, 2]
    assert proba.loc["b"].idxmax() == 1


def test_no_pictures_give_no_rows() -> None:
    assert predictor().predict([], COLOURS).shape == (0,)
    assert predictor().predict_proba([], COLOURS).shape == (0, 3)


def test_what_is_missing_is_said(images: list[str]) -> None:
    for ask in (predictor().predict, predictor().predict_proba):
        with pytest.raises(InputError, match=r"Name the classes: candidate_data"):
            ask(images)
        with pytest.raises(InputError, match="candidate_data is empty"):
            ask(images, [])
        with pytest.raises(ImageError, match="gone"):
            ask(["gone"], COLOURS)
        with pytest.raises(TextError, match="is the path of a picture"):
            ask(images, images)
        with pytest.raises(InputError, match="'a', 'b'"):
            ask({"a": images, "b": images}, COLOURS)
