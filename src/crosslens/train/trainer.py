"""The training loop: batches in, steps of the optimiser, validations, checkpoints.

Everything random in a step follows from the seed and the step's number, so a run that was killed and resumed
takes the same steps as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crosslens.train.checkpoint import load_checkpoint, save_checkpoint
from crosslens.train.labels import Labels
from crosslens.train.losses import contrastive_loss, label_loss, targets
from crosslens.train.pairs import Pairs, Pixels, random_view
from crosslens.train.recipe import Recipe, Stage
from crosslens.train.start import Start
from crosslens.train.texts import TextTable
from crosslens.train.validation import Validation, validate

_NEAREST = 16
_TEXTS_TOGETHER = 64


@dataclass(frozen=True, slots=True)
class Report:
    """One step. loss, parts: in nats. rate: pairs a second. left: seconds to the end, by the recent pace.

    validation: where this step was followed by one.
    """

    step: int
    steps: int
    loss: float
    parts: dict[str, float]
    rate: float
    left: float
    validation: Validation | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's inputs. pictures: rows of the training pictures. captions: rows of the table of texts."""

    pictures: NDArray[np.int64]
    captions: NDArray[np.int64]
    pixels: NDArray[np.uint8]


class Trainer:
    """A run in a folder: `steps` yields a Report for each step that is still to be done.

    folder: holds checkpoint.pt. device: as torch names it.
    """

    def __init__(
        self,
        recipe: Recipe,
        started: Start,
        train: Pairs,
        val: Pairs,
        labels: Labels | None,
        folder: Path,
        *,
        device: str = "cpu",
    ) -> None:
        self.recipe, self.started, self.train, self.val, self.labels = recipe, started, train, val, labels
        self.folder, self.device = folder, torch.device(device)
        self.model = started.model.to(self.device)
        self.texts = TextTable.of(train, started, before=recipe.loss.looks_back, device=self.device)
        self.pixels = Pixels(train.images, max(started.image.size, *(s.size or 0 for s in recipe.stages)))
        self.pool = ThreadPoolExecutor(2, thread_name_prefix="crosslens-views")
        self.optimizer = self._optimizer()
        self.average = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.step, self.best, self.waited = 0, -1.0, 0
        self.bank: Tensor | None = None  # vectors of all label texts, of the last refresh or later
        self.seen = torch.zeros(len(train), started.dimension, dtype=torch.bfloat16)

    # -- the loop ------------------------------------------------------------------------------------

    def steps(self, limit: float | None = None) -> Iterator[Report]:
        """Train to the end of the recipe, the end of patience, or for `limit` seconds; then save."""
        begun = paced = time.monotonic()
        ahead: Future[Batch] | None = None
        with ThreadPoolExecutor(1, thread_name_prefix="crosslens-batches") as preparing:
            while self.step < self.recipe.steps and self.waited < self.recipe.patience:
                batch = self._batch(self.step) if ahead is None else ahead.result()
                more = self.step + 1 < self.recipe.steps
                # A batch with hard negatives depends on the step before it, so it cannot be made ahead of it.
                ahead = (
                    preparing.submit(self._batch, self.step + 1)
                    if more and not self.recipe.loss.hard_negatives
                    else None
                )
                stage = self.recipe.stage_at(self.step)
                parts = self._train_step(batch, stage)
                self.step += 1
                now = time.monotonic()
                pace, paced = now - paced, now
                out_of_time = limit is not None and now - begun > limit
                validation = self._validated(last=out_of_time or self.step == self.recipe.steps)
                if validation is not None:
                    paced = time.monotonic()
                if validation is not None or self.step % self.recipe.save_every == 0:
                    self.save()
                left = (self.recipe.steps - self.step) * pace
                rate = stage.batch / pace
                yield Report(self.step, self.recipe.steps, sum(parts.values()), parts, rate, left, validation)
                if out_of_time:
                    break
        self.save()

    def _validated(self, *, last: bool) -> Validation | None:
        if not last and self.step % self.recipe.validate_every:
            return None
        with self._averaged():
            found = validate(self.model, self.started, self.val, self.device)
            if found.score > self.best:
                self.best, self.waited = found.score, 0
                save_checkpoint(
                    self.folder / "best.pt", {"step": self.step, "model": self.model.state_dict()}
                )
            else:
                self.waited += 1
        return found

    # -- one step ------------------------------------------------------------------------------------

    def _train_step(self, batch: Batch, stage: Stage) -> dict[str, float]:
        self.model.train()
        self.model.select(stage.image_blocks, text=stage.text)
        for group in self.optimizer.param_groups:
            group["lr"] = group["highest"] * self._rate()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._in_bf16):
            parts = self._losses(batch)
        loss = torch.stack(list(parts.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in self.model.parameters() if p.grad is not None], 1.0)
        self.optimizer.step()
        self._average()
        return {name: float(value.detach()) for name, value in parts.items()}

    @property
    def _in_bf16(self) -> bool:
        return self.device.type == "cuda" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        loss = self.recipe.loss
        images = self.model.embed_images(torch.from_numpy(batch.pixels).to(self.device))
        self.seen[torch.from_numpy(batch.pictures)] = images.detach().cpu().to(torch.bfloat16)
        texts = self._embed_texts(self.texts.ids(batch.captions))
        same = self.texts.same(batch.captions, batch.pictures).to(self.device)
        similar = self.texts.similarity(batch.captions, self.device) if loss.similar_texts else None
        wanted = targets(same, similar, loss.similar_texts, loss.similar_temperature)
        parts = {
            "pairs": contrastive_loss(
                loss.kind, images, texts, self.model.scale, self.model.bias, same, wanted
            )
        }
        if loss.keep_texts:
            before = self.texts.before(batch.captions, self.device)
            parts["texts"] = loss.keep_texts * (1 - (texts * before).sum(dim=1)).mean()
        if self.labels is not None and loss.labels:
            parts["labels"] = loss.labels * self._label_loss(images, batch.pictures)
        return parts

    def _label_loss(self, images: Tensor, pictures: NDArray[np.int64]) -> Tensor:
        labels = self.labels
        assert labels is not None  # noqa: S101
        random = np.random.default_rng([self.recipe.seed, self.step, 2])
        if self.bank is None or self.step % self.recipe.labels.refresh == 0:
            self.bank = self._label_bank(labels, random)
        wanted = labels.of(pictures)
        fresh = self._fresh(wanted, random)
        vectors = self._embed_texts(self.started.tokenize(_some_form(labels, fresh, random)).ids)
        bank = self.bank.clone()
        bank[fresh] = vectors.detach()
        self.bank = bank
        is_fresh = torch.zeros(len(labels), dtype=torch.bool)
        is_fresh[fresh] = True
        logits = self.model.scale * images @ bank.index_put((torch.from_numpy(fresh),), vectors).T
        truth = torch.from_numpy(wanted).to(self.device)
        losses = [label_loss(logits[:, part], truth[:, part], is_fresh[part]) for part in labels.groups]
        return torch.stack(losses).sum()

    def _fresh(self, wanted: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.int64]:
        """Labels to encode: half of them true of a picture in the batch, half any."""
        count = min(self.recipe.labels.fresh, wanted.shape[1])
        true = np.flatnonzero(wanted.sum(axis=0) > 0.3)
        chosen = random.permutation(true)[: count // 2]
        rest = np.setdiff1d(random.permutation(wanted.shape[1])[:count], chosen)
        return np.sort(np.concatenate([chosen, random.permutation(rest)[: count - len(chosen)]]))

    def _label_bank(self, labels: Labels, random: np.random.Generator) -> Tensor:
        with torch.no_grad():
            ids = self.started.tokenize(_some_form(labels, np.arange(len(labels)), random)).ids
            return self._embed_texts(ids)

    def _embed_texts(self, ids: NDArray[np.int64]) -> Tensor:
        """Texts of similar length together, cut to the longest of them where that changes nothing: (n, d)."""
        if not self.started.model.text.spec.ignores_padding:
            return self.model.embed_texts(torch.from_numpy(ids).to(self.device))
        lengths = (ids != self.started.text.pad_id).sum(axis=1)
        order = np.argsort(lengths, kind="stable")
        found = []
        for rows in np.array_split(order, -(-len(ids) // _TEXTS_TOGETHER)):
            part = np.ascontiguousarray(ids[rows, : int(lengths[rows].max())])
            found.append(self.model.embed_texts(torch.from_numpy(part).to(self.device)))
        return torch.cat(found)[torch.from_numpy(np.argsort(order))]

    # -- batches -------------------------------------------------------------------------------------

    def _batch(self, step: int) -> Batch:
        stage = self.recipe.stage_at(step)
        random = np.random.default_rng([self.recipe.seed, step, 1])
        pictures = self._pictures(step, stage, random)
        captions = self.texts.choose(pictures, random)
        sizes = [self.pixels.picture(row).size for row in pictures.tolist()]
        views = [random_view(random, size, stage.least_area) for size in sizes]
        size = stage.size or self.started.image.size
        return Batch(pictures, captions, self.pixels.batch(pictures.tolist(), views, size, self.pool))

    def _pictures(self, step: int, stage: Stage, random: np.random.Generator) -> NDArray[np.int64]:
        """The next rows in the order of the epoch; some are exchanged for pictures that are like others."""
        total = len(self.train)
        first = self.recipe.pairs_until(step)
        places = np.arange(first, first + min(stage.batch, total))
        epochs = sorted({int(place) // total for place in places})
        orders = {e: np.random.default_rng([self.recipe.seed, e]).permutation(total) for e in epochs}
        rows = np.array([orders[place // total][place % total] for place in places.tolist()], np.int64)
        hard = round(self.recipe.loss.hard_negatives * len(rows))
        if hard:
            anchors = torch.from_numpy(rows[:hard])
            scores = (self.seen[anchors].float() @ self.seen.float().T).scatter(1, anchors[:, None], -2.0)
            nearest = scores.topk(min(_NEAREST, total - 1), dim=1).indices.numpy()
            rows[-hard:] = nearest[np.arange(hard), random.integers(nearest.shape[1], size=hard)]
            rows = np.unique(rows)
        return rows

    # -- rates, averages, state ----------------------------------------------------------------------

    def _optimizer(self) -> torch.optim.Optimizer:
        rates, model = self.recipe.rates, self.model
        heads = [model.log_scale, model.bias, *model.image.head_parameters(), *model.text.head_parameters()]
        kinds = (
            (heads, rates.heads),
            (model.text.body_parameters(), rates.text),
            (model.image.body_parameters(), rates.image),
        )
        table = model.text.table
        groups = []
        for values, rate in kinds:
            # Decay would shrink what is seldom used, such as rows of the token table, and what is no matrix.
            decayed = [v for v in values if v.ndim > 1 and v is not table]
            rest = [v for v in values if v.ndim <= 1 or v is table]
            groups += [
                {"params": decayed, "highest": rate, "weight_decay": rates.decay},
                {"params": rest, "highest": rate, "weight_decay": 0.0},
            ]
        return torch.optim.AdamW([g for g in groups if g["params"]], lr=1e-3, betas=(0.9, 0.98), eps=1e-6)

    def _rate(self) -> float:
        """What the highest rates are multiplied by at this step."""
        rates, done = self.recipe.rates, self.step
        if done < rates.warmup:
            return (done + 1) / rates.warmup
        part = (done - rates.warmup) / max(1, self.recipe.steps - rates.warmup)
        return rates.final + (1 - rates.final) * (1 + float(np.cos(np.pi * part))) / 2

    def _average(self) -> None:
        # A young mean follows quickly, so that it does not remember the start.
        decay = (
            min(self.recipe.rates.ema, (1 + self.step) / (10 + self.step)) if self.recipe.rates.ema else 0.0
        )
        for name, value in self.model.state_dict().items():
            self.average[name].lerp_(value.detach(), 1 - decay)

    def _averaged(self) -> _Swapped:
        return _Swapped(self.model, self.average)

    def save(self) -> None:
        """Write the checkpoint."""
        save_checkpoint(
            self.folder / "checkpoint.pt",
            {
                "step": self.step,
                "best": self.best,
                "waited": self.waited,
                "model": self.model.state_dict(),
                "average": self.average,
                "optimizer": self.optimizer.state_dict(),
                "bank": self.bank,
                "seen": self.seen,
            },
        )

    def resume(self) -> bool:
        """Go on from the checkpoint, if there is one. Raises InputError."""
        path = self.folder / "checkpoint.pt"
        if not path.is_file():
            return False
        state = load_checkpoint(path)
        self.step, self.best, self.waited = state["step"], state["best"], state["waited"]
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.bank, self.seen = state["bank"], state["seen"]
        return True

    def load_best(self) -> int:
        """Put the best weights into the model; returns the step they are of."""
        path = self.folder / "best.pt"
        if not path.is_file():
            self.model.load_state_dict(self.average)
            return self.step
        state = load_checkpoint(path)
        self.model.load_state_dict(state["model"])
        return int(state["step"])


class _Swapped:
    """The averaged weights in the model while a block runs."""

    def __init__(self, model: torch.nn.Module, average: dict[str, Tensor]) -> None:
        self._model, self._average = model, average
        self._kept: dict[str, Tensor] = {}

    def __enter__(self) -> None:
        self._kept = {name: value.detach().clone() for name, value in self._model.state_dict().items()}
        self._model.load_state_dict(self._average)

    def __exit__(self, *_: Any) -> None:
        self._model.load_state_dict(self._kept)


def _some_form(labels: Labels, which: NDArray[np.int64], random: np.random.Generator) -> list[str]:
    return [labels.texts[n][int(random.integers(len(labels.texts[n])))] for n in which.tolist()]
