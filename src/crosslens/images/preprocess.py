"""Preprocessing: upright RGB → uint8 (s, s, 3), resized and cropped as the `ImageSpec` says.

Normalisation is not done here: it lives in the graph, so that pictures travel as bytes.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from crosslens.models.spec import Crop, ImageSpec
from crosslens.types import UInt8

# Sides that are further apart than this are not resized as a whole: a picture of 1 × 60,000 pixels would
# become one of 96 × 5,760,000.
_LONGEST = 20
_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}


def preprocess(image: Image.Image, spec: ImageSpec) -> UInt8:
    """Resize and crop an RGB picture to uint8 (size, size, 3), channels R, G, B.

    Equal, pixel for pixel, to torchvision's `Resize` and `CenterCrop` with Pillow images, to transformers'
    image processors that use Pillow, and to open_clip's `ResizeKeepRatio` and `CenterCropOrPad`.
    The whole picture is resized although a part is cropped away: Pillow may resize a part in another order
    of its two passes, which moves values.
    """
    resample = _FILTERS[spec.interpolation]
    if spec.resize == "squash":
        return np.asarray(image.resize((spec.size, spec.size), resample))
    if spec.resize == "longest_edge":
        return _padded(image, spec, resample)
    width, height = image.size
    long = int(spec.side * max(width, height) / min(width, height))
    if long > _LONGEST * spec.side:
        return _middle(image, spec, resample)
    image = image.resize((spec.side, long) if width <= height else (long, spec.side), resample)
    left, top = (_margin(side - spec.size, spec.crop) for side in image.size)
    return np.asarray(image.crop((left, top, left + spec.size, top + spec.size)))


def _margin(spare: int, crop: Crop) -> int:
    """Pixels to leave out before the middle: Python rounds halves to the even number, as torchvision does."""
    return spare // 2 if crop == "center_floor" else round(spare / 2)


def _padded(image: Image.Image, spec: ImageSpec, resample: Image.Resampling) -> UInt8:
    """The whole picture, its long side as long as the input, in the middle of a grey square."""
    ratio = max(image.size) / spec.size
    inner = image.resize((max(1, round(image.width / ratio)), max(1, round(image.height / ratio))), resample)
    outer = Image.new("RGB", (spec.size, spec.size), (spec.fill,) * 3)
    outer.paste(inner, ((spec.size - inner.width) // 2, (spec.size - inner.height) // 2))
    return np.asarray(outer)


def _middle(image: Image.Image, spec: ImageSpec, resample: Image.Resampling) -> UInt8:
    """The middle square of a long thin picture, resized: nearly what resizing all of it gives."""
    short = min(image.size) * spec.size / spec.side
    left, top = (image.width - short) / 2, (image.height - short) / 2
    box = (left, top, left + short, top + short)
    return np.asarray(image.resize((spec.size, spec.size), resample, box=box))
