"""Files → vectors against what the machine allows.

The limit is cores / (decode + encode), the seconds of one core that one picture needs, each measured alone
in the same run: decoding in one thread, encoding by one stream in one thread. The share of it that the
whole pipeline reaches is what it wastes nothing of.

    python benchmarks/encode.py [--rounds 5] [--model starter]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from crosslens import Matcher
from crosslens.models.catalogue import find_bundle
from crosslens.towers.openvino import OpenVinoModel, available_cores
from pictures import write_jpegs

SETS = {"224-pixel JPEGs": (1000, (224, 224)), "12-megapixel JPEGs": (100, (4000, 3000))}
ENCODE_BATCH = 32
# The pipeline runs for seconds, so that a core that was idle before is awake for most of it.
REPEATS = 3


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def one_core_matcher(model: str) -> Matcher:
    """The same model with one stream on one thread."""
    runtime = OpenVinoModel(find_bundle(model))
    runtime.concurrency = 1
    return Matcher(runtime)


def measure(name: str, paths: list[str], model: str, rounds: int) -> None:
    matcher, alone = Matcher(model), one_core_matcher(model)
    batch = np.stack([matcher.prepare(path, path) for path in paths[:ENCODE_BATCH]])
    batches = max(8, len(paths) // ENCODE_BATCH)
    alone.model.image.submit(batch).result()
    matcher.embed_images(paths[: 4 * ENCODE_BATCH])
    rows = []
    for _ in range(rounds):
        decode = seconds(lambda: [matcher.prepare(path, path) for path in paths]) / len(paths)
        encode = seconds(lambda: [alone.model.image.submit(batch).result() for _ in range(batches)])
        encode /= batches * ENCODE_BATCH
        whole = REPEATS * len(paths) / seconds(lambda: matcher.embed_images(paths * REPEATS))
        limit = available_cores() / (decode + encode)
        rows.append((decode * 1e3, encode * 1e3, limit, whole, whole / limit))
    decode, encode, limit, whole, share = (statistics.median(column) for column in zip(*rows, strict=True))
    least, most = min(row[4] for row in rows), max(row[4] for row in rows)
    print(
        f"{name:<20} {decode:>9.2f} {encode:>9.2f} {limit:>9.1f} {whole:>9.1f} {share:>8.0%}"
        f"   ({least:.0%} to {most:.0%})",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="starter")
    arguments = parser.parse_args()
    print(f"model {arguments.model}, {Matcher(arguments.model).model.runtime}, {available_cores()} cores")
    print(f"{'':<20} {'decode':>9} {'encode':>9} {'limit':>9} {'pipeline':>9} {'share':>8}")
    print(f"{'':<20} {'core ms':>9} {'core ms':>9} {'images/s':>9} {'images/s':>9} {'of limit':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, (count, size)) in enumerate(SETS.items()):
            below = Path(folder) / str(number)
            below.mkdir()
            paths = [str(path) for path in write_jpegs(below, count, size)]
            measure(name, paths, arguments.model, arguments.rounds)


if __name__ == "__main__":
    main()
