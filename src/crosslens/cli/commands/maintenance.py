"""`crosslens verify`, `backup`, `compact`, `export` and `import`: the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from crosslens import app_folders
from crosslens.cli import common
from crosslens.cli.output.maintenance import UpkeepOutput
from crosslens.library.library import Library

LibraryOption = Annotated[
    Optional[Path],  # noqa: UP045 (typer reads annotations at run time)
    typer.Option("-L", "--library", envvar="CROSSLENS_LIBRARY", help="Folder of the library."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("verify")(verify_)
    app.command("backup")(backup_)
    app.command("compact")(compact_)
    app.command("export")(export_)
    app.command("import")(import_)


def verify_(
    library: LibraryOption = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Hash all files that are there, and encode a sample again.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Check every row, vector and derived file of the library. Exits with 1 when anything is wrong."""
    from crosslens.maintenance.backup_and_compact import verify_deep
    from crosslens.maintenance.integrity_check import verify

    output = UpkeepOutput(json=json)
    folder = _folder(library)
    if not deep:
        found = verify(folder)
    else:
        with (
            Library.open(folder) as opened,
            common.watched(output, "verifying", "nothing was changed") as progress,
        ):
            found = verify_deep(opened, on_progress=progress.update)
    output.verification(found)
    raise typer.Exit(0 if found.clean else 1)


def backup_(
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="A new folder.")],
    library: LibraryOption = None,
    json: JsonOption = False,
) -> None:
    """Copy the library into a new folder, checked, while it may be indexed into. Restores one likewise."""
    from crosslens.maintenance.backup_and_compact import backup

    UpkeepOutput(json=json).backup(backup(_folder(library), target.absolute()))


def compact_(
    library: LibraryOption = None,
    other_models: Annotated[
        bool, typer.Option("--other-models", help="Also vectors of models that it was migrated from.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Throw out what no item of the library needs, and give the space back."""
    from crosslens.maintenance.backup_and_compact import compact

    UpkeepOutput(json=json).compaction(compact(_folder(library), other_models=other_models))


def export_(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="A new .parquet file, or folder as clip-retrieval has it.")
    ],
    library: LibraryOption = None,
    json: JsonOption = False,
) -> None:
    """Write the library's items with their vectors to a file or folder. Needs the parquet extra."""
    from crosslens.maintenance.import_export import export_vectors

    with Library.open(_folder(library)) as opened:
        UpkeepOutput(json=json).exported(export_vectors(opened, out.absolute()))


def import_(
    source: Annotated[
        Path,
        typer.Argument(metavar="SRC", help="Parquet file, clip-retrieval's folder, or rclip's database."),
    ],
    library: LibraryOption = None,
    model: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="The model of the vectors, where SRC does not say; must be the library's."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Take items with their vectors from elsewhere; only a few pictures are encoded, to compare."""
    from crosslens.maintenance.import_export import import_vectors

    output = UpkeepOutput(json=json)
    kept = "what was committed is kept, and the same command goes on from there"
    with (
        Library.open(_folder(library), model) as opened,
        common.watched(output, "importing", kept) as progress,
    ):
        done = import_vectors(
            opened, source.absolute(), stated=model is not None, on_progress=progress.update
        )
        output.imported(done, opened.stats())


def _folder(library: Path | None) -> Path:
    return (library or app_folders.default_library()).expanduser().absolute()
