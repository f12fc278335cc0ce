"""One process writes all that can be, three read meanwhile: no error, nothing torn, nothing left open.

The fake model's scores can be worked out, so each result tells whether its vector is its item's. `make test`
takes seconds, `make soak` a minute.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from crosslens import Library, Matcher
from crosslens.maintenance import derived_files
from crosslens.maintenance.integrity_check import verify
from crosslens.towers.fake_model import COLOURS

SECONDS = float(os.environ.get("CROSSLENS_SOAK_SECONDS", "3"))

# "red 17" is like "red", a picture that is called blue-3.png is blue: what an item is like it says itself.
_COMMON = """
import os, random, sys, time
from pathlib import Path
import numpy as np
from PIL import Image
from crosslens import Library
from crosslens.library.query_search import search as find
from crosslens.maintenance.tagging import tag, tags_of, untag
from crosslens.towers.fake_model import COLOURS
from crosslens.maintenance.backup_and_compact import backup, compact
from crosslens.maintenance.integrity_check import verify

folder, pictures, until = Path(sys.argv[1]), Path(sys.argv[2]), time.monotonic() + float(sys.argv[3])
names = [name for name in COLOURS if name != "black"]
chance = random.Random(int(sys.argv[4]))

def paint(path, colour):
    Image.new("RGB", (8, 8), tuple(int(255 * part) for part in COLOURS[colour])).save(path)
"""

_WRITE = """
def replace():
    paint(pictures / "changing.png", chance.choice(names))
    library.index(pictures)

def grow():
    paint(pictures / f"{chance.choice(names)}-{chance.randrange(20)}.png", "black")
    for path in pictures.glob("*-*.png"):
        paint(path, path.stem.partition("-")[0])
    library.index(pictures)

def shrink():
    for path in list(pictures.glob("*-*.png"))[:5]:
        path.unlink()
    library.index(pictures)

def add():
    texts = [f"{chance.choice(names)} {chance.randrange(10**6)}" for _ in range(20)]
    library.add(texts=texts, names=[f"name {chance.randrange(200)} {n}" for n in range(20)])

def remove():
    ids = [item.id for item in library.items() if item.text]
    library.remove(chance.sample(ids, len(ids) // 2)) if len(ids) > 100 else add()

def label():
    ids = [item.id for item in library.items()]
    some = chance.sample(ids, min(10, len(ids)))
    tag(library, some, ["even", "odd/one"])
    untag(library, some[:5], "even")

done = {step: 0 for step in (replace, grow, shrink, add, remove, label, compact)}
with Library.open(folder, "fake") as library:
    while time.monotonic() < until:
        step = chance.choice([*done, add, add])
        step(folder) if step is compact else step()
        done[step] += 1
        if not sum(done.values()) % 5:
            library.prepare()
print(*(f"{step.__name__} {count}" for step, count in done.items()), sep=", ")
"""

_READ = """
def wanted(colour, asked):
    one, two = ([*COLOURS[name], 1 - max(COLOURS[name])] for name in (colour, asked))
    return np.dot(one, two) / np.linalg.norm(one) / np.linalg.norm(two)

def search():
    asked, kind = chance.choice(names), chance.choice(["image", "text"])
    hits = library.search(asked, k=chance.choice([5, 500]), kind=kind)
    assert len({hit.id for hit in hits}) == len(hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    for hit in hits:
        name = Path(hit.path).name
        if name != "changing.png":
            colour = hit.text.split()[0] if hit.text else name.partition("-")[0]
            assert abs(hit.score - wanted(colour, asked)) < 0.01, (hit, asked)

def words():
    hits = find(library, chance.choice(['"red"', "tag:even red", "-tag:odd blue", "tag:even"]))
    assert len({hit.id for hit in hits}) == len(hits)

def numbers():
    stats = library.stats()
    assert 0 < stats.items

def listing():
    paths = [item.path for item in library.items()]
    assert len(set(paths)) == len(paths)
    for item in list(library.items())[:3]:
        tags_of(library, item.id)

def whole():
    found = verify(folder)
    assert found.clean, found.findings

def open_files():
    return len(os.listdir("/proc/self/fd"))

done = {step: 0 for step in (search, words, numbers, listing, whole)}
with Library.open(folder) as library:
    for step in done:
        step()
    before = open_files()
    while time.monotonic() < until:
        step = chance.choice(list(done))
        step()
        done[step] += 1
    for step in done:
        step()
    # A matrix that was built is mapped from two files later.
    assert open_files() <= before + 4, os.popen(f"ls -l /proc/{os.getpid()}/fd").read()
with Library.open(folder) as library:
    pass
print(*(f"{step.__name__} {count}" for step, count in done.items()), sep=", ")
"""


def test_readers_see_nothing_torn_while_another_process_writes_all_that_can_be_written(
    tmp_path: Path, fake: Matcher
) -> None:
    folder, pictures = tmp_path / "library", tmp_path / "pictures"
    pictures.mkdir()
    for name, parts in COLOURS.items():
        shade = tuple(int(255 * part) for part in parts)
        Image.new("RGB", (8, 8), shade).save(pictures / f"{name}-0.png")
    Image.new("RGB", (8, 8), "red").save(pictures / "changing.png")
    with Library.open(folder, fake) as library:
        library.index(pictures)
        library.add(texts=[f"{name} {number}" for name in COLOURS for number in range(20)])
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _COMMON + code, folder, pictures, str(SECONDS), str(seed)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed, code in enumerate((_WRITE, _READ, _READ, _READ))
    ]
    ended = [process.communicate(timeout=SECONDS + 60) for process in processes]
    for printed, said in ended:
        print(printed, said, end="")
    assert [said for _, said in ended] == [""] * 4
    assert [process.returncode for process in processes] == [0] * 4
    assert verify(folder).clean


def test_a_derived_folder_that_is_replaced_while_it_is_checked_is_no_finding(
    tmp_path: Path, fake: Matcher, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Library.open(tmp_path / "library", fake) as library:
        library.index(pictures)
    [folder] = (tmp_path / "library" / "derived").iterdir()
    look = derived_files._wrong_files

    def look_while_it_is_replaced(path: Path) -> list[str]:
        shutil.copytree(path, tmp_path / "new")
        shutil.rmtree(path)
        wrong = look(path)
        (tmp_path / "new").rename(path)
        return wrong

    monkeypatch.setattr(derived_files, "_wrong_files", look_while_it_is_replaced)
    assert verify(tmp_path / "library").clean
    monkeypatch.undo()
    (folder / "ids.npy").unlink()
    assert not verify(tmp_path / "library").clean


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_a_library_that_is_opened_written_searched_and_closed_leaves_no_file_open(
    tmp_path: Path, fake: Matcher, pictures: Path
) -> None:
    def use() -> int:
        with Library.open(tmp_path / "library", fake) as library:
            library.index(pictures)
            library.add(texts=f"red {len(os.listdir(tmp_path))}")
            library.search("red")
            library.search("red", kind="text")
            list(library.items())
            library.stats()
        assert verify(tmp_path / "library").clean
        return len(os.listdir("/proc/self/fd"))

    first = [use() for _ in range(3)][-1]
    assert [use() for _ in range(10)][-1] <= first
