"""docs/http.md says what is so: its curl examples run, and it names every endpoint and every code."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response
from starlette.testclient import TestClient

from crosslens.serve import error_responses
from shelves import ask, ended, index, png, served, zipped

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "http.md").read_text()


@pytest.fixture
def client(tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "dog.jpg").write_bytes(png("red", (20, 20)))
    (tmp_path / "here" / "more.zip").write_bytes(zipped({"cyan.png": png("cyan")}))
    monkeypatch.chdir(tmp_path / "here")
    with served(tmp_path) as client:
        index(client, pictures)
        yield client


def run(client: TestClient, line: str) -> Any:
    """What curl would do with these words."""
    words = iter(shlex.split(line)[1:])
    method, path, options = "GET", "", {}
    form: list[tuple[str, Any]] = []
    for word in words:
        if word == "-X":
            options["method"] = next(words)
        elif word == "-F":
            name, _, value = next(words).partition("=")
            file = Path(value[1:]) if value[0] == "@" else None
            form.append((name, (file.name, file.read_bytes()) if file else (None, value)))
        elif word == "-T":
            method, options["content"] = "PUT", Path(next(words)).read_bytes()
        elif word == "--json":
            method, options["json"] = "POST", json.loads(next(words))
        elif word == "-o":
            next(words)
        elif word != "-N":
            assert word.startswith("localhost:8765/"), word
            path = word.removeprefix("localhost:8765")
    if form:
        method, options["files"] = "POST", form
    return client.request(**{"method": method, "url": path, **options})


def test_every_example_answers_what_the_page_shows(client: TestClient, tmp_path: Path) -> None:
    examples = re.findall(
        r"^\$ (curl .*)\n((?:(?!\$ |```).*\n)*)",
        "".join(re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)),
        re.M,
    )
    assert len(examples) > 30
    job = ""
    for told, shown in examples:
        line = told.replace("$JOB", job).replace('"/pictures"', json.dumps(str(tmp_path / "pictures")))
        answer: Response | Any = run(client, line)
        assert answer.status_code < 300 or "color:red" in line, (line, answer.text)
        pattern = re.escape(re.sub(r"\s", "", shown)).replace("…", ".*")
        text = re.sub(r"\s", "", answer.text) if shown else ""
        assert re.fullmatch(pattern, text), (line, answer.text)
        if answer.status_code == 202:
            job = answer.json()["job"]["id"]
            if "folders" in line:
                ended(client, ask(client, "GET", f"jobs/{job}"))


def test_every_endpoint_is_named(client: TestClient) -> None:
    paragraphs = PAGE.split("\n\n")
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        told = re.sub(r"\{(\w+)\}", lambda found: {"identity": "ID"}.get(found[1], found[1].upper()), path)
        for method in methods:
            there = [text for text in paragraphs if re.search(rf"{re.escape(told)}[`?]", text)]
            assert any(f"`{method.upper()}" in text for text in there), (method, told)


def test_every_code_is_named() -> None:
    source = ROOT / "src" / "crosslens" / "serve"
    codes = {code for _, _, code, _ in error_responses._KNOWN}
    for path in source.rglob("*.py"):
        codes |= set(re.findall(r'Problem\(\s*\d+,\s*"(\w+)"', path.read_text()))
    assert len(codes) > 25
    assert {code for code in codes if f"`{code}`" not in PAGE} == set()
