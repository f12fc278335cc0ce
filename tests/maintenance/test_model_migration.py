"""Changing a library over to another model: encoded beside the old one, which serves until the switch."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from PIL import Image

from bundles import write_bundle
from crosslens import Library, Matcher, Progress
from crosslens.cli.app import main
from crosslens.errors import (
    InputError,
    LibraryBusyError,
    LibraryFullError,
    LibraryModelError,
    LibraryNotFoundError,
    QueryError,
)
from crosslens.library.query_search import search
from crosslens.maintenance.backup_and_compact import backup, compact, verify_deep
from crosslens.maintenance.import_export import export_vectors, import_vectors
from crosslens.maintenance.integrity_check import Verification, verify
from crosslens.maintenance.migration_comparison import Comparison, Overlap
from crosslens.maintenance.model_migration import Migration, Plan, Watcher, abandon, migrate
from crosslens.store import migration_target, schema
from crosslens.store.ann_files import Codes, CodesPlace
from crosslens.store.database import Catalog
from crosslens.store.locks import migration_lock, writer_lock
from crosslens.store.schema import DATABASE, VERSION
from turned import Mistaken, Turned, open_named

GOLDEN = Path(__file__).parents[1] / "golden"
KILLS = int(os.environ.get("CROSSLENS_SOAK_KILLS", "10"))
MANY = 300
NOW = Watcher()


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The models of tests/turned.py are found by their names."""
    monkeypatch.setattr("crosslens.matching.matcher.open_model", open_named)
    monkeypatch.setattr("crosslens.maintenance.model_migration._PROGRESS_SECONDS", 0)


@pytest.fixture
def turned() -> Matcher:
    return Matcher("turned")


@pytest.fixture
def folder(tmp_path: Path, pictures: Path) -> Path:
    """A closed library of the fake model: four colours in a folder, two texts."""
    with Library.open(tmp_path / "library", "fake") as library:
        library.index(pictures)
        library.add(texts=["a red wall", "the blue sea"], names=["wall", "sea"])
    return tmp_path / "library"


def found(folder: Path, text: str = "red", model: Any = None, **options: Any) -> list[str]:
    """Names of what a search finds that a process begins now, the best first."""
    with Library.open(folder, model) as library:
        return [Path(hit.path).name for hit in library.search(text, k=1000, **options)]


def serving(folder: Path) -> str:
    with closing(Catalog(folder)) as catalog:
        models = migration_target.models_of(catalog)
    assert models.serving is not None
    return Path(models.serving.name).name + (f" → {Path(models.target.name).name}" if models.target else "")


def vectors(folder: Path, spec: str) -> dict[bytes, bytes]:
    with closing(sqlite3.connect(f"file:{folder / DATABASE}?mode=ro", uri=True, timeout=10)) as database:
        return dict(database.execute("SELECT hash, vector FROM vectors WHERE model = ?", (spec,)).fetchall())


def stamp_of(folder: Path, model: str | None = None) -> tuple[str, int]:
    with closing(Catalog(folder)) as catalog:
        return catalog.stamp(model)


def items(folder: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"file:{folder / DATABASE}?mode=ro", uri=True, timeout=10)) as database:
        return database.execute("SELECT * FROM items ORDER BY id").fetchall()


def clean(folder: Path) -> Verification:
    checked = verify(folder)
    assert checked.clean, checked.findings
    return checked


FAKE, TURNED = Matcher("fake").spec.identity, Turned.spec.identity
ORDER = ["red.png", "yellow.png", "blue.png", "green.png"]


# -- the whole way --------------------------------------------------------------------------------


def test_a_library_is_encoded_anew_and_switched(folder: Path, turned: Matcher) -> None:
    before, old, stamp = items(folder), vectors(folder, FAKE), stamp_of(folder)
    done = migrate(folder, turned)
    assert stamp_of(folder)[1] == stamp[1] + 1
    assert (done.state, done.pictures, done.texts, done.failures) == ("switched", 4, 2, ())
    assert (done.model, done.previous) == (turned.reference, "fake")
    assert serving(folder) == "turned"
    assert items(folder) == before
    assert vectors(folder, FAKE) == old
    assert vectors(folder, TURNED).keys() == old.keys()
    assert found(folder) == ORDER
    assert found(folder, kind="text") == ["added:wall", "added:sea"]
    assert clean(folder).checked["vectors"] == 12
    with Library.open(folder) as library:
        assert library.matcher.spec.name == "turned"
        assert verify_deep(library).clean
        assert library.index().encoded == 0


def test_while_it_is_under_way_both_can_be_searched_and_the_old_one_serves(
    folder: Path, turned: Matcher
) -> None:
    with Library.open(folder) as before:
        done = migrate(folder, turned, Plan(switch=False))
        assert done.state == "ready"
        assert serving(folder) == "fake → turned"
        assert before.search("red")[0].path.endswith("red.png")
    assert found(folder) == found(folder, model="fake") == found(folder, model="turned") == ORDER
    assert clean(folder).checked["derived folders"] >= 2
    with Library.open(folder, "turned") as new, Library.open(folder, "fake") as old:
        assert (new.matcher.spec.name, old.matcher.spec.name) == ("turned", "fake")
        blue, turned_blue = (one.matrix("image").index.reconstruct(0).tolist() for one in (old, new))
        assert (blue, turned_blue) == ([0, 0, 1, 0], [0, 1, 0, 0])
        assert (new.stats().model, old.stats().model) == (turned.reference, "fake")
        with pytest.raises(LibraryModelError, match="not with 'turned'"):
            new.index()
    assert migrate(folder, turned).state == "switched"


def test_what_is_encoded_can_be_found_at_once(folder: Path, turned: Matcher) -> None:
    seen: list[int] = []

    def look(_progress: Progress) -> None:
        if serving(folder) == "fake → turned":
            seen.append(len(found(folder, model="turned")))
            assert found(folder) == ORDER
            clean(folder)

    migrate(folder, turned, watcher=Watcher(look))
    assert seen[0] == 0
    assert seen[-1] == 4
    assert seen == sorted(seen)


