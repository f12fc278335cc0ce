"""The OpenVINO runtime, the default: on the CPU or another device that it knows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from crosslens.errors import InputError, ModelError
from crosslens.models.bundle import Bundle
from crosslens.models.spec import GraphAndNetwork, Graphs, ModelSpec, Networks
from crosslens.models.weights import read_weights
from crosslens.texts.tokenizer import FastTokenizer
from crosslens.towers.base import check_batch
from crosslens.towers.compiled_cache import load_compiled, save_compiled
from crosslens.towers.onnx_graph import read_graph
from crosslens.types import Float32

Precision = Literal["auto", "f32", "bf16", "int8"]


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class OpenVinoModel:
    """A bundle run by OpenVINO; see `crosslens.towers.base.TwoTowers`.

    precision: "auto" is bf16 where the device computes in it and f32 elsewhere. "int8" takes the image tower
    from `quantised`, a graph file made by `models quantize`; the text tower is then as for "auto".
    cache: folder for compiled graphs, which makes later starts faster; None keeps none.
    device: a name that OpenVINO gives: "CPU", "GPU", "GPU.1".
    """

    batch_size = 32

    def __init__(
        self,
        bundle: Bundle,
        precision: Precision = "auto",
        cache: Path | None = None,
        *,
        quantised: Path | None = None,
        device: str = "CPU",
    ) -> None:
        if precision not in get_args(Precision):
            wanted = ", ".join(get_args(Precision))
            raise InputError(f"precision is {precision!r}", f"Wanted one of {wanted}")
        self.bundle = bundle
        self._cache = cache
        self._asked_precision = precision
        self.quantised = quantised
        self._device = device
        self.concurrency = available_cores()

    @property
    def spec(self) -> ModelSpec:
        return self.bundle.spec

    @property
    def runtime(self) -> str:
        return f"OpenVINO {self._device} {self.precision}"

    @cached_property
    def precision(self) -> str:
        """The precision of the image tower in use: "int8", "bf16" or "f32"."""
        return self._asked_precision if self._asked_precision != "auto" else self._best_float

    @cached_property
    def _best_float(self) -> str:
        return "bf16" if "BF16" in self._property("OPTIMIZATION_CAPABILITIES") else "f32"

    def _property(self, name: str) -> Any:
        try:
            return self._core.get_property(self._device, name)
        except RuntimeError as error:
            found = ", ".join(self._core.available_devices)
            raise ModelError(f"OpenVINO finds no device {self._device!r}", f"It finds: {found}") from error

    @cached_property
    def tokenize(self) -> FastTokenizer:
        return FastTokenizer(self.bundle.tokenizer(), self.spec.text)

    @cached_property
    def image(self) -> OpenVinoTower:
        size = self.spec.image.size
        if self.precision == "int8":
            compiled = self._compiled("image", self._best_float, [self._int8()], self._quantised_graph)
        else:
            compiled = self._compiled("image", self.precision, self._files("image"), self.image_graph)
        return OpenVinoTower(compiled, self.concurrency, (size, size, 3), np.uint8)

    @cached_property
    def text(self) -> OpenVinoTower:
        precision = self._best_float if self.precision == "int8" else self.precision
        compiled = self._compiled("text", precision, self._files("text"), self.text_graph)
        return OpenVinoTower(compiled, self.concurrency, (self.spec.text.context_length,), np.int64,
                             shorter=self.spec.short_texts)  # fmt: skip

    @cached_property
    def _core(self) -> Any:
        import openvino

        # Its table of types is made by whoever asks first. Two threads that ask first together wait for each
        # other for good, one with Python's lock and one with C++'s.
        openvino.Type.f32.to_dtype()
        return openvino.Core()

    # -- graphs -----------------------------------------------------------------------------------

    def image_graph(self) -> Any:
        """The image tower with uint8 (n, s, s, 3) for input; mean and deviation are part of it."""
        spec, size = self.spec, self.spec.image.size
        if not isinstance(spec.towers, Networks):
            path, shape = self.bundle.graph(spec.towers.image), (3, size, size)
            graph = read_graph(self._core, path, spec.towers.image, shape, spec.dimension, None)
        else:
            from crosslens.towers.openvino_graph import image_graph

            graph = image_graph(spec.towers.image, self._weights(spec.towers, "image"), size)
        return self._with_normalisation(graph)

    def text_graph(self) -> Any:
        """The text tower with int64 (n, length) for input."""
        spec, length, pad_id = self.spec, self.spec.text.context_length, self.spec.text.pad_id
        if isinstance(spec.towers, Graphs):
            path = self.bundle.graph(spec.towers.text)
            return read_graph(self._core, path, spec.towers.text, (length,), spec.dimension, pad_id)
        from crosslens.towers.openvino_graph import text_graph

        return text_graph(spec.towers.text, self._weights(spec.towers, "text"), pad_id)

    def _weights(self, networks: Networks | GraphAndNetwork, tower: str) -> dict[str, NDArray[Any]]:
        return read_weights(self.bundle.weights(networks), f"{tower}.")

    def _with_normalisation(self, graph: Any) -> Any:
        import openvino
        from openvino.preprocess import PrePostProcessor

        spec = self.spec.image
        processor = PrePostProcessor(graph)
        port = processor.input()
        port.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
        port.model().set_layout(openvino.Layout("NCHW"))
        steps = port.preprocess().convert_element_type(openvino.Type.f32)
        steps.mean([255 * value for value in spec.mean]).scale([255 * value for value in spec.std])
        return processor.build()

    def _int8(self) -> Path:
        if self.quantised is None or not self.quantised.is_file():
            raise ModelError(
                f"model {self.spec.name!r} has no int8 image tower yet",
                f"Make one from pictures like yours: crosslens models quantize {self.spec.name} --images DIR",
            )
        return self.quantised

    def _quantised_graph(self) -> Any:
        return self._core.read_model(self._int8())

    # -- compiling --------------------------------------------------------------------------------

    def _files(self, tower: str) -> list[Path]:
        """What a tower is made from."""
        towers = self.spec.towers
        if isinstance(towers, Graphs):
            file = towers.image.file if tower == "image" else towers.text.file
        elif isinstance(towers, GraphAndNetwork) and tower == "image":
            file = towers.image.file
        else:
            file = towers.file
        return [self.bundle.folder / file]

    def _compiled(self, tower: str, precision: str, sources: Sequence[Path], make: Callable[[], Any]) -> Any:
        """A graph ready to run: from the cache if a whole one is there, else made, compiled and kept."""
        import openvino

        config = {
            "INFERENCE_PRECISION_HINT": precision,
            # One thread to a stream: batches run beside each other without waiting for each other, and
            # decoding threads that take a core delay one batch, not all of them.
            "NUM_STREAMS": self.concurrency,
        }
        if self._device == "CPU":
            config["INFERENCE_NUM_THREADS"] = self.concurrency
            # Weights in int8 must not make it round activations to int8 as well, as it may on some CPUs.
            config["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = 0
        if self._cache is None:
            return self._core.compile_model(make(), self._device, config)
        file = self._cache / f"{self._key(tower, precision, sources)}.blob"
        blob = load_compiled(file, sources)
        if blob is not None:
            return self._core.import_model(openvino.Tensor(blob), self._device, config)
        compiled = self._core.compile_model(make(), self._device, config)
        save_compiled(file, compiled.export_model().getbuffer(), sources)
        return compiled

    def _key(self, tower: str, precision: str, sources: Sequence[Path]) -> str:
        """A name that differs wherever a compiled graph would."""
        import openvino

        device = (self._property("FULL_DEVICE_NAME"), sorted(self._property("OPTIMIZATION_CAPABILITIES")))
        facts = (self.spec, tower, precision, self.concurrency, openvino.__version__, device, len(sources))
        quantised = str(self.quantised) if tower == "image" and self.precision == "int8" else ""
        return hashlib.sha256(repr((*facts, quantised)).encode()).hexdigest()[:32]


class OpenVinoTower:
    """A compiled graph with one inference request to a stream; see `crosslens.towers.base.Tower`."""

    def __init__(
        self, compiled: Any, streams: int, shape: tuple[int, ...], dtype: type, *, shorter: bool = False
    ) -> None:
        self._requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(streams):
            self._requests.put(compiled.create_infer_request())
        self._pool = ThreadPoolExecutor(streams, thread_name_prefix="crosslens-tower")
        self._shape = shape
        self._shorter = shorter
        self._one_by_one = compiled.input().get_partial_shape()[0].is_static
        self._dtype = np.dtype(dtype)

    def submit(self, batch: NDArray[Any]) -> Future[Float32]:
        check_batch(batch, self._shape, self._dtype, shorter=self._shorter)
        return self._pool.submit(self._run, np.ascontiguousarray(batch))

    def _run(self, batch: NDArray[Any]) -> Float32:
        request = self._requests.get()
        try:
            parts = np.split(batch, len(batch)) if self._one_by_one else [batch]
            return np.concatenate([self._infer(request, part) for part in parts])
        finally:
            self._requests.put(request)

    @staticmethod
    def _infer(request: Any, batch: NDArray[Any]) -> Float32:
        request.infer({0: batch}, share_inputs=True)
        vectors: Float32 = request.get_output_tensor(0).data.astype(np.float32, copy=True)
        return vectors
