"""Files → vectors and texts → vectors: crosslens beside its peers, one run, the same random ViT-B/32.

Each contender is a process of its own that opens its model once and then works when told to, one at a time,
in turns; a row is the median of its rounds. Needs the peers (make reference); rclip, whose pins differ, is
run from an environment of its own if --rclip names its command.

    .venv-reference/bin/python benchmarks/peers.py [--rounds 3] [--rclip path/to/rclip] [--no-int8]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pictures import write_jpegs

SETS = {"12-megapixel JPEGs": (96, (4000, 3000)), "224-pixel JPEGs": (384, (224, 224))}
# Slow contenders take fewer pictures, fast ones all of them several times, so that a run takes seconds and
# neither its first batch nor its last one counts for much; rates are what is compared.
SHARE = {"transformers": 6, "sentence-transformers": 6, "rclip": 2}
REPEATS = 3
TEXTS = 5000
FLOPS = 8.8e9  # of a ViT-B/32 for one picture: 2 × 85 M weights × 50 tokens, and attention
BATCH = 32
WORDS = (
    *("a", "the", "dog", "beach", "two", "people", "red", "car", "runs", "on", "grass", "water", "child"),
    *("with", "ball", "snow", "mountain", "city", "street", "night", "in", "front", "of", "blue", "sky"),
)

Work = Callable[[str, list[str]], Any]


def captions(count: int) -> list[str]:
    """Texts of 5 to 20 words, no two alike."""
    return [
        " ".join(
            WORDS[(number * 7 + place * (3 + number % 11)) % len(WORDS)] for place in range(5 + number % 16)
        )
        + f" {number}"
        for number in range(count)
    ]


# -- the contenders, each in a process of its own -------------------------------------------------


def transformers_loop(models: Path) -> Work:
    import torch
    from PIL import Image
    from transformers import AutoProcessor, CLIPModel

    model = CLIPModel.from_pretrained(models / "hf").eval()
    processor = AutoProcessor.from_pretrained(models / "hf")

    def work(kind: str, inputs: list[str]) -> Any:
        found = []
        with torch.inference_mode():
            for start in range(0, len(inputs), BATCH):
                batch = inputs[start : start + BATCH]
                if kind == "texts":
                    tokens = processor(text=batch, padding=True, truncation=True, return_tensors="pt")
                    found.append(model.get_text_features(**tokens).pooler_output)
                else:
                    pictures = [Image.open(path).convert("RGB") for path in batch]
                    pixels = processor(images=pictures, return_tensors="pt")
                    found.append(model.get_image_features(**pixels).pooler_output)
        return torch.cat(found).numpy()

    return work


def open_clip_loader(models: Path, precision: str) -> Work:
    import open_clip
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    model, _, transform = open_clip.create_model_and_transforms(
        "ViT-B-32-quickgelu", pretrained=None, precision=precision
    )
    model.load_state_dict(torch.load(models / "open_clip.pt", weights_only=True))
    model.eval()
    tokenizer = open_clip.get_tokenizer("ViT-B-32-quickgelu")

    class Files(Dataset):
        def __init__(self, paths: list[str]) -> None:
            self.paths = paths

        def __len__(self) -> int:
            return len(self.paths)

        def __getitem__(self, row: int) -> torch.Tensor:
            return transform(Image.open(self.paths[row]))

    def work(kind: str, inputs: list[str]) -> Any:
        with torch.inference_mode():
            if kind == "texts":
                parts = [tokenizer(inputs[i : i + BATCH]) for i in range(0, len(inputs), BATCH)]
                return torch.cat([model.encode_text(part) for part in parts]).float().numpy()
            loader = DataLoader(Files(inputs), batch_size=BATCH, num_workers=2)
            dtype = model.visual.conv1.weight.dtype
            return torch.cat([model.encode_image(batch.to(dtype)) for batch in loader]).float().numpy()

    return work


def sentence_transformers_encode(models: Path) -> Work:
    from PIL import Image
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(models / "hf"), device="cpu")

    def work(kind: str, inputs: list[str]) -> Any:
        if kind == "texts":
            return model.encode(inputs, batch_size=BATCH)
        return model.encode([Image.open(path) for path in inputs], batch_size=BATCH)

    return work


def crosslens_matcher(models: Path, bundle: str, precision: str, decoding: str = "") -> Work:
    """Decoding "" is what the certificate allows, and of random weights it allows more."""
    from crosslens import Matcher
    from limits import Limit

    matcher = Matcher(models / bundle, precision=precision)  # type: ignore[arg-type]
    matcher.decoding = decoding or matcher.decoding  # type: ignore[assignment]

    limit: list[Limit] = []  # made when asked for: the second model costs memory

    def work(kind: str, inputs: list[str]) -> Any:
        if kind == "limit":
            limit.extend([] if limit else [Limit(matcher)])
            return limit[0].rate(inputs)
        return matcher.embed_texts(inputs) if kind == "texts" else matcher.embed_images(inputs)

    return work


def rclip_command(models: Path, command: str) -> Work:
    """The whole command on a fresh folder of links: its index run, and a search, which costs it a second."""

    def work(_kind: str, inputs: list[str]) -> Any:
        with tempfile.TemporaryDirectory(dir=Path(inputs[0]).parent) as folder:
            for path in inputs:
                os.link(path, Path(folder) / Path(path).name)
            (models / "rclip" / "db.sqlite3").unlink(missing_ok=True)
            environment = {**os.environ, "RCLIP_DATADIR": str(models / "rclip")}
            subprocess.run(
                [command, "--top", "1", "dog"], cwd=folder, env=environment, check=True, capture_output=True
            )
        return None

    return work


def contenders(arguments: argparse.Namespace) -> dict[str, Callable[[Path], Work]]:
    found: dict[str, Callable[[Path], Work]] = {
        "transformers": transformers_loop,
        "open_clip fp32": lambda models: open_clip_loader(models, "fp32"),
        "open_clip bf16": lambda models: open_clip_loader(models, "pure_bf16"),
        "sentence-transformers": sentence_transformers_encode,
        "crosslens f32": lambda models: crosslens_matcher(models, "bundle", "f32"),
        "crosslens bf16": lambda models: crosslens_matcher(models, "bundle", "bf16"),
        "crosslens bf16, 2x": lambda models: crosslens_matcher(models, "bundle", "bf16", "2x"),
    }
    if arguments.int8:
        found["crosslens int8"] = lambda models: crosslens_matcher(models, "bundle", "int8")
        found["crosslens int8, 2x"] = lambda models: crosslens_matcher(models, "bundle", "int8", "2x")
    if arguments.rclip:
        found["rclip"] = lambda models: rclip_command(models, arguments.rclip)
        found["crosslens bf16, 256"] = lambda models: crosslens_matcher(models, "bundle256", "bf16")
    return found


# -- processes ------------------------------------------------------------------------------------


class Contender:
    """A process that works when told to."""

    def __init__(self, name: str, models: Path) -> None:
        self.name = name
        command = [
            sys.executable,
            "-W",
            "ignore",
            __file__,
            *sys.argv[1:],
            "--worker",
            name,
            "--models",
            str(models),
        ]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.answer()

    def answer(self) -> Any:
        """What it says next."""
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise SystemExit(f"{self.name} ended; run it alone to see why")
        return json.loads(line)

    def rate(self, kind: str, inputs: list[str]) -> float:
        """Inputs a second; of kind "limit", the most that the machine allows."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps([kind, inputs]) + "\n")
        self.process.stdin.flush()
        return float(self.answer())


