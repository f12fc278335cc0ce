"""The command line application: all commands and options. With the server, all that reads the environment."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from pathlib import Path
from types import FrameType
from typing import Annotated, Optional

import typer

import crosslens
from crosslens.cli import common
from crosslens.cli.commands import compare as comparing
from crosslens.cli.commands import (
    duplicates,
    evaluate,
    maintenance,
    migrate,
    models,
    search,
    serve,
    tag,
    teach,
    train,
    watch,
)
from crosslens.cli.commands import index as call
from crosslens.cli.commands import score as compare
from crosslens.cli.output.render import Output
from crosslens.errors import CrosslensError, QuerySyntaxError

app = typer.Typer(
    name="crosslens",
    help="Search pictures by words, by a picture, or by both. Everything stays on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

LibraryOption = Annotated[
    Optional[Path],  # noqa: UP045 (typer reads annotations at run time)
    typer.Option(
        "-L",
        "--library",
        envvar="CROSSLENS_LIBRARY",
        help="Folder of the library; the default is in your data folder.",
    ),
]
ModelOption = Annotated[str, typer.Option(help="Model: a name or a bundle folder.")]
PrecisionOption = Annotated[str, typer.Option(help="auto, f32, bf16, or int8 after models quantize.")]
DecodeOption = Annotated[str, typer.Option(help="JPEGs: auto, fast, or exact for every pixel.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, or another device.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
app.add_typer(models.app)
app.add_typer(evaluate.app)
app.add_typer(train.app)
app.command("compare")(comparing.compare_)
app.command()(duplicates.duplicates)
app.command("watch")(watch.watch_)
tag.register(app)
teach.register(app)
maintenance.register(app)
migrate.register(app)
serve.register(app)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"crosslens {crosslens.__version__}")
        raise typer.Exit


@app.command()
def index(  # noqa: PLR0913, PLR0917 (each is an option of the command)
    sources: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(metavar="DIR…", help="Folders or files; none: all that were indexed before."),
    ] = None,
    library: LibraryOption = None,
    model: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Model for a new library: a name or a bundle folder; the default is 'starter'."),
    ] = None,
    text_column: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--text-column", help="For a table (.csv, .tsv, .jsonl, .parquet): where its texts are."
        ),
    ] = None,
    precision: PrecisionOption = "auto",
    decode: DecodeOption = "auto",
    device: DeviceOption = "auto",
    strict: Annotated[bool, typer.Option(help="Exit with 1 when a picture could not be read.")] = False,
    json: JsonOption = False,
) -> None:
    """Add pictures to the library, or bring it up to date. Only new and changed ones are encoded."""
    what = common.Sources(sources or [], text_column)
    run = common.Run(model, precision, decode, device)
    raise typer.Exit(call.index(Output(json=json), library, what, run, strict=strict))


app.command()(search.search)


@app.command()
def score(
    image: Annotated[str, typer.Argument(help="A picture.")],
    texts: Annotated[list[str], typer.Argument(metavar="TEXT…", help="Texts to compare it with.")],
    model: ModelOption = "starter",
    json: JsonOption = False,
) -> None:
    """Compare a picture with texts: similarity, and softmax confidence over the texts."""
    raise typer.Exit(compare.score(Output(json=json), image, texts, model))


@app.command()
def classify(
    sources: Annotated[list[str], typer.Argument(metavar="DIR…", help="Pictures, or folders of them.")],
    label: Annotated[Optional[list[str]], typer.Option("--label", help="A label; give several.")] = None,  # noqa: UP045
    labels: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--labels", metavar="FILE", help="Labels, one a line."),
    ] = None,
    template: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--template", help='Prompt with "{}" for the label; several are averaged.'),
    ] = None,
    model: ModelOption = "starter",
    json: JsonOption = False,
) -> None:
    """Say which label fits each picture best, with softmax confidence."""
    choice = compare.Labels(label or [], labels, template or [])
    raise typer.Exit(compare.classify(Output(json=json), sources, choice, model))


@app.command()
def match(
    table: Annotated[str, typer.Argument(metavar="FILE", help="CSV, TSV, JSON Lines or Parquet.")],
    image_column: Annotated[str, typer.Option("--image-column", help="Column with paths of pictures.")],
    text_column: Annotated[str, typer.Option("--text-column", help="Column with texts.")],
    model: ModelOption = "starter",
    json: JsonOption = False,
) -> None:
    """Say for every row of a table how probably its picture and its text belong together."""
    raise typer.Exit(compare.match(Output(json=json), table, image_column, text_column, model))


@app.command()
def embed(  # noqa: PLR0913, PLR0917 (each is an option of the command)
    out: Annotated[str, typer.Option("--out", metavar="FILE", help=".npy, .safetensors or .parquet.")],
    sources: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(metavar="DIR…", help="Pictures, or folders of them."),
    ] = None,
    texts: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--texts", metavar="FILE", help="Embed texts: one a line, or a table; '-' reads standard input."
        ),
    ] = None,
    text_column: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--text-column", help="Of a table: where its texts are."),
    ] = None,
    model: ModelOption = "starter",
    precision: PrecisionOption = "auto",
    decode: DecodeOption = "auto",
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Write the vectors of pictures or texts to a file, with their ids."""
    if bool(sources) == (texts is not None):
        raise typer.BadParameter("give either pictures or --texts FILE")
    run = common.Run(model, precision, decode, device)
    what = common.Sources(sources or [], text_column)
    raise typer.Exit(compare.embed(Output(json=json), what, texts, out, run))


