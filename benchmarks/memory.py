"""Peak memory of files → vectors: 10,000 12-megapixel JPEGs against 500; both are hard links of a few.

python benchmarks/memory.py [--model starter]
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from crosslens import Matcher
from crosslens.encode import Job
from pictures import write_jpegs

DIFFERENT, FEW, MANY = 60, 500, 10_000


def peak(model: str, paths: list[str]) -> float:
    """Encode in this process, keeping no vector; megabytes at the most."""
    matcher = Matcher(model)
    done = sum(1 for _ in matcher.encode(Job(path, partial(matcher.prepare, path, path)) for path in paths))
    assert done == len(paths)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        print(peak(arguments.model, sorted(str(path) for path in Path(arguments.folder).iterdir())))
        return
    with tempfile.TemporaryDirectory() as folder:
        few, many, made = (Path(folder) / name for name in ("few", "many", "made"))
        for below in (few, many, made):
            below.mkdir()
        paths = write_jpegs(made, DIFFERENT, (4000, 3000))
        for below, count in ((few, FEW), (many, MANY)):
            for number in range(count):
                os.link(paths[number % DIFFERENT], below / f"{number:05}.jpg")
        peaks = []
        for below in (few, many):
            command = [sys.executable, __file__, "--model", arguments.model, "--folder", str(below)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            peaks.append(float(done.stdout))
            print(f"{len(list(below.iterdir())):>6,} pictures: at most {peaks[-1]:.0f} MB", flush=True)
        print(f"ratio {peaks[1] / peaks[0]:.3f}")


if __name__ == "__main__":
    main()
