"""Training of whole towers: a recipe in, a run folder with an exported bundle out.

A run folder holds recipe.json, checkpoint.pt, best.pt, tokenizer.json, classes.npz (what the image network's
own classifier says of the training pictures), teacher/ (what the recipe's teacher computes of the pairs),
log.csv, curves.png, and the exported bundle.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from crosslens.errors import InputError
from crosslens.models.bundle import Bundle, load_bundle
from crosslens.models.certificate import Certificate
from crosslens.train.caption_table import encode_texts
from crosslens.train.data_reading import read_pairs
from crosslens.train.distillation import Distillation, read_teacher
from crosslens.train.distributed import Ranks
from crosslens.train.efficientnet import start_from_classes
from crosslens.train.export import About, Storage, check_export, check_place, export_bundle
from crosslens.train.export_certificate import TrainedModel, certify_export
from crosslens.train.initial_model import Start, principal_projection, start
from crosslens.train.label_texts import Labels, build_labels, read_classes
from crosslens.train.mixed_precision import autocast
from crosslens.train.model_card import write_card
from crosslens.train.pair_dataset import Pairs
from crosslens.train.recipe import Recipe, check_recipe, recipe_facts, recipe_from_facts
from crosslens.train.run_log import Log
from crosslens.train.torch_towers import ClassNames, ConvolutionalTower
from crosslens.train.trainer import Report, Trainer
from crosslens.train.validation import Validation, prepared, validate

_KEPT_CLASSES = 20
# Pictures that the ranges of an int8 tower are taken from.
_CALIBRATION = 300


@dataclass(frozen=True, slots=True)
class Run:
    """A run that can take steps. place: that the recipe's paths are relative to."""

    recipe: Recipe
    folder: Path
    trainer: Trainer

    @property
    def finished(self) -> bool:
        """Whether no step is left, or no better recall came for as long as the recipe has patience."""
        return self.trainer.step >= self.recipe.steps or self.trainer.waited >= self.recipe.patience


@dataclass(frozen=True, slots=True)
class Finished:
    """What a run made. step: that the weights are of. gap: see `check_export`.

    certificate: how near the bundle's ways of computing come to the trained model; None where too few
    pictures are held out to tell.
    """

    bundle: Bundle
    step: int
    validation: Validation
    gap: float
    certificate: Certificate | None = None


def open_run(
    recipe: Recipe,
    folder: Path,
    *,
    place: Path = Path(),
    device: str = "cpu",
    on_step: Callable[[str], None] = lambda _step: None,
    pairs: tuple[Pairs, Pairs] | None = None,
    ranks: Ranks | None = None,
) -> Run:
    """A new run in a folder, or the one that lies there, at its last checkpoint.

    pairs: training and held-out pairs in memory, instead of those that the recipe names.
    ranks: the processes that train together, on the devices that they name (`ranks.joined`); None: this one
    alone, on `device`. Raises InputError where the folder holds a run of another recipe.
    """
    check_recipe(recipe)
    check_place(folder / recipe.name)
    ranks = ranks or Ranks(device=device)
    with ranks.in_turn():
        trainer = _open(recipe, folder, place, ranks, on_step, pairs)
    trainer.share()
    return Run(recipe, folder, trainer)


def _open(
    recipe: Recipe,
    folder: Path,
    place: Path,
    ranks: Ranks,
    on_step: Callable[[str], None],
    pairs: tuple[Pairs, Pairs] | None,
) -> Trainer:
    device = ranks.device
    folder.mkdir(parents=True, exist_ok=True)
    _same_recipe(recipe, folder / "recipe.json")
    on_step("reading the pairs")
    train, val = pairs if pairs is not None else read_pairs(recipe, place)
    on_step(f"building the towers ({len(train)} pictures to train on, {len(val)} held out)")
    started = start(recipe, train, folder)
    started.model.to(device)
    if started.classifier is not None:
        started.classifier.to(device)
    labels = _prepare(recipe, started, train, folder, place, torch.device(device), on_step)
    if isinstance(started.model.image, ConvolutionalTower) and device == "cpu":
        trained = max(stage.image_blocks for stage in recipe.stages)
        if min(stage.image_blocks for stage in recipe.stages) >= 0:
            started.model.image.freeze(trained)
    trainer = Trainer(recipe, started, train, val, labels, folder, ranks=ranks)
    teacher = read_teacher(recipe, train, folder, place, device=device, on_step=on_step)
    if teacher is not None:
        trainer.follow(Distillation(recipe.distill, teacher, started.dimension, recipe.seed))
    trainer.resume()
    return trainer


def train_steps(run: Run, limit: float | None = None) -> Iterator[Report]:
    """Take the run's steps and keep its log; see `Trainer.steps`."""
    log = Log(run.folder, run.trainer.step) if run.trainer.ranks.first else None
    for report in run.trainer.steps(limit):
        if log is not None:
            log.add(report)
        yield report
    if log is not None:
        log.draw()


