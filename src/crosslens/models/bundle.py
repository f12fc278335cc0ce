"""A model on disk: a folder with config.json, two ONNX graphs and a tokeniser.

The format is described in docs/models.md. Whatever config.json says is checked against the files
before it is used; a bundle is whole or it is refused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from crosslens.errors import BundleError
from crosslens.models.spec import (
    Crop,
    ImageSpec,
    Interpolation,
    MatchSpec,
    ModelSpec,
    Resize,
    TensorSpec,
    TextSpec,
)

FORMAT = "two-tower-bundle"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model folder whose config.json has been read and understood."""

    folder: Path
    spec: ModelSpec

    def graph(self, tensor: TensorSpec) -> Path:
        """Path of a graph file, after checking that it is there and is the one config.json means."""
        return self._verified(tensor.file, tensor.sha256)

    def tokenizer(self) -> Path:
        """Path of the tokeniser, after the same check."""
        return self._verified(self.spec.tokenizer_file, self.spec.tokenizer_sha256)

    def _verified(self, name: str, sha256: str) -> Path:
        path = self.folder / name
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise BundleError(
                f"model folder {self.folder}: {name} cannot be read ({error.strerror})",
                "Copy the whole bundle again",
            ) from error
        if found != sha256:
            raise BundleError(
                f"model folder {self.folder}: {name} is damaged or was exchanged "
                f"(SHA-256 {found[:12]}…, config.json says {sha256[:12]}…)",
                "Copy the whole bundle again",
            )
        return path


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle's config.json.

    Raises BundleError when the folder is not a bundle or config.json lacks or contradicts something.
    The graphs and the tokeniser are hashed only when they are opened.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(
            f"{folder} is not a model folder: config.json cannot be read ({error.strerror})",
            "A bundle holds config.json, two ONNX files and tokenizer.json; see docs/models.md",
        ) from error
    except ValueError as error:
        raise BundleError(f"{path} is not valid JSON ({error})", "Copy the whole bundle again") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise BundleError(
            f'{path}: "format" is not "{FORMAT}"', "See docs/models.md for what a bundle's config.json holds"
        )
    return Bundle(folder, _Reader(path, config).spec())


class _Reader:
    """Takes typed values out of config.json; every complaint names the file and the key."""

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path = path
        self.config = config

    def spec(self) -> ModelSpec:
        match = self.config.get("match")
        return ModelSpec(
            name=self.text("name"),
            version=str(self.config.get("version", "0")),
            dimension=self.count("embedding_dim"),
            logit_scale=self.positive("logit_scale"),
            image=ImageSpec(
                size=self.count("image.size"),
                resize=cast(Resize, self.choice("image.resize", get_args(Resize))),
                interpolation=cast(
                    Interpolation, self.choice("image.interpolation", get_args(Interpolation))
                ),
                crop=cast(Crop, self.choice("image.crop", get_args(Crop))),
                mean=self.triple("image.mean"),
                std=self.triple("image.std"),
            ),
            text=TextSpec(self.count("text.context_length"), int(self.number("text.pad_id"))),
            image_graph=self.graph("image"),
            text_graph=self.graph("text"),
            tokenizer_file=self.text("text.tokenizer"),
            tokenizer_sha256=self.sha256(self.text("text.tokenizer")),
            match=None
            if match is None
            else MatchSpec(
                self.number("match.a"),
                self.number("match.b"),
                bool(match.get("calibrated", False)),
                str(match.get("fitted_on", "")),
            ),
            license=str(self.config.get("license", "not stated")),
            scripts=tuple(str(script).upper() for script in self.config.get("scripts", ())),
        )

    def graph(self, tower: str) -> TensorSpec:
        file = self.text(f"{tower}.file")
        return TensorSpec(file, self.text(f"{tower}.input"), self.text(f"{tower}.output"), self.sha256(file))

    def sha256(self, file: str) -> str:
        value = (self.config.get("sha256") or {}).get(file)
        if not isinstance(value, str) or len(value) != 64:
            self.refuse(f"sha256.{file}", "a SHA-256 in hex", value)
        return cast(str, value)

    def get(self, key: str) -> Any:
        value: Any = self.config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def text(self, key: str) -> str:
        value = self.get(key)
        # A file name must stay inside the folder: a bundle is data, whoever made it.
        if not isinstance(value, str) or not value or "/" in value or "\\" in value:
            self.refuse(key, "a plain name", value)
        return cast(str, value)

    def number(self, key: str) -> float:
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse(key, "a number", value)
        return float(cast(float, value))

    def positive(self, key: str) -> float:
        value = self.number(key)
        if not 0 < value < float("inf"):
            self.refuse(key, "a positive number", value)
        return value

    def count(self, key: str) -> int:
        value = self.number(key)
        if value != int(value) or value < 1:
            self.refuse(key, "a whole number of at least 1", value)
        return int(value)

    def triple(self, key: str) -> tuple[float, float, float]:
        value = self.get(key)
        if (
            not isinstance(value, list)
            or len(value) != 3
            or not all(isinstance(v, int | float) for v in value)
        ):
            self.refuse(key, "three numbers", value)
        r, g, b = cast(list[float], value)
        return float(r), float(g), float(b)

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        value = self.get(key)
        if value not in choices:
            self.refuse(key, "one of " + ", ".join(choices), value)
        return cast(str, value)

    def refuse(self, key: str, wanted: str, found: object) -> None:
        raise BundleError(
            f'{self.path}: "{key}" must be {wanted}, found {found!r}',
            "See docs/models.md for what a bundle's config.json holds",
        )
