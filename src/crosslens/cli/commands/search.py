"""`crosslens search`: the command."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Optional, cast, get_args

import typer

from crosslens.cli.common import read_lines, say_once
from crosslens.cli.output.render import Output
from crosslens.errors import QueryError
from crosslens.library.grouping import By, Grouping, find_groups
from crosslens.library.library import Library
from crosslens.library.query_search import Asked, Page, Sort, find, read
from crosslens.library.result_relevance import showable
from crosslens.matching.matcher import Compute
from crosslens.search.filter_conditions import Relevant
from crosslens.search.query_language import Filter, Query
from crosslens.types import Modality

# One query is quicker on the CPU than the import of torch.
_SEARCH = Compute(device="cpu")
LibrariesOption = Annotated[
    Optional[list[Path]],  # noqa: UP045 (typer reads annotations at run time)
    typer.Option(
        "-L",
        "--library",
        help="Folder of the library; several are searched together. Else $CROSSLENS_LIBRARY, or the default.",
    ),
]


def search(  # noqa: PLR0913, PLR0917 (each is an option of the command)
    text: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(metavar="[TEXT]", help="What to look for, in words; operators are in docs/query.md."),
    ] = None,
    image: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--image", metavar="FILE", help="Look for pictures like this one."),
    ] = None,
    without: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--without", metavar="TEXT", help="What should not be in them; may be repeated."),
    ] = None,
    queries: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--queries", metavar="FILE", help="Many searches: one text a line; '-' reads standard input."
        ),
    ] = None,
    texts: Annotated[bool, typer.Option("--texts", help="Find texts instead of pictures.")] = False,
    k: Annotated[int, typer.Option("-k", min=1, help="How many results, or groups of them.")] = 10,
    offset: Annotated[int, typer.Option(min=0, help="How many of the best to pass over.")] = 0,
    sort: Annotated[
        str, typer.Option(help="Order of the results: score, date (latest first) or path.")
    ] = "score",
    group: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="In groups, by day, month, year, folder, camera or content (copies)."),
    ] = None,
    each: Annotated[int, typer.Option(min=1, help="How many results of a group to show.")] = 3,
    relevant: Annotated[
        bool, typer.Option("--relevant", help="Only what is probably meant, which may be nothing.")
    ] = False,
    library: LibrariesOption = None,
    model: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="While the library is migrated to this model: search with it; else with the old."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a search, each on its line.")
    ] = False,
    thumbnails: Annotated[bool, typer.Option(help="Show small pictures, in a terminal.")] = True,
) -> None:
    """Find pictures by words, by a picture, or by both."""
    output = Output(json=json, thumbnails=thumbnails)
    _refuse(queries, text, image, without, relevant=relevant, offset=offset, sort=sort, group=group)
    with ExitStack() as opened:
        if queries is not None:
            lines = _lines(queries)
            libraries = _open(opened, output, library, model)
            if len(libraries) > 1:
                raise typer.BadParameter("--queries searches one library")
            for line, hits in zip(lines, libraries[0].search_many(lines, k, _kind(texts)), strict=True):
                output.hits({"text": line}, showable(hits, libraries[0].matcher.spec), many=True)
            return
        words = " ".join(text) if text else None
        if words is not None and os.path.isfile(words):
            raise QueryError(f"{words!r} is a file, not words", f"Search by it with: --image {words}")
        # A mistake in it is found before a model is loaded.
        query = Query() if words is None else read(words)
        if relevant and not query.relevant:
            query = replace(query, filters=(*query.filters, Filter(Relevant())))
        asked = Asked(query, image[0] if image else None, without or None, _kind(texts))
        libraries = _open(opened, output, library, model)
        said = {"text": words, "image": image[0] if image else None, "without": ", ".join(without or [])}
        shown = {name: value for name, value in said.items() if value}
        spec = libraries[0].matcher.spec
        if group is not None:
            how = Grouping(cast(By, group), each)
            found = find_groups(libraries, asked, how, k, cast(Sort, sort))
            groups = [replace(one, hits=tuple(showable(one.hits, spec))) for one in found]
            output.groups(shown, groups, relevant=query.relevant)
        else:
            hits = find(libraries, asked, Page(k, offset, cast(Sort, sort)))
            output.hits(shown, showable(hits, spec), relevant=query.relevant)


def _refuse(
    queries: str | None,
    *alone: Sequence[str] | None,
    relevant: bool,
    offset: int,
    sort: str,
    group: str | None,
) -> None:
    """Refuse options that do not go together."""
    if queries is not None and (any(alone) or relevant or offset or sort != "score" or group):
        raise typer.BadParameter(
            "--queries stands alone: "
            "give no TEXT, --image, --without, --relevant, --offset, --sort or --group"
        )
    if sort not in get_args(Sort):
        raise typer.BadParameter(f"--sort is one of {', '.join(get_args(Sort))}")
    if group is not None and group not in get_args(By):
        raise typer.BadParameter(f"--group is one of {', '.join(get_args(By))}")
    if group is not None and offset:
        raise typer.BadParameter("--group takes no --offset: ask for more groups with -k")
    if alone[1] and len(alone[1]) > 1:
        raise typer.BadParameter("--image can be given once")


def _lines(queries: str) -> list[str]:
    """One search for every line of a file: plain words, since captions hold any sign."""
    lines = [line for line in read_lines(queries) if line.strip()]
    if not lines:
        raise QueryError(f"{queries} holds no line of text", "Write one search to a line")
    return lines


def _open(
    opened: ExitStack, output: Output, folders: Sequence[Path] | None, asked: str | None
) -> list[Library]:
    """The libraries, once each; the model of the first, or that which was asked for, serves all."""
    named = os.environ.get("CROSSLENS_LIBRARY")
    wanted: Sequence[Path | None] = folders or [Path(named) if named else None]
    libraries: list[Library] = []
    for folder in wanted:
        model = libraries[0].matcher if libraries else asked
        library = opened.enter_context(Library.open(folder, model, _SEARCH))
        library.view()  # one that is not there, or empty, is found before a model is loaded
        if all(library.folder != other.folder for other in libraries):
            libraries.append(library)
    say_once(output, libraries[0].matcher)
    return libraries


def _kind(texts: bool) -> Modality | None:
    return "text" if texts else None
