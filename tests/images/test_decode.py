"""Stage 2: pictures made so that the right pixels are known, and files that are no good."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from crosslens.errors import ImageError, ImageNotFoundError, ImageTooLargeError, UnreadableImageError
from crosslens.images.decode import Decoded, Limits, decode, read_bytes
from crosslens.images.folder_walk import IMAGE_SUFFIXES

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)
ORIENTATION = 0x0112
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
KINDS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "JPEG2000", "BMP", "PPM")


def saved(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:  # noqa: A002
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def pixels(decoded: Decoded) -> NDArray[np.int64]:
    assert decoded.image.mode == "RGB"
    return np.asarray(decoded.image).astype(np.int64)


def solid(data: bytes | Image.Image) -> tuple[int, ...]:
    """The one colour of a picture."""
    colours = np.unique(pixels(decode(data, "picture")).reshape(-1, 3), axis=0)
    assert len(colours) == 1
    return tuple(colours[0].tolist())


def png(width: int, height: int, data: bytes) -> bytes:
    """A PNG file, 8-bit RGB, whatever its pixel data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


# ---------------------------------------------------------------- EXIF orientation

# Left: red over blue; right, narrower: green over white. No two of its eight arrangements are alike.
UPRIGHT = np.zeros((32, 48, 3), np.uint8)
UPRIGHT[:16, :32], UPRIGHT[:16, 32:], UPRIGHT[16:, :32], UPRIGHT[16:, 32:] = RED, GREEN, BLUE, WHITE

# How the camera stored it, by where EXIF says that the first row and the first column lie.
STORED: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda upright: upright,  # top, left
    2: lambda upright: upright[:, ::-1],  # top, right
    3: lambda upright: upright[::-1, ::-1],  # bottom, right
    4: lambda upright: upright[::-1],  # bottom, left
    5: lambda upright: upright.swapaxes(0, 1),  # left, top
    6: lambda upright: upright[:, ::-1].swapaxes(0, 1),  # right, top
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda upright: upright[::-1].swapaxes(0, 1),  # left, bottom
}


def stored(orientation: int, format: str, scale: int = 1, **options: Any) -> bytes:  # noqa: A002
    large = UPRIGHT.repeat(scale, axis=0).repeat(scale, axis=1)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = Image.fromarray(np.ascontiguousarray(STORED[orientation](large)))
    return saved(image, format, exif=exif, **options)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(
    ("format", "options"),
    [("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"})],
    ids=["png", "webp", "tiff", "tiff-lzw"],
)
def test_every_orientation_comes_out_upright(
    format: str,  # noqa: A002
    options: dict[str, Any],
    orientation: int,
) -> None:
    decoded = decode(stored(orientation, format, **options), "picture")
    assert (decoded.width, decoded.height) == (48, 32)
    assert np.array_equal(pixels(decoded), UPRIGHT)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("format", ["JPEG", "MPO", "AVIF"])
def test_every_orientation_of_a_lossy_file_comes_out_upright(format: str, orientation: int) -> None:  # noqa: A002
    decoded = decode(stored(orientation, format, quality=95, subsampling="4:4:4"), "picture")
    assert (decoded.width, decoded.height) == (48, 32)
    assert np.abs(pixels(decoded) - UPRIGHT).max() <= 4


@pytest.mark.parametrize("orientation", STORED)
def test_a_reduced_jpeg_comes_out_upright_with_its_full_size(orientation: int) -> None:
    data = stored(orientation, "JPEG", scale=8, quality=95, subsampling="4:4:4")
    decoded = decode(data, "picture", shrink_to=16)
    assert (decoded.width, decoded.height) == (8 * 48, 8 * 32)
    assert np.abs(pixels(decoded) - UPRIGHT).max() <= 4


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_counts_as_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = saved(Image.fromarray(UPRIGHT), exif=exif)
    assert np.array_equal(pixels(decode(data, "picture")), UPRIGHT)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0garbage",
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12",
    ],
)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow says what it found wrong
def test_damaged_exif_costs_nothing_but_the_orientation(format: str, exif: bytes) -> None:  # noqa: A002
    assert decode(saved(NOISE, format, exif=exif), "picture").image.size == NOISE.size


def test_an_open_picture_is_turned_upright_too() -> None:
    image = Image.open(io.BytesIO(stored(6, "PNG")))
    assert np.array_equal(pixels(decode(image, "picture")), UPRIGHT)


# ---------------------------------------------------------------- transparency and modes


