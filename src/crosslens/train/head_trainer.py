"""Linear maps over kept vectors, trained: steps, validations and checkpoints.

As in `train.trainer`, everything random in a step follows from the seed and the step's number.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from crosslens.evaluation.retrieval import CUTOFFS, retrieval_metrics
from crosslens.train.checkpoint import load_checkpoint, save_checkpoint
from crosslens.train.head_data import HeadData
from crosslens.train.losses import contrastive_loss, targets
from crosslens.train.pair_dataset import epoch_rows
from crosslens.train.recipe import Loss
from crosslens.train.trainer import Report
from crosslens.train.validation import Validation

# How much faster the three single numbers (scale and biases) learn than the maps.
_SCALARS = 10.0
_WARMUP = 10


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """All settings of a run.

    name: of the bundle. batch: pairs a step. rate: the highest learning rate of the maps, from which it falls
    as a cosine. decay: weight decay towards the identity. patience: validations without a better recall
    before the run ends. loss: "softmax" (CLIP) or "sigmoid" (SigLIP). validate_every: steps.
    """

    name: str = "tuned"
    steps: int = 500
    batch: int = 1024
    rate: float = 1e-4
    decay: float = 10.0
    patience: int = 6
    loss: Loss = "softmax"
    validate_every: int = 20
    seed: int = 0


class Heads(nn.Module):
    """A linear map on each side, at first the identity.

    scale: what cosines are multiplied by, at the start. image, text: (d, d), the maps less the identity.
    """

    def __init__(self, dimension: int, scale: float) -> None:
        super().__init__()
        self.image = nn.Parameter(torch.zeros(dimension, dimension))
        self.text = nn.Parameter(torch.zeros(dimension, dimension))
        self.log_scale = nn.Parameter(torch.tensor(float(np.log(scale))))
        self.bias = nn.Parameter(torch.tensor(0.0))
        self.match_bias = nn.Parameter(torch.tensor(0.0))
        self._most = max(100.0, scale)

    @property
    def scale(self) -> Tensor:
        """What cosines are multiplied by; at most 100, or what the model came with."""
        return self.log_scale.exp().clamp(max=self._most)

    def embed_images(self, vectors: Tensor) -> Tensor:
        """(n, d) → (n, d), unit length."""
        return functional.normalize(vectors + vectors @ self.image.T, dim=1)

    def embed_texts(self, vectors: Tensor) -> Tensor:
        """(n, d) → (n, d), unit length."""
        return functional.normalize(vectors + vectors @ self.text.T, dim=1)

    def maps(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(d, d) each, the identity with what was learned."""
        one, other = (torch.eye(len(part)) + part.detach().cpu() for part in (self.image, self.text))
        return one.numpy(), other.numpy()


