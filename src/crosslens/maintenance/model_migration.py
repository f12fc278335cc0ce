"""Migration of a library to another model, while the old one serves.

    note the target ── contents without a vector of it ── read, hash, encode ── keep, batch by batch
         └─ when none is left: search with both and compare ── switch, one transaction

Vectors of both lie side by side, so others may search, index and remove meanwhile, and whoever is interrupted
goes on from what is there. Only the switch needs the library for itself.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar, get_args

from crosslens.encode import Encoded, Job, ordered_map
from crosslens.errors import ImageError, LibraryBusyError
from crosslens.images.open_image import read_bytes
from crosslens.library.indexing import OnProgress
from crosslens.library.library import Library
from crosslens.library.library_model import record_of
from crosslens.library.text_indexing import embed_each
from crosslens.maintenance.migration_comparison import Captions, Comparison, compare, relevant
from crosslens.matching.matcher import Matcher
from crosslens.store import migration_target
from crosslens.store.database import Catalog
from crosslens.store.locks import migration_lock, writer_lock
from crosslens.store.migration_target import Lacking
from crosslens.store.path_encoding import ADDED
from crosslens.towers.openvino_runtime import available_cores
from crosslens.types import Failure, Float32, Modality, Progress, UInt8

T = TypeVar("T")
State: TypeAlias = Literal["switched", "ready", "refused", "unchanged"]
OnWait = Callable[[str], None]

_COMMIT_EVERY = 64
_TEXTS = 512
_PROGRESS_SECONDS = 0.1
_WAIT_SECONDS = 0.2
_IN_NO_FILE = "it lies in no file, so the new model cannot see it: add it again"
_CHANGED = "the file changed since it was indexed: crosslens index"


@dataclass(frozen=True, slots=True)
class Plan:
    """How a migration ends. switch: at its end the new model serves; else both are left to be searched.

    leave_out: switch although items could not be encoded; they stay, and wait for their files. captions: to
    measure recall with, (path of a picture, text); None: those that the library knows. compare: search with
    both models before the switch.
    """

    switch: bool = True
    leave_out: bool = False
    captions: Captions | None = None
    compare: bool = True


@dataclass(frozen=True, slots=True)
class Migration:
    """What a migration did.

    state: "switched", the new model serves; "ready", both can be searched, as was asked for; "refused", items
    could not be encoded, and the old one goes on; "unchanged", the library has this model.
    model, previous: names of the new one and the old. pictures, texts: contents encoded in this run.
    failures: items without a vector of the new model, with reasons. comparison: None where there is nothing
    to compare, or none was asked for.
    """

    state: State
    model: str
    previous: str
    pictures: int = 0
    texts: int = 0
    seconds: float = 0.0
    failures: tuple[Failure, ...] = ()
    comparison: Comparison | None = None


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who is told how a migration goes. on_wait: is told what it waits for, again and again."""

    on_progress: OnProgress = lambda _: None
    on_wait: OnWait = lambda _: None


def migrate(
    folder: Path,
    matcher: Matcher,
    plan: Plan = Plan(),
    watcher: Watcher = Watcher(),
) -> Migration:
    """Encode a library with another model, then let that one serve. Interrupted, the same call goes on.

    Waits for whoever writes to the library. Raises LibraryNotFoundError, LibraryBusyError while another
    process migrates it, LibraryModelError while it is being migrated to yet another model, LibraryFullError,
    LibraryReadOnlyError, InputError for captions of no picture in the library.
    """
    with ExitStack() as held:
        library = held.enter_context(Library.open(folder))
        library.view()  # one that is not there is not made
        held.enter_context(migration_lock(folder))
        old = library.view()
        catalog = held.enter_context(closing(Catalog(folder, create=True)))
        asked = None if plan.captions is None else relevant(catalog, plan.captions)
        if not migration_target.note_target(catalog, record_of(matcher)):
            return Migration("unchanged", matcher.reference, old.record.name)
        run = _Run(catalog, matcher, watcher)
        run.encode()
        comparison = None
        if plan.compare:
            with Library.open(folder, matcher) as opened:
                comparison = compare(old, opened.view(), asked or relevant(catalog))
        state: State = "ready"
        if plan.switch:
            state = "switched" if run.switch(leave_out=plan.leave_out) else "refused"
        done = Migration(
            state,
            matcher.reference,
            old.record.name,
            pictures=run.encoded["image"],
            texts=run.encoded["text"],
            seconds=time.monotonic() - run.started,
            failures=tuple(run.failures()),
            comparison=comparison,
        )
    if state == "switched":
        with Library.open(folder, matcher) as opened:
            opened.prepare()
    return done


def abandon(folder: Path) -> tuple[str, int] | None:
    """Give a migration up: (name of its model, how many of its vectors were thrown out); None without one.

    Raises LibraryNotFoundError, LibraryBusyError while another process migrates.
    """
    with Library.open(folder) as library:
        library.view()  # one that is not there is not made
    with migration_lock(folder), closing(Catalog(folder, create=True)) as catalog:
        return migration_target.abandon(catalog)


# -- inside ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Picture:
    """A content on its way. reason: why it cannot be encoded from this path."""

    hash: bytes
    path: str
    data: bytes = b""
    reason: str = ""


