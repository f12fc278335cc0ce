"""Image metadata: EXIF date, GPS position and camera, with captions and keywords.

Only the header is read, no pixel decoded. EXIF is written by thousands of programs, many of them wrong: what
cannot be true counts as not said, and nothing here ever fails a picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from crosslens.images.open_image import Limits, opened
from crosslens.images.xmp_iptc import metadata_of
from crosslens.types import Facts

T = TypeVar("T")

_MAKE, _MODEL, _CHANGED = 0x010F, 0x0110, 0x0132
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_TAKEN, _DIGITISED = 0x9003, 0x9004
_LATITUDE_REF, _LATITUDE, _LONGITUDE_REF, _LONGITUDE = 1, 2, 3, 4
_FIRST_YEAR = 1826  # of the oldest photograph that is left
_LONGEST_NAME = 100


def facts_of(picture: bytes | Image.Image) -> Facts:
    """Facts from the bytes of an image file or an open picture; all None for what says nothing."""
    image = _told(lambda: opened(picture, "", Limits()))
    exif = (image and _told(lambda: _exif(image))) or Image.Exif()
    latitude, longitude = _told(lambda: _place(exif.get_ifd(_GPS_IFD))) or (None, None)
    caption, keywords = (None, ()) if image is None else metadata_of(image, exif)
    return Facts(
        _told(lambda: _taken(exif)), latitude, longitude, _told(lambda: _camera(exif)), caption, keywords
    )


def _told(read: Callable[[], T]) -> T | None:
    """What is read; None where it is damaged: Pillow raises whatever comes to it."""
    with suppress(Exception):
        return read()
    return None


def _exif(image: Image.Image) -> Image.Exif:
    exif = Image.Exif()
    if data := image.info.get("exif"):
        # `getexif` would decode a PNG to its end for it.
        exif.load(data)
    elif isinstance(image, TiffImageFile):
        return image.getexif()
    return exif


def _taken(exif: Image.Exif) -> str | None:
    """The first time that can be true of those when it was taken, digitised, and changed."""
    details: Mapping[int, Any] = _told(lambda: exif.get_ifd(_EXIF_IFD)) or {}
    for value in (details.get(_TAKEN), details.get(_DIGITISED), exif.get(_CHANGED)):
        # "2023:05:17 12:34:56", and variations of it that are found in the wild.
        digits = "".join(c for c in str(value)[:19] if c in "0123456789")
        with suppress(ValueError):
            taken = datetime.strptime(digits, "%Y%m%d%H%M%S")
            if len(digits) == 14 and taken.year >= _FIRST_YEAR:
                return taken.isoformat()
    return None


def _place(gps: Mapping[int, Any]) -> tuple[float, float] | None:
    """(latitude, longitude) in degrees; None for what is not on the Earth, and for 0, 0: no fix."""
    latitude = _degrees(gps[_LATITUDE], gps[_LATITUDE_REF], "NS")
    longitude = _degrees(gps[_LONGITUDE], gps[_LONGITUDE_REF], "EW")
    fits = abs(latitude) <= 90 and abs(longitude) <= 180
    return (latitude, longitude) if fits and (latitude, longitude) != (0, 0) else None


def _degrees(parts: Any, reference: Any, directions: str) -> float:
    """Degrees, minutes and seconds, the last ones perhaps left out, as one number. Raises ValueError."""
    direction = (reference.decode() if isinstance(reference, bytes) else str(reference)).strip("\0 ").upper()
    numbers = [float(part) for part in parts]
    if direction not in tuple(directions) or not 1 <= len(numbers) <= 3:
        raise ValueError
    value = math.fsum(number / 60**place for place, number in enumerate(numbers))
    if not math.isfinite(value) or min(numbers) < 0:
        raise ValueError
    return -value if direction == directions[1] else value


def _camera(exif: Image.Exif) -> str | None:
    """Maker and model; the maker once, where the model begins with it."""
    make, model = (_name(exif.get(tag)) for tag in (_MAKE, _MODEL))
    if not make or model.lower().startswith(make.lower().split()[0]):
        return model or None
    return f"{make} {model}".strip()


def _name(value: Any) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
    text = text.partition("\0")[0]
    text = "".join(c if c.isprintable() and not "\ud800" <= c <= "\udfff" else " " for c in text)
    return " ".join(text.split())[:_LONGEST_NAME].strip()
