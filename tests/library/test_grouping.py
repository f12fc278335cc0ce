"""Several libraries searched together, and results in groups."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crosslens import Library, Matcher
from crosslens.cli.app import main
from crosslens.errors import LibraryModelError, QueryError
from crosslens.library.grouping import Grouping, find_groups
from crosslens.library.query_search import Asked, Page, find, read, search
from remote import Connected

COLOURS = ("red", "green", "blue", "yellow", "magenta", "cyan")


@pytest.fixture
def libraries(tmp_path: Path, fake: Matcher) -> Iterator[list[Library]]:
    """[all pictures, one half of them, the other half]. Their colours are drawn: no scores are equal."""
    random = np.random.default_rng(3)
    for year, name in enumerate(COLOURS, 2015):
        path = tmp_path / "pictures" / ("old" if year < 2018 else "new") / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), tuple(random.integers(0, 256, 3).tolist())).save(path)
        os.utime(path, (datetime(year, 6, 1 + year % 3).timestamp(),) * 2)
    with ExitStack() as opened:
        found = []
        for number, part in enumerate((".", "old", "new")):
            library = opened.enter_context(Library.open(tmp_path / f"library{number}", fake))
            library.index(tmp_path / "pictures" / part)
            found.append(library)
        yield found


@pytest.mark.parametrize(
    "query",
    ["red", "red -blue", "ext:png", "red path:new", '"magenta"', 'yellow 2*"blue"', "yellow -green path:old"],
)
@pytest.mark.parametrize("sort", ["score", "date", "path"])
def test_two_halves_give_what_the_whole_does(libraries: list[Library], query: str, sort: str) -> None:
    whole, *halves = libraries
    for k, offset in ((1, 0), (3, 0), (2, 2), (10, 0)):
        one = search(whole, query, k=k, offset=offset, sort=sort)  # type: ignore[arg-type]
        two = search(halves, query, k=k, offset=offset, sort=sort)  # type: ignore[arg-type]
        if '"' not in query:  # places in halves are not places in the whole
            assert [hit.path for hit in one] == [hit.path for hit in two]
            scores = [hit.score for hit in one]
            assert scores == pytest.approx([hit.score for hit in two], abs=2e-3, nan_ok=True)
        assert len(one) == len(two)
        assert {hit.library for hit in two} <= {str(half.folder) for half in halves}
        assert all(hit.library is None for hit in one)


def test_a_picture_beside_the_words_is_looked_for_in_all(libraries: list[Library], tmp_path: Path) -> None:
    picture = tmp_path / "pictures" / "new" / "cyan.png"
    hits = search(libraries[1:], f"~{picture} red", k=6)
    assert len(hits) == 6
    assert find(libraries[1:], Asked(image=picture), Page(1))[0].path == str(picture)


def test_a_number_of_an_item_is_ambiguous_there(libraries: list[Library]) -> None:
    with pytest.raises(QueryError, match=r"~#1 is the number of an item in one library"):
        search(libraries, "~#1")


def test_libraries_without_what_is_looked_for_are_passed_over(
    libraries: list[Library], tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text("text\na red barn\n")
    libraries[1].index(tmp_path / "t.csv", text_column="text")
    assert [hit.text for hit in search(libraries, "red kind:text")] == ["a red barn"]
    with pytest.raises(QueryError, match="holds no texts"):
        search(libraries[2:], "red kind:text")


def test_other_models_are_refused(libraries: list[Library], tmp_path: Path, starter: Matcher) -> None:
    with Library.open(tmp_path / "other", starter) as other:
        other.index(tmp_path / "pictures")
        with pytest.raises(LibraryModelError, match="cannot be searched together"):
            search([libraries[0], other], "red")


# -- groups ---------------------------------------------------------------------------------------


def test_groups_are_in_the_order_of_their_best(libraries: list[Library]) -> None:
    library = libraries[0]
    groups = find_groups(library, Asked(read("blue")), Grouping("folder", each=2))
    assert [(len(group.hits), group.more) for group in groups] == [(2, True), (2, True)]
    everything = search(library, "blue", k=6)
    assert [g.key for g in groups] == list(dict.fromkeys(os.path.dirname(hit.path) for hit in everything))
    for group in groups:
        assert list(group.hits) == [h for h in everything if os.path.dirname(h.path) == group.key][:2]


@pytest.mark.parametrize(("by", "length", "count"), [("year", 4, 6), ("month", 7, 6), ("day", 10, 6)])
def test_groups_by_date_are_of_the_file_where_no_camera_says(
    libraries: list[Library], by: str, length: int, count: int
) -> None:
    groups = find_groups(libraries[0], Asked(read("red")), Grouping(by), sort="date")  # type: ignore[arg-type]
    assert len(groups) == count
    assert all(len(group.key) == length for group in groups)
    assert [group.key[:4] for group in groups] == ["2020", "2019", "2018", "2017", "2016", "2015"]


def test_as_many_groups_as_wanted_are_found_however_deep(
    tmp_path: Path, fake: Matcher, paint: Callable[..., Path]
) -> None:
    """A hundred copies of the best come first, and still the second group is found."""
    random = np.random.default_rng(0)
    with Library.open(tmp_path / "library", fake) as library:
        library.add(
            images=[np.full((8, 8, 3), (255, 0, n % 2), np.uint8) for n in range(2)], names=["a", "b"]
        )
        paint("many/red.png")
        for number in range(150):
            os.link(tmp_path / "pictures/many/red.png", tmp_path / f"pictures/many/{number}.png")
        paint("few/blue.png")
        library.index(tmp_path / "pictures")
        del random
        groups = find_groups(library, Asked(read("red ext:png")), Grouping("content", each=1), k=2)
        assert [len(group.hits) for group in groups] == [1, 1]
        assert [Path(group.hits[0].path).parent.name for group in groups] == ["many", "few"]
        assert (groups[0].more, groups[1].more) == (True, False)
        assert len(find_groups(library, Asked(read("ext:png")), Grouping("camera"))) == 1


def test_what_is_no_group_is_refused(libraries: list[Library]) -> None:
    with pytest.raises(QueryError, match="groups are by 'week'"):
        Grouping("week")  # type: ignore[arg-type]
    with pytest.raises(QueryError, match="each is 0"):
        Grouping("day", 0)
    with pytest.raises(QueryError, match="k is 0"):
        find_groups(libraries[0], Asked(read("red")), Grouping("day"), k=0)


def test_groups_and_several_libraries_on_the_command_line(
    libraries: list[Library], capsys: pytest.CaptureFixture[str]
) -> None:
    where = [part for library in libraries[1:] for part in ("-L", str(library.folder))]
    assert main(["search", "red", *where, "--group", "year", "-k", "2", "--each", "1"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert all(line[:4].isdecimal() and line.endswith("(1)") for line in out[::2])
    assert len(out) == 4
    assert main(["search", "red", *where, "--json", "-k", "1"]) == 0
    [hit] = json.loads(capsys.readouterr().out)["hits"]
    assert hit["library"] in {str(library.folder) for library in libraries[1:]}
    assert main(["search", "red", *where, "--group", "folder", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["groups"]) == 2
    for wrong in (
        ["--group", "week"],
        ["--group", "day", "--offset", "1"],
        ["--queries", "x", "--group", "day"],
    ):
        assert main(["search", *([] if "--queries" in wrong else ["red"]), *where, *wrong]) == 2


# -- another vector store -------------------------------------------------------------------------


def test_a_library_can_be_searched_by_another_vector_store(
    tmp_path: Path, pictures: Path, fake: Matcher, paint: Callable[..., Path]
) -> None:
    connect = Connected()
    with Library.open(tmp_path / "library", fake, connect=connect) as library:
        library.index(pictures)
        with Library.open(tmp_path / "library", fake) as plain:
            for query in ("red", "red -blue path:pictures", 'blue "green"', "ext:png"):
                assert [h.id for h in search(library, query, k=3)] == [
                    h.id for h in search(plain, query, k=3)
                ]
        assert len(connect.stamps) == 1
        paint("magenta.png")
        library.index()
        assert search(library, "magenta", k=1)[0].path.endswith("magenta.png")
        assert [generation for _, generation in connect.stamps] == sorted({g for _, g in connect.stamps})
        assert len(connect.stamps) == 2
        assert library.stats().approximate is None
