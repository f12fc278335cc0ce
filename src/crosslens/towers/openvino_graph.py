"""`towers.transformer` as OpenVINO graphs, built from weights in memory without a converter or torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as op

from crosslens.models.spec import Activation, NetworkSpec
from crosslens.towers.transformer import image_tower, text_tower

Weights = Mapping[str, NDArray[Any]]


def image_graph(network: NetworkSpec, weights: Weights, size: int) -> Any:
    """float32 (n, 3, size, size), normalised → float32 (n, d)."""
    pixels = op.parameter([-1, 3, size, size], openvino.Type.f32, name="pixel_values")
    return _model(image_tower(OpenVinoOps(weights), network, pixels), pixels)


def text_graph(network: NetworkSpec, weights: Weights, pad_id: int) -> Any:
    """int64 (n, t) → float32 (n, d)."""
    ids = op.parameter([-1, -1], openvino.Type.i64, name="input_ids")
    return _model(text_tower(OpenVinoOps(weights), network, ids, pad_id), ids)


def _model(output: Any, parameter: Any) -> Any:
    parameter.output(0).set_names({parameter.get_friendly_name()})
    output.output(0).set_names({"embeddings"})
    return openvino.Model([output], [parameter], "tower")


class OpenVinoOps:
    """See `towers.transformer.Ops`; tensors are OpenVINO's nodes."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def has(self, name: str) -> bool:
        return name in self._weights

    def patches(self, pixels: Any, name: str) -> Any:
        kernel = self._weight(f"{name}.weight")
        width, _, *side = self._weights[f"{name}.weight"].shape
        states = op.convolution(pixels, kernel, side, [0, 0], [0, 0], [1, 1])
        states = op.transpose(op.reshape(states, _ints(0, width, -1), True), _ints(0, 2, 1))
        return self._biased(states, name)

    def look_up(self, ids: Any, name: str) -> Any:
        if not self.has(f"{name}.scale"):
            return op.gather(self._weight(name), ids, _int(0))
        # Rows are looked up before they are widened, so that the table stays small.
        rows = op.convert(op.gather(op.constant(self._weights[name]), ids, _int(0)), "f32")
        scale = op.gather(op.constant(self._weights[f"{name}.scale"]), ids, _int(0))
        return op.multiply(rows, op.unsqueeze(scale, _ints(-1)))

    def prepend(self, states: Any, name: str) -> Any:
        return op.concat([self.learned(name, states), states], 1)

    def place(self, states: Any, name: str) -> Any:
        length = op.gather(op.shape_of(states), _ints(1), _int(0))
        return op.add(states, op.slice(self._weight(name), _ints(0), length, _ints(1), _ints(0)))

    def add(self, one: Any, other: Any) -> Any:
        return op.add(one, other)

    def linear(self, states: Any, name: str) -> Any:
        return self._biased(op.matmul(states, self._weight(f"{name}.weight"), False, True), name)

    def norm(self, states: Any, name: str, epsilon: float) -> Any:
        states = op.mvn(states, _ints(-1), True, epsilon, "inside_sqrt")
        return self._biased(op.multiply(states, self._weight(f"{name}.weight")), name)

    def activate(self, states: Any, kind: Activation) -> Any:
        if kind == "quick_gelu":
            return op.swish(states, _float(1.702))
        return op.gelu(states, "tanh" if kind == "gelu_tanh" else "erf")

    def split(self, states: Any, parts: int) -> list[Any]:
        return list(op.split(states, _int(-1), parts).outputs())

    def attend(self, query: Any, key: Any, value: Any, heads: int, *, causal: bool, seen: Any | None) -> Any:
        def by_head(states: Any) -> Any:
            width = states.get_partial_shape()[2].get_length()
            return op.transpose(
                op.reshape(states, _ints(0, 0, heads, width // heads), True), _ints(0, 2, 1, 3)
            )

        mask = None if seen is None else op.unsqueeze(seen, _ints(1, 2))
        mixed = op.scaled_dot_product_attention(
            by_head(query), by_head(key), by_head(value), mask, causal=causal
        )
        return op.reshape(op.transpose(mixed, _ints(0, 2, 1, 3)), _ints(0, 0, -1), True)

    def learned(self, name: str, like: Any) -> Any:
        rows = op.gather(op.shape_of(like), _ints(0), _int(0))
        weight = op.reshape(self._weight(name), _ints(1, 1, -1), False)
        width = self._weights[name].shape[0]
        return op.broadcast(weight, op.concat([rows, _ints(1, width)], 0)).output(0)

    def differs(self, ids: Any, number: int) -> Any:
        return op.not_equal(ids, _int(number))

    def row(self, states: Any, index: int) -> Any:
        return op.gather(states, _int(index), _int(1))

    def row_of(self, states: Any, ids: Any, number: int) -> Any:
        found = op.convert(op.equal(ids, _int(number)), "f32")
        first = op.multiply(found, op.convert(op.equal(op.cum_sum(found, _int(1)), _float(1)), "f32"))
        return op.reduce_sum(op.multiply(states, op.unsqueeze(first, _ints(2))), _ints(1), False)

    def mean(self, states: Any, seen: Any | None) -> Any:
        if seen is None:
            return op.reduce_mean(states, _ints(1), False)
        kept = op.unsqueeze(op.convert(seen, "f32"), _ints(2))
        total = op.reduce_sum(op.multiply(states, kept), _ints(1), False)
        return op.divide(total, op.reduce_sum(kept, _ints(1), False))

    def _biased(self, states: Any, name: str) -> Any:
        return op.add(states, self._weight(f"{name}.bias")) if self.has(f"{name}.bias") else states

    def _weight(self, name: str) -> Any:
        """A constant in float32; rows of int8 stay so in memory, and are widened where they are used."""
        weight = self._weights[name]
        constant = op.constant(weight)
        wide = constant if weight.dtype == np.float32 else op.convert(constant, "f32")
        scale = self._weights.get(f"{name}.scale")
        return wide if scale is None else op.multiply(wide, op.constant(scale[:, None]))


def _ints(*values: int) -> Any:
    return op.constant(np.array(values, dtype=np.int64))


def _int(value: int) -> Any:
    return op.constant(np.int64(value))


def _float(value: float) -> Any:
    return op.constant(np.float32(value))
