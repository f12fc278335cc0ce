"""int8 export of a convolutional image tower, by post-training quantisation."""

from __future__ import annotations

import contextlib
import io
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslens.acquire.nncf import load_nncf
from crosslens.errors import MissingExtraError

# By the names that the graph's nodes have after their modules: what computes on one vector a picture costs
# next to nothing, and in int8 a softmax over a thousand classes would lose most of what it says. Nodes of no
# module follow the head: they bring its vector to unit length and add what the class names say.
_IN_FLOAT = ("/head/.*", "/class_names/.*", "/[^/]*$")


def quantised_onnx(graph: bytes, pixels: NDArray[np.float32]) -> bytes:
    """An ONNX graph whose convolutions compute in int8, weights stored as int8; the heads stay in float.

    graph: one float32 input pixel_values (n, 3, s, s). pixels: normalised, (n, 3, s, s): a few hundred like
    those that it will see; the ranges of activations are theirs. Raises MissingExtraError.
    """
    for package in ("onnx", "onnxruntime"):
        if find_spec(package) is None:
            raise MissingExtraError(package, "int8")
    import onnx

    nncf = load_nncf()
    batches: list[dict[str, Any]] = [{"pixel_values": picture[None]} for picture in pixels]
    with contextlib.redirect_stdout(io.StringIO()):  # where it draws its progress
        found = nncf.quantize(
            onnx.load_from_string(graph),
            nncf.Dataset(batches),
            subset_size=len(batches),
            ignored_scope=nncf.IgnoredScope(patterns=list(_IN_FLOAT), validate=False),
        )
    made: bytes = found.SerializeToString()
    return made
