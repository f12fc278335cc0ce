"""Image inputs: paths, bytes, URLs, arrays, Pillow images → an open image, no pixel decoded yet.

A path, a data URI, base64, bytes, a binary file, a Pillow image and an array are all one picture. Limits on
bytes are kept here, before they are read.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote_to_bytes

import numpy as np
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from crosslens.arguments import whole
from crosslens.errors import ImageNotFoundError, ImageTooLargeError, InputError, UnreadableImageError
from crosslens.types import ImageInput

# Only these decoders are ever tried: the rest of Pillow's runs other programs or has no use here. They are
# imported above because Pillow's loading of them on demand is not safe among threads. JPEG's opens MPO too.
# HEIC has a decoder besides, which is not registered with Pillow: that would change it for everybody.
FORMATS = (
    JpegImagePlugin.JpegImageFile.format,
    PngImagePlugin.PngImageFile.format,
    WebPImagePlugin.WebPImageFile.format,
    GifImagePlugin.GifImageFile.format,
    BmpImagePlugin.BmpImageFile.format,
    BmpImagePlugin.DibImageFile.format,
    TiffImagePlugin.TiffImageFile.format,
    AvifImagePlugin.AvifImageFile.format,
    Jpeg2KImagePlugin.Jpeg2KImageFile.format,
    PpmImagePlugin.PpmImageFile.format,
)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
_BELIEVING = ("WEBP", "AVIF", "JPEG2000")
_CHEAP_PIXELS = 1 << 24
_PIXELS_PER_BYTE = 10_000
_MOST_SCANS = 100
_SMALLEST_INFE = 16
_HEAD = 16
_CHUNK = 1 << 20
_LONGEST_PATH = 4096
_LONGEST_NAME = 40
# What to do about a file that is damaged.
REPAIR = "Copy it again, or save it anew"
_READ = "Read are JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, HEIC, JPEG 2000 and PNM"
_WANTED = "Wanted: a path, a data URI, base64, bytes, a binary file, a Pillow image or a uint8 array"


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused before memory is taken for it.

    max_pixels is by default where Pillow refuses too; for TIFF and WebP Pillow's own limit holds as well.
    Raises InputError for what is no whole number of at least 1.
    """

    max_bytes: int = 256 * 1024 * 1024
    max_pixels: int = 178_956_970

    def __post_init__(self) -> None:
        whole("Limits.max_bytes", self.max_bytes)
        whole("Limits.max_pixels", self.max_pixels)


def several(images: Iterable[ImageInput] | ImageInput) -> Iterable[ImageInput]:
    """One picture counts as a list of one; an array is one unless it has a fourth axis."""
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, Mapping):
        raise InputError(f"a {type(images).__name__} is no list", "Give one of its values")
    one = isinstance(images, str | bytes | bytearray | memoryview | os.PathLike | Image.Image)
    if one or hasattr(images, "read"):
        return [cast(ImageInput, images)]
    return cast(Iterable[ImageInput], images)


def shown(name: str) -> str:
    """A name fit for an error: a path whole, of a picture written as text only how it begins."""
    is_path = len(name) <= _LONGEST_PATH and not _is_data_uri(name) and not _begins_in_base64(name)
    return name if is_path else f"{name[: _LONGEST_NAME - 1]}…"


def name_of(image: ImageInput, number: int) -> str:
    """What stands for a picture in errors: its path, or "image 3"."""
    return shown(os.fspath(image)) if isinstance(image, str | os.PathLike) else f"image {number}"


def read_bytes(path: str | os.PathLike[str], limits: Limits = Limits()) -> bytes:
    """The content of an image file. Raises ImageNotFoundError, ImageTooLargeError, UnreadableImageError."""
    name = shown(os.fspath(path))
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(size + 1) if size <= limits.max_bytes else b""
            while len(data) > size and len(data) <= limits.max_bytes:  # one that hides its size, or grows
                size = len(data)
                data += file.read(_CHUNK)
    except FileNotFoundError as error:
        raise ImageNotFoundError(name, "there is no such file", "Check the path") from error
    except IsADirectoryError as error:
        raise UnreadableImageError(
            name, "this is a folder, not a picture", "Name the pictures in it"
        ) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error  # str(error) repeats the path
        remedy = "Check the path and its permissions"
        raise UnreadableImageError(name, f"the file cannot be read ({reason})", remedy) from error
    _check_size(max(size, len(data)), name, limits)
    return data


