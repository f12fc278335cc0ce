"""Path selection for an indexing run: only some paths, and no files that are still being written."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Changes:
    """What of its roots a run looks at; all paths absolute.

    paths: files and folders that may have changed, come or gone, below roots that are folders; None:
    everything. unfinished: files and folders that are left as the library knows them, whatever they are now.
    """

    paths: tuple[str, ...] | None = None
    unfinished: tuple[str, ...] = ()

    def by_root(self, roots: Collection[str]) -> dict[str, list[str]]:
        """The outermost of the paths, by the innermost root they lie below; others are left out."""
        found: dict[str, list[str]] = {}
        for path in outermost(self.paths or ()):
            root = next((folder for folder in folders_above(path) if folder in roots), None)
            if root is not None:
                found.setdefault(root, []).append(path)
        return found


def folders_above(path: str) -> Iterable[str]:
    """The folders an absolute path lies in, the innermost first."""
    while (folder := os.path.dirname(path)) != path:
        yield folder
        path = folder


def outermost(paths: Iterable[str]) -> list[str]:
    """Those of the absolute paths that lie below no other one, each once, sorted."""
    kept = set(paths)
    return sorted(path for path in kept if kept.isdisjoint(folders_above(path)))
