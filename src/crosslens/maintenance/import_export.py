"""Import and export of vectors, checked, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np

from crosslens.encode import normalise
from crosslens.errors import ImageError, InputError, LibraryModelError, LibraryNotFoundError
from crosslens.images.decode import decode
from crosslens.images.exif import facts_of
from crosslens.images.open_image import read_bytes
from crosslens.library.indexing import mount_of
from crosslens.library.library import Library
from crosslens.library.library_model import check_model, record_of
from crosslens.maintenance.vector_file_formats import (
    RCLIP_MODEL,
    Row,
    Source,
    open_source,
    write_folder,
    write_parquet,
)
from crosslens.matching.matcher import Matcher
from crosslens.store.database import Catalog
from crosslens.store.migration_target import waiting_of
from crosslens.store.path_encoding import ADDED, from_sql, is_below, text_hash
from crosslens.store.records import Entry, Root
from crosslens.store.schema import explained, open_database
from crosslens.types import Float32, Item, Progress

OnProgress = Callable[[Progress], None]
_PAGE = 256
_RUNTIME = "imported"
# Encoded here and by another program, a picture's vectors are nearer than this, and further from any other's.
_SAMPLE, _SAME_MODEL = 8, 0.9
# Seconds that times may differ: as floating point they are rounded.
_SAME_TIME = 0.001


@dataclass(frozen=True, slots=True)
class Export:
    """What was written. left_out: texts, where the format holds only pictures.

    waiting: items that a migration left without a vector.
    """

    path: str
    items: int
    left_out: int
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Import:
    """What became of the rows.

    imported: items now in the library; of them away: those whose files are not here, kept as added:PATH.
    known: were there already. changed: files that are not any more what the vectors are of; `index` encodes
    them. unreadable: files that are no pictures.
    """

    imported: int
    away: int
    known: int
    changed: int
    unreadable: int


def export_vectors(library: Library, out: Path) -> Export:
    """Write all items with their vectors: OUT.parquet, or else a folder in clip-retrieval's layout.

    Raises InputError for a target that exists, MissingExtraError, LibraryNotFoundError.
    """
    if os.path.lexists(out):
        raise InputError(f"{out} exists", "Name a new file or folder")
    with explained(library.folder), closing(Catalog(library.folder)) as catalog:
        model = catalog.model()
    if model is None:
        raise LibraryNotFoundError(f"the library in {library.folder} is empty", "Fill it: crosslens index")
    draft = out.with_name(f".{out.name}.draft-{uuid.uuid4().hex}")
    parquet = out.suffix.lower() == ".parquet"
    try:
        rows = _rows_of(library.folder, model.identity, "1" if parquet else "text IS NULL")
        items = (write_parquet if parquet else write_folder)(draft, model, rows)
        draft.rename(out)
    finally:
        with suppress(FileNotFoundError):
            shutil.rmtree(draft) if draft.is_dir() else draft.unlink()
    stats = library.stats()
    return Export(str(out), items, 0 if parquet else stats.texts, stats.waiting)


def _rows_of(folder: Path, model: str, condition: str) -> Iterator[tuple[int, Row]]:
    query = (
        "SELECT items.id, path, vector, text, width, height, size, modified_ns FROM items "
        "JOIN contents USING (hash) JOIN vectors USING (hash) "
        f"WHERE model = ? AND {condition} ORDER BY items.id"
    )
    with explained(folder), closing(open_database(folder, create=False)) as db:
        for number, path, blob, *facts, modified in db.execute(query, (model,)):
            vector = np.frombuffer(blob, "<f2")
            text, width, height, size = facts
            yield number, Row(number, from_sql(path), vector, text, width, height, size, modified / 10**9)


def import_vectors(
    library: Library, path: Path, *, stated: bool = False, on_progress: OnProgress = lambda _: None
) -> Import:
    """Take items and their vectors from a file or folder; nothing is encoded but a few pictures, to compare.

    stated: the caller says that the vectors are of the library's model; needed where the source does not.
    Files that are here are hashed and belong to the folders they lie in, which are then indexed folders.
    Raises InputError for a vector that is none, with its row, and when pictures that are here have other
    vectors; LibraryModelError for vectors of another model, or of one that is not stated.
    """
    source = open_source(path)
    matcher = library.matcher
    _check_model(source, matcher, stated=stated)
    count = _check_rows(source, matcher)
    with library.writing() as catalog:
        check_model(library.folder, catalog.model(), matcher)  # it may have been migrated meanwhile
        return _Importer(catalog, matcher, source).run(count, on_progress)


def _check_model(source: Source, matcher: Matcher, *, stated: bool) -> None:
    wanted = record_of(matcher)
    if source.model is not None and source.model.identity != wanted.identity:
        raise LibraryModelError(
            f"the vectors in {source.path} are of model {source.model.name!r} "
            f"({source.model.identity[:12]}), those of the library of {wanted.name!r} "
            f"({wanted.identity[:12]})",
            f"Import into another library: crosslens import -L FOLDER --model {source.model.name}",
        )
    if source.model is None and not stated:
        whose = f": rclip's are of {RCLIP_MODEL}" if source.kind == "rclip" else ""
        raise LibraryModelError(
            f"{source.path} does not say which model its vectors are of{whose}",
            "State it with --model NAME, which must be the library's",
        )


def _check_rows(source: Source, matcher: Matcher) -> int:
    """Look at every vector before anything is written, and encode a few pictures again; how many rows."""
    count = 0
    cosines: list[float] = []
    for row in source.rows():
        count += 1
        vector = _unit(source, row, matcher.dimension)
        if row.text is None and len(cosines) < _SAMPLE and _state(row) == "here":
            with suppress(ImageError):
                cosines.append(float(matcher.embed_images([os.path.abspath(row.path)])[0] @ vector))
    if cosines and np.median(cosines) < _SAME_MODEL:
        raise InputError(
            f"the vectors in {source.path} are not of {matcher.reference!r}: of {len(cosines)} pictures "
            f"encoded again, they have a cosine of {np.median(cosines):.2f} with the new ones",
            "State the model that they are of, and import into a library of that model",
        )
    return count


def _unit(source: Source, row: Row, dimension: int) -> Float32:
    """A row's vector at unit norm. Raises InputError."""
    vector = np.asarray([] if row.vector is None else row.vector, dtype=np.float32)
    if vector.shape != (dimension,):
        raise InputError(
            f"{source.path}: row {row.row} ({row.path}) has a vector of shape {vector.shape}, "
            f"wanted ({dimension},)",
            "Import vectors of the library's model",
        )
    unit, sound = normalise(vector[None])
    if not sound[0]:
        problem = f"{source.path}: row {row.row} ({row.path}) has a vector that is zero or not finite"
        raise InputError(problem, "Leave the row out, or encode it anew")
    return cast(Float32, unit[0])