class HeadTrainer:
    """A run in a folder: `steps` yields a Report for each step that is still to be done.

    scale: the model's logit scale. before: recall of the model as it is.
    """

    def __init__(self, settings: HeadSettings, data: HeadData, scale: float, folder: Path) -> None:
        self.settings, self.data, self.folder = settings, data, folder
        self.device = data.images.device
        self.heads = Heads(data.images.shape[1], scale).to(self.device)
        rate, heads = settings.rate, self.heads
        single = [heads.log_scale, heads.bias, heads.match_bias]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [heads.image, heads.text], "highest": rate, "weight_decay": settings.decay},
                {"params": single, "highest": _SCALARS * rate, "weight_decay": 0.0},
            ],
            lr=rate,
        )
        self.step, self.waited = 0, 0
        self.before = self.validate()
        self.best = self.before.score

    @property
    def finished(self) -> bool:
        """Whether no step is left, or no better recall came for as long as the settings have patience."""
        return self.step >= self.settings.steps or self.waited >= self.settings.patience

    # -- the loop ------------------------------------------------------------------------------------

    def first_report(self) -> Report:
        """The model as it is, before any step: its loss on the first batch, and its recall."""
        with torch.no_grad():
            parts = {name: float(value) for name, value in self._losses().items()}
        return Report(0, self.settings.steps, sum(parts.values()), parts, 0.0, 0.0, self.before)

    def start(self) -> None:
        """Begin at the identity, which is the best so far."""
        with torch.no_grad():
            # The bias from which half of the true pairs pass for pairs.
            pictures, captions = self._batch()
            images = self.data.images[torch.from_numpy(pictures)]
            texts = self.data.texts[torch.from_numpy(captions)]
            middle = -self.heads.scale * (images * texts).sum(dim=1).mean()
            self.heads.bias.copy_(middle)
            self.heads.match_bias.copy_(middle)
        self._keep_best()
        self.save()

    def steps(self, deadline: float | None = None) -> Iterator[Report]:
        """Train to the end, the end of patience, or until time.monotonic() is at `deadline`."""
        paced = time.monotonic()
        late = deadline is not None and paced >= deadline
        while not self.finished and not late:
            parts = self._train_step()
            self.step += 1
            now = time.monotonic()
            pace, paced = max(now - paced, 1e-9), now
            late = deadline is not None and now >= deadline
            validation = None
            if late or self.step == self.settings.steps or self.step % self.settings.validate_every == 0:
                validation = self._validated()
                self.save()
                paced = time.monotonic()
            left = (self.settings.steps - self.step) * pace
            rate = min(self.settings.batch, len(self.data.pictures)) / pace
            yield Report(self.step, self.settings.steps, sum(parts.values()), parts, rate, left, validation)

    def _validated(self) -> Validation:
        found = self.validate()
        if found.score > self.best:
            self.best, self.waited = found.score, 0
            self._keep_best()
        else:
            self.waited += 1
        return found

    def validate(self) -> Validation:
        """Text → image recall of the maps as they are now, on what is held out."""
        with torch.inference_mode():
            images = self.heads.embed_images(self.data.val_images).cpu().numpy()
            texts = self.heads.embed_texts(self.data.val_texts).cpu().numpy()
        figures = retrieval_metrics(images, texts, self.data.val_owner, resamples=0).text_to_image
        return Validation(*(figures[f"recall@{k}"] for k in CUTOFFS))

    # -- one step ------------------------------------------------------------------------------------

    def _train_step(self) -> dict[str, float]:
        for group in self.optimizer.param_groups:
            group["lr"] = group["highest"] * self._rate()
        parts = self._losses()
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack(list(parts.values())).sum().backward()
        self.optimizer.step()
        return {name: float(value.detach()) for name, value in parts.items()}

    def _losses(self) -> dict[str, Tensor]:
        heads, data = self.heads, self.data
        pictures, captions = self._batch()
        images = heads.embed_images(data.images[torch.from_numpy(pictures)])
        texts = heads.embed_texts(data.texts[torch.from_numpy(captions)])
        same = data.captions.same(captions, pictures).to(self.device)
        wanted = targets(same, None, 0.0, 1.0)
        parts = {
            "pairs": contrastive_loss(
                self.settings.loss, images, texts, heads.scale, heads.bias, same, wanted
            )
        }
        if len(data.negatives):
            parts["labels"] = self._match_loss((images * texts).sum(dim=1))
        return parts

    def _match_loss(self, right: Tensor) -> Tensor:
        """The sigmoid loss over pairs that are known to match, and pairs that are known not to.

        right: cosines (n,) of the batch's pairs. Each kind counts half.
        """
        heads, negatives = self.heads, self.data.negatives
        random = np.random.default_rng([self.settings.seed, self.step, 3])
        rows = negatives[random.permutation(len(negatives))[: self.settings.batch]]
        images = heads.embed_images(self.data.images[torch.from_numpy(rows[:, 0])])
        texts = heads.embed_texts(self.data.texts[torch.from_numpy(rows[:, 1])])
        wrong = (images * texts).sum(dim=1)
        yes = -functional.logsigmoid(heads.scale * right + heads.match_bias).mean()
        no = -functional.logsigmoid(-(heads.scale * wrong + heads.match_bias)).mean()
        return (yes + no) / 2

    def _batch(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(the next pictures in the order of the epoch, one caption of each at random)."""
        total, seed = len(self.data.pictures), self.settings.seed
        size = min(self.settings.batch, total)
        pictures = self.data.pictures[epoch_rows(self.step * size, size, total, seed)]
        return pictures, self.data.captions.choose(pictures, np.random.default_rng([seed, self.step, 1]))

    def _rate(self) -> float:
        """What the highest rates are multiplied by at this step: a short rise, then a cosine to 0."""
        rise = min(1.0, (self.step + 1) / _WARMUP)
        return rise * (1 + float(np.cos(np.pi * self.step / self.settings.steps))) / 2

    # -- state ---------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write the checkpoint."""
        save_checkpoint(
            self.folder / "checkpoint.pt",
            {
                "step": self.step,
                "best": self.best,
                "waited": self.waited,
                "heads": self.heads.state_dict(),
                "optimizer": self.optimizer.state_dict(),
            },
        )

    def resume(self) -> bool:
        """Go on from the checkpoint, if there is one. Raises InputError."""
        path = self.folder / "checkpoint.pt"
        if not path.is_file():
            return False
        state = load_checkpoint(path)
        self.step, self.best, self.waited = state["step"], state["best"], state["waited"]
        self.heads.load_state_dict(state["heads"])
        self.optimizer.load_state_dict(state["optimizer"])
        return True

    def _keep_best(self) -> None:
        save_checkpoint(self.folder / "best.pt", {"step": self.step, "heads": self.heads.state_dict()})

    def load_best(self) -> int:
        """Put the best maps into the heads; returns the step they are of. Raises InputError."""
        state = load_checkpoint(self.folder / "best.pt")
        self.heads.load_state_dict(state["heads"])
        return int(state["step"])
