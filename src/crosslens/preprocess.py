"""Stage 3, preprocess: upright RGB → uint8 (s, s, 3) as the model's `ImageSpec` says.

Normalisation is not done here: it lives in the graph, so that pictures travel as bytes.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from crosslens.models.spec import ImageSpec
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

    Equal, pixel for pixel, to torchvision's `Resize(size)` and `CenterCrop(size)` with Pillow images.
    The whole picture is resized although a part is cropped away: Pillow may resize a part in another order
    of its two passes, which moves values.
    """
    size = spec.size
    resample = _FILTERS[spec.interpolation]
    if spec.resize == "squash":
        return np.asarray(image.resize((size, size), resample))
    width, height = image.size
    long = int(size * max(width, height) / min(width, height))
    if long > _LONGEST * size:
        return _middle(image, size, resample)
    image = image.resize((size, long) if width <= height else (long, size), resample)
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def _middle(image: Image.Image, size: int, resample: Image.Resampling) -> UInt8:
    """The middle square of a long thin picture, resized: nearly what resizing all of it gives."""
    short = min(image.size)
    left, top = (image.width - short) / 2, (image.height - short) / 2
    return np.asarray(image.resize((size, size), resample, box=(left, top, left + short, top + short)))
