"""Training recipes: all settings of a run, as frozen data read from TOML.

Two runs of one recipe on the same data, machine and versions take the same steps.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from crosslens.errors import InputError
from crosslens.train.settings import settings_from

Loss = Literal["softmax", "sigmoid"]
Kind = Literal["efficientnet-lite2", "vit", "bundle"]
TextKind = Literal["sentence-transformer", "transformer", "bundle"]


@dataclass(frozen=True, slots=True)
class DataSpec:
    """Where the pairs are. Paths are relative to the recipe.

    train, val: image–caption sets as `crosslens.evaluation.load_pairs` reads them. classes: they are class
    folders, or tables with a class for each picture, instead. train_split, val_split: only rows with this in
    the column "split". val_fraction: where neither val nor val_split is given, the part of the training
    pictures that is held out. group_column: what a picture is grouped by, such as where it comes from, for
    stages with `one_group`.
    """

    train: str
    val: str | None = None
    classes: bool = False
    image_column: str | None = None
    text_column: str | None = None
    label_column: str | None = None
    train_split: str | None = None
    val_split: str | None = None
    val_fraction: float = 0.1
    group_column: str | None = None


@dataclass(frozen=True, slots=True)
class ImageStart:
    """What the image tower starts from.

    kind: "efficientnet-lite2" takes ImageNet weights from installed packages, "vit" random weights,
    "bundle" those of the bundle named by `path`. size: side of the input, pixels.
    width, layers, heads, patch: of a "vit". hidden: units of the head's hidden layer, 0 for a linear head.
    pool_heads: learned poolings of the last map beside its mean ("efficientnet-lite2").
    """

    kind: Kind = "bundle"
    path: str | None = None
    size: int = 64
    width: int = 64
    layers: int = 2
    heads: int = 2
    patch: int = 16
    hidden: int = 0
    pool_heads: int = 8


@dataclass(frozen=True, slots=True)
class TextStart:
    """What the text tower starts from.

    kind: "sentence-transformer" takes the folder or installed package named by `path`, "transformer" random
    weights with a tokeniser trained on the captions, "bundle" that of the image tower's bundle.
    """

    kind: TextKind = "bundle"
    path: str | None = None
    context_length: int = 32
    vocabulary: int = 2000
    width: int = 64
    layers: int = 2
    heads: int = 2


@dataclass(frozen=True, slots=True)
class LossSpec:
    """What is minimised.

    kind: "softmax" over the pictures and texts of a batch (CLIP), or "sigmoid" of every pair (SigLIP).
    similar_texts: weight in [0, 1) of targets that follow the similarity of the captions, as the text tower
    saw it before training; similar_temperature: of the softmax over these similarities.
    hard_negatives: part of a batch, in [0, 1), drawn from pictures that the model confuses with others.
    labels: weight of the loss over label texts (`LabelSpec`). logit_scale: at the start.
    keep_texts: weight of 1 − cosine between the text tower's states now and before training.
    """

    kind: Loss = "softmax"
    similar_texts: float = 0.0
    similar_temperature: float = 0.05
    hard_negatives: float = 0.0
    labels: float = 0.0
    logit_scale: float = 14.3
    keep_texts: float = 0.0

    @property
    def looks_back(self) -> bool:
        """Whether a part of it needs the captions' vectors before training."""
        return self.similar_texts > 0 or self.keep_texts > 0


@dataclass(frozen=True, slots=True)
class LabelSpec:
    """Short texts that pictures are also compared with: names of classes, and words of the captions.

    classes: a file with the names of the classes that the image tower's own classifier knows, one a line; its
    opinion of each picture is the target. words: words and pairs of words that stand in the captions of at
    least so many pictures; 0 for none. fresh: label texts encoded with gradients in each step; the others'
    vectors are those of at most refresh steps ago.
    """

    classes: str | None = None
    words: int = 0
    fresh: int = 96
    refresh: int = 50


@dataclass(frozen=True, slots=True)
class Stage:
    """Some steps with the same batch, size and trained parts.

    batch: pairs a step. size: side of the pictures, pixels; None: that of the model. image_blocks: how many
    of the image tower's last blocks are trained besides its head; -1 for all. text: whether the text tower
    is trained besides its head. least_area: smallest part of a picture that a random crop keeps, in (0, 1].
    by_class: part of a batch, in [0, 1), drawn so that each class of `LabelSpec.classes` is as likely as any
    other. one_group: part of a batch, in [0, 1), drawn from one group of `DataSpec.group_column`, so that a
    picture is told from others of its kind; a group is as likely as it has texts.
    labels: weight of the loss over label texts; None: that of `LossSpec`.
    """

    steps: int
    batch: int = 256
    size: int | None = None
    image_blocks: int = -1
    text: bool = True
    least_area: float = 0.5
    by_class: float = 0.0
    one_group: float = 0.0
    labels: float | None = None


@dataclass(frozen=True, slots=True)
class Rates:
    """Learning rates of the optimiser's groups at their highest, and what shapes them.

    warmup: steps that they rise for; after that they fall as a cosine to `final` times the highest.
    decay: weight decay of matrices. ema: decay of the running mean of the weights, which is what is measured
    and exported; 0 for the weights as they are.
    """

    heads: float = 1e-3
    text: float = 5e-5
    image: float = 1e-4
    warmup: int = 50
    final: float = 0.02
    decay: float = 0.05
    ema: float = 0.99


@dataclass(frozen=True, slots=True)
class DistillSpec:
    """A finished model that is followed as well.

    teacher: a model by its name, or a bundle folder, relative to the recipe or as it stands; None for none.
    similarities: weight of the divergence between its similarities within a batch and the model's.
    features: weight of 1 − cosine between the vectors of both.
    """

    teacher: str | None = None
    similarities: float = 1.0
    features: float = 0.0


