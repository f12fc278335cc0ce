"""Duplicates: how long pairs take, which copies are found, what tells a burst, and whether the sharpest wins.

    python benchmarks/duplicates.py [--pictures 20000]

Copies, bursts and sharpness need the evaluation pictures (../shared/eval). The bursts are made: two frames
of a photograph, turned by up to 2 degrees, cropped to 88–96 % and 10 % brighter or darker.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import faiss
import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from crosslens import Library, Matcher
from crosslens.maintenance.duplicate_finder import find_duplicates
from crosslens.maintenance.perceptual_hash import sharpnesses
from crosslens.search.near_duplicate_join import near_pairs

EVAL = Path(__file__).parents[2] / "shared" / "eval"
WIDTH = 512


def pairs(count: int) -> None:
    """Every pair of random vectors; each has one near it."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((count, WIDTH), dtype=np.float32)
    vectors[count // 2 :] = vectors[: count - count // 2] + 0.1 * vectors[count // 2 :]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = faiss.IndexScalarQuantizer(WIDTH, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    began = time.perf_counter()
    found = sum(len(part.one) for _, part in near_pairs(index, 0.85))
    print(f"pairs of {count:,} vectors of {WIDTH}: {time.perf_counter() - began:.1f} s, {found:,} found")


def copies(folder: Path) -> None:
    """125 photographs, and the same ones stretched, among 1,000."""
    with Library.open(folder) as library:
        library.index([EVAL / "photos", EVAL / "flickr8k-test" / "images"])
        began = time.perf_counter()
        clusters = find_duplicates(library)
        seconds = time.perf_counter() - began
        count = library.stats().items
    names = [{Path(item.path).name for item in cluster.items} for cluster in clusters]
    right = sum(len(name) == 1 for name in names)
    print(f"copies among {count:,}: {right} found, {len(names) - right} wrong, in {seconds:.1f} s")


def frame(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """What the same camera might have taken a moment later."""
    share = rng.uniform(0.88, 0.96)
    left, top = (rng.uniform(0, 1 - share) * side for side in image.size)
    box = (int(left), int(top), int(left + share * image.width), int(top + share * image.height))
    turned = image.rotate(rng.uniform(-2, 2), Image.Resampling.BICUBIC)
    moved = turned.crop(box).resize(image.size, Image.Resampling.LANCZOS)
    return ImageEnhance.Brightness(moved).enhance(rng.uniform(0.9, 1.1))


def bursts(folder: Path) -> None:
    """Cosines of frames of one scene and of several, and how often the one that is not blurred is sharper."""
    rng = np.random.default_rng(0)
    photos = [Image.open(path).convert("RGB") for path in sorted((EVAL / "photos").glob("*.jpg"))]
    matcher = Matcher()
    first, second = ([frame(photo, rng) for photo in photos] for _ in range(2))
    shaken = [image.filter(ImageFilter.GaussianBlur(2)) for image in second]
    ours, theirs, blurred = (matcher.embed_images(images) for images in (first, second, shaken))
    cosines = ours @ theirs.T
    others = cosines[~np.eye(len(cosines), dtype=bool)]
    print("cosine of two frames: least {:.2f}, median {:.2f}".format(*spread(np.diag(cosines))))
    print("  … one shaken:       least {:.2f}, median {:.2f}".format(*spread((ours * blurred).sum(axis=1))))
    print(f"  of two scenes:      {np.mean(others >= 0.8):.1%} reach 0.8, {np.mean(others >= 0.85):.1%} 0.85")
    sharp = np.array(sharpnesses(saved(photos, folder / "sharp", 92)))
    for radius in (0.5, 1, 2):
        less = [photo.filter(ImageFilter.GaussianBlur(radius)) for photo in photos]
        found = np.array(sharpnesses(saved(less, folder / f"blurred{radius}", 92)))
        print(f"blurred by {radius} of 500 pixels: the other is sharper in {np.mean(sharp > found):.0%}")
    poor = np.array(sharpnesses(saved(photos, folder / "poor", 50)))
    print(f"quality 50 for 92: the other is sharper in {np.mean(sharp > poor):.0%}")


def spread(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(np.median(values))


def saved(images: list[Image.Image], folder: Path, quality: int) -> list[str]:
    folder.mkdir()
    paths = [str(folder / f"{number:03}.jpg") for number in range(len(images))]
    for image, path in zip(images, paths, strict=True):
        image.save(path, quality=quality)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=20_000)
    pairs(parser.parse_args().pictures)
    if EVAL.is_dir():
        with tempfile.TemporaryDirectory() as folder:
            copies(Path(folder) / "library")
            bursts(Path(folder))


if __name__ == "__main__":
    main()