def opened(source: ImageInput, name: str, limits: Limits) -> Image.Image:
    """Open a picture of any kind; only its header is read. A Pillow image comes back as it is.

    Raises ImageNotFoundError, ImageTooLargeError, UnreadableImageError.
    """
    if isinstance(source, Image.Image):
        return source
    if isinstance(source, np.ndarray):
        return _from_array(source, name)
    return _open(_content(source, name, limits), name)


def without_path(source: ImageInput, name: str, limits: Limits) -> bytes | Image.Image:
    """A picture that is in no file of its own: the bytes of an image file, or a Pillow image.

    Raises InputError for a path, ImageTooLargeError, UnreadableImageError.
    """
    if isinstance(source, Image.Image | np.ndarray):
        return opened(source, name, limits)
    written = _written(source, name, limits) if isinstance(source, str) else None
    if isinstance(source, str | os.PathLike) and written is None:
        raise InputError(
            f"{name} is the path {os.fsdecode(source)!r}", "Files are indexed: library.index(PATH)"
        )
    return written or _content(source, name, limits)


def _content(source: Any, name: str, limits: Limits) -> bytes:
    """The bytes of an image file, wherever they are."""
    if isinstance(source, str):
        written = _written(source, name, limits)
        return read_bytes(source, limits) if written is None else written
    if isinstance(source, os.PathLike):
        return read_bytes(source, limits)
    if isinstance(source, bytes | bytearray | memoryview):
        _check_size(source.nbytes if isinstance(source, memoryview) else len(source), name, limits)
        data = bytes(source)
        if data[:_HEAD].isascii() and not any(True for _ in _readers(data[:_HEAD])):
            return _written(data.decode("latin-1"), name, limits) or data
        return data
    if hasattr(source, "read"):
        return _read(source, name, limits)
    raise UnreadableImageError(name, f"{type(source).__name__} is no picture", _WANTED)


def _read(file: Any, name: str, limits: Limits) -> bytes:
    """All that a binary file still holds. A socket or pipe may hand it out in pieces."""
    pieces: list[bytes] = []
    left = limits.max_bytes + 1
    while left > 0:
        try:
            piece = file.read(left)
        except Exception as error:  # a file of anybody's making
            remedy = "Give one that is open for reading, or its bytes"
            raise UnreadableImageError(name, f"the file cannot be read ({error})", remedy) from error
        if not isinstance(piece, bytes | bytearray | memoryview):
            kind = type(piece).__name__
            raise UnreadableImageError(name, f"reading it gives {kind}, not bytes", 'Open it with mode "rb"')
        if not piece:
            break
        pieces.append(bytes(piece))
        left -= len(pieces[-1])
    data = b"".join(pieces)
    _check_size(len(data), name, limits)
    return data


def _written(text: str, name: str, limits: Limits) -> bytes | None:
    """The bytes of a picture written as a data URI or in base64; None for a text that is a path."""
    is_uri = _is_data_uri(text)
    if not (is_uri or _begins_in_base64(text)) or os.path.exists(text):
        return None
    head, _, body = text.partition(",") if is_uri else ("base64", "", text)
    in_base64 = head.lower().rstrip().endswith("base64")
    # Percent signs make three characters of one byte, base64 four of three.
    _check_size(len(body) // 4, name, limits)
    try:
        data = unquote_to_bytes(body) if is_uri else body.encode("ascii")
        data = _from_base64(data) if in_base64 else data
    except ValueError as error:
        if is_uri:
            problem = f"the data URI cannot be decoded ({error})"
            raise UnreadableImageError(name, problem, "Make it anew") from error
        return None
    _check_size(len(data), name, limits)
    return data


def is_written(text: str) -> bool:
    """Whether a text is itself a picture: a data URI, or base64 that begins like one."""
    return _is_data_uri(text) or _begins_in_base64(text)


def _is_data_uri(text: str) -> bool:
    return text[:5].lower() == "data:" and "," in text


def _begins_in_base64(text: str) -> bool:
    """Whether a text begins like a picture that was written in base64."""
    try:
        head = _from_base64(text[: 2 * _HEAD].encode("ascii"))
    except ValueError:
        return False
    return any(True for _ in _readers(head))


def _from_base64(text: bytes) -> bytes:
    """Base64 in its usual or its URL alphabet, broken into lines or not, its padding complete or not."""
    text = b"".join(text.split()).translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
    return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)


