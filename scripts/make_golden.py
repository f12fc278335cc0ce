"""Make tests/golden/starter.json: what the starter gives when ONNX Runtime and Pillow alone run it.

Independent of crosslens on purpose: it reads the bundle by hand, as its README describes it. Needs
onnxruntime, tokenizers, pillow and numpy:

    python scripts/make_golden.py
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import tokenizers
from PIL import Image

ROOT = Path(__file__).parent.parent
BUNDLE = ROOT / "src/crosslens/models/starter"
TEXTS = [
    "a dog running on grass",
    "A dog running on grass.",
    "two people in a boat on a lake at sunset",
    "a red car",
    "word " * 60,
    "naïve café — 100%",
]


def picture(width: int, height: int, seed: int) -> Image.Image:
    """A smooth random picture; tests make the same one."""
    small = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def embed_image(image: Image.Image, config: dict) -> np.ndarray:
    size = config["image"]["size"]
    width, height = image.size
    scale = size / min(width, height)
    image = image.resize(
        (max(size, int(width * scale)), max(size, int(height * scale))), Image.Resampling.BICUBIC
    )
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    pixels = np.asarray(image.crop((left, top, left + size, top + size)), np.float32) / 255
    pixels = (pixels - np.float32(config["image"]["mean"])) / np.float32(config["image"]["std"])
    session = onnxruntime.InferenceSession(BUNDLE / "image.onnx")
    return session.run(None, {"pixel_values": pixels.transpose(2, 0, 1)[None]})[0][0]


def embed_text(text: str) -> tuple[list[int], np.ndarray]:
    ids = tokenizers.Tokenizer.from_file(str(BUNDLE / "tokenizer.json")).encode(text).ids
    session = onnxruntime.InferenceSession(BUNDLE / "text.onnx")
    return ids, session.run(None, {"input_ids": np.array([ids], np.int64)})[0][0]


def unit(vector: np.ndarray) -> list[float]:
    return [round(float(v), 7) for v in vector / np.linalg.norm(vector)]


def main() -> int:
    config = json.loads((BUNDLE / "config.json").read_text())
    texts = []
    for text in TEXTS:
        ids, vector = embed_text(text)
        texts.append({"text": text, "ids": ids, "vector": unit(vector)})
    images = [
        {"width": w, "height": h, "seed": seed, "vector": unit(embed_image(picture(w, h, seed), config))}
        for w, h, seed in ((96, 96, 1), (224, 224, 2), (500, 333, 3), (120, 401, 4), (97, 96, 5))
    ]
    made_by = f"onnxruntime {onnxruntime.__version__}, tokenizers {tokenizers.__version__}"
    golden = {"made_by": made_by, "texts": texts, "images": images}
    path = ROOT / "tests/golden/starter.json"
    path.write_text(json.dumps(golden, indent=1) + "\n")
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
