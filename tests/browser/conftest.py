"""The service as its users start it, and Chromium to look at its page. What is missing skips these tests."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
PAGE = ROOT / "src" / "crosslens" / "serve" / "page"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_SECONDS = 180


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], check=True, capture_output=True, text=True, **options
    )


@pytest.fixture(scope="session")
def chromium() -> str:
    found = os.environ.get("CROSSLENS_CHROMIUM") or next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        pytest.skip("needs Chromium: apt install chromium, or its path in CROSSLENS_CHROMIUM")
    if shutil.which("node") is None:
        pytest.skip("needs Node.js: apt install nodejs")
    if not (WEB / "node_modules" / "playwright-core").is_dir():
        pytest.skip("needs the packages of web/: npm ci --prefix web")
    return found


@pytest.fixture(scope="session")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of one colour in several shapes, some upright by EXIF alone, and files that are none."""
    folder = tmp_path_factory.mktemp("painted")
    for name in ("red", "green", "blue"):
        Image.new("RGB", (320, 240), name).save(folder / f"{name}.png")
    turned = Image.new("RGB", (320, 160), "red")
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(folder / "turned.jpg", exif=exif)
    Image.new("RGB", (160, 240), "blue").save(folder / "tall.webp")
    more = folder / "more"
    more.mkdir()
    for number in range(12):
        Image.new("RGB", (200 + 10 * number, 200), (20 * number, 128, 255 - 20 * number)).save(
            more / f"{number}.png"
        )
    uploads = tmp_path_factory.mktemp("uploads")
    Image.new("RGB", (300, 200), "green").save(uploads / "meadow.png")
    Image.new("RGB", (300, 200), "red").save(uploads / "poppy.png")
    Image.new("RGB", (300, 200), "red").save(uploads / "poppy again.jpg", quality=95)
    (uploads / "broken.jpg").write_text("no picture at all")
    shutil.make_archive(str(uploads / "sea"), "zip", _one(tmp_path_factory, "blue"))
    folder.joinpath("uploads").symlink_to(uploads)
    return folder


def _one(factory: pytest.TempPathFactory, colour: str) -> Path:
    folder = factory.mktemp(colour)
    Image.new("RGB", (300, 200), colour).save(folder / f"{colour}.png")
    return folder


@pytest.fixture(scope="session")
def library(painted: Path, tmp_path_factory: pytest.TempPathFactory, home: Path) -> Path:
    """A library with the painted pictures, by the embedded model."""
    folder = tmp_path_factory.mktemp("libraries") / "colours"
    pictures = [
        painted / name for name in ("red.png", "green.png", "blue.png", "turned.jpg", "tall.webp", "more")
    ]
    run(
        sys.executable,
        "-m",
        "crosslens",
        "index",
        *pictures,
        env={**os.environ, "CROSSLENS_LIBRARY": str(folder)},
    )
    return folder


class Served:
    """A service of its own process, on a free port."""

    def __init__(self, library: Path, *options: str) -> None:
        command = [sys.executable, "-m", "crosslens", "serve", "-L", str(library), "--port", "0", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                self.address = found[0]
                return
        self.stop()
        raise AssertionError("the service did not start:\n" + "".join(self.lines))

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=60)


@pytest.fixture(scope="session")
def serve(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Served]]:
    """Start a service with these options more."""
    started: list[Served] = []

    def start(*options: str, of: Path = library) -> Served:
        data = tmp_path_factory.mktemp("data")
        started.append(Served(of, "--data", str(data), "--no-access-log", *options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture(scope="session")
def service(chromium: str, serve: Callable[..., Served], painted: Path) -> str:
    """The address of the service that most of these tests look at."""
    return serve("--folder", str(painted)).address


@pytest.fixture
def look(chromium: str, painted: Path, tmp_path: Path) -> Callable[..., None]:
    """Do in the browser what a scenario says; its failures are those of the test."""

    def act(scenario: str, address: str, **more: Any) -> None:
        given = {
            "address": address,
            "chromium": chromium,
            "pictures": str(painted),
            "out": str(tmp_path),
            **more,
        }
        command = ["node", str(Path(__file__).with_name("run.mjs")), scenario, json.dumps(given)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        assert done.returncode == 0, f"{scenario}:\n{done.stdout}{done.stderr}"

    return act
