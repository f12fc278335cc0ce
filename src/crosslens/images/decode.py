"""Decoding: an image file of any kind (opened by images/open_image.py) → upright RGB, 8 bits, sRGB.

Pillow images carry the pixels between decode and preprocess: 8 bits, mode RGB, the same memory that an
array (h, w, 3) uint8 would hold, without copying it twice.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from crosslens.errors import ImageTooLargeError, UnreadableImageError
from crosslens.images.open_image import FORMATS, REPAIR, Limits, opened, read_bytes, shown
from crosslens.types import ImageInput

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

__all__ = ["FORMATS", "Decoded", "Limits", "decode", "read_bytes"]

_ORIENTATION_TAG = 0x0112
_PHOTOMETRIC_TAG = 0x0106
_WHITE_IS_ZERO = 0
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_FIRST_ORIENTATION_ON_ITS_SIDE = 5
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
# Modes that others say the same in, without and with a colour that counts as transparent.
_PLAIN = {"1": "L", "P": "RGB", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "YCbCr": "RGB", "HSV": "RGB"}
_SCALE = {"L;2": 85, "L;4": 17}
_CLEAR = {"1": "LA", "L": "LA", "P": "RGBA", "RGB": "RGBA"}
_PROFILED = ("L", "RGB", "RGBA", "CMYK", "LAB")
_LARGEST_PROFILE = 4 << 20  # those of presses take one or two
_PROFILES_KEPT = 8
_UNSEEN_DIFFERENCE = 2


@dataclass(frozen=True, slots=True)
class Decoded:
    """An upright RGB picture. width, height: of the whole picture, also where `image` was decoded smaller."""

    image: Image.Image
    width: int
    height: int


def decode(
    source: ImageInput,
    name: str,
    *,
    shrink_to: int | None = None,
    oversample: int = 2,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
) -> Decoded:
    """Decode one picture: EXIF orientation applied, transparency over white, 16 bits scaled to 8, in sRGB.

    source: a picture that is open already is left as its owner had it. name: stands for it in errors.
    shrink_to: a JPEG is decoded at 1/2, 1/4 or 1/8 of its size by its DCT, its short side never below
    `oversample` times this, or below this if a profile changes its colours; None decodes in full.
    Raises ImageNotFoundError, ImageTooLargeError, UnreadableImageError.
    """
    name = shown(name)
    image = opened(source, name, limits)
    width, height = image.size
    if width * height > limits.max_pixels:
        raise ImageTooLargeError(
            name,
            f"{width} × {height} pixels are more than the limit of {limits.max_pixels:,}",
            "Scale it down, or raise Limits.max_pixels",
        )
    try:
        if shrink_to is not None and image is not source:
            _draft(image, shrink_to, oversample)
        shrunk, stored = image.size, _stored(image)
        image.load()
        # TIFF's decoder turns pictures upright itself, and forgets the tag.
        turned = image.size != shrunk
        orientation = _orientation(image)
        image = _rgb(image, stored)
        if orientation in _UPRIGHT:
            image = image.transpose(_UPRIGHT[orientation])
            turned = orientation >= _FIRST_ORIENTATION_ON_ITS_SIDE
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError(name, str(error), "Scale it down") from error
    except Exception as error:  # decoders raise anything on damaged files: OSError, SyntaxError, struct.error
        raise UnreadableImageError(name, f"damaged or truncated ({error})", REPAIR) from error
    return Decoded(image, *((height, width) if turned else (width, height)))


def _draft(image: Image.Image, shrink_to: int, oversample: int) -> None:
    """Have a JPEG decoded at a fraction of its size, not below the target, or a multiple of it.

    Changing them costs as much per pixel as all else; a coarser picture is off by 0.5 of 255, not 0.2.
    """
    mode = "RGB" if image.mode == "YCbCr" else image.mode
    least = shrink_to if _transform(image.info.get("icc_profile"), mode) else oversample * shrink_to
    image.draft(mode, (least, least))


def _stored(image: Image.Image) -> str:
    """How the file holds its pixels, in Pillow's words ("L;4", "I;12"), known only until it is loaded."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0].args if tiles else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # damaged EXIF: the pixels are still good, and upright is the only guess
        return 1


# -- from any mode to RGB -------------------------------------------------------------------------


