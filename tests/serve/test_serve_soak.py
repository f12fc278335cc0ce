"""`crosslens serve` under mixed load and faults, killed at random moments: nothing that it accepted is lost.

Clients of all kinds (soakload.py, soakfaults.py) note what they were told in a ledger (soaking.py); in the
end the library is held against it. `make test` takes half a minute, `make soak` half an hour.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crosslens import Library
from crosslens.serve.ingest.uploads import ACCEPTED, INCOMING
from soakfaults import Faults
from soaking import Client, Ledger, Service
from soakload import Load

SECONDS = float(os.environ.get("CROSSLENS_SOAK_SERVICE_SECONDS", "20"))
IS_LONG = SECONDS >= 600
# Of a life that is long enough to tell, per hour, while its library grows by hundreds of pictures.
MOST_MB, MOST_FILES, MOST_THREADS = 120, 30, 30
_WARM_UP = min(240.0, SECONDS / 5)
_WORKERS, _TROUBLEMAKERS = 6, 3
_GOOD = {"upload": 8, "upload_archive": 5, "put": 8, "check_job": 30, "delete": 6, "folder": 1, "embed": 8,
         "search": 12, "judge": 5, "look": 5, "label": 4, "measure": 3, "listen": 4}  # fmt: skip
_BAD = {"slow_request": 3, "slow_upload": 2, "half_upload": 6, "unread_upload": 4, "half_answer": 6,
        "too_much": 2, "nonsense": 4, "search": 5, "check_job": 10}  # fmt: skip


# What the server says of requests that it waited for long enough when it was stopped.
_BY_DESIGN = ("timeout graceful shutdown exceeded", "returned without completing response")


@pytest.fixture
def service(tmp_path: Path, paint: Callable[..., Path]) -> Iterator[Service]:
    for number in range(30):
        paint(f"{number}.png", "magenta", (16 + number, 16))
    service = Service(tmp_path)
    yield service
    service.close()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.usefixtures("loopback")
def test_nothing_that_was_accepted_is_lost_whatever_happens(service: Service) -> None:
    ledger, over = Ledger(), threading.Event()
    service.start()
    assert service.wait_ready()
    clients = [Load(service, ledger, number) for number in range(_WORKERS)]
    clients += [Faults(service, ledger, _WORKERS + number) for number in range(_TROUBLEMAKERS)]
    Faults.slow_seconds = 25.0 if IS_LONG else 3.0
    threads = [
        threading.Thread(target=client.work, args=(_BAD if isinstance(client, Faults) else _GOOD, over))
        for client in clients
    ]
    threads.append(threading.Thread(target=sample, args=(service, over)))
    for thread in threads:
        thread.start()
    try:
        live_and_die(service)
    finally:
        over.set()
        for thread in threads:
            thread.join(120)
    settle(service, ledger)
    service.end(signal.SIGTERM)
    lost = hold_against(service, ledger)
    report(service, ledger, lost)
    assert ledger.surprises == []
    assert lost == Counter()
    assert faults_in(service) == []
    done = subprocess.run(
        [sys.executable, "-m", "crosslens", "verify", "--deep", "-L", str(service.library)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for _, seconds, _, (_, anonymous, files, tasks) in service.slopes(_WARM_UP):
        if seconds >= 300:
            assert (anonymous < MOST_MB, files < MOST_FILES, tasks < MOST_THREADS) == (True,) * 3


def live_and_die(service: Service) -> None:
    """Kills, and now and then a stop in order, at random moments of the first half; then one long life."""
    chance, began = random.Random(), time.monotonic()  # noqa: S311
    kills = 3 if SECONDS < 60 else min(24, int(SECONDS / 30))
    moments = sorted(chance.uniform(0, SECONDS * (0.45 if IS_LONG else 0.75)) for _ in range(kills))
    for number, moment in enumerate(moments):
        time.sleep(max(chance.uniform(0, 1), began + moment - time.monotonic()))
        service.end(signal.SIGTERM if number % 3 == 1 else signal.SIGKILL)
        service.start()
        service.wait_ready(chance.choice([0.2, 2, 90]))  # or it ends before it is ready
    assert service.wait_ready()
    time.sleep(max(SECONDS / 8, began + SECONDS - time.monotonic()))
    service.end(signal.SIGTERM)


def sample(service: Service, over: threading.Event) -> None:
    """Note what the process holds, until it is over."""
    while not over.wait(min(2.0, SECONDS / 100)):
        service.sample()


def settle(service: Service, ledger: Ledger) -> None:
    """Start once more, and wait until all that was accepted is taken in."""
    service.start()
    assert service.wait_ready()
    client = Client(service, ledger)
    until, quiet = time.monotonic() + 300, 0
    while quiet < 2:  # jobs are begun a moment after it is ready
        time.sleep(1)
        assert time.monotonic() < until
        answer = client.ask("at the end", "GET /v1/jobs")
        assert answer is not None
        jobs = answer.json()["jobs"]
        quiet = 0 if any(job["state"] in ("waiting", "running") for job in jobs) else quiet + 1
    for job in jobs:
        if job["state"] != "done":
            ledger.surprise("at the end", job)


def hold_against(service: Service, ledger: Ledger) -> Counter[str]:
    """What of the library is not as it was promised."""
    files, wrong = service.library / "files", Counter[str]()
    there = {path.name: sha_of(path) for path in files.iterdir() if path.is_file()}
    with Library.open(service.library) as library:
        items = {Path(item.path).name for item in library.items() if Path(item.path).parent == files}
        of_folder = sum(Path(item.path).parent == service.folder / "pictures" for item in library.items())
    counts = Counter(content for name, content in there.items() if name in items)
    wrong["files that are no items"] = len(there.keys() - items)
    wrong["items without a file"] = len(items - there.keys())
    wrong["accepted and lost"] = len(ledger.kept - counts.keys())
    wrong["there twice"] = sum(counts[content] > 1 for content in ledger.kept | ledger.unsure)
    wrong["deleted and there"] = len(ledger.gone & counts.keys())
    wrong["no pictures or never whole, and there"] = len(ledger.never & counts.keys())
    for name, allowed in ledger.names.items():
        wrong["not what was put"] += there.get(name) not in allowed
    wrong["accepted and not taken in"] = len(list((files / ACCEPTED).iterdir()))
    wrong["of a folder and lost"] = 30 - of_folder if ledger.folder_accepted else 0
    left = len(list((files / INCOMING).iterdir()))
    wrong["left on the way, but not by a kill"] = max(0, left - left_by_kills(service))
    return +wrong


def left_by_kills(service: Service) -> int:
    """What was on its way when the process was killed; it is deleted at the first start after an hour."""
    return (_WORKERS + _TROUBLEMAKERS) * sum(ending == "SIGKILL" for ending in service.endings)


def sha_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def faults_in(service: Service) -> list[str]:
    """What the service's log says of itself, and of answers that it should not have given."""
    lines = service.log.read_text().splitlines()
    answered = [json.loads(line) for line in lines if line.startswith("{")]
    wrong = [str(line) for line in answered if line["status"] >= 500 and line["status"] != 503]
    at_fault = [
        number
        for number, line in enumerate(lines)
        if ("Traceback" in line or " ERROR " in line) and not any(known in line for known in _BY_DESIGN)
    ]
    return wrong + ["\n".join(lines[max(0, number - 1) : number + 30]) for number in at_fault[:5]]


