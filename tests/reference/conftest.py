"""Models of every family, tiny and random, built by transformers and open_clip themselves.

Skipped where they are not installed: `pip install torch transformers open_clip_torch sentence-transformers
sentencepiece protobuf onnx`. Nothing is downloaded.
"""

from __future__ import annotations

import os
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

NEEDED = ("torch", "torchvision", "transformers", "open_clip", "sentence_transformers", "skimage")
MISSING = [name for name in NEEDED if find_spec(name) is None]
collect_ignore_glob = ["test_*.py"] if MISSING else []

if not MISSING:
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from crosslens.train.torchvision_compat import load_torchvision

        load_torchvision()
        import open_clip  # noqa: F401 (while warnings are off)
        import transformers

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Warnings of the reference libraries are not ours."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Real pictures as files, JPEG and PNG: wide, tall, odd, smaller than the input, grey."""
    import skimage

    source = Path(skimage.__file__).parent / "data"
    folder = tmp_path_factory.mktemp("photographs")
    cuts = {
        "cat.jpg": ("chelsea.png", (0, 0, 451, 300)),
        "coffee.png": ("coffee.png", (3, 1, 598, 334)),
        "face.jpg": ("astronaut.png", (101, 0, 332, 511)),
        "rocket.jpg": ("rocket.jpg", (0, 0, 640, 427)),
        "tall.png": ("astronaut.png", (200, 0, 297, 512)),
        "wide.jpg": ("coffee.png", (0, 150, 600, 257)),
        "small.png": ("chelsea.png", (150, 60, 203, 97)),
        "grey.png": ("camera.png", (0, 0, 333, 512)),
        "square.jpg": ("retina.jpg", (300, 300, 700, 700)),
    }
    for name, (origin, box) in cuts.items():
        with Image.open(source / origin) as picture:
            picture.crop(box).save(folder / name)
    return sorted(folder.iterdir())
