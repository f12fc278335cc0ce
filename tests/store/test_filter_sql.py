"""Filters against every item looked at by hand; searches among what they let through; old libraries."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crosslens import Library, Matcher
from crosslens.cli.app import main
from crosslens.errors import ImageNotFoundError, QueryError, TextError
from crosslens.library.query_search import Asked, Page, find, read, search
from crosslens.maintenance.integrity_check import verify
from crosslens.search.filter_conditions import (
    Amount,
    Camera,
    Condition,
    Date,
    Day,
    Extension,
    Glob,
    Has,
    Near,
    Tag,
)
from crosslens.store.database import Catalog
from crosslens.store.filter_sql import Order, fitting, sort_keys, vector_of
from crosslens.store.fulltext import matching
from crosslens.store.records import Entry, ModelRecord
from crosslens.store.schema import DATABASE, VERSION, open_database
from crosslens.towers.fake_model import FAKE_SPEC
from crosslens.types import Facts, Item

GOLDEN = Path(__file__).parents[1] / "golden"
EAST = np.array([1, 0, 0, 0], np.float32)


@dataclass(frozen=True)
class Known:
    """An item as the oracle knows it. text: it is the row of a table."""

    id: int
    name: str
    size: int
    modified: datetime
    width: int
    height: int
    facts: Facts
    text: bool = False


def made(count: int = 240) -> list[Known]:
    rng = np.random.default_rng(0)
    items = []
    for number in range(1, count + 1):
        folder = rng.choice(["", "holiday/", "Holiday/2023/", "x/y/z/", "caf\udce9/"])
        ending = rng.choice(["jpg", "JPG", "heic", "png", "tar.gz"])
        taken = datetime(2021 + rng.integers(4), 1 + rng.integers(12), 1 + rng.integers(28), rng.integers(24))
        place = (float(rng.uniform(-90, 90)), float(rng.uniform(-180, 180)))
        if rng.random() < 0.3:
            place = (48.85 + float(rng.normal(0, 0.05)), 2.35 + float(rng.normal(0, 0.05)))
        known = rng.random(3) < 0.6
        facts = Facts(
            taken.isoformat() if known[0] else None,
            *(place if known[1] else (None, None)),
            str(rng.choice(["Google Pixel 7", "Canon EOS 5D", "Apple iPhone 12"])) if known[2] else None,
        )
        is_text = bool(rng.random() < 0.2)
        items.append(
            Known(
                number,
                f"{folder}t.csv#{number}" if is_text else f"{folder}IMG_{number}.{ending}",
                int(rng.integers(0, 4_000_000)),
                datetime(2020 + rng.integers(5), 1 + rng.integers(12), 1 + rng.integers(28)),
                *((0, 0) if is_text else rng.integers(1, 4000, 2).tolist()),
                Facts() if is_text else facts,
                is_text,
            )
        )
    return items


ITEMS = made()


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    catalog = Catalog(tmp_path_factory.mktemp("library"), create=True)
    catalog.set_model(ModelRecord("fake", FAKE_SPEC.identity, 4))
    root = catalog.add_root("/pictures", "/")
    entries = []
    for known in ITEMS:
        item = Item(f"/pictures/{known.name}", known.size, int(known.modified.timestamp()) * 10**9)
        text = f"text {known.id}" if known.text else None
        hash_ = known.id.to_bytes(32, "big")
        facts = None if known.text or known.facts == Facts() else known.facts
        entries.append(Entry(item, root.id, hash_, known.width, known.height, EAST, text, facts))
    catalog.record(entries, [], FAKE_SPEC.identity, "fake f32")
    yield catalog
    catalog.close()


def arranged(catalog: Catalog, ids: list[int], order: Order) -> list[int]:
    keys = sort_keys(catalog, ids, order)
    return sorted(keys, key=lambda number: (keys[number], number))


def metres(a: tuple[float, float], b: tuple[float, float]) -> float:
    """By the spherical law of cosines, where the code has the haversine formula."""
    (north, east), (other_north, other_east) = ([math.radians(x) for x in place] for place in (a, b))
    cosine = math.sin(north) * math.sin(other_north)
    cosine += math.cos(north) * math.cos(other_north) * math.cos(east - other_east)
    return 6_371_008.8 * math.acos(max(-1, min(1, cosine)))


def holds(condition: Condition, item: Known) -> bool:  # noqa: PLR0911 (one to a kind)
    """What a filter says of an item, in as many words."""
    path = f"/pictures/{item.name.partition('#')[0]}"
    match condition:
        case Date():
            moment = datetime.fromisoformat(item.facts.taken) if item.facts.taken else item.modified
            first = datetime.min if condition.begin is None else condition.begin
            return first <= moment < (condition.end or datetime.max)
        case Amount(name="size"):
            return condition.bounds[0] <= item.size <= condition.bounds[1]
        case Amount(name=name):
            return not item.text and condition.bounds[0] <= getattr(item, name) <= condition.bounds[1]
        case Glob(pattern=pattern):  # those drawn below have no folder in them
            return any(PurePosixPath(part).match(pattern.lower()) for part in path.lower().split("/") if part)
        case Extension(endings=endings):
            return any(path.lower().endswith(f".{ending}") for ending in endings)
        case Near():
            if item.facts.latitude is None or item.facts.longitude is None:
                return False
            away = metres(
                (condition.latitude, condition.longitude), (item.facts.latitude, item.facts.longitude)
            )
            return away <= condition.metres
        case Camera(text=text):
            return item.facts.camera is not None and text.lower() in item.facts.camera.lower()
        case Has(fact=fact):
            fields = {"date": item.facts.taken, "place": item.facts.latitude, "camera": item.facts.camera}
            return fields[fact] is not None
    raise AssertionError(condition)


days = (
    st.builds(Day, st.integers(2020, 2025), st.integers(1, 12), st.integers(1, 28))
    | st.builds(Day, st.integers(2020, 2025), st.none() | st.integers(1, 12))
    | st.sampled_from([Day(m.year, m.month, m.day) for m in (item.modified for item in ITEMS)])
)
conditions = st.one_of(
    st.builds(Date, st.sampled_from(["after", "before", "date"]), days),
    st.builds(
        Amount,
        st.sampled_from(["size", "width", "height"]),
        st.sampled_from(["<", "<=", ">", ">="]),
        st.integers(0, 4000) | st.sampled_from([item.size for item in ITEMS]),
    ),
    st.sampled_from(["holiday", "*.jpg", "IMG_1?.*", "2023", "t.csv", "z", "pictures"]).map(Glob),
    st.lists(st.sampled_from(["jpg", "heic", "gz", "tar.gz", "csv"]), min_size=1, max_size=2).map(
        lambda endings: Extension(tuple(endings))
    ),
    st.builds(Near, st.floats(-90, 90), st.floats(-180, 180), st.floats(1, 15_000)),
    st.builds(Near, st.just(48.85), st.just(2.35), st.floats(0.5, 20)),
    st.sampled_from(["pixel", "CANON", "e i", "nothing"]).map(Camera),
    st.sampled_from(["date", "place", "camera"]).map(Has),
)


@settings(deadline=None, max_examples=400)
@given(
    wanted=st.lists(st.tuples(conditions, st.booleans()), max_size=4), kind=st.sampled_from(["image", "text"])
)
def test_filters_find_what_looking_at_every_item_finds(
    catalog: Catalog, wanted: list[tuple[Condition, bool]], kind: Any
) -> None:
    found = fitting(catalog, kind, wanted)
    expected = [
        item.id
        for item in ITEMS
        if item.text == (kind == "text") and all(holds(c, item) != negated for c, negated in wanted)
    ]
    assert found.dtype == np.int64
    assert found.tolist() == expected


def test_the_oracle_has_something_to_say() -> None:
    for condition in (Date("date", Day(2023)), Glob("holiday"), Extension(("heic",)), Near(48.85, 2.35, 5.0),
                      Camera("pixel"), Has("place"), Amount("width", ">", 2000)):  # fmt: skip
        share = sum(holds(condition, item) for item in ITEMS) / len(ITEMS)
        assert 0.02 < share < 0.9, (condition, share)


def test_paths_are_found_whose_small_letters_only_python_knows(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path, create=True)
    catalog.set_model(ModelRecord("fake", FAKE_SPEC.identity, 4))
    root = catalog.add_root("/p", "/")
    paths = ["/p/\u212aelvin.PNG", "/p/caf\udce9/\u212aelvin.png", "/p/kelvin.jpg", "/p/x.gif"]
    entries = [
        Entry(Item(path, 1, 1), root.id, bytes([number]) * 32, 1, 1, EAST)
        for number, path in enumerate(paths)
    ]
    catalog.record(entries, [], FAKE_SPEC.identity, "fake")
    for condition, ids in (
        (Glob("kelvin.*"), [1, 2, 3]), (Glob("KEL*"), [1, 2, 3]), (Glob("[k]*"), [1, 2, 3]),
        (Glob("**/kelvin.png"), [1, 2]), (Extension(("png",)), [1, 2]),
        (Extension(("png", "gif")), [1, 2, 4]),
    ):  # fmt: skip
        assert fitting(catalog, "image", [(condition, False)]).tolist() == ids
    catalog.close()


def test_items_are_arranged_by_date_and_by_path(catalog: Catalog) -> None:
    def moment(item: Known) -> datetime:
        return datetime.fromisoformat(item.facts.taken) if item.facts.taken else item.modified

    ids = [item.id for item in reversed(ITEMS)]
    by_date = sorted(ITEMS, key=lambda item: (-moment(item).timestamp(), item.id))
    assert arranged(catalog, [*ids, 9999], "date") == [item.id for item in by_date]
    assert arranged(catalog, ids, "path") == [item.id for item in sorted(ITEMS, key=lambda item: item.name)]


def test_the_vector_of_an_item_is_told_and_that_of_none_refused(catalog: Catalog) -> None:
    assert vector_of(catalog, 1, FAKE_SPEC.identity).tolist() == EAST.tolist()
    with pytest.raises(QueryError, match="there is no item 9999"):
        vector_of(catalog, 9999, FAKE_SPEC.identity)


# -- searching ------------------------------------------------------------------------------------


@pytest.fixture
def library(tmp_path: Path, fake: Matcher, paint: Callable[..., Path]) -> Iterator[Library]:
    """Colours in two folders, the date of each file a year of its own, and captions."""
    for year, name in enumerate(("red", "green", "blue", "yellow", "magenta", "cyan"), 2015):
        path = paint(f"{'old' if year < 2018 else 'new'}/{name}.png")
        os.utime(path, (datetime(year, 6, 1).timestamp(),) * 2)
    (tmp_path / "pictures" / "captions.csv").write_text("caption\na red wall\nthe blue sea\n")
    with Library.open(tmp_path / "library", fake) as opened:
        opened.index([tmp_path / "pictures", tmp_path / "pictures" / "captions.csv"], text_column="caption")
        yield opened


def names(library: Library, text: str, **options: Any) -> list[str]:
    return [hit.text or Path(hit.path).stem for hit in search(library, text, **options)]


def test_plain_words_are_searched_as_ever(library: Library) -> None:
    assert search(library, "a red wall") == library.search("a red wall")
    assert search(library, "red", k=2, kind="text") == library.search("red", k=2, kind="text")
    assert find(library, Asked(read("red"), without="yellow"), Page()) == library.search(
        "red", without="yellow"
    )
    assert find(library, Asked(without="green", image=np.full((4, 4, 3), 255, np.uint8)), Page(3)) == (
        library.search(image=np.full((4, 4, 3), 255, np.uint8), without="green", k=3)
    )


def test_operators_mean_what_the_arguments_do(library: Library, tmp_path: Path) -> None:
    picture = tmp_path / "pictures" / "old" / "blue.png"
    assert search(library, "red -yellow") == library.search("red", without="yellow")
    assert search(library, f"~{picture}") == library.search(image=picture)
    assert search(library, f"red ~{picture}") == library.search("red", image=picture)
    assert names(library, "kind:text red", k=1) == ["a red wall"]
    item = library.search(image=picture, k=1)[0].id
    assert names(library, f"~#{item}", k=1) == ["blue"]
    assert names(library, f"~#{item} -path:old", k=2) == ["cyan", "magenta"] or (
        names(library, f"~#{item} -path:old", k=2) == ["magenta", "cyan"]
    )


def test_weights_decide(library: Library) -> None:
    assert names(library, '"red" 9*"blue"', k=1) == ["blue"]
    assert names(library, '9*"red" "blue"', k=1) == ["red"]


@pytest.mark.parametrize("query", ["blue", "-yellow blue 0.5*green"])
def test_a_filter_leaves_the_order_and_gives_k(library: Library, query: str) -> None:
    everything = search(library, query, k=99)
    for filter_ in ("path:new", "before:2018", "ext:png", "date:2016..2018", "path:nowhere", "-path:old"):
        found = search(library, f"{query} {filter_}", k=99)
        ids = {hit.id for hit in found}
        assert [hit.id for hit in found] == [hit.id for hit in everything if hit.id in ids]
        assert [hit.score for hit in found] == pytest.approx([h.score for h in everything if h.id in ids])
        for k in (1, 2, 5):
            assert search(library, f"{query} {filter_}", k=k) == found[:k]
    assert names(library, f"{query} path:new", k=99) != []
    assert len(search(library, f"{query} path:new", k=3)) == 3


def test_pages_follow_each_other(library: Library) -> None:
    for query in ("blue", "blue -path:cyan.png", "ext:png"):
        for sort in ("score", "path", "date"):
            everything = search(library, query, k=99, sort="score" if query != "ext:png" else sort)
            pages = [search(library, query, k=2, offset=offset, sort=sort) for offset in (0, 2, 4, 6, 8)]
            for offset, page in zip((0, 2, 4, 6, 8), pages, strict=True):
                assert {hit.id for hit in page} == {hit.id for hit in everything[offset : offset + 2]}


def test_filters_alone_list_what_fits_the_latest_first(library: Library) -> None:
    assert names(library, "path:old") == ["blue", "green", "red"]
    assert names(library, "path:new", sort="path") == ["cyan", "magenta", "yellow"]
    assert names(library, "-path:old", k=1, offset=1) == ["magenta"]
    assert all(math.isnan(hit.score) for hit in search(library, "ext:png"))
    assert len(search(library, "kind:image", k=99)) == 6
    assert sorted(names(library, "kind:text")) == ["a red wall", "the blue sea"]


def test_a_page_is_arranged_as_asked(library: Library) -> None:
    best = names(library, "blue", k=3)
    assert names(library, "blue", k=3, sort="path") == sorted(best, key=lambda name: ("new/" if name in (
        "yellow", "magenta", "cyan") else "old/") + name)  # fmt: skip
    assert names(library, "blue", k=3, sort="date") == [
        name for name in ("cyan", "magenta", "yellow", "blue", "green", "red") if name in best
    ]


def test_a_picture_at_home_is_found_as_a_shell_would(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert names(library, "~/pictures/old/blue.png", k=1) == ["blue"]


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        ("-red", {}, "nothing but what should not be there"),
        ("-red ext:png", {}, "nothing but what should not be there"),
        ("kind:text red", {"kind": "image"}, "kind:text"),
        ("red", {"k": 0}, "k is 0"),
        ("red", {"offset": -1}, "offset is -1"),
        ("red", {"sort": "size"}, "sort is 'size'"),
        ("~#999", {}, "there is no item 999"),
        ("red -blue befor:2", {}, "'befor'"),
        ('red 1*"red" -2*"red"', {}, "cancel"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    library: Library, text: str, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(QueryError, match=says):
        search(library, text, **options)


def test_what_asks_for_nothing_is_refused(library: Library) -> None:
    for text in ("", " "):
        with pytest.raises(TextError, match="is empty"):
            search(library, text)
    with pytest.raises(QueryError, match="asks for nothing"):
        find(library, Asked(), Page())
    with pytest.raises(QueryError, match="nothing but what should not be there"):
        find(library, Asked(without="red"), Page())


def test_a_service_takes_no_files(library: Library, tmp_path: Path) -> None:
    with pytest.raises(ImageNotFoundError):
        search(library, "~nowhere.png")
    with pytest.raises(QueryError, match="files are not opened here"):
        find(library, Asked(read(f"~{tmp_path}/pictures/old/red.png"), files=False), Page())
    assert find(library, Asked(read("~#1"), files=False), Page(1))[0].id == 1


# -- libraries of version 1 -----------------------------------------------------------------------


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A library that was written before there were facts."""
    folder = tmp_path / "old"
    folder.mkdir()
    shutil.copy(GOLDEN / "library-version-1.sqlite3", folder / DATABASE)
    return folder