def _rgb(image: Image.Image, stored: str) -> Image.Image:
    """A picture of any mode as RGB: deep ones scaled, by its profile in sRGB, over white."""
    profile = image.info.get("icc_profile")
    if image.mode in _DEEP:
        image = _shallow(image, stored)
    image = _plain(image, stored)
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    image = _in_srgb(image, profile)
    if alpha is None:
        return image
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=alpha)
    return white


def _shallow(image: Image.Image, stored: str) -> Image.Image:
    """Grey of 12, 16 or 32 bits or of floating point as 8 bits: L, or LA where a value is transparent."""
    values = np.asarray(image)
    clear = image.info.get("transparency")
    alpha = None if clear is None else np.where(values == clear, 0, 255).astype(np.uint8)
    if stored == "I;32N":  # Pillow has no unsigned integers of that length
        values = values.view(np.uint32)
    grey = np.nan_to_num(values.astype(np.float32), posinf=np.inf, neginf=-np.inf)
    white = _white(image, stored, values)
    if isinstance(image, TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO:
        grey = white - grey
    grey = np.clip(np.rint(grey / np.float32(white / 255)), 0, 255)
    shallow = Image.fromarray(grey.astype(np.uint8))
    return shallow if alpha is None else Image.merge("LA", (shallow, Image.fromarray(alpha)))


def _white(image: Image.Image, stored: str, values: NDArray[Any]) -> float:
    """The value that is white: declared, or else the least usual one that no pixel exceeds."""
    if image.mode.startswith("I;") or (image.mode == "I" and image.format == "PPM"):
        return 4095 if stored == "I;12" else 65535
    finite = values[np.isfinite(values)] if image.mode == "F" else values
    largest = float(finite.max(initial=0))
    usual = (1, 255, 65535) if image.mode == "F" else (255, 65535, 2**31 - 1, 2**32 - 1)
    return next((white for white in usual if largest <= white), largest)


def _plain(image: Image.Image, stored: str) -> Image.Image:
    """A picture in one of the modes L, LA, RGB, RGBA, CMYK and LAB."""
    clear = image.info.get("transparency")
    if clear is None or image.mode not in _CLEAR:
        return image.convert(_PLAIN[image.mode]) if image.mode in _PLAIN else image
    # What is transparent is named as the file has it, and Pillow has scaled the pixels since.
    if stored in _SCALE:
        image.info["transparency"] = clear * _SCALE[stored]
    elif stored.startswith("RGB;16"):
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    return image.convert(_CLEAR[image.mode])


# -- colours --------------------------------------------------------------------------------------


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB, or RGBA if it was so: by the picture's profile, where there is one that says something."""
    if image.mode == "LA":
        image = image.getchannel("L") if _transform(profile, "L") else image
    transform = _transform(profile, image.mode) or (_transform(b"", "LAB") if image.mode == "LAB" else None)
    if transform is not None:
        return transform.apply(image)
    return image if image.mode in ("RGB", "RGBA") else image.convert("RGBA" if image.mode == "LA" else "RGB")


def _transform(profile: bytes | None, mode: str) -> ImageCmsTransform | None:
    """What brings a mode's colours into sRGB; None without a profile or where it would change nothing."""
    if profile is None or mode not in _PROFILED or len(profile) > _LARGEST_PROFILE:
        return None
    return _built(profile, mode)


@lru_cache(maxsize=_PROFILES_KEPT)
def _built(profile: bytes, mode: str) -> ImageCmsTransform | None:
    """A transform takes milliseconds to build and serves all threads. b"" stands for plain L*a*b*."""
    from PIL import ImageCms

    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile)) if profile else ImageCms.createProfile("LAB")
        srgb = ImageCms.createProfile("sRGB")
        into = "RGBA" if mode == "RGBA" else "RGB"
        # What makes the rest faster makes dark greys wrong by ten levels.
        flags = ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        transform = ImageCms.buildTransform(given, srgb, mode, into, intent, flags)
    except Exception:  # a broken profile, or one for other modes: the pixels count as they are
        return None
    return transform if mode in ("CMYK", "LAB") or _changes(transform, mode) else None


def _changes(transform: ImageCmsTransform, mode: str) -> bool:
    """Whether colours all over the cube look different: those of most profiles, sRGB's, do not."""
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, len(steps), 3)
    before = Image.fromarray(cube).convert(mode)
    after = np.asarray(transform.apply(before).convert("RGB")).astype(int)
    return bool(np.abs(after - np.asarray(before.convert("RGB"))).max() > _UNSEEN_DIFFERENCE)
