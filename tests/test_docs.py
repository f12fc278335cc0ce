"""The documentation says what is so: its Python runs, its links lead somewhere, its commands exist."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from crosslens.cli.parse import app

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.fixture
def there(paint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with Pictures and Scans, as the examples name them."""
    pictures = [paint(f"Pictures/{colour}.png", colour) for colour in ("red", "blue", "green")]
    paint("Scans/yellow.png")
    monkeypatch.chdir(pictures[0].parents[1])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.usefixtures("there")
def test_every_python_example_runs(page: Path) -> None:
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)):
        exec(compile(code, f"{page.name}, example {number}", "exec"), {})  # noqa: S102


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_script_named_exists(page: Path) -> None:
    text = page.read_text()
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]
    named = set(re.findall(r"(?:^\$|`)\s?crosslens ([a-z]+)\b", text, re.MULTILINE))
    assert named <= commands
    for script in re.findall(r"python ((?:benchmarks|scripts)/\w+\.py)", text):
        assert (ROOT / script).is_file(), script
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)`", text)) <= targets


def test_the_readme_tree_names_every_module() -> None:
    readme = (ROOT / "README.md").read_text()
    source = ROOT / "src" / "crosslens"
    for path in source.iterdir():
        if path.suffix == ".py" and not path.name.startswith("__"):
            assert path.name in readme, path.name
        elif path.is_dir() and path.name != "__pycache__":
            assert f"{path.name}/" in readme, path.name
