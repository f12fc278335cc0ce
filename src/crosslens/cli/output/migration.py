"""Output of `crosslens migrate`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from crosslens.cli.output.hits import printable
from crosslens.cli.output.render import Output

if TYPE_CHECKING:
    from crosslens.maintenance.migration_comparison import Comparison
    from crosslens.maintenance.model_migration import Migration
    from crosslens.types import LibraryStats


class MigrationOutput(Output):
    """Shows how a migration went."""

    _said = ""

    def waiting(self, what: str) -> None:
        """Say once what it waits for."""
        if what != self._said:
            self._said = what
            self.notice(f"waiting: {what}")

    def migration(self, done: Migration, stats: LibraryStats) -> None:
        """What was encoded, how the models compare, and which serves."""
        if self._json:
            self._object(asdict(done) | {"library": asdict(stats)})
            return
        if done.state == "unchanged":
            print(printable(f"library {stats.path} has model {done.model}: nothing to do"))
            return
        encoded = f"{_counted(done.pictures, 'picture')} and {_counted(done.texts, 'text')} encoded"
        print(printable(f"{encoded} with {done.model} in {done.seconds:.1f} s"))
        if done.comparison is not None:
            self._comparison(done.comparison, (done.previous, done.model))
        if done.failures:
            print(f"{len(done.failures):,} cannot be encoded:")
        for failure in done.failures:
            print(printable(f"  {failure.path}: {failure.reason}"))
        print(printable(f"library {stats.path}: {_outcome(done, stats)}"))

    @staticmethod
    def _comparison(found: Comparison, names: tuple[str, str]) -> None:
        overlaps = ((found.texts, "text"), (found.pictures, "picture"))
        said = [f"{one.mean:.2f} for {_counted(one.queries, what)}" for one, what in overlaps if one]
        if said:
            of = f"of {_counted(found.items, 'item')}"
            print(f"share of the first ten results that both models find, {of}: {', '.join(said)}")
        if found.recall is None:
            return
        print(f"recall of {_counted(found.recall.captions, 'caption')}")
        for name, values in zip(names, (found.recall.before, found.recall.after), strict=True):
            shown = "  ".join(f"@{k} {value:.3f}" for k, value in values.items())
            print(printable(f"  {shown}  {name}"))

    def abandoned(self, done: tuple[str, int] | None) -> None:
        """What was given up."""
        if self._json:
            self._object({"model": done and done[0], "vectors": done[1] if done else 0})
        elif done is None:
            print("no migration is under way")
        else:
            print(printable(f"given up: the migration to {done[0]}, and {done[1]:,} vectors of it"))


def _outcome(done: Migration, stats: LibraryStats) -> str:
    if done.state == "refused":
        how = "bring their files back, crosslens index, and try again; or go without them: --leave-out"
        return f"model {stats.model} still serves. To switch, {how}"
    if done.state == "ready":
        return f"model {stats.model} serves; crosslens search --model {done.model} searches with the new one"
    waiting = (
        f", without {_counted(stats.waiting, 'item')} that cannot be encoded yet" if stats.waiting else ""
    )
    dropped = "crosslens compact --other-models drops them"
    return f"model {stats.model} serves now{waiting}. Vectors of {done.previous} stay; {dropped}"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
