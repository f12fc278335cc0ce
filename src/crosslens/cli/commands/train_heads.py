"""`crosslens train heads`: a linear map over a finished model's vectors."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from crosslens.cli import common
from crosslens.cli.commands.evaluate import DataArgument, ImageColumnOption, SplitOption
from crosslens.cli.commands.train_options import (
    ClassesOption,
    DeviceOption,
    JsonOption,
    MinutesOption,
    SeedOption,
    TextColumnOption,
    ValOption,
    ValSplitOption,
    echo_figures,
    require_packages,
    seconds,
)
from crosslens.cli.output.hits import printable
from crosslens.cli.output.render import Output
from crosslens.errors import InputError


def heads(  # noqa: PLR0913, PLR0917 (each is an option of the command)
    data: DataArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Run folder; the same command goes on in it.")
    ],
    model: Annotated[str, typer.Option(help="Model to start from: a name or a bundle folder.")] = "starter",
    val: ValOption = None,
    classes: ClassesOption = False,
    image_column: ImageColumnOption = None,
    text_column: TextColumnOption = None,
    label_column: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--label-column", help="Column with 1 for a match and 0 for none."),
    ] = None,
    split: SplitOption = None,
    val_split: ValSplitOption = None,
    name: Annotated[str, typer.Option(help="Name of the new model, a folder in DIR.")] = "tuned",
    steps: Annotated[Optional[int], typer.Option(help="Most steps.")] = None,  # noqa: UP045
    batch: Annotated[Optional[int], typer.Option(help="Pairs a step.")] = None,  # noqa: UP045
    rate: Annotated[Optional[float], typer.Option(help="Highest learning rate.")] = None,  # noqa: UP045
    patience: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Validations without a better recall before it ends."),
    ] = None,
    loss: Annotated[str, typer.Option(metavar="softmax|sigmoid", help="As CLIP, or as SigLIP.")] = "softmax",
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    minutes: MinutesOption = None,
    json: JsonOption = False,
) -> None:
    """Train a linear map on each side of a finished model, whose towers run once: minutes, on any model."""
    output = Output(json=json)
    require_packages("train", "torch")
    limit = seconds(minutes)
    from crosslens.train.data_reading import read_labelled
    from crosslens.train.heads import HeadSettings, train_heads
    from crosslens.train.recipe import DataSpec

    given = {"steps": steps, "batch": batch, "rate": rate, "patience": patience}
    chosen: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    settings = HeadSettings(name=name, loss=loss, seed=seed, **chosen)  # type: ignore[arg-type]
    what = DataSpec(data, val, classes, image_column, text_column, label_column, split, val_split)
    if label_column is None and not classes:
        _point_out_labels(data, output)
    train, held, negatives = read_labelled(what, Path(), seed)
    with common.watched(output, "training", "vectors and checkpoints, from which the same command goes on"):
        done = train_heads(
            model,
            train,
            held,
            out,
            settings,
            device=device,
            limit=limit,
            on_step=output.notice,
            negatives=negatives,
        )
    _print(done, json=json)


def _point_out_labels(data: str, output: Output) -> None:
    """Rows that say "no match" would be taken for matches: say so."""
    from crosslens.evaluation.caption_sets import label_column_of

    try:
        column = label_column_of(data)
    except InputError:
        return  # whatever is wrong with the data is said when it is read
    if column is not None:
        output.notice(f"every row is taken for a match; if the column {column!r} says which are: "
                      f"--label-column {column}")  # fmt: skip


def _print(done: Any, *, json: bool) -> None:
    before, after = done.before.by_name, done.validation.by_name
    if json:
        facts = {"bundle": str(done.bundle.folder), "step": done.step, **after, "before": before,
                 "left_out": done.lost, "export_gap": done.gap}  # fmt: skip
        typer.echo(json_.dumps(facts))
        return
    weights = f"the maps of step {done.step:,}" if done.step else "a copy of the model: no step was better"
    typer.echo(printable(f"{done.bundle.folder}: {weights}"))
    echo_figures(before, after, done.gap)
