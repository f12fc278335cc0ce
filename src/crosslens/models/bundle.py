"""A model bundle on disk: a folder with config.json, weights or ONNX graphs, and a tokeniser.

The format is described in docs/models.md. Whatever config.json says is checked against the files
before it is used; a bundle is whole or it is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from crosslens.errors import BundleError
from crosslens.models.spec import (
    Activation,
    Clean,
    Crop,
    GraphAndNetwork,
    Graphs,
    ImageSpec,
    Interpolation,
    MatchSpec,
    ModelSpec,
    Networks,
    NetworkSpec,
    Norm,
    Pool,
    RelevanceSpec,
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

    def weights(self, networks: Networks | GraphAndNetwork) -> Path:
        """Path of the file of weights, after the same check."""
        return self._verified(networks.file, networks.sha256)

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
                crop=self.crop(),
                mean=self.triple("image.mean"),
                std=self.triple("image.std", positive=True),
                resize_to=self.resize_to(),
                fill=self.fill(),
            ),
            text=TextSpec(self.count("text.context_length"), self.whole("text.pad_id"), self.clean()),
            towers=self.towers(),
            tokenizer_file=self.text("text.tokenizer"),
            tokenizer_sha256=self.sha256(self.text("text.tokenizer")),
            match=self.match("match"),
            match_names=self.match("match_names"),
            relevance=self.relevance(),
            license=str(self.config.get("license", "not stated")),
            scripts=self.words("scripts"),
            space=None if self.get("space") is None else self.text("space"),
        )

    def towers(self) -> Graphs | Networks | GraphAndNetwork:
        if self.get("weights") is None:
            return self.graphs()
        return self.networks() if self.get("image.file") is None else self.graph_and_network()

    def graph_and_network(self) -> GraphAndNetwork:
        file = self.text("weights")
        return GraphAndNetwork(self.graph("image"), file, self.sha256(file), self.network("text"))

    def graphs(self) -> Graphs:
        return Graphs(self.graph("image"), self.graph("text"))

    def networks(self) -> Networks:
        file = self.text("weights")
        return Networks(file, self.sha256(file), self.network("image"), self.network("text"))

    def network(self, tower: str) -> NetworkSpec:
        key = f"{tower}.network"
        pool = cast(Pool, self.choice(f"{key}.pool", get_args(Pool)))
        return NetworkSpec(
            heads=self.count(f"{key}.heads"),
            activation=cast(Activation, self.choice(f"{key}.activation", get_args(Activation))),
            norm=cast(Norm, self.choice(f"{key}.norm", get_args(Norm))),
            epsilon=self.positive(f"{key}.epsilon"),
            pool=pool,
            causal=bool(self.get(f"{key}.causal")),
            masked=bool(self.get(f"{key}.masked")),
            end_id=self.whole(f"{key}.end_id") if pool == "end" else None,
        )

    def match(self, key: str) -> MatchSpec | None:
        if self.get(key) is None:
            return None
        a, b = self.number(f"{key}.a"), self.number(f"{key}.b")
        return MatchSpec(a, b, bool(self.get(f"{key}.calibrated")), str(self.get(f"{key}.fitted_on") or ""))

    def relevance(self) -> RelevanceSpec | None:
        if self.get("relevance") is None:
            return None
        return RelevanceSpec(
            middle=self.number("relevance.middle"),
            steepness=self.positive("relevance.steepness"),
            missed=self.share("relevance.missed"),
            false_alarms=self.share("relevance.false_alarms"),
            measured_on=str(self.get("relevance.measured_on") or ""),
        )

    def crop(self) -> Crop:
        crop = cast(Crop, self.choice("image.crop", get_args(Crop)))
        if crop == "none" and self.get("image.resize") != "squash":
            self.refuse("image.crop", '"center" where the shape is kept, since the input is square', crop)
        return crop

    def resize_to(self) -> int | None:
        if self.get("image.resize_to") is None:
            return None
        if self.get("image.resize") != "shortest_edge":
            self.refuse("image.resize_to", "absent unless the shortest edge is resized", "it")
        return self.whole("image.resize_to", least=self.count("image.size"))

    def fill(self) -> int:
        value = 0 if self.get("image.fill") is None else self.whole("image.fill")
        if value > 255:
            self.refuse("image.fill", "a grey value from 0 to 255", value)
        return value

    def clean(self) -> Clean:
        if self.get("text.clean") is None:
            return "none"
        return cast(Clean, self.choice("text.clean", get_args(Clean)))

    def graph(self, tower: str) -> TensorSpec:
        file = self.text(f"{tower}.file")
        mask = None if self.get(f"{tower}.mask") is None else self.text(f"{tower}.mask")
        names = self.text(f"{tower}.input"), self.text(f"{tower}.output")
        return TensorSpec(file, *names, self.sha256(file), mask)

    def sha256(self, file: str) -> str:
        sums = self.get("sha256")
        value = sums.get(file) if isinstance(sums, dict) else None
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
        if not isinstance(value, str) or not value or set(value) & set("/\\\0"):
            self.refuse(key, "a plain name", value)
        return cast(str, value)

    def number(self, key: str) -> float:
        value = self.get(key)
        if not _is_number(value):
            self.refuse(key, "a finite number", value)
        return float(value)

    def positive(self, key: str) -> float:
        value = self.number(key)
        if value <= 0:
            self.refuse(key, "a positive number", value)
        return value

    def share(self, key: str) -> float:
        value = self.number(key)
        if not 0 <= value <= 1:
            self.refuse(key, "a number from 0 to 1", value)
        return value

    def whole(self, key: str, least: int = 0) -> int:
        value = self.number(key)
        if value != int(value) or value < least:
            self.refuse(key, f"a whole number of at least {least}", value)
        return int(value)

    def count(self, key: str) -> int:
        return self.whole(key, least=1)

    def words(self, key: str) -> tuple[str, ...]:
        value = self.config.get(key, [])
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            self.refuse(key, "a list of words", value)
        return tuple(word.upper() for word in value)

    def triple(self, key: str, *, positive: bool = False) -> tuple[float, float, float]:
        value = self.get(key)
        sound = isinstance(value, list) and len(value) == 3 and all(map(_is_number, value))
        if not sound or (positive and min(value) <= 0):
            self.refuse(key, "three positive numbers" if positive else "three numbers", value)
        r, g, b = value
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


def _is_number(value: object) -> bool:
    """Whether a JSON value is a finite number; JSON's integers may be too large for a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
