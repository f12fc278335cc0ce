"""Recovery after a crash: uploads that were accepted and not finished are taken up again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from crosslens.errors import LibraryError
from crosslens.serve.config import ServeConfig
from crosslens.serve.ingest.ingest import Intake, throw_out, unindexed
from crosslens.serve.ingest.jobs import Job, Jobs, Kind, Task, fill
from crosslens.serve.ingest.uploads import FOLDER, accepted, clean
from crosslens.serve.libraries.library_handle import Book


def left_over(book: Book) -> list[Path]:
    """What was accepted and not taken in. To be asked while nothing is being accepted."""
    clean(book.files)
    return accepted(book.files)


def pick_up(book: Book, left: Sequence[Path], jobs: Jobs, config: ServeConfig) -> None:
    """Have jobs take in what is left over, and index what has its place only."""
    with suppress(LibraryError):  # a job would come to it, too
        for folder in left:
            kind: Kind = "folder" if (folder / FOLDER).exists() else "upload"
            jobs.submit(book.name, kind, Intake(book, folder, config, again=True).task, bounded=False)
        if unindexed(book):
            jobs.submit(book.name, "index", Task(partial(_index, book)), bounded=False)


def _index(book: Book, job: Job) -> None:
    if unindexed(book):  # what was left over may have held it
        throw_out(book, fill(job, book, [str(book.files)]).failures)
