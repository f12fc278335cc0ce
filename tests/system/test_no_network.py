"""Nothing that crosslens does opens a socket: not in Python, not in the libraries below it."""

import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

RUNNER = Path(__file__).parents[1] / "no_network.py"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"),
    reason="the filter that kills a process at its first socket is for Linux on x86-64 and arm64",
)


def without_network(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, RUNNER, *command], capture_output=True, text=True, check=False)


def test_the_filter_kills_a_process_that_opens_a_socket() -> None:
    done = without_network("-c", "import socket; socket.socket(socket.AF_INET)")
    assert done.returncode == -signal.SIGSYS


def test_the_filter_lets_others_live() -> None:
    assert without_network("-c", "open('/dev/null').close()").returncode == 0


def test_the_main_job_opens_no_socket(pictures: Path, tmp_path: Path) -> None:
    library = ("-L", str(tmp_path / "library"))
    red = str(pictures / "red.png")
    for command in (
        ("index", *library, str(pictures)),
        ("search", *library, "something red"),
        ("search", *library, "--image", red, "sea", "--without", "people"),
        ("score", red, "a red wall", "a dog"),
        ("doctor",),
        ("models",),
        ("models", "show", "clip-vit-base-patch32"),
    ):
        done = without_network("crosslens", *command)
        assert done.returncode == 0, (command, done.returncode, done.stdout, done.stderr)


def test_the_python_interface_opens_no_socket(pictures: Path) -> None:
    # Here OpenVINO is imported whole, with the converter and the telemetry client in its package.
    picture = str(pictures / "red.png")
    code = f"import crosslens; print(crosslens.Matcher().rank({picture!r}, ['red', 'blue'])[0].index)"
    done = without_network("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("0", "1")
