"""Preprocessing as each format states it → `ImageSpec`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from crosslens.acquire.convert.source import Source
from crosslens.errors import ConversionError
from crosslens.models.spec import Crop, ImageSpec, Interpolation, Resize

Triple = tuple[float, float, float]
CLIP_MEAN: Triple = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Triple = (0.26862954, 0.26130258, 0.27577711)
_HALF: Triple = (0.5, 0.5, 0.5)

# Pillow's numbers.
_RESAMPLE: dict[object, Interpolation] = {1: "lanczos", 2: "bilinear", 3: "bicubic"}
_OPENCLIP_RESIZE: dict[object, Resize] = {
    "shortest": "shortest_edge",
    "longest": "longest_edge",
    "squash": "squash",
}


@dataclass(frozen=True, slots=True)
class Defaults:
    """What an image processor of transformers does where its file says nothing."""

    size: dict[str, int]
    crops: bool
    mean: Triple
    std: Triple


CLIP = Defaults({"shortest_edge": 224}, True, CLIP_MEAN, CLIP_STD)
SIGLIP = Defaults({"height": 224, "width": 224}, False, _HALF, _HALF)


def of_transformers(source: Source, defaults: Defaults, network_size: int) -> ImageSpec:
    """From preprocessor_config.json, or the processor_config.json that newer versions write.

    network_size: side of the picture that the network takes.
    """
    names = ("preprocessor_config.json", "processor_config.json")
    config = source.read_any(*names)
    config = config.get("image_processor", config)
    if not config:
        raise ConversionError(
            f"{source.folder} lacks preprocessor_config.json, which says how pictures are prepared",
            "Put it there",
        )
    for key in ("do_resize", "do_rescale"):
        if config.get(key, True) is not True:
            _refuse(source, key, config[key], "true")
    if abs(float(config.get("rescale_factor", 1 / 255)) * 255 - 1) > 1e-4:
        _refuse(source, "rescale_factor", config["rescale_factor"], "1/255")
    normalises = config.get("do_normalize", True)
    resize, side = _resize(source, config.get("size", defaults.size))
    crops = config.get("do_center_crop", defaults.crops)
    size = _side(source, "crop_size", config.get("crop_size", side)) if crops else side
    if resize == "shortest_edge" and not crops:
        _refuse(source, "do_center_crop", crops, "true where the shape is kept, since the input is square")
    if size > side or (resize == "squash" and size != side):
        _refuse(source, "crop_size", size, f"at most the size resized to, {side}")
    return _checked(
        source,
        ImageSpec(
            size=size,
            resize=resize,
            interpolation=_choice(source, "resample", config.get("resample", 3), _RESAMPLE),
            crop="none" if resize == "squash" else "center_floor",
            mean=_triple(source, "image_mean", config.get("image_mean", defaults.mean), normalises, 0.0),
            std=_triple(source, "image_std", config.get("image_std", defaults.std), normalises, 1.0),
            resize_to=None if side == size else side,
        ),
        network_size,
    )


def of_openclip(source: Source, config: dict[str, Any], network_size: int) -> ImageSpec:
    """From OpenCLIP's preprocess_cfg, as Immich has it in a file of its own too."""
    resize = _choice(source, "resize_mode", config.get("resize_mode") or "shortest", _OPENCLIP_RESIZE)
    crop: Crop = "none" if resize == "squash" else "center"
    names: dict[object, Interpolation] = {"bicubic": "bicubic", "bilinear": "bilinear", "random": "bicubic"}
    fill = config.get("fill_color") or 0
    if not isinstance(fill, int) or not 0 <= fill <= 255:
        _refuse(source, "fill_color", fill, "a grey value from 0 to 255")
    return _checked(
        source,
        ImageSpec(
            size=_side(source, "size", config.get("size") or network_size),
            resize=resize,
            interpolation=_choice(source, "interpolation", config.get("interpolation") or "bicubic", names),
            crop=crop,
            mean=_triple(source, "mean", config.get("mean") or CLIP_MEAN, True, 0.0),
            std=_triple(source, "std", config.get("std") or CLIP_STD, True, 1.0),
            fill=fill if resize == "longest_edge" else 0,
        ),
        network_size,
    )


def _checked(source: Source, spec: ImageSpec, network_size: int) -> ImageSpec:
    if spec.size != network_size:
        raise ConversionError(
            f"{source.folder}: pictures are prepared with {spec.size} pixels a side, and the network takes "
            f"{network_size}",
            "Put the preprocessing file of this very model there",
        )
    return spec


def _resize(source: Source, size: object) -> tuple[Resize, int]:
    """Transformers' "size": a number or {"shortest_edge"} keeps the shape, {"height", "width"} does not."""
    if isinstance(size, dict) and "height" in size:
        return "squash", _side(source, "size", size)
    return "shortest_edge", _side(source, "size", size)


def _side(source: Source, key: str, size: object) -> int:
    sides: list[object]
    if isinstance(size, dict):
        sides = [value for value in size.values() if value is not None]
    else:
        sides = list(size) if isinstance(size, list | tuple) else [size]
    known = not isinstance(size, dict) or set(size) <= {"height", "width", "shortest_edge", "longest_edge"}
    first = sides[0] if sides else None
    if not known or not isinstance(first, int) or first < 1 or any(side != first for side in sides):
        _refuse(source, key, size, "one number of pixels, since the input is square")
    return first


def _choice(source: Source, key: str, value: object, choices: dict[object, Any]) -> Any:
    if value not in choices:
        _refuse(source, key, value, "one of " + ", ".join(map(str, choices)))
    return choices[value]


def _triple(source: Source, key: str, value: object, normalises: object, neutral: float) -> Triple:
    if not normalises:
        return neutral, neutral, neutral
    numbers: list[Any] = list(value) if isinstance(value, list | tuple) else [value] * 3
    if len(numbers) != 3 or not all(isinstance(number, int | float) for number in numbers):
        _refuse(source, key, value, "three numbers")
    r, g, b = map(float, numbers)
    return r, g, b


def _refuse(source: Source, key: str, found: object, wanted: str) -> NoReturn:
    raise ConversionError(
        f"{source.folder}: pictures are to be prepared with {key} {found!r}; supported is {wanted}",
        "Convert another variant of the model",
    )
