"""`crosslens migrate`: the command."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Optional

import typer

from crosslens import app_folders
from crosslens.cli import common
from crosslens.cli.output.migration import MigrationOutput
from crosslens.library.library import Library
from crosslens.library.library_model import matcher_of
from crosslens.texts.tabular_files import column, read_table

_KEPT = "what was encoded is kept, the old model serves, and the same command goes on from there"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("migrate")(migrate_)


def migrate_(  # noqa: PLR0913, PLR0917 (each is an option of the command)
    model: Annotated[
        Optional[str],  # noqa: UP045 (typer reads annotations at run time)
        typer.Option(help="The new model: a name or a bundle folder. None: of the migration under way."),
    ] = None,
    library: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-L", "--library", envvar="CROSSLENS_LIBRARY", help="Folder of the library."),
    ] = None,
    switch: Annotated[
        bool, typer.Option(help="At the end let the new model serve; else leave both to be searched.")
    ] = True,
    leave_out: Annotated[
        bool, typer.Option("--leave-out", help="Switch without items that cannot be encoded; they wait.")
    ] = False,
    abandon: Annotated[
        bool, typer.Option("--abandon", help="Give up the migration under way, and its vectors.")
    ] = False,
    compare: Annotated[bool, typer.Option(help="Before that, search with both for the same.")] = True,
    captions: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="TABLE", help="Pictures of the library with texts, to measure recall with."),
    ] = None,
    image_column: Annotated[str, typer.Option("--image-column", help="Of that table.")] = "image",
    text_column: Annotated[str, typer.Option("--text-column", help="Of that table.")] = "caption",
    precision: Annotated[str, typer.Option(help="auto, f32, bf16, or int8 after models quantize.")] = "auto",
    decode: Annotated[str, typer.Option(help="JPEGs: auto, fast, or exact for every pixel.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, or another device.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Change the library over to another model, while the old one serves."""
    folder = (library or app_folders.default_library()).expanduser().absolute()
    if abandon:
        if model is not None:
            raise typer.BadParameter("--abandon takes no --model: one migration is under way at a time")
        raise typer.Exit(_abandon(folder, json=json))
    pairs = None if captions is None else list(_pairs(captions, image_column, text_column))
    run = common.Run(model or _under_way(folder), precision, decode, device)
    raise typer.Exit(_migrate(MigrationOutput(json=json), folder, run, (switch, leave_out, pairs, compare)))


def _migrate(
    output: MigrationOutput,
    folder: Path,
    run: common.Run,
    plan: tuple[bool, bool, list[tuple[str, str]] | None, bool],
) -> int:
    from crosslens.maintenance.model_migration import Plan, Watcher, migrate

    matcher = matcher_of(run.model or "", run.how)
    with common.watched(output, "migrating", _KEPT) as progress:
        done = migrate(folder, matcher, Plan(*plan), Watcher(progress.update, output.waiting))
    with Library.open(folder) as opened:
        output.migration(done, opened.stats())
    return 1 if done.state == "refused" else 0


def _abandon(folder: Path, *, json: bool) -> int:
    from crosslens.maintenance.model_migration import abandon

    MigrationOutput(json=json).abandoned(abandon(folder))
    return 0


def _under_way(folder: Path) -> str:
    """The model of the migration under way."""
    with Library.open(folder) as opened:
        found = opened.stats().migrating
    if found is None:
        raise typer.BadParameter("no migration is under way: name the new model with --model")
    return found.model


def _pairs(table: str, image_column: str, text_column: str) -> Iterator[tuple[str, str]]:
    """(path, text) of a table's rows; a path that is not there as it stands is one beside the table."""
    for row, image in column(read_table(table), image_column, table):
        [(_, text)] = column(iter([row]), text_column, table)
        beside = os.path.join(os.path.dirname(table), image)
        if image and text.strip():
            yield os.path.abspath(image if os.path.lexists(image) else beside), text
