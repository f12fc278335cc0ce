"""What clients send is taken in once and whole: killed at bad moments, on a full disk, while others write."""

from __future__ import annotations

import errno
import os
import platform
import struct
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from crosslens import Matcher
from crosslens.errors import LibraryFullError
from crosslens.images.folder_walk import walk
from crosslens.library.indexing import IndexRun
from crosslens.serve.app import create_app
from crosslens.serve.config import ServeConfig
from crosslens.serve.error_responses import Problem, stopping
from crosslens.serve.ingest import archives, ingest, uploads
from crosslens.serve.ingest.jobs import Jobs
from crosslens.serve.ingest.uploads import ACCEPTED, INCOMING, NAMES
from crosslens.serve.libraries import thumbnails
from crosslens.serve.routes import items
from crosslens.towers.fake_model import FakeModel
from crosslens.towers.openvino_runtime import available_cores
from serving import running
from shelves import ask, ended, png, search, served, upload, zipped


def files_in(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "photos" / "files").iterdir() if path.is_file())


def items_in(client: TestClient) -> list[str]:
    return sorted(item["name"] for item in ask(client, "GET", "libraries/photos/items")["items"])


def all_ended(client: TestClient) -> list[dict[str, Any]]:
    """All jobs, the oldest first, at their ends."""
    jobs = ask(client, "GET", "jobs")["jobs"]
    while any(job["state"] in ("waiting", "running") for job in jobs):
        time.sleep(0.01)
        jobs = ask(client, "GET", "jobs")["jobs"]
    return jobs[::-1]


def send(client: TestClient, files: dict[str, bytes], status: int = 202) -> Any:
    parts = [("file", (name, data)) for name, data in files.items()]
    return ask(client, "POST", "libraries/photos/items", status, files=parts)


def accept(tmp_path: Path, name: str, data: bytes) -> uploads.Incoming:
    """An upload that was accepted, and no more."""
    incoming = uploads.Incoming(tmp_path / "photos" / "files", ServeConfig().limits)
    incoming.begin(name)
    incoming.write(data)
    incoming.end()
    incoming.accept()
    return incoming


@contextmanager
def killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> Iterator[TestClient]:
    """A service whose job dies, as by a kill, when it has put so many files into their places."""
    placed, dead = 0, threading.Event()

    def rename(self: Path, target: Path) -> Path:
        nonlocal placed
        if ACCEPTED in str(self):
            if placed == after:
                raise KeyboardInterrupt
            placed += 1
        os.rename(self, target)
        return target

    with served(tmp_path) as client, monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        # Set by the hook, not where it is raised: until the thread is gone, the hook must stay.
        patch.setattr(threading, "excepthook", lambda _: dead.set())
        yield client
        assert dead.wait(30)


# -- what is told ---------------------------------------------------------------------------------


