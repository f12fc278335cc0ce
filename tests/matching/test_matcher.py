"""The matcher with the fake model, whose vectors are red, green, blue and darkness, worked out by hand."""

from __future__ import annotations

import io
import unicodedata
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from math import e, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from crosslens import Limits, Matcher, softmax_confidence
from crosslens.errors import (
    CrosslensWarning,
    EncodingError,
    ImageError,
    ImageNotFoundError,
    ImageTooLargeError,
    InputError,
    TextError,
    TextTruncatedWarning,
    UnreadableImageError,
    UnseenScriptWarning,
)
from crosslens.texts.validation import modality_of
from crosslens.towers.fake_model import FakeModel
from crosslens.types import Float32, Label

Paint = Callable[..., Path]

VECTORS = {
    "black": [0, 0, 0, 1],
    "red": [1, 0, 0, 0],
    "green": [0, 1, 0, 0],
    "blue": [0, 0, 1, 0],
    "yellow": [1 / sqrt(2), 1 / sqrt(2), 0, 0],
    "magenta": [1 / sqrt(2), 0, 1 / sqrt(2), 0],
    "cyan": [0, 1 / sqrt(2), 1 / sqrt(2), 0],
    "white": [1 / sqrt(3)] * 3 + [0],
}
RED = np.full((6, 9, 3), (255, 0, 0), np.uint8)
BLUE = np.full((6, 9, 3), (0, 0, 255), np.uint8)


def png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def close(vectors: NDArray[Any], *colours: str) -> bool:
    """Whether vectors are those of colours, row for row."""
    assert vectors.shape == (len(colours), 4)
    assert vectors.dtype == np.float32
    return np.allclose(vectors, [VECTORS[colour] for colour in colours], atol=1e-6)


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize("colour", VECTORS)
def test_a_picture_has_the_vector_of_its_colour(fake: Matcher, paint: Paint, colour: str) -> None:
    assert close(fake.embed_images([paint(f"{colour}.png")]), colour)


def test_a_picture_of_two_colours_has_the_vector_between_them(fake: Matcher) -> None:
    halves = np.concatenate([RED[:4, :4], BLUE[:4, :4]])  # 8 × 4; the middle 4 × 4 is kept
    assert np.allclose(fake.embed_images(halves), [np.array([1, 0, 1, 1]) / sqrt(3)], atol=0.01)


def test_every_kind_of_input_gives_the_same(fake: Matcher, paint: Paint) -> None:
    path = paint("red.png")
    sources = [path, str(path), path.read_bytes(), Image.open(path), np.asarray(Image.open(path))]
    assert close(fake.embed_images(sources), *["red"] * 5)
    for source in sources:
        assert close(fake.embed_images(source), "red")


def test_a_grey_array_is_one_picture_and_four_axes_are_several(fake: Matcher) -> None:
    assert close(fake.embed_images(np.zeros((5, 7), np.uint8)), "black")
    assert close(fake.embed_images(np.stack([RED, BLUE, RED])), "red", "blue", "red")


def test_pictures_may_come_from_a_generator(fake: Matcher) -> None:
    assert close(fake.embed_images(picture for picture in (RED, BLUE)), "red", "blue")


def test_more_pictures_than_a_batch_keep_their_rows(fake: Matcher) -> None:
    colours = [("red", RED), ("blue", BLUE), ("blue", BLUE)] * 31
    assert close(fake.embed_images([pixels for _, pixels in colours]), *[name for name, _ in colours])


def test_no_pictures_give_no_rows(fake: Matcher) -> None:
    vectors = fake.embed_images([])
    assert (vectors.shape, vectors.dtype) == ((0, 4), np.float32)


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=20)))
def test_any_picture_has_unit_norm(pixels: NDArray[np.uint8]) -> None:
    vectors = Matcher(FakeModel()).embed_images(pixels)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_the_starter_gives_unit_norms(starter: Matcher) -> None:
    vectors = np.concatenate([starter.embed_images([RED, BLUE]), starter.embed_texts(["red", "a dog"])])
    assert vectors.shape == (4, starter.dimension)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


