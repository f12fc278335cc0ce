"""Linear maps folded into a copy of a model's bundle: a changed last matrix, or one more MatMul.

A network's last linear layer takes its map up (`towers.transformer`); a network without one gets one. A graph
gets a MatMul node after its output. Unit norm comes after, in the pipeline: as a map without a constant term
does not care for the length of what it is given, the raw output may be mapped in place of the unit vector.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslens.acquire.convert.write import drafted, file_pieces, safetensors_pieces
from crosslens.errors import MissingExtraError, ModelError
from crosslens.models.bundle import Bundle, load_bundle
from crosslens.models.spec import Graphs, TensorSpec
from crosslens.models.weights import as_floats, read_weights
from crosslens.types import Float32

# Facts of config.json that were fitted to the vectors, or say whose space they lie in.
FITTED = ("match", "match_names", "relevance", "space")
_TERMS = ("LICENSE", "LICENCE", "NOTICE", "COPYING")


@dataclass(frozen=True, slots=True)
class Maps:
    """image, text: float32 (d, d); a vector v becomes map · v. logit_scale: what fits the new vectors."""

    image: Float32
    text: Float32
    logit_scale: float


def fold_maps(bundle: Bundle, maps: Maps | None, name: str, out: Path) -> tuple[Bundle, tuple[str, ...]]:
    """(a bundle whose vectors are the mapped ones, the facts left out because they were of the old ones).

    maps: None for a copy of the model as it is, which keeps all facts. out: a folder that does not exist yet.
    Raises ModelError, BundleError, ConversionError, MissingExtraError.
    """
    config = json.loads((bundle.folder / "config.json").read_text(encoding="utf-8"))
    files = list(config.pop("sha256"))
    changed: dict[str, list[bytes | memoryview]] = {}
    lost: tuple[str, ...] = ()
    if maps is not None:
        lost = tuple(fact for fact in FITTED if config.pop(fact, None) is not None)
        config["logit_scale"] = maps.logit_scale
        changed = _changed(bundle, maps, config)
    config |= {"name": name, "version": 0, "source": f"trained with crosslens, from {bundle.spec.name}"}
    files += [path.name for path in bundle.folder.iterdir() if path.stem.upper() in _TERMS]
    sizes = [(bundle.folder / file).stat().st_size for file in files if (bundle.folder / file).is_file()]
    matrices = 0 if maps is None else 2 * maps.image.nbytes
    with drafted(out, sum(sizes) + matrices + (1 << 20)) as draft:
        for file in files:
            draft.write(file, changed.get(file) or file_pieces(bundle.folder / file))
        draft.write_config(config)
    return load_bundle(out), lost


def _changed(bundle: Bundle, maps: Maps, config: dict[str, Any]) -> dict[str, list[bytes | memoryview]]:
    """New contents of files by name; names of outputs change in config."""
    towers = bundle.spec.towers
    weights = {} if isinstance(towers, Graphs) else read_weights(bundle.weights(towers))
    found: dict[str, list[bytes | memoryview]] = {}
    for tower, matrix in (("image", maps.image), ("text", maps.text)):
        part = getattr(towers, tower)
        if isinstance(part, TensorSpec):
            graph, config[tower]["output"] = mapped_graph(bundle.graph(part), part.output, matrix)
            found[part.file] = [graph]
        else:
            fold_projection(weights, tower, matrix)
    if weights:
        found[config["weights"]] = list(safetensors_pieces(weights))
    return found


def fold_projection(weights: dict[str, NDArray[Any]], tower: str, matrix: Float32) -> None:
    """Put a map M into the last linear layer of a network: M · (W · x + b) = (M · W) · x + M · b.

    weights: by the names of `towers.transformer`, changed in place; what is folded becomes float32. A network
    without a last layer gets one.
    """
    name = f"{tower}.projection"
    name = f"{name}.out" if f"{name}.out.weight" in weights else name
    exact = matrix.astype(np.float64)
    if f"{name}.weight" not in weights:
        weights[f"{name}.weight"] = matrix
        return
    last = as_floats({key: value for key, value in weights.items() if key.startswith(f"{name}.")})
    weights.pop(f"{name}.weight.scale", None)
    for key, value in last.items():
        weights[key] = (exact @ value).astype(np.float32)


def mapped_graph(path: Path, output: str, matrix: Float32) -> tuple[bytes, str]:
    """(an ONNX graph with a MatMul after its output, the name of its new output).

    Raises ModelError for what is no ONNX file of one part, MissingExtraError without onnx.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx", "train") from error
    try:
        model = onnx.load(path)
        graph = model.graph
        old = next(value for value in graph.output if value.name == output)
        used = {name for node in graph.node for name in (*node.input, *node.output)}
        used |= {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
        new = next(
            name for number in range(len(used) + 1) if (name := f"{output}.mapped{number}") not in used
        )
        weight = f"{new}.weight"
        graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(matrix.T), weight))
        graph.node.append(onnx.helper.make_node("MatMul", [output, weight], [new], name=new))
        old.name = new
        content: bytes = model.SerializeToString()
    except Exception as error:  # onnx raises protobuf's own, and plain ones
        raise ModelError(
            f"{path}: no map can be appended to this graph ({type(error).__name__}: {error})",
            "Wanted an ONNX file below 2 GB with its weights inside",
        ) from error
    return content, new
