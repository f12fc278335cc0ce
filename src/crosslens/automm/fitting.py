"""`MultiModalPredictor.fit`: columns → pairs of pictures and texts → a model with trained heads.

The training is that of `crosslens train heads` (docs/train.md); this is what AutoMM's tables need around it.
"""

from __future__ import annotations

import io
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crosslens.arguments import brief, number, whole
from crosslens.automm.hyperparameters import Hyperparameters
from crosslens.errors import CrosslensWarning, ImageSkippedWarning, InputError, TextError, warn
from crosslens.evaluation.datasets import Pairs as LabelledPairs
from crosslens.evaluation.metrics import load_extra
from crosslens.images.decode import Limits, decode
from crosslens.images.open_image import is_written, name_of, without_path
from crosslens.matching.match_probability import fit_match
from crosslens.matching.matcher import Matcher
from crosslens.models.spec import MatchSpec, Networks
from crosslens.texts.validation import check_texts
from crosslens.types import ImageInput, Modality

if TYPE_CHECKING:
    from crosslens.train.heads import HeadSettings
    from crosslens.train.pair_dataset import Pairs

# AutoMM's words for what a column holds.
COLUMN_TYPES: dict[str, Modality] = {
    "text": "text",
    "image": "image",
    "image_path": "image",
    "image_bytearray": "image",
    "image_base64_str": "image",
}
# Held out where nobody says how much: this part, but not more pictures than these.
_HELD_OUT, _MOST_HELD_OUT = 0.2, 500


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train. holdout: part of the pictures that is held out; None: a fifth, at most 500.

    time_limit: seconds. device: "cpu", or what else torch knows. on_step: called with lines of progress.
    """

    hyperparameters: Hyperparameters
    holdout: float | None = None
    time_limit: float | None = None
    seed: int = 0
    device: str = "cpu"
    on_step: Callable[[str], None] = lambda _line: None

    def check(self) -> None:
        """Raise InputError for what cannot be trained with, before anything is read."""
        whole("seed", self.seed, 0)
        if self.time_limit is not None and number("time_limit", self.time_limit) <= 0:
            raise InputError(f"time_limit is {self.time_limit}", "Wanted seconds, more than 0")
        if self.holdout is not None and not 0 < number("holdout_frac", self.holdout) < 1:
            raise InputError(f"holdout_frac is {self.holdout}", "Wanted a number between 0 and 1")


@dataclass(frozen=True, slots=True)
class Labelled:
    """Pictures with the texts that match them, and (row of a picture, text) of pairs that do not."""

    pairs: Pairs
    negatives: list[tuple[int, str]]

    def of(self, rows: Sequence[int]) -> Labelled:
        """Some of the pictures, in this order, with all that is said of them."""
        new = {row: number for number, row in enumerate(rows)}
        left = [(new[row], text) for row, text in self.negatives if row in new]
        return Labelled(self.pairs.subset(rows), left)

    @property
    def said(self) -> list[int]:
        """Rows of the pictures that a text matches."""
        return [row for row, texts in enumerate(self.pairs.texts) if texts]


@dataclass(frozen=True, slots=True)
class Fitted:
    """The result. bundle: the model's folder. match: its match probability; None: no labels to fit it to."""

    bundle: Path
    match: MatchSpec | None
    summary: dict[str, Any]


def column_kinds(column_types: Mapping[str, str] | None, columns: Sequence[str]) -> dict[str, Modality]:
    """What column_types says of these columns. Raises InputError for a type of neither pictures nor texts."""
    kinds: dict[str, Modality] = {}
    for column, kind in (column_types or {}).items():
        if column not in columns:
            continue
        if kind not in COLUMN_TYPES:
            problem = f"column_types has {brief(kind)} for {column!r}"
            raise InputError(problem, f"Wanted one of {', '.join(COLUMN_TYPES)}")
        kinds[column] = COLUMN_TYPES[kind]
    return kinds


def labelled(
    images: Sequence[ImageInput], texts: Sequence[str], labels: NDArray[np.int64] | None, name: str
) -> Labelled:
    """Rows as training takes them: each picture once, by path or content.

    labels: (n,) of 1 (match) and 0; None: every row is a match. name: of the table, for errors.
    Raises InputError and what descends from it, naming the row.
    """
    from crosslens.train.data_reading import with_negatives

    check_texts(texts)
    seen: dict[tuple[Any, str], int] = {}
    files: list[str | os.PathLike[str] | bytes] = []
    for row, (image, text) in enumerate(zip(images, texts, strict=True)):
        if not text.strip():
            raise TextError(f"{name}: text {row} is empty", "Write a word, or leave the row out")
        files.append(_file(image, name_of(image, row)))
        first = seen.setdefault((files[-1], text), row)
        if labels is not None and labels[first] != labels[row]:
            problem = f"{name}: rows {first} and {row} are the same pair with different labels"
            raise InputError(problem, "Keep one of them")
    if not files:
        raise InputError(f"{name} has no rows", "Give pairs of pictures and texts")
    data = LabelledPairs.of(zip(files, texts, strict=True), labels, name)
    return Labelled(*with_negatives(data))


