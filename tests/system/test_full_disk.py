"""Each command on a disk that is full, at every stage: what was committed is kept, and the rest can follow.

On a small file system in memory, which only the process under test sees and which ends with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from crosslens import Library, Matcher
from crosslens.maintenance.import_export import export_vectors
from crosslens.maintenance.tagging import tag

# Kilobytes that are free when a command begins, so that the disk is full at one stage after another.
_COMMANDS: tuple[str, ...] = ("index", "tag", "import", "compact", "backup", "prepare")
_STAGES: tuple[int, ...] = (0, 150, 600, 4000)
if "CROSSLENS_SOAK_KILLS" in os.environ:
    _COMMANDS += ("add", "untag", "facts", "remove")
    _STAGES = (0, 8, 20, 40, *range(60, 1600, 40), 4000)

_TRY = """
import os, shutil, sqlite3, subprocess, sys
from pathlib import Path
from crosslens import Library
from crosslens.library import vector_search
from crosslens.maintenance import tagging
from crosslens.errors import CrosslensError, LibraryFullError
from crosslens.search import ann, recall_tuning
from crosslens.store.schema import DATABASE
from crosslens.maintenance.tagging import read_facts, tag, untag
from crosslens.maintenance.import_export import import_vectors
from crosslens.maintenance.backup_and_compact import backup, compact
from crosslens.maintenance.integrity_check import verify

disk, original, source = map(Path, sys.argv[1:4])
commands, stages = sys.argv[4].split(), [int(left) for left in sys.argv[5].split()]
if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], stderr=-3).returncode:
    sys.exit("no mount")
vector_search.LEAST_ROWS = ann.LEAST_ROWS = 100
ann.FEW_ROWS, recall_tuning._ASKED_RECALL, tagging._COMMIT_EVERY = 10, 0.0, 8
library, ballast = disk / "library", disk / "ballast"

def opened(run):
    with Library.open(library, "fake") as one:
        return run(one)

def all_of(folder):
    with sqlite3.connect(folder / DATABASE) as database:
        names = ("contents", "vectors", "facts", "tags", "words")
        rows = {name: database.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in names}
        rows["items"] = database.execute("SELECT id, root_id, path, hash, size FROM items").fetchall()
    database.close()
    return rows

def found():
    vector_search.LEAST_ROWS = 10**9  # nothing is made behind the scenes
    with Library.open(library) as one:
        hits = one.search("red", k=2000, kind="text")
    vector_search.LEAST_ROWS = 100
    return len(hits)

RUN = {
    "index": lambda: opened(lambda one: one.index(source)),
    "add": lambda: opened(lambda one: one.add(texts=[f"blue {n}" for n in range(900)])),
    "tag": lambda: opened(lambda one: tag(one, list(range(1, 301)), ["family/anna", "a long tag " * 9])),
    "untag": lambda: opened(lambda one: untag(one, list(range(1, 301)), "old")),
    "facts": lambda: opened(read_facts),
    "remove": lambda: opened(lambda one: one.remove(list(range(1, 301)))),
    "import": lambda: opened(lambda one: import_vectors(one, source / "out.parquet")),
    "compact": lambda: compact(library),
    "backup": lambda: backup(library, disk / "backup"),
    "prepare": lambda: opened(lambda one: one.prepare()),
}

def renew():
    for path in (library, disk / "backup"):
        shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(original, library)

def attempt(command, left, wanted):
    renew()
    before, space = all_of(library), os.statvfs(disk)
    ballast.write_bytes(bytes(max(0, space.f_bavail * space.f_bsize - 1024 * left)))
    try:
        RUN[command]()
        outcome = "done"
    except LibraryFullError as error:
        assert "Free some" in error.remedy, error
        assert not (disk / "backup").exists()
        outcome = "full"
    assert found() > 0  # searching goes on
    ballast.unlink()
    verified, kept = verify(library), all_of(library)
    assert verified.clean, verified.findings
    if command != "remove":
        assert all(set(before[name]) <= set(kept[name]) for name in ("items", "vectors")), "lost"
    if outcome == "full":
        assert command in ("index", "import", "facts") or kept in (before, wanted), "half done"
        RUN[command]()
    assert all_of(library) == wanted, "not as undisturbed"
    assert not [path for path in library.rglob(".draft*")], "drafts"
    assert not [path for path in disk.iterdir() if path.name.startswith(".")], "drafts"
    return outcome

for command in commands:
    print(command, end=" ", flush=True)
    renew()
    RUN[command]()
    wanted = all_of(library)
    print(*(attempt(command, left, wanted) for left in stages))
"""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a library of 400 texts and 40 pictures, and sources of more."""
    folder = tmp_path_factory.mktemp("full")
    fake = Matcher("fake")
    for number in range(400):
        path = folder / ("pictures" if number < 40 else "more") / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (number % 256, number // 256, 77)).save(path)
    with Library.open(folder / "library", fake) as library:
        ids = library.add(texts=[f"red {number}" for number in range(400)])
        library.index(folder / "pictures")
        tag(library, ids, "old")
    with Library.open(folder / "other", fake) as other:
        other.add(texts=[f"white {number}" for number in range(700)])
        export_vectors(other, folder / "more" / "out.parquet")
    return folder


def test_a_disk_that_is_full_at_any_stage_loses_nothing(tmp_path: Path, original: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    arguments = [
        disk,
        original / "library",
        original / "more",
        " ".join(_COMMANDS),
        " ".join(map(str, _STAGES)),
    ]
    started = ["unshare", "--mount", sys.executable, "-W", "ignore", "-c", _TRY, *map(str, arguments)]
    done = subprocess.run(started, capture_output=True, text=True, timeout=1200, check=False)
    if "no mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip("file systems may not be mounted here")
    print(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    outcomes = {command: outcomes for command, *outcomes in map(str.split, done.stdout.splitlines())}
    assert tuple(outcomes) == _COMMANDS
    for command, outcome in outcomes.items():
        assert outcome[-1] == "done"
        assert outcome[0] == ("done" if command == "prepare" else "full")
