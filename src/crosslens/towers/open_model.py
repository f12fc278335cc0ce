"""Opening a model: a name or folder → towers on a device (OpenVINO, or torch for CUDA)."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from crosslens import app_folders
from crosslens.models.bundle import Bundle
from crosslens.models.catalogue import find_bundle
from crosslens.models.certificate import find_certificate
from crosslens.models.spec import Networks
from crosslens.towers.base import TwoTowers
from crosslens.towers.fake_model import FakeModel
from crosslens.towers.openvino_runtime import OpenVinoModel, Precision

_NVIDIA = Path("/dev/nvidiactl")


def open_model(
    model: str | os.PathLike[str], precision: Precision = "auto", device: str = "auto"
) -> TwoTowers:
    """A model by name or bundle folder; "fake" is the one for tests (`towers.fake_model`).

    device: "auto", "cpu", one that torch knows ("cuda", "cuda:1", "mps"), or one that OpenVINO knows ("GPU",
    "GPU.1", "NPU"). Raises UnknownModelError, BundleError, ModelError, MissingExtraError, InputError.
    """
    if os.fspath(model) == FakeModel.spec.name:
        return FakeModel()
    bundle = find_bundle(model)
    if device == "auto":
        device, _ = auto_device(bundle, precision)
    if precision == "auto":
        certificate = find_certificate(bundle)
        if certificate is not None and certificate.passed("bf16") is False:
            precision = "f32"
    if device.split(":")[0] in ("cuda", "mps"):
        from crosslens.towers.torch_runtime import TorchModel

        return TorchModel(bundle, device, precision)
    identity = bundle.spec.identity
    cache = writable(app_folders.model_cache())
    quantised = app_folders.quantised(identity)
    return OpenVinoModel(bundle, precision, cache, quantised=quantised, device=device.upper())


def auto_device(bundle: Bundle, precision: Precision = "auto") -> tuple[str, str]:
    """Where a model runs best, "cuda" or "cpu", and why.

    Found out without importing torch, which takes seconds.
    """
    if not _NVIDIA.exists():
        return "cpu", "no NVIDIA GPU is there"
    if find_spec("torch") is None:
        return "cpu", 'an NVIDIA GPU is there; to use it: pip install "crosslens[torch]"'
    if not isinstance(bundle.spec.towers, Networks):
        return "cpu", "this model's image tower is a graph, which does not run on the NVIDIA GPU"
    if precision == "int8":
        return "cpu", "int8 is for the CPU"
    return "cuda", "an NVIDIA GPU and torch are there"


def writable(folder: Path) -> Path | None:
    """The folder, made if need be; None where it cannot be written: a cache is never a condition."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None