def test_a_library_of_version_1_is_read_as_it_is(old: Path) -> None:
    catalog = Catalog(old)
    assert catalog.counts() == {"items": 5, "texts": 1, "offline": 0, "contents": 4, "vectors": 4}
    assert fitting(catalog, "image", [(Glob("holiday"), False)]).tolist() == [2]
    assert arranged(catalog, [1, 2, 3, 4], "path")[0] == 4
    assert arranged(catalog, [3, 1], "date") == [1, 3]
    for condition in (Date("after", Day(2020)), Has("place"), Near(0, 0, 1.0), Camera("x")):
        with pytest.raises(QueryError, match="crosslens index"):
            fitting(catalog, "image", [(condition, False)])
    catalog.close()
    with contextlib.closing(open_database(old, create=False)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)


def test_a_library_of_version_2_is_read_as_it_is_and_brought_up_to_date(tmp_path: Path) -> None:
    shutil.copy(GOLDEN / "library-version-2.sqlite3", tmp_path / DATABASE)
    catalog = Catalog(tmp_path)
    assert fitting(catalog, "image", [(Camera("pixel"), False)]).tolist() == [1, 3]
    assert matching(catalog, "image", "red").tolist() == []
    for condition in (Tag("family"), Has("tag"), Has("caption")):
        with pytest.raises(QueryError, match=r"tags and captions\. .*crosslens index"):
            fitting(catalog, "image", [(condition, False)])
    items = list(catalog.all_items())
    catalog.close()
    with contextlib.closing(Catalog(tmp_path, create=True)) as catalog:
        assert list(catalog.all_items()) == items
        assert fitting(catalog, "image", [(Camera("pixel"), False)]).tolist() == [1, 3]
        assert matching(catalog, "image", "holiday").tolist() == [2]
        assert sorted(matching(catalog, "image", "red")) == [1, 3]
        assert matching(catalog, "text", "a RED wall").tolist() == [5]
        assert fitting(catalog, "image", [(Has("tag"), False)]).tolist() == []
    assert verify(tmp_path).clean


