"""Pictures made to do harm: decoding gives a picture or an ImageError, soon, in little memory.

Each is decoded with limits of a million pixels, within two seconds; what is worst is decoded under the
default limits too, in a process of its own that may take no more than two gigabytes.
"""

from __future__ import annotations

import base64
import io
import os
import pickle
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from test_formats import DISPLAY_P3, HEIC, heic, png, saved, tiff

from crosslens.errors import ImageError, ImageTooLargeError, UnreadableImageError
from crosslens.images.decode import Decoded, Limits, decode

# Pillow says what it found wrong; that is no error of decoding.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")

SMALL = Limits(max_pixels=1_000_000)
# Processor time that shows a cost out of proportion (the ones found took 7 to 30), on a slow machine too.
SECONDS = 5.0
# As many pixels as the default limits allow, on a side.
SIDE = 13377

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8))
SMOOTH = NOISE.resize((40, 48), Image.Resampling.BICUBIC)


def frames() -> dict[str, Any]:
    """Two more pictures, new ones each time: Pillow leaves marks of one format on what it saves."""
    return {"save_all": True, "append_images": [NOISE.rotate(180), NOISE.copy()]}


def exif(orientation: int = 6) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


VALID: dict[str, bytes] = {
    "jpeg": saved(SMOOTH, "JPEG", exif=exif(), icc_profile=DISPLAY_P3),
    "jpeg progressive": saved(SMOOTH, "JPEG", progressive=True),
    "jpeg cmyk": saved(SMOOTH.convert("CMYK"), "JPEG"),
    "mpo": saved(SMOOTH, "MPO", **frames()),
    "png": saved(NOISE, exif=exif(), icc_profile=DISPLAY_P3),
    "png palette": saved(NOISE.quantize(16), transparency=3),
    "png 16 bits": png(np.arange(400).reshape(20, 20) * 100, 0, 16, clear=b"\0\0"),
    "apng": saved(NOISE, **frames()),
    "webp": saved(SMOOTH, "WEBP", exif=exif(), icc_profile=DISPLAY_P3),
    "webp lossless": saved(NOISE.convert("RGBA"), "WEBP", lossless=True),
    "webp animated": saved(NOISE, "WEBP", **frames()),
    "gif": saved(NOISE.quantize(16), "GIF", transparency=1),
    "gif animated": saved(NOISE.quantize(16), "GIF", save_all=True, append_images=[NOISE.quantize(8)]),
    "bmp": saved(NOISE, "BMP"),
    "bmp palette": saved(NOISE.quantize(16), "BMP"),
    "dib": saved(NOISE, "DIB"),
    "tiff": saved(NOISE, "TIFF", icc_profile=DISPLAY_P3),
    "tiff lzw": saved(NOISE, "TIFF", compression="tiff_lzw"),
    "tiff deflate": saved(NOISE, "TIFF", compression="tiff_adobe_deflate"),
    "tiff pages": saved(NOISE, "TIFF", **frames()),
    "tiff jpeg": saved(SMOOTH, "TIFF", compression="jpeg"),
    "tiff fax": saved(NOISE.convert("1"), "TIFF", compression="group4"),
    "tiff float": tiff(np.linspace(0, 1, 100, dtype="<f4").reshape(10, 10), sample_format=3),
    "avif": saved(SMOOTH, "AVIF", exif=exif(), icc_profile=DISPLAY_P3),
    "jp2": saved(SMOOTH, "JPEG2000"),
    "j2k": saved(SMOOTH, "JPEG2000", no_jp2=True, irreversible=True, tile_size=(16, 16)),
    "ppm": saved(NOISE, "PPM"),
    "ppm plain": b"P3 4 4 255\n" + b" ".join(b"%d" % n for n in range(48)),
    "pgm 16 bits": b"P5 4 4 65535\n" + bytes(range(32)),
    "pbm": saved(NOISE.convert("1"), "PPM"),
    **{f"heic {name}": heic(name) for name in HEIC},
}


