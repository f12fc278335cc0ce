"""ONNX graphs for OpenVINO: read, checked against config.json, brought into one form.

They are read by `core.read_model`, never through OpenVINO's converter, which reports home.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crosslens.errors import BundleError
from crosslens.models.spec import TensorSpec


def read_graph(
    core: Any, path: Path, tensor: TensorSpec, shape: tuple[int, ...], dimension: int, pad_id: int | None
) -> Any:
    """A graph with one input of this shape (n, …) and one output float32 (n, dimension).

    pad_id: of a text graph, whose ids may be int32 in the file, and whose mask, if it has one, becomes part
    of the graph. Raises BundleError for what is not as config.json says.
    """
    try:
        graph = core.read_model(path)
    except RuntimeError as error:
        raise BundleError(
            f"{path} is not a graph that OpenVINO reads ({error})", "Copy the whole bundle again"
        ) from error
    if tensor.mask is not None:
        _fill_in_mask(graph, path, tensor, 0 if pad_id is None else pad_id)
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise BundleError(f"{path} must have one input and one output", "See docs/models.md for its form")
    types = ("f32",) if pad_id is None else ("i64", "i32")
    _check(path, graph.input(), tensor.input, (-1, *shape), types)
    _check(path, graph.output(), tensor.output, (-1, dimension), ("f32",))
    return graph if pad_id is None else _taking_int64(graph)


def _check(path: Path, port: Any, name: str, shape: tuple[int, ...], types: tuple[str, ...]) -> None:
    found = tuple(d.get_length() if d.is_static else -1 for d in port.get_partial_shape())
    # One that was exported for one row at a time is run so: its batch may be written into its constants.
    fits = found in (shape, (1, *shape[1:]))
    if name not in port.names or not fits or port.element_type.to_string() not in types:
        raise BundleError(
            f"{path}: the graph has {sorted(port.names)} {port.element_type.to_string()} {found}, "
            f"config.json asks for {name!r} {types[0]} {shape}",
            "Make config.json and graph agree; -1 stands for any number of rows",
        )


def _taking_int64(graph: Any) -> Any:
    import openvino
    from openvino.preprocess import PrePostProcessor

    processor = PrePostProcessor(graph)
    processor.input().tensor().set_element_type(openvino.Type.i64)
    return processor.build()


def _fill_in_mask(graph: Any, path: Path, tensor: TensorSpec, pad_id: int) -> None:
    """Put "which ids are not padding" in the place of the graph's second input."""
    import numpy as np
    from openvino import opset13 as op

    ports = {name: port for port in graph.inputs for name in port.names}
    if tensor.input not in ports or tensor.mask not in ports:
        raise BundleError(
            f"{path}: the graph has inputs {sorted(ports)}, config.json asks for {tensor.input!r} and "
            f"{tensor.mask!r}",
            "Make config.json and graph agree",
        )
    ids, mask = ports[tensor.input], ports[tensor.mask]
    pad = op.constant(np.array(pad_id, ids.element_type.to_dtype()))
    seen = op.convert(op.not_equal(ids, pad), mask.element_type.to_string())
    parameter = mask.get_node()
    for target in mask.get_target_inputs():
        target.replace_source_output(seen.output(0))
    graph.remove_parameter(parameter)
