"""`crosslens compare`: several models and precisions on one set, side by side."""

from __future__ import annotations

import json as json_
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from crosslens.cli import common
from crosslens.cli.commands import evaluate
from crosslens.cli.output.evaluation import table
from crosslens.cli.output.hits import printable
from crosslens.cli.output.render import Output
from crosslens.errors import QueryError

if TYPE_CHECKING:
    from crosslens.evaluation.model_comparison import Comparison


def compare_(  # noqa: PLR0913, PLR0917 (each is an option of the command)
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL[:PRECISION]…", help="Names or bundle folders: starter:f32 starter:bf16."
        ),
    ],
    data: Annotated[
        str,
        typer.Option("--data", metavar="DATA", help="Pictures with captions: a folder, a table, or .json."),
    ],
    split: evaluate.SplitOption = None,
    where: evaluate.WhereOption = None,
    image_column: evaluate.ImageColumnOption = None,
    text_column: evaluate.TextColumnOption = None,
    images: evaluate.ImagesOption = None,
    markdown: Annotated[
        Optional[Path],  # noqa: UP045 (typer reads annotations at run time)
        typer.Option("--markdown", metavar="FILE", help="Write the table as Markdown, too."),
    ] = None,
    plot: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--plot", metavar="FILE", help="Draw quality against speed: .png or .svg."),
    ] = None,
    html: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--html", metavar="FILE", help="Write a report with the worst failures as pictures."),
    ] = None,
    worst: Annotated[int, typer.Option(min=0, help="How many failures of each model the report shows.")] = 24,
    device: evaluate.DeviceOption = "auto",
    json: evaluate.JsonOption = False,
) -> None:
    """Measure several models on the same captioned pictures: quality, images/s, size, memory."""
    from crosslens.evaluation.caption_sets import load_pairs
    from crosslens.evaluation.model_comparison import NOTE, compare_models, comparison_rows
    from crosslens.evaluation.plots import check_plot

    if plot is not None:
        check_plot(plot)
    options: dict[str, Any] = {
        "image_column": image_column,
        "text_column": text_column,
        "split": split,
        "where": dict(evaluate.conditions(where)),
        "images": None if images is None else str(images),
    }
    pairs = load_pairs(data, **options)  # what is wrong with it is told before any model runs
    output = Output(json=json)
    with common.watched(output, "measuring", "nothing was written") as progress:
        comparison = compare_models(
            models,
            data,
            options=options,
            device=device,
            worst=worst if html is not None else 0,
            on_model=lambda name, number, count: output.notice(f"{name} ({number + 1} of {count})"),
            on_progress=progress.update,
        )
    if json:
        typer.echo(json_.dumps(_fields(comparison)))
    else:
        typer.echo(
            printable(f"{comparison.data}: {comparison.images:,} pictures, {comparison.texts:,} texts")
        )
        for line in table(list(comparison_rows(comparison))):
            typer.echo(line)
        typer.echo(NOTE)
    _write_all(comparison, pairs, markdown, plot, html)


def _write_all(
    comparison: Comparison, pairs: Any, markdown: Path | None, plot: Path | None, html: Path | None
) -> None:
    """The files that were asked for."""
    from crosslens.evaluation.html_report import write_html
    from crosslens.evaluation.model_comparison import as_markdown
    from crosslens.evaluation.plots import draw

    writers: tuple[tuple[Path | None, Callable[[Path], Any]], ...] = (
        (markdown, lambda path: path.write_text(as_markdown(comparison), encoding="utf-8")),
        (plot, lambda path: draw(comparison, path)),
        (html, lambda path: write_html(comparison, pairs, path)),
    )
    for path, write in writers:
        if path is None:
            continue
        try:
            write(path)
        except OSError as error:
            raise QueryError(f"{path} cannot be written ({error.strerror})", "Name another file") from error


def _fields(comparison: Comparison) -> dict[str, Any]:
    """A comparison for programs."""
    front = comparison.front
    models = [
        {"name": one.name, **asdict(one), "on_front": one in front, "worst": [asdict(m) for m in one.worst]}
        for one in comparison.measured
    ]
    return {
        "data": comparison.data,
        "images": comparison.images,
        "texts": comparison.texts,
        "models": models,
    }
