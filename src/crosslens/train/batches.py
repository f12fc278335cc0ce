"""Batches: pictures in the order of the epoch, each as a random crop, and a caption of each.

Everything random follows from the seed and the step's number.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crosslens.errors import InputError
from crosslens.train.caption_table import TextTable
from crosslens.train.distributed import Ranks
from crosslens.train.label_texts import Labels
from crosslens.train.pair_dataset import Groups, Pairs, Pixels, epoch_rows, random_view
from crosslens.train.recipe import Recipe, Stage

_NEAREST = 16


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's inputs. pictures: rows of the training pictures. captions: rows of the table of texts.

    pixels: uint8 (n, 3, s, s), of this process's part of the pictures.
    """

    pictures: NDArray[np.int64]
    captions: NDArray[np.int64]
    pixels: NDArray[np.uint8]


class Batches:
    """The batches of a run. size: side of the model's input, for stages that name none.

    ranks: the processes that share each batch; they agree on its pictures. labels: for stages that draw by
    class. Raises InputError where a batch is
    too small to be shared.
    """

    def __init__(
        self,
        recipe: Recipe,
        train: Pairs,
        texts: TextTable,
        size: int,
        ranks: Ranks,
        labels: Labels | None = None,
    ) -> None:
        self._recipe, self._texts, self._size, self._total = recipe, texts, size, len(train)
        self._ranks, self._labels = ranks, labels
        self._groups = Groups.of(train) if any(stage.one_group for stage in recipe.stages) else None
        least = min(_least(recipe, stage, len(train)) for stage in recipe.stages)
        if least < ranks.count:
            raise InputError(
                f"a batch may have {least} pictures, and {ranks.count} processes share it",
                "Start fewer processes, or give larger batches",
            )
        self._pixels = Pixels(train.images, max(size, *(stage.size or 0 for stage in recipe.stages)))
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="crosslens-views")

    def batch(self, step: int, seen: Tensor) -> Batch:
        """The batch of a step, counted from 0.

        seen: (pictures, d), the last vector of each training picture, by which hard negatives are chosen.
        """
        stage = self._recipe.stage_at(step)
        random = np.random.default_rng([self._recipe.seed, step, 1])
        pictures = self._pictures(step, stage, random, seen)
        captions = self._texts.choose(pictures, random)
        part = self._ranks.part(len(pictures))
        own = range(part.start, part.stop)
        # A view takes as many random numbers whatever the picture's size, so others' pictures stay closed.
        sizes = [
            self._pixels.picture(row).size if number in own else (1, 1)
            for number, row in enumerate(pictures.tolist())
        ]
        views = [random_view(random, size, stage.least_area) for size in sizes]
        rows = pictures[part].tolist()
        pixels = self._pixels.batch(rows, views[part], stage.size or self._size, self._pool)
        return Batch(pictures, captions, pixels)

    def _pictures(
        self, step: int, stage: Stage, random: np.random.Generator, seen: Tensor
    ) -> NDArray[np.int64]:
        """The next rows in the order of the epoch; some are exchanged for pictures that are like others."""
        total, first = self._total, self._recipe.pairs_until(step)
        rows = epoch_rows(first, min(stage.batch, total), total, self._recipe.seed)
        drawn = round(stage.by_class * len(rows))
        if drawn and self._labels is not None:
            rows[:drawn] = self._labels.draw(drawn, random)
        together = round(stage.one_group * len(rows))
        if together and self._groups is not None:
            found = self._groups.draw(together, random)
            rows[drawn : drawn + len(found)] = found
        if drawn or together:
            rows = np.unique(rows)
        hard = round(self._recipe.loss.hard_negatives * len(rows))
        if hard:
            anchors = torch.from_numpy(rows[:hard])
            scores = (seen[anchors].float() @ seen.float().T).scatter(1, anchors[:, None], -2.0)
            nearest = scores.topk(min(_NEAREST, total - 1), dim=1).indices.numpy()
            rows[-hard:] = nearest[np.arange(hard), random.integers(nearest.shape[1], size=hard)]
            # Scores that are nearly equal may be in another order elsewhere.
            rows = self._ranks.agreed(np.unique(rows))
        return rows


def _least(recipe: Recipe, stage: Stage, pictures: int) -> int:
    """Pictures of the smallest batch: those that are drawn or exchanged may be there already."""
    count = min(stage.batch, pictures)
    count -= round(stage.by_class * count) + round(stage.one_group * count)
    return count - round(recipe.loss.hard_negatives * count)