def _state(row: Row) -> str:
    """How a row's file compares with what the row says: "here", "changed" or "away"."""
    if row.path.startswith(ADDED):
        return "away"
    try:
        status = os.stat(row.path)
    except (OSError, ValueError):
        return "away"
    same = row.size in (None, status.st_size) and (
        row.modified is None or abs(row.modified - status.st_mtime) < _SAME_TIME
    )
    return "here" if same and os.path.isfile(row.path) else "changed"


class _Importer:
    """Records rows, page by page; interrupted, the same import goes on from there."""

    def __init__(self, catalog: Catalog, matcher: Matcher, source: Source) -> None:
        self._catalog = catalog
        self._matcher = matcher
        self._source = source
        self._counts = dict.fromkeys(("imported", "away", "known", "changed", "unreadable"), 0)

    def run(self, count: int, on_progress: OnProgress) -> Import:
        self._roots = self._folders()
        self._added = self._catalog.added_root()
        rows, done = self._source.rows(), 0
        while page := list(islice(rows, _PAGE)):
            known = self._catalog.hashes_of([self._place(row) for row in page])
            waiting = waiting_of(self._catalog, known.values(), self._matcher.spec.identity)
            known = {place: hash_ for place, hash_ in known.items() if hash_ not in waiting}
            entries = [entry for row in page if (entry := self._entry(row, known)) is not None]
            if entries:
                self._catalog.record(entries, [], self._matcher.spec.identity, _RUNTIME)
            self._counts["imported"] += len(entries)
            done += len(page)
            on_progress(Progress(done, count, self._counts["unreadable"], 0))
        return Import(**self._counts)

    def _folders(self) -> list[Root]:
        """The roots that files will lie in: those that are known, and the topmost of their folders."""
        folders = {
            os.path.dirname(os.path.abspath(row.path))
            for row in self._source.rows()
            if row.text is None and _state(row) == "here"
        }
        roots = self._catalog.roots()
        for folder in sorted(folders):  # one above comes before those below it
            if not any(folder == root.path or is_below(folder, root.path) for root in roots):
                roots.append(self._catalog.add_root(folder, mount_of(folder)))
        return sorted(roots, key=lambda root: len(root.path), reverse=True)

    def _place(self, row: Row) -> str:
        """The path of a row's item."""
        if row.path.startswith(ADDED):
            return row.path
        here = row.text is None and _state(row) != "away"
        return os.path.abspath(row.path) if here else ADDED + row.path

    def _entry(self, row: Row, known: dict[str, bytes]) -> Entry | None:
        """What to record of a row, if anything; counted."""
        place = self._place(row)
        vector = _unit(self._source, row, self._matcher.dimension)
        if place in known:
            self._counts["known"] += 1
            return None
        if place.startswith(ADDED):
            self._counts["away"] += row.text is None
            return self._away(row, place, vector)
        if _state(row) == "changed":
            self._counts["changed"] += 1
            return None
        try:
            status = os.stat(place)
            data = read_bytes(place, self._matcher.limits)
            decoded = decode(data, place, shrink_to=8, limits=self._matcher.limits)
        except (ImageError, OSError):
            self._counts["unreadable"] += 1
            return None
        root = next(root for root in self._roots if root.path == place or is_below(place, root.path))
        item = Item(place, status.st_size, status.st_mtime_ns)
        hash_, size = hashlib.sha256(data).digest(), (decoded.width, decoded.height)
        return Entry(item, root.id, hash_, *size, vector, facts=facts_of(data))

    def _away(self, row: Row, place: str, vector: Float32) -> Entry:
        """A text, or a picture whose file is not here: an item in no file."""
        if row.text is not None:
            hash_ = text_hash(row.text)
        else:
            hash_ = hashlib.sha256(b"vector\0" + vector.astype("<f2").tobytes()).digest()
        modified = time.time_ns() if row.modified is None else round(row.modified * 10**9)
        item = Item(place, row.size or 0, modified)
        return Entry(item, self._added.id, hash_, row.width, row.height, vector, row.text)
