"""Output of `crosslens evaluate` and `compare`, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from crosslens.cli.output.hits import printable

_ARROWS = {"text_to_image": "text → image", "image_to_text": "image → text"}
_MEANINGS = {
    "recall": "share of all right answers among the first {}",
    "hit": "queries with any right answer among the first {}",
    "precision": "share of the first {} that is right",
    "ndcg": "",
}
_CLASSES_SHOWN = 20


def retrieval_lines(summary: Mapping[str, Any], model: str) -> Iterator[str]:
    """The figures of both directions, side by side."""
    directions: dict[str, Any] = summary["directions"]
    yield printable(
        f"{summary['data']}: {summary['images']:,} pictures, {summary['texts']:,} texts; model {model}, "
        f"{summary['images_per_second']:,.0f} images/s"
    )
    yield from table([["", *(_ARROWS[name] for name in directions)], *_rows(list(directions.values()))])
    yield "95 % intervals by bootstrap over pictures"
    for name, line in directions.items():
        if line["uncounted"]:
            verb = "query has" if line["uncounted"] == 1 else "queries have"
            yield f"{_ARROWS[name]}: {line['uncounted']:,} {verb} no right answer and do not count"


def _rows(directions: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    """A line for each figure; `hit@k` only where it says something that `recall@k` does not."""
    order = [f"{kind}@" for kind in _MEANINGS] + ["median_rank", "mrr", "map"]
    names = sorted(
        directions[0]["figures"],
        key=lambda name: next(i for i, kind in enumerate(order) if name.startswith(kind)),
    )
    for name in names:
        kind, _, k = name.partition("@")
        shown = [line["figures"][name] for line in directions]
        if kind == "hit" and shown == [line["figures"][f"recall@{k}"] for line in directions]:
            continue
        yield [name, *(_estimate(figure, name) for figure in shown), "  " + _MEANINGS.get(kind, "").format(k)]


def classification_lines(summary: Mapping[str, Any], name: str, model: str) -> Iterator[str]:
    """Figures, calibration, and the classes that fare worst."""
    figures, per_class = summary["figures"], summary["per_class"]
    yield printable(f"{name}: {summary['images']:,} pictures of {len(per_class):,} classes; model {model}, "
                    f"{summary['images_per_second']:,.0f} images/s")  # fmt: skip
    yield from table([[key, _estimate(figure, key)] for key, figure in figures.items()])
    yield "95 % intervals by bootstrap over pictures"
    yield (
        f"calibration error {summary['calibration_error']:.3f}; "
        f"{summary['calibration_error_mended']:.3f} with logits divided by {summary['temperature']:.2f} "
        "(on halves that this was not fitted on)"
    )
    worst = sorted(per_class, key=lambda line: (line["recall"], -line["images"]))
    rest = len(worst) - _CLASSES_SHOWN
    yield from table(
        [["class", "pictures", "recall", "precision", "most often taken for"]]
        + [
            [
                line["name"],
                f"{line['images']:,}",
                _percent(line["recall"]),
                "-" if line["precision"] is None else _percent(line["precision"]),
                line["mistaken_for"] or "",
            ]
            for line in worst[:_CLASSES_SHOWN]
        ]
    )
    if rest > 0:
        yield f"and {rest:,} classes with a higher recall; --json has all, and the confusion matrix"


def pair_lines(summary: Mapping[str, Any], model: str) -> Iterator[str]:
    """Figures of pairs, and of a calibration."""
    drawn = " (drawn by chance: the set has no labels)" if summary["drawn"] else ""
    others = f"{summary['others']:,} that do not{drawn}"
    yield printable(f"{summary['data']}: {summary['matching']:,} pairs that match, {others}; model {model}")
    yield from table([[name, _estimate(figure, name)] for name, figure in summary["figures"].items()])
    at = f"accuracy and f1 at a probability of {summary['threshold']:g}"
    yield f"95 % intervals by bootstrap over pictures; {at}"
    yield printable(f"probabilities fitted on: {summary['fitted_on']}")
    fit = summary.get("calibration")
    if fit:
        before, after = fit["before"], fit["held_out"]
        yield printable(f"new fit ({fit['method']}): {fit['fitted_on']}")
        yield from table(
            [["", "before", "after, on halves that it was not fitted on"]]
            + [[name, f"{before[name]:.3f}", f"{after[name]:.3f}"] for name in before]
        )
        if fit.get("file"):
            yield printable(f"stored in {fit['file']}")


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns below each other: the first to the left, others too, each as wide as its widest."""
    widths = [max(len(row[at]) for row in rows if len(row) > at) for at in range(max(map(len, rows)))]
    for row in rows:
        yield printable("  ".join(f"{cell:<{widths[at]}}" for at, cell in enumerate(row)).rstrip())


def _estimate(figure: Mapping[str, float | None], name: str) -> str:
    """A value with its interval."""
    show = {"median_rank": _rank, "log_loss": _plain, "calibration_error": _plain}.get(name, _percent)
    value, low, high = figure["value"], figure["low"], figure["high"]
    shown = show(float(value or 0))
    return (
        shown
        if low is None or high is None
        else f"{shown:>7}  {show(low)} to {show(high)}".replace(" % to", " to")
    )


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _plain(value: float) -> str:
    return f"{value:.3f}"


def _rank(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")
