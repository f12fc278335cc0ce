"""Background jobs: indexing in a queue, one at a time for each library.

    submit (any thread) ── a library's line, bounded ── its thread ── IndexRun ── progress, failures, report

A job that is cancelled keeps what was committed. When the service stops, what was accepted stays on the disk,
and is taken up at the next start.
"""

from __future__ import annotations

import ctypes
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from crosslens.errors import LibraryBusyError
from crosslens.images.path_selection import Changes
from crosslens.library.indexing import IndexRun
from crosslens.matching.matcher import Matcher
from crosslens.serve.error_responses import Problem, problem_of, stopping
from crosslens.serve.libraries.library_handle import Book
from crosslens.serve.metrics import Metrics
from crosslens.store.database import Catalog
from crosslens.types import IndexReport, Progress

fault_log = logging.getLogger("crosslens.faults")

Kind: TypeAlias = Literal["upload", "folder", "index"]
State: TypeAlias = Literal["waiting", "running", "done", "failed", "cancelled"]
ENDED: tuple[State, ...] = ("done", "failed", "cancelled")
_MOST_TOLD = 1000  # failures, and duplicates, that are told one by one
_KEPT = 200  # jobs that ended
_RETRY_SECONDS = 1.0
_STOP_SECONDS = 30.0


class CancelledError(Exception):
    """Ends the work of a job that was cancelled."""


