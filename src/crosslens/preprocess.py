"""Stage 3, preprocess: upright RGB → uint8 (s, s, 3) as the model's `ImageSpec` says.

Normalisation is not done here: it lives in the graph, so that pictures travel as bytes.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from crosslens.models.spec import ImageSpec
from crosslens.types import UInt8

_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}


def preprocess(image: Image.Image, spec: ImageSpec) -> UInt8:
    """Resize and crop an RGB picture to uint8 (size, size, 3), channels R, G, B.

    Equal, pixel for pixel, to resizing the whole picture and cropping it afterwards as torchvision's
    `Resize(size)` and `CenterCrop(size)` do with Pillow images; only the part that stays is computed.
    """
    size = spec.size
    resample = _FILTERS[spec.interpolation]
    if spec.resize == "squash":
        return np.asarray(image.resize((size, size), resample))
    width, height = image.size
    if width <= height:
        scaled_width, scaled_height = size, max(size, int(size * height / width))
    else:
        scaled_width, scaled_height = max(size, int(size * width / height)), size
    left = round((scaled_width - size) / 2)
    top = round((scaled_height - size) / 2)
    across, down = width / scaled_width, height / scaled_height
    box = (left * across, top * down, (left + size) * across, (top + size) * down)
    return np.asarray(image.resize((size, size), resample, box=box))