def attempt(data: bytes, limits: Limits = SMALL, shrink_to: int | None = 8) -> Decoded | ImageError:
    """Decode; what comes back besides a picture or an ImageError fails the test, as does a long wait."""
    start = time.process_time()
    try:
        result: Decoded | ImageError = decode(data, "picture", shrink_to=shrink_to, limits=limits)
    except ImageError as error:
        result = error
    else:
        assert result.image.mode == "RGB"
        assert result.width * result.height <= limits.max_pixels
        assert np.asarray(result.image).shape == (*result.image.size[::-1], 3)
    assert time.process_time() - start < SECONDS
    assert len(str(result)) < 500
    return result


# ---------------------------------------------------------------- cut short


@pytest.mark.parametrize("kind", VALID)
def test_a_file_cut_anywhere_gives_a_picture_or_an_image_error(kind: str) -> None:
    data = VALID[kind]
    assert isinstance(attempt(data), Decoded)
    for cut in (*range(64), *range(64, len(data), 10)):
        attempt(data[:cut])


@pytest.mark.parametrize("kind", VALID)
def test_a_file_with_anything_behind_it_gives_a_picture_or_an_image_error(kind: str) -> None:
    for tail in (b"\0" * 1000, b"PK\3\4" + bytes(100), VALID[kind], b"\xff" * 1000):
        attempt(VALID[kind] + tail)


@pytest.mark.parametrize("kind", VALID)
def test_a_hole_of_zeros_or_ones_gives_a_picture_or_an_image_error(kind: str) -> None:
    data = VALID[kind]
    for start in range(0, len(data), 16):
        for filler in (b"\0" * 8, b"\xff" * 8):
            attempt(data[:start] + filler + data[start + 8 :])


# ---------------------------------------------------------------- headers that lie


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_of(width: int, height: int, data: bytes = b"", *more: bytes, depth: int = 8, kind: int = 2) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    end = chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + end


def bmp_of(width: int, height: int, bits: int = 24, compression: int = 0, data: bytes = b"") -> bytes:
    start = 54 + (1024 if bits == 8 else 0)
    header = struct.pack("<IHHI", start + len(data), 0, 0, start)
    about = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + header + about + bytes(start - 54) + data


def gif_of(width: int, height: int, frame: tuple[int, int] | None, data: bytes = b"\x08\x01\0\0") -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0)
    return screen + (b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + data if frame else b"") + b";"


def webp_of(width: int, height: int) -> bytes:
    """WebP lossless, cut short after a header that was given another size."""
    data = bytearray(saved(Image.new("RGB", (16, 16)), "WEBP", lossless=True))
    place = data.index(b"VP8L") + 9
    bits = int.from_bytes(data[place : place + 4], "little") >> 28 << 28
    data[place : place + 4] = (bits | (width - 1) | (height - 1) << 14).to_bytes(4, "little")
    return bytes(data)


def webp_canvas_of(width: int, height: int) -> bytes:
    data = bytearray(VALID["webp animated"])
    data[24:30] = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return bytes(data)


def jpeg_of(width: int, height: int, *, scans: int = 0) -> bytes:
    data = bytearray(saved(Image.new("RGB", (16, 16)), "JPEG", progressive=bool(scans)))
    place = data.index(b"\xff\xc2" if scans else b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data[:-2] + data[data.rindex(b"\xff\xda") : -2] * scans + data[-2:])


def jp2_of(width: int, height: int, tile: int = 0) -> bytes:
    data = bytearray(saved(Image.new("RGB", (16, 16)), "JPEG2000"))
    place = data.index(b"ihdr") + 4
    data[place : place + 8] = struct.pack(">II", height, width)
    place = data.index(b"\xff\x51") + 6
    data[place : place + 8] = struct.pack(">II", width, height)
    data[place + 16 : place + 24] = struct.pack(">II", tile or width, tile or height)
    return bytes(data)


def boxed_of(data: bytes, width: int, height: int) -> bytes:
    """AVIF and HEIC: the box ispe says the size."""
    place = data.index(b"ispe") + 8
    return data[:place] + struct.pack(">II", width, height) + data[place + 8 :]


