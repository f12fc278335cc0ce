"""The tree of packages in README.md, and with their modules in docs/architecture.md, drawn from docstrings.

    python scripts/draw_tree.py [--check]

--check: write nothing, and end with 1 where a file does not hold what would be written.
"""

from __future__ import annotations

import ast
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "crosslens"
# Each imports only what stands before it; tests/test_public.py holds that.
GROUND = ("errors", "types", "arguments", "checksum", "app_folders")
PACKAGES = (
    "models",
    "search",
    "store",
    "images",
    "texts",
    "towers",
    "encode",
    "matching",
    "evaluation",
    "acquire",
    "library",
    "teach",
    "maintenance",
    "watch",
    "diagnose",
    "train",
    "automm",
    "serve",
    "cli",
)
_BEGIN, _END = "<!-- tree: scripts/draw_tree.py -->", "<!-- end of tree -->"
_WIDTH = 120


def docstring(path: Path) -> str:
    """The first paragraph of a module's docstring, on one line."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def tree(*, modules: bool) -> str:
    """All packages with what they do, as an indented block of Markdown. modules: with those in each."""
    lines = ["src/crosslens/", *(_line(SOURCE / f"{name}.py", 2) for name in GROUND)]
    for folder in (SOURCE / name for name in PACKAGES):
        file = folder.with_suffix(".py")
        lines += [_line(file, 2)] if file.is_file() else _package(folder, 2, modules=modules)
    return "\n".join(f"    {line}" for line in lines)


def _line(path: Path, indent: int) -> str:
    return f"{'':{indent}}{path.name:<{18 - indent}}{docstring(path)}"


def _package(folder: Path, indent: int, *, modules: bool) -> list[str]:
    head = f"{'':{indent}}{f'{folder.name}/':<{18 - indent}}"
    lines = textwrap.wrap(
        docstring(folder / "__init__.py"), _WIDTH, initial_indent=head, subsequent_indent=" " * 18
    )
    if modules:
        names = ", ".join(sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__"))
        lines += textwrap.wrap(names, _WIDTH, initial_indent=" " * 18, subsequent_indent=" " * 18)
        for inner in sorted(path.parent for path in folder.glob("*/__init__.py")):
            lines += _package(inner, indent + 2, modules=True)
    return lines


def drawn(text: str, *, modules: bool) -> str:
    """A page with the tree in it, between its two marks."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n\n{tree(modules=modules)}\n\n{_END}{after}"


def main() -> int:
    """Draw, or check."""
    stale = []
    for page in (ROOT / "README.md", ROOT / "docs" / "architecture.md"):
        text = page.read_text(encoding="utf-8")
        wanted = drawn(text, modules=page.name != "README.md")
        if wanted != text:
            stale.append(page)
            if "--check" not in sys.argv:
                page.write_text(wanted, encoding="utf-8")
    for page in stale:
        print(f"{page.relative_to(ROOT)}: {'is stale' if '--check' in sys.argv else 'drawn anew'}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
