"""Renew requirements/*.txt: install the newest versions that pyproject.toml allows, and write them down.

make lock
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEADS = {
    "base": "# What crosslens itself needs.\n"
    "# Exact versions that `make` installs and that the tests ran with. To renew: make lock\n",
    "demo": "# The demo's photographs, which scikit-image carries.\n-r base.txt\n",
    "dev": "# Tests and checks.\n-r demo.txt\n",
    "reference": "# The reference implementations that vectors are held against, and what quantises; "
    "torch for the CPU will do.\n-r dev.txt\n",
}


def frozen(python: Path) -> list[str]:
    command = [python, "-m", "pip", "freeze"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")
    lines = [line.partition("+cpu")[0] for line in lines]  # the same version, wherever it comes from
    return [line for line in lines if "==" in line and not line.startswith(("pip==", "setuptools=="))]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = Path(folder) / "bin" / "python"
        known: list[str] = []
        for name, extra in (("base", ""), ("demo", "[demo]"), ("dev", "[dev]"), ("reference", "[reference]")):
            subprocess.run([python, "-m", "pip", "install", "--quiet", f"{ROOT}{extra}"], check=True)
            lines = frozen(python)
            new = [line for line in lines if line not in known]
            (ROOT / "requirements" / f"{name}.txt").write_text(HEADS[name] + "\n".join(new) + "\n")
            known = lines
            print(f"requirements/{name}.txt: {len(new)} packages")


if __name__ == "__main__":
    main()
