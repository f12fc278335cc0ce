"""What the commands do: library calls on one side, an `Output` on the other. Each returns an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from crosslens import places
from crosslens.cli.progress import ProgressBar, ProgressLines
from crosslens.cli.render import Output
from crosslens.errors import ImageNotFoundError, QueryError, TextError
from crosslens.library import Library
from crosslens.matcher import Matcher
from crosslens.models.catalogue import STARTER
from crosslens.probability import match_probability
from crosslens.read import walk
from crosslens.tables import TABLE_SUFFIXES, VECTOR_SUFFIXES, column, read_table, write_vectors
from crosslens.textindexing import embed_each
from crosslens.towers.fake import FakeModel
from crosslens.types import Failure, Modality, Progress
from crosslens.zeroshot import TEMPLATES

T = TypeVar("T")

_PAGE = 512
_BENCH_PICTURES = 256
_STARTER_NOTICE = (
    "using 'starter', the small embedded model: English, everyday things. For a full CLIP: crosslens models"
)


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived; ends a command as Ctrl-C does, with another exit status."""

    arrived = False


@contextmanager
def watched(
    output: Output, doing: str, kept: str, *, streaming: bool = False
) -> Iterator[ProgressBar | ProgressLines]:
    """Progress of a long run; Ctrl-C and SIGTERM end the command with a summary. kept: what is left of it."""
    progress = output.progress(doing, streaming=streaming)
    try:
        with progress:
            yield progress
    except KeyboardInterrupt as interrupt:
        output.interrupted(progress.last, kept)
        raise SystemExit(143 if isinstance(interrupt, Terminated) else 130) from interrupt


@dataclass(frozen=True, slots=True)
class Labels:
    """What a classification chooses from. file: more labels, one a line."""

    labels: list[str]
    file: str | None
    templates: list[str]


@dataclass(frozen=True, slots=True)
class Sources:
    """What a command looks at. text_column: for tables."""

    paths: list[str]
    text_column: str | None


@dataclass(frozen=True, slots=True)
class Query:
    """What a search asks for."""

    text: str | None
    image: str | None
    without: list[str]


def index(output: Output, folder: Path | None, sources: Sources, model: str | None, *, strict: bool) -> int:
    """Bring a library up to date."""
    with Library.open(folder, model) as library:
        _say_once(output, library.matcher)
        kept = "what was committed is kept, and the same command goes on from there"
        with watched(output, "indexing", kept) as progress:
            report = library.index(sources.paths, progress.update, sources.text_column)
        output.report(report, library.stats())
    return 1 if strict and report.failures else 0


def search(output: Output, folder: Path | None, query: Query, k: int, *, texts: bool) -> int:
    """One search."""
    if query.text is not None and os.path.isfile(query.text):
        raise QueryError(f"{query.text!r} is a file, not words", f"Search by it with: --image {query.text}")
    with Library.open(folder) as library:
        library.stats()
        _say_once(output, library.matcher)
        hits = library.search(
            query.text, image=query.image, without=query.without or None, k=k, kind=_kind(texts)
        )
        asked = {"text": query.text, "image": query.image, "without": ", ".join(query.without) or None}
        output.hits({name: value for name, value in asked.items() if value is not None}, hits)
    return 0


def search_many(output: Output, folder: Path | None, queries: str, k: int, *, texts: bool) -> int:
    """One search for every line of a file."""
    lines = [line for line in _read_lines(queries) if line.strip()]
    if not lines:
        raise QueryError(f"{queries} holds no line of text", "Write one search to a line")
    with Library.open(folder) as library:
        library.stats()
        _say_once(output, library.matcher)
        for text, hits in zip(lines, library.search_many(lines, k, _kind(texts)), strict=True):
            output.hits({"text": text}, hits, many=True)
    return 0


def score(output: Output, image: str, texts: Sequence[str], model: str) -> int:
    """Compare a picture with texts."""
    matcher = Matcher(model)
    _say_once(output, matcher)
    output.scores(matcher, image, matcher.embed_images([image])[0], matcher.embed_texts(texts), texts)
    return 0