def tiff_of(tags: dict[int, int], pixels: bytes = b"\0" * 4) -> bytes:
    """A TIFF of 2 × 2 greys with other tags. 256, 257: size; 259: compression; 278: rows; 279: bytes."""
    data = bytearray(tiff(np.frombuffer(pixels, np.uint8).reshape(1, -1)))
    for entry in range(int.from_bytes(data[8:10], "little")):
        place = 10 + 12 * entry
        tag = int.from_bytes(data[place : place + 2], "little")
        if tag in tags:
            data[place + 2 : place + 12] = struct.pack("<HII", 4, 1, tags[tag])
    return bytes(data)


OF_SIZE: dict[str, Callable[[int, int], bytes]] = {
    "png": png_of,
    "bmp": bmp_of,
    "bmp rle": lambda w, h: bmp_of(w, h, 8, 1, b"\xff\0" * 50),
    "gif": lambda w, h: gif_of(w, h, (w, h)),
    "gif frame": lambda w, h: gif_of(1, 1, (w, h)),
    "gif canvas": lambda w, h: gif_of(w, h, (1, 1)),
    "jpeg": jpeg_of,
    "jpeg progressive": lambda w, h: jpeg_of(w, h, scans=1),
    "ppm": lambda w, h: b"P6 %d %d 255\n" % (w, h),
    "ppm plain": lambda w, h: b"P3 %d %d 255\n1 2 3" % (w, h),
    "jp2": jp2_of,
    "jp2 tiny tiles": lambda w, h: jp2_of(w, h, 1),
    "avif": lambda w, h: boxed_of(VALID["avif"], w, h),
    "heic": lambda w, h: boxed_of(heic("plain"), w, h),
    "tiff": lambda w, h: tiff_of({256: w, 257: h, 278: h, 279: min(w * h, 2**32 - 1)}),
    "tiff deflate": lambda w, h: tiff_of({256: w, 257: h, 259: 8, 278: h}, zlib.compress(b"\0" * 100)),
}


@pytest.mark.parametrize("kind", OF_SIZE)
@pytest.mark.parametrize(
    "size", [(0, 0), (0, 7), (7, 0), (1, 65535), (65535, 1), (65535, 65535), (1001, 1000)]
)
def test_a_header_with_an_absurd_size_is_refused_or_believed_cheaply(
    kind: str, size: tuple[int, int]
) -> None:
    result = attempt(OF_SIZE[kind](*size), shrink_to=None)
    if size == (65535, 65535) and kind != "gif frame":
        assert isinstance(result, ImageError)
    if 0 in size:
        assert isinstance(result, ImageError) or kind in ("gif frame", "avif", "heic")


@pytest.mark.parametrize("size", [(1, 16383), (16383, 16383), (1001, 1000)])
@pytest.mark.parametrize("make", [webp_of, webp_canvas_of])
def test_webp_with_an_absurd_size(make: Callable[[int, int], bytes], size: tuple[int, int]) -> None:
    attempt(make(*size))


@pytest.mark.parametrize("height", [-4, -(2**31), 2**31 - 1])
def test_a_bmp_may_lie_upside_down(height: int) -> None:
    result = attempt(bmp_of(4, height, data=bytes(range(48))))
    assert isinstance(result, Decoded) == (height == -4)


# ---------------------------------------------------------------- bombs