@pytest.mark.parametrize(("alpha", "seen"), [(0, WHITE), (255, RED), (51, (255, 204, 204))])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_transparency_shows_white(format: str, alpha: int, seen: tuple[int, ...]) -> None:  # noqa: A002
    assert solid(saved(Image.new("RGBA", (4, 3), (*RED, alpha)), format)) == seen


@pytest.mark.parametrize(("alpha", "seen"), [(0, WHITE), (255, BLACK), (51, (204, 204, 204))])
def test_transparency_of_grey_shows_white(alpha: int, seen: tuple[int, ...]) -> None:
    assert solid(saved(Image.new("LA", (4, 3), (0, alpha)))) == seen


def test_transparency_of_an_open_picture_and_of_an_array_shows_white() -> None:
    clear = Image.new("RGBA", (4, 3), (*RED, 0))
    assert solid(clear) == WHITE
    assert np.array_equal(pixels(decode(np.asarray(clear), "picture")), np.full((3, 4, 3), 255))


@pytest.mark.parametrize("mode", ["La", "RGBa", "PA"])
def test_rare_modes_with_alpha_show_white(mode: str) -> None:
    assert solid(Image.new(mode, (4, 3))) == WHITE


def palette_picture() -> Image.Image:
    """Left column colour 0 (red), right column colour 1 (blue)."""
    image = Image.new("P", (2, 3))
    image.putpalette([*RED, *BLUE])
    image.putdata([0, 1] * 3)
    return image


def test_a_palette_picture_has_its_colours() -> None:
    assert pixels(decode(saved(palette_picture()), "picture"))[0].tolist() == [list(RED), list(BLUE)]


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_a_transparent_palette_colour_shows_white(format: str) -> None:  # noqa: A002
    decoded = decode(saved(palette_picture(), format, transparency=0), "picture")
    assert pixels(decoded)[0].tolist() == [list(WHITE), list(BLUE)]


def test_a_palette_with_half_transparent_colours_is_mixed_with_white() -> None:
    decoded = decode(saved(palette_picture(), transparency=bytes([51, 255])), "picture")
    assert pixels(decoded)[0].tolist() == [[255, 204, 204], list(BLUE)]


@pytest.mark.parametrize(("mode", "colour"), [("RGB", RED), ("L", 7)])
def test_a_colour_declared_transparent_shows_white(mode: str, colour: Any) -> None:
    assert solid(saved(Image.new(mode, (4, 3), colour), transparency=colour)) == WHITE


@pytest.mark.parametrize(
    ("ink", "seen"), [((0, 255, 255, 0), RED), ((0, 0, 0, 0), WHITE), ((0, 0, 0, 255), BLACK)]
)
@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_printing_inks_become_light(
    format: str,  # noqa: A002
    ink: tuple[int, ...],
    seen: tuple[int, ...],
) -> None:
    decoded = decode(saved(Image.new("CMYK", (16, 16), ink), format), "picture")
    assert np.abs(pixels(decoded) - seen).max() <= 4


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_of_grey_are_scaled_to_eight(format: str) -> None:  # noqa: A002
    deep = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    decoded = pixels(decode(saved(Image.fromarray(deep), format), "picture"))
    assert np.array_equal(decoded, np.rint(deep / 257).astype(int)[:, :, None].repeat(3, axis=2))


def test_a_dark_sixteen_bit_picture_stays_dark() -> None:
    assert solid(saved(Image.fromarray(np.full((3, 4), 200, np.uint16)))) == (1, 1, 1)


@pytest.mark.parametrize(("value", "seen"), [(200, 200), (51400, 200), (65535, 255)])
def test_thirty_two_bit_greys_are_read_as_eight_or_sixteen_bits(value: int, seen: int) -> None:
    assert solid(saved(Image.new("I", (4, 3), value), "TIFF")) == (seen,) * 3


