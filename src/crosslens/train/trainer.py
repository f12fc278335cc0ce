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

import numpy as np
import torch

from crosslens.train.batches import Batch, Batches
from crosslens.train.caption_table import TextTable
from crosslens.train.checkpoint import load_checkpoint, save_checkpoint
from crosslens.train.distillation import Distillation
from crosslens.train.distributed import Ranks
from crosslens.train.initial_model import Start
from crosslens.train.label_texts import Labels
from crosslens.train.mixed_precision import autocast
from crosslens.train.objective import Objective
from crosslens.train.optimizer import RunningMean, make_optimizer, rate_at
from crosslens.train.pair_dataset import Pairs
from crosslens.train.recipe import Recipe, Stage
from crosslens.train.validation import Validation, validate


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


class Trainer:
    """A run in a folder: `steps` yields a Report for each step that is still to be done.

    folder: holds checkpoint.pt. device: as torch names it. ranks: the processes that take the steps together,
    each with a trainer, on the device that they name; None: this one alone.
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
        ranks: Ranks | None = None,
    ) -> None:
        self.recipe, self.started, self.train, self.val = recipe, started, train, val
        self.ranks = ranks or Ranks(device=device)
        self.folder, self.device = folder, torch.device(self.ranks.device)
        self.labels = labels
        self.model = started.model.to(self.device)
        texts = TextTable.of(train, started, before=recipe.loss.looks_back, device=self.device)
        self.batches = Batches(recipe, train, texts, started.image.size, self.ranks, labels)
        self.objective = Objective(recipe, started, texts, labels, len(train), self.ranks)
        self.optimizer = make_optimizer(self.model, recipe.rates)
        self.average = RunningMean(self.model, recipe.rates.ema)
        self.step, self.best, self.waited = 0, -1.0, 0

    def follow(self, teacher: Distillation) -> None:
        """Take in a teacher's terms and their maps, before anything else is done."""
        self.objective.teacher = teacher.to(self.device)
        maps = list(teacher.parameters())
        if maps:
            highest = self.recipe.rates.heads
            self.optimizer.add_param_group({"params": maps, "highest": highest, "weight_decay": 0.0})

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
                out_of_time = limit is not None and self._all_know(now - begun > limit)
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
        with self.average.in_model():
            found = self._measured()
            if found.score > self.best:
                self.best, self.waited = found.score, 0
                if self.ranks.first:
                    save_checkpoint(
                        self.folder / "best.pt", {"step": self.step, "model": self.model.state_dict()}
                    )
            else:
                self.waited += 1
        return found

    def _measured(self) -> Validation:
        """By the first process, for which the others wait."""
        figures = np.zeros(3)
        if self.ranks.first:
            found = validate(self.model, self.started, self.val, self.device)
            figures = np.array([found.recall_1, found.recall_5, found.recall_10])
        return Validation(*self.ranks.agreed(figures).tolist())

    def _all_know(self, fact: bool) -> bool:
        """What the first process knows."""
        return bool(self.ranks.agreed(np.array([fact], np.int64))[0])

    # -- one step ------------------------------------------------------------------------------------

    def _train_step(self, batch: Batch, stage: Stage) -> dict[str, float]:
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.step)  # of dropout, where a tower has any
        self.model.train()
        self.model.select(stage.image_blocks, text=stage.text)
        for group in self.optimizer.param_groups:
            group["lr"] = group["highest"] * rate_at(self.recipe, self.step)
        with autocast(self.device):
            parts = self.objective.parts(batch, self.step)
        loss = torch.stack(list(parts.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        teacher = self.objective.teacher
        values = [*self.model.parameters(), *(() if teacher is None else teacher.parameters())]
        trained = [value for value in values if value.grad is not None]
        self.ranks.average_gradients(trained)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        self.optimizer.step()
        self.average.update(self.step)
        return {name: float(value.detach()) for name, value in parts.items()}

    def _batch(self, step: int) -> Batch:
        return self.batches.batch(step, self.objective.seen)

    # -- state ---------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write the checkpoint, where this is the first process."""
        if not self.ranks.first:
            return
        teacher = self.objective.teacher
        save_checkpoint(
            self.folder / "checkpoint.pt",
            {
                "step": self.step,
                "best": self.best,
                "waited": self.waited,
                "model": self.model.state_dict(),
                "average": self.average.weights,
                "optimizer": self.optimizer.state_dict(),
                "bank": self.objective.bank,
                "seen": self.objective.seen,
                **({} if teacher is None else {"teacher": teacher.state_dict()}),
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
        self.average.load(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.objective.teacher is not None:
            self.objective.teacher.load_state_dict(state["teacher"])
        self.objective.seen = state["seen"]
        self.objective.bank = None if state["bank"] is None else state["bank"].to(self.device)
        return True

    def share(self) -> None:
        """Give all processes the first one's weights."""
        teacher = self.objective.teacher
        maps = [] if teacher is None else teacher.state_dict().values()
        self.ranks.share([*self.model.state_dict().values(), *self.average.weights.values(), *maps])

    def load_best(self) -> int:
        """Put the best weights into the model; returns the step they are of."""
        path = self.folder / "best.pt"
        if not path.is_file():
            self.model.load_state_dict(self.average.weights)
            return self.step
        state = load_checkpoint(path)
        self.model.load_state_dict(state["model"])
        return int(state["step"])
