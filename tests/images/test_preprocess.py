"""Stage 3, pictures: the same pixels as resizing the whole picture with Pillow and cropping it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from crosslens.images.preprocess import preprocess
from crosslens.models.spec import ImageSpec, Interpolation, Resize

FILTERS: dict[Interpolation, Image.Resampling] = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}


def spec(size: int, resize: Resize = "shortest_edge", interpolation: Interpolation = "bicubic") -> ImageSpec:
    return ImageSpec(size, resize, interpolation, "center", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def noise(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(width * 10_007 + height).integers(0, 256, (height, width, 3))
    return Image.fromarray(values.astype(np.uint8))


def resize_then_crop(image: Image.Image, size: int, resample: Image.Resampling) -> NDArray[np.uint8]:
    """What torchvision's Resize(size) and CenterCrop(size) do, written down from their source."""
    width, height = image.size
    short, long = min(width, height), max(width, height)
    new_long = int(size * long / short)
    whole = image.resize((size, new_long) if width <= height else (new_long, size), resample)
    left, top = round((whole.width - size) / 2.0), round((whole.height - size) / 2.0)
    return np.asarray(whole.crop((left, top, left + size, top + size)))


@settings(max_examples=150, deadline=None)
@given(
    width=st.integers(1, 400),
    height=st.integers(1, 400),
    size=st.integers(1, 64),
    interpolation=st.sampled_from(sorted(FILTERS)),
)
def test_any_picture_equals_resizing_then_cropping(
    width: int, height: int, size: int, interpolation: Interpolation
) -> None:
    assume(max(width, height) <= 20 * min(width, height))
    image = noise(width, height)
    wanted = resize_then_crop(image, size, FILTERS[interpolation])
    assert np.array_equal(preprocess(image, spec(size, interpolation=interpolation)), wanted)


@pytest.mark.parametrize(
    ("width", "height"),
    [(640, 480), (480, 640), (500, 333), (333, 500), (100, 160), (160, 100), (97, 96), (96, 97), (224, 224)],
)
def test_usual_shapes_equal_resizing_then_cropping(width: int, height: int) -> None:
    image = noise(width, height)
    wanted = resize_then_crop(image, 96, Image.Resampling.BICUBIC)
    assert np.array_equal(preprocess(image, spec(96)), wanted)


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (1, 1), (2, 3), (2, 300), (3, 9000), (9000, 3)])
def test_extreme_shapes_are_close_to_resizing_then_cropping(shape: tuple[int, int]) -> None:
    image = noise(*shape)  # the whole, resized, may be too large to hold, so here rounding may differ
    wanted = resize_then_crop(image, 8, Image.Resampling.BICUBIC).astype(int)
    assert np.abs(preprocess(image, spec(8)) - wanted).mean() < 1


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (1, 500), (7, 7)])
def test_squashing_uses_the_whole_picture(shape: tuple[int, int], interpolation: Interpolation) -> None:
    image = noise(*shape)
    wanted = np.asarray(image.resize((16, 16), FILTERS[interpolation]))
    assert np.array_equal(preprocess(image, spec(16, "squash", interpolation)), wanted)


@pytest.mark.parametrize("shape", [(101, 64), (64, 103), (640, 427), (333, 500)])
def test_an_odd_margin_is_rounded_down_where_the_reference_does(shape: tuple[int, int]) -> None:
    """Transformers leaves out (n - size) // 2 pixels, torchvision rounds halves to the even number."""
    image = noise(*shape)
    long = int(64 * max(shape) / min(shape))
    whole = image.resize((64, long) if shape[0] <= shape[1] else (long, 64), Image.Resampling.BICUBIC)
    left, top = (whole.width - 64) // 2, (whole.height - 64) // 2
    wanted = np.asarray(whole.crop((left, top, left + 64, top + 64)))
    assert np.array_equal(preprocess(image, replace(spec(64), crop="center_floor")), wanted)


