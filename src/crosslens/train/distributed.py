"""Distributed training: the processes that torchrun starts, and what they exchange.

Each computes the vectors of its part of a batch. They are gathered, so that each has the loss of the whole
batch, and gradients are averaged: all take the step that one process would take, up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch import distributed as dist

from crosslens.errors import InputError

Numbers = TypeVar("Numbers", np.int64, np.float64)
# Torchrun ends all processes when one fails. They may wait long for the first: while it measures, or asks a
# teacher.
_PATIENCE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Ranks:
    """One process among several. rank: that of the first, which alone writes and speaks, is 0.

    count: of all processes; alone, nothing is sent. device: this process's, as torch names it.
    """

    rank: int = 0
    count: int = 1
    device: str = "cpu"

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def part(self, total: int, rank: int | None = None) -> slice:
        """A process's rows of so many; None: this one's. Parts differ by at most one row."""
        rank = self.rank if rank is None else rank
        return slice(total * rank // self.count, total * (rank + 1) // self.count)

    def gather(self, own: Tensor, total: int) -> Tensor:
        """The rows of one process → those of all (total, d), in order. Gradients flow into its own."""
        gathered: Tensor = own if self.count == 1 else _Gather.apply(own, self, total)
        return gathered

    def average_gradients(self, values: Iterable[Tensor]) -> None:
        """Give all processes the mean of their gradients. values: parameters; those without one are left."""
        gradients = [value.grad for value in values if value.grad is not None]
        if self.count == 1 or not gradients:
            return
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.count
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))

    def share(self, values: Iterable[Tensor]) -> None:
        """Give all processes the first one's values, in place."""
        for value in values if self.count > 1 else ():
            sent = value.detach().to(self.device).contiguous()
            dist.broadcast(sent, 0)
            value.copy_(sent)

    def agreed(self, numbers: NDArray[Numbers]) -> NDArray[Numbers]:
        """The first process's numbers (n,), whatever the others hold, and however many."""
        if self.count == 1:
            return numbers
        count = torch.tensor([len(numbers)], device=self.device)
        dist.broadcast(count, 0)
        sent = torch.from_numpy(numbers).to(self.device)
        sent = sent if self.first else sent.new_empty(int(count))
        dist.broadcast(sent, 0)
        found: NDArray[Numbers] = sent.cpu().numpy()
        return found

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """The first process runs a block, then the others do: they find what it wrote."""
        if not self.first:
            self.agreed(np.zeros(1))
        yield
        if self.first:
            self.agreed(np.zeros(1))


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, own: Tensor, ranks: Ranks, total: int) -> Tensor:
        context.ranks, context.total = ranks, total
        padded = own.new_zeros(-(-total // ranks.count), *own.shape[1:])
        padded[: len(own)] = own
        found = [torch.empty_like(padded) for _ in range(ranks.count)]
        dist.all_gather(found, padded)
        parts = [ranks.part(total, rank) for rank in range(ranks.count)]
        return torch.cat([rows[: part.stop - part.start] for rows, part in zip(found, parts, strict=True)])

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        # Every process has the loss of the whole batch, and the rows are parts of one sum: their share of the
        # gradients must outlast the mean over all processes.
        ranks: Ranks = context.ranks
        return gradient[ranks.part(context.total)] * ranks.count, None, None


def check_device(device: str) -> None:
    """Raise InputError for CUDA where torch finds no GPU."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"device is {device!r}, and torch finds no GPU", 'Use "cpu"')


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """The processes that torchrun started, this one among them; without torchrun, this one alone.

    device: "cpu", or "cuda", of which each process takes its own; alone, whatever torch names so.
    Raises InputError.
    """
    check_device(device)
    if not dist.is_available() or not dist.is_torchelastic_launched():
        yield Ranks(device=device)
        return
    if device not in ("cpu", "cuda"):
        raise InputError(f"device is {device!r} under torchrun", 'Wanted "cuda", of which each takes its own')
    if device == "cuda":
        number, there = dist.get_node_local_rank(), torch.cuda.device_count()
        if number >= there:
            raise InputError(f"there are {there} GPUs for more processes", "Lower --nproc-per-node")
        device = f"cuda:{number}"
        torch.cuda.set_device(device)
    dist.init_process_group("gloo" if device == "cpu" else "nccl", timeout=_PATIENCE)
    yield Ranks(dist.get_rank(), dist.get_world_size(), device)
    # Not after an error: it would wait for the others, and they for this one.
    dist.destroy_process_group()
