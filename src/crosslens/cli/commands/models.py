"""`crosslens models …`: the commands."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from crosslens.acquire.installed_models import Origin, pull, pulled, remove
from crosslens.cli.output.models import Listed, ModelsOutput, healthy, size_of
from crosslens.errors import TextTruncatedWarning, UnknownModelError
from crosslens.models.bundle import Bundle
from crosslens.models.catalogue import CATALOGUE, entry_of, find_bundle, local_name
from crosslens.models.certificate import find_certificate

if TYPE_CHECKING:
    from crosslens.cli.commands.check_sample import Material

app = typer.Typer(
    name="models",
    help="Models: which there are, and how to get, check, convert, quantise and remove them.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of a model, or its bundle folder.")]
ImagesOption = Annotated[
    Optional[Path],  # noqa: UP045 (typer reads annotations at run time)
    typer.Option("--images", metavar="DIR", help="Pictures to check with; else those of the library."),
]
LibraryOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("-L", "--library", envvar="CROSSLENS_LIBRARY", help="Library whose pictures are taken."),
]
LimitOption = Annotated[int, typer.Option("--limit", min=11, help="How many pictures at most.")]
CheckOption = Annotated[
    bool, typer.Option("--check/--no-check", help="Check it, where pictures are at hand.")
]
TowerOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--image-tower", metavar="NAME", help="For a text tower alone: the model it fits."),
]

# How many pictures a new model is checked with unasked: for a large one, that takes minutes.
_UNASKED = 50


@app.callback(invoke_without_command=True)
def _root(context: typer.Context, json: JsonOption = False) -> None:
    if context.invoked_subcommand is None:
        list_(json=json)


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List all models that are known by name, and those that were pulled."""
    here = {model.name: model for model in pulled()}
    names = [*CATALOGUE, *(name for name in here if name not in CATALOGUE)]
    ModelsOutput(json=json).models([_listed(name) for name in names])


@app.command()
def show(name: NameArgument, json: JsonOption = False) -> None:
    """Show everything that is known of a model."""
    entry = entry_of(name)
    listed = _listed(local_name(name) or (entry.name if entry else name))
    certificate = find_certificate(listed.bundle) if listed.bundle else None
    ModelsOutput(json=json).model(listed, certificate)


@app.command("pull")
def pull_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name, or OWNER/NAME on the hub.")],
    folder: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--from", metavar="DIR", help="Take the files from this folder: no network."),
    ] = None,
    revision: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Commit, branch or tag, in place of the one that is pinned."),
    ] = None,
    image_tower: TowerOption = None,
    check: CheckOption = True,
    json: JsonOption = False,
) -> None:
    """Get a model: download its files, and convert them. An interrupted download goes on where it stopped."""
    output = ModelsOutput(json=json)
    origin = Origin(folder, revision, image_tower)
    already = local_name(name) is not None
    with output.fetching() as progress:
        bundle = pull(name, progress.update, origin)
    output.here(bundle, size_of(bundle.folder), already=already)
    if not already:
        _check_unasked(output, bundle, None, check=check)


@app.command("check")
def check_(
    name: NameArgument,
    images: ImagesOption = None,
    captions: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--captions", metavar="FILE", help="Table of pictures with texts: recall is compared too."
        ),
    ] = None,
    image_column: Annotated[str, typer.Option(help="Column with the pictures.")] = "image",
    text_column: Annotated[str, typer.Option(help="Column with the texts.")] = "caption",
    limit: LimitOption = 200,
    library: LibraryOption = None,
    json: JsonOption = False,
) -> None:
    """Prove on this machine that the fast ways of computing give the vectors of the reference.

    Exits with 1 if one falls below its bar.
    """
    from crosslens.cli.commands.check_sample import Material

    output = ModelsOutput(json=json)
    bundle = find_bundle(name)
    table = None if captions is None else str(captions)
    material = Material(images, library, table, image_column, text_column, limit)
    raise typer.Exit(_certify(output, bundle, material))


@app.command("convert")
def convert_(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A folder, or OpenAI's .pt file.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New folder for the bundle.")],
    name: Annotated[Optional[str], typer.Option(help="What to call it.")] = None,  # noqa: UP045
    image_tower: TowerOption = None,
    images: ImagesOption = None,
    check: CheckOption = True,
    json: JsonOption = False,
) -> None:
    """Make a bundle of a model in another format.

    Formats: transformers, OpenCLIP, OpenAI, Immich, sentence-transformers, M-CLIP.
    """
    from crosslens.acquire.convert.convert import convert

    output = ModelsOutput(json=json)
    with output.fetching() as progress:
        bundle = convert(
            source,
            out,
            name=name,
            image_tower=image_tower,
            on_progress=lambda done, total: progress.update("bundle", done, total),
        )
    output.here(bundle, size_of(bundle.folder))
    _check_unasked(output, bundle, images, check=check)


@app.command()
def quantize(
    name: NameArgument,
    images: Annotated[Path, typer.Option("--images", metavar="DIR", help="Pictures like those to come.")],
    force: Annotated[bool, typer.Option("--force", help="Keep it though it falls below its bar.")] = False,
    limit: LimitOption = 300,
    json: JsonOption = False,
) -> None:
    """Make an int8 image tower, calibrated on your pictures, and check it. Needs the int8 extra."""
    from crosslens.acquire.quantize import quantise
    from crosslens.cli.commands.check_sample import Material, sample

    output = ModelsOutput(json=json)
    bundle = find_bundle(name)
    chosen = sample(output, bundle, Material(images, None, limit=limit))
    certificate = quantise(bundle, chosen, force=force, on_step=output.step)
    output.certificate(certificate)
    raise typer.Exit(0 if certificate.passed("int8") or force else 1)


@app.command("remove")
def remove_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a model that was pulled.")],
    downloads: Annotated[
        bool, typer.Option("--downloads", help="Its files in the hub's cache, too.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Remove a model that was pulled."""
    ModelsOutput(json=json).freed(remove(name, also_downloads=downloads))


def _listed(name: str) -> Listed:
    """A model with what is known of it. Raises UnknownModelError, BundleError."""
    entry = entry_of(name)
    model = next((model for model in pulled() if model.name == name), None)
    try:
        bundle = find_bundle(name)
    except UnknownModelError:
        if entry is None:
            raise
        return Listed(name, entry, None, None)
    size = size_of(bundle.folder) if model is None else model.size
    return Listed(name, entry, bundle, size, model)


def _check_unasked(output: ModelsOutput, bundle: Bundle, images: Path | None, *, check: bool) -> None:
    """End with the certificate where there are pictures, or say how to get it."""
    from crosslens.cli.commands.check_sample import Material, any_pictures

    reference = bundle.spec.name if local_name(bundle.spec.name) else str(bundle.folder)
    material = Material(images, None, limit=_UNASKED)
    if not check or not any_pictures(material):
        output.unchecked(reference)
        return
    raise typer.Exit(_certify(output, bundle, material))


def _certify(output: ModelsOutput, bundle: Bundle, material: Material) -> int:
    """Check a model and show what was found; the exit status."""
    from crosslens.acquire.certify import check_model
    from crosslens.cli.commands.check_sample import sample

    with warnings.catch_warnings():
        # Texts that are too long are as much too long for the reference.
        warnings.simplefilter("ignore", TextTruncatedWarning)
        certificate = check_model(bundle, sample(output, bundle, material), output.step)
    output.certificate(certificate)
    return 0 if healthy(certificate) else 1
