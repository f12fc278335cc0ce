"""Indexing a table of texts: each row is an item, named TABLE#ROW."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from crosslens.errors import InputError, TextError
from crosslens.library.index_counts import Tally
from crosslens.matching.matcher import Matcher
from crosslens.store.database import Catalog
from crosslens.store.migration_target import waiting_of
from crosslens.store.path_encoding import text_hash
from crosslens.store.records import Entry, Root
from crosslens.texts.tabular_files import column, read_table
from crosslens.types import Failure, Float32, Item

_PAGE = 512


def index_table(
    catalog: Catalog, matcher: Matcher, root: Root, tally: Tally, report: Callable[[], None]
) -> None:
    """Bring a library up to date with a table; every page of rows is committed for itself, and reported.

    A row that cannot be embedded is a failure; a table that cannot be read to its end is one too, and then
    nothing is removed.
    """
    status = os.stat(root.path)
    met: set[int] = set()
    try:
        tally.pending += sum(1 for _ in read_table(root.path))
        for page in _pages(root, status.st_mtime_ns):
            met |= _index_page(catalog, matcher, root, page, tally)
            tally.done += len(page)
            report()
    except InputError as error:
        reason = error.problem.removeprefix(f"{root.path}: ").removeprefix(f"{root.path} ")
        tally.failures.append(Failure(root.path, f"{reason}. {error.remedy}"))
        return
    gone = [number for number in catalog.ids_in(root) if number not in met]
    if gone:
        catalog.remove(gone)
    tally.removed += len(gone)


def _pages(root: Root, modified_ns: int) -> Iterator[list[tuple[Item, str]]]:
    rows = column(read_table(root.path), root.text_column or "", root.path)
    items = (
        (Item(f"{root.path}#{number}", len(text.encode(errors="replace")), modified_ns), text)
        for number, (_, text) in enumerate(rows, 1)
    )
    while page := list(islice(items, _PAGE)):
        yield page


def _index_page(
    catalog: Catalog, matcher: Matcher, root: Root, page: Sequence[tuple[Item, str]], tally: Tally
) -> set[int]:
    """Record a page and return the ids of its items."""
    known = catalog.hashes_of([item.path for item, _ in page])
    model = matcher.spec.identity
    waiting = waiting_of(catalog, known.values(), model)
    fresh = {
        text: text_hash(text)
        for item, text in page
        if known.get(item.path) != _hash(text) or known.get(item.path) in waiting
    }
    new = [text for text, hash_ in fresh.items() if not catalog.has_vector(hash_, model)]
    vectors, bad = embed_each(matcher, new)
    entries = []
    for item, text in page:
        if text in bad:
            tally.failures.append(Failure(item.path, bad[text]))
        elif text in fresh:
            entries.append(Entry(item, root.id, fresh[text], 0, 0, vectors.get(text), text))
            same = known.get(item.path) == fresh[text]  # it had no vector
            tally.unchanged += same
            tally.changed += item.path in known and not same
            tally.added += item.path not in known
        else:
            tally.unchanged += 1
    tally.encoded += len(vectors)
    if entries:
        catalog.record(entries, [], model, matcher.provenance)
    return set(catalog.ids_of([item.path for item, _ in page]).values())


def _hash(text: str) -> bytes | None:
    """None for a text that cannot be content: its row is then looked at again, and fails by name."""
    try:
        return text_hash(text)
    except UnicodeEncodeError:
        return None


def embed_each(matcher: Matcher, texts: Sequence[str]) -> tuple[dict[str, Float32], dict[str, str]]:
    """(vectors, reasons why not), by text. One bad text makes the others go one by one."""
    try:
        return dict(zip(texts, matcher.embed_texts(texts), strict=True)), {}
    except TextError:
        vectors, bad = {}, {}
        for text in texts:
            try:
                vectors[text] = matcher.embed_texts([text])[0]
            except TextError as error:
                bad[text] = error.problem
        return vectors, bad
