"""`crosslens evaluate …`: how good a model is on a set of one's own."""

from __future__ import annotations

import json as json_
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from crosslens.cli import common
from crosslens.cli.output import evaluation
from crosslens.cli.output.render import Output
from crosslens.errors import QueryError
from crosslens.library.library_model import matcher_of
from crosslens.types import Failure

app = typer.Typer(
    name="evaluate",
    help="Measure a model on a set: retrieval, classes, or pairs that match or do not.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

DataArgument = Annotated[
    str,
    typer.Argument(metavar="DATA", help="A folder, or a table (.csv, .tsv, .jsonl, .parquet), or .json."),
]
ModelOption = Annotated[str, typer.Option(help="Model: a name or a bundle folder.")]
PrecisionOption = Annotated[str, typer.Option(help="auto, f32, bf16, or int8 after models quantize.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, or another device.")]
SplitOption = Annotated[
    Optional[str],  # noqa: UP045 (typer reads annotations at run time)
    typer.Option(metavar="NAME", help="Only rows with this in the column 'split'."),
]
WhereOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--where", metavar="COLUMN=VALUE", help="Only rows with this value; may be repeated."),
]
ImageColumnOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--image-column", help="Column with paths of pictures, or pictures; else one of a usual name."
    ),
]
TextColumnOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--text-column", help="Column with texts, one or several; else one of a usual name."),
]
ImagesOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--images", metavar="DIR", help="Folder that paths are relative to."),
]
OutOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--out", metavar="FILE.parquet", help="Write what became of every query."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

_KEPT = "nothing was written"