ZEROS = zlib.compress(bytes(100 << 20), 9)
PIXEL = zlib.compress(bytes(4))
BOMBS: dict[str, bytes] = {
    "png, far more pixels than its size": png_of(16, 16, ZEROS),
    "png iCCP": png_of(1, 1, PIXEL, chunk(b"iCCP", b"x\0\0" + ZEROS)),
    "png zTXt": png_of(1, 1, PIXEL, chunk(b"zTXt", b"x\0\0" + ZEROS)),
    "png iTXt": png_of(1, 1, PIXEL, chunk(b"iTXt", b"x\0\1\0\0\0" + ZEROS)),
    "png many zTXt": png_of(1, 1, PIXEL, *[chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(1 << 20)))] * 200),
    "png zTXt behind its pixels": png_of(1, 1, PIXEL)[:-12] + chunk(b"zTXt", b"x\0\0" + ZEROS),
    "tiff strip of 4 GB": tiff_of({279: 2**32 - 1}),
    "tiff strip of far more than its size": tiff_of({256: 2, 257: 2, 259: 8, 278: 2}, ZEROS),
    "jpeg with 16 MB of profile": b"\xff\xd8"
    + b"".join(b"\xff\xe2\xff\xffICC_PROFILE\0" + bytes([n, 255]) + bytes(65519) for n in range(1, 256))
    + saved(NOISE, "JPEG")[2:],
    "jpeg of a thousand scans": jpeg_of(900, 900, scans=1000),
    "ppm with a long comment": b"P3 300 300 255\n#" + b"a" * (8 << 20),
    "ppm with a long number": b"P2 10 10 255\n" + b"1" * (8 << 20),
    "bmp rle that only jumps": bmp_of(999, 999, 8, 1, b"\0\2\xff\xff" * 5000),
    "gif whose frame is larger than its canvas": gif_of(1, 1, (65535, 65535)),
    "exif of 64 KB of tags": saved(
        NOISE, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\x14" + b"\x12\1\3\0" * 15000
    ),
}
# The most that a file may ask for by default.
AT_THE_LIMIT: dict[str, bytes] = {
    "png": png_of(SIDE, SIDE),
    "png grey bomb": png_of(SIDE, SIDE, zlib.compress(bytes((SIDE + 1) * SIDE), 9), kind=0),
    "bmp": bmp_of(SIDE, SIDE),
    "gif": gif_of(SIDE, SIDE, (SIDE, SIDE)),
    "webp": webp_of(SIDE, SIDE),
    "webp canvas": webp_canvas_of(SIDE, SIDE),
    "jpeg": jpeg_of(SIDE, SIDE),
    "jpeg of a hundred scans": jpeg_of(SIDE, SIDE, scans=80),
    "jpeg of a thousand scans": jpeg_of(SIDE, SIDE, scans=1000),
    "jp2": jp2_of(SIDE, SIDE),
    "jp2 tiles": jp2_of(SIDE, SIDE, 64),
    "avif": boxed_of(VALID["avif"], SIDE, SIDE),
    "heic": boxed_of(heic("plain"), SIDE, SIDE),
    "ppm": b"P6 %d %d 255\n" % (SIDE, SIDE),
    "tiff": tiff_of({256: SIDE, 257: SIDE, 278: SIDE, 279: SIDE * SIDE}),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_does_not_go_off(kind: str) -> None:
    attempt(BOMBS[kind])


def test_a_small_file_that_claims_much_is_not_believed() -> None:
    for data in (webp_of(SIDE, SIDE), jp2_of(SIDE, SIDE), boxed_of(VALID["avif"], SIDE, SIDE)):
        with pytest.raises(UnreadableImageError, match=r"bytes do not hold 13377 × 13377 pixels"):
            decode(data, "picture")


def test_an_empty_wall_is_believed() -> None:
    wall = saved(Image.new("RGB", (4096, 4096), "white"), "WEBP", lossless=True, method=0)
    assert decode(wall, "picture").width == 4096


def test_a_progressive_jpeg_of_endless_scans_is_refused() -> None:
    with pytest.raises(UnreadableImageError, match="a JPEG of more than 100 scans"):
        decode(jpeg_of(900, 900, scans=1000), "picture")


_IN_A_PROCESS = """
import pathlib, pickle, re, resource, sys, time, warnings
from crosslens.images.decode import decode
from crosslens.errors import ImageError
warnings.simplefilter("ignore")
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
for name, data in pickle.load(sys.stdin.buffer).items():
    start = time.process_time()
    try:
        decode(data, "picture", shrink_to=224)
    except ImageError:
        pass
    print(time.process_time() - start, name, sep="\\t")
# What the process itself took at most: ru_maxrss would count the process that started it, too.
print(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1], "memory", sep="\\t")
"""


def in_a_process(pictures: dict[str, bytes]) -> dict[str, float]:
    """Seconds for each, and kilobytes for the worst, decoded where no more than 2 GB may be taken."""
    command = [sys.executable, "-c", _IN_A_PROCESS]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        command, input=pickle.dumps(pictures), capture_output=True, check=True, env=environment
    )
    rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    return {name: float(number) for number, name in rows}


