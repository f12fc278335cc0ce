"""Plots of quality against speed of several models, with the Pareto front: PNG or SVG."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from crosslens.errors import InputError, MissingExtraError
from crosslens.evaluation.model_comparison import QUALITY, Comparison, speed_of

PLOT_SUFFIXES = (".png", ".svg")
_LINE, _POINT, _GREY = "#3b6ea5", "#1d3f66", "#8a8f98"


def check_plot(path: Path) -> None:
    """Raise InputError for another ending, MissingExtraError without matplotlib: before hours of work."""
    if path.suffix.lower() not in PLOT_SUFFIXES:
        raise InputError(f"{path}: plots are drawn as PNG or SVG", "Name a file that ends in .png or .svg")
    _figure_class()


def draw(comparison: Comparison, path: str | os.PathLike[str]) -> None:
    """Draw into a file, whole or not at all. Raises InputError, MissingExtraError, OSError."""
    target = Path(path)
    check_plot(target)
    draft = target.with_name(f"{target.name}.draft")
    draft.write_bytes(plot_bytes(comparison, target.suffix.lower()[1:]))
    draft.replace(target)


def plot_bytes(comparison: Comparison, kind: str) -> bytes:
    """A plot as PNG or SVG. Each point is a model, its area the size of its files; the line is the front."""
    figure = _figure_class()(figsize=(8, 5), layout="constrained")
    import matplotlib as mpl
    from matplotlib.ticker import LogLocator, NullLocator

    axes = figure.add_subplot()
    front = comparison.front
    axes.plot(*zip(*(_place(one) for one in front), strict=True), color=_LINE, linewidth=1.2, zorder=1)
    for one in comparison.measured:
        (x, y), quality = _place(one), one.figure(QUALITY)
        colour = _POINT if one in front else _GREY
        spread = [[y - 100 * quality["low"]], [100 * quality["high"] - y]]
        axes.errorbar([x], [y], yerr=spread, color=colour, linewidth=1, capsize=3, zorder=2)
        axes.scatter([x], [y], s=30 + one.size / 1e6, color=colour, alpha=0.85, zorder=3)
        label = f"{one.name}\n{one.size / 1e6:,.0f} MB"
        axes.annotate(label, (x, y), (8, 6), textcoords="offset points", fontsize=9, color="#222222")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.25, y=0.2)
    axes.set_ylim(bottom=max(0.0, axes.get_ylim()[0]))
    axes.set_xlabel("images a second")
    axes.set_ylabel(f"text → image {QUALITY}, %")
    axes.set_title(
        f"{comparison.data}: {comparison.images:,} pictures, {comparison.texts:,} texts", fontsize=11
    )
    axes.grid(visible=True, which="both", color="#e4e6ea", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    drawn = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "crosslens"}):  # the same figures give the same file
        figure.savefig(drawn, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    return drawn.getvalue()


def _place(one: Any) -> tuple[float, float]:
    return speed_of(one), 100 * one.figure(QUALITY)["value"]


def _figure_class() -> Any:
    """Matplotlib's Figure; without pyplot, which would look for a display and keep every figure."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plot") from error
    return Figure
