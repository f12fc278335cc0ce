"""The default runtime: OpenVINO on the CPU.

Graphs are read by `core.read_model`, never through OpenVINO's converter, which reports home.
"""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from crosslens.errors import BundleError, InputError
from crosslens.models.bundle import Bundle
from crosslens.models.spec import ModelSpec, TensorSpec
from crosslens.tokenize import FastTokenizer
from crosslens.towers.cache import seal_cache, sound_cache
from crosslens.types import Float32

Precision = Literal["auto", "f32", "bf16"]


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class OpenVinoModel:
    """A bundle run by OpenVINO; see `crosslens.towers.base.TwoTowers`.

    precision: "auto" is bf16 where the CPU computes in it and f32 elsewhere.
    cache: folder for compiled graphs, which makes later starts faster; None keeps none.
    """

    def __init__(self, bundle: Bundle, precision: Precision = "auto", cache: Path | None = None) -> None:
        if precision not in get_args(Precision):
            wanted = ", ".join(get_args(Precision))
            raise InputError(f"precision is {precision!r}", f"Wanted one of {wanted}")
        self._bundle = bundle
        self._cache = cache
        self._asked_precision = precision
        self.concurrency = available_cores()

    @property
    def spec(self) -> ModelSpec:
        return self._bundle.spec

    @property
    def runtime(self) -> str:
        return f"OpenVINO CPU {self.precision}"

    @cached_property
    def precision(self) -> str:
        """The precision in use, "bf16" or "f32"."""
        if self._asked_precision != "auto":
            return self._asked_precision
        return "bf16" if "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"

    @cached_property
    def tokenize(self) -> FastTokenizer:
        return FastTokenizer(self._bundle.tokenizer(), self.spec.text)

    @cached_property
    def image(self) -> OpenVinoTower:
        size = self.spec.image.size
        graph = self._read(self.spec.image_graph, (-1, 3, size, size), "f32")
        compiled = self._compile(self._with_normalisation(graph), self.spec.image_graph)
        return OpenVinoTower(compiled, self.concurrency, (size, size, 3), np.uint8)

    @cached_property
    def text(self) -> OpenVinoTower:
        length = self.spec.text.context_length
        graph = self._read(self.spec.text_graph, (-1, length), "i64")
        compiled = self._compile(graph, self.spec.text_graph)
        return OpenVinoTower(compiled, self.concurrency, (length,), np.int64)

    @cached_property
    def _core(self) -> Any:
        import openvino

        return openvino.Core()

    def _read(self, tensor: TensorSpec, shape: tuple[int, ...], dtype: str) -> Any:
        """Read a graph and check that its input and output are what config.json says."""
        path = self._bundle.graph(tensor)
        try:
            graph = self._core.read_model(path)
        except RuntimeError as error:
            raise BundleError(f"{path} is not a graph that OpenVINO reads ({error})") from error
        if len(graph.inputs) != 1 or len(graph.outputs) != 1:
            raise BundleError(f"{path} must have one input and one output")
        wanted = ((graph.input(), tensor.input, shape, dtype),
                  (graph.output(), tensor.output, (-1, self.spec.dimension), "f32"))  # fmt: skip
        for port, name, port_shape, port_dtype in wanted:
            found = tuple(d.get_length() if d.is_static else -1 for d in port.get_partial_shape())
            if name not in port.names or found != port_shape or port.element_type.to_string() != port_dtype:
                raise BundleError(
                    f"{path}: the graph has {sorted(port.names)} {port.element_type.to_string()} {found}, "
                    f"config.json asks for {name!r} {port_dtype} {port_shape}",
                    "Make config.json and graph agree; -1 stands for any number of rows",
                )
        return graph

    def _with_normalisation(self, graph: Any) -> Any:
        """Give the graph a uint8 (n, s, s, 3) input; mean and deviation become part of it."""
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

    def _compile(self, graph: Any, tensor: TensorSpec) -> Any:
        config = {
            "INFERENCE_PRECISION_HINT": self.precision,
            # One thread to a stream: batches run beside each other without waiting for each other, and
            # decoding threads that take a core delay one batch, not all of them.
            "NUM_STREAMS": self.concurrency,
            "INFERENCE_NUM_THREADS": self.concurrency,
        }
        if self._cache is None:
            return self._core.compile_model(graph, "CPU", config)
        folder = self._cache / f"{tensor.sha256[:16]}-{self.precision}-{self.concurrency}"
        try:
            sound_cache(folder)
        except OSError:  # a cache is never a condition
            return self._core.compile_model(graph, "CPU", config)
        cached = any(folder.glob("*.blob"))
        compiled = self._core.compile_model(graph, "CPU", {**config, "CACHE_DIR": str(folder)})
        if not cached or not compiled.get_property("LOADED_FROM_CACHE"):
            seal_cache(folder)
        return compiled


class OpenVinoTower:
    """A compiled graph with one inference request to a stream; see `crosslens.towers.base.Tower`."""

    def __init__(self, compiled: Any, streams: int, shape: tuple[int, ...], dtype: type) -> None:
        self._requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(streams):
            self._requests.put(compiled.create_infer_request())
        self._pool = ThreadPoolExecutor(streams, thread_name_prefix="crosslens-tower")
        self._shape = shape
        self._dtype = np.dtype(dtype)

    def submit(self, batch: NDArray[Any]) -> Future[Float32]:
        if batch.dtype != self._dtype or batch.shape[1:] != self._shape:
            wanted = ", ".join(map(str, self._shape))
            raise ValueError(f"wanted {self._dtype} (n, {wanted}), got {batch.dtype} {batch.shape}")
        return self._pool.submit(self._run, np.ascontiguousarray(batch))

    def _run(self, batch: NDArray[Any]) -> Float32:
        request = self._requests.get()
        try:
            request.infer({0: batch}, share_inputs=True)
            vectors: Float32 = request.get_output_tensor(0).data.astype(np.float32, copy=True)
            return vectors
        finally:
            self._requests.put(request)
