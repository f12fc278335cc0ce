"""The training objective: a batch → the parts of its loss."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crosslens.train.batches import Batch
from crosslens.train.caption_table import TextTable
from crosslens.train.distillation import Distillation
from crosslens.train.distributed import Ranks
from crosslens.train.initial_model import Start
from crosslens.train.label_texts import Labels
from crosslens.train.losses import contrastive_loss, label_loss, targets
from crosslens.train.recipe import Recipe

_TEXTS_TOGETHER = 64


class Objective:
    """The loss of a model in training.

    pictures: number of all that are trained on. ranks: the processes that compute it together; each returns
    the loss of the whole batch.
    bank: vectors of all label texts, of the last refresh or later. seen: bf16 (pictures, d), the last vector
    of each training picture. teacher: see `Trainer.follow`.
    """

    def __init__(
        self,
        recipe: Recipe,
        started: Start,
        texts: TextTable,
        labels: Labels | None,
        pictures: int,
        ranks: Ranks,
    ) -> None:
        self._recipe, self._started, self._texts, self._labels = recipe, started, texts, labels
        self._model, self._ranks, self._device = started.model, ranks, torch.device(ranks.device)
        self.teacher: Distillation | None = None
        self.bank: Tensor | None = None
        self.seen = torch.zeros(pictures, started.dimension, dtype=torch.bfloat16)

    def parts(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """The parts of the loss by name, weighted: their sum is minimised."""
        loss, model = self._recipe.loss, self._model
        own = model.embed_images(torch.from_numpy(batch.pixels).to(self._device))
        images = self._ranks.gather(own, len(batch.pictures))
        self.seen[torch.from_numpy(batch.pictures)] = images.detach().cpu().to(torch.bfloat16)
        texts = self._embed_texts(self._texts.ids(batch.captions))
        same = self._texts.same(batch.captions, batch.pictures).to(self._device)
        similar = self._texts.similarity(batch.captions, self._device) if loss.similar_texts else None
        wanted = targets(same, similar, loss.similar_texts, loss.similar_temperature)
        parts = {"pairs": contrastive_loss(loss.kind, images, texts, model.scale, model.bias, same, wanted)}
        if loss.keep_texts:
            before = self._texts.before(batch.captions, self._device)
            parts["texts"] = loss.keep_texts * (1 - (texts * before).sum(dim=1)).mean()
        weight = self._recipe.label_weight(self._recipe.stage_at(step))
        if self._labels is not None and weight:
            parts["labels"] = weight * self._label_loss(self._labels, images, batch.pictures, step)
        if self.teacher is not None:
            parts |= self.teacher.parts(images, texts, batch, model.scale)
        return parts

    def _label_loss(self, labels: Labels, images: Tensor, pictures: NDArray[np.int64], step: int) -> Tensor:
        random = np.random.default_rng([self._recipe.seed, step, 2])
        if self.bank is None or step % self._recipe.labels.refresh == 0:
            self.bank = self._label_bank(labels, random)
        wanted = labels.of(pictures)
        fresh = self._fresh(wanted, random)
        vectors = self._embed_texts(self._started.tokenize(_some_form(labels, fresh, random)).ids)
        bank = self.bank.clone()
        bank[fresh] = vectors.detach()
        self.bank = bank
        is_fresh = torch.zeros(len(labels), dtype=torch.bool)
        is_fresh[fresh] = True
        logits = self._model.scale * images @ bank.index_put((torch.from_numpy(fresh),), vectors).T
        truth = torch.from_numpy(wanted).to(self._device)
        losses = [label_loss(logits[:, part], truth[:, part], is_fresh[part]) for part in labels.groups]
        return torch.stack(losses).sum()

    def _fresh(self, wanted: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.int64]:
        """Labels to encode: half of them true of a picture in the batch, half any."""
        count = min(self._recipe.labels.fresh, wanted.shape[1])
        true = np.flatnonzero(wanted.sum(axis=0) > 0.3)
        chosen = random.permutation(true)[: count // 2]
        rest = np.setdiff1d(random.permutation(wanted.shape[1])[:count], chosen)
        return np.sort(np.concatenate([chosen, random.permutation(rest)[: count - len(chosen)]]))

    def _label_bank(self, labels: Labels, random: np.random.Generator) -> Tensor:
        with torch.no_grad():
            ids = self._started.tokenize(_some_form(labels, np.arange(len(labels)), random)).ids
            return self._embed_texts(ids)

    def _embed_texts(self, ids: NDArray[np.int64]) -> Tensor:
        """(n, d), each process its part."""
        if len(ids) < self._ranks.count:
            return self._encode(ids)
        return self._ranks.gather(self._encode(ids[self._ranks.part(len(ids))]), len(ids))

    def _encode(self, ids: NDArray[np.int64]) -> Tensor:
        """Texts of similar length together, cut to the longest of them where that changes nothing: (n, d)."""
        if not self._model.text.spec.ignores_padding:
            return self._model.embed_texts(torch.from_numpy(ids).to(self._device))
        lengths = self._started.lengths(ids)
        order = np.argsort(lengths, kind="stable")
        found = []
        for rows in np.array_split(order, -(-len(ids) // _TEXTS_TOGETHER)):
            part = np.ascontiguousarray(ids[rows, : int(lengths[rows].max())])
            found.append(self._model.embed_texts(torch.from_numpy(part).to(self._device)))
        return torch.cat(found)[torch.from_numpy(np.argsort(order))]


def _some_form(labels: Labels, which: NDArray[np.int64], random: np.random.Generator) -> list[str]:
    return [labels.texts[n][int(random.integers(len(labels.texts[n])))] for n in which.tolist()]
