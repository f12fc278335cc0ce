"""`crosslens serve` as a process that is killed and started anew, and a ledger of what it said meanwhile."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import numpy as np

# Small, so that they are met.
_LIMITS = ("body=2mb", "upload=8mb", "file=4mb", "zip_ratio=50", "zip_entries=200")
_OPTIONS = ("--most-jobs", "6", "--most-waiting", "64", "--thumbnails", "4", "--access-log")
_PATIENCE = 90.0
# Among statuses: no answer at all, for who is refused while it still sends may not come to read why.
CUT = 0
# An answer that takes longer is none.
_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process held at a time, in seconds: bytes of memory, of which anonymous, files, threads."""

    time: float
    life: int
    resident: int
    anonymous: int
    files: int
    threads: int


class Service:
    """The process, on one port and one folder. life: how often it was started; is_up: it should answer."""

    def __init__(self, folder: Path) -> None:
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.folder = folder
        self.library = folder / "photos"
        self.log = folder / "service.log"
        self.life = 0
        self.is_up = False
        self.endings: list[str] = []
        self.samples: list[Sample] = []
        self._process: subprocess.Popen[bytes] | None = None
        self.library.mkdir(parents=True)

    def start(self) -> None:
        """Start it; it need not be ready."""
        line = [sys.executable, "-m", "crosslens", "serve", "--port", str(self.port), "-L", str(self.library),
                "--data", str(self.folder / "data"), "--folder", str(self.folder / "pictures"), *_OPTIONS,
                *(word for limit in _LIMITS for word in ("--limit", limit))]  # fmt: skip
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=log)
        self.life += 1

    def wait_ready(self, patience: float = _PATIENCE) -> bool:
        """Wait until it is; False: not within so many seconds."""
        assert self._process is not None
        until = time.monotonic() + patience
        while time.monotonic() < until:
            assert self._process.poll() is None, self.log.read_text()[-2000:]
            with suppress(OSError, HTTPException), closing(self.connection()) as connection:
                connection.request("GET", "/readyz")
                answer = connection.getresponse()
                if answer.status == 200:
                    self.is_up = True
                    return True
                assert answer.status == 503
            time.sleep(0.05)
        return False

    def end(self, number: signal.Signals) -> None:
        """Kill it, or have it stop in order; and wait."""
        assert self._process is not None
        # Python ends as the signal would have it until the command takes it in hand.
        wanted = (-9,) if number == signal.SIGKILL else (143,) if self.is_up else (143, -15)
        self.is_up = False
        began = time.monotonic()
        self._process.send_signal(number)
        status = self._process.wait(_PATIENCE)
        assert status in wanted, (status, self.log.read_text()[-2000:])
        took = f" in {time.monotonic() - began:.1f} s" if number != signal.SIGKILL else ""
        self.endings.append(f"{number.name}{took}")

    def close(self) -> None:
        """Leave no process behind, whatever happened."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def connection(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=_TIMEOUT)

    def sample(self) -> None:
        """Note what it holds now."""
        if self._process is None:
            return
        place = Path(f"/proc/{self._process.pid}")
        with suppress(OSError, KeyError):  # it has just ended
            lines = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
            resident, anonymous = (int(lines[name].split()[0]) << 10 for name in ("VmRSS", "RssAnon"))
            files, threads = len(os.listdir(place / "fd")), int(lines["Threads"])
            self.samples.append(Sample(time.monotonic(), self.life, resident, anonymous, files, threads))

    def slopes(self, warm_up: float) -> Iterator[tuple[int, float, list[Sample], list[float]]]:
        """For each life (number, seconds, samples, slopes by least squares), the first seconds left out.

        Slopes are per hour: of resident and of anonymous memory in MB, of open files, of threads.
        """
        for life in range(1, self.life + 1):
            samples = [one for one in self.samples if one.life == life]
            samples = [one for one in samples if one.time - samples[0].time >= warm_up]
            if len(samples) < 10:
                continue
            times = np.array([one.time for one in samples]) / 3600
            held = [(one.resident / 1e6, one.anonymous / 1e6, one.files, one.threads) for one in samples]
            slopes = np.polyfit(times - times[0], np.array(held), 1)[0]
            yield life, samples[-1].time - samples[0].time, samples, [float(slope) for slope in slopes]


@dataclass(eq=False, slots=True)
class Accepted:
    """An upload that got its 202. pictures: names by content; bad, twice: names that its job must tell of."""

    job: str
    life: int
    pictures: dict[str, str]
    bad: set[str]
    twice: set[str]


@dataclass
class Ledger:
    """What was sent and what was answered; contents by SHA-256. Its lock is held for changes.

    kept: accepted, so they must be there. unsure: never answered, they may be. gone: deleted. never: no
    pictures, or not sent whole. names: what may be under a name that was PUT, None for nothing.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    kept: set[str] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    never: set[str] = field(default_factory=set)
    names: dict[str, set[str | None]] = field(default_factory=dict)
    unchecked: deque[Accepted] = field(default_factory=deque)
    # Content of jobs that were seen done: to be sent again, or to be deleted.
    keepers: dict[str, bytes] = field(default_factory=dict)
    deletable: deque[str] = field(default_factory=deque)
    surprises: list[str] = field(default_factory=list)
    uploads: int = 0
    pictures: int = 0
    deletions: int = 0
    folder_accepted: bool = False

    def count(self, kind: str, outcome: object) -> None:
        with self.lock:
            self.counts[kind, str(outcome)] += 1

    def surprise(self, kind: str, what: object) -> None:
        """What should not be."""
        with self.lock:
            self.surprises.append(f"{time.strftime('%H:%M:%S')} {kind}: {what}")

    def doubt(self, contents: set[str]) -> None:
        """Nobody knows whether these are there."""
        with self.lock:
            self.unsure |= contents
            self.kept -= contents


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    data: bytes

    def json(self) -> Any:
        return json.loads(self.data)