# ---------------------------------------------------------------- pictures that cannot be used


def test_a_missing_file_is_named(fake: Matcher, paint: Paint) -> None:
    missing = paint("red.png").parent / "gone.png"
    with pytest.raises(ImageNotFoundError) as caught:
        fake.embed_images([paint("red.png"), missing])
    assert caught.value.source == str(missing)


def test_bytes_that_are_no_picture_are_named_by_their_place(fake: Matcher) -> None:
    with pytest.raises(UnreadableImageError, match=r"^image 2: not a picture"):
        fake.embed_images([RED, BLUE, b"no picture", b"nor this"])


def test_an_array_that_is_no_picture_is_named_by_its_place(fake: Matcher) -> None:
    with pytest.raises(UnreadableImageError, match=r"^image 1: an array of float64"):
        fake.embed_images([RED, RED / 255])


@pytest.mark.parametrize("thing", [None, 3.5, {"path": "a.jpg"}])
def test_a_thing_that_is_no_picture_is_named_by_its_place(fake: Matcher, thing: Any) -> None:
    with pytest.raises(ImageError, match=r"^image 1: "):
        fake.embed_images([RED, thing])


def test_limits_hold(paint: Paint) -> None:
    path = paint("red.png", size=(16, 16))
    assert Matcher(FakeModel(), limits=Limits(max_pixels=256)).embed_images(path).shape == (1, 4)
    with pytest.raises(ImageTooLargeError, match=r"red\.png: 16 × 16 pixels"):
        Matcher(FakeModel(), limits=Limits(max_pixels=255)).embed_images(path)
    with pytest.raises(ImageTooLargeError, match=r"red\.png: .* bytes"):
        Matcher(FakeModel(), limits=Limits(max_bytes=10)).embed_images(path)


class Blind(FakeModel):
    """Its towers give a zero vector for the second row of a batch."""

    def __init__(self) -> None:
        super().__init__()
        for tower in (self.image, self.text):
            tower.submit = self._second_is_zero(tower.submit)  # type: ignore[method-assign]

    @staticmethod
    def _second_is_zero(submit: Callable[..., Future[Float32]]) -> Callable[..., Future[Float32]]:
        def wrapped(batch: NDArray[Any]) -> Future[Float32]:
            future = submit(batch)
            future.result()[1:2] = 0
            return future

        return wrapped


def test_a_picture_without_a_usable_vector_is_named(paint: Paint) -> None:
    path = str(paint("blue.png"))
    for picture, name in ((path, path), (BLUE, "image 1")):
        with pytest.raises(EncodingError, match="no usable vector") as caught:
            Matcher(Blind()).embed_images([RED, picture])
        assert name in caught.value.problem


def test_a_text_without_a_usable_vector_is_named() -> None:
    with pytest.raises(InputError, match=r"text 1 \('blue'\): the model gave no usable vector"):
        Matcher(Blind()).embed_texts(["red", "blue"])


# ---------------------------------------------------------------- texts


@pytest.mark.parametrize("colour", VECTORS)
def test_a_text_has_the_vector_of_its_colour(fake: Matcher, colour: str) -> None:
    assert close(fake.embed_texts([f"a {colour.upper()} car"]), colour)


def test_a_text_of_two_colours_has_the_vector_between_them(fake: Matcher) -> None:
    assert np.allclose(fake.embed_texts(["red green"]), [np.array([1, 1, 0, 1]) / sqrt(3)])


def test_a_single_text_is_a_list_of_one(fake: Matcher) -> None:
    assert close(fake.embed_texts("red"), "red")


def test_more_texts_than_a_batch_keep_their_rows(fake: Matcher) -> None:
    colours = ["red", "blue", "blue"] * 50
    assert close(fake.embed_texts(colours), *colours)


