"""Heads: a linear map over each tower's vectors, trained on pairs; the towers stay as they are.

The towers run once, and their vectors are kept (`train.cached_embeddings`); training is then a matter of
matrices, and the maps are folded into a copy of the model's bundle (`train.fold_projection`).

A run folder holds heads.json (settings, model and data), outputs/, checkpoint.pt, best.pt, log.csv,
curves.png, and the exported bundle.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from crosslens.errors import InputError
from crosslens.models.bundle import Bundle, load_bundle
from crosslens.models.catalogue import find_bundle
from crosslens.models.certificate import Decoding
from crosslens.train.cached_embeddings import KeptOutputs, exact_matcher
from crosslens.train.distributed import check_device
from crosslens.train.export import check_place, greatest_gap
from crosslens.train.export_certificate import MappedModel, certify_export
from crosslens.train.fold_projection import Maps, fold_maps
from crosslens.train.full import Finished
from crosslens.train.head_data import HeadData, head_data
from crosslens.train.head_trainer import HeadSettings, HeadTrainer
from crosslens.train.model_card import write_card
from crosslens.train.pair_dataset import Pairs
from crosslens.train.recipe import DataSpec, LossSpec, Recipe, Stage, check_name
from crosslens.train.run_log import Log
from crosslens.train.validation import Validation

__all__ = ["FinishedHeads", "HeadSettings", "train_heads"]

# Held-out pictures that an export is checked by.
_SAMPLE = 32
_TAKEN = ("outputs", "heads.json", "checkpoint.pt", "best.pt", "log.csv", "curves.png")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedHeads(Finished):
    """See `Finished`. step: 0 where no step was better, and the bundle is a copy of the model.

    before: recall of the model as it was. lost: facts of the model that are not in the bundle, since they
    were fitted to its old vectors.
    """

    before: Validation
    lost: tuple[str, ...] = ()


def train_heads(  # noqa: PLR0913 (what a run is made of)
    model: str | Path,
    train: Pairs,
    val: Pairs,
    folder: Path,
    settings: HeadSettings = HeadSettings(),  # noqa: B008 (frozen)
    *,
    device: str = "cpu",
    limit: float | None = None,
    on_step: Callable[[str], None] = lambda _step: None,
    negatives: Sequence[tuple[int, str]] = (),
    certify: bool = True,
) -> FinishedHeads:
    """Train a linear map on each side, and export the best as a bundle in the run folder.

    model: a name or a bundle folder, of any kind of towers. train: pictures without a text count by their
    negatives alone. val: what the best maps are chosen by; the model as it is is among the choices.
    negatives: (row of train, text) of pairs that do not match. limit: seconds from the call on after which no
    step is taken; the towers' vectors are computed in any case. folder: of the run; with the same model,
    pairs and settings it goes on; with others it begins anew, with those of the vectors that are there.
    certify: whether the bundle gets a certificate (`train.export_certificate`).
    Raises InputError, UnknownModelError, BundleError, ModelError, TextError, MissingExtraError.
    """
    deadline = None if limit is None else time.monotonic() + limit
    bundle = find_bundle(model)
    _check_settings(settings)
    _check_folder(folder / settings.name, bundle)
    check_device(device)
    on_step(f"vectors of {bundle.spec.name} ({len(train):,} pictures to train on, {len(val):,} held out)")
    kept = KeptOutputs(folder / "outputs", bundle, device=device, on_step=on_step)
    data = head_data(kept, train, val, negatives, on_step).to(device)
    trainer = HeadTrainer(settings, data, bundle.spec.logit_scale, folder)
    _open(trainer, _facts(settings, bundle, data), on_step)
    log = Log(folder, trainer.step)
    if trainer.step == 0:
        first = trainer.first_report()
        log.add(first)
        on_step(_line(first.step, first.loss, trainer.before))
    for report in trainer.steps(deadline):
        log.add(report)
        if report.validation is not None:
            on_step(_line(report.step, report.loss, report.validation))
    log.draw()
    return _finish(trainer, bundle, (len(data.pictures), len(data.val_images)), on_step, certify=certify)


def _check_settings(settings: HeadSettings) -> None:
    """Raise InputError for what cannot be trained with."""
    check_name(settings.name, _TAKEN)
    for key, least in (("steps", 1), ("batch", 2), ("patience", 1), ("validate_every", 1)):
        if getattr(settings, key) < least:
            raise InputError(f"{key} is {getattr(settings, key)}", f"Wanted {least} or more")
    if not settings.rate > 0:
        raise InputError(f"rate is {settings.rate}", "Wanted more than 0")
    if not 0 <= settings.decay * settings.rate < 1:
        raise InputError(f"decay is {settings.decay}", "Wanted at least 0, and times the rate less than 1")
    if settings.loss not in ("softmax", "sigmoid"):
        raise InputError(f"loss is {settings.loss!r}", "Wanted softmax or sigmoid")


def _check_folder(out: Path, bundle: Bundle) -> None:
    """Raise InputError where the export would replace what is none, or the run one of another kind."""
    if out.resolve() == bundle.folder.resolve():
        raise InputError(f"{out} is the model that is trained from", "Give another name or folder")
    check_place(out)
    if (out.parent / "checkpoint.pt").exists() and not (out.parent / "heads.json").exists():
        raise InputError(f"{out.parent} holds a run of another kind", "Name another folder, or remove it")


def _facts(settings: HeadSettings, bundle: Bundle, data: HeadData) -> dict[str, Any]:
    """What decides a run, for JSON."""
    return {
        "settings": dataclasses.asdict(settings),
        "model": {"name": bundle.spec.name, "identity": bundle.spec.identity},
        "data": data.key,
    }


def _open(trainer: HeadTrainer, facts: dict[str, Any], on_step: Callable[[str], None]) -> None:
    """Go on with the run that lies in the folder, if it is this one; else begin."""
    path = trainer.folder / "heads.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except ValueError:
        found = {}  # damaged: no run that could go on
    if found == facts and trainer.resume():
        on_step(f"going on after step {trainer.step:,}")
        return
    if found is not None and found != facts:
        other = [name for name, value in facts.items() if found.get(name) != value]
        on_step(f"the folder holds a run with other {', '.join(other)}: it begins anew")
    for name in ("checkpoint.pt", "best.pt", "log.csv", "curves.png"):
        (trainer.folder / name).unlink(missing_ok=True)
    path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    trainer.start()


def _line(step: int, loss: float, found: Validation) -> str:
    recall = " / ".join(f"{value:.1%}" for value in found.by_name.values())
    return f"step {step}: loss {loss:.3f}, held-out recall@1/5/10 {recall}"


def _finish(
    trainer: HeadTrainer,
    bundle: Bundle,
    pictures: tuple[int, int],
    on_step: Callable[[str], None],
    *,
    certify: bool,
) -> FinishedHeads:
    """Fold the best maps into a bundle, and check that the pipeline computes the same.

    What was exported before is replaced once the new one is whole. pictures: trained on, held out.
    """
    settings, folder = trainer.settings, trainer.folder
    taken = trainer.step
    step = trainer.load_best()
    validation = trainer.validate()
    image, text = trainer.heads.maps()
    maps = Maps(image, text, float(trainer.heads.scale.detach())) if step else None
    out, draft = folder / settings.name, folder / f"{settings.name}.new"
    shutil.rmtree(draft, ignore_errors=True)
    made, lost = fold_maps(bundle, maps, settings.name, draft)
    gap = check_heads(trainer, made, exact_matcher(bundle).decoding)
    if not step:
        on_step(f"none of {taken:,} steps was better than {bundle.spec.name} as it is: the bundle is a copy")
    certificate = None
    if certify:
        on_step("certifying the bundle")
        reference = MappedModel(exact_matcher(bundle).model, image, text, made.spec)
        certificate = certify_export(reference, made, trainer.data.val)
    if lost:
        on_step(f"not in the bundle, since they were of the old vectors: {', '.join(lost)}")
    _write_card(draft, trainer, bundle, step, validation, pictures)
    shutil.rmtree(out, ignore_errors=True)
    draft.rename(out)
    return FinishedHeads(
        load_bundle(out), step, validation, gap, certificate, before=trainer.before, lost=lost
    )


def _write_card(
    folder: Path,
    trainer: HeadTrainer,
    bundle: Bundle,
    step: int,
    validation: Validation,
    pictures: tuple[int, int],
) -> None:
    settings, name = trainer.settings, bundle.spec.name
    recipe = Recipe(
        settings.name,
        DataSpec(train=""),
        (Stage(settings.steps, settings.batch),),
        loss=LossSpec(settings.loss),
        dimension=bundle.spec.dimension,
        license=bundle.spec.license,
    )
    made = f"A linear map on each side of {name}, whose towers are as they were. Loss: {settings.loss}."
    if not step:
        made = f"No step found more of the held-out pictures: this is {name} as it was."
    write_card(folder, recipe, step, validation, pictures, made=made, before=trainer.before)


def check_heads(trainer: HeadTrainer, bundle: Bundle, decoding: Decoding) -> float:
    """Greatest 1 − cosine between the trainer's vectors of held-out pairs and the pipeline's, in float32.

    decoding: of pictures, as the trainer's vectors were made. Raises ModelError where it is more than 1e-4:
    such a bundle is wrong.
    """
    matcher, heads, data = exact_matcher(bundle), trainer.heads, trainer.data
    matcher.decoding = decoding
    sample = data.val.subset(range(min(_SAMPLE, len(data.val))))
    texts = [text for line in sample.texts for text in line]
    with torch.inference_mode():
        ours = [
            heads.embed_images(data.val_images[: len(sample)]).cpu().numpy(),
            heads.embed_texts(data.val_texts[: len(texts)]).cpu().numpy(),
        ]
    theirs = [matcher.embed_images(sample.images), matcher.embed_texts(texts)]
    return greatest_gap(bundle, ours, theirs)
