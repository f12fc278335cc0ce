"""Stage 2, decode: the bytes of an image file, a Pillow image or an array → upright RGB.

Pillow images carry the pixels between decode and preprocess: 8 bits, mode RGB, the same memory that an
array (h, w, 3) uint8 would hold, without copying it twice.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import Any

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

from crosslens.errors import ImageNotFoundError, ImageTooLargeError, UnreadableImageError
from crosslens.types import ImageInput

# Only these decoders are ever tried: the rest of Pillow's runs other programs or has no use here. They are
# imported above because Pillow's loading of them on demand is not safe among threads. JPEG's opens MPO too.
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
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_CHUNK = 1 << 20
_FIRST_ORIENTATION_ON_ITS_SIDE = 5
_WITH_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused before memory is taken for it.

    max_pixels is by default where Pillow refuses too; for TIFF and WebP Pillow's own limit holds as well.
    """

    max_bytes: int = 256 * 1024 * 1024
    max_pixels: int = 178_956_970


@dataclass(frozen=True, slots=True)
class Decoded:
    """An upright RGB picture. width, height: of the whole picture, also where `image` was decoded smaller."""

    image: Image.Image
    width: int
    height: int


def read_bytes(path: str | os.PathLike[str], limits: Limits = Limits()) -> bytes:
    """The content of an image file. Raises ImageNotFoundError, ImageTooLargeError, UnreadableImageError."""
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(size + 1) if size <= limits.max_bytes else b""
            while len(data) > size and len(data) <= limits.max_bytes:  # one that hides its size, or grows
                size = len(data)
                data += file.read(_CHUNK)
    except FileNotFoundError as error:
        raise ImageNotFoundError(name, "there is no such file") from error
    except IsADirectoryError as error:
        raise UnreadableImageError(name, "this is a folder, not a picture") from error
    except (OSError, ValueError) as error:
        raise UnreadableImageError(name, f"the file cannot be read ({error})") from error
    size = max(size, len(data))
    if size > limits.max_bytes:
        raise ImageTooLargeError(name, f"{size:,} bytes are more than the limit of {limits.max_bytes:,}")
    return data


def decode(
    source: ImageInput,
    name: str,
    *,
    shrink_to: int | None = None,
    limits: Limits = Limits(),
) -> Decoded:
    """Decode one picture: EXIF orientation applied, transparency over white, 16 bits scaled to 8.

    source: a picture that is open already is left as its owner had it. name: stands for it in errors.
    shrink_to: a JPEG whose short side is at least twice this is decoded at 1/2, 1/4 or 1/8 of its size by
    its DCT, never below twice this; None decodes in full.
    Raises ImageNotFoundError, ImageTooLargeError, UnreadableImageError.
    """
    image = _opened(source, name, limits)
    width, height = image.size
    if width * height > limits.max_pixels:
        raise ImageTooLargeError(
            name,
            f"{width} × {height} pixels are more than the limit of {limits.max_pixels:,}",
            "Scale it down, or raise Limits.max_pixels",
        )
    try:
        if shrink_to is not None and image is not source:
            image.draft("RGB" if image.mode == "YCbCr" else image.mode, (2 * shrink_to, 2 * shrink_to))
        shrunk = image.size
        image.load()
        # TIFF's decoder turns pictures upright itself, and forgets the tag.
        turned = image.size != shrunk
        orientation = _orientation(image)
        image = _rgb(image)
        if orientation in _UPRIGHT:
            image = image.transpose(_UPRIGHT[orientation])
            turned = orientation >= _FIRST_ORIENTATION_ON_ITS_SIDE
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError(name, str(error), "Scale it down") from error
    except Exception as error:  # decoders raise anything on damaged files: OSError, SyntaxError, struct.error
        raise UnreadableImageError(name, f"damaged or truncated ({error})") from error
    return Decoded(image, *((height, width) if turned else (width, height)))


def _opened(source: ImageInput, name: str, limits: Limits) -> Image.Image:
    if isinstance(source, Image.Image):
        return source
    if isinstance(source, np.ndarray):
        return _from_array(source, name)
    if isinstance(source, str | os.PathLike):
        return _open(read_bytes(source, limits), name)
    if isinstance(source, bytes):
        return _open(source, name)
    raise UnreadableImageError(
        name,
        f"{type(source).__name__} is no picture",
        "Wanted: a path, the bytes of an image file, a Pillow image or a uint8 array",
    )


def _open(data: bytes, name: str) -> Image.Image:
    """Read a file's header. `Image.open` is passed by: it warns of sizes that our own limit allows."""
    if not data:
        raise UnreadableImageError(name, "the file is empty")
    reason = f"not a picture in a known format; it begins with {data[:8]!r}"
    for name_of_format in FORMATS:
        factory, accept = Image.OPEN[name_of_format]
        try:
            # What `accept` returns is a truth, or a sentence about what this build of Pillow lacks.
            accepted = accept is None or accept(data[:16])
            if accepted and not isinstance(accepted, str):
                return factory(io.BytesIO(data), "")
        except Image.DecompressionBombError as error:
            raise ImageTooLargeError(name, str(error), "Scale it down") from error
        except Exception as error:  # a damaged header, or one of a neighbouring format
            reason = f"damaged or truncated ({error})"
    raise UnreadableImageError(name, reason)


def _from_array(array: NDArray[Any], name: str) -> Image.Image:
    shape_fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not shape_fits or 0 in array.shape:
        raise UnreadableImageError(
            name,
            f"an array of {array.dtype} with shape {array.shape} is no picture",
            "Wanted: uint8 of shape (h, w), (h, w, 3) or (h, w, 4)",
        )
    return Image.fromarray(array)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # damaged EXIF: the pixels are still good, and upright is the only guess
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in _SIXTEEN_BIT:
        values = np.asarray(image, dtype=np.float32)
        scale = 257.0 if values.max(initial=0) > 255 or image.mode != "I" else 1.0
        image = Image.fromarray(np.clip(np.rint(values / scale), 0, 255).astype(np.uint8))
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image if image.mode == "RGB" else image.convert("RGB")
