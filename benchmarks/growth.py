"""How the time of one search grows with the library: exact, approximate, and numpy, as a table and a PNG.

The same vectors and queries as benchmarks/search.py. Both axes of the picture are logarithmic.

    python benchmarks/growth.py [--rows 10000 30000 100000 300000 1000000] [--png docs/growth.png]
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from crosslens.library.vector_search import Searching
from crosslens.search.ann import LEAST_ROWS
from crosslens.search.exact import Exact
from search import MODEL, Asked, K, aside, milliseconds, stored, write_matrix

SIZE, MARGIN = (900, 560), 70
COLOURS = {"numpy float32": "#999999", "exact": "#3b6ea5", "approximate": "#c0392b"}


def measure(count: int) -> dict[str, float]:
    """Median milliseconds of a query, by what searches."""
    rows = stored(count, 10)
    asked = Asked(rows, 100)

    def by_numpy(query: np.ndarray, rows: np.ndarray = rows) -> np.ndarray:
        return np.argpartition(-(query @ rows.T), K)

    found = {"numpy float32": milliseconds(by_numpy, asked.queries)[0]}
    del by_numpy
    with tempfile.TemporaryDirectory() as name:
        matrix = write_matrix(Path(name), rows)
        del rows
        exact, searching = Exact(matrix.index, matrix.ids), Searching(Path(name))
        found["exact"] = milliseconds(lambda q: exact.search(q, K), asked.queries)[0]
        if count >= LEAST_ROWS and searching.build(matrix, MODEL, "image", lambda: aside(1_000, 21)):
            backend = searching.backend(matrix, MODEL, "image")
            found["approximate"] = milliseconds(lambda q: backend.search(q, K), asked.queries)[0]
    return found


def draw(figures: dict[int, dict[str, float]], path: Path) -> None:
    """A line for each way of searching; both axes logarithmic."""
    values = [value for row in figures.values() for value in row.values()]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    first, last = math.log10(min(figures)), math.log10(max(figures))
    width, height = SIZE

    def place(count: int, value: float) -> tuple[float, float]:
        across = (math.log10(count) - first) / max(1e-9, last - first)
        up = (math.log10(value) - low) / (high - low)
        return MARGIN + across * (width - 2 * MARGIN), height - MARGIN - up * (height - 2 * MARGIN)

    picture = Image.new("RGB", SIZE, "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
    for power in range(low, high + 1):
        y = place(min(figures), 10.0**power)[1]
        pen.line((MARGIN, y, width - MARGIN, y), "#dddddd")
        pen.text((8, y - 9), f"{10.0**power:g} ms", "#444444", font)
    for count in figures:
        x = place(count, 10.0**low)[0]
        pen.line((x, MARGIN, x, height - MARGIN), "#eeeeee")
        pen.text((x - 24, height - MARGIN + 8), f"{count:,}", "#444444", font)
    pen.text((MARGIN, 16), "milliseconds of one search (median) by vectors in the library", "black", font)
    for number, (name, colour) in enumerate(COLOURS.items()):
        points = [place(count, row[name]) for count, row in figures.items() if name in row]
        pen.line(points, colour, 3)
        for x, y in points:
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), colour)
        pen.text((MARGIN + 12, MARGIN + 8 + 20 * number), name, colour, font)
    picture.save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 30_000, 100_000, 300_000, 1_000_000])
    parser.add_argument("--png", type=Path, default=Path("growth.png"))
    arguments = parser.parse_args()
    figures = {}
    for count in sorted(arguments.rows):
        figures[count] = measure(count)
        line = ", ".join(f"{name} {value:.2f} ms" for name, value in figures[count].items())
        print(f"{count:>9,} vectors: {line}", flush=True)
    draw(figures, arguments.png)


if __name__ == "__main__":
    main()