class Job:
    """One run over one library. Its fields are written by the thread that runs it, and read by all."""

    def __init__(self, library: str, kind: Kind) -> None:
        self.id = secrets.token_hex(8)
        self.library = library
        self.kind = kind
        self.state: State = "waiting"
        self.done = self.total = self.failed = self.version = 0
        self.failures: list[dict[str, str]] = []
        self.duplicates: list[dict[str, str]] = []
        self.created = time.time()
        self.started: float | None = None
        self.ended: float | None = None
        self.report: dict[str, Any] | None = None
        self.problem: dict[str, str] | None = None
        self._stop = threading.Event()
        self._listeners: set[Callable[[], None]] = set()
        self._lock = threading.Lock()

    def document(self) -> dict[str, Any]:
        """As clients see it."""
        names = ("id", "library", "kind", "state", "done", "total", "failed", "created", "started", "ended")
        known = {name: getattr(self, name) for name in names}
        known |= {"failures": list(self.failures), "duplicates": list(self.duplicates)}
        return known | {name: value for name in ("report", "problem") if (value := getattr(self, name))}

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have somebody told of every change, in any thread; returns what ends it."""
        with self._lock:
            self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def stop(self) -> None:
        """Ask it to end soon."""
        self._stop.set()

    def check(self) -> None:
        """Raise CancelledError when it is to end."""
        if self._stop.is_set():
            raise CancelledError

    def pause(self, seconds: float) -> None:
        """Wait. Raises CancelledError when it is to end."""
        self._stop.wait(seconds)
        self.check()

    def progress(self, done: int, total: int) -> None:
        """How far it has come, in files."""
        self.done, self.total = done, total
        self._changed()

    def fail(self, name: str, reason: str) -> None:
        """What cannot be taken in, and why."""
        self.failed += 1
        if len(self.failures) < _MOST_TOLD:
            self.failures.append({"name": name, "reason": reason})
        self._changed()

    def same(self, name: str, kept: str) -> None:
        """What is not kept, since a file of the library has the same content."""
        if len(self.duplicates) < _MOST_TOLD:
            self.duplicates.append({"name": name, "same_as": kept})
        self._changed()

    def enter(self, state: State) -> None:
        """Note what becomes of it."""
        if state == "running":
            self.started = time.time()
        elif state in ENDED:
            self.ended = time.time()
        self.state = state
        self._changed()

    def _changed(self) -> None:
        with self._lock:
            self.version += 1
            listeners = list(self._listeners)
        for listener in listeners:
            listener()


@dataclass(frozen=True, slots=True)
class Task:
    """What a job does. run: raises CancelledError when it was stopped. discard: when a user cancelled it."""

    run: Callable[[Job], None]
    discard: Callable[[], None] = lambda: None


_NOTHING = Task(lambda _: None)


class Jobs:
    """All jobs of a service. Call `close` at the end."""

    def __init__(self, most_waiting: int, metrics: Metrics) -> None:
        self._most_waiting = most_waiting
        self._metrics = metrics
        self._jobs: dict[str, tuple[Job, Task]] = {}
        self._lines: dict[str, deque[str]] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._changed = threading.Condition()
        self._closing = False

    def check_room(self, library: str) -> None:
        """Raise Problem where the line of a library is full."""
        if self._closing:
            raise stopping()
        if len(self._lines.get(library, ())) >= self._most_waiting:
            said = f"{self._most_waiting} jobs are waiting for {library!r}"
            raise Problem(429, "too_many_jobs", "Too many jobs", said, "Try again when some have ended",
                          headers={"Retry-After": "30"})  # fmt: skip

    def submit(self, library: str, kind: Kind, task: Task, *, bounded: bool = True) -> Job:
        """Put a job into the line of a library; unless `bounded`, however long it is. Raises Problem."""
        job = Job(library, kind)
        with self._changed:
            if bounded:
                self.check_room(library)
            self._jobs[job.id] = (job, task)
            self._lines.setdefault(library, deque()).append(job.id)
            if library not in self._threads:
                name = f"crosslens-jobs-{library}"
                thread = threading.Thread(target=self._work, args=(library,), name=name, daemon=True)
                self._threads[library] = thread
                thread.start()
            self._changed.notify_all()
        return job

    def all(self) -> list[Job]:
        """All that are known still, the newest first."""
        with self._changed:
            return [job for job, _ in reversed(self._jobs.values())]

    def get(self, identity: str) -> Job:
        """A job. Raises Problem."""
        if identity not in self._jobs:
            raise Problem(404, "job_not_found", "There is no such job", f"{identity[:100]!r}")
        return self._jobs[identity][0]

    def cancel(self, identity: str) -> Job:
        """Have a job end; one that has ended stays as it is. Raises Problem."""
        job = self.get(identity)
        with self._changed:
            line = self._lines[job.library]
            waits = identity in line
            if waits:
                line.remove(identity)
        job.stop()
        if waits:
            self._jobs[identity][1].discard()
            job.enter("cancelled")
        return job

    def counts(self) -> dict[str, int]:
        """How many there are in each state."""
        counts: dict[str, int] = dict.fromkeys(("waiting", "running", *ENDED), 0)
        for job in self.all():
            counts[job.state] += 1
        return counts

    def close(self) -> None:
        """Have all end soon, with what they have committed."""
        with self._changed:
            self._closing = True
            left = [self._jobs[identity][0] for line in self._lines.values() for identity in line]
            for line in self._lines.values():
                line.clear()
            self._changed.notify_all()
        for job in self.all():
            job.stop()
        for job in left:
            job.enter("cancelled")
        deadline = time.monotonic() + _STOP_SECONDS
        for thread in self._threads.values():
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self, library: str) -> None:
        while True:
            with self._changed:
                while not (line := self._lines[library]) and not self._closing:
                    self._changed.wait()
                if self._closing:
                    return
                job, task = self._jobs[line.popleft()]
            self._run(job, task)
            self._forget_old()
            _give_back_memory()

    def _run(self, job: Job, task: Task) -> None:
        job.enter("running")
        state: State = "done"
        try:
            job.check()
            task.run(job)
        except CancelledError:
            state = "cancelled"
            if not self._closing:
                task.discard()
        except Exception as error:
            state, problem = "failed", problem_of(error)
            job.problem = {"code": problem.code, "title": problem.title}  # a detail might name a folder
            self._metrics.failures.labels(problem.code).inc()
            fault_log.error("job %s of library %s", job.id, job.library, exc_info=error)
        self._metrics.indexed.inc((job.report or {}).get("encoded", 0))
        self._jobs[job.id] = (job, _NOTHING)  # what it did it with may be large
        job.enter(state)

    def _forget_old(self) -> None:
        with self._changed:
            ended = [identity for identity, (job, _) in self._jobs.items() if job.state in ENDED]
            for identity in ended[:-_KEPT]:
                del self._jobs[identity]


def _give_back_memory() -> None:
    """Have glibc return to the system what indexing needed: it would keep it, in pieces."""
    with suppress(OSError, AttributeError, TypeError):  # another system
        ctypes.CDLL(None).malloc_trim(0)


# -- the work -------------------------------------------------------------------------------------


def fill(
    job: Job,
    book: Book,
    sources: Sequence[str],
    changes: Changes = Changes(),  # noqa: B008
    names: Mapping[str, str] = MappingProxyType({}),
) -> IndexReport:
    """Bring a library up to date with some folders, as `Library.index` does; told to the job as it goes.

    names: what failures are told under, by path; else below their folder. Waits while another process writes
    to the library. Raises CancelledError, and what `Library.index` raises.
    """
    with _once_free(job, book) as (catalog, matcher):
        told = 0

        def tell(progress: Progress) -> None:
            nonlocal told
            for failure in run.report().failures[told:] if progress.failed > told else ():
                job.fail(names.get(failure.path) or book.name_of(failure.path), failure.reason)
                told += 1
            job.progress(progress.done, progress.total)
            job.check()

        run = IndexRun(catalog, matcher, tell)
        try:
            run.run(sources, changes=changes)
        finally:
            report = run.report()
            job.report = {name: value for name, value in asdict(report).items() if name != "failures"}
    book.prepare()
    return report


@contextmanager
def _once_free(job: Job, book: Book) -> Iterator[tuple[Catalog, Matcher]]:
    with ExitStack() as stack:
        while True:
            try:
                entered = stack.enter_context(book.filling())
                break
            except LibraryBusyError:
                job.pause(_RETRY_SECONDS)
        yield entered
