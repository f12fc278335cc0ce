"""Jobs: told as they go, ended before time, taken up again after a stop; and the command that serves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from crosslens import Library, Matcher
from crosslens.cli.app import main
from crosslens.cli.commands import serve as command
from crosslens.errors import InputError
from crosslens.images.decode import Limits
from crosslens.serve.app import create_app
from crosslens.serve.config import RequestLimits, ServeConfig
from crosslens.serve.ingest import jobs as module
from crosslens.serve.ingest.uploads import ACCEPTED, INCOMING
from crosslens.serve.routes import jobs as routes
from crosslens.serve.security.auth import Keys
from crosslens.store.locks import writer_lock
from crosslens.towers.fake_model import FakeModel
from serving import running
from shelves import ask, ended, index, png, search, served, upload, zipped


class Gate:
    """A matcher whose image tower runs so many batches, of four pictures, and then waits to be opened."""

    def __init__(self, batches: int) -> None:
        self.open = threading.Event()
        self.reached = threading.Event()
        self._left = batches
        model = FakeModel()
        model.batch_size = 4
        self._tower = model.image
        model.image = self  # type: ignore[assignment]
        self.matcher = Matcher(model)

    def submit(self, batch: NDArray[Any]) -> Any:
        if batch.any():  # the one that warms up is black
            self._left -= 1
            if self._left < 0:
                self.reached.set()
                assert self.open.wait(30)
        return self._tower.submit(batch)


@pytest.fixture
def many(paint: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of 40 pictures; an index run commits every four and tells of each."""
    monkeypatch.setattr("crosslens.library.indexing._COMMIT_EVERY", 4)
    monkeypatch.setattr("crosslens.library.indexing._PROGRESS_SECONDS", 0)
    for number in range(40):
        paint(f"many/{number:02}.png", "magenta", (16 + number, 16))
    return tmp_path / "pictures" / "many"


def start(client: TestClient, folder: Path) -> dict[str, Any]:
    """A job that was begun."""
    job = ask(client, "POST", "libraries/photos/folders", 202, json={"path": str(folder)})["job"]
    assert isinstance(job, dict)
    return job


@contextmanager
def gated(tmp_path: Path, batches: int, **options: Any) -> Iterator[tuple[TestClient, Gate]]:
    gate = Gate(batches)
    with served(tmp_path, gate.matcher, **options) as client:
        try:
            yield client, gate
        finally:
            gate.open.set()


def events(text: str) -> list[tuple[str, Any]]:
    """(event, data) of a stream; every one has a number, and numbers grow."""
    blocks = [dict(re.findall(r"^(\w+): (.*)$", block, re.MULTILINE)) for block in text.split("\n\n")]
    told = [block for block in blocks if "event" in block]
    numbers = [int(block["id"]) for block in told]
    assert numbers == sorted(numbers)
    return [(block["event"], json.loads(block["data"])) for block in told]


# -- as they go -----------------------------------------------------------------------------------


def test_a_job_is_told_from_its_beginning_to_its_end(
    tmp_path: Path, many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "_LEAST_SECONDS", 0)
    (many / "99.png").write_bytes(b"nothing")
    with gated(tmp_path, 3) as (client, gate):
        job = start(client, many)
        assert gate.reached.wait(30)
        threading.Timer(0.3, gate.open.set).start()
        answer = client.get(f"/v1/jobs/{job['id']}/events")
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.text.startswith("retry: 2000\n\n")
        told = events(answer.text)
        names = [name for name, _ in told]
        assert (names[0], names[-1]) == ("state", "done")
        assert told[0][1]["state"] == "running"
        assert {"state", "progress", "failure", "done"} == set(names)
        done = [data["done"] for name, data in told if name == "progress"]
        assert done == sorted(done)
        assert [data["name"] for name, data in told if name == "failure"] == ["99.png"]
        last = told[-1][1]
        assert (last["state"], last["done"], last["total"], last["report"]["added"]) == ("done", 41, 41, 40)
        assert last == ask(client, "GET", f"jobs/{job['id']}")
        again = events(client.get(f"/v1/jobs/{job['id']}/events").text)
        assert again == [("done", last)]


