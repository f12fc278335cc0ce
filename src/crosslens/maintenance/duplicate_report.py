"""Report of `crosslens duplicates`, as text and as JSON. Nothing is deleted."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from crosslens.errors import InputError
from crosslens.maintenance.duplicate_finder import Cluster


def plan_lines(clusters: Sequence[Cluster]) -> list[str]:
    """A plan for people: of each cluster which picture to keep, why, and which are to spare; a summary."""
    lines = []
    for cluster in clusters:
        lines.append(f"{cluster.kind}: {len(cluster.items)} pictures, {cluster.freed / 1e6:,.1f} MB to free")
        lines.append(f"  keep   {cluster.keep.path}  ({cluster.reason})")
        lines += [f"  spare  {item.path}" for item in cluster.items[1:]]
    return [*lines, plan_summary(clusters)]


def plan_summary(clusters: Sequence[Cluster]) -> str:
    """What following the plan would free."""
    freed, spare = sum(c.freed for c in clusters), sum(len(c.items) - 1 for c in clusters)
    return (
        f"{len(clusters):,} clusters; {spare:,} pictures could go, {freed / 1e6:,.1f} MB. Nothing was deleted"
    )


def plan_json(clusters: Sequence[Cluster]) -> str:
    """A plan for programs, in ASCII: a path may hold bytes that are no text."""
    rows = [
        {
            "kind": cluster.kind,
            "keep": cluster.keep.path,
            "spare": [item.path for item in cluster.items[1:]],
            "reason": cluster.reason,
            "freed": cluster.freed,
        }
        for cluster in clusters
    ]
    return json.dumps({"clusters": rows, "freed": sum(cluster.freed for cluster in clusters)}, indent=1)


def check_plan(path: str | os.PathLike[str]) -> None:
    """Raises InputError for a file that is there already, or whose folder is not."""
    path = Path(path)
    if os.path.lexists(path):
        raise InputError(f"{path} is there already, and is left as it is", "Name a new file for the plan")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent} is no folder", "Name a new file in a folder that is there")


def write_plan(path: str | os.PathLike[str], clusters: Sequence[Cluster]) -> None:
    """Write a plan into a new file: JSON where its name ends with .json, else text. Raises InputError."""
    check_plan(path)
    as_json = Path(path).suffix.lower() == ".json"
    text = plan_json(clusters) if as_json else "\n".join(plan_lines(clusters))
    try:
        with open(path, "x", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text + "\n")
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror})", "Name another file") from error
