"""Options, checks, progress and closing lines shared by the commands of `crosslens train`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Annotated, Any, Optional

import typer

from crosslens.cli import common
from crosslens.cli.output.render import Output
from crosslens.errors import MissingExtraError, QueryError
from crosslens.types import Progress

ValOption = Annotated[
    Optional[str],  # noqa: UP045 (typer reads annotations at run time)
    typer.Option("--val", metavar="DATA", help="Held-out set; else a tenth of the pictures is held out."),
]
ClassesOption = Annotated[
    bool, typer.Option("--classes", help="DATA is a folder for each class, or a table with classes.")
]
TextColumnOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--text-column", help="Column with texts, or with classes; else one of a usual name."),
]
ValSplitOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--val-split", metavar="NAME", help="Held out: rows with this in the column 'split'."),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Of everything random.")]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1.")]
MinutesOption = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option("--minutes", help="Take no step after so long, and export the best so far."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def require_packages(extra: str, *packages: str) -> None:
    """Raise MissingExtraError for the first that is not installed."""
    for package in packages:
        if find_spec(package) is None:
            raise MissingExtraError(package, extra)


def seconds(minutes: float | None) -> float | None:
    """What --minutes says. Raises QueryError for none at all."""
    if minutes is None:
        return None
    if minutes <= 0:
        raise QueryError(f"--minutes is {minutes:g}", "Wanted more than 0")
    return 60 * minutes


def show_steps(reports: Iterable[Any], recipe: Any, output: Output) -> None:
    """Take a run's steps, with a bar, and a line for each validation."""
    total = recipe.pairs_until(recipe.steps)
    with common.watched(
        output, "training", "the last checkpoint, from which the same command goes on"
    ) as bar:
        for report in reports:
            seen = recipe.pairs_until(report.step)
            bar.update(Progress(seen, total, 0, seen))
            if report.validation is not None:
                figures = " / ".join(f"{value:.1%}" for value in report.validation.by_name.values())
                output.notice(f"step {report.step}: loss {report.loss:.3f}, held-out recall@1/5/10 {figures}")


def echo_figures(before: Mapping[str, float], after: Mapping[str, float], gap: float) -> None:
    """The last lines: recall of the held-out pictures, and what the export was checked to."""
    figures = ", ".join(f"{name} {before[name]:.1%} → {value:.1%}" for name, value in after.items())
    typer.echo(f"held-out pictures: {figures}")
    typer.echo(f"the bundle computes what the trainer computed: 1 − cosine at most {gap:.1e}")