def test_both_ways_of_rounding_differ_by_a_pixel() -> None:
    image = noise(67, 64)
    down, even = preprocess(image, replace(spec(64), crop="center_floor")), preprocess(image, spec(64))
    assert np.array_equal(down, np.asarray(image)[:, 1:65])
    assert np.array_equal(even, np.asarray(image)[:, 2:66])


@pytest.mark.parametrize("shape", [(90, 60), (60, 90), (50, 50), (1, 2000)])
def test_a_side_may_be_resized_to_more_than_is_kept(shape: tuple[int, int]) -> None:
    pixels = preprocess(noise(*shape), replace(spec(32), resize_to=40))
    assert pixels.shape == (32, 32, 3)
    if max(shape) < 1000:
        wanted = preprocess(noise(*shape), spec(40))
        long = int(40 * max(shape) / min(shape))
        inner = (slice(4, 36), slice(4, 36)) if (long - 40) % 2 == 0 and (long - 32) % 4 == 0 else None
        assert inner is None or np.array_equal(pixels, wanted[inner])


def test_the_longest_side_may_fill_the_input_and_grey_the_rest() -> None:
    pixels = preprocess(Image.new("RGB", (80, 40), "red"), replace(spec(20, "longest_edge"), fill=127))
    assert (pixels[:5] == 127).all()
    assert (pixels[15:] == 127).all()
    assert (pixels[5:15] == (255, 0, 0)).all()
    tall = preprocess(Image.new("RGB", (1, 9000), "red"), spec(20, "longest_edge"))
    assert (tall[:, 9] == (255, 0, 0)).all()
    assert tall.sum() == 255 * 20


def test_a_picture_of_the_right_size_is_left_as_it_is() -> None:
    image = noise(24, 24)
    assert np.array_equal(preprocess(image, spec(24)), np.asarray(image))


@pytest.mark.parametrize("axis", [0, 1], ids=["tall", "wide"])
def test_of_a_long_picture_the_middle_is_kept(axis: int) -> None:
    red, green, blue = (np.full((30, 30, 3), colour, np.uint8) for colour in np.eye(3, dtype=int) * 255)
    long = Image.fromarray(np.concatenate([red, green, blue], axis=axis))
    assert np.array_equal(preprocess(long, spec(30)), green)


@pytest.mark.parametrize("resize", ["shortest_edge", "squash"])
@pytest.mark.parametrize("shape", [(1, 65_535), (65_535, 1), (3, 40_000), (640, 480)])
def test_the_result_is_always_square_bytes(shape: tuple[int, int], resize: Resize) -> None:
    pixels = preprocess(noise(*shape), spec(8, resize))
    assert (pixels.shape, pixels.dtype) == ((8, 8, 3), np.uint8)


@pytest.mark.parametrize("shape", [(60_000, 1), (1, 60_000), (5, 40_000)])
def test_a_long_thin_picture_takes_no_more_memory_than_others(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    resize = Image.Image.resize

    def modestly(image: Image.Image, size: tuple[int, int], *rest: Any, **options: Any) -> Image.Image:
        assert size[0] * size[1] <= 100 * 96 * 96  # 60,000 times as much, if all of it were resized
        return resize(image, size, *rest, **options)

    monkeypatch.setattr(Image.Image, "resize", modestly)
    assert preprocess(Image.new("RGB", shape), spec(96)).shape == (96, 96, 3)


@pytest.mark.parametrize("shape", [(1, 5000), (50, 20), (20, 50), (333, 500)])
def test_one_colour_stays_that_colour(shape: tuple[int, int]) -> None:
    pixels = preprocess(Image.new("RGB", shape, (10, 20, 200)), spec(32))
    assert np.array_equal(pixels, np.full((32, 32, 3), (10, 20, 200)))


def test_the_picture_itself_is_not_changed() -> None:
    image = noise(40, 30)
    before = np.array(image)
    preprocess(image, spec(16))
    assert np.array_equal(np.asarray(image), before)
