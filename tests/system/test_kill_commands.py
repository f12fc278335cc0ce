"""Every command that writes is killed at random moments: nothing committed is lost, and it can be run again.

`make test` kills each a few times, `make soak` 200 times. With `index`, test_kill.py does so.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from crosslens import Library
from crosslens.errors import QueryError
from crosslens.library.query_search import search
from crosslens.maintenance.backup_and_compact import backup
from crosslens.maintenance.import_export import export_vectors
from crosslens.maintenance.integrity_check import verify
from crosslens.store.path_encoding import text_hash
from crosslens.store.schema import DATABASE, VERSION
from killing import Nursery, reading, unless_locked

KILLS = int(os.environ.get("CROSSLENS_SOAK_KILLS", "2"))
GOLDEN = Path(__file__).parents[1] / "golden"
PICTURES, TEXTS = 200, 2300
_PATCHES = {
    # Approximate search for few items, found good enough whatever its recall.
    "crosslens.library.vector_search.LEAST_ROWS": 1000,
    "crosslens.search.ann.LEAST_ROWS": 1000,
    "crosslens.search.ann.FEW_ROWS": 100,
    "crosslens.search.recall_tuning._ASKED_RECALL": 0.0,
    # More commits to be killed between.
    "crosslens.maintenance.tagging._COMMIT_EVERY": 32,
}

Dump = dict[str, list[Any]]
Command = Callable[[Path], tuple[object, ...]]
_TABLES = ("meta", "roots", "contents", "items", "facts", "tags", "words", "vectors")


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    nursery = Nursery(tmp_path_factory.mktemp("nursery"), _PATCHES)
    yield nursery
    nursery.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of pictures with captions and of texts, some of whose contents no item needs any more."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "pictures").mkdir()
    for number in range(PICTURES):
        says = PngInfo()
        says.add_itxt("Description", f"number {number} of some")
        shades = (number % 256, number // 4, 255 - number % 200)
        Image.new("RGB", (16, 16), shades).save(folder / "pictures" / f"{number:03}.png", pnginfo=says)
    with Library.open(folder / "library", "fake") as library:
        library.index(folder / "pictures")
        ids = library.add(texts=[f"red {number} {'green blue ' * (number % 3)}" for number in range(TEXTS)])
        library.remove(ids[:200])
    return folder / "library"


def dump(folder: Path, patience: float = 10) -> Dump:
    """Every row of every table that there is, but for what differs between any two runs."""
    if not (folder / DATABASE).exists():
        return {}
    with reading(folder / DATABASE, patience) as database:
        database.execute("BEGIN")
        there = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        found = {
            name: database.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall()
            for name in _TABLES
            if name in there
        }
        (version,) = database.execute("PRAGMA user_version").fetchone()
    varies = ("library", "generation")
    return {**found, "version": [version], "meta": [r for r in found.get("meta", []) if r[0] not in varies]}


class Trials:
    """A command to be killed, over and over, each time in a new copy of a library.

    command: its arguments, by the copy's folder. begins: a file in that folder that appears when it begins to
    write; without one it is killed from its start on.
    """

    def __init__(
        self, nursery: Nursery, place: Path, original: Path, command: Command, begins: str = "writer.pid"
    ) -> None:
        self._nursery = nursery
        self._original = original
        self._command = command
        self._begins = begins
        self.folder = place / "trial" / "library"
        self.counts: Counter[str] = Counter()

    def undisturbed(self) -> Dump:
        """What a run that nothing disturbs leaves."""
        self._renew()
        self.before = dump(self.folder)
        self._nursery.run(*self._command(self.folder))  # once for the machine to warm up
        self._renew()
        self._seconds = self._nursery.run(*self._command(self.folder), begins=self._beginning())
        self.after = dump(self.folder)
        return self.after

    def kills(self) -> Iterator[Dump]:
        """What another process saw of the library just before each kill; it is clean after it."""
        self.undisturbed()
        began, undisturbed = time.monotonic(), self._seconds
        while self.counts["kills"] < KILLS:
            self._renew()
            moment = random.uniform(0, 1.2 * self._seconds)  # noqa: S311
            trial = self._nursery.start(*self._command(self.folder), after=moment, begins=self._beginning())
            seen = unless_locked(lambda: dump(self.folder, patience=0), self.before)
            if not trial.kill():
                self.counts["ended before"] += 1
                self._seconds *= 0.9  # the machine is faster than it was
                continue
            self._seconds *= 1.03
            self.counts["kills"] += 1
            if dump(self.folder).get("items"):
                found = verify(self.folder)
                assert found.clean, found.findings
            yield seen
        name, *_ = self._command(self.folder)
        took = f"{time.monotonic() - began:.0f} s; undisturbed {undisturbed:.3f} s"
        print(f"{name}: {dict(self.counts)} in {took}")

    def again(self) -> Dump:
        """The same command, undisturbed; what is left then."""
        self._nursery.run(*self._command(self.folder))
        found = verify(self.folder)
        assert found.clean, found.findings
        return dump(self.folder)

    def all_or_nothing(self) -> None:
        """Kill it; each time it has done all or nothing, and what was done before the kill stays."""
        for seen in self.kills():
            left = dump(self.folder)
            assert left in (self.before, self.after)
            assert seen in (self.before, left)
            self.counts["done" if left == self.after else "not done"] += 1

    def page_by_page(self, table: str) -> None:
        """Kill it; each time it has done a part, in which nothing is wrong, and then does the rest."""
        for seen in self.kills():
            left, wanted = dump(self.folder), self.after
            old, done = set(self.before.get(table, [])), set(left.get(table, []))
            assert done <= old | set(wanted[table])
            assert set(seen.get(table, [])) - old <= done
            assert len(done) == len(left.get(table, []))
            self.counts["nothing" if done <= old else "all" if left == wanted else "a part"] += 1
            assert self.again() == wanted

    def _beginning(self) -> Path | None:
        return self.folder / self._begins if self._begins else None

    def _renew(self) -> None:
        shutil.rmtree(self.folder.parent, ignore_errors=True)
        shutil.copytree(self._original, self.folder)


def test_tagging_killed_has_tagged_all_or_nothing(nursery: Nursery, tmp_path: Path, whole: Path) -> None:
    ids = range(1, 1 + PICTURES)
    trials = Trials(nursery, tmp_path, whole, lambda folder: ("tag", "-L", folder, "family/anna", *ids))
    trials.all_or_nothing()


def test_untagging_killed_has_untagged_all_or_nothing(nursery: Nursery, tmp_path: Path, whole: Path) -> None:
    shutil.copytree(whole, tmp_path / "tagged")
    nursery.run("tag", "-L", tmp_path / "tagged", "family", *range(1, 1 + PICTURES))
    command = lambda folder: ("untag", "-L", folder, "family", *range(1, 150))  # noqa: E731
    Trials(nursery, tmp_path, tmp_path / "tagged", command).all_or_nothing()


def test_removing_killed_has_removed_all_or_nothing(nursery: Nursery, tmp_path: Path, whole: Path) -> None:
    command = lambda folder: ("remove", "-L", folder, *range(1, 1 + PICTURES))  # noqa: E731
    Trials(nursery, tmp_path, whole, command).all_or_nothing()


def test_reading_facts_killed_keeps_whole_pages(nursery: Nursery, tmp_path: Path, whole: Path) -> None:
    shutil.copytree(whole, tmp_path / "without")
    with closing(sqlite3.connect(tmp_path / "without" / DATABASE)) as database, database:
        database.execute("UPDATE facts SET caption = NULL")
    trials = Trials(nursery, tmp_path, tmp_path / "without", lambda folder: ("facts", "-L", folder))
    trials.page_by_page("facts")
    assert all(row[-1] for row in trials.after["facts"])


def test_importing_killed_keeps_whole_pages(nursery: Nursery, tmp_path: Path, whole: Path) -> None:
    with Library.open(whole) as library:
        export_vectors(library, tmp_path / "out.parquet")
    (tmp_path / "empty").mkdir()
    command = lambda folder: ("import", tmp_path / "out.parquet", "-L", folder, "--model", "fake")  # noqa: E731
    trials = Trials(nursery, tmp_path, tmp_path / "empty", command)
    trials.page_by_page("items")
    assert len(trials.after["items"]) == PICTURES + TEXTS - 200


def test_compacting_killed_has_thrown_out_all_or_nothing(
    nursery: Nursery, tmp_path: Path, whole: Path
) -> None:
    trials = Trials(nursery, tmp_path, whole, lambda folder: ("compact", "-L", folder))
    trials.all_or_nothing()
    assert len(trials.after["vectors"]) == len(trials.before["vectors"]) - 200
    assert trials.again() == trials.after


def test_a_backup_killed_is_whole_or_not_there_and_the_next_one_is_made(
    nursery: Nursery, tmp_path: Path, whole: Path
) -> None:
    target = tmp_path / "trial" / "backup"
    trials = Trials(nursery, tmp_path, whole, lambda folder: ("backup", "-L", folder, target), begins="")
    for _ in trials.kills():
        assert dump(trials.folder) == trials.before
        drafts = list(target.parent.glob(".backup.draft-*"))
        trials.counts["whole" if target.exists() else "half" if drafts else "nothing"] += 1
        if not target.exists():
            for path in (path for draft in drafts for path in (draft, *draft.iterdir())):
                os.utime(path, (0, 0))  # long ago, or they might be of a backup that is being made
            nursery.run("backup", "-L", trials.folder, target)
            assert not list(target.parent.glob(".backup.draft-*"))
        assert [path.name for path in target.iterdir()] == [DATABASE]
        assert dump(target) == trials.before
        assert verify(target).clean


def test_what_a_killed_backup_left_is_cleared_away_when_it_is_old(tmp_path: Path, whole: Path) -> None:
    old, young = tmp_path / ".backup.draft-1", tmp_path / ".backup.draft-2"
    for draft in (old, young):
        draft.mkdir()
        (draft / DATABASE).touch()
        os.utime(draft, (0, 0))
    os.utime(old / DATABASE, (0, 0))
    backup(whole, tmp_path / "backup")
    assert sorted(tmp_path.iterdir()) == [young, tmp_path / "backup"]


def grown(version: int, folder: Path) -> Path:
    """A library of an older format, with more in it than the one that is kept for tests."""
    folder.mkdir()
    shutil.copy(GOLDEN / f"library-version-{version}.sqlite3", folder / DATABASE)
    with closing(sqlite3.connect(folder / DATABASE)) as database, database:
        (model,) = database.execute("SELECT value FROM meta WHERE key = 'model.identity'").fetchone()
        database.execute("INSERT INTO roots (path, is_file, mount) VALUES ('added:', 1, '')")
        for number in range(6000):
            text = f"a red wall {number}"
            values = {"hash": text_hash(text), "text": text, "model": model, "path": f"added:{number}"}
            for statement in (
                "INSERT INTO contents VALUES (:hash, 0, 0, :text)",
                "INSERT INTO vectors VALUES (:hash, :model, x'003c000000000000', 'fake')",
                "INSERT INTO items (root_id, path, hash, size, modified_ns) "
                "VALUES ((SELECT max(id) FROM roots), :path, :hash, 9, 9)",
            ):
                database.execute(statement, values)
    return folder


@pytest.mark.parametrize("version", [1, 2])
def test_a_migration_killed_leaves_the_old_format_or_the_new(
    nursery: Nursery, tmp_path: Path, version: int
) -> None:
    old = grown(version, tmp_path / "old")
    trials = Trials(nursery, tmp_path, old, lambda folder: ("tag", "-L", folder, "family", 1, 2, 3))
    for seen in trials.kills():
        left = dump(trials.folder)
        assert left["version"] in ([version], [VERSION])
        assert left["version"] >= seen["version"]
        for table in ("roots", "contents", "items", "vectors"):
            assert left[table] == trials.before[table]
        assert left["version"] != [VERSION] or left["words"] == trials.after["words"] or not left["tags"]
        trials.counts[f"format {left['version'][0]}"] += 1
        assert trials.again() == trials.after


def test_readers_go_on_while_a_library_is_brought_to_a_new_format(nursery: Nursery, tmp_path: Path) -> None:
    old = grown(2, tmp_path / "old")
    with Library.open(old) as library:
        items = [(item.id, item.path) for item in library.items()]
        found = library.search("red", k=9000, kind="text")
        with pytest.raises(QueryError, match="tags"):
            search(library, "tag:family")
        nursery.run("tag", "-L", old, "family", 1, 2, 3)
        assert dump(old)["version"] == [VERSION]
        assert [(item.id, item.path) for item in library.items()] == items
        assert library.search("red", k=9000, kind="text") == found
        assert {hit.id for hit in search(library, "tag:family")} <= {1, 2, 3}


def test_the_making_of_derived_files_killed_is_made_good(
    nursery: Nursery, tmp_path: Path, whole: Path
) -> None:
    """The matrices, and the codes of approximate search."""
    shutil.copytree(whole, tmp_path / "bare")
    shutil.rmtree(tmp_path / "bare" / "derived", ignore_errors=True)
    command = lambda folder: ("index", "-L", folder)  # noqa: E731
    trials = Trials(nursery, tmp_path, tmp_path / "bare", command)
    for _ in trials.kills():
        assert dump(trials.folder) == trials.before
        made = {path.name[-5:] for path in (trials.folder / "derived").glob("[0-9]*")}
        trials.counts[f"{len(made)} made"] += 1
        with Library.open(trials.folder) as library:
            assert len(library.search("red", k=5000, kind="text")) == TEXTS - 200
        trials.again()
        codes = [path for path in (trials.folder / "derived").glob("*-text-ann") if path.name[0].isdigit()]
        assert [(path / "codes.faiss").exists() for path in codes] == [True]
