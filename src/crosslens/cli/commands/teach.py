"""`crosslens teach` and `concepts`: what a library learns from a few examples."""

from __future__ import annotations

import json as json_
import os
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from crosslens.cli.output.hits import hit_fields, printable
from crosslens.library.concept_filters import KINDS
from crosslens.library.library import Library
from crosslens.search.linear_head import LEAST_STATED, Rate
from crosslens.teach import concepts
from crosslens.teach.concepts import Concept, Suggestion, TagPlan

LibraryOption = Annotated[
    Optional[Path],  # noqa: UP045 (typer reads annotations at run time)
    typer.Option("-L", "--library", envvar="CROSSLENS_LIBRARY", help="Folder of the library."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def _marks(*names: str, text: str) -> Any:
    return typer.Option(*names, metavar="PATH|ID|FILTER", help=text)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("teach")(teach_)
    app.command("concepts")(concepts_)


def teach_(  # noqa: PLR0913, PLR0917 (each is an option of the command)
    name: Annotated[str, typer.Argument(metavar="NAME", help="What is to be learned: dog.")],
    yes: Annotated[
        Optional[list[str]],  # noqa: UP045
        _marks("--yes", text="Shows it: a picture, a folder, an id, or a filter (tag:rex); may be repeated."),
    ] = None,
    no: Annotated[
        Optional[list[str]],  # noqa: UP045
        _marks("--no", text="Does not show it; may be repeated."),
    ] = None,
    unmark: Annotated[
        Optional[list[str]],  # noqa: UP045
        _marks("--unmark", text="Take a mark back; may be repeated."),
    ] = None,
    threshold: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Score from which on it holds; higher is stricter. At first 0.5."),
    ] = None,
    suggest: Annotated[int, typer.Option(min=0, help="How many items to suggest for marking next.")] = 5,
    save: Annotated[bool, typer.Option("--save", help="Tag what it holds for.")] = False,
    tag: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="With --save, or to see what that would do: another tag than NAME."),
    ] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Delete it and its marks; tags stay.")] = False,
    library: LibraryOption = None,
    json: JsonOption = False,
) -> None:
    """Teach a concept by examples, so that concept:NAME finds it. Only stored vectors are looked at."""
    marks = {"yes": _named(yes), "no": _named(no), "unmark": _named(unmark)}
    if forget and (any(marks.values()) or save or threshold is not None or tag is not None):
        raise typer.BadParameter("--forget stands alone")
    with Library.open(library) as opened:
        if forget:
            concepts.forget(opened, name)
            typer.echo(json_.dumps({"forgotten": name}) if json else printable(f"forgot {name}"))
            return
        known = {one.name.casefold(): one for one in concepts.taught(opened)}.get(name.casefold())
        if known is None or not known.current or threshold is not None or any(marks.values()):
            known = concepts.teach(opened, name, **marks, threshold=threshold)
        plan = (concepts.give_tag if save else concepts.plan_tag)(opened, known.name, tag)
        known = next(one for one in concepts.taught(opened) if one.name == known.name)
        next_ = concepts.suggest(opened, known.name, suggest) if suggest else []
    if json:
        typer.echo(json_.dumps({
            **_fields(known), "tag": {**asdict(plan), "saved": save},
            "suggestions": [{**hit_fields(one.hit), "score": one.score} for one in next_],
        }))  # fmt: skip
        return
    _say(known, plan, next_, saved=save)


def concepts_(library: LibraryOption = None, json: JsonOption = False) -> None:
    """List the concepts that were taught, with their errors and the tags that they gave."""
    with Library.open(library) as opened:
        known = concepts.taught(opened)
    if json:
        typer.echo(json_.dumps({"concepts": [_fields(one) for one in known]}))
        return
    if not known:
        typer.echo("no concept was taught yet; see: crosslens teach --help")
    for one in known:
        tags = "".join(f", tagged {count:,} as {tag}" for tag, count in one.tags.items())
        stale = "" if one.current else f"; of another model: crosslens teach {shlex.quote(one.name)}"
        said = f"{one.yes:,} yes, {one.no:,} no, {_rate('misses', one.missed)}, "
        typer.echo(printable(f"{one.name}: {said}{_rate('false alarms', one.false_alarms)}{tags}{stale}"))


def _named(targets: Sequence[str] | None) -> list[str | int]:
    return [int(t) if t.isdecimal() and not os.path.lexists(t) else t for t in targets or ()]


def _fields(concept: Concept) -> dict[str, Any]:
    def rate(found: Rate | None) -> dict[str, Any] | None:
        return None if found is None else {
            "wrong": found.wrong, "of": found.of, "rate": found.value, "low": found.low, "high": found.high
        }  # fmt: skip

    errors = {"missed": rate(concept.missed), "false_alarms": rate(concept.false_alarms)}
    return {**{name: getattr(concept, name) for name in concept.__slots__}, **errors}


def _say(concept: Concept, plan: TagPlan, suggestions: Sequence[Suggestion], *, saved: bool) -> None:
    """What was learned, for people."""
    presumed = f"; {concept.presumed:,} taken at random are presumed no" if concept.presumed else ""
    lines = [f"{concept.name}: {concept.yes:,} marked yes, {concept.no:,} no{presumed}"]
    lines += [f"  {_rate('misses', concept.missed)}; {_rate('false alarms', concept.false_alarms)}"]
    kind = KINDS[concept.kind]
    lines += [f"holds for {plan.fits:,} of {plan.items:,} {kind}: crosslens search {_concept(concept.name)}"]
    gone = f", {plan.gone:,} lost it" if plan.gone else ""
    if saved:
        lines += [f"tagged {plan.new:,} as {plan.tag}{gone}"]
    elif plan.new or plan.gone:
        lose = f" and take it from {plan.gone:,}" if plan.gone else ""
        other = "" if plan.tag == concept.name else f" --tag {shlex.quote(plan.tag)}"
        command = f"crosslens teach {shlex.quote(concept.name)}{other} --save"
        lines += [f"would tag {plan.new:,} as {plan.tag}{lose}: {command}"]
    if suggestions:
        lines += ["least certain, to mark next with --yes or --no:"]
        lines += [f"  {one.score:.2f}\t{one.hit.id}\t{one.hit.path}" for one in suggestions]
    for line in lines:
        # A tab of ours is no control character of somebody's.
        typer.echo("\t".join(printable(part) for part in line.split("\t")))


def _rate(what: str, rate: Rate | None) -> str:
    """A rate with its interval, or that it is not known."""
    if rate is None:
        return f"{what} not known (fewer than {LEAST_STATED} marked)"
    said = f"{rate.wrong} of {rate.of} ({rate.value:.0%}, 95 % interval {rate.low:.0%} to {rate.high:.0%})"
    return f"{what} {said}"


def _concept(name: str) -> str:
    quoted = f'concept:"{name}"' if any(c.isspace() for c in name) else f"concept:{name}"
    return shlex.quote(quoted)
