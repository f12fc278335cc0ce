"""Comparison of several models and precisions on one set: quality, speed, size, memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from crosslens.arguments import brief
from crosslens.errors import InputError
from crosslens.evaluation.embedding import OnProgress
from crosslens.evaluation.measure_process import Job, Measured, measure
from crosslens.models.catalogue import find_bundle
from crosslens.towers.fake_model import FakeModel
from crosslens.towers.openvino_runtime import Precision

QUALITY = "recall@10"
_COLUMNS = (
    ("recall@1", "text_to_image", "text → image recall@1"),
    ("recall@10", "text_to_image", "recall@10"),
    ("median_rank", "text_to_image", "median rank"),
    ("hit@1", "image_to_text", "image → text hit@1"),
)
# What is to be known of the figures.
NOTE = (
    "95 % intervals by bootstrap over pictures. Size: of the files on disk. "
    "Memory: the most that the process held, Python and the set with it."
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Models on one set, in the order that they were asked for. data: what the set is called."""

    data: str
    images: int
    texts: int
    measured: tuple[Measured, ...]

    @property
    def front(self) -> tuple[Measured, ...]:
        """Those that no other beats in both quality and speed (the Pareto front), the fastest first."""
        by_speed = sorted(self.measured, key=lambda m: (-speed_of(m), -m.figure(QUALITY)["value"]))
        best, front = -1.0, []
        for one in by_speed:
            if one.figure(QUALITY)["value"] > best:
                best = one.figure(QUALITY)["value"]
                front.append(one)
        return tuple(front)


def compare_models(
    models: Sequence[str],
    data: str | os.PathLike[str],
    *,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    worst: int = 24,
    on_model: Callable[[str, int, int], None] = lambda _name, _number, _count: None,
    on_progress: OnProgress = lambda _progress: None,
) -> Comparison:
    """Measure retrieval by each model on a set, each in a process of its own, one after the other.

    models: names or bundle folders, each with ":f32", ":bf16" or ":int8" if it is to run so. options: further
    arguments of `load_pairs`. worst: how many failures of each are told. on_model(name, number, count):
    before each.
    Raises InputError, ModelError; what a process of its own raised comes back with its message.
    """
    if not models:
        raise InputError("there are no models", "Name one or more, such as starter:f32 starter:bf16")
    asked = [split_precision(model) for model in models]
    for model, _ in asked:
        if model != FakeModel.spec.name:
            find_bundle(model)  # a wrong name is told before the first has run for an hour
    measured = []
    for number, (model, precision) in enumerate(asked):
        on_model(models[number], number, len(asked))
        job = Job(model, precision, os.fspath(data), dict(options or {}), device, worst)
        measured.append(measure(job, on_progress))
    summary = measured[0].summary
    return Comparison(summary["data"], summary["images"], summary["texts"], tuple(measured))


def split_precision(model: str) -> tuple[str, str]:
    """("starter", "bf16") of "starter:bf16"; "auto" where none is named. Raises InputError."""
    if not isinstance(model, str) or not model:
        raise InputError(f"a model is {brief(model)}", "Give a name or a bundle folder")
    name, colon, precision = model.rpartition(":")
    return (name, precision) if colon and precision in get_args(Precision) else (model, "auto")


def speed_of(one: Measured) -> float:
    """Images a second."""
    return float(one.summary["images_per_second"])


def comparison_rows(comparison: Comparison) -> Iterator[list[str]]:
    """A head, and a line for each model."""
    heads = [head for _, _, head in _COLUMNS]
    yield ["model", *heads, "images/s", "size", "memory", ""]
    front = comparison.front
    for one in comparison.measured:
        figures = [_estimate(one.figure(name, direction), name) for name, direction, _ in _COLUMNS]
        worth = "" if one in front else "beaten in quality and speed"
        megabytes = [f"{bytes_ / 1e6:,.0f} MB" for bytes_ in (one.size, one.memory)]
        yield [one.name, *figures, f"{speed_of(one):,.0f}", *megabytes, worth]


def as_markdown(comparison: Comparison) -> str:
    """A table, with what it was measured on."""
    head, *rows = comparison_rows(comparison)
    lines = [
        f"{comparison.data}: {comparison.images:,} pictures, {comparison.texts:,} texts. {NOTE}",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _estimate(figure: Mapping[str, float], name: str) -> str:
    if name == "median_rank":
        return f"{figure['value']:,.1f}".removesuffix(".0")
    return f"{100 * figure['value']:.1f} % ({100 * figure['low']:.1f} to {100 * figure['high']:.1f})"
