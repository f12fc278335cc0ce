"""A GPU: pictures a second for ViT-B/32 and ViT-L/14 with random weights, from ready uint8 and from files.

The share is of what a large bf16 product reaches on the same device in the same run. Needs torch, open_clip
and transformers (make reference). On a machine without a GPU, --device cpu shows that it runs.

    .venv-reference/bin/python benchmarks/device.py [--device cuda] [--seconds 10]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from models import declare_missing_operators, write_transformers_clip
from pictures import write_jpegs

# Width, layers, heads, patch, projection; tokens follow from the patch.
SHAPES = {"ViT-B/32": (768, 12, 12, 32, 512), "ViT-L/14": (1024, 24, 16, 14, 768)}
FILES = 2000


def rate(run: Callable[[], int], seconds: float) -> float:
    """What `run` does a second, over some seconds, after one call that does not count."""
    run()
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        done += run()
    return done / (time.perf_counter() - started)


def product_rate(device: str) -> float:
    """Floating-point operations a second in products of large bf16 matrices."""
    import torch

    size = 8192 if device.startswith("cuda") else 2048
    left = torch.randn(size, size, dtype=torch.bfloat16, device=device)
    right = left.clone()

    def run() -> int:
        for _ in range(5):
            left @ right
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        return 5

    return rate(run, 3) * 2 * size**3


def flops(shape: tuple[int, ...]) -> float:
    """Of one picture through the image tower: products of weights, and attention."""
    width, layers, _, patch, _ = shape
    tokens = (224 // patch) ** 2 + 1
    return 2 * layers * tokens * (12 * width**2 + 2 * tokens * width)


def write_model(folder: Path, shape: tuple[int, ...]) -> Path:
    """A bundle of this shape with random weights."""
    from crosslens.acquire.convert.convert import convert

    width, layers, heads, patch, dimension = shape
    vision = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
              "intermediate_size": 4 * width, "patch_size": patch}  # fmt: skip
    write_transformers_clip(folder / "hf", vision=vision, dimension=dimension)
    return convert(folder / "hf", folder / "bundle").folder


def measure(name: str, bundle: Path, paths: list[str], arguments: argparse.Namespace, limit: float) -> None:
    from crosslens import Matcher
    from crosslens.models.bundle import load_bundle
    from crosslens.towers.torch_runtime import TorchModel

    model = TorchModel(load_bundle(bundle), arguments.device, "bf16")
    matcher, size = Matcher(model), model.batch_size
    batch = np.random.default_rng(0).integers(0, 256, (size, 224, 224, 3), dtype=np.uint8)

    def ready() -> int:
        for running in [model.image.submit(batch) for _ in range(4)]:
            running.result()
        return 4 * size

    towers = rate(ready, arguments.seconds)
    files = rate(lambda: len(matcher.embed_images(paths)), arguments.seconds)
    share = towers * flops(SHAPES[name]) / limit
    print(f"{name:<10} {towers:>12,.0f} {share:>8.0%} {files:>12,.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=10)
    arguments = parser.parse_args()
    library = declare_missing_operators()
    limit = product_rate(arguments.device)
    print(f"{arguments.device}: a large bf16 product reaches {limit / 1e12:.2f} TFLOP/s")
    print(f"{'':<10} {'ready uint8':>12} {'of it':>8} {'from files':>12}   (images/s; 224-pixel JPEGs)")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pictures").mkdir()
        count = FILES if arguments.device.startswith("cuda") else FILES // 20
        paths = [str(path) for path in write_jpegs(Path(folder) / "pictures", count, (224, 224))]
        for name, shape in SHAPES.items():
            bundle = write_model(Path(folder) / name.replace("/", "-"), shape)
            measure(name, bundle, paths, arguments, limit)
    del library


if __name__ == "__main__":
    main()
