"""A trained model → a bundle, and the check that the pipeline computes what the trainer computed."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crosslens.acquire.convert import tokenizers
from crosslens.acquire.convert.convert import network_facts
from crosslens.acquire.convert.immich import stated
from crosslens.acquire.convert.write import drafted, safetensors_pieces
from crosslens.errors import InputError, MissingExtraError, ModelError
from crosslens.models.bundle import FORMAT, Bundle, load_bundle
from crosslens.models.weights import rows_in_int8
from crosslens.train.initial_model import Start
from crosslens.train.int8_export import quantised_onnx
from crosslens.train.torch_towers import ConvolutionalTower, NetworkTower

_CLOSE = 1e-4  # 1 − cosine, exported as float32


@dataclass(frozen=True, slots=True)
class Storage:
    """How weights are written.

    half: as float16. int8_text: the text tower's token table and matrices as int8, each row with a scale.
    int8: a convolutional image tower computes in int8 (`quantised_onnx`).
    """

    half: bool = False
    int8_text: bool = False
    int8: bool = False


@dataclass(frozen=True, slots=True)
class About:
    """What config.json says besides the networks."""

    name: str
    version: int = 0
    license: str = "not stated"
    scripts: tuple[str, ...] = ()
    source: str = "trained with crosslens"


def export_bundle(
    started: Start,
    about: About,
    out: Path,
    storage: Storage = Storage(),
    pixels: NDArray[np.uint8] | None = None,
) -> Bundle:
    """Write the model as a bundle folder, whole or not at all.

    pixels: uint8 (n, 3, s, s), preprocessed: what the ranges of an int8 tower are taken from.
    Raises ConversionError, MissingExtraError.
    """
    model = started.model.eval().to("cpu")
    image = model.image
    facts: dict[str, Any] = {
        "format": FORMAT,
        "name": about.name,
        "version": about.version,
        "embedding_dim": started.dimension,
        "logit_scale": float(model.scale.detach()),
        "weights": "model.safetensors",
    }
    weights = dict(model.text.weights())
    pictures: dict[str, Any] = dict(stated(started.image))
    graph = None
    if isinstance(image, NetworkTower):
        weights = {**image.weights(), **weights}
        pictures["network"] = network_facts(image.spec)
    else:
        graph = _image_graph(started, image, storage, pixels)
        pictures |= {"file": "image.onnx", "input": "pixel_values", "output": "image_embeds"}
    words = {
        "tokenizer": "tokenizer.json",
        **stated(started.text),
        "network": network_facts(model.text.spec, text=True),
    }
    stored = stored_weights(weights, storage)
    tokenizer = tokenizers.serialised(tokenizers.ready(started.tokenizer, started.text))
    total = sum(value.nbytes for value in stored.values()) + len(graph or b"") + len(tokenizer) + (1 << 20)
    with drafted(out, total) as draft:
        draft.write("model.safetensors", safetensors_pieces(stored))
        if graph is not None:
            draft.write("image.onnx", [graph])
        draft.write("tokenizer.json", [tokenizer])
        draft.write_config(
            {**facts, "image": pictures, "text": words, "scripts": list(about.scripts),
             "license": about.license, "source": about.source}
        )  # fmt: skip
    return load_bundle(out)


def _image_graph(
    started: Start, image: ConvolutionalTower, storage: Storage, pixels: NDArray[np.uint8] | None
) -> bytes:
    if not storage.int8:
        return onnx_of(image, started.image.size, half=storage.half)
    if pixels is None:
        raise ModelError("an int8 image tower takes its ranges from pictures", "Give pixels")
    model = started.model
    normalised = (torch.from_numpy(pixels).float() - model.pixel_mean) / model.pixel_std
    graph = quantised_onnx(onnx_of(image, started.image.size), normalised.numpy())
    return _halved(graph) if storage.half else graph


def check_export(started: Start, bundle: Bundle, pixels: NDArray[np.uint8], texts: list[str]) -> float:
    """Greatest 1 − cosine between the trainer's vectors and the pipeline's, both in float32.

    pixels: uint8 (n, 3, s, s), preprocessed. Raises ModelError where it is more than 1e-4: such a bundle is
    wrong.
    """
    from crosslens.encode import normalise
    from crosslens.towers.openvino_runtime import OpenVinoModel

    pipeline = OpenVinoModel(bundle, "f32")
    model = started.model.eval()
    ids = started.tokenize(texts).ids
    with torch.inference_mode():
        ours = [model.embed_images(torch.from_numpy(pixels)), model.embed_texts(torch.from_numpy(ids))]
    theirs = [
        pipeline.image.submit(np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))).result(),
        pipeline.text.submit(ids).result(),
    ]
    return greatest_gap(bundle, [one.numpy() for one in ours], [normalise(other)[0] for other in theirs])


def check_place(out: Path) -> None:
    """Raise InputError where an export would replace what is no model."""
    if out.exists() and not (out / "config.json").is_file():
        raise InputError(f"{out} is there already, and is no model", "Give another name or folder")


def greatest_gap(
    bundle: Bundle, ours: Sequence[NDArray[np.float32]], theirs: Sequence[NDArray[np.float32]]
) -> float:
    """Greatest 1 − cosine between a trainer's unit vectors and those of the bundle it exported, side by side.

    Raises ModelError where it is more than 1e-4: such a bundle is wrong.
    """
    gap = max(float((1 - (one * other).sum(axis=1)).max()) for one, other in zip(ours, theirs, strict=True))
    if not gap <= _CLOSE:
        raise ModelError(
            f"{bundle.folder}: the exported model differs from the trained one by {gap:.1e} (1 − cosine)",
            "Report this as a fault of the export",
        )
    return gap


def stored_weights(weights: dict[str, NDArray[np.float32]], storage: Storage) -> dict[str, NDArray[Any]]:
    """Weights as they are written."""
    stored: dict[str, NDArray[Any]] = {}
    for name, value in weights.items():
        matrix = value.ndim == 2 and name.endswith(".weight") and name.startswith("text.")
        if storage.int8_text and (matrix or name == "text.tokens"):
            stored[name], stored[f"{name}.scale"] = rows_in_int8(value)
        else:
            stored[name] = value.astype(np.float16 if storage.half else np.float32)
    return stored


def onnx_of(tower: ConvolutionalTower, size: int, *, half: bool = False) -> bytes:
    """The tower as an ONNX graph: pixel_values float32 (n, 3, size, size) → image_embeds float32 (n, d).

    half: weights stored as float16 and widened in the graph. Raises MissingExtraError without onnx.
    """
    if find_spec("onnx") is None:
        raise MissingExtraError("onnx", "train")
    file = io.BytesIO()
    tower = tower.eval()
    example = torch.zeros(2, 3, size, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of shapes that are constant here
        torch.onnx.export(
            tower,
            (example,),
            file,
            input_names=["pixel_values"],
            output_names=["image_embeds"],
            dynamic_axes={"pixel_values": {0: "n"}, "image_embeds": {0: "n"}},
            opset_version=17,
            dynamo=False,
        )
    return _halved(file.getvalue()) if half else file.getvalue()


def _halved(graph_file: bytes) -> bytes:
    """An ONNX graph with its large constants as float16, each followed by a cast to float32."""
    import onnx

    model = onnx.load_from_string(graph_file)
    graph, casts = model.graph, []
    for tensor in list(graph.initializer):
        value = onnx.numpy_helper.to_array(tensor)
        if value.dtype == np.float32 and value.size >= 1024:
            name = tensor.name
            tensor.CopyFrom(onnx.numpy_helper.from_array(value.astype(np.float16), f"{name}.half"))
            casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])
    found: bytes = model.SerializeToString()
    return found