def work_when_told(name: str, arguments: argparse.Namespace) -> None:
    models = Path(arguments.models)
    with contextlib.redirect_stdout(sys.stderr):
        from models import declare_missing_operators

        library = declare_missing_operators() if "crosslens" not in name and name != "rclip" else None
        work = contenders(arguments)[name](models)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        kind, inputs = json.loads(line)
        started = time.perf_counter()
        with contextlib.redirect_stdout(sys.stderr):
            vectors = work(kind, inputs)
        rate = vectors if kind == "limit" else len(inputs) / (time.perf_counter() - started)
        print(json.dumps(rate), flush=True)
        assert kind == "limit" or vectors is None or len(vectors) == len(inputs)
    del library


def make_models(models: Path, arguments: argparse.Namespace, pictures: list[str]) -> None:
    """The same weights in every format. In a process of its own: what it imports should not stay."""
    import torch

    from models import declare_missing_operators, open_clip_weights, write_transformers_clip

    library = declare_missing_operators()
    from transformers import CLIPModel

    from crosslens.acquire.convert.convert import convert

    write_transformers_clip(models / "hf")
    torch.save(
        open_clip_weights(CLIPModel.from_pretrained(models / "hf").state_dict()), models / "open_clip.pt"
    )
    bundle = convert(models / "hf", models / "bundle")
    if arguments.rclip:
        write_transformers_clip(models / "hf256", 256)
        convert(models / "hf256", models / "bundle256")
        write_rclip_models(models)
    from crosslens.acquire.certify import Sample, check_model
    from crosslens.acquire.quantize import quantise

    sample = Sample(pictures, captions(200))
    certificate = quantise(bundle, sample, force=True) if arguments.int8 else check_model(bundle, sample)
    print(f"certificate (random weights), reference {certificate.reference}")
    for run in certificate.runs:
        print(f"  {run.subject:<5} image cosine {run.image_mean:.5f} (least {run.image_min:.5f}), "
              f"text {run.text_mean:.5f}, top-10 overlap {run.overlap:.3f}")  # fmt: skip
    del library


