"""`crosslens bench`: speeds of this machine with its own pictures, as rows and as a chart."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from crosslens import app_folders
from crosslens.acquire.certify import OnStep, precisions_of
from crosslens.errors import InputError
from crosslens.matching.matcher import Matcher
from crosslens.models.bundle import Bundle
from crosslens.models.catalogue import find_bundle
from crosslens.models.certificate import Decoding
from crosslens.search.exact import search_exact
from crosslens.towers.openvino_runtime import OpenVinoModel, Precision
from crosslens.types import Float32

_SECONDS = 3.0
_TEXTS = [
    f"{who} {where} {what}"
    for who in ("a dog", "two people", "a red car", "a child")
    for where in ("on", "near", "behind")
    for what in ("the beach", "a house", "a bicycle", "the mountains", "a table")
]
_SEARCHED = 100_000
_COLD = "import sys; from crosslens import Matcher; Matcher(sys.argv[1]).embed_texts('a dog on the beach')"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement. what: what was done; how: by which precision, decoding or size; value in `unit`."""

    model: str
    what: str
    how: str
    value: float
    unit: str


def bench(
    models: Sequence[str], pictures: Sequence[str], on_step: OnStep = lambda _step: None
) -> list[Figure]:
    """Measure models on pictures. Raises InputError without pictures, ModelError, ImageError."""
    if not pictures:
        raise InputError("there are no pictures to measure with", "Give a folder that holds some")
    figures = []
    for name in models:
        bundle = find_bundle(name)
        for precision in precisions_of(bundle, app_folders.quantised(bundle.spec.identity)):
            on_step(f"{name}, {precision}")
            figures += _speeds(name, bundle, precision, pictures)
        on_step(f"{name}, cold start")
        figures.append(Figure(name, "cold start of a text", "a process of its own", _cold(name), "s"))
        on_step(f"{name}, search")
        figures.append(_search(name, bundle.spec.dimension))
    return figures


def _speeds(name: str, bundle: Bundle, precision: Precision, pictures: Sequence[str]) -> list[Figure]:
    quantised = app_folders.quantised(bundle.spec.identity)
    matcher = Matcher(OpenVinoModel(bundle, precision, quantised=quantised), decode="exact")
    figures = []
    decodings: tuple[Decoding, ...] = ("exact", "2x", "1x")
    for decoding in decodings:
        matcher.decoding = decoding
        rate = _rate(matcher.embed_images, pictures)
        figures.append(Figure(name, "pictures from files", f"{precision}, {decoding} decoding", rate, "/s"))
    if precision != "int8":  # its texts go through the floating tower
        figures.append(Figure(name, "texts", precision, _rate(matcher.embed_texts, _TEXTS), "/s"))
    return figures


def _rate(embed: Callable[[Sequence[str]], Float32], inputs: Sequence[str]) -> float:
    """Inputs a second, over some seconds, the first of them left out."""
    embed(inputs[:32])
    started, done = time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < _SECONDS or not done:
        embed(inputs)
        done += len(inputs)
    return done / max(passed, time.perf_counter() - started)


def _cold(name: str) -> float:
    """Seconds from nothing to a text's vector, the compiled graph on disk: the median of three."""

    def once() -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-W", "ignore", "-c", _COLD, name], check=True, capture_output=True)  # noqa: S603
        return time.perf_counter() - started

    once()
    return statistics.median(once() for _ in range(3))


def _search(name: str, dimension: int) -> Figure:
    """Exact search among random vectors: milliseconds a query, the median."""
    import faiss

    random = np.random.default_rng(0)
    index = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.add(random.standard_normal((_SEARCHED, dimension), np.float32))
    ids, query = np.arange(_SEARCHED), random.standard_normal((1, dimension), np.float32)
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        search_exact(index, ids, query, 10)
        seconds.append(time.perf_counter() - started)
    return Figure(name, "exact search", f"{_SEARCHED:,} vectors", 1000 * statistics.median(seconds), "ms")


def draw(figures: Sequence[Figure], file: Path) -> None:
    """A PNG with a bar to a figure, those of one kind to one scale. Raises OSError."""
    font, row, left, right = ImageFont.load_default(16), 26, 430, 900
    kinds = list(dict.fromkeys((figure.what, figure.unit) for figure in figures))
    height = row * (len(figures) + 2 * len(kinds)) + row
    picture = Image.new("RGB", (right + 140, height), "white")
    pen, top = ImageDraw.Draw(picture), row // 2
    for what, unit in kinds:
        group = [figure for figure in figures if (figure.what, figure.unit) == (what, unit)]
        most = max(figure.value for figure in group)
        pen.text((16, top), f"{what}, {'per second' if unit == '/s' else unit}", "black", font)
        top += row
        for figure in group:
            pen.text((32, top), f"{figure.model}  {figure.how}", "#444444", font)
            end = left + (right - left) * figure.value / most
            pen.rectangle((left, top + 3, end, top + row - 6), "#3b6ea5")
            pen.text((end + 8, top), f"{figure.value:,.3g}" if figure.value < 100 else f"{figure.value:,.0f}",
                     "black", font)  # fmt: skip
            top += row
        top += row
    picture.save(file, "PNG")
