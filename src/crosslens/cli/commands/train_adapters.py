"""`crosslens train adapters`: LoRA on a checkpoint of transformers or OpenCLIP."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

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
    show_steps,
)
from crosslens.cli.output.hits import printable
from crosslens.cli.output.render import Output


def adapters(  # noqa: PLR0913, PLR0917 (each is an option of the command)
    data: DataArgument,
    checkpoint: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Checkpoint of transformers or OpenCLIP to start from.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Run folder; the same command goes on in it.")
    ],
    val: ValOption = None,
    classes: ClassesOption = False,
    image_column: ImageColumnOption = None,
    text_column: TextColumnOption = None,
    label_column: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--label-column", help="Column with 1 for a match and 0 for none, which is left out."),
    ] = None,
    split: SplitOption = None,
    val_split: ValSplitOption = None,
    name: Annotated[str, typer.Option(help="Name of the new model, a folder in DIR.")] = "adapted",
    rank: Annotated[int, typer.Option(help="Rank of the adapters.")] = 8,
    alpha: Annotated[float, typer.Option(help="Weight of the adapters, times rank.")] = 16.0,
    dropout: Annotated[float, typer.Option(help="Part of an adapter's input that is dropped.")] = 0.0,
    targets: Annotated[
        str, typer.Option(metavar="auto|NAME,…", help="Layers; auto: attention and MLP of both towers.")
    ] = "auto",
    steps: Annotated[int, typer.Option(help="Most steps.")] = 500,
    batch: Annotated[int, typer.Option(help="Pairs a step.")] = 64,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 1e-4,
    patience: Annotated[int, typer.Option(help="Validations without a better recall before it ends.")] = 5,
    loss: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="softmax|sigmoid", help="Else sigmoid for SigLIP and softmax for others."),
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    minutes: MinutesOption = None,
    json: JsonOption = False,
) -> None:
    """Train LoRA adapters in a transformers or OpenCLIP checkpoint, merge the best, and export a bundle."""
    output = Output(json=json)
    require_packages("adapters", "torch", "peft")
    limit = seconds(minutes)
    from crosslens.train.adapters import AdapterSettings, finish_adapters, open_adapters
    from crosslens.train.data_reading import read_pairs
    from crosslens.train.recipe import DataSpec, Recipe

    settings = AdapterSettings(
        name=name,
        rank=rank,
        alpha=alpha,
        dropout=dropout,
        targets=() if targets == "auto" else tuple(part.strip() for part in targets.split(",")),
        steps=steps,
        batch=batch,
        rate=rate,
        patience=patience,
        loss=loss,  # type: ignore[arg-type]  # checked with the other settings
        seed=seed,
    )
    what = DataSpec(data, val, classes, image_column, text_column, label_column, split, val_split)
    train, held = read_pairs(Recipe(name, what, stages=(), seed=seed), Path())
    run = open_adapters(checkpoint, train, held, out, settings, device=device, on_stage=output.notice)
    show_steps(run.steps(limit), run.run.recipe, output)
    if not run.finished:
        output.notice(f"{run.run.trainer.step:,} of {steps:,} steps done; the same command goes on")
    _print(run, finish_adapters(run, on_stage=output.notice), json=json)


def _print(run: Any, done: Any, *, json: bool) -> None:
    before, after = run.before.by_name, done.validation.by_name
    folder, place = done.bundle.folder, run.run.folder
    if json:
        parts = {"bundle": folder, "checkpoint": place / "checkpoint", "adapter": place / "adapter"}
        facts: dict[str, Any] = {name: str(path) for name, path in parts.items()}
        facts |= {"step": done.step, **after, "before": before, "export_gap": done.gap}
        typer.echo(json_.dumps(facts))
        return
    weights = f"the adapters of step {done.step:,}" if done.step else "the checkpoint: no step was better"
    typer.echo(printable(f"{folder}: {weights}"))
    echo_figures(before, after, done.gap)
