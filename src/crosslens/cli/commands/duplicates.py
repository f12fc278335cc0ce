"""`crosslens duplicates`: pictures that are the same or nearly so. Nothing is deleted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from crosslens.cli.common import watched
from crosslens.cli.output.hits import hit_fields, printable
from crosslens.cli.output.render import Output
from crosslens.library.library import Library
from crosslens.maintenance.duplicate_finder import Cluster, find_duplicates
from crosslens.maintenance.duplicate_report import check_plan, plan_lines, plan_summary, write_plan
from crosslens.types import Progress

_NOTHING_KEPT = "nothing was found out"


def duplicates(
    similar: Annotated[
        Optional[float],  # noqa: UP045 (typer reads annotations at run time)
        typer.Option(metavar="COSINE", help="Pictures from this cosine on, too, that are not the same."),
    ] = None,
    burst: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(metavar="SECONDS", help="Pictures of one scene, too, taken within so many seconds."),
    ] = None,
    plan: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="Write the plan into a new file: text, or JSON for .json."),
    ] = None,
    library: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-L", "--library", envvar="CROSSLENS_LIBRARY", help="Folder of the library."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Find pictures that are the same or nearly so, and say which to keep. Nothing is deleted."""
    if plan is not None:
        check_plan(plan)
    with (
        Library.open(library) as opened,
        watched(Output(json=as_json), "comparing", _NOTHING_KEPT) as progress,
    ):
        clusters = find_duplicates(
            opened, similar, lambda done, total: progress.update(Progress(done, total, 0, done)), burst=burst
        )
    if plan is not None:
        write_plan(plan, clusters)
    if as_json:
        typer.echo(json.dumps({"clusters": [_fields(cluster) for cluster in clusters]}))
        return
    for line in plan_lines(clusters) if plan is None else [plan_summary(clusters), f"the plan is in {plan}"]:
        typer.echo(printable(line))


def _fields(cluster: Cluster) -> dict[str, Any]:
    """A cluster for programs; its items have no score."""
    items = [
        {name: value for name, value in hit_fields(item).items() if name != "score"} for item in cluster.items
    ]
    facts = {"keep": cluster.keep.id, "freed": cluster.freed, "reason": cluster.reason}
    return {"kind": cluster.kind, "items": items, **facts}