def classify(output: Output, sources: Sequence[str], choice: Labels, model: str) -> int:
    """Labels for pictures. Those that cannot be read are named and left out."""
    failures: list[Failure] = []
    images = _pictures(sources, failures)
    labels = [*choice.labels]
    if choice.file is not None:
        labels += [line.strip() for line in _read_lines(choice.file) if line.strip()]
    if not labels:
        raise QueryError("there are no labels", "Give --label several times, or --labels FILE")
    matcher = Matcher(model)
    _say_once(output, matcher)
    texts = matcher.embed_labels(labels, choice.templates or TEMPLATES)
    with watched(output, "classifying", "nothing is kept") as progress:
        found = matcher.embed_images(_counted(images, progress), on_error="skip")
    for row, ranked in zip(
        found.rows.tolist(), matcher.rank_vectors(found.vectors, texts, labels), strict=True
    ):
        output.labels(images[row], ranked)
    failures += found.failures
    output.failed(failures)
    return 1 if failures else 0


def match(output: Output, table: str, image_column: str, text_column: str, model: str) -> int:
    """Pairs of a table, row by row. A row whose picture cannot be read is shown with the reason."""
    matcher = Matcher(model)
    _say_once(output, matcher)
    failed = done = 0
    total = sum(1 for _ in read_table(table))  # a row that cannot be read is met before any work is done
    rows = column(read_table(table), image_column, table)
    with watched(output, "matching", "what is printed holds", streaming=True) as progress:
        for page in _pages(rows, _PAGE):
            texts = [text for _, text in column(iter(row for row, _ in page), text_column, table)]
            matched = _match_page(matcher, [_beside(table, image) for _, image in page], texts)
            for (_, image), text, result in zip(page, texts, matched, strict=True):
                done += 1
                failed += isinstance(result, Failure)
                output.pair(done, image, text, result)
            progress.update(Progress(done, total, failed, done - failed))
    return 1 if failed else 0


def _match_page(
    matcher: Matcher, images: Sequence[str], texts: Sequence[str]
) -> list[tuple[float, float] | Failure]:
    """(cosine, probability) of every pair, or why there is none."""
    found = matcher.embed_images(images, on_error="skip")
    pictures = dict(zip(found.rows.tolist(), found.vectors, strict=True))
    failures = iter(found.failures)
    vectors, bad = embed_each(matcher, list(dict.fromkeys(texts)))
    rows: list[tuple[float, float] | Failure] = []
    for row, (image, text) in enumerate(zip(images, texts, strict=True)):
        if row not in pictures:
            rows.append(next(failures))
        elif text in bad:
            rows.append(Failure(image, bad[text]))
        else:
            cosine = float(np.clip(pictures[row] @ vectors[text], -1, 1))
            p = match_probability([cosine], matcher.spec, match=matcher.match_spec)[0, 1]
            rows.append((cosine, float(p)))
    return rows


def embed(output: Output, sources: Sources, texts: str | None, out: str, model: str) -> int:
    """Vectors to a file. Pictures that cannot be read are named and left out; the ids say which are there."""
    matcher = Matcher(model)
    _say_once(output, matcher)
    failures: list[Failure] = []
    if Path(out).suffix.lower() not in VECTOR_SUFFIXES:
        raise QueryError(f"{out}: vectors are not written so", f"Wanted {', '.join(VECTOR_SUFFIXES)}")
    if texts is not None and Path(texts).suffix.lower() in TABLE_SUFFIXES:
        if sources.text_column is None:
            raise QueryError(f"{texts} is a table", "Say which column holds its texts: --text-column NAME")
        ids = [text for _, text in column(read_table(texts), sources.text_column, texts) if text.strip()]
        vectors = matcher.embed_texts(ids)
    elif texts is not None:
        ids = [line for line in _read_lines(texts) if line.strip()]
        vectors = matcher.embed_texts(ids)
    else:
        paths = _pictures(sources.paths, failures)
        with watched(output, "embedding", "nothing was written") as progress:
            found = matcher.embed_images(_counted(paths, progress), on_error="skip")
        failures += found.failures
        ids, vectors = [paths[row] for row in found.rows.tolist()], found.vectors
    try:
        write_vectors(out, ids, vectors)
    except OSError as error:
        raise QueryError(f"{out} cannot be written ({error.strerror})", "Name another file") from error
    output.embedded(out, vectors.shape, failures)
    return 1 if failures else 0


