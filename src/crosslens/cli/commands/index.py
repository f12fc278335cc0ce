"""`crosslens index`, `remove`, `list`, `stats` and `doctor`.

Each returns an exit status.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from crosslens import app_folders
from crosslens.cli.common import Run, Sources, say_once, watched
from crosslens.cli.output.render import Output
from crosslens.library.library import Library


def index(output: Output, folder: Path | None, sources: Sources, run: Run, *, strict: bool) -> int:
    """Bring a library up to date."""
    with Library.open(folder, run.model, run.how) as library:
        say_once(output, library.matcher)
        kept = "what was committed is kept, and the same command goes on from there"
        with watched(output, "indexing", kept) as progress:
            report = library.index(sources.paths, progress.update, sources.text_column)
        output.report(report, library.stats())
    return 1 if strict and report.failures else 0


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


def doctor(output: Output, folder: Path | None) -> int:
    """Facts about this machine, and a self-test."""
    from crosslens.diagnose.doctor import examine

    checkup = examine(folder or app_folders.default_library())
    output.checkup(checkup)
    return 0 if checkup.healthy else 1
