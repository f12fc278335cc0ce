"""The PyTorch runtime for bundles of weights: CUDA, the CPU for tests, MPS as an experiment.

Pictures travel as bytes from pinned memory and are normalised on the device. While one batch computes, the
next one is on its way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from crosslens.errors import InputError, MissingExtraError, ModelError
from crosslens.models.bundle import Bundle
from crosslens.models.spec import ModelSpec, Networks
from crosslens.models.weights import as_floats, read_weights
from crosslens.texts.tokenizer import FastTokenizer
from crosslens.towers.base import check_batch
from crosslens.towers.openvino_runtime import Precision
from crosslens.towers.transformer import image_tower, text_tower
from crosslens.types import Float32


class TorchModel:
    """See `crosslens.towers.base.TwoTowers`.

    device: as torch names it: "cuda", "cuda:1", "mps", "cpu".
    precision: "auto" is bf16 on CUDA and f32 elsewhere; int8 is not offered.
    Raises MissingExtraError without torch, ModelError for a device that is not there or an image tower
    that is a graph.
    """

    concurrency = 2

    def __init__(self, bundle: Bundle, device: str = "cuda", precision: Precision = "auto") -> None:
        if precision not in get_args(Precision) or precision == "int8":
            raise InputError(f"precision is {precision!r}", "Wanted with torch: auto, bf16 or f32")
        if not isinstance(bundle.spec.towers, Networks):
            raise ModelError(
                f"the image tower of model {bundle.spec.name!r} is a graph, which torch does not run",
                'Use device="cpu", or convert the model from its weights',
            )
        self.bundle = bundle
        self._networks = bundle.spec.towers
        self._torch = _torch()
        self.device = _device(self._torch, device)
        is_cuda = self.device.type == "cuda"
        self.precision = precision if precision != "auto" else "bf16" if is_cuda else "f32"
        self.batch_size = 256 if is_cuda else 32

    @property
    def spec(self) -> ModelSpec:
        return self.bundle.spec

    @property
    def runtime(self) -> str:
        return f"torch {self.device.type} {self.precision}"

    @cached_property
    def tokenize(self) -> FastTokenizer:
        return FastTokenizer(self.bundle.tokenizer(), self.spec.text)

    @cached_property
    def image(self) -> TorchTower:
        torch, spec, ops = self._torch, self.spec.image, self._ops("image")
        mean, std = (
            torch.tensor(values, device=self.device).mul(255).reshape(1, 3, 1, 1)
            for values in (spec.mean, spec.std)
        )

        def run(batch: Any) -> Any:
            pixels = ((batch.permute(0, 3, 1, 2).float() - mean) / std).to(self._dtype)
            return image_tower(ops, self._networks.image, pixels)

        return TorchTower(run, self.device, (spec.size, spec.size, 3), np.uint8)

    @cached_property
    def text(self) -> TorchTower:
        ops, pad_id = self._ops("text"), self.spec.text.pad_id

        def run(batch: Any) -> Any:
            return text_tower(ops, self._networks.text, batch, pad_id)

        length = self.spec.text.context_length
        return TorchTower(run, self.device, (length,), np.int64, shorter=self.spec.short_texts)

    @property
    def _dtype(self) -> Any:
        return self._torch.bfloat16 if self.precision == "bf16" else self._torch.float32

    def _ops(self, tower: str) -> Any:
        from crosslens.towers.torch_ops import TorchOps

        weights = as_floats(read_weights(self.bundle.weights(self._networks), f"{tower}."))
        return TorchOps(
            {name: self._torch.from_numpy(w).to(self.device, self._dtype) for name, w in weights.items()}
        )


class TorchTower:
    """One network on a device; see `crosslens.towers.base.Tower`."""

    def __init__(
        self,
        run: Callable[[Any], Any],
        device: Any,
        shape: tuple[int, ...],
        dtype: type,
        *,
        shorter: bool = False,
    ) -> None:
        self._torch = _torch()
        self._run = run
        self._device = device
        self._shape = shape
        self._shorter = shorter
        self._dtype = np.dtype(dtype)
        # One thread copies while the other waits for its results.
        self._pool = ThreadPoolExecutor(TorchModel.concurrency, thread_name_prefix="crosslens-torch")
        self._local = threading.local()

    def submit(self, batch: NDArray[Any]) -> Future[Float32]:
        check_batch(batch, self._shape, self._dtype, shorter=self._shorter)
        return self._pool.submit(self._infer, np.ascontiguousarray(batch))

    def _infer(self, batch: NDArray[Any]) -> Float32:
        tensor = self._torch.from_numpy(batch)
        with self._torch.inference_mode():
            if self._device.type != "cuda":
                return self._numpy(self._run(tensor.to(self._device)))
            # A stream for each thread: its copies run beside the other's computing.
            with self._torch.cuda.stream(self._stream()):
                return self._numpy(self._run(tensor.pin_memory().to(self._device, non_blocking=True)))

    def _stream(self) -> Any:
        if not hasattr(self._local, "stream"):
            self._local.stream = self._torch.cuda.Stream(self._device)
        return self._local.stream

    @staticmethod
    def _numpy(vectors: Any) -> Float32:
        result: Float32 = vectors.float().cpu().numpy()
        return result


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("torch", "torch") from error
    return torch


def _device(torch: Any, name: str) -> Any:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # what torch raises differs by device and build
        reason = str(error).split("\n")[0]
        raise ModelError(f"torch cannot use device {name!r} ({reason})", 'Use device="cpu"') from error
    return device
