"""A service over pictures of one colour, for tests of its libraries, searches and jobs."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from starlette.testclient import TestClient

from crosslens import Matcher
from crosslens.serve.app import create_app
from crosslens.serve.config import ServeConfig
from crosslens.towers.fake_model import COLOURS, FakeModel


def png(colour: str, size: tuple[int, int] = (16, 16)) -> bytes:
    """A picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, tuple(int(255 * part) for part in COLOURS[colour])).save(file, "PNG")
    return file.getvalue()


def zipped(entries: Mapping[str, bytes]) -> bytes:
    """An archive of these files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return file.getvalue()


@contextmanager
def served(folder: Path, matcher: Matcher | None = None, **options: Any) -> Iterator[TestClient]:
    """A running service with the library "photos" and whatever clients made in the folder."""
    options = {"libraries": (folder / "photos",), "data": folder / "data", "folders": (folder,)} | options
    app = create_app(ServeConfig(**options), matcher or Matcher(FakeModel()))
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        while not app.state.service.ready.is_set():
            time.sleep(0.01)
        yield client


def ask(client: TestClient, method: str, path: str, status: int = 200, **options: Any) -> Any:
    """An answer's JSON; its status must be this, and a failure a problem document."""
    answer = client.request(method, f"/v1/{path}", **options)
    assert answer.status_code == status, answer.text
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status
    return answer.json()


def search(client: TestClient, query: str = "", **more: Any) -> list[str]:
    """Names of what is found, in order."""
    found = ask(client, "POST", "search", json={"query": query, **more})
    return [hit["name"] for hit in found["hits"]]


def ended(client: TestClient, job: dict[str, Any], state: str = "done") -> dict[str, Any]:
    """A job when it has ended; it must have ended so."""
    until = time.monotonic() + 30
    while job["state"] in ("waiting", "running"):
        assert time.monotonic() < until, job
        time.sleep(0.01)
        job = ask(client, "GET", f"jobs/{job['id']}")
    assert job["state"] == state, job
    return job


def upload(
    client: TestClient, library: str, files: Mapping[str, bytes], state: str = "done"
) -> dict[str, Any]:
    """The job that took files in, at its end."""
    parts = [("file", (name, data)) for name, data in files.items()]
    return ended(client, ask(client, "POST", f"libraries/{library}/items", 202, files=parts)["job"], state)


def index(client: TestClient, folder: Path, library: str = "photos") -> dict[str, Any]:
    """The job that indexed a folder, at its end."""
    answer = ask(client, "POST", f"libraries/{library}/folders", 202, json={"path": str(folder)})
    return ended(client, answer["job"])