@dataclass(slots=True)
class _Run:
    """Encodes what has no vector of the target. gave_up: why not, by content and path."""

    catalog: Catalog
    matcher: Matcher
    watcher: Watcher
    started: float = field(default_factory=time.monotonic)
    encoded: dict[Modality, int] = field(default_factory=lambda: {"image": 0, "text": 0})
    gave_up: dict[tuple[bytes, str], str] = field(default_factory=dict)
    _in_flight: set[bytes] = field(default_factory=set)
    _model: str = ""
    _total: int = 0
    _told: float = 0.0

    def __post_init__(self) -> None:
        self._model = self.matcher.spec.identity

    def encode(self) -> None:
        """Encode until nothing is left but what cannot be."""
        # A content that fails from one path is tried from its copies', in the next round.
        while any(True for kind in get_args(Modality) for _ in self._candidates(kind)):
            self._in_flight.clear()
            self._total = max(
                self._total, self._done + migration_target.count_lacking(self.catalog, self._model)
            )
            self._report(force=True)
            self._encode_pictures()
            self._encode_texts()
        self._report(force=True)

    def failures(self) -> Iterator[Failure]:
        """Items that still have no vector, and why."""
        for kind in get_args(Modality):
            for one in chain.from_iterable(migration_target.lacking(self.catalog, self._model, kind)):
                reason = self.gave_up.get((one.hash, one.path))
                if reason is not None:
                    yield Failure(one.path, reason)

    def switch(self, *, leave_out: bool) -> bool:
        """Let the target serve once all items can be searched with it; False where some cannot."""
        while leave_out or next(self.failures(), None) is None:
            with ExitStack() as held:
                self._patiently(partial(self._hold, held))
                if migration_target.switch(self.catalog, record_of(self.matcher), self.gave_up):
                    return True
            self.encode()  # what was indexed meanwhile
        return False

    def _hold(self, held: ExitStack) -> None:
        held.enter_context(writer_lock(self.catalog.folder))

    def _candidates(self, kind: Modality) -> Iterator[Lacking]:
        for page in migration_target.lacking(self.catalog, self._model, kind):
            met = set(self._in_flight)  # what was written before is not on the page
            for one in page:
                if one.hash not in met and (one.hash, one.path) not in self.gave_up:
                    met.add(one.hash)
                    self._in_flight.add(one.hash)
                    yield one

    # -- pictures -----------------------------------------------------------------------------

    def _encode_pictures(self) -> None:
        batch: list[Encoded[_Picture]] = []
        for result in self.matcher.encode(self._jobs()):
            batch.append(result)
            if len(batch) >= _COMMIT_EVERY:
                self._commit(batch)
                batch = []
        self._commit(batch)

    def _jobs(self) -> Iterator[Job[_Picture]]:
        cores = available_cores()
        with ThreadPoolExecutor(cores, thread_name_prefix="crosslens-read") as pool:
            for picture in ordered_map(pool, self._read, self._candidates("image"), window=2 * cores):
                yield Job(picture, None if picture.reason else partial(self._load, picture))

    def _read(self, one: Lacking) -> _Picture:
        picture = _Picture(one.hash, one.path)
        if one.path.startswith(ADDED):
            picture.reason = _IN_NO_FILE
            return picture
        try:
            picture.data = read_bytes(one.path, self.matcher.limits)
        except ImageError as error:
            picture.reason = error.reason
        else:
            if hashlib.sha256(picture.data).digest() != one.hash:
                picture.reason = _CHANGED
        return picture

    def _load(self, picture: _Picture) -> UInt8:
        data, picture.data = picture.data, b""
        return self.matcher.prepare(data, picture.path)

    def _commit(self, batch: Sequence[Encoded[_Picture]]) -> None:
        vectors: list[tuple[bytes, Float32]] = []
        for result in batch:
            picture, error = result.key, result.error
            if result.vector is not None:
                vectors.append((picture.hash, result.vector))
            else:
                told = getattr(error, "reason", error.problem) if error else picture.reason
                self.gave_up[picture.hash, picture.path] = told
        self._keep(vectors, "image")
        self._in_flight -= {result.key.hash for result in batch}

    # -- texts --------------------------------------------------------------------------------

    def _encode_texts(self) -> None:
        candidates = self._candidates("text")
        while page := list(islice(candidates, _TEXTS)):
            vectors, bad = embed_each(self.matcher, [one.text or "" for one in page])
            self.gave_up |= {(one.hash, one.path): bad[one.text] for one in page if one.text in bad}
            self._keep([(one.hash, vectors[one.text]) for one in page if one.text in vectors], "text")
            self._in_flight -= {one.hash for one in page}

    # -- both ---------------------------------------------------------------------------------

    def _keep(self, vectors: Sequence[tuple[bytes, Float32]], kind: Modality) -> None:
        if vectors:
            target, runtime = record_of(self.matcher), self.matcher.provenance
            self._patiently(lambda: migration_target.keep_vectors(self.catalog, target, vectors, runtime))
            self.encoded[kind] += len(vectors)
        self._report()

    def _patiently(self, act: Callable[[], T]) -> T:
        """Do what others may be in the way of, until they are not."""
        while True:
            try:
                return act()
            except LibraryBusyError as error:
                self.watcher.on_wait(error.problem)
                time.sleep(_WAIT_SECONDS)

    @property
    def _done(self) -> int:
        return sum(self.encoded.values()) + len(self.gave_up)

    def _report(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if force or now - self._told >= _PROGRESS_SECONDS:
            self._told = now
            done = self._done
            encoded = sum(self.encoded.values())
            self.watcher.on_progress(Progress(done, max(self._total, done), len(self.gave_up), encoded))