def test_a_library_of_version_1_is_brought_up_to_date(old: Path) -> None:
    before = Catalog(old)
    items = list(before.all_items())
    before.close()
    catalog = Catalog(old, create=True)
    with catalog.reading() as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT count(*) FROM facts").fetchone() == (0,)
    assert list(catalog.all_items()) == items
    with catalog.snapshot(catalog.model().identity, 4) as snapshot:  # type: ignore[union-attr]
        assert {n: np.frombuffer(v, "<f2").tolist() for n, v in snapshot.vectors()} == {
            1: [1, 0, 0, 0], 2: [0, 0, 1, 0], 3: [1, 0, 0, 0], 4: [0, 1, 0, 0]
        }  # fmt: skip
    assert fitting(catalog, "image", [(Has("date"), False)]).tolist() == []
    assert fitting(catalog, "image", [(Date("date", Day(2023, 5)), False)]).tolist() == [1, 2, 3, 4]
    catalog.close()


# -- the command line -----------------------------------------------------------------------------


@pytest.fixture
def command_line(library: Library, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("crosslens.cli.app._prepare_streams", lambda: None)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    opened = Library.open
    monkeypatch.setattr(Library, "open", lambda folder, *_, **__: opened(folder, library.matcher))
    return str(library.folder)


def run(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert main(["search", *arguments]) == status
    printed = capsys.readouterr()
    return printed.err if status else printed.out


def test_the_command_line_understands_the_language(
    command_line: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    on = ("-L", command_line)
    assert "blue.png" in run(capsys, *on, "-k", "1", "blue path:old")
    assert run(capsys, *on, "-k", "1", "path:new") == f"-\t{tmp_path}/pictures/new/cyan.png\n"
    by_path = run(capsys, *on, "ext:png", "--sort", "path", "--offset", "4", "-k", "1")
    assert by_path.endswith("old/green.png\n")
    found = json.loads(run(capsys, *on, "--json", "path:old"))
    assert [hit["score"] for hit in found["hits"]] == [None] * 3
    assert run(capsys, *on, "red path:nowhere") == "nothing found\n"
    (tmp_path / "queries").write_text('red\na -blue "one"s: it\n')
    assert len(run(capsys, *on, "-k", "1", "--queries", str(tmp_path / "queries")).splitlines()) == 2


def test_the_command_line_points_at_what_is_wrong(
    command_line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = run(capsys, "-L", command_line, "red befor:2023", status=1)
    assert shown.endswith("\n  red befor:2023\n      ^\n")
    assert "Did you mean before:" in shown
    assert run(capsys, "-L", command_line, "red", "--sort", "size", status=2)