def test_vectors_of_the_new_model_leave_what_was_derived_for_the_old_one(
    folder: Path, turned: Matcher
) -> None:
    with Library.open(folder) as library:
        library.search("red")
        stamp, matrix = library.database.stamp(), library.matrix("image")
        migrate(folder, turned, Plan(switch=False))
        assert library.database.stamp() == stamp
        assert library.matrix("image") is matrix
        new = library.database.stamp(TURNED)
        assert new != stamp
        library.add(texts="green")
        migrate(folder, turned, Plan(switch=False))
        assert library.database.stamp(TURNED) not in (new, stamp)


def test_codes_for_approximate_search_of_both_models_lie_beside_each_other(
    folder: Path, turned: Matcher
) -> None:
    migrate(folder, turned, Plan(switch=False))
    index = faiss.IndexFlat(4)
    codes = Codes(index, np.empty(0, np.uint64), {})
    with Library.open(folder) as old, Library.open(folder, "turned") as new:
        catalog = old.database
        kept = {}
        for view in (old.view(), new.view()):
            place, stamp = CodesPlace(folder, view.record, "image"), catalog.stamp(view.record.identity)
            place.save(stamp, codes)
            kept[view.record.identity] = (place, stamp)
        for library in (old, new):
            library.search("red")
        assert all(place.load(stamp) for place, stamp in kept.values())
        assert clean(folder).checked["derived folders"] == 6  # texts, too
        with closing(Catalog(folder, create=True)) as writing:
            target = migration_target.models_of(writing).target
            assert target is not None
            migration_target.keep_vectors(writing, target, [], "fake f32")
        new.search("red")
        assert len(list((folder / "derived").glob(f"*-{TURNED[:12]}.*"))) == 2  # the matrix of now, the codes
        place, stamp = CodesPlace(folder, new.view().record, "image"), catalog.stamp(TURNED)
        assert place.folder(stamp) != place.folder(kept[TURNED][1])
        place.save(stamp, codes)
        assert len(list((folder / "derived").glob(f"*-{TURNED[:12]}.*"))) == 2
        assert kept[TURNED][0].load(kept[TURNED][1]) is None
        assert kept[FAKE][0].load(kept[FAKE][1]) is not None
        assert catalog.stamp(FAKE) == kept[FAKE][1]
        assert catalog.stamp(TURNED) != kept[TURNED][1]


def test_migrating_back_encodes_nothing(folder: Path, turned: Matcher, fake: Matcher) -> None:
    migrate(folder, turned)
    back = migrate(folder, fake)
    assert (back.state, back.pictures, back.texts) == ("switched", 0, 0)
    assert serving(folder) == "fake"
    assert found(folder) == ORDER
    clean(folder)


def test_the_model_that_serves_already_is_no_migration(folder: Path, fake: Matcher) -> None:
    assert migrate(folder, fake) == Migration("unchanged", "fake", "fake")
    assert serving(folder) == "fake"


def test_a_library_that_is_not_there_is_not_made(tmp_path: Path, turned: Matcher) -> None:
    for act in (lambda: migrate(tmp_path / "none", turned), lambda: abandon(tmp_path / "none")):
        with pytest.raises(LibraryNotFoundError):
            act()
    assert not (tmp_path / "none").exists()


def test_another_migration_is_refused_until_the_first_ends(folder: Path, turned: Matcher) -> None:
    migrate(folder, turned, Plan(switch=False))
    with pytest.raises(LibraryModelError, match=r"being migrated to '.*turned', not to 'mistaken'"):
        migrate(folder, Matcher(Mistaken()))
    with pytest.raises(LibraryModelError, match="being migrated to"):
        migrate(folder, Matcher("fake"), Plan())
    abandon(folder)
    assert migrate(folder, Matcher("mistaken")).state == "switched"


def test_two_processes_do_not_migrate_at_once(folder: Path, turned: Matcher) -> None:
    with migration_lock(folder):
        for act in (lambda: migrate(folder, turned), lambda: abandon(folder)):
            with pytest.raises(
                LibraryBusyError, match=rf"being migrated by another process \(pid {os.getpid()}\)"
            ):
                act()


def test_giving_up_throws_out_the_new_vectors_and_nothing_else(folder: Path, turned: Matcher) -> None:
    before, old = items(folder), vectors(folder, FAKE)
    migrate(folder, turned, Plan(switch=False))
    stamp = stamp_of(folder, TURNED)
    with Library.open(folder, "turned") as new:
        assert len(new.search("red")) == 4
        assert abandon(folder) == (turned.reference, 6)
        with pytest.raises(LibraryModelError, match="was made with model 'fake'"):
            new.search("red")
    assert abandon(folder) is None
    assert (items(folder), vectors(folder, FAKE), vectors(folder, TURNED)) == (before, old, {})
    assert serving(folder) == "fake"
    assert found(folder) == ORDER
    clean(folder)
    migrate(folder, turned, Plan(switch=False))
    assert stamp_of(folder, TURNED) != stamp  # or what was derived from the old ones would be taken
    assert found(folder, model="turned") == ORDER


def test_a_migration_that_is_given_up_elsewhere_ends(folder: Path, turned: Matcher) -> None:
    def give_up(_progress: Progress) -> None:
        with closing(Catalog(folder, create=True)) as catalog:
            migration_target.abandon(catalog)

    with pytest.raises(LibraryModelError, match=r"not being migrated to .* any more"):
        migrate(folder, turned, watcher=Watcher(give_up))
    assert vectors(folder, TURNED) == {}
    clean(folder)


def test_compact_keeps_the_old_vectors_until_it_is_told_to(
    folder: Path, turned: Matcher, fake: Matcher
) -> None:
    migrate(folder, turned, Plan(switch=False))
    done = compact(folder, other_models=True)
    assert (done.other_models, done.kept) == (0, 0)  # both are in use
    migrate(folder, turned)
    assert compact(folder).kept == 6
    done = compact(folder, other_models=True)
    assert (done.other_models, done.kept) == (6, 0)
    assert found(folder) == ORDER
    clean(folder)
    assert migrate(folder, fake).pictures == 4


