"""A model in another format → a bundle."""

from __future__ import annotations

import os
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

from crosslens.acquire.convert import tokenizers
from crosslens.acquire.convert.check import check
from crosslens.acquire.convert.hugging import convert_hugging
from crosslens.acquire.convert.immich import ConvertedGraphs, convert_immich, read_onnx, stated
from crosslens.acquire.convert.openclip import convert_openai, convert_openclip
from crosslens.acquire.convert.result import Converted
from crosslens.acquire.convert.source import Source, recognise
from crosslens.acquire.convert.text_tower import convert_mclip, convert_sentence_transformer
from crosslens.acquire.convert.write import (
    Draft,
    Progress,
    drafted,
    file_pieces,
    refuse_existing,
    safetensors_pieces,
)
from crosslens.errors import BundleError, ConversionError, InputError
from crosslens.models.bundle import FORMAT, Bundle, load_bundle
from crosslens.models.catalogue import find_bundle
from crosslens.models.spec import NetworkSpec
from crosslens.texts.tokenizer import FastTokenizer

_WHOLE: dict[str, Callable[[Source], Converted | ConvertedGraphs]] = {
    "hugging": convert_hugging,
    "openclip": convert_openclip,
    "openai": convert_openai,
    "immich": convert_immich,
}
_TEXT_ONLY = {"sentence-transformers": convert_sentence_transformer, "m-clip": convert_mclip}


def convert(
    source: str | PathLike[str],
    out: str | PathLike[str],
    *,
    name: str | None = None,
    image_tower: str | PathLike[str] | None = None,
    on_progress: Progress | None = None,
) -> Bundle:
    """Make a bundle of a model in another format, in the new folder `out`.

    source: a folder of transformers (CLIP, SigLIP, Chinese-CLIP), of OpenCLIP, of Immich, of
    sentence-transformers or M-CLIP, or OpenAI's .pt file. No network is used, and torch only for checkpoints
    that are pickles or TorchScript.
    name: of the model; else that of its repository or folder.
    image_tower: name or folder of the bundle that a multilingual text tower was taught to fit.
    on_progress: called with the bytes written so far and in all.

    The folder is there in the end with everything in it, or not at all. Raises ConversionError,
    MissingExtraError for checkpoints that need torch, UnknownModelError or BundleError for image_tower.
    """
    target = Path(os.path.expanduser(out)).absolute()
    refuse_existing(target)
    found = recognise(Path(os.path.expanduser(source)).absolute())
    if name is not None and (not name or set(name) & set("/\\\0")):
        raise InputError(f"a model cannot be named {name!r}", "Give a plain name without slashes")
    called = name or found.name
    try:
        return _write(found, called, read_model(found, image_tower), target, on_progress)
    except ConversionError as error:
        if str(found.folder) in error.problem or str(target) in error.problem:
            raise
        raise ConversionError(f"{found.file or found.folder}: {error.problem}", error.remedy) from error


def read_model(source: Source, image_tower: str | PathLike[str] | None = None) -> Converted | ConvertedGraphs:
    """The model, whose parts have been held against each other. Raises ConversionError."""
    if source.format in _TEXT_ONLY and image_tower is None:
        raise ConversionError(
            f"{source.folder} is a text tower without an image tower",
            "Name the bundle that it was taught to fit: --image-tower, or image_tower=",
        )
    if source.format in _WHOLE and image_tower is not None:
        raise ConversionError(f"{source.folder} has an image tower of its own", "Leave image_tower out")
    base = None if image_tower is None else find_bundle(image_tower)
    try:
        if base is not None:
            found: Converted | ConvertedGraphs = _TEXT_ONLY[source.format](source, base)
        else:
            found = _WHOLE[source.format](source)
        if isinstance(found, Converted):
            check(found)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # Files of others hold anything: a word where a number belongs, a list where a table belongs.
        raise ConversionError(
            f"{source.file or source.folder}: its files say what cannot be understood "
            f"({type(error).__name__}: {error})",
            "Download it again",
        ) from error
    return found


def _write(
    source: Source, name: str, converted: Converted | ConvertedGraphs, out: Path, on_progress: Progress | None
) -> Bundle:
    tokenizer = tokenizers.serialised(tokenizers.ready(converted.tokenizer, converted.text))
    config = {"format": FORMAT, "name": name, "version": 0}
    end = {"license": source.license, "source": source.provenance}
    if isinstance(converted, Converted):
        total = sum(value.nbytes for value in converted.weights.values()) + len(tokenizer) + (1 << 20)
        with drafted(out, total, on_progress) as draft:
            draft.write("model.safetensors", safetensors_pieces(converted.weights))
            draft.write("tokenizer.json", [tokenizer])
            draft.write_config({**config, **_facts(converted), **end})
            _verify(draft)
    else:
        total = sum(path.stat().st_size for path in converted.files.values()) + len(tokenizer) + (1 << 20)
        with drafted(out, total, on_progress) as draft:
            for file, path in converted.files.items():
                draft.write(file, file_pieces(path))
                _stands_alone(draft.folder / file, path)
            draft.write("tokenizer.json", [tokenizer])
            draft.write_config({**config, **converted.facts, **end})
            _verify(draft)
    return load_bundle(out)


def _stands_alone(copy: Path, path: Path) -> None:
    """Raise ConversionError when a graph that could be read where it lay cannot be read elsewhere."""
    try:
        read_onnx(copy)
    except ConversionError as error:
        raise ConversionError(
            f"{path} has its weights in files of their own beside it, which is not supported",
            "Convert the model that Immich exported it from (OpenCLIP, M-CLIP)",
        ) from error


def _verify(draft: Draft) -> None:
    """Read what was written as it will be read."""
    try:
        bundle = load_bundle(draft.folder)
        FastTokenizer(bundle.tokenizer(), bundle.spec.text)
    except BundleError as error:
        problem = error.problem.replace(f"{draft.folder}{os.sep}", "")
        raise ConversionError(f"the bundle would be refused: {problem}", error.remedy) from error


def _facts(converted: Converted) -> dict[str, Any]:
    """What config.json says of a model of networks."""
    facts: dict[str, Any] = {
        "embedding_dim": converted.dimension,
        "logit_scale": converted.logit_scale,
        "weights": "model.safetensors",
        "image": {**stated(converted.image), "network": network_facts(converted.image_network)},
        "text": {
            "tokenizer": "tokenizer.json",
            **stated(converted.text),
            "network": network_facts(converted.text_network, text=True),
        },
    }
    if converted.match is not None:
        match = converted.match
        facts["match"] = {"a": match.a, "b": match.b, "calibrated": True, "fitted_on": match.fitted_on}
    if converted.space is not None:
        facts["space"] = converted.space
    return facts


def network_facts(spec: NetworkSpec, *, text: bool = False) -> dict[str, Any]:
    """What config.json says of a network."""
    facts = {key: getattr(spec, key) for key in ("heads", "activation", "norm", "epsilon", "pool")}
    if text:
        facts |= {"causal": spec.causal, "masked": spec.masked}
    if spec.end_id is not None:
        facts["end_id"] = spec.end_id
    return facts