def test_bombs_take_little_memory() -> None:
    without = in_a_process({"picture": VALID["png"]})
    costs = in_a_process(BOMBS)
    assert costs["memory"] - without["memory"] < 200 * 1024
    assert set(costs) == {*BOMBS, "memory"}


def test_what_the_default_limits_allow_is_decoded_or_refused_in_time_and_memory() -> None:
    costs = in_a_process(AT_THE_LIMIT)
    assert costs.pop("memory") < 1.5 * 1024 * 1024
    assert {name: seconds for name, seconds in costs.items() if seconds > SECONDS} == {}


# ---------------------------------------------------------------- broken EXIF, and files that are two things


def exif_cases() -> Iterator[bytes]:
    """Orientation in a directory that points at itself, past the end, to too much, or is none."""
    entry = struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<HHII", 0x8825, 4, 1, 8)
    yield b"II*\0\x08\0\0\0\x02\0" + entry + struct.pack("<I", 8)
    yield b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x0112, 3, 1, 6) + struct.pack("<I", 8)
    yield b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x0112, 3, 2**31, 2**31) + bytes(4)
    yield b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x0112, 2, 30, 2**32 - 1) + bytes(4)
    yield b"II*\0\xff\xff\xff\xff"
    yield b"MM\0*\0\0\0\x08\xff\xff" + struct.pack(">HHII", 0x0112, 5, 1, 0) * 100
    yield b"II+\0\x08\0\0\0" + struct.pack("<QQHHQQ", 16, 1, 0x0112, 3, 2**63, 2**63)
    yield b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x0112, 10, 1, 4) + bytes(4)
    yield b"\xff" * 60


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("tags", list(exif_cases()))
def test_broken_exif_costs_no_picture(format: str, tags: bytes) -> None:  # noqa: A002
    result = attempt(saved(SMOOTH, format, exif=b"Exif\0\0" + tags))
    assert isinstance(result, Decoded)
    assert (result.width, result.height) in ((40, 48), (48, 40))


@pytest.mark.parametrize("target", [8, 2**31, 2**32 - 1])
def test_a_tiff_whose_directories_run_in_circles_is_decoded_once(target: int) -> None:
    data = bytearray(VALID["tiff pages"])
    first = int.from_bytes(data[4:8], "little")
    number = int.from_bytes(data[first : first + 2], "little")
    end = first + 2 + 12 * number
    data[end : end + 4] = struct.pack("<I", first if target == 8 else target)
    assert isinstance(attempt(bytes(data)), Decoded)


POLYGLOTS = {
    "gif and html": VALID["gif"][:-1] + b"!\xfe\x20<script>alert(1)</script>......\0;</html>",
    "jpeg and zip": VALID["jpeg"] + b"PK\x05\x06" + bytes(18),
    "jpeg with html in a comment": b"\xff\xd8\xff\xfe\x00\x1b<script>/*alert(1)*/</s>" + VALID["jpeg"][2:],
    "png and pdf": VALID["png"] + b"%PDF-1.4\n%%EOF",
    "bmp and javascript": VALID["bmp"][:2] + b"=1;/" + VALID["bmp"][6:] + b"*/alert(1)",
}


@pytest.mark.parametrize("kind", POLYGLOTS)
def test_a_file_that_is_something_else_too_is_a_picture(kind: str) -> None:
    assert isinstance(attempt(POLYGLOTS[kind]), Decoded)


@pytest.mark.parametrize(
    "data",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.4",
        b"%!PS-Adobe",
        b"PK\3\4",
        b"\x7fELF",
        b"GIF89a",
    ],
)
def test_what_is_no_picture_of_ours_is_refused(data: bytes) -> None:
    assert isinstance(attempt(data + bytes(100)), UnreadableImageError)


@pytest.mark.parametrize(
    "data",
    [
        gif_of(4, 4, None),
        saved(NOISE)[:33] + chunk(b"acTL", struct.pack(">II", 0, 0)) + saved(NOISE)[33:],
        saved(NOISE)[:33] + chunk(b"acTL", struct.pack(">II", 2**31, 0)) + saved(NOISE)[33:],
        b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\x03\0\0\x03\0\0",
        b"II*\0\0\0\0\0",
        b"II*\0\x08\0\0\0\0\0\0\0\0\0",
        b"\0\0\0\x0cjP  \r\n\x87\n",
        b"\xff\xd8\xff\xd9",
    ],
    ids=["gif", "apng", "apng of many", "webp", "tiff", "tiff without tags", "jp2", "jpeg"],
)
def test_pictures_without_frames(data: bytes) -> None:
    attempt(data)


