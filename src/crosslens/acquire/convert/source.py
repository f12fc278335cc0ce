"""The source of a conversion: a folder or file, its format recognised, with its JSON files and tensors."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from crosslens.acquire.convert.tensors import Tensors, pickled, safetensors, torchscript
from crosslens.errors import ConversionError

Format = Literal["hugging", "openclip", "openai", "immich", "sentence-transformers", "m-clip"]

LOOKED_FOR = (
    "Looked for: config.json with model.safetensors (transformers), open_clip_config.json with "
    "open_clip_model.safetensors (OpenCLIP), a .pt file (OpenAI), visual/model.onnx with textual/model.onnx "
    "(Immich), modules.json (sentence-transformers)"
)
_OPENCLIP = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)
_HUGGING = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_SNAPSHOT = re.compile(r"models--(?P<repo>.+)/snapshots/(?P<revision>[0-9a-f]{40})$")


@dataclass(frozen=True, slots=True)
class Source:
    """A recognised model. folder: where its files lie. file: the checkpoint itself, where one was given."""

    format: Format
    folder: Path
    file: Path | None = None

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self.folder / name).is_file()

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file that must be there."""
        return read_json(self.folder / name)

    def read_any(self, *names: str) -> dict[str, Any]:
        """The first of these JSON files that is there; empty where none is."""
        return next((self.read(name) for name in names if self.has(name)), {})

    def tensors(self) -> Tensors:
        """All tensors by name, each read when it is asked for."""
        if self.file is not None:
            return torchscript(self.file)
        names = (*_OPENCLIP, *_HUGGING) if self.format == "openclip" else _HUGGING
        found = next((name for name in names if self.has(name)), None)
        if found is None:
            raise ConversionError(f"{self.folder} holds no weights", f"Put one of {', '.join(names)} there")
        path = self.folder / found
        files = self._shards(path) if found.endswith(".index.json") else [path]
        return pickled(files) if files[0].suffix == ".bin" else safetensors(files)

    def _shards(self, index: Path) -> list[Path]:
        """The files that an index speaks of."""
        table = read_json(index).get("weight_map")
        names = sorted(set(table.values())) if isinstance(table, dict) else []
        if not names or any(not isinstance(name, str) or Path(name).name != name for name in names):
            raise ConversionError(f'{index}: "weight_map" names no files', "Download it again")
        missing = [name for name in names if not self.has(name)]
        if missing:
            raise ConversionError(f"{self.folder} lacks {', '.join(missing)}", "Put these files there")
        return [self.folder / name for name in names]

    @property
    def name(self) -> str:
        """What to call the model: the repository's last word, or that of the folder or file."""
        repo = self.provenance.get("repo")
        return repo.split("/")[-1] if repo else (self.file.stem if self.file else self.folder.name) or "model"

    @property
    def provenance(self) -> dict[str, str]:
        """For config.json: the format and, where it lies in a hub's cache, repository and revision."""
        found: dict[str, str] = {"format": self.format}
        match = _SNAPSHOT.search(self.folder.as_posix())
        if match:
            found |= {"repo": match["repo"].replace("--", "/"), "revision": match["revision"]}
        return found

    @property
    def license(self) -> str:
        """What the card (README.md) states at its top."""
        try:
            card = (self.folder / "README.md").read_text(encoding="utf-8", errors="replace")[:8192]
        except OSError:
            return "not stated"
        match = re.match(r"---\n(?:.*\n)*?license:[ \t]*(\S+)[ \t]*\n(?:.*\n)*?---", card)
        return match[1].strip("\"'") if match else "not stated"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises ConversionError."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConversionError(
            f"{path} cannot be read ({error.strerror})", f"Put {path.name} into {path.parent}"
        ) from error
    except ValueError as error:
        raise ConversionError(f"{path} is not valid JSON ({error})", "Download it again") from error
    if not isinstance(value, dict):
        raise ConversionError(f"{path} holds no JSON object", "Download it again")
    return value


def recognise(path: Path) -> Source:
    """Say what a folder or file is. Raises ConversionError with what was looked for."""
    if path.is_file():
        return _recognise_file(path)
    if not path.is_dir():
        raise ConversionError(f"there is no folder or file {path}", LOOKED_FOR)
    if (path / "visual/model.onnx").exists() or (path / "textual/model.onnx").exists():
        return Source("immich", path)
    if (path / "open_clip_config.json").is_file():
        transformers_only = (
            not any((path / name).is_file() for name in _OPENCLIP) and (path / "config.json").is_file()
        )
        return Source("hugging" if transformers_only else "openclip", path)
    if (path / "modules.json").is_file():
        return Source("sentence-transformers", path)
    if (path / "config.json").is_file():
        return _recognise_config(path)
    checkpoints = sorted(path.glob("*.pt"))
    if len(checkpoints) == 1:
        return Source("openai", path, checkpoints[0])
    raise ConversionError(f"{path} is not a model folder", LOOKED_FOR)


def _recognise_file(path: Path) -> Source:
    if path.suffix == ".pt":
        return Source("openai", path.parent, path)
    raise ConversionError(
        f"{path} is a single file that says nothing of its architecture",
        "Give the folder that it lies in, with config.json or open_clip_config.json beside it",
    )


def _recognise_config(path: Path) -> Source:
    config = read_json(path / "config.json")
    if config.get("format") == "two-tower-bundle":
        raise ConversionError(f"{path} is a bundle already", "Use it by its path")
    return Source("m-clip" if config.get("model_type") == "M-CLIP" else "hugging", path)