@dataclass(frozen=True, slots=True)
class ExportSpec:
    """How the bundle is written; nothing of the training depends on it.

    version: of the model, for its config.json.
    half: as float16. int8_text: the text tower's token table and matrices as int8, each row with a scale.
    int8: a convolutional image tower ("efficientnet-lite2") computes in int8.
    class_names: weight of a mix of the names of the classes that the image network's own classifier sees,
    which is added to each picture's unit vector; class_temperature: of that classifier's softmax.
    """

    version: int = 0
    half: bool = False
    int8_text: bool = False
    int8: bool = False
    class_names: float = 0.0
    class_temperature: float = 1.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole run. dimension: of the space. patience: validations without a better recall before it ends."""

    name: str
    data: DataSpec
    stages: tuple[Stage, ...]
    image: ImageStart = field(default_factory=ImageStart)
    text: TextStart = field(default_factory=TextStart)
    loss: LossSpec = field(default_factory=LossSpec)
    labels: LabelSpec = field(default_factory=LabelSpec)
    rates: Rates = field(default_factory=Rates)
    distill: DistillSpec = field(default_factory=DistillSpec)
    export: ExportSpec = field(default_factory=ExportSpec)
    dimension: int = 256
    seed: int = 0
    validate_every: int = 100
    save_every: int = 25
    patience: int = 10
    license: str = "not stated"
    scripts: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """Of all stages."""
        return sum(stage.steps for stage in self.stages)

    def pairs_until(self, step: int) -> int:
        """Pairs that the steps before this one take."""
        seen = 0
        for stage in self.stages:
            seen += min(step, stage.steps) * stage.batch
            step -= min(step, stage.steps)
        return seen

    def label_weight(self, stage: Stage) -> float:
        """Of the loss over label texts."""
        return self.loss.labels if stage.labels is None else stage.labels

    def stage_at(self, step: int) -> Stage:
        """The stage that a step, counted from 0, belongs to."""
        for stage in self.stages:
            if step < stage.steps:
                return stage
            step -= stage.steps
        return self.stages[-1]


def read_recipe(path: str | Path) -> Recipe:
    """A recipe from a TOML file. Raises InputError, which names the file and the key."""
    path = Path(path)
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})", "Check the path") from error
    except ValueError as error:
        raise InputError(f"{path} is not TOML ({error})", "Repair the line") from error
    recipe = cast(Recipe, settings_from(Recipe, facts, f"{path}: "))
    check_recipe(recipe)
    return recipe


def recipe_facts(recipe: Recipe) -> dict[str, Any]:
    """All settings as plain values, for JSON."""
    return dataclasses.asdict(recipe)


def recipe_from_facts(facts: dict[str, Any]) -> Recipe:
    """The recipe that `recipe_facts` described. Raises InputError."""
    return cast(Recipe, settings_from(Recipe, facts, ""))


def check_name(name: str, taken: Sequence[str] = ()) -> None:
    """Raise InputError for what cannot be the name of a model's folder. taken: what else lies there."""
    if not name or set(name) & set("/\\\0") or name.startswith(".") or name in taken:
        raise InputError(f"the model cannot be named {name!r}", "Give a plain name without slashes")


def check_recipe(recipe: Recipe) -> None:
    """Raise InputError for settings that cannot be trained with."""
    check_name(recipe.name, ("teacher",))
    if not recipe.stages or recipe.steps < 1:
        raise InputError("the recipe has no steps", "Give [[stages]] with steps = …")
    for stage in recipe.stages:
        if stage.batch < 2:
            raise InputError(
                f"a stage has batch = {stage.batch}", "A contrastive loss needs at least 2 pairs"
            )
        if not 0 < stage.least_area <= 1:
            raise InputError(
                f"a stage has least_area = {stage.least_area}", "Wanted more than 0 and at most 1"
            )
        if not 0 <= stage.by_class < 1:
            raise InputError(f"a stage has by_class = {stage.by_class}", "Wanted at least 0 and less than 1")
        if not 0 <= stage.one_group < 1 - stage.by_class:
            raise InputError(
                f"a stage has one_group = {stage.one_group} and by_class = {stage.by_class}",
                "Wanted at least 0, and less than 1 together",
            )
        if stage.one_group and recipe.data.group_column is None:
            raise InputError(f"a stage has one_group = {stage.one_group}", "It needs data.group_column")
    if not 0 < recipe.data.val_fraction < 1:
        raise InputError(f"data.val_fraction is {recipe.data.val_fraction}", "Wanted between 0 and 1")
    weights = (recipe.distill.similarities, recipe.distill.features)
    if min(weights) < 0 or (recipe.distill.teacher is not None and not any(weights)):
        raise InputError(
            f"distill.similarities is {weights[0]}, distill.features {weights[1]}",
            "Wanted weights of 0 or more, and one of them above 0",
        )
    _check_export(recipe)


def _check_export(recipe: Recipe) -> None:
    if recipe.export.class_names < 0 or recipe.export.class_temperature <= 0:
        raise InputError(
            f"export.class_names is {recipe.export.class_names}, export.class_temperature "
            f"{recipe.export.class_temperature}",
            "Wanted 0 or more, and more than 0",
        )
    if recipe.export.class_names and not recipe.labels.classes:
        raise InputError("export.class_names needs the names of the classes", "Give labels.classes")
    if recipe.export.int8 and recipe.image.kind != "efficientnet-lite2":
        raise InputError(
            f"export.int8 is for a convolutional image tower, and image.kind is {recipe.image.kind!r}",
            "Leave it out; afterwards: crosslens models quantize",
        )
