"""Conversion of Immich's pairs of ONNX files: the graphs are taken as they are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from crosslens.acquire.convert import pictures, tokenizers
from crosslens.acquire.convert.source import Source
from crosslens.errors import ConversionError
from crosslens.models.spec import Clean, ImageSpec, TextSpec

_FILES = (
    "config.json",
    "visual/model.onnx",
    "visual/preprocess_cfg.json",
    "textual/model.onnx",
    "textual/tokenizer.json",
    "textual/tokenizer_config.json",
)
# Immich's files do not hold it; this is what CLIP's training ends with.
_LOGIT_SCALE = 100.0


@dataclass(frozen=True, slots=True)
class ConvertedGraphs:
    """A model as graphs. facts: what config.json says of it, but for names, hashes and licence."""

    facts: dict[str, Any]
    files: dict[str, Path]
    text: TextSpec
    tokenizer: Tokenizer


def convert_immich(source: Source) -> ConvertedGraphs:
    """A folder with visual/ and textual/. Raises ConversionError for what is missing or does not fit."""
    missing = [name for name in _FILES if not source.has(name)]
    if missing:
        raise ConversionError(f"{source.folder} lacks {', '.join(missing)}", "Put these files there")
    model = source.read("config.json")
    words = model.get("text_cfg") or {}
    if "nllb" in str(words.get("hf_model_name", "")):
        raise ConversionError(
            f"{source.folder} is an NLLB-CLIP, whose texts begin with their language",
            "Convert another multilingual model, such as an XLM-RoBERTa",
        )
    images = {name: source.folder / f"{part}/model.onnx" for name, part in _GRAPHS.items()}
    image, dimension = _image(images["image.onnx"])
    text, length = _text(images["text.onnx"], dimension)
    size = int(image.pop("size"))
    image_spec = pictures.of_openclip(source, source.read("visual/preprocess_cfg.json"), size)
    texts = Source(source.format, source.folder / "textual")
    tokenizer = tokenizers.from_folder(texts)
    spec = TextSpec(
        length or int(words.get("context_length", 77)),
        tokenizers.pad_id(texts, tokenizer, "<pad>"),
        "none" if "mask" in text else _clean(words),
    )
    facts = {
        "embedding_dim": dimension,
        "logit_scale": _LOGIT_SCALE,
        "image": {"file": "image.onnx", **image, **stated(image_spec)},
        "text": {"file": "text.onnx", **text, "tokenizer": "tokenizer.json", **stated(spec)},
    }
    return ConvertedGraphs(facts, images, spec, tokenizer)


_GRAPHS = {"image.onnx": "visual", "text.onnx": "textual"}


def _clean(words: dict[str, Any]) -> Clean:
    """As OpenCLIP, from which all of Immich's models come but M-CLIP, would clean texts for this model."""
    asked = (words.get("tokenizer_kwargs") or {}).get("clean")
    if asked == "canonicalize":
        return "canonicalize"
    return "whitespace" if words.get("hf_tokenizer_name") else "lower"


def _image(path: Path) -> tuple[dict[str, Any], int]:
    """({input, output, size}, dimension)."""
    graph = read_onnx(path)
    shape = _shape(graph.inputs[0]) if len(graph.inputs) == 1 else ()
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3] or shape[2] < 1:
        raise ConversionError(f"{path} takes no square pictures: its inputs are {_inputs(graph)}")
    output, dimension = _output(path, graph)
    return {"input": graph.inputs[0].get_any_name(), "output": output, "size": shape[2]}, dimension


def _text(path: Path, dimension: int) -> tuple[dict[str, Any], int | None]:
    """({input, output, mask}, length where the graph has a fixed one)."""
    graph = read_onnx(path)
    masks = [port for port in graph.inputs if "mask" in port.get_any_name()]
    ids = [port for port in graph.inputs if port not in masks]
    if len(ids) != 1 or len(masks) > 1 or len(_shape(ids[0])) != 2:
        raise ConversionError(f"{path} takes no ids: its inputs are {_inputs(graph)}")
    output, found = _output(path, graph)
    if found != dimension:
        raise ConversionError(
            f"{path} makes vectors of {found} numbers, the image tower of {dimension}",
            "Put both graphs of one model there",
        )
    facts = {"input": ids[0].get_any_name(), "output": output}
    if masks:
        facts["mask"] = masks[0].get_any_name()
    length = _shape(ids[0])[1]
    return facts, length if length > 0 else None


def read_onnx(path: Path) -> Any:
    """A graph. Raises ConversionError."""
    import openvino

    try:
        return openvino.Core().read_model(path)
    except RuntimeError as error:
        reason = str(error).strip().split("\n")[-1][:200]
        raise ConversionError(
            f"{path} is not a graph that can be read ({reason})", "Download it again"
        ) from error


def _output(path: Path, graph: Any) -> tuple[str, int]:
    shape = _shape(graph.outputs[0]) if len(graph.outputs) == 1 else ()
    if len(shape) != 2 or shape[1] < 1:
        raise ConversionError(f"{path} must have one output of vectors")
    return str(graph.outputs[0].get_any_name()), shape[1]


def _shape(port: Any) -> tuple[int, ...]:
    return tuple(side.get_length() if side.is_static else -1 for side in port.get_partial_shape())


def _inputs(graph: Any) -> str:
    return ", ".join(f"{port.get_any_name()} {_shape(port)}" for port in graph.inputs)


def stated(spec: ImageSpec | TextSpec) -> dict[str, Any]:
    """What config.json says of a spec: all but what is at its default."""
    facts = asdict(spec)
    for key, default in (("resize_to", None), ("fill", 0), ("clean", "none")):
        if key in facts and facts[key] == default:
            del facts[key]
    return facts