def test_an_mpo_with_a_broken_second_picture_is_its_first() -> None:
    data = VALID["mpo"]
    second = data.index(b"\xff\xd8\xff", data.index(b"\xff\xd9"))
    for broken in (data[:second] + bytes(len(data) - second), data[:second], data[: second + 40]):
        result = attempt(broken)
        assert isinstance(result, Decoded)
        assert (result.width, result.height) == SMOOTH.size


@pytest.mark.parametrize("name", [b"E\x80if", b"\xff\xff\xff\xff"])
@pytest.mark.parametrize("kind", ["turned", "alpha"])
def test_heic_whose_items_have_names_that_are_no_text_does_not_end_the_process(
    kind: str, name: bytes
) -> None:
    data = heic(kind).replace(b"Exif", name).replace(b"hvc1", name)
    with pytest.raises(UnreadableImageError, match="damaged"):
        decode(data, "picture")


# 64 × 64 of one grey in 10 bits. Where a header says 10 and the pixels have 8, pi-heif 1.4 writes past them.
DEEP_GREY = (
    "c-muNV30{GsVvAy&8%Pmg51nBLl8SRGck>UfzdxVwIq=N0u(b+a*CjAhJwuG5(YG&l$n#C3}U!AFfalk5HJ=)Xdn;*V&%-"
    "tyfiQmBq|Ezq%uKy8D+_aASPcyW=Sqw$@$EJq5>ejA+sPkA4nGil{quAZ~&Qee}ELpePH<W=hrU=27cxQpbl{dMjpoh|3M0v!7"
    "7-"
    "6N_H_hBm(8sofsKWB@Q&P2&e9v<dr>}2_#?yBA5h{fNI%Y7!MY0P;vm;Ae@|^Q<RsSQvnp_WngOn3W;PE7o<YH<p9M%cUNSBoy"
    "`R##4`(WVc`Z03YJDDW)>h*DmNt&6l{DNjO#cIK5FIu|L=7$MhpO+yhhp"
)


def test_heic_in_deep_grey_is_refused() -> None:
    data = zlib.decompress(base64.b85decode(DEEP_GREY))
    with pytest.raises(UnreadableImageError, match="grey of more than 8 bits is not read from HEIC"):
        decode(data, "picture")


@pytest.mark.parametrize("size", [0, 1, 8, 2**31])
def test_heic_whose_items_lie_about_their_size(size: int) -> None:
    data = bytearray(heic("turned"))
    place = data.index(b"infe") - 4
    data[place : place + 4] = struct.pack(">I", size)
    assert isinstance(attempt(bytes(data)), UnreadableImageError)


# ---------------------------------------------------------------- bytes changed at random

CHANGES = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=12)


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(VALID)), CHANGES, st.sampled_from([None, 8]))
def test_changed_bytes_give_a_picture_or_an_image_error(
    kind: str, changes: list[tuple[int, int]], shrink_to: int | None
) -> None:
    data = bytearray(VALID[kind])
    for place, value in changes:
        data[place % len(data)] = value
    attempt(bytes(data), shrink_to=shrink_to)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHANGES)
def test_a_profile_with_changed_bytes_costs_no_picture(changes: list[tuple[int, int]]) -> None:
    profile = bytearray(DISPLAY_P3)
    for place, value in changes:
        profile[place % len(profile)] = value
    assert isinstance(attempt(saved(NOISE, "JPEG", icc_profile=bytes(profile))), Decoded)


def test_limits_are_kept_in_files(tmp_path: Path) -> None:
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ImageTooLargeError):
        decode(path, "sparse.png")


def test_a_file_that_never_ends_is_read_to_the_limit() -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> Any:
            return b"\xff" * min(size, 1 << 20)

    with pytest.raises(ImageTooLargeError):
        decode(Endless(), "picture", limits=Limits(max_bytes=10 << 20))
