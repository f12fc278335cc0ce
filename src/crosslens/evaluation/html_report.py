"""A comparison as one self-contained HTML file: figures, plot, worst failures as pictures."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

from PIL import Image

from crosslens.errors import CrosslensError, MissingExtraError
from crosslens.evaluation.datasets import Pairs
from crosslens.evaluation.measure_process import Measured, Miss
from crosslens.evaluation.model_comparison import NOTE, Comparison, comparison_rows
from crosslens.evaluation.plots import plot_bytes
from crosslens.images.decode import decode
from crosslens.types import ImageInput

_SIDE = 192
_STYLE = """
:root { color-scheme: light dark; --line: #d8dbe0; --soft: #6b7280; --wanted: #1a7f4b; --found: #b3541e; }
@media (prefers-color-scheme: dark) {
  :root { --line: #3a3f47; --soft: #9aa1ac; --wanted: #4cc38a; --found: #f0a070; }
}
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line); }
td { white-space: nowrap; } td:last-child { white-space: normal; }
p.note, figcaption, .rank { color: var(--soft); font-size: .85rem; }
.plot { max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
.misses { display: grid; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); gap: 1rem; }
.miss { border: 1px solid var(--line); border-radius: 8px; padding: .8rem; }
.miss q { font-weight: 600; overflow-wrap: anywhere; }
.row { display: flex; gap: .6rem; margin-top: .6rem; } figure { margin: 0; flex: 1 1 0; min-width: 0; }
figure img { width: 100%; aspect-ratio: 1; object-fit: contain; border-radius: 4px; display: block; }
.wanted img { outline: 3px solid var(--wanted); } .wanted figcaption { color: var(--wanted); }
.found figcaption { color: var(--found); }
"""


def write_html(comparison: Comparison, pairs: Pairs, path: str | os.PathLike[str]) -> None:
    """Write a report, whole or not at all. pairs: the set that was measured. Raises OSError.

    The plot is left out where matplotlib is not there.
    """
    target = Path(path)
    draft = target.with_name(f"{target.name}.draft")
    draft.write_text("\n".join(_page(comparison, pairs)), encoding="utf-8", errors="replace")
    draft.replace(target)


def _page(comparison: Comparison, pairs: Pairs) -> Iterator[str]:
    names = ", ".join(one.name for one in comparison.measured)
    title = escape(f"{names} on {comparison.data}")
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    yield "<!doctype html>"
    yield f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
    yield f"<h1>{title}</h1>"
    yield f"<p>{comparison.images:,} pictures, {comparison.texts:,} texts. {escape(NOTE)}</p>"
    yield from _table(comparison)
    yield from _plot(comparison)
    pictures = dict(zip(pairs.image_ids, pairs.images, strict=True))
    thumbnails: dict[str, str] = {}
    for one in comparison.measured:
        yield from _section(one, pictures, thumbnails)
    yield "</body></html>"


def _table(comparison: Comparison) -> Iterator[str]:
    head, *rows = comparison_rows(comparison)
    yield '<div class="scroll"><table><tr>' + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"
    for row in rows:
        yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
    yield "</table></div>"


def _plot(comparison: Comparison) -> Iterator[str]:
    try:
        drawn = plot_bytes(comparison, "svg")
    except MissingExtraError as error:
        yield f'<p class="note">Without a plot: {escape(str(error))}</p>'
        return
    source = base64.b64encode(drawn).decode()
    yield f'<p><img class="plot" alt="Quality against speed" src="data:image/svg+xml;base64,{source}"></p>'


def _section(one: Measured, pictures: Mapping[str, ImageInput], thumbnails: dict[str, str]) -> Iterator[str]:
    yield f"<h2>{escape(one.name)}: what it missed most</h2>"
    yield f'<p class="note">{escape(one.runtime)}, {one.dimension} numbers a vector. Of each text the picture'
    yield "that it belongs to, how far behind that was ranked, and what was found in its place; one text to"
    yield "a picture.</p>"
    if not one.worst:
        yield "<p>Nothing: every text found its picture first.</p>"
    yield '<div class="misses">'
    for miss in one.worst:
        yield from _miss(miss, one, pictures, thumbnails)
    yield "</div>"


def _miss(
    miss: Miss, one: Measured, pictures: Mapping[str, ImageInput], thumbnails: dict[str, str]
) -> Iterator[str]:
    answers = one.summary["directions"]["text_to_image"]["answers"]
    yield f'<div class="miss"><q>{escape(miss.text)}</q>'
    yield f'<div class="rank">ranked {miss.rank:,} of {answers:,}</div><div class="row">'
    shown = [("wanted", "wanted", miss.wanted)]
    shown += [("found", f"found {place}", id_) for place, id_ in enumerate(miss.found[:2], 1)]
    for kind, caption, id_ in shown:
        if id_ not in thumbnails:
            thumbnails[id_] = _thumbnail(pictures.get(id_), id_)
        name = escape(os.path.basename(id_), quote=True)
        yield f'<figure class="{kind}"><img alt="{name}" title="{name}" src="{thumbnails[id_]}">'
        yield f"<figcaption>{caption}</figcaption></figure>"
    yield "</div></div>"


def _thumbnail(picture: ImageInput | None, name: str) -> str:
    """A small JPEG as a data URI; grey where the picture cannot be read any more."""
    try:
        image = decode(picture, name, shrink_to=_SIDE).image if picture is not None else None
    except CrosslensError:
        image = None
    small = Image.new("RGB", (8, 8), "#888888") if image is None else image.convert("RGB")
    small.thumbnail((_SIDE, _SIDE))
    data = io.BytesIO()
    small.save(data, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()
