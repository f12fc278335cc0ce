"""Make tests/golden/starter.json: what the starter gives when ONNX Runtime, Pillow and NumPy alone run it.

Independent of crosslens on purpose: it reads the bundle by hand, as its README describes it. Needs
onnxruntime, tokenizers, safetensors, pillow and numpy:

    python scripts/make_golden.py
"""

import json
import sys
from math import erf
from pathlib import Path

import numpy as np
import onnxruntime
import tokenizers
from PIL import Image
from safetensors.numpy import load_file

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


def weights() -> dict[str, np.ndarray]:
    """All as float32; a table with a scale for each row as their product."""
    stored = {
        name: value.astype(np.float32) for name, value in load_file(BUNDLE / "model.safetensors").items()
    }
    scaled = [name for name in stored if f"{name}.scale" in stored]
    return stored | {name: stored[name] * stored[f"{name}.scale"][:, None] for name in scaled}


def embed_text(text: str, config: dict, weights: dict[str, np.ndarray]) -> tuple[list[int], np.ndarray]:
    """A BERT encoder by hand: ids → mean of the last states, projected."""
    facts = config["text"]["network"]
    ids = tokenizers.Tokenizer.from_file(str(BUNDLE / "tokenizer.json")).encode(text).ids
    seen = np.array([n != config["text"]["pad_id"] for n in ids])

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", np.float32(0))

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + facts["epsilon"])
        return centred / deviation * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def attend(x: np.ndarray, name: str) -> np.ndarray:
        parts = np.split(linear(x, f"{name}.in"), 3, axis=-1)
        query, key, value = (part.reshape(len(ids), facts["heads"], -1).swapaxes(0, 1) for part in parts)
        scores = query @ key.swapaxes(1, 2) / np.sqrt(query.shape[-1])
        scores = np.exp(np.where(seen, scores, -np.inf) - scores.max(axis=-1, keepdims=True))
        mixed = scores / scores.sum(axis=-1, keepdims=True) @ value
        return linear(mixed.swapaxes(0, 1).reshape(len(ids), -1), f"{name}.out")

    x = norm(weights["text.tokens"][ids] + weights["text.positions"][: len(ids)], "text.first_norm")
    layers = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("text.blocks."))
    for block in (f"text.blocks.{n}" for n in range(layers)):
        x = norm(x + attend(x, f"{block}.attention"), f"{block}.attention_norm")
        inner = linear(x, f"{block}.mlp.in")
        inner = inner * (1 + np.vectorize(erf)(inner / np.sqrt(2))) / 2
        x = norm(x + linear(inner, f"{block}.mlp.out"), f"{block}.mlp_norm")
    return ids, linear(x[seen].mean(axis=0), "text.projection")


def unit(vector: np.ndarray) -> list[float]:
    return [round(float(v), 7) for v in vector / np.linalg.norm(vector)]


def main() -> int:
    config = json.loads((BUNDLE / "config.json").read_text())
    texts, stored = [], weights()
    for text in TEXTS:
        ids, vector = embed_text(text, config, stored)
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
