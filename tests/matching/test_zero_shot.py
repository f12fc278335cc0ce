"""Classification by prompts, assignment one to one, long texts, and pictures that cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crosslens import Matcher
from crosslens.errors import (
    ImageSkippedWarning,
    InputError,
    TextError,
    UnreadableImageError,
)
from crosslens.matching.zero_shot import TEMPLATES, ensemble, prompts


def test_every_label_goes_into_every_template() -> None:
    assert prompts(["cat", "a {}"], ["{}", "the {} {}."]) == ["cat", "the cat cat.", "a {}", "the a {} a {}."]


@pytest.mark.parametrize(("labels", "templates"), [([], ["{}"]), (["cat"], []), (["cat"], ["a photo"])])
def test_labels_and_templates_must_be_usable(labels: list[str], templates: list[str]) -> None:
    with pytest.raises(InputError):
        prompts(labels, templates)


def test_an_ensemble_is_the_unit_mean_of_each_labels_vectors() -> None:
    vectors = np.array([[1, 0], [0, 1], [-1, 0], [-1, 0]], dtype=np.float32)
    np.testing.assert_allclose(ensemble(vectors, 2), [[0.5**0.5, 0.5**0.5], [-1, 0]], rtol=1e-6)


def test_pictures_are_classified_by_colour(fake: Matcher, pictures: Path) -> None:
    found = fake.classify([pictures / "red.png", pictures / "yellow.png"], ["green", "red"], ["a {}", "{}"])
    assert [label.text for label in found[0]] == ["red", "green"]
    assert found[0][0].similarity == pytest.approx(1)
    assert sum(label.confidence for label in found[0]) == pytest.approx(1)
    assert found[1][0].confidence == pytest.approx(0.5)  # yellow is as red as it is green


def test_the_usual_templates_are_clips_seven(fake: Matcher, pictures: Path) -> None:
    assert len(TEMPLATES) == 7
    assert fake.classify(pictures / "red.png", "red")[0][0].text == "red"


def test_the_assignment_is_the_best_of_all(fake: Matcher, pictures: Path) -> None:
    images = [pictures / f"{name}.png" for name in ("yellow", "red", "blue")]
    # Yellow alone would rather have red; then red would have nothing near.
    pairs = fake.match(images, ["red", "green", "blue", "black"])
    assert [(pair.image, pair.text) for pair in pairs] == [(0, 1), (1, 0), (2, 2)]
    assert pairs[1].similarity == pytest.approx(1)


def test_long_texts_may_be_averaged_or_refused(fake: Matcher) -> None:
    text = "red " * 8 + "blue " * 8  # the fake model reads eight words
    mean = fake.embed_texts([text, "green"], long_text="mean")
    np.testing.assert_allclose(mean, [[0.5**0.5, 0, 0.5**0.5, 0], [0, 1, 0, 0]], atol=1e-6)
    with pytest.raises(TextError, match="longer than the 8 tokens"):
        fake.embed_texts(text, long_text="error")
    with pytest.raises(InputError, match="long_text"):
        fake.embed_texts(text, long_text="drop")  # type: ignore[arg-type]


def test_the_starters_long_texts_are_read_to_their_end(starter: Matcher) -> None:
    start, end = "a man rides a red bicycle " * 5, "snow on the mountains " * 5
    mean = starter.embed_texts(start + end, long_text="mean")[0]
    both = starter.embed_texts(["a man rides a red bicycle", "snow on the mountains"])
    alone = starter.embed_texts(start, long_text="mean")[0]
    assert float(mean @ both[1]) > float(alone @ both[1]) + 0.1


def test_pictures_that_cannot_be_read_are_skipped_with_their_rows(fake: Matcher, pictures: Path) -> None:
    (pictures / "bad.png").write_bytes(b"bad")
    images = [pictures / "red.png", pictures / "bad.png", b"", pictures / "blue.png"]
    found = fake.embed_images(images, on_error="skip")
    assert found.rows.tolist() == [0, 3]
    np.testing.assert_allclose(found.vectors, [[1, 0, 0, 0], [0, 0, 1, 0]])
    assert [failure.path for failure in found.failures] == [str(pictures / "bad.png"), "image 2"]
    assert found.failures[1].reason == "the file is empty"


def test_pictures_that_cannot_be_read_are_marked_and_named(fake: Matcher, pictures: Path) -> None:
    with pytest.warns(ImageSkippedWarning, match="image 1: the file is empty"):
        vectors = fake.embed_images([pictures / "red.png", b""], on_error="mark")
    assert vectors[0].tolist() == [1, 0, 0, 0]
    assert np.isnan(vectors[1]).all()


def test_pictures_that_cannot_be_read_raise_unless_asked_otherwise(fake: Matcher) -> None:
    with pytest.raises(UnreadableImageError, match="image 0"):
        fake.embed_images([b""])
    with pytest.raises(InputError, match="on_error"):
        fake.embed_images([b""], on_error="ignore")  # type: ignore[call-overload]
    assert fake.embed_images([b""], on_error="skip").vectors.shape == (0, 4)
