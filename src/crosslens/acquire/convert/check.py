"""Shape checks of converted weights, before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray
from tokenizers import Tokenizer

from crosslens.acquire.convert.result import Converted
from crosslens.errors import ConversionError
from crosslens.models.spec import NetworkSpec

Shape = tuple[int, ...]


def check(converted: Converted) -> None:
    """Raise ConversionError for a weight that is missing, too many, or of a shape that does not fit."""
    weights = converted.weights
    image, text = weights["image.patch.weight"], weights["text.tokens"]
    if image.ndim != 4 or image.shape[1] != 3 or image.shape[2] != image.shape[3] or text.ndim != 2:
        raise ConversionError(f"patches of shape {image.shape} and a table of shape {text.shape} do not fit")
    wanted: dict[str, Shape] = dict(_image(converted, len(image), image.shape[2]))
    wanted.update(_text(converted, text.shape[1]))
    for name, shape in wanted.items():
        biased = name.endswith(".weight") and f"{name.removesuffix('weight')}bias" in weights
        _fits(weights, name, shape)
        if biased:
            _fits(weights, f"{name.removesuffix('weight')}bias", shape[:1])
    known = {*wanted, *(f"{name.removesuffix('weight')}bias" for name in wanted)}
    unknown = sorted(set(weights) - known)
    if unknown:
        raise ConversionError(f"weights that have no place: {', '.join(unknown[:3])}")
    check_vocabulary(converted.tokenizer, len(text))


def check_vocabulary(tokenizer: Tokenizer, rows: int) -> None:
    """Raise ConversionError when the tokeniser makes ids that the table of tokens has no row for."""
    highest = max(tokenizer.get_vocab(with_added_tokens=True).values())
    if highest >= rows:
        raise ConversionError(
            f"the tokeniser makes ids up to {highest}, and the network knows {rows} tokens",
            "It belongs to another model: put the right one there",
        )


def _image(converted: Converted, width: int, patch: int) -> Iterator[tuple[str, Shape]]:
    weights = converted.weights
    tokens = (converted.image.size // patch) ** 2
    yield "image.patch.weight", (width, 3, patch, patch)
    if "image.class_token" in weights:
        yield "image.class_token", (width,)
        tokens += 1
    yield "image.positions", (tokens, width)
    if converted.image_network.pool == "attention":
        yield "image.pool.query", (width,)
        yield "image.pool.key_value.weight", (2 * width, width)
        yield "image.pool.out.weight", (width, width)
        yield "image.pool.norm.weight", (width,)
        yield from _mlp(weights, "image.pool.mlp", width)
    yield from _tower(converted, "image", converted.image_network, width)


def _text(converted: Converted, width: int) -> Iterator[tuple[str, Shape]]:
    yield "text.tokens", (len(converted.weights["text.tokens"]), width)
    positions = len(converted.weights["text.positions"])
    if positions < converted.text.context_length:
        raise ConversionError(
            f"the network has {positions} positions for texts of {converted.text.context_length} tokens"
        )
    yield "text.positions", (positions, width)
    yield from _tower(converted, "text", converted.text_network, width)


def _tower(converted: Converted, tower: str, network: NetworkSpec, width: int) -> Iterator[tuple[str, Shape]]:
    weights, dimension = converted.weights, converted.dimension
    if width % network.heads:
        raise ConversionError(f"the {tower} tower's {network.heads} heads do not divide its width, {width}")
    for norm in ("first_norm", "final_norm"):
        if f"{tower}.{norm}.weight" in weights:
            yield f"{tower}.{norm}.weight", (width,)
    number = 0
    while f"{tower}.blocks.{number}.mlp.in.weight" in weights:
        block = f"{tower}.blocks.{number}"
        yield f"{block}.attention_norm.weight", (width,)
        yield f"{block}.mlp_norm.weight", (width,)
        yield f"{block}.attention.in.weight", (3 * width, width)
        yield f"{block}.attention.out.weight", (width, width)
        yield from _mlp(weights, f"{block}.mlp", width)
        number += 1
    if f"{tower}.projection.in.weight" in weights:
        hidden = len(weights[f"{tower}.projection.in.weight"])
        yield f"{tower}.projection.in.weight", (hidden, width)
        yield f"{tower}.projection.out.weight", (dimension, hidden)
    elif f"{tower}.projection.weight" in weights:
        yield f"{tower}.projection.weight", (dimension, width)
    elif width != dimension:
        raise ConversionError(f"the {tower} tower makes vectors of {width} numbers, not of {dimension}")


def _mlp(weights: dict[str, NDArray[Any]], name: str, width: int) -> Iterator[tuple[str, Shape]]:
    hidden = len(weights[f"{name}.in.weight"])
    yield f"{name}.in.weight", (hidden, width)
    yield f"{name}.out.weight", (width, hidden)


def _fits(weights: dict[str, NDArray[Any]], name: str, shape: Shape) -> None:
    found = weights[name].shape if name in weights else "none"
    if found != shape:
        raise ConversionError(
            f"{name} should be of shape {shape}, found {found}",
            "Its weights and its config do not belong together: download it again",
        )