def test_no_texts_give_no_rows(fake: Matcher, starter: Matcher) -> None:
    for matcher in (fake, starter):
        vectors = matcher.embed_texts([])
        assert (vectors.shape, vectors.dtype) == ((0, matcher.dimension), np.float32)


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_text_is_an_error_with_its_row(fake: Matcher, starter: Matcher, text: str) -> None:
    for matcher in (fake, starter):
        with pytest.raises(TextError, match=r"^text 1 \('.*'\) is empty"):
            matcher.embed_texts(["red", text, "blue"])


@pytest.mark.parametrize("thing", [None, 5, b"red", Path("red")])
def test_a_thing_that_is_no_text_is_an_error_with_its_row(fake: Matcher, thing: Any) -> None:
    with pytest.raises(TextError, match=rf"^text 1 is {type(thing).__name__}, not str"):
        fake.embed_texts(["red", thing])


def test_a_text_with_half_a_character_is_an_error_with_its_row(starter: Matcher) -> None:
    with pytest.raises(TextError, match=r"^text 1 "):  # as a command line gives it that is not UTF-8
        starter.embed_texts(["a dog", "caf\udce9"])


def test_the_path_of_a_picture_passed_as_a_text_is_an_error(fake: Matcher, paint: Paint) -> None:
    with pytest.raises(TextError, match=r"^text 1 .* is the path of a picture") as caught:
        fake.embed_texts(["red", str(paint("red.png"))])
    assert caught.value.remedy == "Pass pictures to the image side"


def test_the_name_of_a_picture_that_is_not_there_is_a_text(fake: Matcher) -> None:
    assert close(fake.embed_texts(["gone.png"]), "black")


# ---------------------------------------------------------------- warnings


def test_a_text_that_is_cut_warns_with_its_row_and_length(fake: Matcher) -> None:
    long = "red " * 8 + "blue"
    with pytest.warns(TextTruncatedWarning) as caught:
        assert close(fake.embed_texts(["blue", long]), "blue", "red")
    assert str(caught[0].message) == (
        f"text 1 ({long!r}) is longer than the 8 tokens that fake reads (9 tokens at most); "
        "the end was left out. long_text='mean' reads it all"
    )


def test_many_texts_that_are_cut_warn_once(fake: Matcher) -> None:
    with pytest.warns(TextTruncatedWarning, match=r"^7 texts \(rows 0, 2, 3, 4, 5, …\) are longer") as caught:
        fake.embed_texts(["red " * 9, "red", *["blue " * 9] * 6])
    assert len(caught) == 1


def test_a_text_that_just_fits_does_not_warn(fake: Matcher) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fake.embed_texts("red " * 8)


def test_a_script_that_the_model_never_saw_warns_with_its_row(fake: Matcher) -> None:
    with pytest.warns(UnseenScriptWarning) as caught:
        fake.embed_texts(["red", "красный", "赤", "rouge"])
    assert str(caught[0].message) == (
        "2 texts (rows 1, 2) are in a script that fake never saw (CJK, CYRILLIC); the results mean nothing. "
        "It reads LATIN"
    )


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("α", "GREEK"),
        ("שלום", "HEBREW"),
        ("سلام", "ARABIC"),
        ("नमस्ते", "DEVANAGARI"),
        ("ไทย", "THAI"),
        ("한국", "HANGUL"),
        (unicodedata.normalize("NFD", "한국"), "HANGUL"),  # as macOS writes names
        ("カメラ", "KATAKANA"),
        ("ｶﾒﾗ", "KATAKANA"),
    ],
)
def test_the_script_is_told(fake: Matcher, text: str, script: str) -> None:
    with pytest.warns(UnseenScriptWarning, match=rf"never saw \({script}\)"):
        fake.embed_texts(f"red {text}")