def test_vectors_of_the_new_model_are_checked_too(folder: Path, turned: Matcher) -> None:
    migrate(folder, turned, Plan(switch=False))
    for blob, what in (("x'00'", "1 bytes, wanted 8"), ("zeroblob(8)", "has length 0")):
        with closing(sqlite3.connect(folder / DATABASE)) as database, database:
            database.execute(f"UPDATE vectors SET vector = {blob} WHERE model = '{TURNED}' AND rowid = 7")
        assert what in verify(folder).findings[0].what
    with closing(sqlite3.connect(folder / DATABASE)) as database, database:
        database.execute("UPDATE meta SET value = 'x' WHERE key = 'target.identity'")
    assert any("the model migrated to is 'x'" in finding.what for finding in verify(folder).findings)


def test_a_vector_that_is_lost_is_damage_whatever_other_models_have(folder: Path, turned: Matcher) -> None:
    migrate(folder, turned, Plan(switch=False))
    with closing(sqlite3.connect(folder / DATABASE)) as database, database:
        database.execute("DELETE FROM vectors WHERE model = ? AND rowid = 1", (FAKE,))
    assert verify(folder).findings[0].what == "item 1: it has no vector"


def test_the_vector_of_a_content_that_was_thrown_out_is_passed_over(folder: Path, turned: Matcher) -> None:
    migrate(folder, turned, Plan(switch=False))
    with closing(Catalog(folder, create=True)) as catalog:
        target = migration_target.models_of(catalog).target
        assert target is not None
        migration_target.keep_vectors(catalog, target, [(b"gone", np.ones(4, np.float32) / 2)], "fake f32")
    assert len(vectors(folder, TURNED)) == 6
    clean(folder)


def test_a_changed_vector_of_the_new_model_is_not_that_of_its_matrix(folder: Path, turned: Matcher) -> None:
    migrate(folder, turned, Plan(switch=False))
    found(folder, model="turned")
    clean(folder)
    with closing(sqlite3.connect(folder / DATABASE)) as database, database:
        query = "UPDATE vectors SET vector = x'003c000000000000' WHERE model = ? AND rowid = 7"
        database.execute(query, (TURNED,))
    assert "not the one that was written" in verify(folder).findings[0].what


# -- a real model ---------------------------------------------------------------------------------


def test_models_of_other_widths(folder: Path, tmp_path: Path) -> None:
    write_bundle(tmp_path / "tiny", "clip")
    tiny = Matcher(tmp_path / "tiny", precision="f32")
    migrate(folder, tiny, Plan(switch=False))
    with Library.open(folder, tiny) as new:
        assert new.search(image=tmp_path / "pictures" / "blue.png", k=1)[0].score == pytest.approx(
            1, abs=0.01
        )
        assert new.matrix("image").index.d == 16
    assert found(folder) == ORDER
    clean(folder)
    done = migrate(folder, tiny)
    assert done.comparison is not None
    assert found(folder, "a red dog") != []
    with Library.open(folder) as library:
        assert (library.stats().dimension, library.matcher.reference) == (16, str(tmp_path / "tiny"))
    clean(folder)


# -- what indexes meanwhile -----------------------------------------------------------------------


def test_indexing_goes_on_meanwhile_and_what_it_brings_is_caught_up(
    folder: Path, turned: Matcher, paint: Callable[..., Path]
) -> None:
    more = iter(("magenta", "cyan", "white"))

    def index(_progress: Progress) -> None:
        colour = next(more, None)
        if colour and serving(folder) == "fake → turned":
            paint(f"{colour}.png")
            with Library.open(folder) as library:
                assert library.index().added == 1
                library.add(texts=f"a {colour} wall")

    done = migrate(folder, turned, watcher=Watcher(index))
    assert (done.state, done.pictures, done.texts) == ("switched", 7, 5)
    assert len(found(folder)) == 7
    clean(folder)


def test_the_switch_waits_for_whoever_writes_and_catches_up_what_it_wrote(
    folder: Path, turned: Matcher, paint: Callable[..., Path]
) -> None:
    waits: list[str] = []
    hold = threading.Event()
    held = threading.Event()

    def write() -> None:
        with Library.open(folder) as library, library.writing() as catalog:
            held.set()
            assert hold.wait(30)
            from crosslens.library.in_memory_items import add_texts

            add_texts(catalog, library.matcher, ["a green lawn"], ["lawn"])

    writer = threading.Thread(target=write)
    writer.start()
    assert held.wait(30)

    def wait(what: str) -> None:
        assert serving(folder) == "fake → turned"
        waits.append(what)
        hold.set()

    done = migrate(folder, turned, watcher=Watcher(on_wait=wait))
    writer.join()
    assert (done.state, done.texts) == ("switched", 3)
    assert f"(pid {os.getpid()})" in waits[0]
    assert len(found(folder, kind="text")) == 3
    clean(folder)


