"""Tags of items, and reading the metadata of files again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from crosslens.encode import ordered_map
from crosslens.errors import ImageError, InputError
from crosslens.images.exif import facts_of
from crosslens.images.open_image import read_bytes
from crosslens.library.library import Library
from crosslens.store import fulltext
from crosslens.store.database import Catalog
from crosslens.store.locks import writer_lock
from crosslens.store.path_encoding import ADDED, from_sql, targets_of
from crosslens.store.tag_rows import renew_facts
from crosslens.towers.openvino_runtime import available_cores
from crosslens.types import Facts, Progress

Targets = Iterable[str | os.PathLike[str] | int] | str | os.PathLike[str] | int
OnProgress = Callable[[Progress], None]
_COMMIT_EVERY = 256


def tag(library: Library, targets: Targets, tags: Sequence[str] | str) -> int:
    """Tag items; returns how many tags are new to them. A tag that an item has already stays as it was.

    targets: ids, paths, or folders above items, one or several. tags: words, or a few; "/" divides them into
    wider and narrower, case does not matter. They belong to the content: copies have them too.
    Raises InputError for what is not in the library or is no tag; then nothing is tagged.
    """
    return _changed(library, targets, tags, fulltext.tag)


def untag(library: Library, targets: Targets, tags: Sequence[str] | str) -> int:
    """Take tags from items; returns how many they had. Targets and errors as for `tag`."""
    return _changed(library, targets, tags, fulltext.untag)


def tags(library: Library) -> dict[str, int]:
    """How many items have each tag, by tag."""
    return fulltext.tag_counts(library.database)


def tags_of(library: Library, number: int) -> list[str]:
    """The tags of an item."""
    return fulltext.tags_of(library.database, number)


def _changed(
    library: Library,
    targets: Targets,
    tags: Sequence[str] | str,
    change: Callable[[Catalog, Sequence[int], Sequence[str]], int],
) -> int:
    wanted = [tags] if isinstance(tags, str) else list(tags)
    if not wanted:
        raise InputError("no tag is given", "Give one or several")
    named = targets_of(targets)
    library.database  # noqa: B018 (raises where there is none)
    with writer_lock(library.folder):
        catalog = library.open_for_writing()
        return change(catalog, fulltext.ids_below(catalog, named), wanted)


def read_facts(library: Library, on_progress: OnProgress = lambda _: None) -> tuple[int, int]:
    """Read again what all files say of themselves: when, where, camera, caption, keywords.

    Returns how many pictures were read, and how many could not be: their files are not there, cannot be read,
    or changed since (`index` takes them). Needed once for a library of an older crosslens.
    """
    with library.writing() as catalog:
        with catalog.reading() as db:
            query = (
                "SELECT hash, min(path) FROM items JOIN contents USING (hash) "
                "WHERE text IS NULL GROUP BY hash"
            )
            rows = [(bytes(hash_), from_sql(path)) for hash_, path in db.execute(query)]
        rows = [row for row in rows if not row[1].startswith(ADDED)]
        read = 0
        for done, page in _pages(rows, library):
            with catalog.writing() as db:
                for hash_, facts in page:
                    renew_facts(db, hash_, facts)
            read += len(page)
            on_progress(Progress(done, len(rows), done - read, 0))
    return read, len(rows) - read


def _pages(
    rows: Sequence[tuple[bytes, str]], library: Library
) -> Iterator[tuple[int, list[tuple[bytes, Facts]]]]:
    """(how many were looked at, the facts of those that could be read since the last page)."""
    limits = library.matcher.limits

    def look(row: tuple[bytes, str]) -> tuple[bytes, Facts] | None:
        try:
            data = read_bytes(row[1], limits)
        except ImageError:
            return None
        return (row[0], facts_of(data)) if hashlib.sha256(data).digest() == row[0] else None

    page: list[tuple[bytes, Facts]] = []
    cores = available_cores()
    with ThreadPoolExecutor(cores, thread_name_prefix="crosslens-read") as pool:
        for done, found in enumerate(ordered_map(pool, look, rows, window=2 * cores), 1):
            page += [found] if found else []
            if done % _COMMIT_EVERY == 0 or done == len(rows):
                yield done, page
                page = []
