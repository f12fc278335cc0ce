"""Adapters: LoRA on a checkpoint of transformers or OpenCLIP; a checkpoint in, one of the same format out.

A run folder holds adapters.json, checkpoint.pt and best.pt (adapters alone), log.csv, curves.png, and in the
end adapter/ (as peft reads it), checkpoint/ (the adapters merged into the weights) and the bundle of it.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from crosslens.acquire.convert.convert import convert
from crosslens.errors import InputError
from crosslens.models.bundle import load_bundle
from crosslens.train.adapter_model import AdaptedTowers
from crosslens.train.checkpoint import save_checkpoint
from crosslens.train.distributed import check_device
from crosslens.train.export import Storage, check_export, check_place
from crosslens.train.export_certificate import TrainedModel, certify_export
from crosslens.train.full import Finished, Run, train_steps
from crosslens.train.initial_model import Start, write_tokenizer
from crosslens.train.lora import Lora, merge_adapter, save_adapter
from crosslens.train.model_card import write_card
from crosslens.train.pair_dataset import Pairs
from crosslens.train.pretrained_checkpoints import (
    Pretrained,
    load_network,
    read_pretrained,
    replaced,
    save_network,
)
from crosslens.train.recipe import DataSpec, Loss, LossSpec, Rates, Recipe, Stage, check_name, check_recipe
from crosslens.train.trainer import Report, Trainer
from crosslens.train.validation import Validation, prepared, validate

_TAKEN = ("adapter", "checkpoint")


@dataclass(frozen=True, slots=True)
class AdapterSettings:
    """All settings of a run.

    name: of the bundle. rank, alpha, dropout, targets: see `Lora`. batch: pairs a step. rate: the highest
    learning rate, from which it falls as a cosine. patience: validations without a better recall before the
    run ends. loss: "softmax" (CLIP) or "sigmoid" (SigLIP); None for the one that the checkpoint has a bias
    for. validate_every, save_every: steps. least_area: smallest part of a picture that a random crop keeps.
    """

    name: str = "adapted"
    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ()
    steps: int = 500
    batch: int = 64
    rate: float = 1e-4
    patience: int = 5
    loss: Loss | None = None
    validate_every: int = 50
    save_every: int = 25
    least_area: float = 0.6
    seed: int = 0


@dataclass(frozen=True, slots=True)
class AdapterRun:
    """A run that can take steps. before: recall of the checkpoint as it was."""

    pretrained: Pretrained
    run: Run
    before: Validation

    @property
    def finished(self) -> bool:
        """Whether no step is left, or no better recall came for as long as the settings have patience."""
        return self.run.finished

    def steps(self, limit: float | None = None) -> Iterator[Report]:
        """Take the steps that are left, for at most `limit` seconds, and keep the log."""
        return train_steps(self.run, limit)


def train_adapters(
    checkpoint: str | Path,
    train: Pairs,
    val: Pairs,
    folder: Path,
    settings: AdapterSettings = AdapterSettings(),
    *,
    device: str = "cpu",
    limit: float | None = None,
    on_step: Callable[[Report], None] = lambda _report: None,
) -> Finished:
    """Train adapters on pairs, and export the best of them.

    checkpoint: a folder of transformers or OpenCLIP that `crosslens models convert` takes. val: what the best
    adapters are chosen by. folder: of the run; one that was stopped goes on there. limit: seconds after which
    the best so far are exported. Raises InputError, ConversionError, MissingExtraError, ModelError.
    """
    run = open_adapters(checkpoint, train, val, folder, settings, device=device)
    for report in run.steps(limit):
        on_step(report)
    return finish_adapters(run)


def open_adapters(
    checkpoint: str | Path,
    train: Pairs,
    val: Pairs,
    folder: Path,
    settings: AdapterSettings,
    *,
    device: str = "cpu",
    on_stage: Callable[[str], None] = lambda _stage: None,
) -> AdapterRun:
    """A new run in a folder, or the one that lies there, at its last checkpoint.

    Raises InputError where the folder holds another run, and what `train_adapters` raises.
    """
    check_adapter_settings(settings)
    check_device(device)
    on_stage(f"reading the checkpoint ({len(train)} pictures to train on, {len(val)} held out)")
    check_place(folder / settings.name)
    pretrained = read_pretrained(checkpoint)
    folder.mkdir(parents=True, exist_ok=True)
    _same_run(folder / "adapters.json", pretrained, settings, (len(train), len(val)))
    recipe = _recipe(settings, pretrained)
    started = _start(pretrained, settings, recipe.loss.kind, folder)
    trainer = Trainer(recipe, started, train, val, None, folder, device=device)
    kept = folder / "before.json"
    if trainer.resume():
        before = Validation(**json.loads(kept.read_text()))
    else:
        on_stage("measuring the checkpoint as it is")
        before = validate(started.model, started, val, trainer.device)
        kept.write_text(json.dumps(dataclasses.asdict(before)))
        trainer.best = before.score
        save_checkpoint(folder / "best.pt", {"step": 0, "model": started.model.state_dict()})
        trainer.save()
    return AdapterRun(pretrained, Run(recipe, folder, trainer), before)


def finish_adapters(run: AdapterRun, *, on_stage: Callable[[str], None] = lambda _stage: None) -> Finished:
    """Merge the best adapters into the checkpoint, convert it, and check that the pipeline computes the same.

    What was exported before is replaced once the new one is whole. Raises ConversionError, ModelError.
    """
    trainer, source = run.run.trainer, run.pretrained.source
    started, folder = trainer.started, run.run.folder
    step = trainer.load_best()
    validation = validate(started.model, started, trainer.val, trainer.device)
    model = started.model.eval().to("cpu")
    assert isinstance(model, AdaptedTowers)  # noqa: S101
    on_stage("merging the adapters")
    with replaced(folder / "adapter") as draft:
        save_adapter(model.network, draft)
    merged = merge_adapter(load_network(source), folder / "adapter")
    with torch.no_grad():
        merged.logit_scale.copy_(model.log_scale)
        if getattr(merged, "logit_bias", None) is not None:
            merged.logit_bias.copy_(model.bias)
    with replaced(folder / "checkpoint") as draft:
        save_network(merged, source, draft, _checkpoint_card(run.pretrained))
    done = _export(run, step, validation, on_stage)
    model.to(trainer.device)
    return done


def _export(run: AdapterRun, step: int, validation: Validation, on_stage: Callable[[str], None]) -> Finished:
    """The merged checkpoint as a bundle, with certificate and card, in the run folder."""
    trainer, recipe, folder = run.run.trainer, run.run.recipe, run.run.folder
    started, out, draft = trainer.started, folder / recipe.name, folder / f"{recipe.name}.new"
    shutil.rmtree(draft, ignore_errors=True)
    bundle = convert(folder / "checkpoint", draft, name=recipe.name)
    sample = trainer.val.subset(range(min(8, len(trainer.val))))
    pixels = next(prepared(started, sample, len(sample)))
    gap = check_export(started, bundle, pixels, [texts[0] for texts in sample.texts])
    on_stage("certifying the bundle")
    certificate = certify_export(TrainedModel(started, bundle.spec), bundle, trainer.val, Storage())
    pictures = (len(trainer.train), len(trainer.val))
    write_card(draft, recipe, step, validation, pictures, made=_made(run), before=run.before)
    shutil.rmtree(out, ignore_errors=True)
    draft.rename(out)
    return Finished(load_bundle(out), step, validation, gap, certificate)


def check_adapter_settings(settings: AdapterSettings) -> None:
    """Raise InputError for settings that cannot be trained with."""
    check_name(settings.name, _TAKEN)
    for key in ("rank", "steps", "patience", "validate_every", "save_every"):
        if getattr(settings, key) < 1:
            raise InputError(f"{key} is {getattr(settings, key)}", "Wanted 1 or more")
    for key in ("alpha", "rate"):
        if not getattr(settings, key) > 0:
            raise InputError(f"{key} is {getattr(settings, key)}", "Wanted more than 0")
    if not 0 <= settings.dropout < 1:
        raise InputError(f"dropout is {settings.dropout}", "Wanted at least 0 and less than 1")
    if settings.loss not in (None, "softmax", "sigmoid"):
        raise InputError(f"loss is {settings.loss!r}", "Wanted softmax or sigmoid")


def _recipe(settings: AdapterSettings, pretrained: Pretrained) -> Recipe:
    """The settings in the trainer's terms."""
    has_bias = getattr(pretrained.network, "logit_bias", None) is not None
    if settings.loss == "sigmoid" and not has_bias:
        raise InputError(
            f"{pretrained.source.folder} has no logit bias, which the sigmoid loss needs",
            "Use the softmax loss, or a checkpoint of SigLIP",
        )
    rate = settings.rate
    recipe = Recipe(
        name=settings.name,
        data=DataSpec(train=""),
        stages=(Stage(settings.steps, settings.batch, least_area=settings.least_area),),
        loss=LossSpec(kind=settings.loss or ("sigmoid" if has_bias else "softmax")),
        rates=Rates(rate, rate, rate, warmup=max(1, min(50, settings.steps // 10)), decay=0.0, ema=0.0),
        dimension=pretrained.facts.dimension,
        seed=settings.seed,
        validate_every=settings.validate_every,
        save_every=settings.save_every,
        patience=settings.patience,
        license=pretrained.source.license,
    )
    check_recipe(recipe)
    return recipe


def _start(pretrained: Pretrained, settings: AdapterSettings, loss: Loss, folder: Path) -> Start:
    facts = pretrained.facts
    torch.manual_seed(settings.seed)  # of the adapters' first values
    lora = Lora(settings.rank, settings.alpha, settings.dropout, settings.targets)
    model = AdaptedTowers(pretrained, lora, bias=loss == "sigmoid")
    tokenize = write_tokenizer(facts.tokenizer, facts.text, folder)
    return Start(model, facts.image, facts.text, facts.tokenizer, tokenize)


def _same_run(
    path: Path, pretrained: Pretrained, settings: AdapterSettings, pictures: tuple[int, int]
) -> None:
    """Raise InputError where the folder holds a run of other settings, checkpoint or pictures."""
    facts = {
        **dataclasses.asdict(settings),
        "checkpoint": str(pretrained.source.folder),
        "pictures": pictures,
    }
    facts = json.loads(json.dumps(facts))
    if not path.is_file():
        path.write_text(json.dumps(facts, indent=1) + "\n")
        return
    found = json.loads(path.read_text())
    other = sorted(key for key in facts if found.get(key) != facts[key])
    if other:
        raise InputError(
            f"{path.parent} holds a run with another {', another '.join(other)}",
            "Name another folder, or remove it",
        )


def _checkpoint_card(pretrained: Pretrained) -> str:
    license_ = pretrained.source.license
    head = "" if license_ == "not stated" else f"---\nlicense: {license_}\n---\n"
    return (
        f"{head}# {pretrained.source.name}, fine-tuned\n\n"
        "LoRA adapters trained with crosslens are merged into these weights. The licence is the one that\n"
        "the checkpoint states; that of the training pictures may add to it.\n"
    )


def _made(run: AdapterRun) -> str:
    trainer, loss = run.run.trainer, run.run.recipe.loss.kind
    assert isinstance(trainer.model, AdaptedTowers)  # noqa: S101
    trained = sum(value.numel() for _, value in trainer.model.trained())
    return (
        f"LoRA adapters ({trained:,} trained numbers) merged into {run.pretrained.source.name}. Loss: {loss}."
    )
