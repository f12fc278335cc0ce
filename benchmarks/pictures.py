"""Pictures for benchmarks, made from the photographs that scikit-image carries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import skimage
from PIL import Image

PHOTOGRAPHS = (
    "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "grass.png",
    "gravel.png", "hubble_deep_field.jpg", "moon.png", "motorcycle_left.png", "motorcycle_right.png",
)  # fmt: skip


def photographs() -> list[Path]:
    """Paths of the photographs in the installed scikit-image."""
    folder = Path(skimage.__file__).parent / "data"
    return [folder / name for name in PHOTOGRAPHS if (folder / name).is_file()]


def write_jpegs(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """Write `count` different JPEGs of this size: random crops of the photographs, with sensor-like noise."""
    random = np.random.default_rng(1)
    sources = [Image.open(path).convert("RGB") for path in photographs()]
    noise = random.normal(0, 4, (size[1], size[0], 1)).astype(np.float32)
    paths = []
    for number in range(count):
        source = sources[number % len(sources)]
        share = random.uniform(0.6, 1.0)
        width, height = int(source.width * share), int(source.height * share)
        left, top = (
            random.integers(0, source.width - width + 1),
            random.integers(0, source.height - height + 1),
        )
        crop = source.crop((left, top, left + width, top + height)).resize(size, Image.Resampling.BICUBIC)
        noisy = np.clip(np.asarray(crop, np.float32) + np.roll(noise, number, axis=1), 0, 255)
        paths.append(folder / f"{number:05}.jpg")
        Image.fromarray(noisy.astype(np.uint8)).save(paths[-1], quality=88)
    return paths
