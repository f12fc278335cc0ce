"""One search from a cold process: start of `crosslens search` to its end, on a library of 10,000 items.

The library is made of the starter's vectors of 500 pictures, each under twenty names, so that it has the
size but takes no time to make. Prints the heavy modules that were imported too: there must be none.
Beside it, in the same run, what other starts cost here.

    python benchmarks/coldstart.py [--items 10000] [--runs 15]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from crosslens import Library
from pictures import write_jpegs

HEAVY = ("torch", "transformers", "pandas", "pyarrow", "onnxruntime", "open_clip")
CROSSLENS = Path(sys.executable).with_name("crosslens")


def make_library(folder: Path, items: int) -> Path:
    pictures = folder / "pictures"
    pictures.mkdir()
    originals = write_jpegs(pictures, min(500, items), (224, 224))
    for number in range(len(originals), items):
        os.link(originals[number % len(originals)], pictures / f"copy-{number:06}.jpg")
    with Library.open(folder / "library") as library:
        report = library.index(pictures)
        print(
            f"library of {library.stats().items:,} items ({report.encoded} encoded) in {report.seconds:.1f} s"
        )
    return folder / "library"


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def heavy_imports(command: list[str]) -> list[str]:
    probe = (
        "import sys, crosslens.cli; "
        f"crosslens.cli.main({command[1:]!r}); "
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True)
    return [name for name in HEAVY if repr(name) in done.stderr.splitlines()[-1]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=15)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        library = str(make_library(folder, arguments.items))
        search = [str(CROSSLENS), "search", "-L", library, "a dog on the beach"]
        picture = next((folder / "pictures").iterdir())
        commands = {
            "crosslens search TEXT": search,
            "crosslens search --image FILE": [*search[:4], "--image", str(picture)],
            "crosslens --version": [str(CROSSLENS), "--version"],
            "python -c 'import openvino'": [sys.executable, "-c", "import openvino"],
            "python -c 'import numpy'": [sys.executable, "-c", "import numpy"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for command in commands.values():
            seconds(command)
        for _ in range(arguments.runs):
            for name, command in commands.items():
                times[name].append(seconds(command))
        print(f"{'':<30} {'median s':>9} {'least':>7} {'most':>7}   of {arguments.runs} runs")
        for name, values in times.items():
            print(f"{name:<30} {statistics.median(values):>9.2f} {min(values):>7.2f} {max(values):>7.2f}")
        print(f"heavy modules imported by a search: {heavy_imports(search) or 'none'}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