def _file(image: ImageInput, name: str) -> str | os.PathLike[str] | bytes:
    """A picture as a path, or as the bytes of a file; one without a file becomes a PNG of its pixels."""
    if isinstance(image, os.PathLike) or (
        isinstance(image, str) and (os.path.exists(image) or not is_written(image))
    ):
        return image
    found = without_path(image, name, Limits())
    if isinstance(found, bytes):
        return found
    buffer = io.BytesIO()
    decode(found, name).image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def split_off(data: Labelled, fraction: float | None, seed: int) -> tuple[Labelled, Labelled]:
    """(to train on, held out): pictures at random, of those with a match as many as of the others, in parts.

    Raises InputError where too few have a match.
    """
    from crosslens.train.pair_dataset import split_rows

    said = data.said
    part = min(_HELD_OUT, _MOST_HELD_OUT / len(said)) if fraction is None else fraction
    others = sorted(set(range(len(data.pairs))) - set(said))
    try:
        held = [said[row] for row in split_rows(len(said), part, seed)[1]]
    except InputError as error:
        raise InputError(error.problem, "Give tuning_data, more pictures or another holdout_frac") from error
    if 0 < round(part * len(others)) < len(others):
        held += [others[row] for row in split_rows(len(others), part, seed)[1]]
    kept = sorted(set(range(len(data.pairs))) - set(held))
    return data.of(kept), data.of(held)


def fit_pairs(matcher: Matcher, train: Labelled, tuning: Labelled | None, folder: Path, plan: Plan) -> Fitted:
    """Train heads over a model, and leave the new model's bundle in `folder`, which is empty before.

    tuning: what the best step is chosen by, and the match probability fitted to where some pairs do not
    match; None: held out of `train`. Raises MissingExtraError, InputError, ModelError.
    """
    from crosslens.train.heads import train_heads

    if not isinstance(matcher.spec.towers, Networks):
        load_extra("onnx", "onnx", "train")  # writes graphs, in the end
    began = time.monotonic()
    if tuning is None:
        train, tuning = split_off(train, plan.holdout, plan.seed)
    run, base = folder / "run", matcher.reference
    val = tuning.pairs.subset(tuning.said)
    _warn_of_unreadable(base, (train.pairs, val), run, plan)
    limit = plan.time_limit
    done = train_heads(
        base,
        train.pairs,
        val,
        run,
        _settings(plan, f"{matcher.spec.name.removesuffix('-tuned')}-tuned", len(train.said)),
        device=plan.device,
        limit=None if limit is None else max(0.0, limit - (time.monotonic() - began)),
        on_step=plan.on_step,
        negatives=train.negatives,
        certify=False,  # a predictor shows none, and time_limit is for training
    )
    bundle = folder / "model"
    shutil.move(done.bundle.folder, bundle)
    shutil.rmtree(run)
    match = _calibrated(Matcher(bundle), tuning)
    summary = {
        **{f"val_{name}": value for name, value in done.validation.by_name.items()},
        **{f"val_{name}_before": value for name, value in done.before.by_name.items()},
        "best_step": done.step,
        "training_pictures": len(train.pairs),
        "validation_pictures": len(val),
        "match_fitted_on": None if match is None else match.fitted_on,
        "training_time": time.monotonic() - began,
    }
    return Fitted(bundle, match, summary)


def require_torch() -> None:
    """Raise MissingExtraError where torch is not installed."""
    load_extra("torch", "torch", "train")


def _settings(plan: Plan, name: str, pictures: int) -> HeadSettings:
    """What the hyperparameters say, the command line's defaults for the rest. pictures: to train on."""
    from crosslens.train.heads import HeadSettings

    given = plan.hyperparameters
    chosen: dict[str, Any] = {
        "rate": given.rate, "batch": given.batch, "patience": given.patience, "steps": given.steps,
    }  # fmt: skip
    chosen = {key: value for key, value in chosen.items() if value is not None}
    settings = HeadSettings(name=name, seed=plan.seed, **chosen)
    if given.epochs is None:
        return settings
    epoch = math.ceil(pictures / min(settings.batch, max(pictures, 1)))
    steps = given.epochs * epoch if given.steps is None else min(given.steps, given.epochs * epoch)
    return replace(settings, steps=steps)


def _warn_of_unreadable(base: str, parts: Sequence[Pairs], run: Path, plan: Plan) -> None:
    """Embed all pictures, which training then finds done; those that cannot be are named and left out."""
    from crosslens.models.catalogue import find_bundle
    from crosslens.train.cached_embeddings import KeptOutputs

    kept = KeptOutputs(run / "outputs", find_bundle(base), device=plan.device, on_step=plan.on_step)
    lost = [
        pairs.sources[row]
        for pairs in parts
        for row in np.flatnonzero(np.isnan(kept.images(pairs.images, pairs.sources)).any(axis=1)).tolist()
    ]
    if lost:
        more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
        message = f"pictures that cannot be read are left out of training: {', '.join(lost[:3])}{more}"
        warn(ImageSkippedWarning(message))


def _calibrated(matcher: Matcher, tuning: Labelled) -> MatchSpec | None:
    """A match probability fitted to held-out pairs; None where all of them match, or none is readable."""
    pairs = [(row, text, 1) for row in tuning.said for text in tuning.pairs.texts[row]]
    pairs += [(row, text, 0) for row, text in tuning.negatives]
    found = matcher.embed_images(tuning.pairs.images, on_error="skip")
    place = {row: number for number, row in enumerate(found.rows.tolist())}
    pairs = [(place[row], text, label) for row, text, label in pairs if row in place]
    labels = [label for _, _, label in pairs]
    if set(labels) != {0, 1}:
        return None
    texts = matcher.embed_texts([text for _, text, _ in pairs])
    cosines = (found.vectors[[row for row, _, _ in pairs]] * texts).sum(axis=1)
    try:
        return fit_match(np.clip(cosines, -1, 1), labels)
    except InputError as error:  # the model is there all the same
        message = f"no match probability was fitted: {error.problem}"
        warn(CrosslensWarning(message))
        return None
