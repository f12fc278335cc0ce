"""`crosslens train …`: a model of one's own pairs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from crosslens.cli.commands.train_adapters import adapters
from crosslens.cli.commands.train_heads import heads
from crosslens.cli.commands.train_options import JsonOption, require_packages, seconds, show_steps
from crosslens.cli.output.render import Output
from crosslens.errors import InputError

app = typer.Typer(
    name="train",
    help="Train a model on pairs of pictures and texts (needs the extra 'train').",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


app.command()(heads)
app.command()(adapters)


@app.command()
def whole(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="All settings; see docs/train.md.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Run folder; an unfinished run in it goes on.")
    ],
    data: Annotated[
        Optional[Path],  # noqa: UP045 (typer reads annotations at run time)
        typer.Option(metavar="DATA", help="Pairs to train on, instead of those the recipe names."),
    ] = None,
    device: Annotated[
        str, typer.Option(help="cpu, cuda, cuda:1; cuda under torchrun: one GPU each.")
    ] = "cpu",
    minutes: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Stop after so long; the same command goes on from there."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Train the towers themselves by a recipe, and export the best weights as a model bundle."""
    output = Output(json=json)
    settings, place = _recipe(recipe, data)
    require_packages("train", "torch")
    from crosslens.train.distributed import joined
    from crosslens.train.full import finish, open_run

    limit = seconds(minutes)
    with joined(device) as ranks:
        say = output.notice if ranks.first else _silent
        run = open_run(settings, out, place=place, on_step=say, ranks=ranks)
        _take_steps(run, output, limit)
    if not ranks.first:
        return
    if not run.finished:
        output.notice(f"{run.trainer.step:,} of {run.recipe.steps:,} steps done; the same command goes on")
        return
    done = finish(run, on_step=output.notice)
    certified = "held out are too few pictures for a certificate"
    if done.certificate is not None:
        certified = f"its certificate: crosslens models show {done.bundle.folder}"
    output.notice(certified)
    output.trained(str(done.bundle.folder), done.step, done.validation.by_name, done.gap)


def _take_steps(run: Any, output: Output, limit: float | None) -> None:
    """Train, and show how far it is; the first of several processes alone speaks."""
    from crosslens.train.full import train_steps

    if not run.trainer.ranks.first:
        for _ in train_steps(run, limit):
            pass
        return
    show_steps(train_steps(run, limit), run.recipe, output)


def _silent(_step: str) -> None:
    pass


def _recipe(path: Path, data: Path | None) -> tuple[Any, Path]:
    from crosslens.train.recipe import read_recipe

    found = read_recipe(path)
    if data is not None:
        if not data.exists():
            raise InputError(f"{data}: there is no such file or folder", "Check the spelling")
        found = dataclasses.replace(found, data=dataclasses.replace(found.data, train=str(data.absolute())))
    return found, path.parent