def write_rclip_models(models: Path) -> None:
    """What rclip looks for in its data folder: both towers as ONNX, and CLIP's vocabulary."""
    import shutil

    import open_clip
    import torch
    from transformers import CLIPModel

    from models import open_clip_weights

    model = open_clip.create_model("ViT-B-32-quickgelu", pretrained=None, force_image_size=256).eval()
    model.load_state_dict(open_clip_weights(CLIPModel.from_pretrained(models / "hf256").state_dict()))
    folder = models / "rclip" / "ViT-B-32-256-datacomp_s34b_b86k"
    folder.mkdir(parents=True)
    (models / "rclip" / "tokenizer").mkdir()
    vocabulary = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    shutil.copy(vocabulary, models / "rclip" / "tokenizer" / vocabulary.name)
    for name, tower, example in (("visual", model.visual, torch.zeros(2, 3, 256, 256)),
                                 ("textual", Text(model), torch.zeros(2, 77, dtype=torch.long))):  # fmt: skip
        torch.onnx.export(
            tower,
            (example,),
            str(folder / f"{name}.onnx"),
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "n"}},
            dynamo=False,
        )


def Text(model: Any) -> Any:  # noqa: N802 (stands for a module)
    import torch

    class Tower(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: Any) -> Any:
            return self.model.encode_text(ids)

    return Tower()


# -- the run --------------------------------------------------------------------------------------


def matrix_rate() -> float:
    """Products of large bf16 matrices by torch on all cores: floating-point operations a second."""
    code = (
        "import torch, time; a = torch.randn(2048, 2048, dtype=torch.bfloat16); b = a.clone(); a @ b\n"
        "t = time.perf_counter()\nfor _ in range(10): a @ b\n"
        "print(10 * 2 * 2048**3 / (time.perf_counter() - t))"
    )
    return float(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    )


def machine_share(rates: dict[str, float]) -> None:
    """What share of the machine's own rate of matrix products the towers reach, decoding included."""
    rate = matrix_rate()
    print(
        f"\nlarge bf16 products by torch on all cores: {rate / 1e9:.0f} GFLOP/s; of it, with 224-pixel JPEGs:"
    )
    for name in ("open_clip bf16", "crosslens bf16"):
        print(f"  {name:<22} {rates[name] * FLOPS / rate:.0%}")


def table(title: str, rates: dict[str, list[float]], base: str) -> dict[str, float]:
    medians = {name: statistics.median(row) for name, row in rates.items()}
    print(f"\n{title:<24} {'per second':>10} {'to ' + base:>20}   rounds")
    for name, rate in medians.items():
        rounds = ", ".join(f"{one:.1f}" for one in rates[name])
        print(f"  {name:<22} {rate:>10.1f} {rate / medians[base]:>19.2f}×   {rounds}", flush=True)
    return medians


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rclip", default="", help="rclip's command")
    parser.add_argument("--no-int8", dest="int8", action="store_false")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    parser.add_argument("--models", default="", help=argparse.SUPPRESS)
    parser.add_argument("--make", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work_when_told(arguments.worker, arguments)
        return
    if arguments.make:
        make_models(Path(arguments.models), arguments, json.loads(arguments.make))
        return
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), arguments)


def run(folder: Path, arguments: argparse.Namespace) -> None:
    sets = {}
    for number, (title, (count, size)) in enumerate(SETS.items()):
        below = folder / f"pictures{number}"
        below.mkdir()
        sets[title] = [str(path) for path in write_jpegs(below, count, size)]
    os.environ["HOME"] = str(folder)
    os.environ["HF_HUB_OFFLINE"] = "1"
    models = folder / "models"
    models.mkdir()
    command = [sys.executable, "-W", "ignore", __file__, *sys.argv[1:], "--models", str(models), "--make"]
    subprocess.run([*command, json.dumps(sets["12-megapixel JPEGs"])], check=True, stderr=subprocess.DEVNULL)
    processes = {name: Contender(name, models) for name in contenders(arguments)}
    for title, paths in sets.items():
        rates: dict[str, list[float]] = {name: [] for name in processes}
        shares: dict[str, list[float]] = {name: [] for name in processes if "crosslens" in name}
        for number in range(arguments.rounds + 1):
            for name, process in processes.items():
                repeats = REPEATS if name in shares else 1
                rate = process.rate("images", paths[: len(paths) // SHARE.get(name, 1)] * repeats)
                if number:  # the first round warms up
                    rates[name].append(rate)
                    if name in shares:
                        shares[name].append(rate / process.rate("limit", paths))
        medians = table(title, rates, "open_clip fp32")
        print("of cores / (decode + encode), each measured alone:")
        for name, row in shares.items():
            print(f"  {name:<22} {statistics.median(row):>10.0%}   {', '.join(f'{one:.0%}' for one in row)}")
    machine_share(medians)
    texts = captions(TEXTS)
    special = ("rclip", "256", "int8", "2x")
    rates = {name: [] for name in processes if not any(word in name for word in special)}
    for _ in range(arguments.rounds):
        for name, row in rates.items():
            row.append(processes[name].rate("texts", texts[: TEXTS // SHARE.get(name, 1)]))
    table(f"texts, {TEXTS:,} captions", rates, "sentence-transformers")


if __name__ == "__main__":
    main()
