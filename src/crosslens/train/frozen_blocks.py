"""Frozen blocks of an image network, run by OpenVINO where that is faster than torch.

On a CPU.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from crosslens.towers.openvino_runtime import available_cores


class FrozenBlocks:
    """Some first blocks of a network: normalised pixels float32 (n, 3, s, s) → states float32 (n, c, h, w).

    bf16 where the CPU computes in it. Sizes may differ from call to call; each is compiled once.
    """

    def __init__(self, blocks: nn.ModuleList) -> None:
        self._blocks = nn.Sequential(*blocks)
        self._compiled: dict[int, Any] = {}

    def __call__(self, pixels: Tensor) -> Tensor:
        """See the class."""
        if not len(self._blocks):
            return pixels
        size = pixels.shape[-1]
        if size not in self._compiled:
            self._compiled[size] = self._compile(size)
        values = pixels.contiguous().numpy()
        # One request to a core: halves of the batch run beside each other.
        parts = np.array_split(values, available_cores())
        requests = [self._compiled[size].create_infer_request() for _ in parts]
        for request, part in zip(requests, parts, strict=True):
            request.start_async({0: np.ascontiguousarray(part)})
        found = []
        for request in requests:
            request.wait()
            found.append(np.array(request.get_output_tensor(0).data, np.float32))
        return torch.from_numpy(np.concatenate(found))

    def _compile(self, size: int) -> Any:
        import openvino

        file = io.BytesIO()
        # Traced inside an autocast, the graph would hold its casts, and compute something else.
        with warnings.catch_warnings(), torch.inference_mode(False), torch.autocast("cpu", enabled=False):
            warnings.simplefilter("ignore")  # the tracer warns of shapes that are constant here
            torch.onnx.export(
                self._blocks.eval(),
                (torch.zeros(2, 3, size, size),),
                file,
                input_names=["pixels"],
                output_names=["states"],
                dynamic_axes={"pixels": {0: "n"}, "states": {0: "n"}},
                opset_version=17,
                dynamo=False,
            )
        core = openvino.Core()
        core.set_property({"CACHE_DIR": ""})
        threads = available_cores()
        return core.compile_model(
            core.read_model(file.getvalue()),
            "CPU",
            {"NUM_STREAMS": threads, "INFERENCE_NUM_THREADS": threads},
        )
