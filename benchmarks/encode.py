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
from pathlib import Path

from crosslens import Matcher
from crosslens.towers.openvino_runtime import available_cores
from limits import Limit, seconds
from pictures import write_jpegs

SETS = {"224-pixel JPEGs": (1000, (224, 224)), "12-megapixel JPEGs": (100, (4000, 3000))}
# The pipeline runs for seconds, so that a core that was idle before is awake for most of it.
REPEATS = 3


def measure(name: str, paths: list[str], model: str, rounds: int) -> None:
    matcher = Matcher(model)
    alone = Limit(matcher)
    matcher.embed_images(paths[:128])
    rows = []
    for _ in range(rounds):
        decode, encode = alone.costs(paths)
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