def finish(
    run: Run, storage: Storage | None = None, *, on_step: Callable[[str], None] = lambda _step: None
) -> Finished:
    """Export the best weights as a bundle in the run folder, and check that the pipeline computes the same.

    storage: how weights are written; None: as the recipe says. An export that was there is replaced once the
    new one is whole. Raises ConversionError, ModelError, MissingExtraError.
    """
    spec = run.recipe.export
    storage = Storage(spec.half, spec.int8_text, spec.int8) if storage is None else storage
    trainer, started = run.trainer, run.trainer.started
    if isinstance(started.model.image, ConvolutionalTower):
        started.model.image.frozen = started.model.image.class_names = None
    step = trainer.load_best()
    if spec.class_names:
        _add_class_names(run.recipe, started, trainer.labels, trainer.device)
    validation = validate(started.model, started, trainer.val, trainer.device)
    about = About(run.recipe.name, spec.version, license=run.recipe.license, scripts=run.recipe.scripts)
    check_place(run.folder / run.recipe.name)
    out, draft = run.folder / run.recipe.name, run.folder / f"{run.recipe.name}.new"
    shutil.rmtree(draft, ignore_errors=True)
    bundle = exact = export_bundle(started, about, draft)
    sample = trainer.val.subset(range(min(8, len(trainer.val))))
    pixels = next(prepared(started, sample, len(sample)))
    gap = check_export(started, exact, pixels, [texts[0] for texts in sample.texts])
    if storage != Storage():
        shutil.rmtree(draft)
        ranges = trainer.train.subset(range(min(_CALIBRATION, len(trainer.train))))
        calibration = np.concatenate(list(prepared(started, ranges, 32))) if storage.int8 else None
        bundle = export_bundle(started, about, draft, storage, calibration)
    on_step("certifying the bundle")
    certificate = certify_export(TrainedModel(started, bundle.spec), bundle, trainer.val, storage)
    write_card(draft, run.recipe, step, validation, (len(trainer.train), len(trainer.val)))
    shutil.rmtree(out, ignore_errors=True)
    draft.rename(out)
    return Finished(load_bundle(out), step, validation, gap, certificate)


def _add_class_names(recipe: Recipe, started: Start, labels: Labels | None, device: torch.device) -> None:
    """To an image tower with a classifier of its own, as the recipe asks. Raises InputError for others."""
    image, spec = started.model.image, recipe.export
    if not isinstance(image, ConvolutionalTower) or started.classifier is None or labels is None:
        raise InputError("export.class_names is for a run with label texts of classes", "Give loss.labels")
    ids = started.tokenize([forms[0] for forms in labels.texts[: labels.classes]]).ids
    names = encode_texts(started, ids, device).float().to(device)
    image.class_names = ClassNames(started.classifier, names, spec.class_names, spec.class_temperature)
    image.class_names.to(device)


def _same_recipe(recipe: Recipe, path: Path) -> None:
    """Keep the recipe; raise InputError where that of another training lies there."""
    if path.is_file():
        found = recipe_from_facts(json.loads(path.read_text()))
        if dataclasses.replace(found, export=recipe.export) != recipe:
            raise InputError(
                f"{path.parent} holds a run of another recipe", "Name another folder, or remove it"
            )
        if found == recipe:
            return
    path.write_text(json.dumps(recipe_facts(recipe), indent=1) + "\n")


def _prepare(
    recipe: Recipe,
    started: Start,
    train: Pairs,
    folder: Path,
    place: Path,
    device: torch.device,
    on_step: Callable[[str], None],
) -> Labels | None:
    """Starting values of the heads, and the label texts."""
    if recipe.text.kind == "sentence-transformer":
        on_step("starting the text head")
        _start_text_head(recipe, started, train, device)
    classes = read_classes(place / recipe.labels.classes) if recipe.labels.classes else []
    opinions = None
    if classes and started.classifier is not None:
        on_step("asking the image network's classifier")
        opinions = _opinions(started, train, folder, device)
        names = encode_texts(started, started.tokenize([forms[0] for forms in classes]).ids, device).float()
        assert isinstance(started.model.image, ConvolutionalTower)  # noqa: S101
        start_from_classes(started.model.image.head, started.classifier, names.to(device))
    if not any(recipe.label_weight(stage) for stage in recipe.stages):
        return None
    on_step("collecting label texts")
    return build_labels(train.texts, recipe.labels.words, classes, opinions)


def _start_text_head(recipe: Recipe, started: Start, train: Pairs, device: torch.device) -> None:
    """The projection that keeps most of what the text tower already tells apart."""
    texts = sorted({text for line in train.texts for text in line})
    random = np.random.default_rng([recipe.seed, 4])
    sample = [texts[n] for n in random.permutation(len(texts))[:4096]]
    value = started.model.text.values["text/projection/weight"]
    width = value.shape[1]
    kept = value.data
    value.data = torch.eye(width, device=device)
    states = encode_texts(started, started.tokenize(sample).ids, device).float().numpy()
    value.data = kept
    with torch.no_grad():
        value.copy_(torch.from_numpy(principal_projection(states, recipe.dimension)))


def _opinions(
    started: Start, train: Pairs, folder: Path, device: torch.device
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Best classes of each training picture (n, 20) and their probabilities, worked out once for a run."""
    path = folder / "classes.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as kept:
            return kept["classes"], kept["probabilities"]
    image, classifier = started.model.image, started.classifier
    assert isinstance(image, ConvolutionalTower)  # noqa: S101
    assert isinstance(classifier, nn.Linear)  # noqa: S101
    best, likely = [], []
    if device.type == "cpu":
        image.freeze(0)
    with torch.inference_mode(), autocast(device):
        for pixels in prepared(started, train, 64):
            batch = torch.from_numpy(pixels).to(device)
            states = (batch.float() - started.model.pixel_mean) / started.model.pixel_std
            states = states.contiguous(memory_format=torch.channels_last)
            states = image.last_map(states)
            p = functional.softmax(classifier(states.mean(dim=(2, 3))).float(), dim=1).topk(_KEPT_CLASSES)
            best.append(p.indices.cpu().numpy())
            likely.append(p.values.cpu().numpy())
    image.frozen = None
    found: tuple[Any, Any] = np.concatenate(best).astype(np.int64), np.concatenate(likely).astype(np.float32)
    np.savez(path, classes=found[0], probabilities=found[1])
    return found