def test_of_what_is_not_kept_twice_the_job_says_what_it_is_the_same_as(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        sent = {"one.png": png("red"), "two.png": png("red"), "blue.png": png("blue")}
        job = upload(client, "photos", sent)
        assert job["duplicates"] == [{"name": "two.png", "same_as": "one.png"}]
        archive = zipped({"a/three.png": png("red"), "b/cyan.png": png("cyan"), "c/cyan.png": png("cyan")})
        job = upload(client, "photos", {"more.zip": archive, "blue.png": png("blue")})
        assert job["duplicates"] == [
            {"name": "more.zip/a/three.png", "same_as": "one.png"},
            {"name": "more.zip/c/cyan.png", "same_as": "cyan.png"},
            {"name": "blue.png", "same_as": "blue.png"},
        ]
        assert (job["report"]["present"], job["report"]["added"], job["failed"]) == (3, 1, 0)
        assert upload(client, "photos", {"new.png": png("white")})["duplicates"] == []


def test_a_failure_is_told_under_the_name_that_was_sent(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        upload(client, "photos", {"a.png": png("red")})
        job = upload(client, "photos", {"a.png": b"nothing", "b.zip": zipped({"x/a.png": b"something"})})
        assert {failure["name"] for failure in job["failures"]} == {"a.png", "b.zip/x/a.png"}
        assert files_in(tmp_path) == ["a.png"]


def test_an_entry_that_breaks_its_reader_is_told_and_the_rest_taken_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = zipped({"cyan.png": png("cyan"), "red.png": png("red")})
    with served(tmp_path) as client:
        # The second is said to lie where the archive has ended.
        at = data.rindex(b"red.png") - 4
        lies = data[:at] + (2**31 - 1).to_bytes(4, "little") + data[at + 4 :]
        job = upload(client, "photos", {"a.zip": lies})
        assert [failure["name"] for failure in job["failures"]] == ["a.zip/red.png"]
        assert items_in(client) == ["cyan.png"]
        for number, error in enumerate((EOFError(), struct.error("too short"), OSError("wrong"))):

            def broken(*_: object, error: Exception = error) -> None:
                raise error

            monkeypatch.setattr(zipfile.ZipFile, "open", broken)
            job = upload(client, "photos", {"a.zip": data, f"{number}.png": png("blue", (20, 16 + number))})
            assert (job["state"], job["failed"], job["report"]["added"]) == ("done", 2, 1)


def test_an_empty_library_answers_whatever_it_is_asked(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        for path in ("", "/items", "/tags", "/duplicates", "/map"):
            ask(client, "GET", f"libraries/photos{path}")
        assert search(client, "red") == []


# -- killed at bad moments ------------------------------------------------------------------------


def test_what_was_unpacked_before_a_kill_is_not_put_there_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    colours = ("red", "green", "blue", "cyan")
    archive = zipped({f"{colour}/a.png": png(colour) for colour in colours})
    with killed(tmp_path, monkeypatch, 3) as client:
        send(client, {"all.zip": archive})
    assert files_in(tmp_path) == ["a-2.png", "a-3.png", "a.png"]
    with served(tmp_path) as client:
        [job, *_] = all_ended(client)
        assert (job["state"], job["duplicates"]) == ("done", [])
        assert items_in(client) == files_in(tmp_path) == ["a-2.png", "a-3.png", "a-4.png", "a.png"]


@pytest.mark.parametrize("name", ["a.png", "a.zip"])
def test_a_kill_while_what_was_taken_in_is_deleted_leaves_no_job_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    dead = threading.Event()

    def half(folder: Path, **_: Any) -> None:
        if not (Path(folder) / NAMES).exists():
            return
        (Path(folder) / NAMES).unlink()
        raise KeyboardInterrupt

    with served(tmp_path) as client, monkeypatch.context() as patch:
        patch.setattr(uploads.shutil, "rmtree", half)  # type: ignore[attr-defined]
        patch.setattr(threading, "excepthook", lambda _: dead.set())
        send(client, {name: zipped({"a.png": png("red")}) if name == "a.zip" else png("red")})
        assert dead.wait(30)
    # As versions before this one left it.
    (tmp_path / "photos" / "files" / ACCEPTED / "half").mkdir()
    with served(tmp_path) as client:
        assert [job["state"] for job in all_ended(client)] == ["done"]
        assert items_in(client) == files_in(tmp_path) == ["a.png"]
        assert list((tmp_path / "photos" / "files" / ACCEPTED).iterdir()) == []


def test_an_upload_that_was_accepted_is_deleted_by_its_job_alone(tmp_path: Path) -> None:
    incoming = accept(tmp_path, "a.png", png("red"))
    incoming.folder.mkdir(parents=True)  # where the job moves it to delete it
    incoming.close()
    assert incoming.folder.exists()


def test_of_two_that_are_the_same_the_second_is_no_other_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with killed(tmp_path, monkeypatch, 1) as client:
        send(client, {"a.png": png("red"), "b.png": png("blue"), "c.png": png("red")})
    with served(tmp_path) as client:
        [job, *_] = all_ended(client)
        assert job["duplicates"] == [{"name": "c.png", "same_as": "a.png"}]
        assert job["report"]["added"] == 2
        assert items_in(client) == files_in(tmp_path) == ["a.png", "b.png"]


def test_what_another_upload_had_put_there_before_a_kill_is_known(tmp_path: Path) -> None:
    accept(tmp_path, "b.png", png("red"))
    (tmp_path / "photos" / "files" / "a.png").write_bytes(png("red"))
    with served(tmp_path) as client:
        [job, *_] = all_ended(client)
        assert job["duplicates"] == [{"name": "b.png", "same_as": "a.png"}]
        assert items_in(client) == files_in(tmp_path) == ["a.png"]


def test_what_is_no_picture_and_has_its_place_is_told_and_thrown_out_after_a_kill(tmp_path: Path) -> None:
    files = tmp_path / "photos" / "files"
    files.mkdir(parents=True)
    (files / "bad.png").write_bytes(b"nothing")
    (files / "red.png").write_bytes(png("red"))
    with served(tmp_path) as client:
        [job] = all_ended(client)
        assert (job["kind"], [failure["name"] for failure in job["failures"]]) == ("index", ["bad.png"])
        assert files_in(tmp_path) == ["red.png"]
    with served(tmp_path) as client:
        assert all_ended(client) == []


def test_an_item_whose_file_was_deleted_before_a_kill_is_forgotten(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        upload(client, "photos", {"red.png": png("red"), "blue.png": png("blue")})
    (tmp_path / "photos" / "files" / "red.png").unlink()
    with served(tmp_path) as client:
        all_ended(client)
        assert items_in(client) == ["blue.png"]
    (tmp_path / "photos" / "files").rename(tmp_path / "away")  # as when a disk is unplugged
    with served(tmp_path) as client:
        all_ended(client)
        assert items_in(client) == ["blue.png"]


def test_one_upload_that_cannot_be_taken_in_does_not_keep_others_from_it(tmp_path: Path) -> None:
    accepted = tmp_path / "photos" / "files" / ACCEPTED
    (accepted / "damaged").mkdir(parents=True)
    (accepted / "damaged" / uploads.NAMES).write_text("[{")
    accept(tmp_path, "red.png", png("red"))
    os.utime(accepted / "damaged", (0, 0))
    with served(tmp_path) as client:
        assert [job["state"] for job in all_ended(client)] == ["failed", "done"]
        assert items_in(client) == ["red.png"]


# -- folders that were allowed --------------------------------------------------------------------


def accepted_folder(tmp_path: Path, folder: Path) -> Path:
    return uploads.accept_folder(tmp_path / "photos" / "files", str(folder))


def test_a_folder_is_indexed_after_a_start_if_it_is_allowed_still(tmp_path: Path, pictures: Path) -> None:
    note = accepted_folder(tmp_path, pictures)
    with served(tmp_path, folders=()) as client:
        [job] = all_ended(client)
        assert (job["kind"], job["state"]) == ("folder", "failed")
        assert job["problem"] == {
            "code": "folder_not_allowed", "title": "The folder is not among those allowed"
        }  # fmt: skip
        assert not note.exists()
        assert ask(client, "GET", "libraries/photos")["roots"] == 0
    accepted_folder(tmp_path, pictures)
    with served(tmp_path) as client:
        [job] = all_ended(client)
        assert (job["kind"], job["state"], job["report"]["added"]) == ("folder", "done", 4)


def test_a_link_that_leads_elsewhere_since_is_not_followed(tmp_path: Path, pictures: Path) -> None:
    (tmp_path / "allowed").mkdir()
    accepted_folder(tmp_path, tmp_path / "allowed" / "pictures")
    (tmp_path / "allowed" / "pictures").symlink_to(pictures)
    with served(tmp_path, folders=(tmp_path / "allowed",)) as client:
        [job] = all_ended(client)
        assert (job["state"], job["problem"]["code"]) == ("failed", "folder_not_allowed")


# -- full disks, full lines -----------------------------------------------------------------------


def test_an_archive_for_which_there_is_no_room_waits_for_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> Iterator[bytes]:
        yield from archives.blocks_of(*arguments)
        raise OSError(errno.ENOSPC, "No space left on device")

    with served(tmp_path) as client, monkeypatch.context() as patch:
        patch.setattr(ingest, "blocks_of", full)
        job = ended(client, send(client, {"a.zip": zipped({"red.png": png("red")})})["job"], "failed")
        assert job["problem"]["code"] == "library_full"
        assert job["failures"] == []
    with served(tmp_path) as client:
        all_ended(client)
        assert items_in(client) == ["red.png"]


def test_what_is_refused_at_the_last_moment_is_not_kept(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for refusal, status in ((stopping(), 503), (Problem(429, "too_many_jobs", "Too many jobs"), 429)):

        def submit(*_: object, refusal: Problem = refusal, **__: object) -> None:
            raise refusal

        with served(tmp_path) as client, monkeypatch.context() as patch:
            patch.setattr(Jobs, "submit", submit)
            send(client, {"red.png": png("red")}, status)
            ask(client, "POST", "libraries/photos/folders", status, json={"path": str(pictures)})
    with served(tmp_path) as client:
        assert all_ended(client) == []
        assert not list((tmp_path / "photos" / "files" / ACCEPTED).iterdir())


def test_a_picture_that_cannot_be_indexed_for_want_of_room_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise LibraryFullError("full", "make room")

    path = "libraries/photos/items/wall.png"
    with served(tmp_path) as client:
        with monkeypatch.context() as patch:
            patch.setattr(IndexRun, "run", full)
            ask(client, "PUT", path, 507, content=png("cyan"))
        assert files_in(tmp_path) == []
        ask(client, "PUT", path, 201, content=png("cyan"))
        with monkeypatch.context() as patch:
            patch.setattr(IndexRun, "run", full)
            ask(client, "PUT", path, 507, content=png("red"))
        assert (tmp_path / "photos/files/wall.png").read_bytes() == png("cyan")
        assert client.get("/v1/items/photos:1/original").content == png("cyan")


def test_a_picture_that_was_replaced_and_not_indexed_is_indexed_when_it_is_sent_again(tmp_path: Path) -> None:
    path = "libraries/photos/items/wall.png"
    with served(tmp_path) as client:
        ask(client, "PUT", path, 201, content=png("cyan"))
        (tmp_path / "photos/files/wall.png").write_bytes(png("red"))  # as a kill leaves it
        ask(client, "PUT", path, 200, content=png("red"))
        assert client.get("/v1/items/photos:1/original").content == png("red")


# -- several at once ------------------------------------------------------------------------------


class Hold:
    """Has a job stand still at a place in its work, until `go` is set."""

    def __init__(self) -> None:
        self.there, self.go = threading.Event(), threading.Event()

    def wait(self) -> None:
        if threading.current_thread().name.startswith("crosslens-jobs"):
            self.there.set()
            assert self.go.wait(30)


@pytest.mark.parametrize("moment", ["walked", "read"])
def test_what_clients_write_while_a_job_goes_through_all_is_as_they_left_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The job has seen the files as they were; what it then writes down must not undo what came after."""
    path, hold = "libraries/photos/items", Hold()
    with served(tmp_path) as client:
        for name in ("old.png", "gone.png"):
            ask(client, "PUT", f"{path}/{name}", 201, content=png("cyan", (16, len(name))))
    for name in ("old.png", "gone.png", "left.png"):
        (tmp_path / "photos/files" / name).write_bytes(png("blue", (20, len(name))))

    def held_walk(*arguments: Any, **more: Any) -> Iterator[Any]:
        yield from walk(*arguments, **more)
        hold.wait()

    commit = IndexRun._commit

    def held_commit(self: IndexRun, batch: Any) -> None:
        hold.wait()
        commit(self, batch)

    if moment == "walked":
        monkeypatch.setattr("crosslens.library.indexing.walk", held_walk)
    else:
        monkeypatch.setattr(IndexRun, "_commit", held_commit)
    with served(tmp_path) as client:
        assert hold.there.wait(30)
        [gone] = [item for item in ask(client, "GET", path)["items"] if item["name"] == "gone.png"]
        ask(client, "DELETE", f"items/{gone['item']}")
        ask(client, "PUT", f"{path}/old.png", 200, content=png("red", (17, 16)))
        new = ask(client, "PUT", f"{path}/new.png", 201, content=png("green", (18, 16)))
        hold.go.set()
        all_ended(client)
        assert items_in(client) == files_in(tmp_path) == ["left.png", "new.png", "old.png"]
        assert new in ask(client, "GET", path)["items"]  # the very item that was answered
        for item in ask(client, "GET", path)["items"]:
            there = (tmp_path / "photos/files" / item["name"]).read_bytes()
            assert client.get(f"/v1/items/{item['item']}/original").content == there
        assert search(client, "red", k=1) == ["old.png"]


def test_a_file_that_goes_or_changes_while_it_is_looked_at_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, looked = tmp_path / "photos/files", thumbnails.file_of

    def then(change: Callable[[], object]) -> None:
        def look(*arguments: Any) -> Any:
            found = looked(*arguments)
            change()
            return found

        for module in ("routes.items", "service"):
            monkeypatch.setattr(f"crosslens.serve.{module}.file_of", look)

    with served(tmp_path) as client:
        for colour in ("red", "blue", "cyan"):
            upload(client, "photos", {f"{colour}.png": png(colour)})
        then(lambda: (folder / "red.png").write_bytes(png("white", (30, 30))))
        assert ask(client, "GET", "items/photos:1/thumbnail", 409)["code"] == "file_changed"
        then((folder / "blue.png").unlink)
        assert ask(client, "GET", "items/photos:2/thumbnail", 404)["code"] == "file_missing"
        then((folder / "cyan.png").unlink)
        body = {"images": [{"item": "photos:3"}], "labels": ["red"]}
        assert ask(client, "POST", "classify", 404, json=body)["code"] == "file_missing"


def test_an_original_is_sent_whole_though_it_is_replaced_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sent = "libraries/photos/items/wall.png", png("red", (300, 300))
    call = items._Original.__call__

    async def replaced(self: Any, *arguments: Any) -> None:
        file.unlink()
        await call(self, *arguments)

    with served(tmp_path) as client:
        ask(client, "PUT", path, 201, content=sent)
        file = tmp_path / "photos/files/wall.png"
        monkeypatch.setattr(items._Original, "__call__", replaced)
        answer = client.get("/v1/items/photos:1/original")
        assert answer.content == sent
        file.write_bytes(sent)
        ask(client, "PUT", path, 200, content=sent)
        part = client.get("/v1/items/photos:1/original", headers={"range": "bytes=10-19"})
        assert part.content == sent[10:20]
        assert not [name for name in os.listdir("/proc/self/fd") if names_deleted(name)]


def names_deleted(number: str) -> bool:
    with suppress(OSError):
        return os.readlink(f"/proc/self/fd/{number}").endswith("wall.png (deleted)")
    return False


def test_an_item_that_goes_while_it_is_looked_at_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(tmp_path) as client:
        upload(client, "photos", {"red.png": png("red"), "blue.png": png("blue")})
        for module in ("item_json", "thumbnails"):
            monkeypatch.setattr(f"crosslens.serve.libraries.{module}.details_of", lambda *_: {})
        for path in ("items/photos:1", "items/photos:1/thumbnail", "items/photos:1/original"):
            assert ask(client, "GET", path, 404)["code"] == "item_not_found"


# -- stopped --------------------------------------------------------------------------------------


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_threads_of_the_service_share_memory() -> None:
    code = """
import ctypes, sys, threading
from crosslens.cli.commands.serve import share_memory
share_memory() if sys.argv[1] == "shared" else None
libc, gate = ctypes.CDLL(None), threading.Barrier(41)
threads = [threading.Thread(target=lambda: (libc.malloc(100_000), gate.wait())) for _ in range(40)]
[thread.start() for thread in threads]
gate.wait()
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out), libc.fflush(out)
"""

    def pools(how: str) -> int:
        line = [sys.executable, "-c", code, how]
        return subprocess.run(line, capture_output=True, text=True, check=True).stdout.count("<heap nr=")

    assert pools("shared") <= max(2, available_cores()) < pools("apart")


@pytest.mark.usefixtures("loopback")
def test_who_is_too_slow_for_a_stop_is_told_so(tmp_path: Path) -> None:
    app = create_app(ServeConfig(libraries=(tmp_path / "photos",), data=tmp_path), Matcher(FakeModel()))
    with running(app, grace=1) as address:
        connection = HTTPConnection(address.removeprefix("http://"), timeout=30)
        connection.putrequest("PUT", "/v1/libraries/photos/items/a.png")
        connection.putheader("content-length", "100")
        connection.endheaders(b"few")
        incoming = tmp_path / "photos" / "files" / INCOMING
        while not (incoming.exists() and list(incoming.iterdir())):
            time.sleep(0.01)
    with closing(connection):
        answer = connection.getresponse()
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert b"not_ready" in answer.read()
    assert list(incoming.iterdir()) == []


def test_being_asked_before_it_is_ready_is_no_fault(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with served(tmp_path) as client:
        client.app.state.service.ready.clear()  # type: ignore[attr-defined]
        assert client.get("/readyz").status_code == 503
        client.app.state.service.ready.set()  # type: ignore[attr-defined]
    assert not caplog.records
