"""Output of verify, backup, compact, export and import."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING

from crosslens.cli.output.hits import printable
from crosslens.cli.output.render import Output

if TYPE_CHECKING:
    from crosslens.maintenance.backup_and_compact import Backup, Compaction
    from crosslens.maintenance.import_export import Export, Import
    from crosslens.maintenance.integrity_check import Verification
    from crosslens.types import LibraryStats


class UpkeepOutput(Output):
    """Shows what was checked, copied and thrown out."""

    def verification(self, found: Verification) -> None:
        """Findings, one a line, and what was looked at."""
        if self._json:
            self._object(asdict(found) | {"clean": found.clean})
            return
        for finding in found.findings:
            print(printable(f"{finding.what}. {finding.remedy}."))
        count = len(found.findings)
        verdict = "whole" if found.clean else f"{count:,} finding{'' if count == 1 else 's'}"
        looked = ", ".join(_several(number, kind) for kind, number in found.checked.items())
        print(printable(f"library {found.library}: {verdict}; looked at {looked or 'nothing'}"))
        if found.spare:
            print(f"{found.spare:,} of the contents without an item now; crosslens compact drops them")

    def backup(self, made: Backup) -> None:
        """What was copied where."""
        if self._json:
            self._object(asdict(made))
            return
        print(
            printable(
                f"{made.items:,} items and {made.vectors:,} vectors in {made.path}, "
                f"{made.size / 1e6:.1f} MB, checked"
            )
        )

    def compaction(self, done: Compaction) -> None:
        """What was thrown out."""
        if self._json:
            self._object(asdict(done))
            return
        size = f"{done.before / 1e6:.1f} → {done.after / 1e6:.1f} MB"
        print(
            f"dropped {done.vectors:,} vectors and {done.contents:,} contents that no item used, and "
            f"{done.folders:,} derived folders of the past: {size}"
        )
        if done.other_models:
            print(f"dropped {done.other_models:,} vectors of models that the library was migrated from")
        if done.kept:
            print(f"kept {done.kept:,} vectors of such models; crosslens compact --other-models drops them")

    def exported(self, done: Export) -> None:
        """What was written where."""
        if self._json:
            self._object(asdict(done))
            return
        left_out = f"; {done.left_out:,} texts left out, which .parquet holds too" if done.left_out else ""
        left_out += f"; {done.waiting:,} without a vector left out" if done.waiting else ""
        print(printable(f"{done.items:,} items with their vectors in {done.path}{left_out}"))

    def imported(self, done: Import, stats: LibraryStats) -> None:
        """What became of the rows."""
        if self._json:
            self._object(asdict(done) | {"library": asdict(stats)})
            return
        others = {
            "were known": done.known,
            "changed since (crosslens index encodes them)": done.changed,
            "are no pictures": done.unreadable,
        }
        said = "".join(f"; {number:,} {what}" for what, number in others.items() if number)
        away = f" ({done.away:,} without their files, as added:PATH)" if done.away else ""
        print(printable(f"{done.imported:,} imported{away}{said}"))
        print(printable(f"library {stats.path}: {stats.items:,} items, model {stats.model}"))


def _several(number: int, kind: str) -> str:
    """So many of a kind: 3 roots, 1 root."""
    return f"{number:,} " + (re.sub(r"s\b", "", kind, count=1) if number == 1 else kind)