def test_two_processes_one_that_indexes_and_one_that_migrates(many: Path, tmp_path: Path) -> None:
    folder, more = tmp_path / "library", tmp_path / "more"
    shutil.copytree(many / "library", folder)
    more.mkdir()
    for number in range(MANY):
        Image.new("RGB", (40, 40), (number % 256, 7, number // 2)).save(more / f"{number}.png")
    with (
        start(folder) as migrating,
        in_tests(_COMMAND, "index", "-L", folder, more) as indexing,
    ):
        said = migrating.communicate(timeout=60), indexing.communicate(timeout=60)
    assert (migrating.returncode, indexing.returncode) == (0, 0), said
    assert serving(folder) == "turned"
    assert len(found(folder)) == 2 * MANY
    clean(folder)
    with Library.open(folder) as library:
        assert library.index(more).encoded == 0


def test_what_is_removed_meanwhile_is_no_hindrance(folder: Path, turned: Matcher, pictures: Path) -> None:
    calls = []

    def remove(_progress: Progress) -> None:
        calls.append(1)
        if len(calls) == 1:
            with Library.open(folder) as library:
                library.remove([pictures / "red.png", "added:sea"])
            compact(folder)

    done = migrate(folder, turned, watcher=Watcher(remove))
    assert (done.state, done.pictures + done.texts) == ("switched", 4)
    assert found(folder) == ORDER[1:]
    clean(folder)


# -- readers --------------------------------------------------------------------------------------

COLOURS = ("red", "green", "blue", "yellow")


def answers(library: Library) -> list[list[tuple[str, float]]]:
    """What searches of every kind find; the same by either model. Mixed, red would be blue."""
    found = []
    for colour in COLOURS:
        hits = library.search(colour, k=99)
        assert (Path(hits[0].path).stem, round(hits[0].score, 2)) == (colour, 1.0)
        found += [
            hits,
            search(library, f"~#{hits[0].id} {colour}", k=99),
            search(library, f"{colour} -white -blue", k=99),
            *library.search_many([colour, "cyan"], k=99),
        ]
    return [[(Path(hit.path).stem, round(hit.score, 2)) for hit in hits] for hits in found]


_READ = """
import sys
import turned
turned.install()
from crosslens import Library
from test_model_migration import answers
with Library.open(sys.argv[1]) as library:
    wanted, seen = answers(library), ["fake"]
    print("ready", flush=True)
    while seen[-5:] != ["turned"] * 5:
        assert answers(library) == wanted
        seen.append(library.matcher.spec.name)
        with Library.open(sys.argv[1]) as fresh:
            assert answers(fresh) == wanted
print(len(seen), *[name for name, last in zip(seen, ["", *seen]) if name != last])
"""


def in_tests(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Code in a process of its own that can import what lies beside this file."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, Path(__file__).parents[:2]))}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, **options)  # fmt: skip


def test_a_reader_in_another_process_sees_one_model_and_then_the_other(folder: Path, turned: Matcher) -> None:
    reader = in_tests(_READ, folder)
    assert reader.stdout is not None
    assert reader.stdout.readline() == "ready\n"

    def slowly(_progress: Progress) -> None:
        time.sleep(0.1)

    migrate(folder, turned, watcher=Watcher(slowly))
    out, err = reader.communicate(timeout=60)
    assert reader.returncode == 0, err
    assert out.split()[1:] == ["fake", "turned"], out


def test_searches_that_a_switch_falls_into_are_of_one_model(folder: Path, turned: Matcher) -> None:
    """Some threads search by one open library while it goes to and fro between the models."""
    stop, failed, seen = threading.Event(), [], Counter[str]()

    def read(library: Library) -> None:
        try:
            while not stop.is_set():
                assert answers(library) == wanted
                seen[library.matcher.spec.name] += 1
        except BaseException as error:
            failed.append(error)

    with Library.open(folder) as library:
        wanted = answers(library)
        threads = [threading.Thread(target=read, args=(library,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        states = [migrate(folder, model).state for _ in range(8) for model in (turned, Matcher("fake"))]
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed, failed
    assert set(states) == {"switched"}
    assert min(seen["fake"], seen["turned"]) > 0, seen


def test_a_library_opened_with_a_certain_model_says_that_it_is_gone(folder: Path, turned: Matcher) -> None:
    with Library.open(folder, "fake") as library:
        library.search("red")
        migrate(folder, turned)
        with pytest.raises(LibraryModelError, match="turned") as raised:
            library.search("red")
        assert raised.value.remedy.startswith("Leave the model out")


def test_an_import_that_a_switch_falls_into_is_refused(
    folder: Path, turned: Matcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Library.open(folder) as library:
        export_vectors(library, tmp_path / "out.parquet")
        check = import_vectors.__globals__["_check_rows"]

        def late(*arguments: Any) -> int:
            migrate(folder, turned)
            return int(check(*arguments))

        monkeypatch.setitem(import_vectors.__globals__, "_check_rows", late)
        with pytest.raises(LibraryModelError):
            import_vectors(library, tmp_path / "out.parquet")
    clean(folder)


# -- interrupted ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in two folders, every tenth a copy of another, beside a library of them and some texts."""
    folder = tmp_path_factory.mktemp("migrated")
    for number in range(MANY):
        shade = number - 1 if number % 10 == 9 else number
        path = folder / "pictures" / ("a" if number % 3 else "b") / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (160, 160), (shade % 256, shade // 4, 255 - shade % 200)).save(path)
    with Library.open(folder / "library", "fake") as library:
        library.index(folder / "pictures")
        library.add(texts=[f"red {number}" for number in range(700)])
    return folder


_COMMAND = """
import turned
turned.install()
from crosslens.cli import run
run()
"""


def start(folder: Path) -> subprocess.Popen[str]:
    return in_tests(_COMMAND, "migrate", "-L", folder, "--model", "turned")


def until_it_migrates(process: subprocess.Popen[str], folder: Path) -> None:
    until = time.monotonic() + 60
    while not (folder / "migration.pid").exists() and process.poll() is None:
        assert time.monotonic() < until, "it never began"
        time.sleep(0.0005)


@pytest.fixture(scope="session")
def undisturbed(many: Path) -> tuple[dict[bytes, bytes], float]:
    """The new vectors that a run ends with that nothing disturbs, and how many seconds it takes."""
    folder = many / "undisturbed"
    shutil.copytree(many / "library", folder)
    with start(folder) as process:
        until_it_migrates(process, folder)
        began = time.monotonic()
        assert process.wait() == 0, process.stderr and process.stderr.read()
    return vectors(folder, TURNED), time.monotonic() - began


def test_killed_at_random_moments_a_migration_loses_nothing_and_goes_on(
    many: Path, tmp_path: Path, undisturbed: tuple[dict[bytes, bytes], float]
) -> None:
    wanted, seconds = undisturbed
    before, old = items(many / "library"), vectors(many / "library", FAKE)
    assert wanted.keys() == old.keys()
    counts: Counter[str] = Counter()
    while counts["kills"] < KILLS:
        counts["libraries"] += 1
        folder = tmp_path / f"library{counts['libraries']}"
        shutil.copytree(many / "library", folder)
        for _ in range(4):
            if counts["kills"] == KILLS or not kill_once(folder, seconds, wanted, counts):
                break
            assert (items(folder), vectors(folder, FAKE)) == (before, old)
        with start(folder) as process:
            assert process.wait() == 0, process.stderr and process.stderr.read()
        assert (items(folder), vectors(folder, FAKE), vectors(folder, TURNED)) == (before, old, wanted)
        assert serving(folder) == "turned"
        assert len(found(folder, "blue", kind="image")) == MANY
        clean(folder)
    print(f"{dict(counts)}; an undisturbed run takes {seconds:.2f} s")


def kill_once(folder: Path, seconds: float, wanted: dict[bytes, bytes], counts: Counter[str]) -> bool:
    """Kill one run and look at what is left. False: it had ended by itself."""
    with start(folder) as process:
        until_it_migrates(process, folder)
        time.sleep(random.uniform(0, 1.1 * seconds))  # noqa: S311
        committed = vectors(folder, TURNED)  # seen by another process
        process.kill()
    if process.returncode != -signal.SIGKILL:
        counts["ended before"] += 1
        return False
    left = vectors(folder, TURNED)
    assert committed.items() <= left.items() <= wanted.items()
    clean(folder)
    state = serving(folder)
    assert len(found(folder, "blue", kind="image")) == MANY
    assert state in ("fake", "fake → turned") or (state == "turned" and left == wanted)
    if "→" in state:
        assert len(found(folder, "blue", model="turned", kind="image")) <= MANY
    counts["kills"] += 1
    stage = "encoded" if left == wanted else "between batches" if left else "before the first batch"
    counts["switched" if state == "turned" else stage] += 1
    return True


def test_ctrl_c_and_sigterm_keep_what_is_encoded(
    many: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        folder = tmp_path / str(status)
        shutil.copytree(many / "library", folder)
        with start(folder) as process:
            until = time.monotonic() + 60
            while not vectors(folder, TURNED):
                assert time.monotonic() < until
                time.sleep(0.001)
            process.send_signal(number)
            assert process.stderr is not None
            said = process.stderr.read()
        if serving(folder) == "fake → turned":  # it was not done before the signal came
            assert process.returncode == status, said
            assert "interrupted: " in said
            assert "the same command goes on from there" in said
        clean(folder)
        assert migrate(folder, Matcher("turned")).state in ("switched", "unchanged")


def test_an_interrupted_run_goes_on_where_it_was(many: Path, tmp_path: Path, turned: Matcher) -> None:
    folder = tmp_path / "library"
    shutil.copytree(many / "library", folder)

    def interrupt(progress: Progress) -> None:
        if progress.done >= 128:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        migrate(folder, turned, watcher=Watcher(interrupt))
    assert len(vectors(folder, TURNED)) == 128
    with Library.open(folder) as library:
        stats = library.stats()
    assert stats.migrating is not None
    assert (stats.migrating.encoded, stats.contents, stats.waiting) == (128, 970, 0)
    done = migrate(folder, turned)
    assert (done.state, done.pictures, done.texts) == ("switched", 270 - 128, 700)


def test_a_disk_that_fills_up_loses_nothing(
    many: Path, tmp_path: Path, turned: Matcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "library"
    shutil.copytree(many / "library", folder)
    before, old = items(folder), vectors(folder, FAKE)
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        (pages,) = database.execute("PRAGMA page_count").fetchone()
    connect = schema.connect

    def limited(path: Path, mode: str) -> sqlite3.Connection:
        connection = connect(path, mode)
        connection.execute(f"PRAGMA max_page_count = {pages + 8}")
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(schema, "connect", limited)
        with pytest.raises(LibraryFullError, match="run the same command again"):
            migrate(folder, turned)
    assert (items(folder), vectors(folder, FAKE)) == (before, old)
    kept = len(vectors(folder, TURNED))
    assert 0 < kept < len(old)
    assert serving(folder) == "fake → turned"
    assert len(found(folder)) == MANY
    clean(folder)
    done = migrate(folder, turned)
    assert (done.state, done.pictures + done.texts) == ("switched", len(old) - kept)


# -- files that are not there ---------------------------------------------------------------------


@pytest.fixture
def apart(folder: Path, paint: Callable[..., Path], tmp_path: Path) -> Path:
    """The library with another folder of two pictures, one a copy of red.png, that is gone; and one added."""
    paint("../disk/magenta.png")
    paint("../disk/copy.png", "red")
    with Library.open(folder) as library:
        library.index(tmp_path / "disk")
        library.add(images=[Image.new("RGB", (9, 9), (0, 255, 255))], names=["cyan"])
    (tmp_path / "disk").rename(tmp_path / "unplugged")
    return folder


def test_items_that_cannot_be_encoded_are_named_and_the_switch_is_refused(
    apart: Path, turned: Matcher
) -> None:
    for _ in range(2):
        done = migrate(apart, turned)
        assert done.state == "refused"
        reasons = {Path(failure.path).name: failure.reason for failure in done.failures}
        assert reasons.keys() == {"magenta.png", "added:cyan"}
        assert "no file" in reasons["added:cyan"]
        assert serving(apart) == "fake → turned"
        assert len(found(apart)) == 7
        assert "items waiting for their files" not in clean(apart).checked


def test_items_left_out_wait_for_their_files(apart: Path, turned: Matcher, tmp_path: Path) -> None:
    before = items(apart)
    done = migrate(apart, turned, Plan(leave_out=True))
    assert (done.state, len(done.failures)) == ("switched", 2)
    assert items(apart) == before
    assert clean(apart).checked["items waiting for their files"] == 2
    with Library.open(apart) as library:
        assert library.stats().waiting == 2
        assert len(list(library.items())) == 9
        assert {Path(hit.path).name for hit in library.search("red", k=99)} == {*ORDER, "copy.png"}
        assert len(search(library, "kind:image", k=99)) == 7  # filters alone
        assert len(search(library, 'a "wall"', k=99, kind="text")) == 2
        [waiting] = [hit.id for hit in library.items() if hit.path.endswith("magenta.png")]
        with pytest.raises(QueryError, match=f"item {waiting} has no vector of this model yet"):
            search(library, f"~#{waiting}")
        assert library.index().encoded == 0
        assert verify_deep(library).clean
    assert export_and_count(apart, tmp_path) == (7, 2)
    assert backup(apart, tmp_path / "backup").items == 9
    assert clean(tmp_path / "backup").checked["items waiting for their files"] == 2
    assert compact(apart, other_models=True).other_models == 6  # but for those that have no other
    assert clean(apart).checked["items waiting for their files"] == 2


def export_and_count(folder: Path, tmp_path: Path) -> tuple[int, int]:
    with Library.open(folder) as library:
        done = export_vectors(library, tmp_path / "out.parquet")
    return done.items, done.waiting


def test_index_encodes_what_was_left_out_when_its_file_is_there_again(
    apart: Path, turned: Matcher, tmp_path: Path
) -> None:
    migrate(apart, turned, Plan(leave_out=True))
    (tmp_path / "unplugged").rename(tmp_path / "disk")
    with Library.open(apart) as library:
        report = library.index()
        assert (report.encoded, report.added, report.changed, report.removed) == (1, 0, 0, 0)
        assert len(library.search("magenta", k=99)) == 6
        assert library.stats().waiting == 1
        library.add(images=[Image.new("RGB", (9, 9), (0, 255, 255))], names=["cyan"])
        assert len(library.search("magenta", k=99)) == 7
        assert library.index().encoded == 0
        assert library.stats().waiting == 0
    assert "items waiting for their files" not in clean(apart).checked
    with closing(sqlite3.connect(apart / DATABASE)) as database:
        assert database.execute("SELECT count(*) FROM meta WHERE key = 'waiting'").fetchone() == (0,)


def test_what_cannot_be_encoded_anew_is_found_again_by_going_back(
    apart: Path, turned: Matcher, fake: Matcher
) -> None:
    migrate(apart, turned, Plan(leave_out=True))
    compact(apart, other_models=True)
    migrate(apart, fake, Plan(switch=False))
    abandon(apart)  # must not throw out the last vectors of what was left out
    assert clean(apart).checked["items waiting for their files"] == 2
    done = migrate(apart, fake)
    assert (done.state, done.failures) == ("switched", ())
    assert len(found(apart, "cyan")) == 7
    assert found(apart, "cyan")[0] == "added:cyan"
    assert "items waiting for their files" not in clean(apart).checked


def test_a_text_that_was_left_out_is_encoded_by_index_and_add(tmp_path: Path, fake: Matcher) -> None:
    class Deaf(Turned):
        """Gives no usable vector for anything but red."""

        def __init__(self) -> None:
            super().__init__()
            whole = self.text

            class Half:
                def submit(self, batch: Any) -> Any:
                    done = whole.submit(batch)
                    done.result()[(batch == 2).sum(axis=1) > 0] *= 0
                    return done

            self.text = Half()  # type: ignore[assignment]

    (tmp_path / "table.csv").write_text("caption\na black wall\nthe blue sea\n")
    with Library.open(tmp_path / "library", fake) as library:
        library.index(tmp_path / "table.csv", text_column="caption")
        library.add(texts="black", names="night")
    folder = tmp_path / "library"
    refused = migrate(folder, Matcher(Deaf()))
    assert refused.state == "refused"
    assert {failure.path.rpartition("/")[2] for failure in refused.failures} == {"table.csv#1", "added:night"}
    migrate(folder, Matcher(Deaf()), Plan(leave_out=True))
    assert len(found(folder, "blue")) == 1
    with Library.open(folder) as library:
        report = library.index()
        assert (report.encoded, report.unchanged, report.changed) == (1, 2, 0)
        library.add(texts="black", names="night")
        assert len(library.search("blue")) == 3
    clean(folder)


def test_a_file_that_changed_is_not_taken_for_what_was_indexed(
    folder: Path, turned: Matcher, paint: Callable[..., Path]
) -> None:
    paint("red.png", "white")
    (paint("green.png").parent / "green.png").write_bytes(b"no picture any more")
    done = migrate(folder, turned)
    assert done.state == "refused"
    assert {Path(f.path).name: "changed since" in f.reason for f in done.failures} == {
        "red.png": True,
        "green.png": True,
    }
    with Library.open(folder) as library:
        library.index()  # takes the new red.png, and keeps what it knew of green.png
    assert [Path(failure.path).name for failure in migrate(folder, turned).failures] == ["green.png"]
    assert migrate(folder, turned, Plan(leave_out=True)).state == "switched"
    assert clean(folder).checked["items waiting for their files"] == 1


def test_a_copy_serves_where_the_first_file_is_gone(
    folder: Path, turned: Matcher, paint: Callable[..., Path]
) -> None:
    paint("copies/red.png")
    with Library.open(folder) as library:
        library.index()
    paint("red.png").unlink()
    done = migrate(folder, turned)
    assert (done.state, done.failures) == ("switched", ())
    assert len(found(folder)) == 5


def test_imported_vectors_make_waiting_items_whole(apart: Path, turned: Matcher, tmp_path: Path) -> None:
    with Library.open(tmp_path / "other", turned) as other:
        other.add(images=[Image.new("RGB", (9, 9), (0, 255, 255))], names=["cyan"])
        export_vectors(other, tmp_path / "cyan.parquet")
    migrate(apart, turned, Plan(leave_out=True))
    with Library.open(apart) as library:
        assert import_vectors(library, tmp_path / "cyan.parquet").imported == 1
        assert library.stats().waiting == 1
        assert Path(library.search("cyan", k=1)[0].path).name == "added:cyan"
    clean(apart)


# -- what else goes on ----------------------------------------------------------------------------


def test_a_backup_of_a_migration_goes_on_by_itself(many: Path, tmp_path: Path, turned: Matcher) -> None:
    folder = tmp_path / "library"
    shutil.copytree(many / "library", folder)

    def interrupt(progress: Progress) -> None:
        if progress.done >= 128:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        migrate(folder, turned, watcher=Watcher(interrupt))
    assert backup(folder, tmp_path / "copy").vectors == 970 + 128
    assert clean(tmp_path / "copy")
    assert serving(tmp_path / "copy") == "fake → turned"
    assert migrate(tmp_path / "copy", turned).pictures == 270 - 128
    assert serving(folder) == "fake → turned"


def test_export_and_import_go_by_the_model_that_serves(folder: Path, turned: Matcher, tmp_path: Path) -> None:
    migrate(folder, turned, Plan(switch=False))
    with Library.open(folder) as library:
        assert export_vectors(library, tmp_path / "out.parquet").items == 6
    with Library.open(tmp_path / "other", "fake") as other:
        assert import_vectors(other, tmp_path / "out.parquet").imported == 6
        other.add(texts="a green lawn", names="lawn")
        export_vectors(other, tmp_path / "more.parquet")
    with Library.open(folder) as library:
        assert import_vectors(library, tmp_path / "more.parquet").imported == 1
    clean(folder)
    done = migrate(folder, turned)
    assert (done.state, done.texts) == ("switched", 1)


# -- how they compare -----------------------------------------------------------------------------


def test_models_that_find_the_same_overlap_wholly(folder: Path, turned: Matcher) -> None:
    found = migrate(folder, turned).comparison
    assert found is not None
    assert found == Comparison(4, Overlap(2, 1.0), Overlap(4, 1.0), None)


def test_overlap_is_that_of_the_first_ten_besides_the_picture_itself(tmp_path: Path, fake: Matcher) -> None:
    (tmp_path / "p").mkdir()
    for number in range(40):
        colour = tuple(random.Random(number).choices(range(256), k=3))  # noqa: S311
        Image.new("RGB", (32, 32), colour).save(tmp_path / "p" / f"{number}.png")
    write_bundle(tmp_path / "tiny", "mean")
    tiny = Matcher(tmp_path / "tiny", precision="f32")
    with Library.open(tmp_path / "library", fake) as library:
        library.index(tmp_path / "p")
        library.add(texts=["a red dog", "blue"])
    done = migrate(tmp_path / "library", tiny, Plan(switch=False)).comparison
    assert done is not None
    tops = {"text": [], "image": []}  # type: ignore[var-annotated]
    for model in (fake, tiny):
        with Library.open(tmp_path / "library", model) as library:
            pictures, texts = (
                library.matrix(kind).index.reconstruct_n(0, count)
                for kind, count in (("image", 40), ("text", 2))
            )
        scores = pictures @ pictures.T - 9 * np.eye(40)
        for name, table in (("image", scores), ("text", texts @ pictures.T)):
            tops[name].append(np.argsort(-table, axis=1, kind="stable")[:, :10])
    for name, one in (("image", done.pictures), ("text", done.texts)):
        shares = [len({*a} & {*b}) / 10 for a, b in zip(*tops[name], strict=True)]
        assert one == Overlap(len(shares), pytest.approx(np.mean(shares), abs=0.01))
        assert one.mean < 1


def captioned(folder: Path, pictures: Path) -> list[tuple[str, str]]:
    return [(str(pictures / f"{colour}.png"), f"something {colour}") for colour in COLOURS]


def test_recall_is_that_of_captions(folder: Path, pictures: Path) -> None:
    done = migrate(folder, Matcher(Mistaken()), Plan(switch=False, captions=captioned(folder, pictures)))
    assert done.comparison is not None
    assert done.comparison.recall is not None
    assert done.comparison.recall.captions == 4
    assert done.comparison.recall.before == {1: 1.0, 5: 1.0, 10: 1.0}
    assert done.comparison.recall.after == {1: 0.25, 5: 1.0, 10: 1.0}


def test_recall_is_that_of_captions_the_files_bring(folder: Path, pictures: Path) -> None:
    with closing(sqlite3.connect(folder / DATABASE)) as database, database:
        query = "UPDATE facts SET caption = 'a red one' WHERE hash = (SELECT hash FROM items WHERE path = ?)"
        database.execute(query, (str(pictures / "red.png"),))
    done = migrate(folder, Matcher("mistaken"), Plan(switch=False))
    assert done.comparison is not None
    assert done.comparison.recall is not None
    assert (done.comparison.recall.before[1], done.comparison.recall.after[1]) == (1.0, 0.0)


def test_captions_of_other_pictures_are_refused_before_anything_is_done(
    folder: Path, turned: Matcher
) -> None:
    with pytest.raises(InputError, match="none is in library"):
        migrate(folder, turned, Plan(captions=[("/nowhere.png", "a wall")]))
    assert serving(folder) == "fake"


def test_without_texts_probes_are_searched(tmp_path: Path, pictures: Path, turned: Matcher) -> None:
    with Library.open(tmp_path / "library", "fake") as library:
        library.index(pictures)
    compared = migrate(tmp_path / "library", turned).comparison
    assert compared is not None
    assert compared.texts is not None
    assert compared.texts.queries > 100


def test_texts_alone_are_compared_with_each_other(tmp_path: Path, turned: Matcher) -> None:
    with Library.open(tmp_path / "library", "fake") as library:
        library.add(texts=["red", "blue", "green", "a red wall"])
    compared = migrate(tmp_path / "library", turned).comparison
    assert compared is not None
    assert compared == Comparison(4, Overlap(4, 1.0), None, None)


def test_one_may_migrate_because_the_old_model_is_gone(tmp_path: Path, pictures: Path, fake: Matcher) -> None:
    write_bundle(tmp_path / "tiny", "clip")
    with Library.open(tmp_path / "library", tmp_path / "tiny") as library:
        library.index(pictures)
    shutil.rmtree(tmp_path / "tiny")
    done = migrate(tmp_path / "library", fake)
    assert done.state == "switched"
    assert done.comparison is not None
    assert (done.comparison.texts, done.comparison.recall) == (None, None)
    assert found(tmp_path / "library") == ORDER


# -- at the command line --------------------------------------------------------------------------


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    monkeypatch.setattr("crosslens.cli.app._prepare_streams", lambda: None)
    terminate = signal.getsignal(signal.SIGTERM)
    yield lambda *words: main([str(word) for word in words])
    signal.signal(signal.SIGTERM, terminate)


def test_the_command_says_what_it_did(
    folder: Path, command_line: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line("migrate", "-L", folder, "--model", "turned", "--no-switch") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("4 pictures and 2 texts encoded with ")
    assert lines[1].endswith("of 4 items: 1.00 for 2 texts, 1.00 for 4 pictures")
    assert "model fake serves; crosslens search --model" in lines[2]
    assert command_line("stats", "-L", folder) == 0
    assert "turned, 4 numbers a vector: 6 of 6 encoded" in capsys.readouterr().out
    for model in ((), ("--model", "turned"), ("--model", "fake")):
        assert command_line("search", "-L", folder, "red", "-k", 1, *model) == 0
        assert "red.png" in capsys.readouterr().out
    assert command_line("migrate", "-L", folder) == 0  # goes on with what is under way
    assert "turned serves now. Vectors of fake stay; crosslens compact" in capsys.readouterr().out
    assert command_line("compact", "-L", folder) == 0
    assert "kept 6 vectors of such models" in capsys.readouterr().out
    assert command_line("compact", "-L", folder, "--other-models") == 0
    assert "dropped 6 vectors of models" in capsys.readouterr().out
    assert command_line("migrate", "-L", folder, "--model", "turned") == 0
    assert "nothing to do" in capsys.readouterr().out
    assert command_line("search", "-L", folder, "red", "--model", "fake") == 1
    assert "was made with model" in capsys.readouterr().err


def test_the_command_names_what_cannot_be_encoded(
    apart: Path, command_line: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line("migrate", "-L", apart, "--model", "turned") == 1
    said = capsys.readouterr().out
    assert "2 cannot be encoded:\n" in said
    assert "model fake still serves. To switch, bring their files back" in said
    assert command_line("migrate", "-L", apart, "--model", "turned", "--leave-out", "--json") == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["state"], len(done["failures"]), done["library"]["waiting"]) == ("switched", 2, 2)
    assert command_line("verify", "-L", apart) == 0
    assert "2 items waiting for their files" in capsys.readouterr().out
    assert command_line("stats", "-L", apart) == 0
    assert "waiting    2 without a vector until" in capsys.readouterr().out


def test_the_command_gives_up_and_measures_with_a_table(
    folder: Path, pictures: Path, command_line: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{colour}.png,a {colour} one" for colour in COLOURS]
    (pictures / "captions.csv").write_text("\n".join(["image,caption", *rows, "nowhere.png,nothing", ","]))
    table = ("--captions", pictures / "captions.csv")
    assert command_line("migrate", "-L", folder, "--model", "mistaken", "--no-switch", *table) == 0
    said = capsys.readouterr().out
    assert "recall of 4 captions\n  @1 1.000  @5 1.000  @10 1.000  fake\n  @1 0.250" in said
    assert command_line("migrate", "-L", folder, "--abandon", "--model", "mistaken") == 2
    assert command_line("migrate", "-L", folder, "--abandon") == 0
    assert ", and 6 vectors of it" in capsys.readouterr().out
    assert command_line("migrate", "-L", folder, "--abandon", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"model": None, "vectors": 0}
    assert command_line("migrate", "-L", folder) == 2


# -- the database's own migrations ----------------------------------------------------------------


def state(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that version 1 has of a library, with what came later left out."""
    columns = {
        "meta": "key, value",
        "roots": "id, path, is_file, mount, text_column, online",
        "contents": "hash, width, height, text",
        "items": "id, root_id, path, hash, size, modified_ns",
        "vectors": "hash, model, vector, runtime",
    }
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        return {
            name: db.execute(f"SELECT {wanted} FROM {name} ORDER BY 1, 2").fetchall()
            for name, wanted in columns.items()
        }


def test_there_is_a_file_of_every_earlier_version() -> None:
    kept = {path.name for path in GOLDEN.glob("library-version-*.sqlite3")}
    wanted = {f"library-version-{version}.sqlite3" for version in range(1, VERSION)}
    assert wanted <= kept, "before a new version, keep a library of the old one in tests/golden"


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("library-version-*.sqlite3")), ids=lambda file: file.stem)
def test_a_library_of_every_earlier_version_is_brought_up_to_date_whole(file: Path, tmp_path: Path) -> None:
    shutil.copy(file, tmp_path / DATABASE)
    before = state(tmp_path / DATABASE)
    assert before["items"]
    assert before["vectors"]
    with closing(sqlite3.connect(tmp_path / DATABASE)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (int(file.stem.rpartition("-")[2]),)
    with closing(Catalog(tmp_path)) as catalog:  # read as it is
        old = list(catalog.all_items())
    with closing(Catalog(tmp_path, create=True)) as catalog, catalog.reading() as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
    assert state(tmp_path / DATABASE) == before
    with closing(Catalog(tmp_path)) as catalog:
        assert list(catalog.all_items()) == old
    clean(tmp_path)
    assert len(found(tmp_path)) == len([row for row in old if row.text is None])


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("library-version-*.sqlite3")), ids=lambda file: file.stem)
def test_a_library_of_every_earlier_version_can_go_to_another_model(
    file: Path, tmp_path: Path, turned: Matcher
) -> None:
    shutil.copy(file, tmp_path / DATABASE)
    before = state(tmp_path / DATABASE)["items"]
    done = migrate(tmp_path, turned, Plan(leave_out=True))  # its files are nowhere
    assert (done.state, done.pictures, done.texts) == ("switched", 0, 1)
    assert state(tmp_path / DATABASE)["items"] == before
    assert clean(tmp_path).checked["items waiting for their files"] == len(before) - 1


def test_indexing_is_refused_no_longer_than_a_switch_takes(folder: Path, turned: Matcher) -> None:
    """The lock for writing is free while pictures are encoded."""

    def look(_progress: Progress) -> None:
        with writer_lock(folder):
            pass

    assert migrate(folder, turned, watcher=Watcher(look)).state == "switched"
