"""The Library class: index pictures and texts once, search them ever after. Composes all stages.

read → decode → preprocess → encode → store     IndexRun (library/indexing.py)
encode → search                                 Library.search
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, get_args

from crosslens import app_folders
from crosslens.arguments import several_paths, whole, word
from crosslens.errors import InputError, LibraryNotFoundError, QueryError
from crosslens.images.open_image import several
from crosslens.images.path_selection import Changes
from crosslens.library.in_memory_items import add_images, add_texts
from crosslens.library.indexing import IndexRun, OnProgress, check_sources
from crosslens.library.library_model import check_model, matcher_of, record_of, remembered, searched_model
from crosslens.library.query_search import Asked, Page, find, find_many
from crosslens.library.search_view import Vectors, View
from crosslens.library.stats import library_stats
from crosslens.library.vector_search import Searching
from crosslens.matching.matcher import Compute, Matcher
from crosslens.models.probe_texts import PROBES
from crosslens.search.backend import Allowed, Connect
from crosslens.search.query_language import Query
from crosslens.store.database import Catalog
from crosslens.store.locks import writer_lock
from crosslens.store.migration_target import settle
from crosslens.store.path_encoding import targets_of
from crosslens.store.records import ModelRecord
from crosslens.store.schema import explained
from crosslens.store.vector_matrix import Matrix
from crosslens.types import Float32, Hit, ImageInput, IndexReport, LibraryStats, Modality


class Library:
    """A folder that remembers pictures by meaning. Make one with `Library.open`.

    Use it as a context manager, or call `close()`. Searching is safe while another process indexes.
    """

    def __init__(
        self, folder: Path, matcher: Matcher | None, how: Compute, connect: Connect | None = None
    ) -> None:
        self._folder = folder
        self._how = how
        self._asked_matcher = matcher
        self._catalog: Catalog | None = None
        self._matcher: Matcher | None = None
        self.vectors = Vectors(Searching(folder, connect))

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str] | None = None,
        model: str | os.PathLike[str] | Matcher | None = None,
        how: Compute = Compute(),  # noqa: B008 (frozen)
        connect: Connect | None = None,
    ) -> Library:
        """Open a library; one that does not exist yet is made by the first `index`.

        folder: where it lies; None: the default place in the user's data folder.
        model: a name, a bundle folder or a Matcher. A library remembers the model it was made with, so
        this is needed only for the first `index` with another model than "starter".
        how: precision, decoding and device of a model that is given by name or remembered.
        connect: has another vector store search; see `search.backend.Connect`. None: crosslens itself does.
        Raises LibraryModelError when the library was made with another model, LibraryVersionError,
        LibraryDamagedError, UnknownModelError, BundleError.
        """
        path = (
            app_folders.default_library()
            if folder is None
            else Path(*several_paths("folder", folder)).expanduser().absolute()
        )
        matcher = model if isinstance(model, Matcher) or model is None else matcher_of(model, how)
        library = cls(path, matcher, how, connect)
        library.find_database()
        if matcher is not None:
            check_model(path, library.find_record(), matcher)
        return library

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database. What was committed is on the disk."""
        if self._catalog is not None:
            self._catalog.close()
            self._catalog = None

    @property
    def folder(self) -> Path:
        """Where the library lies."""
        return self._folder

    @property
    def database(self) -> Catalog:
        """The open database. Raises LibraryNotFoundError."""
        if self._catalog is None:
            self._catalog = Catalog(self._folder)
        return self._catalog

    @property
    def is_open(self) -> bool:
        """Whether the database is open in this object."""
        return self._catalog is not None

    def find_database(self) -> Catalog | None:
        """The database if there is one: another process may have made it since."""
        with contextlib.suppress(LibraryNotFoundError):
            return self.database
        return None

    def open_for_writing(self) -> Catalog:
        """The database, opened for writing; where that fails, the one for reading stays open.

        For who holds the writer's lock; `writing` takes it.
        """
        catalog = Catalog(self._folder, create=True)
        self.close()
        self._catalog = catalog
        return catalog

    @property
    def matcher(self) -> Matcher:
        """The matcher with the library's model: the new one, when the library was migrated meanwhile."""
        self.find_database()
        return self.matcher_with(self.find_record())

    @property
    def record(self) -> ModelRecord:
        """The model that it is searched with, without opening it. Raises LibraryNotFoundError."""
        return self._model()

    def find_record(self) -> ModelRecord | None:
        """`record`, or None while nothing is open or indexed."""
        return None if self._catalog is None else searched_model(self._catalog, self._asked_matcher)

    # -- index ------------------------------------------------------------------------------------

    def index(
        self,
        sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
        on_progress: OnProgress | None = None,
        text_column: str | None = None,
        changes: Changes | None = None,
    ) -> IndexReport:
        """Bring the library up to date with folders and files; with none, with all it was given before.

        Encodes only what is new or changed. Pictures that cannot be read are listed in the report's
        `failures`. Items of a folder that is missing go offline and are kept.
        Tables (.csv, .tsv, .jsonl, .parquet) hold texts, in the column `text_column`.
        changes: looks at no more than these, and leaves it to the caller to `prepare`.
        Raises ImageNotFoundError for a source that does not exist, LibraryBusyError while another process
        indexes, LibraryReadOnlyError, LibraryFullError; what was committed before stays.
        """
        paths = several_paths("a source", sources)
        text_column = None if text_column is None else word("text_column", text_column)
        self.find_database()
        if not paths and self._catalog is None:
            raise LibraryNotFoundError(
                f"there is no crosslens library in {self._folder} yet", "Name a folder of pictures to index"
            )
        check_sources(
            paths, {root.path for root in self._catalog.roots()} if self._catalog else set(), text_column
        )
        with self.writing() as catalog:
            run = IndexRun(catalog, self.matcher, on_progress)
            report = run.run(paths, text_column, changes or Changes())
        if changes is None:
            self.prepare()
        return report

    def prepare(self) -> None:
        """Make what searches need and is not there yet, so that the first one need not.

        Others may write and search meanwhile. `index` does it; it is needed after many calls of `add`.
        """
        view = self.view()
        for kind in get_args(Modality):
            if self.database.holds(kind):
                matrix = view.matrix(kind)
                self.vectors.searching.build(
                    matrix, view.record, kind, lambda: view.matcher.embed_texts(PROBES)
                )

    def add(
        self,
        *,
        images: Iterable[ImageInput] | ImageInput | None = None,
        texts: Sequence[str] | str | None = None,
        names: Sequence[str] | str | None = None,
    ) -> list[int]:
        """Add pictures or texts that are in no file; returns their ids. All are added, or none.

        images: anything but paths (`index` is for files); only their vectors are kept. texts are kept whole.
        names: one to each; its item's `path` is then "added:NAME", and adding under a name that exists
        replaces what it had. None: the name is made of the content, so the same twice is one item.
        Raises InputError, ImageError, TextError, and what `index` raises about the library.
        """
        if (images is None) == (texts is None):
            raise InputError("add takes either images or texts", "Call it once for each")
        names = [names] if isinstance(names, str) else names
        with self.writing() as catalog:
            if images is not None:
                return add_images(catalog, self.matcher, several(images), names)
            return add_texts(catalog, self.matcher, () if texts is None else texts, names)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Catalog]:
        """The database, made if need be, while this process alone writes to it; the model is noted in it."""
        self.find_database()
        with explained(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        with writer_lock(self._folder):
            matcher = self.matcher
            catalog = self.open_for_writing()
            check_model(self._folder, catalog.model(), matcher)  # another process may have made it meanwhile
            record = record_of(matcher)
            if catalog.model() != record:  # new, or the same model in another place
                catalog.set_model(record)
            yield catalog
            settle(catalog)

    def remove(self, targets: Iterable[str | os.PathLike[str] | int] | str | os.PathLike[str] | int) -> int:
        """Forget items by id, by path, or by a folder above them; returns how many. No picture is deleted.

        targets: one or several. A folder that was indexed is forgotten with all its items, missing or not.
        A picture in a folder that stays indexed comes back with the next `index`, unless .crosslensignore
        names it. Raises InputError for what is not in the library; then nothing is removed.
        """
        wanted = targets_of(targets)
        self.database  # noqa: B018 (raises where there is none)
        with writer_lock(self._folder):
            return self.open_for_writing().forget(wanted)

    def get(self, number: int) -> Hit | None:
        """An item by its id, as a Hit with score NaN; None when there is no such item."""
        rows = self.database.items([whole("id", number, least=0)])
        return rows[0].hit(float("nan")) if rows else None

    def items(self) -> Iterator[Hit]:
        """Every item, by path, as Hits with score NaN; read as they are taken."""
        self._model()
        for row in self.database.all_items():
            yield row.hit(float("nan"))

    def same_content(self) -> list[list[int]]:
        """Ids of items with the same content, in groups of two and more."""
        return self.database.same_content()

    # -- search -----------------------------------------------------------------------------------

    def search(
        self,
        text: str | None = None,
        *,
        image: ImageInput | None = None,
        without: str | Sequence[str] | None = None,
        k: int = 10,
        kind: Modality | None = None,
    ) -> list[Hit]:
        """The k items nearest to what is asked for, best first.

        text, image: what to look for, one or both. without: what should not be in the result, one text or
        several.
        kind: "image" finds pictures, "text" texts; None finds pictures, and texts in a library that holds
        nothing else. Terms are mixed as `search.query_mixing` says. Fewer than k come back only when the
        library has fewer.
        Raises QueryError, TextError, ImageError, LibraryNotFoundError.
        """
        if text is None and image is None:
            asked = "nothing" if without is None else "nothing but what should not be there"
            raise QueryError(f"the search asks for {asked}", "Give a text, a picture, or both")
        if text is not None and not isinstance(text, str):
            raise QueryError(
                f"the text to search for is {type(text).__name__}", "Use search_many for several"
            )
        query = Query() if text is None else Query(text or " ")  # an empty one is refused where texts are
        return find(self, Asked(query, image, without, kind), Page(k))

    def search_many(self, texts: Sequence[str], k: int = 10, kind: Modality | None = None) -> list[list[Hit]]:
        """`search(text, k=k, kind=kind)` for many texts at once, faster than one by one; a list to a text."""
        return find_many(self, texts, k, kind)

    def view(self) -> View:
        """The library as it is searched: with the model that it has now, to the end."""
        return View(self, self._model())

    def matrix(self, kind: Modality) -> Matrix:
        """The vectors of the library's pictures or texts as they are now."""
        return self.view().matrix(kind)

    def resolve_kind(self, kind: Modality | None) -> Modality:
        """What to search for; see `View.resolve_kind`."""
        return self.view().resolve_kind(kind)

    def nearest(
        self, queries: Float32, k: int, kind: Modality, allowed: Allowed | None = None
    ) -> list[list[Hit]]:
        """The k nearest items to each query vector; see `View.nearest`."""
        return self.view().nearest(queries, k, kind, allowed)

    # -- facts ------------------------------------------------------------------------------------

    def stats(self) -> LibraryStats:
        """Numbers about the library. Raises LibraryNotFoundError before the first `index`."""
        view = self.view()
        kind = view.resolve_kind(None)
        facts = self.vectors.searching.facts(view.matrix(kind), view.record, kind)
        return library_stats(self.database, view.record, facts)

    # -- inside -----------------------------------------------------------------------------------

    def _model(self) -> ModelRecord:
        record = searched_model(self.database, self._asked_matcher)
        if record is None:
            raise LibraryNotFoundError(
                f"the library in {self._folder} is empty", "Fill it with: crosslens index FOLDER"
            )
        return record

    def matcher_with(self, record: ModelRecord | None) -> Matcher:
        """A matcher with this model: that which was asked for, or else one as the library remembers it."""
        matcher = self._asked_matcher or self._matcher
        stale = record is not None and matcher is not None and matcher.spec.identity != record.identity
        if matcher is None or (stale and self._asked_matcher is None):
            matcher = self._matcher = remembered(self._folder, record, self._how)
        check_model(self._folder, record, matcher)
        return matcher