class Client:
    """Asks, and has everything that comes back looked at."""

    def __init__(self, service: Service, ledger: Ledger) -> None:
        self.service = service
        self.ledger = ledger

    def ask(
        self,
        kind: str,
        line: str,
        body: object = None,
        ctype: str = "application/json",
        also: tuple[int, ...] = (),
    ) -> Answer | None:
        """An answer; None: there was none, since the service had ended. line: "GET /v1/…".

        also: statuses that are right besides 2xx, 429, and 503 for a service that starts or stops.
        """
        method, _, path = line.partition(" ")
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"Content-Type": ctype} if data is not None else {}
        connection = self.service.connection()
        with self.watched(kind, may_break=CUT in also) as answers, closing(connection):
            connection.request(method, path, data, headers)
            answers.append(answer_of(connection))
        if not answers:
            return None
        self.check(kind, answers[0], also, line)
        return answers[0]

    @contextmanager
    def watched(self, kind: str, *, may_break: bool = False) -> Iterator[list[Answer]]:
        """A connection may break while the service ends or starts, and else only where it is said so."""
        life, up = self.service.life, self.service.is_up
        answers: list[Answer] = []
        try:
            yield answers
        except (OSError, HTTPException) as error:
            # Who is killed is known to be so a moment later.
            time.sleep(0.2)
            if up and self.service.is_up and self.service.life == life and not may_break:
                self.ledger.surprise(kind, f"no answer, though the service lived: {error!r}")
            self.ledger.count(kind, "cut")

    def check(self, kind: str, answer: Answer, also: tuple[int, ...] = (), line: str = "") -> None:
        """Note an answer, and what is wrong with it."""
        self.ledger.count(kind, answer.status)
        if answer.status >= 400:
            told = answer.headers.get("content-type") == "application/problem+json"
            problem = answer.json() if told else {"status": 0}
            later = answer.headers.get("retry-after", "").isdecimal()
            busy = answer.status == 429 or (answer.status == 503 and problem.get("code") == "not_ready")
            fine = problem["status"] == answer.status and (later if busy else answer.status in also)
        else:
            fine = answer.status < 300 or answer.status in also
        if not fine:
            self.ledger.surprise(kind, f"{line}: {answer.status}, {answer.headers}, {answer.data[:400]!r}")

    @contextmanager
    def raw(self) -> Iterator[socket.socket]:
        """A connection by hand, broken off at the end without a farewell."""
        with closing(socket.create_connection(("127.0.0.1", self.service.port), timeout=_TIMEOUT)) as plain:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            yield plain


def answer_of(connection: HTTPConnection) -> Answer:
    got = connection.getresponse()
    return Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())


def head(line: str, length: int, ctype: str) -> bytes:
    """The beginning of a request, as it goes over the wire."""
    named = {"Host": "127.0.0.1", "Content-Type": ctype, "Content-Length": length}
    return "\r\n".join([f"{line} HTTP/1.1", *(f"{name}: {named[name]}" for name in named), "", ""]).encode()
