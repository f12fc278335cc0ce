"""Statistics of a library."""

from __future__ import annotations

from crosslens.search.ann import AnnFacts
from crosslens.store.database import Catalog
from crosslens.store.migration_target import count_lacking, models_of, waiting
from crosslens.store.records import ModelRecord
from crosslens.store.vector_matrix import derived_size
from crosslens.types import Approximation, LibraryStats, Migrating


def library_stats(catalog: Catalog, model: ModelRecord, searching: AnnFacts | None) -> LibraryStats:
    """Counts, places and how it is searched."""
    counts, roots = catalog.counts(), catalog.roots()
    return LibraryStats(
        path=str(catalog.folder),
        model=model.name,
        dimension=model.dimension,
        items=counts["items"],
        texts=counts["texts"],
        offline=counts["offline"],
        contents=counts["contents"],
        vectors=counts["vectors"],
        roots=tuple(root.path for root in roots),
        missing=tuple(root.path for root in roots if not root.online),
        generation=catalog.stamp()[1],
        size=catalog.size() + derived_size(catalog.folder),
        approximate=None if searching is None else _approximation(searching),
        waiting=waiting(catalog),
        migrating=_migrating(catalog, counts["contents"]),
    )


def _migrating(catalog: Catalog, contents: int) -> Migrating | None:
    target = models_of(catalog).target
    if target is None:
        return None
    return Migrating(target.name, target.dimension, contents - count_lacking(catalog, target.identity))


def _approximation(facts: AnnFacts) -> Approximation:
    return Approximation(
        rows=facts.rows,
        cells=facts.cells,
        probes=facts.setting.probes,
        candidates=facts.setting.candidates,
        recall_of_stored=facts.recall.stored,
        recall_of_texts=facts.recall.probes,
        seconds=facts.seconds,
    )
