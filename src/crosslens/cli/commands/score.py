"""Commands that need no library: score, classify, match, embed, bench."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from crosslens.cli.common import Run, Sources, counted, pictures_in, read_lines, say_once, watched
from crosslens.cli.output.render import Output
from crosslens.errors import QueryError
from crosslens.library.library_model import matcher_of
from crosslens.library.text_indexing import embed_each
from crosslens.matching.match_probability import match_probability
from crosslens.matching.matcher import Matcher
from crosslens.matching.zero_shot import TEMPLATES
from crosslens.models.catalogue import STARTER
from crosslens.texts.tabular_files import TABLE_SUFFIXES, VECTOR_SUFFIXES, column, read_table, write_vectors
from crosslens.towers.fake_model import FakeModel
from crosslens.types import Failure, Progress

T = TypeVar("T")

_PAGE = 512
_BENCH_PICTURES = 256


@dataclass(frozen=True, slots=True)
class Labels:
    """What a classification chooses from. file: more labels, one a line."""

    labels: list[str]
    file: str | None
    templates: list[str]


def score(output: Output, image: str, texts: Sequence[str], model: str) -> int:
    """Compare a picture with texts."""
    matcher = Matcher(model)
    say_once(output, matcher)
    output.scores(matcher, image, matcher.embed_images([image])[0], matcher.embed_texts(texts), texts)
    return 0


def classify(output: Output, sources: Sequence[str], choice: Labels, model: str) -> int:
    """Labels for pictures. Those that cannot be read are named and left out."""
    failures: list[Failure] = []
    images = pictures_in(sources, failures)
    labels = [*choice.labels]
    if choice.file is not None:
        labels += [line.strip() for line in read_lines(choice.file) if line.strip()]
    if not labels:
        raise QueryError("there are no labels", "Give --label several times, or --labels FILE")
    matcher = Matcher(model)
    say_once(output, matcher)
    texts = matcher.embed_labels(labels, choice.templates or TEMPLATES)
    with watched(output, "classifying", "nothing is kept") as progress:
        found = matcher.embed_images(counted(images, progress), on_error="skip")
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
    say_once(output, matcher)
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
    good = [row for row in pictures if texts[row] not in bad]
    cosines = np.clip([pictures[row] @ vectors[texts[row]] for row in good], -1, 1)
    asked = [texts[row] for row in good]
    p = match_probability(cosines, matcher.spec, match=matcher.own_match, texts=asked)[:, 1]
    pairs = dict(zip(good, zip(cosines.tolist(), p.tolist(), strict=True), strict=True))
    return [
        pairs.get(row) or (Failure(images[row], bad[texts[row]]) if row in pictures else next(failures))
        for row in range(len(images))
    ]


def embed(output: Output, sources: Sources, texts: str | None, out: str, run: Run) -> int:
    """Vectors to a file. Pictures that cannot be read are named and left out; the ids say which are there."""
    matcher = matcher_of(run.model or STARTER, run.how)
    say_once(output, matcher)
    failures: list[Failure] = []
    if Path(out).suffix.lower() not in VECTOR_SUFFIXES:
        raise QueryError(f"{out}: vectors are not written so", f"Wanted {', '.join(VECTOR_SUFFIXES)}")
    if texts is not None and Path(texts).suffix.lower() in TABLE_SUFFIXES:
        if sources.text_column is None:
            raise QueryError(f"{texts} is a table", "Say which column holds its texts: --text-column NAME")
        ids = [text for _, text in column(read_table(texts), sources.text_column, texts) if text.strip()]
        vectors = matcher.embed_texts(ids)
    elif texts is not None:
        ids = [line for line in read_lines(texts) if line.strip()]
        vectors = matcher.embed_texts(ids)
    else:
        paths = pictures_in(sources.paths, failures)
        with watched(output, "embedding", "nothing was written") as progress:
            found = matcher.embed_images(counted(paths, progress), on_error="skip")
        failures += found.failures
        ids, vectors = [paths[row] for row in found.rows.tolist()], found.vectors
    try:
        write_vectors(out, ids, vectors)
    except OSError as error:
        raise QueryError(f"{out} cannot be written ({error.strerror})", "Name another file") from error
    output.embedded(out, vectors.shape, failures)
    return 1 if failures else 0


def bench(output: Output, sources: Sequence[str], models: Sequence[str], png: Path | None) -> int:
    """Figures of this machine. Pictures that cannot be read are named and left out."""
    from crosslens.diagnose import benchmark as bench

    failures: list[Failure] = []
    paths = pictures_in(sources, failures)[:_BENCH_PICTURES]
    readable = [paths[row] for row in Matcher(FakeModel()).embed_images(paths, on_error="skip").rows.tolist()]
    figures = bench.bench(models, readable, output.notice)
    output.figures(figures, len(readable))
    if png is not None:
        try:
            bench.draw(figures, png)
        except OSError as error:
            raise QueryError(f"{png} cannot be written ({error.strerror})", "Name another file") from error
    return 0


def _pages(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    rows = iter(rows)
    while page := list(islice(rows, size)):
        yield page


def _beside(table: str, image: str) -> str:
    """A picture named in a table: its path as it stands, or beside the table."""
    beside = os.path.join(os.path.dirname(table), image)
    return beside if not os.path.exists(image) and os.path.exists(beside) else image
