"""Checkpoint folders of transformers and OpenCLIP: read, and written again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from crosslens.acquire.convert.convert import read_model
from crosslens.acquire.convert.result import Converted
from crosslens.acquire.convert.source import Source, recognise
from crosslens.errors import ConversionError, InputError, MissingExtraError
from crosslens.train.torchvision_compat import load_torchvision

_KINDS = "Adapters are trained on folders of transformers (CLIP, SigLIP, Chinese-CLIP) and of OpenCLIP"
# Weights, and what describes them; all other files of a checkpoint are copied into one made from it.
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".index.json")


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A checkpoint. facts: what the converter reads in it, without weights. network: on the CPU, float32."""

    source: Source
    facts: Converted
    network: nn.Module

    def embed_images(self, pixels: Tensor) -> Tensor:
        """Normalised pixels float32 (n, 3, s, s) → (n, d), not yet of unit length."""
        if self.source.format == "openclip":
            return self.network.encode_image(pixels)
        return _vectors(self.network.get_image_features(pixel_values=pixels))

    def embed_texts(self, ids: Tensor) -> Tensor:
        """Ids int64 (n, t), padded, t at most the context's length → (n, d), not yet of unit length."""
        pad, length = self.facts.text.pad_id, self.facts.text.context_length
        if self.source.format == "openclip":  # whose positions are not cut to shorter texts
            return self.network.encode_text(functional.pad(ids, (0, length - ids.shape[1]), value=pad))
        mask = (ids != pad).long() if self.facts.text_network.masked else None
        return _vectors(self.network.get_text_features(input_ids=ids, attention_mask=mask))


def read_pretrained(folder: str | Path) -> Pretrained:
    """A checkpoint whose parts fit together and which the converter supports.

    Raises ConversionError for any other folder, MissingExtraError without transformers or open_clip.
    """
    path = Path(folder).expanduser().absolute()
    if (path / "config.json").is_file() and b'"two-tower-bundle"' in (path / "config.json").read_bytes():
        raise ConversionError(
            f"{path} is a bundle, not a checkpoint",
            f'{_KINDS}; for a bundle, see image.kind = "bundle" of train whole',
        )
    source = recognise(path)
    if source.format not in ("hugging", "openclip"):
        raise ConversionError(f"{path} is a model in the format of {source.format}", _KINDS)
    facts = read_model(source)
    assert isinstance(facts, Converted)  # noqa: S101 (of these two formats)
    return Pretrained(source, replace(facts, weights={}), load_network(source))


def load_network(source: Source) -> nn.Module:
    """The network of transformers or open_clip with its weights, float32, on the CPU; no network is used."""
    try:
        return _of_openclip(source) if source.format == "openclip" else _of_transformers(source)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise ConversionError(
            f"{source.folder}: the checkpoint cannot be loaded ({str(error).strip().splitlines()[0]})",
            "Download it again",
        ) from error


def _of_transformers(source: Source) -> nn.Module:
    load_torchvision()
    try:
        from transformers import AutoModel
    except ImportError as error:
        raise MissingExtraError("transformers", "adapters") from error
    return AutoModel.from_pretrained(str(source.folder), dtype=torch.float32, local_files_only=True)


def _of_openclip(source: Source) -> nn.Module:
    load_torchvision()
    try:
        import open_clip
    except ImportError as error:
        raise MissingExtraError("open_clip_torch", "adapters") from error
    return open_clip.create_model(f"local-dir:{source.folder}", precision="fp32", device="cpu")


def save_network(network: nn.Module, source: Source, folder: Path, card: str) -> None:
    """Write a checkpoint in the format of its source, with the source's tokeniser and preprocessing files.

    card: the text of its README.md.
    """
    from safetensors.torch import save_file

    for path in sorted(source.folder.iterdir()):
        if path.is_file() and not path.name.endswith(_WEIGHTS) and path.name != "README.md":
            shutil.copyfile(path, folder / path.name)
    if source.format == "openclip":
        state = {name: value.detach().contiguous().clone() for name, value in network.state_dict().items()}
        save_file(state, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    else:
        network.save_pretrained(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of `folder` when the block ends well. Raises InputError."""
    draft = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        yield draft
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror})", "Name another folder") from error
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def _vectors(found: Any) -> Tensor:
    """Versions 4 and 5 of transformers return the vectors, or an object that holds them."""
    return found if isinstance(found, Tensor) else found.pooler_output