def test_searching_works_from_the_first_batch(tmp_path: Path, many: Path) -> None:
    with gated(tmp_path, 4) as (client, gate):
        job = start(client, many)
        assert gate.reached.wait(30)
        until = time.monotonic() + 10
        while not (found := search(client, "magenta", k=100)):
            assert time.monotonic() < until
        assert 0 < len(found) < 40
        gate.open.set()
        ended(client, job)
        assert len(search(client, "magenta", k=100)) == 40


def test_a_stream_that_has_nothing_to_say_says_so(
    tmp_path: Path, many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "_HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(routes, "_LOOK_SECONDS", 0.02)
    with gated(tmp_path, 1) as (client, gate):
        job = start(client, many)
        assert gate.reached.wait(30)
        threading.Timer(0.5, gate.open.set).start()
        assert ": still here\n\n" in client.get(f"/v1/jobs/{job['id']}/events").text


def test_jobs_are_listed_newest_first_and_old_ones_forgotten(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_KEPT", 3)
    with served(tmp_path) as client:
        made = [index(client, pictures)["id"] for _ in range(5)]
        until = time.monotonic() + 10
        while len(known := [job["id"] for job in ask(client, "GET", "jobs")["jobs"]]) > 3:
            assert time.monotonic() < until
        assert known == made[:1:-1]
        assert ask(client, "GET", f"jobs/{made[0]}", 404)["code"] == "job_not_found"


def test_failures_are_counted_all_and_told_up_to_a_number(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_TOLD", 2)
    for number in range(5):
        (pictures / f"bad{number}.png").write_bytes(b"nothing")
    with served(tmp_path) as client:
        job = index(client, pictures)
        assert (job["failed"], len(job["failures"])) == (5, 2)


def test_a_job_that_fails_says_what_happened_and_the_next_one_runs(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(tmp_path) as client:
        with monkeypatch.context() as patch:
            patch.setattr("crosslens.library.indexing.IndexRun.run", lambda *_a, **_k: 1 / 0)
            job = ended(client, start(client, pictures), "failed")
        assert job["problem"] == {"code": "internal", "title": "Something went wrong in the service"}
        assert index(client, pictures)["report"]["added"] == 4


# -- ended before time ----------------------------------------------------------------------------


def test_a_job_that_is_cancelled_keeps_what_was_committed(tmp_path: Path, many: Path) -> None:
    with gated(tmp_path, 4) as (client, gate):
        job = start(client, many)
        assert gate.reached.wait(30)
        assert ask(client, "DELETE", f"jobs/{job['id']}")["state"] == "running"
        gate.open.set()
        job = ended(client, job, "cancelled")
        kept = ask(client, "GET", "libraries/photos")["items"]
        assert 0 < kept < 40
        assert kept == job["report"]["added"]
        assert ask(client, "DELETE", f"jobs/{job['id']}")["state"] == "cancelled"
        assert index(client, many)["report"]["added"] == 40 - kept


def test_an_upload_that_is_cancelled_keeps_only_what_was_indexed(tmp_path: Path, many: Path) -> None:
    with gated(tmp_path, 0) as (client, gate):
        files = [("file", (path.name, path.read_bytes())) for path in sorted(many.iterdir())]
        running = ask(client, "POST", "libraries/photos/items", 202, files=files)["job"]
        assert gate.reached.wait(30)
        waiting = ask(client, "POST", "libraries/photos/items", 202, files=[("f", ("a.png", png("red")))])[
            "job"
        ]
        assert ask(client, "DELETE", f"jobs/{waiting['id']}")["state"] == "cancelled"
        ask(client, "DELETE", f"jobs/{running['id']}")
        gate.open.set()
        ended(client, running, "cancelled")
        there = {path.name for path in (tmp_path / "photos/files").iterdir() if path.is_file()}
        items = {item["name"] for item in ask(client, "GET", "libraries/photos/items")["items"]}
        assert there == items != {path.name for path in many.iterdir()}
    with served(tmp_path) as client:
        assert ask(client, "GET", "jobs")["jobs"] == []


def test_more_jobs_than_may_wait_are_refused(tmp_path: Path, many: Path) -> None:
    with gated(tmp_path, 0, most_jobs=1) as (client, gate):
        running = start(client, many)
        assert gate.reached.wait(30)
        waiting = start(client, many)
        for method, path, more in (
            ("POST", "libraries/photos/folders", {"json": {"path": str(many)}}),
            ("POST", "libraries/photos/items", {"files": [("f", ("a.png", png("red")))]}),
        ):
            answer = client.request(method, f"/v1/{path}", **more)
            assert (answer.status_code, answer.json()["code"]) == (429, "too_many_jobs")
            assert int(answer.headers["retry-after"]) > 0
        assert not list((tmp_path / "photos/files" / INCOMING).iterdir())
        ask(client, "POST", "libraries", 201, json={"name": "other"})
        gate.open.set()
        upload(client, "other", {"red.png": png("red")})  # each library has a line of its own
        ended(client, running)
        ended(client, waiting)


def test_while_a_job_is_at_work_small_changes_go_on(
    tmp_path: Path, many: Path, paint: Callable[..., Path]
) -> None:
    with served(tmp_path) as client:
        index(client, paint("one/red.png").parent)
    with gated(tmp_path, 2) as (client, gate):
        job = start(client, many)
        assert gate.reached.wait(30)
        ask(client, "POST", "items/photos:1/tags", json={"tags": ["wall"]})
        assert search(client, "tag:wall") == ["red.png"]
        gate.open.set()
        item = ask(client, "PUT", "libraries/photos/items/cyan.png", 201, content=png("cyan"))["item"]
        ask(client, "DELETE", f"items/{item}")
        ended(client, job)
        assert len(search(client, "magenta", k=100)) == 41  # the many, and the red one


def test_a_job_waits_while_another_process_writes(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.02)
    (tmp_path / "photos").mkdir()
    with served(tmp_path) as client:
        with writer_lock(tmp_path / "photos"):
            job, other = start(client, pictures), start(client, pictures)
            time.sleep(0.2)
            assert ask(client, "GET", f"jobs/{job['id']}")["state"] == "running"
            ask(client, "DELETE", f"jobs/{job['id']}")
            ended(client, job, "cancelled")
        assert ended(client, other)["report"]["added"] == 4


@pytest.mark.usefixtures("loopback")
def test_an_upload_that_breaks_off_leaves_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(ServeConfig(libraries=(tmp_path / "photos",), data=tmp_path), Matcher(FakeModel()))
    incoming = tmp_path / "photos" / "files" / INCOMING
    with running(app) as address:
        for method, path in (("POST", "items"), ("PUT", "items/a.png")):
            connection = HTTPConnection(address.removeprefix("http://"))
            connection.putrequest(method, f"/v1/libraries/photos/{path}")
            connection.putheader("content-type", "multipart/form-data; boundary=x")
            connection.putheader("content-length", "5000000")
            connection.endheaders()
            connection.send(b'--x\r\ncontent-disposition: form-data; name=f; filename="a.png"\r\n\r\n')
            connection.send(bytes(2_000_000))
            until = time.monotonic() + 10
            while not (incoming.exists() and list(incoming.glob("*/0"))):
                assert time.monotonic() < until
                time.sleep(0.01)
            connection.close()
            while list(incoming.iterdir()):
                assert time.monotonic() < until
                time.sleep(0.01)
    assert not caplog.records


# -- stopped and started --------------------------------------------------------------------------


def test_what_was_accepted_is_taken_up_after_the_next_start(tmp_path: Path, many: Path) -> None:
    gate = Gate(3)
    with served(tmp_path, gate.matcher) as client:
        job = start(client, many)
        ask(
            client,
            "POST",
            "libraries/photos/items",
            202,
            files=[("f", ("a.zip", zipped({"cyan.png": png("cyan")})))],
        )
        assert gate.reached.wait(30)
        threading.Timer(0.2, gate.open.set).start()
    with served(tmp_path) as client:
        for job in ask(client, "GET", "jobs")["jobs"]:
            ended(client, job)
        assert len(search(client, "magenta", k=100)) == 41  # the many, and what was in the archive
        assert search(client, "cyan", k=1) == ["cyan.png"]
    with served(tmp_path) as client:
        assert ask(client, "GET", "jobs")["jobs"] == []


def test_files_that_were_taken_in_and_not_indexed_are_indexed_after_the_next_start(tmp_path: Path) -> None:
    files = tmp_path / "photos" / "files"
    for folder in (INCOMING, ACCEPTED):
        (files / folder / "half").mkdir(parents=True)
    old = time.time() - 10_000
    (files / INCOMING / "half" / "0").write_bytes(b"half")
    for path in (files / INCOMING / "half" / "0", files / INCOMING / "half"):
        os.utime(path, (old, old))
    (files / ACCEPTED / "half").rmdir()
    (files / "red.png").write_bytes(png("red"))
    with served(tmp_path) as client:
        [job] = ask(client, "GET", "jobs")["jobs"]
        assert (ended(client, job)["kind"], job["library"]) == ("index", "photos")
        assert search(client, "red") == ["red.png"]
        assert not (files / INCOMING / "half").exists()
    with served(tmp_path) as client:
        assert ask(client, "GET", "jobs")["jobs"] == []


def test_a_stop_in_the_middle_of_taking_in_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill: some files have their place, the others and the archive lie where they arrived."""
    sent = {"cyan.png": png("cyan"), "more.zip": zipped({"red.png": png("red"), "blue.png": png("blue")})}
    placed, dead = 0, threading.Event()

    def rename(self: Path, target: Path) -> Path:
        nonlocal placed
        placed += ACCEPTED in str(self)
        if placed == 2:
            raise KeyboardInterrupt
        os.rename(self, target)
        return target

    with served(tmp_path) as client, monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        # Set by the hook, not where it is raised: until the thread is gone, the hook must stay.
        patch.setattr(threading, "excepthook", lambda _: dead.set())
        parts = [("file", (name, data)) for name, data in sent.items()]
        ask(client, "POST", "libraries/photos/items", 202, files=parts)
        assert dead.wait(30)
    with served(tmp_path) as client:
        for job in ask(client, "GET", "jobs")["jobs"]:
            ended(client, job)
        names = sorted(path.name for path in (tmp_path / "photos/files").iterdir() if path.is_file())
        assert names == ["blue.png", "cyan.png", "red.png"]
        assert sorted(search(client, "ext:png")) == names


# -- crosslens serve, crosslens keys --------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        ({}, False),
        ({"host": "localhost"}, False),
        ({"host": "::1"}, False),
        ({"host": "::"}, True),
        ({"host": "192.168.1.2"}, True),
        ({"host": "photos.example"}, True),
        ({"host": "192.168.1.2", "insecure": True}, False),
    ],
)
def test_others_are_let_in_with_keys_alone(tmp_path: Path, options: dict[str, Any], refused: bool) -> None:
    file = tmp_path / "keys.json"
    config = ServeConfig(keys=file, **options)
    if refused:
        with pytest.raises(InputError, match="crosslens keys add"):
            command.check_exposure(config)
        Keys(file).add("phone", "read")
    command.check_exposure(config)


def test_limits_are_read_with_units() -> None:
    given = ["upload=10gb", "k=50", "url_seconds=2.5", "file=1.5MB", "picture_pixels=1000"]
    limits, pictures = command.read_limits(given)
    assert limits == RequestLimits(upload=10**10, k=50, url_seconds=2.5, file=1_500_000)
    assert pictures == Limits(max_pixels=1000)
    for wrong in ("upload", "upload=", "nothing=3", "upload=3x", "upload=-1", "=3"):
        with pytest.raises(InputError, match="no limit"):
            command.read_limits([wrong])


def test_the_model_is_that_of_the_first_library_that_has_one(tmp_path: Path, pictures: Path) -> None:
    with Library.open(tmp_path / "fake", Matcher(FakeModel())) as library:
        library.index([str(pictures)])
    libraries = (tmp_path / "none", tmp_path / "fake")
    assert command.chosen_matcher(ServeConfig(libraries=libraries)).spec.name == "fake"
    assert command.chosen_matcher(ServeConfig(libraries=libraries[:1])).spec.name == "starter"
    config = ServeConfig(libraries=libraries, model="starter", pictures=Limits(max_pixels=7))
    assert command.chosen_matcher(config).spec.name == "starter"
    assert command.chosen_matcher(config).limits.max_pixels == 7


def test_keys_are_added_listed_and_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crosslens.cli.app._prepare_streams", lambda: None)
    file = str(tmp_path / "keys.json")
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main(["keys", "add", "phone", "--scope", "write", "--keys", file]) == 0
        text = capsys.readouterr().out.strip()
        assert Keys(Path(file)).find(text) is not None
        assert main(["keys", "list", "--keys", file]) == 0
        assert capsys.readouterr().out.startswith("phone\twrite\t20")
        assert main(["keys", "list", "--json", "--keys", file]) == 0
        assert json.loads(capsys.readouterr().out)["scope"] == "write"
        assert main(["keys", "add", "x", "--scope", "root", "--keys", file]) == 1
        assert main(["keys", "remove", "phone", "--keys", file]) == 0
        assert main(["keys", "remove", "phone", "--keys", file]) == 1
        assert main(["serve", "--host", "192.168.1.2", "--keys", file]) == 1
        assert "crosslens keys add" in capsys.readouterr().err
    finally:
        signal.signal(signal.SIGTERM, before)


def test_without_the_extra_the_line_that_installs_it_is_told() -> None:
    code = (
        "import sys; sys.modules['fastapi'] = None\n"
        "from crosslens.cli.app import main\n"
        "sys.exit(main(['serve', '--port', '0']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'pip install "crosslens[serve]"' in done.stderr


@pytest.mark.usefixtures("loopback")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_command_serves_until_a_signal_comes(
    tmp_path: Path, pictures: Path, number: int, status: int
) -> None:
    with Library.open(tmp_path / "photos", Matcher(FakeModel())) as library:
        library.index([str(pictures)])
    line = [sys.executable, "-m", "crosslens", "serve", "--port", "0", "-L", str(tmp_path / "photos")]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        address = said.removeprefix("crosslens is at ").strip()
        assert process.stdout.readline() == "  photos: 4 items\n"
        with closing(HTTPConnection(address.removeprefix("http://"))) as connection:
            connection.request("GET", "/readyz")
            assert connection.getresponse().read().startswith(b'{"ready":true')
            body = json.dumps({"query": "red", "k": 1})
            connection.request("POST", "/v1/search", body, {"content-type": "application/json"})
            assert json.load(connection.getresponse())["hits"][0]["name"] == "red.png"
    finally:
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == status, errors
    assert errors.splitlines()[-1] == "stopped"
    logged = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
    assert [(line["method"], line["route"], line["status"]) for line in logged] == [
        ("GET", "/readyz", 200),
        ("POST", "/v1/search", 200),
    ]
    assert "red" not in json.dumps(logged)
    assert "Traceback" not in errors
