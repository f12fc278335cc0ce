"""`crosslens doctor`: facts of this machine, what crosslens uses of it, and a self-test."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

import crosslens
from crosslens import app_folders
from crosslens.library.library import Library
from crosslens.matching.matcher import Matcher
from crosslens.models.catalogue import STARTER, find_bundle
from crosslens.store.network_filesystem import file_system_of
from crosslens.store.schema import DATABASE
from crosslens.towers.open_model import auto_device
from crosslens.towers.openvino_runtime import available_cores
from crosslens.types import UInt8

_CPU_FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "bf16",
)
_PACKAGES = ("openvino", "faiss-cpu", "tokenizers", "pillow", "numpy")
_TEXTS = ("a dog running on grass", "a red car", "children playing football", "a plate of food")
# Least cosine between the precision in use and float32.
_LEAST_AGREEMENT = 0.999
# "a dog running on grass" by scripts/make_golden.py in float32: the first four numbers of the unit vector.
_GOLDEN = (0.211072, 0.347101, 0.018034, 0.211491)


@dataclass(frozen=True, slots=True)
class SelfTest:
    """One check with its numbers."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Checkup:
    """facts: by title, name and value. tests: in the order they ran."""

    facts: dict[str, dict[str, str]]
    tests: tuple[SelfTest, ...]

    @property
    def healthy(self) -> bool:
        """Whether every test passed."""
        return all(test.passed for test in self.tests)


def examine(library: Path) -> Checkup:
    """Look at this machine and try everything once, with the embedded model and pictures made here."""
    matcher = Matcher(STARTER)
    spec = matcher.spec
    disk = file_system_of(library)
    facts = {
        "crosslens": {
            "version": crosslens.__version__,
            "licence of the code": "Apache-2.0",
            "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
            "sqlite": sqlite3.sqlite_version,
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        "machine": {
            "cores": f"{available_cores()} usable of {os.cpu_count()}",
            "CPU features": " ".join(_cpu_flags()) or "unknown",
            "devices": _devices(),
            "runtime": f"{matcher.provenance} (bf16 where the CPU computes in it, f32 elsewhere)",
            "device": "{} ({})".format(*auto_device(find_bundle(STARTER))),
        },
        "model": {
            "name": f"{spec.name}, version {spec.version}, {spec.dimension} numbers a vector",
            "input": f"{spec.image.size} × {spec.image.size} pixels, {spec.text.context_length} tokens",
            "identity": spec.identity,
            "licence": spec.license,
        },
        "places": {
            "library": f"{library}{'' if library.exists() else ' (not there yet)'}",
            "its file system": f"{disk}; {disk.consequence}",
            "model cache": f"{app_folders.model_cache()}{_size(app_folders.model_cache())}",
        },
    }
    tests = [
        _test("text vectors are the reference's", _golden),
        _test("precision in use against float32", lambda: _agreement(matcher)),
        _test("index and search", lambda: _round_trip(matcher)),
        _test("speed", lambda: _speed(matcher)),
    ]
    if (library / DATABASE).exists():
        tests.append(_test("library", lambda: _library(library)))
    return Checkup(facts, tuple(tests))


def _test(name: str, run: Callable[[], tuple[bool, str]]) -> SelfTest:
    try:
        return SelfTest(name, *run())
    except Exception as error:  # whatever it is, the checkup goes on and shows it
        return SelfTest(name, passed=False, detail=f"{type(error).__name__}: {error}")


def _golden() -> tuple[bool, str]:
    vector = Matcher(STARTER, precision="f32").embed_texts(_TEXTS[0])[0]
    difference = float(np.abs(vector[: len(_GOLDEN)] - _GOLDEN).max())
    return difference < 1e-4, f"largest difference {difference:.1e}"


def _agreement(matcher: Matcher) -> tuple[bool, str]:
    exact = Matcher(STARTER, precision="f32")
    pictures, texts = _pictures(8), list(_TEXTS)
    by_picture = (matcher.embed_images(pictures) * exact.embed_images(pictures)).sum(axis=1).min()
    by_text = (matcher.embed_texts(texts) * exact.embed_texts(texts)).sum(axis=1).min()
    passed = bool(min(by_picture, by_text) >= _LEAST_AGREEMENT)
    return passed, f"least cosine: pictures {by_picture:.5f}, texts {by_text:.5f}"


def _round_trip(matcher: Matcher) -> tuple[bool, str]:
    pictures = _pictures(8)
    with tempfile.TemporaryDirectory() as folder:
        names = [os.path.join(folder, f"{number}.png") for number in range(len(pictures))]
        for name, picture in zip(names, pictures, strict=True):
            Image.fromarray(picture).save(name)
        with Library.open(os.path.join(folder, "library"), matcher) as library:
            library.index(folder)
            found = sum(library.search(image=name, k=1)[0].path == name for name in names)
    return found == len(names), f"{found} of {len(names)} pictures found themselves"


def _library(folder: Path) -> tuple[bool, str]:
    with Library.open(folder) as library:
        stats = library.stats()
        if stats.items:
            library.search(image=np.zeros((8, 8, 3), np.uint8), k=1)
    return True, f"{stats.items:,} items, model {stats.model}, searched"


def _speed(matcher: Matcher) -> tuple[bool, str]:
    pictures, texts = _pictures(64), [f"{text} {number}" for text in _TEXTS for number in range(16)]
    started = time.perf_counter()
    matcher.embed_images(pictures)
    middle = time.perf_counter()
    matcher.embed_texts(texts)
    end = time.perf_counter()
    return True, f"{64 / (middle - started):,.0f} pictures/s, {64 / (end - middle):,.0f} texts/s"


def _pictures(count: int) -> list[UInt8]:
    """Smooth random pictures 128 × 128, the same ones every time."""
    random = np.random.default_rng(7)
    small = random.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    return [np.asarray(Image.fromarray(picture).resize((128, 128))) for picture in small]


def _devices() -> str:
    import openvino

    core = openvino.Core()
    return ", ".join(
        f"{name} ({core.get_property(name, 'FULL_DEVICE_NAME')})" for name in core.available_devices
    )


def _cpu_flags() -> list[str]:
    if sys.platform != "linux":
        return []
    words = set(Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split())
    return [flag for flag in _CPU_FLAGS if flag in words]


def _size(folder: Path) -> str:
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return f" ({size / 1e6:.0f} MB)" if size else " (empty)"