def _check_size(size: int, name: str, limits: Limits) -> None:
    if size > limits.max_bytes:
        problem = f"{size:,} bytes are more than the limit of {limits.max_bytes:,}"
        raise ImageTooLargeError(name, problem, "Scale it down, or raise Limits.max_bytes")


def _open(data: bytes, name: str) -> Image.Image:
    """Read a file's header. `Image.open` is passed by: it warns of sizes that our own limit allows."""
    if not data:
        raise UnreadableImageError(name, "the file is empty", REPAIR)
    reason = f"not a picture in a known format; it begins with {data[:8]!r}"
    for reader in _readers(data[:_HEAD]):
        try:
            image = reader(io.BytesIO(data), "")
        except Image.DecompressionBombError as error:
            raise ImageTooLargeError(name, str(error), "Scale it down") from error
        except Exception as error:  # a damaged header, or one of a neighbouring format
            reason = f"damaged or truncated ({error})"
        else:
            _check_cost(image, data, name)
            return image
    raise UnreadableImageError(name, reason, _READ if reason.startswith("not") else REPAIR)


def _check_cost(image: Image.Image, data: bytes, name: str) -> None:
    """Refuse a file that is small and yet keeps its decoder busy for many seconds, or takes gigabytes."""
    pixels = image.width * image.height
    # These decoders fill in what a file lacks; 38 bytes of WebP can claim 178 million pixels.
    if image.format in _BELIEVING and pixels > max(_CHEAP_PIXELS, _PIXELS_PER_BYTE * len(data)):
        reason = f"damaged, {len(data):,} bytes do not hold {image.width} × {image.height} pixels"
        raise UnreadableImageError(name, reason, REPAIR)
    # Every scan of a progressive JPEG goes over the whole picture; libjpeg writes ten.
    if image.info.get("progressive") and data.count(b"\xff\xda") > _MOST_SCANS:
        raise UnreadableImageError(name, f"damaged, a JPEG of more than {_MOST_SCANS} scans", REPAIR)


def _readers(head: bytes) -> Iterator[Callable[[io.BytesIO, str], Image.Image]]:
    """What may open a file that begins like this."""
    head = head.ljust(_HEAD, b"\0")
    for name in FORMATS:
        factory, accept = Image.OPEN[name]
        # What `accept` returns is a truth, or a sentence about what this build of Pillow lacks.
        accepted = accept is None or accept(head)
        if accepted and not isinstance(accepted, str):
            yield factory
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        yield _heif


def _heif(file: io.BytesIO, name: str) -> Image.Image:
    """Open a HEIC file, but for two kinds by which pi-heif 1.4 ends the process or writes where it must not.

    What the boxes `infe` call items must be text, and deep grey may be shallower than its header says.
    """
    from pi_heif import HeifImageFile

    data = file.getvalue()
    place = data.find(b"infe")
    while place >= 0:
        size = int.from_bytes(data[place - 4 : place], "big")
        if size < _SMALLEST_INFE:  # 0 and 1 say that the size stands elsewhere
            raise ValueError("an item without a size")
        version = data[place + 4 : place + 5]
        data[place + (14 if version == b"\3" else 12) : place - 4 + size].decode()
        place = data.find(b"infe", place + 4)
    image = cast("Image.Image", HeifImageFile(file, name))
    if image.mode.startswith("I"):
        raise ValueError("grey of more than 8 bits is not read from HEIC")
    return image


def _from_array(array: NDArray[Any], name: str) -> Image.Image:
    shape_fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not shape_fits or 0 in array.shape:
        raise UnreadableImageError(
            name,
            f"an array of {array.dtype} with shape {array.shape} is no picture",
            "Wanted: uint8 of shape (h, w), (h, w, 3) or (h, w, 4)",
        )
    return Image.fromarray(array)
