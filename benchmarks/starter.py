"""All bars of the embedded model beside what it reaches: quality, speed and size in one table.

    python benchmarks/starter.py [--model starter] [--teacher] [--imagenet FOLDER] [--install] [--rounds 3]

--imagenet: ImageNet's pictures, as imagenet_names.py takes them. --teacher: the proxy of the same script,
which is shown and decides nothing. --install: the base install and a cold search too, by install_size.py
and coldstart.py; these two are of the embedded model alone. Give speeds a machine of their own: what else
runs takes of them.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from crosslens import Matcher
from crosslens.evaluation.bootstrap import Estimate
from crosslens.models.catalogue import find_bundle
from crosslens.towers.openvino_runtime import available_cores
from imagenet_names import accuracies, labelled, proxy_set, read_classes
from nouns import mean_precision
from recall import held_out
from sets import add_options, flickr8k_test, validation

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Bar:
    """bar: what is wanted, None where the figure decides nothing; most: whether less is better."""

    what: str
    value: float
    unit: str
    bar: float | None
    most: bool = False
    interval: tuple[float, float] | None = None

    @property
    def met(self) -> str:
        """In the table."""
        if self.bar is None:
            return ""
        return "yes" if (self.value <= self.bar if self.most else self.value >= self.bar) else "no"

    def line(self) -> str:
        """A row of a Markdown table."""
        wanted = "–" if self.bar is None else f"{'≤' if self.most else '≥'} {self.bar:g} {self.unit}".strip()
        between = "" if self.interval is None else f"{self.interval[0]:.3g} to {self.interval[1]:.3g}"
        return f"| {self.what} | {wanted} | {self.value:.3g} {self.unit} | {between} | {self.met} |"


def of_estimate(what: str, found: Estimate, bar: float | None, unit: str = "%", scale: float = 1.0) -> Bar:
    assert found.low is not None
    assert found.high is not None
    ends = (scale * found.low, scale * found.high)
    return Bar(what, scale * found.value, unit, bar, interval=ends)


def quality(matcher: Matcher, data: Path, parquet: Path) -> Iterator[Bar]:
    """Recall and nouns."""
    test = flickr8k_test(data)
    found = held_out(matcher, test)
    yield of_estimate("Flickr8k test, text → image R@1", found["R@1"], 26)
    yield of_estimate("Flickr8k test, text → image R@5", found["R@5"], None)
    yield of_estimate("Flickr8k test, text → image R@10", found["R@10"], 70)
    sets = [("flickr8k", 87.0), (None, None)] if parquet.is_dir() else []
    for source, bar in sets:
        held = validation(source, parquet)
        yield of_estimate(
            f"{held.name} ({len(held.pairs.images)}), R@10", held_out(matcher, held)["R@10"], bar
        )
    mean, nouns, forms = mean_precision(matcher, test)
    yield of_estimate(f"Flickr8k test, {nouns} nouns, {forms} forms, P@10", mean, 0.75, "")
    for source in ("flickr8k", "cc3m") if parquet.is_dir() else ():
        held = validation(source, parquet)
        mean, nouns, forms = mean_precision(matcher, held)
        # One caption a picture leaves most of what is right unnamed: a figure, and no bar.
        yield of_estimate(f"{held.name}, {nouns} nouns, {forms} forms, P@10", mean,
                          0.75 if held.captions > 1 else None, "")  # fmt: skip


def names(matcher: Matcher, arguments: argparse.Namespace) -> Iterator[Bar]:
    """ImageNet's names, and the proxy."""
    if arguments.imagenet is not None:
        found = accuracies(matcher, *labelled(arguments.imagenet, read_classes()))
        yield of_estimate("ImageNet's 1,000 names, top-1", found["top1"], None, scale=100)
        yield of_estimate("ImageNet's 1,000 names, top-5", found["top5"], 70, scale=100)
    if arguments.teacher:
        pictures, labels = proxy_set(arguments.data, arguments.parquet)
        found = accuracies(matcher, pictures, labels)
        yield of_estimate(
            f"teacher's label ({len(pictures)} pictures), top-1", found["top1"], None, scale=100
        )
        yield of_estimate(
            f"teacher's label ({len(pictures)} pictures), top-5", found["top5"], None, scale=100
        )


def speeds(matcher: Matcher, data: Path, rounds: int) -> Iterator[Bar]:
    """Files → vectors, and one text at a time; both with the model open."""
    pairs = flickr8k_test(data).pairs
    files, texts = list(pairs.images), [f"{text[:60]} {n}" for n, text in enumerate(pairs.texts[:100])]
    matcher.embed_images(files[:64])
    rates = [3 * len(files) / seconds(lambda: matcher.embed_images(files * 3)) for _ in range(rounds)]
    # What a text costs that nobody asked before: each is another.
    times = [1000 * seconds(lambda text=text: matcher.embed_texts([text])) for text in texts]
    yield Bar(
        f"images/s, {available_cores()} cores, {matcher.provenance}", statistics.median(rates), "/s", 350
    )
    yield Bar("one text, median of 100", statistics.median(times), "ms", 5, most=True)


def sizes(model: str) -> Bar:
    folder = find_bundle(model).folder
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Bar("bundle", total / 1e6, "MB", 60, most=True)


def installed() -> Iterator[Bar]:
    """By the scripts that measure them."""
    size = output("install_size.py")
    yield Bar("base install", float(re.findall(r"base install: (\d+) MB", size)[0]), "MB", 480, most=True)
    cold = output("coldstart.py")
    median = float(re.findall(r"crosslens search TEXT +([\d.]+)", cold)[0])
    yield Bar("cold search, 10,000 items", median, "s", 0.7, most=True)


def output(script: str) -> str:
    return subprocess.run([sys.executable, HERE / script], check=True, capture_output=True, text=True).stdout


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument("--imagenet", type=Path)
    parser.add_argument("--teacher", action="store_true")
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    matcher = Matcher(arguments.model)
    print(f"model {arguments.model} (version {matcher.spec.version}), {matcher.provenance}\n")
    print("| | bar | figure | 95 % | met |\n|---|---|---|---|---|")
    parts = [
        speeds(matcher, arguments.data, arguments.rounds),
        iter([sizes(arguments.model)]),
        quality(matcher, arguments.data, arguments.parquet),
        names(matcher, arguments),
        installed() if arguments.install else iter(()),
    ]
    for part in parts:
        for bar in part:
            print(bar.line(), flush=True)


if __name__ == "__main__":
    main()