@pytest.mark.parametrize("text", ["naïve café", "Ærøskøbing", "100 % — ½ €", "😀 red", "e\u0301t\u00e9"])
def test_accents_signs_and_digits_are_of_no_foreign_script(fake: Matcher, text: str) -> None:
    assert fake.embed_texts(text).shape == (1, 4)


@pytest.mark.parametrize("text", ["5 µm", "1ª planta", "nº 5", "Hawaiʻi", "300 \u212a", "ＲＥＤ"])
def test_letters_that_all_scripts_share_are_of_no_foreign_script(fake: Matcher, text: str) -> None:
    assert fake.embed_texts(text).shape == (1, 4)


def test_warnings_point_at_the_caller(fake: Matcher) -> None:
    with pytest.warns(CrosslensWarning) as caught:
        fake.embed_texts("красный " * 9)
    assert [warning.category for warning in caught] == [TextTruncatedWarning, UnseenScriptWarning]
    assert {warning.filename for warning in caught} == {__file__}


# ---------------------------------------------------------------- either


def test_embed_tells_pictures_from_texts(fake: Matcher, pictures: Path) -> None:
    red, blue = str(pictures / "red.png"), pictures / "blue.png"
    assert close(fake.embed([red, blue]), "red", "blue")
    assert close(fake.embed(["red", "blue"]), "red", "blue")
    assert close(fake.embed(red), "red")
    assert close(fake.embed("blue"), "blue")


def test_embed_takes_one_array_as_one_picture(fake: Matcher) -> None:
    assert close(fake.embed(RED), "red")


def test_embed_refuses_a_mixture(fake: Matcher, pictures: Path) -> None:
    with pytest.raises(InputError, match="rows 0, 2 are pictures, row 1 "):
        fake.embed([str(pictures / "red.png"), "red", BLUE])


def test_embed_does_as_it_is_told(fake: Matcher) -> None:
    with pytest.raises(ImageNotFoundError, match=r"^red: there is no such file"):
        fake.embed(["red"], modality="image")
    assert close(fake.embed(["red"], modality="text"), "red")


def test_embed_never_drops_a_row(fake: Matcher) -> None:
    with pytest.raises(TextError, match=r"^text 1 is ndarray"):
        fake.embed(["red", BLUE, "green"], modality="text")


def test_modality_of_lists(pictures: Path) -> None:
    path = str(pictures / "red.png")
    assert modality_of([path, pictures / "blue.png", RED, b"", Image.new("RGB", (1, 1))]) == "image"
    assert modality_of(["red", "a dog", str(pictures)]) == "text"
    assert modality_of([]) == "text"
    assert modality_of([Path("gone.png")]) == "image"
    assert modality_of(["data:image/png;base64,iVBORw0KGgo=", path]) == "image"
    with pytest.raises(InputError, match=r"row 1: there is no picture 'gone\.png'"):
        modality_of(["red", "gone.png"])


def test_modality_of_a_mixture_names_the_rows(pictures: Path) -> None:
    with pytest.raises(InputError) as caught:
        modality_of(["red", str(pictures / "red.png"), "blue", RED])
    assert "rows 1, 3 are pictures, rows 0, 2 are not" in caught.value.problem


# ---------------------------------------------------------------- similarity and rank


def test_similarity_is_the_cosine_of_every_picture_with_every_text(fake: Matcher, pictures: Path) -> None:
    images = [pictures / "red.png", pictures / "yellow.png"]
    cosines = fake.similarity(images, ["red", "green", "white", "black"])
    half, third = 1 / sqrt(2), 1 / sqrt(3)
    assert np.allclose(cosines, [[1, 0, third, 0], [half, half, 2 * half * third, 0]], atol=1e-6)
    assert cosines.dtype == np.float32


def test_similarity_takes_single_inputs(fake: Matcher) -> None:
    assert fake.similarity(RED, "red").tolist() == [[1]]