@app.command()
def retrieval(  # noqa: PLR0913, PLR0917 (each is an option of the command)
    data: DataArgument,
    model: ModelOption = "starter",
    split: SplitOption = None,
    where: WhereOption = None,
    image_column: ImageColumnOption = None,
    text_column: TextColumnOption = None,
    images: ImagesOption = None,
    out: OutOption = None,
    precision: PrecisionOption = "auto",
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Find pictures by captions and captions by pictures: recall@k, median rank, MRR, MAP, nDCG."""
    from crosslens.evaluation import evaluate_retrieval, load_pairs
    from crosslens.evaluation.summary import retrieval_summary

    _check_out(out)
    output = Output(json=json)
    pairs = load_pairs(
        data,
        image_column=image_column,
        text_column=text_column,
        split=split,
        where=conditions(where),
        images=images,
    )
    matcher = matcher_of(model, common.Run(model, precision, "auto", device).how)
    with common.watched(output, "evaluating", _KEPT) as progress:
        report = evaluate_retrieval(matcher, pairs, on_progress=progress.update)
    _write(report, out)
    summary = {"model": matcher.reference, **retrieval_summary(report)}
    _print(summary, evaluation.retrieval_lines(summary, matcher.reference), json=json)
    _end(output, report.failures, json=json)


@app.command()
def classes(  # noqa: PLR0913, PLR0917
    data: DataArgument,
    model: ModelOption = "starter",
    split: SplitOption = None,
    where: WhereOption = None,
    image_column: ImageColumnOption = None,
    class_column: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--class-column", help="Of a table: the column with the class; else one of a usual name."
        ),
    ] = None,
    images: ImagesOption = None,
    names: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--names", metavar="FILE", help="What classes are called: folder, tab, name, one a line."
        ),
    ] = None,
    template: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--template", help='Prompt with "{}" for the class; several are averaged.'),
    ] = None,
    templates: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--templates", metavar="FILE", help="Prompts, one a line."),
    ] = None,
    out: OutOption = None,
    precision: PrecisionOption = "auto",
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Name pictures that lie in a folder for each class: top-1, top-5, per class, confusion, calibration."""
    from crosslens.evaluation import evaluate_classification, load_classes
    from crosslens.evaluation.summary import classification_summary
    from crosslens.matching.zero_shot import TEMPLATES

    _check_out(out)
    output = Output(json=json)
    called = dict(_named(line, names) for line in common.read_lines(names) if line.strip()) if names else None
    prompts = [*(template or []), *(_lines(templates) if templates else [])]
    found = load_classes(
        data,
        image_column=image_column,
        class_column=class_column,
        split=split,
        where=conditions(where),
        images=images,
        names=called,
    )
    matcher = matcher_of(model, common.Run(model, precision, "auto", device).how)
    with common.watched(output, "evaluating", _KEPT) as progress:
        report = evaluate_classification(
            matcher, found, templates=prompts or TEMPLATES, on_progress=progress.update
        )
    _write(report, out)
    summary = {"model": matcher.reference, "data": found.name, **classification_summary(report)}
    _print(summary, evaluation.classification_lines(summary, found.name, matcher.reference), json=json)
    _end(output, report.failures, json=json)


@app.command()
def pairs(  # noqa: PLR0913, PLR0917
    data: DataArgument,
    model: ModelOption = "starter",
    split: SplitOption = None,
    where: WhereOption = None,
    image_column: ImageColumnOption = None,
    text_column: TextColumnOption = None,
    label_column: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--label-column", help="Column with 1 for a match and 0 for none; else one of a usual name."
        ),
    ] = None,
    images: ImagesOption = None,
    threshold: Annotated[float, typer.Option(help="A pair at least that probable counts as a match.")] = 0.5,
    calibrate: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="platt|isotonic", help="Fit match probabilities to these pairs, and store the fit."
        ),
    ] = None,
    calibration: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--calibration",
            metavar="FILE",
            help="With --calibrate: store it there; without: use what is there.",
        ),
    ] = None,
    out: OutOption = None,
    precision: PrecisionOption = "auto",
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Tell pairs that match from others: ROC-AUC, PR-AUC, accuracy; and fit match probabilities."""
    from crosslens.evaluation import (
        calibrate_pairs,
        evaluate_pairs,
        load_calibration,
        load_pairs,
        save_calibration,
    )
    from crosslens.evaluation.caption_sets import label_column_of
    from crosslens.evaluation.summary import pair_summary

    _check_out(out)
    if calibrate not in (None, "platt", "isotonic"):
        raise QueryError(f"--calibrate is {calibrate!r}", "Wanted platt or isotonic")
    output = Output(json=json)
    found = load_pairs(
        data,
        image_column=image_column,
        text_column=text_column,
        label_column=label_column or label_column_of(data),
        split=split,
        where=conditions(where),
        images=images,
    )
    matcher = matcher_of(model, common.Run(model, precision, "auto", device).how)
    if calibration is not None and calibrate is None:
        load_calibration(calibration, matcher)
    with common.watched(output, "evaluating", _KEPT) as progress:
        report = evaluate_pairs(matcher, found, threshold=threshold, on_progress=progress.update)
    _write(report, out)
    fit = None if calibrate is None else calibrate_pairs(report, calibrate)  # type: ignore[arg-type]
    summary = {"model": matcher.reference, **pair_summary(report, fit)}
    if fit is not None:
        try:
            summary["calibration"]["file"] = save_calibration(matcher, fit, calibration)
        except OSError as error:
            raise QueryError(
                f"{error.filename} cannot be written ({error.strerror})", "Name a FILE"
            ) from error
    _print(summary, evaluation.pair_lines(summary, matcher.reference), json=json)
    _end(output, report.failures, json=json)


def conditions(where: Sequence[str] | None) -> Mapping[str, str]:
    """Column → wanted value. Raises QueryError."""
    found = dict(text.partition("=")[::2] for text in where or ())
    for text in where or ():
        if "=" not in text:
            raise QueryError(f"--where is {text!r}", "Wanted COLUMN=VALUE, such as source=flickr8k")
    return found


def _named(line: str, file: str) -> tuple[str, str]:
    folder, tab, name = line.partition("\t")
    if not tab:
        raise QueryError(
            f"{file}: {line!r} has no tab", "Write the folder's name, a tab, and the class's name"
        )
    return folder.strip(), name.strip()


def _lines(file: str) -> list[str]:
    return [line.strip() for line in common.read_lines(file) if line.strip()]


def _check_out(out: Path | None) -> None:
    if out is not None:
        from crosslens.evaluation.per_query import check_parquet

        check_parquet(out)


def _write(report: Any, out: Path | None) -> None:
    if out is None:
        return
    from crosslens.evaluation.per_query import write_queries

    try:
        write_queries(report, out)
    except OSError as error:
        raise QueryError(f"{out} cannot be written ({error.strerror})", "Name another file") from error


def _print(summary: Mapping[str, Any], lines: Iterable[str], *, json: bool) -> None:
    if json:
        typer.echo(json_.dumps(summary))
        return
    for line in lines:
        typer.echo(line)


def _end(output: Output, failures: Sequence[Failure], *, json: bool) -> None:
    """Name what was left out; the figures are without it, so the command exits with 1."""
    if not json:
        output.failed(failures)
    if failures:
        raise typer.Exit(1)