def report(service: Service, ledger: Ledger, lost: Counter[str]) -> None:
    """As docs/reliability.md has it."""
    print()
    kinds = sorted({kind for kind, _ in ledger.counts})
    for kind in kinds:
        found = sorted((status, number) for (one, status), number in ledger.counts.items() if one == kind)
        print(f"{kind:28}", ", ".join(f"{status}: {number:,}" for status, number in found))
    statuses = Counter[str]()
    for (_, status), number in ledger.counts.items():
        statuses[status] += number
    print(f"{'all':28}", ", ".join(f"{status}: {number:,}" for status, number in sorted(statuses.items())))
    print(f"lives: {service.life}; ended by", ", ".join(service.endings))
    print(f"accepted: {ledger.uploads:,} uploads with {ledger.pictures:,} pictures, of which at the end",
          f"{len(ledger.kept):,} had to be there; {len(ledger.names)} names put;",
          f"{ledger.deletions:,} deleted; {len(ledger.unsure):,} pictures never answered for")  # fmt: skip
    print("wrong:", dict(lost) or "nothing")
    for life, seconds, samples, (resident, anonymous, files, tasks) in service.slopes(_WARM_UP):
        last = samples[-1]
        print(f"life {life}, {seconds:.0f} s after {_WARM_UP:.0f} s: {last.resident / 1e6:.0f} MB resident "
              f"({resident:+.1f} MB an hour), {last.anonymous / 1e6:.0f} MB anonymous ({anonymous:+.1f}), "
              f"{last.files} files ({files:+.1f}), {last.threads} threads ({tasks:+.1f})")  # fmt: skip
    for line in ledger.surprises[:20]:
        print(line)
