"""`crosslens tag`, `untag`, `tags` and `facts`: tags and metadata of items."""

from __future__ import annotations

import json as json_
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Optional

import typer

from crosslens.cli import common
from crosslens.cli.output.hits import printable
from crosslens.cli.output.render import Output
from crosslens.library.library import Library
from crosslens.maintenance import tagging

LibraryOption = Annotated[
    Optional[Path],  # noqa: UP045 (typer reads annotations at run time)
    typer.Option("-L", "--library", envvar="CROSSLENS_LIBRARY", help="Folder of the library."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
TagArgument = Annotated[str, typer.Argument(metavar="TAG", help='A word or a few; "/" divides: people/anna.')]
TargetsArgument = Annotated[
    list[str], typer.Argument(metavar="PATH|ID…", help="Pictures, folders, or ids of items.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("tag")(tag_)
    app.command("untag")(untag_)
    app.command("tags")(tags_)
    app.command("facts")(facts_)


def tag_(
    tag: TagArgument, targets: TargetsArgument, library: LibraryOption = None, json: JsonOption = False
) -> None:
    """Tag pictures or folders, so that tag:TAG finds them. The files themselves are left alone."""
    with Library.open(library) as opened:
        _say("tagged", tagging.tag(opened, _named(targets), tag), json=json)


def untag_(
    tag: TagArgument, targets: TargetsArgument, library: LibraryOption = None, json: JsonOption = False
) -> None:
    """Take a tag from pictures or folders."""
    with Library.open(library) as opened:
        _say("untagged", tagging.untag(opened, _named(targets), tag), json=json)


def tags_(library: LibraryOption = None, json: JsonOption = False) -> None:
    """List all tags, with how many items have each."""
    with Library.open(library) as opened:
        counts = tagging.tags(opened)
    if json:
        typer.echo(json_.dumps({"tags": counts}))
        return
    for name, count in counts.items():
        typer.echo(f"{count:>7,}  {printable(name)}")


def facts_(library: LibraryOption = None, json: JsonOption = False) -> None:
    """Read again what files say: date, place, camera, caption, keywords. For libraries made before these."""
    kept = "what was read is kept; the same command reads all of them again"
    with (
        Library.open(library) as opened,
        common.watched(Output(json=json), "reading", kept) as progress,
    ):
        read, passed_over = tagging.read_facts(opened, progress.update)
    if json:
        typer.echo(json_.dumps({"read": read, "passed_over": passed_over}))
        return
    rest = f"; {passed_over:,} passed over: not there, not readable, or changed since" if passed_over else ""
    typer.echo(f"read what {read:,} {'picture says' if read == 1 else 'pictures say'}{rest}")


def _named(targets: Sequence[str]) -> list[str | int]:
    return [int(t) if t.isdecimal() and not os.path.lexists(t) else t for t in targets]


def _say(done: str, count: int, *, json: bool) -> None:
    typer.echo(json_.dumps({done: count}) if json else f"{count:,} {done}")