def remove(output: Output, folder: Path | None, targets: Sequence[str]) -> int:
    """Forget items."""
    with Library.open(folder) as library:
        numbers = [int(t) if t.isdecimal() and not os.path.lexists(t) else t for t in targets]
        output.removed(library.remove(numbers), library.stats())
    return 0


def list_items(output: Output, folder: Path | None) -> int:
    """Everything in a library."""
    with Library.open(folder) as library:
        for item in library.items():
            output.item(item)
    return 0


def stats(output: Output, folder: Path | None) -> int:
    """Facts about a library."""
    with Library.open(folder) as library:
        output.stats(library.stats())
    return 0


def bench(output: Output, sources: Sequence[str], models: Sequence[str], png: Path | None) -> int:
    """Figures of this machine. Pictures that cannot be read are named and left out."""
    from crosslens import bench

    failures: list[Failure] = []
    paths = _pictures(sources, failures)[:_BENCH_PICTURES]
    readable = [paths[row] for row in Matcher(FakeModel()).embed_images(paths, on_error="skip").rows.tolist()]
    figures = bench.bench(models, readable, output.notice)
    output.figures(figures, len(readable))
    if png is not None:
        try:
            bench.draw(figures, png)
        except OSError as error:
            raise QueryError(f"{png} cannot be written ({error.strerror})", "Name another file") from error
    return 0


def doctor(output: Output, folder: Path | None) -> int:
    """Facts about this machine, and a self-test."""
    from crosslens.doctor import examine

    checkup = examine(folder or places.default_library())
    output.checkup(checkup)
    return 0 if checkup.healthy else 1


def _pictures(sources: Sequence[str], failures: list[Failure]) -> list[str]:
    """Paths of the pictures in files and folders."""
    paths = []
    for source in sources:
        if not os.path.lexists(source):
            raise ImageNotFoundError(source, "there is no such file or folder", "Check the spelling")
        found = walk(
            source,
            skip=frozenset(),
            on_error=lambda path, reason: failures.append(Failure(path, reason)),
            on_ignored=lambda _path, _reason: None,
        )
        paths += [item.path for item in found]
    return list(dict.fromkeys(paths))


def _counted(paths: Sequence[str], progress: ProgressBar | ProgressLines) -> Iterator[str]:
    """The paths, telling the progress as they are taken."""
    for number, path in enumerate(paths):
        progress.update(Progress(number, len(paths), 0, number))
        yield path


def _pages(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    rows = iter(rows)
    while page := list(islice(rows, size)):
        yield page


def _beside(table: str, image: str) -> str:
    """A picture named in a table: its path as it stands, or beside the table."""
    beside = os.path.join(os.path.dirname(table), image)
    return beside if not os.path.exists(image) and os.path.exists(beside) else image


def _kind(texts: bool) -> Modality | None:
    return "text" if texts else None


def _read_lines(path: str) -> list[str]:
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        # Only line feeds end a line: `splitlines` would also cut at characters that texts may hold.
        return [line.rstrip("\r") for line in data.decode("utf-8-sig").split("\n")]
    except OSError as error:
        raise QueryError(f"{path} cannot be read ({error.strerror})", "Check the path") from error
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise TextError(f"{path}: line {line} is not UTF-8", "Save the file as UTF-8") from error


def _say_once(output: Output, matcher: Matcher) -> None:
    """Tell a user, the first time, that this is the small model."""
    if matcher.reference != STARTER:
        return
    note = places.notices() / "starter"
    if note.exists():
        return
    output.notice(_STARTER_NOTICE)
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()
    except OSError:
        return  # then it is said again next time
