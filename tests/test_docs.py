"""The documentation says what is so: its examples run, its links lead somewhere, its commands exist."""

import csv
import io
import re
import shlex
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from crosslens import Matcher
from crosslens.cli.app import app, main
from draw_tree import drawn, tree

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
# What stands in examples for a user's own files.
OWN = {"~/Pictures": "Pictures", "dog.jpg": "Pictures/red.png", "my-clip": "fake"}
PLACEHOLDER = re.compile(r"[A-Z]{2}[A-Z_]*…?")


def blocks(language: str) -> list[object]:
    """Every code block in a language: (page, its text)."""
    return [
        pytest.param(page, code, id=f"{page.name}-{number}")
        for page in PAGES
        for number, code in enumerate(re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL))
    ]


@pytest.fixture
def there(paint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with pictures, captions, labels and queries, as the examples name them."""
    pictures = [paint(f"Pictures/{colour}.png", colour) for colour in ("red", "blue", "green")]
    paint("Scans/yellow.png")
    folder = pictures[0].parents[1]
    captions = ("a red wall", "the deep blue sea", "a green lawn")
    rows = [f"{path.relative_to(folder)},{text}" for path, text in zip(pictures, captions, strict=True)]
    (folder / "captions.csv").write_text("\n".join(["picture,caption", *rows]) + "\n")
    (folder / "labels.txt").write_text("red\nblue\ngreen\n")
    (folder / "queries.txt").write_text("a red wall\nthe deep blue sea\n")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(("page", "code"), blocks("python"))
@pytest.mark.usefixtures("there")
def test_every_python_example_runs(page: Path, code: str) -> None:
    exec(compile(code, page.name, "exec"), {})  # noqa: S102


@pytest.fixture
def command_line(there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A library of its own, streams that pytest may replace, and signals as they were."""
    monkeypatch.setenv("CROSSLENS_LIBRARY", str(tmp_path / "library"))
    monkeypatch.setattr("crosslens.cli.app._prepare_streams", lambda: None)
    terminate = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, terminate)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.usefixtures("command_line")
def test_every_command_runs_and_prints_what_the_page_shows(
    page: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page's commands one after the other; "…" in what is shown stands for anything."""
    text = "".join(re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL))
    for line, shown in re.findall(r"^\$ (crosslens .*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
        words = [OWN.get(word, word) for word in shlex.split(line, comments=True)[1:]]
        if any(PLACEHOLDER.fullmatch(word) for word in words):
            continue
        if "<" in words:
            words, (_, name) = words[:-2], words[-2:]
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(Path(name).read_bytes())))
        assert main(words) == 0, (line, capsys.readouterr().err)
        printed = capsys.readouterr().out
        pattern = re.escape(shown.strip()).replace("…", ".*")
        assert not shown or re.fullmatch(pattern, printed.strip(), re.DOTALL), (line, printed)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_section(page: Path) -> None:
    for target, section in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", page.read_text()):
        if "://" not in target:
            path = page.parent / target if target else page
            assert path.exists(), f"{page.name} links to {target}"
            headings = re.findall(r"^#+ (.*)", path.read_text(), re.MULTILINE) if section else []
            sections = [re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings]
            assert not section or section in sections, f"{page.name} links to {target}#{section}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_script_named_exists(page: Path) -> None:
    text = page.read_text()
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]
    commands |= {
        str(group.typer_instance.info.name) for group in app.registered_groups if group.typer_instance
    }
    named = set(re.findall(r"(?:^\$|`)\s?crosslens ([a-z]+)\b", text, re.MULTILINE))
    assert named <= commands
    for script in re.findall(r"python ((?:benchmarks|scripts)/\w+\.py)", text):
        assert (ROOT / script).is_file(), script
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)`", text)) <= targets


def test_the_trees_in_the_docs_are_those_of_the_packages() -> None:
    for page in ("README.md", "docs/architecture.md"):
        text = (ROOT / page).read_text()
        assert drawn(text, modules=page != "README.md") == text, "python scripts/draw_tree.py draws it anew"
    names = {path.stem for path in (ROOT / "src" / "crosslens").rglob("*.py")} - {"__init__", "__main__"}
    assert not [name for name in names if not re.search(rf"\b{name}\b", tree(modules=True))]


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore::crosslens.errors.TextTruncatedWarning")
def test_the_match_probability_is_as_good_as_docs_python_says(starter: Matcher, shared: Path) -> None:
    data = shared / "eval" / "flickr8k-test"
    with open(data / "captions.tsv") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    files = sorted({row["file"] for row in rows})
    own = np.array([files.index(row["file"]) for row in rows])
    pictures = starter.embed_images([data / "images" / name for name in files])
    texts = starter.embed_texts([row["caption"] for row in rows])
    assert starter.match_spec is not None
    p = 1 / (1 + np.exp(-(starter.match_spec.a * texts @ pictures.T + starter.match_spec.b)))
    # Every caption with its own picture, and with another.
    other = (own + np.random.default_rng(0).integers(1, len(files), len(own))) % len(files)
    matching, strange = (p[np.arange(len(own)), chosen] for chosen in (own, other))
    right = (np.mean(matching >= 0.5) + np.mean(strange < 0.5)) / 2
    assert right == pytest.approx(0.93, abs=0.01)
    high = [np.sum((some >= 0.8) & (some < 0.9)) for some in (matching, strange)]
    assert high[0] / sum(high) == pytest.approx(0.86, abs=0.02)
    assert np.mean(p >= 0.5) == pytest.approx(0.082, abs=0.01)
    assert np.sum(matching >= 0.5) / np.sum(p >= 0.5) == pytest.approx(1 / 86, abs=0.0008)
