"""How well words are searched for approximately, in a large library like a real one.

Its vectors are mixed from those of real pictures, two at a time and a little off; captions ask. Drawn queries
(search.py) lie as one draws them: this shows what texts do, which lie aside of all pictures.

    python benchmarks/words.py [--rows 1000000] [--pictures ../shared/eval/flickr8k-test]
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np

from crosslens import Matcher
from crosslens.search.ann import build
from crosslens.search.exact import Exact
from crosslens.search.recall_tuning import Setting

ASKED, K = 200, 10
# Looked into alone: no query tells that it needs more.
FIXED = ((8, 100), (32, 400), (128, 400), (256, 800))
_BLOCK = 50_000


def embedded(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of the pictures and of their captions, in an order drawn once."""
    with (folder / "captions.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    matcher = Matcher()
    names = sorted({row["file"] for row in rows})
    images = matcher.embed_images([str(folder / "images" / name) for name in names])
    texts = matcher.embed_texts([row["caption"] for row in rows])
    return images, texts[np.random.default_rng(3).permutation(len(texts))]


def mixed(images: np.ndarray, count: int) -> Exact:
    random, off = np.random.default_rng(0), images - images.mean(axis=0)
    index = faiss.IndexScalarQuantizer(
        images.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    for start in range(0, count, _BLOCK):
        size = min(_BLOCK, count - start)
        one, other = images[random.integers(0, len(images), (2, size))]
        share = random.beta(0.5, 0.5, (size, 1)).astype(np.float32)
        noise = random.standard_normal((size, 40), dtype=np.float32) / np.sqrt(40)
        rows = share * one + (1 - share) * other + 0.35 * noise @ off[random.integers(0, len(images), 40)]
        index.add(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    return Exact(index, np.arange(count))


def measured(
    search: Callable[[np.ndarray], np.ndarray], asked: np.ndarray, least: np.ndarray
) -> tuple[float, float, float]:
    """Recall@10, and the median and mean milliseconds of a query."""
    right, seconds = [], []
    for query, low in zip(asked, least, strict=True):
        began = time.perf_counter()
        scores = search(query[None])
        seconds.append(time.perf_counter() - began)
        right.append((scores >= low - 1e-5).mean())
    return float(np.mean(right)), 1000 * float(np.median(seconds)), 1000 * float(np.mean(seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pictures", type=Path, default=Path("../shared/eval/flickr8k-test"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    images, texts = embedded(arguments.pictures)
    exact = mixed(images, arguments.rows)
    made = build(exact, texts[:1000])
    if made is None:
        raise SystemExit("no setting was good enough; it is searched exactly")
    print(made.facts)
    print("| | asked by | recall@10 | p50 ms | mean ms |\n|---|---|---|---|---|")
    for name, asked in (("captions", texts[1000 : 1000 + ASKED]), ("pictures", images[:ASKED])):
        least = exact.search(asked, K)[1][:, -1]
        ways = {"exact": lambda query: exact.search(query, K)[1]}
        for probes, candidates in FIXED:
            setting = Setting(probes, candidates, 0)
            alone = replace(made, facts=replace(made.facts, setting=setting))
            ways[f"{probes} cells, {candidates} candidates"] = lambda query, alone=alone, setting=setting: (
                alone._look(query, K, setting.candidates, setting.probes, None)[1]
            )
        ways["as the library searches"] = lambda query: made.search(query, K)[1]
        for way, search in ways.items():
            recall, median, mean = measured(search, asked, least)
            print(f"| {way} | {name} | {recall:.4f} | {median:.2f} | {mean:.2f} |", flush=True)


if __name__ == "__main__":
    main()