def test_similarity_of_nothing_is_empty(fake: Matcher) -> None:
    assert fake.similarity([], ["red"]).shape == (0, 1)
    assert fake.similarity([RED], []).shape == (1, 0)


def test_similarity_never_leaves_its_range(fake: Matcher, monkeypatch: pytest.MonkeyPatch) -> None:
    rounded_up = np.array([[1.0000001]], np.float32)
    monkeypatch.setattr(fake, "embed_images", lambda _: rounded_up)
    monkeypatch.setattr(fake, "embed_texts", lambda _: np.concatenate([rounded_up, -rounded_up]))
    assert fake.similarity([RED], ["red", "not red"]).tolist() == [[1, -1]]


def test_rank_puts_the_best_text_first_with_its_confidence(fake: Matcher, paint: Paint) -> None:
    labels = fake.rank(paint("red.png"), ["blue", "red", "yellow"])
    assert [(label.text, label.index) for label in labels] == [("red", 1), ("yellow", 2), ("blue", 0)]
    assert [label.similarity for label in labels] == pytest.approx([1, 1 / sqrt(2), 0], abs=1e-6)
    weights = np.array([e**10, e ** (10 / sqrt(2)), 1])  # the fake's logit scale is 10
    assert [label.confidence for label in labels] == pytest.approx(weights / weights.sum(), abs=1e-6)


def test_rank_keeps_the_order_of_texts_that_fit_equally(fake: Matcher) -> None:
    labels = fake.rank(RED, ["green", "red car"] * 20)
    assert [label.index for label in labels] == [*range(1, 40, 2), *range(0, 40, 2)]


def test_rank_of_one_text_is_certain_of_it(fake: Matcher) -> None:
    assert fake.rank(RED, ["blue"]) == fake.rank(RED, "blue") == [Label("blue", 0, 0.0, 1.0)]


def test_rank_without_texts_is_an_error(fake: Matcher) -> None:
    with pytest.raises(TextError, match="there is no text to rank"):
        fake.rank(RED, [])


# ---------------------------------------------------------------- softmax confidence


def test_confidence_equals_a_published_example() -> None:
    confidence = softmax_confidence([0.2680176, 0.20550625, 0.20786627], 100)
    assert confidence == pytest.approx([0.9956492, 0.0019199, 0.0024309], abs=1e-6)


def test_confidence_is_finite_at_a_great_scale() -> None:
    assert softmax_confidence([1.0, -1.0, 0.9], 1e4).tolist() == [1, 0, 0]


def test_confidence_of_a_matrix_is_that_of_its_rows() -> None:
    rows = np.array([[0.1, 0.2, 0.3], [0.3, -0.1, 0.0]], np.float32)
    together = softmax_confidence(rows, 10)
    assert together.dtype == np.float64
    assert np.allclose(together, [softmax_confidence(row, 10) for row in rows])


@pytest.mark.parametrize("similarities", [[], 0.5, np.empty((3, 0))])
def test_confidence_over_nothing_is_an_error(similarities: Any) -> None:
    with pytest.raises(ValueError, match="at least one similarity"):
        softmax_confidence(similarities, 100)


COSINES = st.lists(st.floats(-1, 1), min_size=1, max_size=20)


@given(COSINES, st.floats(0.1, 1e4))
def test_confidences_sum_to_one_and_keep_the_order(cosines: list[float], scale: float) -> None:
    confidence = softmax_confidence(cosines, scale)
    assert confidence.sum() == pytest.approx(1)
    assert (confidence >= 0).all()
    assert (np.diff(confidence[np.argsort(cosines)]) >= 0).all()


@given(COSINES, st.floats(-1, 1), st.floats(0.1, 100))
def test_confidences_do_not_change_when_all_cosines_shift(
    cosines: list[float], shift: float, scale: float
) -> None:
    shifted = softmax_confidence(np.array(cosines) + shift, scale)
    assert shifted == pytest.approx(softmax_confidence(cosines, scale), abs=1e-9)