@app.command()
def remove(
    targets: Annotated[
        list[str], typer.Argument(metavar="PATH|ID…", help="Pictures, folders, or ids of items.")
    ],
    library: LibraryOption = None,
    json: JsonOption = False,
) -> None:
    """Forget pictures or folders. The files themselves are left alone."""
    raise typer.Exit(call.remove(Output(json=json), library, targets))


@app.command("list")
def list_(library: LibraryOption = None, json: JsonOption = False) -> None:
    """List everything in the library: id and path, one item a line."""
    raise typer.Exit(call.list_items(Output(json=json), library))


@app.command()
def stats(library: LibraryOption = None, json: JsonOption = False) -> None:
    """Say what is in the library."""
    raise typer.Exit(call.stats(Output(json=json), library))


@app.command()
def bench(
    sources: Annotated[list[str], typer.Argument(metavar="DIR…", help="Pictures to measure with.")],
    model: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Model: a name or a bundle folder; may be repeated."),
    ] = None,
    png: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="Draw the figures, too."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Measure this machine: pictures and texts a second, cold start, search."""
    raise typer.Exit(compare.bench(Output(json=json), sources, model or ["starter"], png))


@app.command()
def doctor(library: LibraryOption = None, json: JsonOption = False) -> None:
    """Say what this machine has, what crosslens will use, and whether it works."""
    raise typer.Exit(call.doctor(Output(json=json), library))


def run() -> None:
    """Entry point: run the command line as a process of its own."""
    # OpenVINO's package loads its converter, which nothing here calls, and with it a telemetry client:
    # half of its import time. OpenVINO allows for its absence, and this process is ours.
    sys.modules["openvino.tools.ovc"] = None  # type: ignore[assignment]
    status = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BrokenPipeError):
            stream.flush()
    # Everything is closed and flushed; taking the runtime apart as well would cost a fifth of a search.
    os._exit(status)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line on these arguments (None: the process's own) and return its exit status."""
    _prepare_streams()
    warnings.showwarning = _show_warning
    warnings.filterwarnings("ignore", module="PIL")  # of sizes and of damage: our own errors say it
    common.Terminated.arrived = False
    signal.signal(signal.SIGTERM, _on_terminate)
    try:
        app(arguments)
    except SystemExit as exit_:
        # Where nothing watches for it, typer makes 130 of both Ctrl-C and SIGTERM.
        return 143 if common.Terminated.arrived else exit_.code if isinstance(exit_.code, int) else 1
    except CrosslensError as error:
        Output().error(str(error))
        if isinstance(error, QuerySyntaxError):
            Output().pointer(error.pointer)
        return 1
    except OSError as error:
        # A reader that goes away is click's business; a full disk behind the output is ours.
        Output().error(f"{error.filename or 'the output'} cannot be written ({error.strerror})")
        return 1
    except KeyboardInterrupt as interrupt:
        return 143 if isinstance(interrupt, common.Terminated) else 130
    return 0


def _prepare_streams() -> None:
    """File names may hold bytes that are no text; they are printed as they are."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]


def _show_warning(message: Warning | str, *_rest: object, **_named: object) -> None:
    Output().warn(str(message))


def _on_terminate(_signal: int, _frame: FrameType | None) -> None:
    common.Terminated.arrived = True
    raise common.Terminated