def test_one_bit_is_black_and_white() -> None:
    bits = np.array([[True, False], [False, True]])
    decoded = pixels(decode(saved(Image.fromarray(bits)), "picture"))
    assert np.array_equal(decoded, np.where(bits, 255, 0)[:, :, None].repeat(3, axis=2))


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(format: str) -> None:  # noqa: A002
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE, GREEN)]
    options = {"lossless": True} if format == "WEBP" else {}
    data = saved(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert solid(data) == RED


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_every_ending_that_reading_looks_for_can_be_decoded(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"picture{suffix}"
    NOISE.save(
        path, **({"format": "PNG"} if suffix in (".heic", ".heif", ".hif") else {})
    )  # see test_formats.py
    decoded = decode(path, str(path))
    assert (decoded.width, decoded.height) == decoded.image.size == NOISE.size


# ---------------------------------------------------------------- inputs


def test_path_text_bytes_picture_and_array_give_the_same(tmp_path: Path) -> None:
    path = tmp_path / "noise.png"
    NOISE.save(path)
    for source in (path, str(path), path.read_bytes(), Image.open(path), NOISE, np.asarray(NOISE)):
        assert np.array_equal(pixels(decode(source, "picture")), np.asarray(NOISE))


def test_a_grey_array_is_a_picture() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(pixels(decode(grey, "picture")), grey[:, :, None].repeat(3, axis=2))


def test_an_array_that_is_a_view_is_read_as_it_looks() -> None:
    view = UPRIGHT[::-2, ::3]
    assert np.array_equal(pixels(decode(view, "picture")), view)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), bool),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((3, 4, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_an_array_that_is_no_picture_is_refused_with_its_shape(array: NDArray[Any]) -> None:
    with pytest.raises(UnreadableImageError, match=r"^image 7: an array of .*Wanted: uint8") as caught:
        decode(array, "image 7")
    assert str(array.shape) in caught.value.reason


# ---------------------------------------------------------------- reduced decoding


@settings(max_examples=60, deadline=None)
@given(width=st.integers(1, 700), height=st.integers(1, 700), target=st.integers(1, 150))
def test_reduced_decoding_never_goes_below_twice_the_target(width: int, height: int, target: int) -> None:
    data = saved(Image.new("RGB", (width, height)), "JPEG")
    decoded = decode(data, "picture", shrink_to=target)
    assert (decoded.width, decoded.height) == (width, height)
    for now, before in zip(decoded.image.size, (width, height), strict=True):
        assert min(2 * target, before) <= now <= before


@pytest.mark.parametrize(
    ("target", "size"),
    [
        (37, (100, 75)),
        (60, (200, 150)),
        (75, (200, 150)),
        (76, (400, 300)),
        (301, (800, 600)),
        (None, (800, 600)),
    ],
)
def test_a_jpeg_much_larger_than_the_target_is_reduced(target: int | None, size: tuple[int, int]) -> None:
    decoded = decode(saved(Image.new("RGB", (800, 600)), "JPEG"), "picture", shrink_to=target)
    assert decoded.image.size == size


def test_a_reduced_jpeg_looks_like_the_whole_one_made_small() -> None:
    smooth = NOISE.resize((9, 7)).resize((800, 600), Image.Resampling.BICUBIC)
    data = saved(smooth, "JPEG", quality=95)
    whole = decode(data, "picture").image.resize((200, 150), Image.Resampling.BOX)
    reduced = decode(data, "picture", shrink_to=75)
    assert np.abs(pixels(reduced) - np.asarray(whole)).mean() < 1


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_only_jpegs_are_reduced(format: str) -> None:  # noqa: A002
    assert decode(saved(Image.new("RGB", (400, 300)), format), "picture", shrink_to=10).image.size == (
        400,
        300,
    )


def test_an_open_picture_is_left_as_its_owner_had_it() -> None:
    mine = Image.open(io.BytesIO(saved(Image.new("RGB", (800, 600), RED), "JPEG")))
    decode(mine, "picture", shrink_to=50)
    assert mine.size == (800, 600)


# ---------------------------------------------------------------- limits


def test_a_header_that_claims_huge_size_is_refused_before_decoding() -> None:
    with pytest.raises(ImageTooLargeError, match=r"^bomb\.png: .*pixels"):
        decode(png(100_000, 100_000, b""), "bomb.png")


def test_the_pixel_limit_is_checked_before_decoding() -> None:
    no_pixels = png(50, 40, b"")  # decoding it would say that it is damaged
    with pytest.raises(ImageTooLargeError, match=r"50 × 40 pixels are more than the limit of 1,999"):
        decode(no_pixels, "picture", limits=Limits(max_pixels=1999))
    with pytest.raises(UnreadableImageError):
        decode(no_pixels, "picture", limits=Limits(max_pixels=2000))


@pytest.mark.parametrize(
    "source", [NOISE, np.asarray(NOISE), saved(NOISE)], ids=["picture", "array", "bytes"]
)
def test_the_pixel_limit_holds_for_every_input(source: Any) -> None:
    with pytest.raises(ImageTooLargeError):
        decode(source, "picture", limits=Limits(max_pixels=4799))
    assert decode(source, "picture", limits=Limits(max_pixels=4800)).width == 80


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # TIFF's decoder sees to itself
@pytest.mark.parametrize("side", [12, 20], ids=["warns", "refuses"])
@pytest.mark.parametrize("format", KINDS)
def test_only_our_own_limit_counts(format: str, side: int, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: A002
    data = saved(Image.new("RGB", (side, side)), format)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow warns above it, and refuses above twice it
    if side == 20 and format in ("TIFF", "WEBP"):
        with pytest.raises(ImageTooLargeError, match="exceeds limit"):
            decode(data, "picture")
    else:
        assert decode(data, "picture").width == side


def test_the_byte_limit_is_checked_before_reading(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    with path.open("wb") as file:
        file.truncate(1001)
    with pytest.raises(ImageTooLargeError, match=r"large\.jpg: 1,001 bytes are more than the limit of 1,000"):
        read_bytes(path, Limits(max_bytes=1000))
    assert len(read_bytes(path, Limits(max_bytes=1001))) == 1001


@pytest.mark.skipif(not os.path.isfile("/proc/self/status"), reason="needs a file that claims to be empty")
def test_the_byte_limit_holds_for_a_file_that_hides_its_size() -> None:
    with pytest.raises(ImageError):
        read_bytes("/proc/self/status", Limits(max_bytes=10))


# ---------------------------------------------------------------- files that are no good


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gone.jpg"
    with pytest.raises(ImageNotFoundError, match="no such file") as caught:
        decode(path, str(path))
    assert caught.value.source == str(path)


def test_a_folder_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match="this is a folder"):
        decode(tmp_path, "folder")


def test_a_path_that_no_system_has_is_unreadable() -> None:
    with pytest.raises(UnreadableImageError, match="cannot be read"):
        decode("a\0b.jpg", "picture")


def test_an_empty_file_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(UnreadableImageError, match=r"^empty\.jpg: the file is empty"):
        decode(tmp_path / "empty.jpg", "empty.jpg")


def test_a_text_renamed_to_jpg_is_no_picture_and_the_error_shows_how_it_begins(tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("dear diary")
    with pytest.raises(UnreadableImageError, match=r"known format; it begins with b'dear dia'"):
        decode(tmp_path / "notes.jpg", "notes.jpg")


def test_a_jpeg_named_png_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(saved(NOISE, "JPEG"))
    assert decode(tmp_path / "picture.png", "picture.png").image.size == NOISE.size


@pytest.mark.parametrize("format", ["PCX", "EPS", "ICO", "TGA"])
def test_formats_that_are_not_listed_are_never_tried(format: str) -> None:  # noqa: A002
    with pytest.raises(UnreadableImageError, match="known format"):
        decode(saved(NOISE, format), "picture")


@pytest.mark.parametrize("format", KINDS)
def test_a_cut_file_gives_an_error_or_the_whole_picture(format: str) -> None:  # noqa: A002
    data = saved(NOISE, format)
    whole = pixels(decode(data, "picture"))
    for cut in {*range(40), *range(40, len(data), len(data) // 60), len(data) - 12, len(data) - 1}:
        try:
            decoded = decode(data[:cut], "picture")
        except UnreadableImageError:
            continue
        assert cut > 0.9 * len(data)
        assert np.array_equal(pixels(decoded), whole)


def test_a_jpeg_cut_after_its_header_is_called_truncated() -> None:
    data = saved(NOISE, "JPEG")
    with pytest.raises(UnreadableImageError, match=r"^half\.jpg: damaged or truncated"):
        decode(data[: len(data) // 2], "half.jpg", shrink_to=10)


BEGINNINGS = [
    saved(NOISE, kind)[:32] for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "BMP", "PPM")
]
WHOLE = [saved(NOISE.resize((9, 7)), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "BMP")]
SMALL = Limits(max_pixels=100_000)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([b"", *BEGINNINGS]), st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_image_errors(beginning: bytes, rest: bytes) -> None:
    with pytest.raises(ImageError):
        decode(beginning + rest, "picture", limits=SMALL)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(WHOLE), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=8))
def test_damaged_files_give_a_picture_or_an_image_error(data: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(data)
    for place, value in changes:
        damaged[place % len(data)] = value
    with contextlib.suppress(ImageError):
        assert pixels(decode(bytes(damaged), "picture", shrink_to=2, limits=SMALL)).ndim == 3
