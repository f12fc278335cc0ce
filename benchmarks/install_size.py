"""What the base install puts on the disk: `pip install crosslens` into an empty environment.

python benchmarks/install_size.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
UNWANTED = ("torch", "pandas", "pyarrow", "transformers", "onnxruntime")


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        packages = next(Path(folder).glob("lib/python*/site-packages"))
        before = size(packages)
        pip = [Path(folder) / "bin" / "python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "-c", ROOT / "requirements/base.txt", ROOT], check=True)
        added = size(packages) - before
        print(f"base install: {added / 1e6:.0f} MB added to an empty environment of {before / 1e6:.0f} MB")
        parts = sorted(
            ((size(path), path.name) for path in packages.iterdir() if path.is_dir()), reverse=True
        )
        for number, name in parts[:8]:
            print(f"  {number / 1e6:>6.1f} MB  {name}")
        found = [name for name in UNWANTED if (packages / name).exists()]
        print(f"torch, pandas, pyarrow, transformers, onnxruntime: {found or 'none of them'}")


if __name__ == "__main__":
    main()
