"""`crosslens duplicates`: pictures that are the same or nearly so. Nothing is deleted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

import typer

from crosslens.cli.common import watched
from crosslens.cli.hitview import printable
from crosslens.cli.render import Output
from crosslens.duplicates import Cluster, find_duplicates
from crosslens.library import Library
from crosslens.types import Progress

_NOTHING_KEPT = "nothing was found out"


def duplicates(
    similar: Annotated[
        Optional[float],  # noqa: UP045 (typer reads annotations at run time)
        typer.Option(help="Pictures from this cosine on, too, that are not the same: 0.9 finds bursts."),
    ] = None,
    library: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-L", "--library", envvar="CROSSLENS_LIBRARY", help="Folder of the library."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Find pictures that are the same or nearly so, and say which to keep. Nothing is deleted."""
    with (
        Library.open(library) as opened,
        watched(Output(json=as_json), "comparing", _NOTHING_KEPT) as progress,
    ):
        clusters = find_duplicates(
            opened, similar, lambda done, total: progress.update(Progress(done, total, 0, done))
        )
    if as_json:
        rows = [{**asdict(cluster), "keep": cluster.keep.id, "freed": cluster.freed} for cluster in clusters]
        typer.echo(json.dumps({"clusters": rows}))
        return
    for line in _plan(clusters):
        typer.echo(printable(line))


def _plan(clusters: Sequence[Cluster]) -> list[str]:
    lines = []
    for cluster in clusters:
        lines.append(f"{cluster.kind}: {len(cluster.items)} pictures")
        lines.append(f"  keep   {cluster.keep.path}  ({cluster.reason})")
        lines += [f"  spare  {item.path}" for item in cluster.items[1:]]
    freed, spare = sum(c.freed for c in clusters), sum(len(c.items) - 1 for c in clusters)
    summary = f"{len(clusters):,} clusters; {spare:,} pictures could go, {freed / 1e6:,.1f} MB"
    lines.append(f"{summary}. Nothing was deleted")
    return lines
