"""A library holds texts too, so that a picture finds words. The model is the fake one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from crosslens import Library, Matcher, Progress
from crosslens.errors import InputError, QueryError


@pytest.fixture
def library(tmp_path: Path, fake: Matcher) -> Iterator[Library]:
    with Library.open(tmp_path / "library", fake) as opened:
        yield opened


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "captions.csv"
    path.write_text("file,caption\na.jpg,a red wall\nb.jpg,the blue sea\nc.jpg,green grass\n")
    return path


def texts(library: Library, **query: object) -> list[str | None]:
    return [hit.text for hit in library.search(**query)]  # type: ignore[arg-type]


def test_a_picture_finds_words(library: Library, table: Path, pictures: Path) -> None:
    report = library.index(table, text_column="caption")
    assert (report.added, report.encoded, report.failures) == (3, 3, ())
    found = library.search(image=pictures / "blue.png", k=1)[0]
    assert (found.text, found.path, found.score) == ("the blue sea", f"{table}#2", pytest.approx(1))
    assert texts(library, text="red", k=1) == ["a red wall"]


def test_pictures_and_texts_lie_side_by_side(library: Library, table: Path, pictures: Path) -> None:
    library.index([pictures, table], text_column="caption")
    assert texts(library, text="red", k=9) == [None] * 4
    assert texts(library, text="red", k=9, kind="text")[0] == "a red wall"
    assert len(library.search("red", k=9, kind="text")) == 3
    assert [hits[0].text for hits in library.search_many(["red", "blue"], k=1, kind="text")] == [
        "a red wall",
        "the blue sea",
    ]


def test_only_new_and_changed_rows_are_encoded(library: Library, table: Path) -> None:
    library.index(table, text_column="caption")
    ids = {hit.path: hit.id for hit in library.items()}
    table.write_text("file,caption\na.jpg,a red wall\nb.jpg,black night\n")
    report = library.index()  # the column is remembered
    assert (report.unchanged, report.changed, report.removed, report.encoded) == (1, 1, 1, 1)
    assert sorted(str(item.text) for item in library.items()) == ["a red wall", "black night"]
    assert {hit.path: hit.id for hit in library.items()}.items() <= ids.items()
    generation = library.stats().generation
    assert library.index().unchanged == 2
    assert library.stats().generation == generation


def test_the_same_text_is_encoded_once(library: Library, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"t": "red"}) + "\n" for _ in range(600)))
    report = library.index(tmp_path / "a.jsonl", text_column="t")
    assert (report.added, report.encoded) == (600, 1)
    assert len({hit.id for hit in library.search("red", k=600)}) == 600


def test_a_row_that_cannot_be_embedded_is_named_and_the_rest_go_in(library: Library, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('t,n\nred,1\n"",2\nblue,3\n')
    report = library.index(tmp_path / "a.csv", text_column="t")
    assert report.added == 2
    assert [failure.path for failure in report.failures] == [f"{tmp_path / 'a.csv'}#2"]
    assert "is empty" in report.failures[0].reason


def test_a_table_that_breaks_off_loses_nothing(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"t": "red"}\n{"t": "blue"}\n')
    library.index(path, text_column="t")
    path.write_text('{"t": "red"}\n{"t": \n')
    report = library.index()
    assert (report.removed, len(report.failures)) == (0, 1)
    assert "line 2 is no JSON" in report.failures[0].reason
    assert library.stats().items == 2


def test_a_table_that_is_deleted_takes_its_texts_along(library: Library, table: Path) -> None:
    library.index(table, text_column="caption")
    table.unlink()
    assert library.index().removed == 3
    assert library.stats().roots == ()


def test_a_table_needs_a_column(library: Library, table: Path) -> None:
    with pytest.raises(InputError, match="--text-column"):
        library.index(table)
    with pytest.raises(InputError, match="has no 'captoin'"):
        library.index(table, text_column="captoin")


def test_another_column_of_a_known_table_is_taken(library: Library, tmp_path: Path) -> None:
    table = tmp_path / "two.csv"
    table.write_text("a,b\nred,blue\n")
    library.index(table, text_column="a")
    assert library.index(table, text_column="b").changed == 1
    assert [item.text for item in library.items()] == ["blue"]
    assert library.index().unchanged == 1


def test_a_column_without_a_table_is_a_mistake(library: Library, pictures: Path) -> None:
    with pytest.raises(InputError, match="there is no table for column 'caption'"):
        library.index(pictures, text_column="caption")


def test_a_missing_value_is_one_rows_failure(library: Library, tmp_path: Path) -> None:
    table = tmp_path / "t.jsonl"
    table.write_text('{"c": "red"}\n{"c": null}\n{"d": 1}\n{"c": "blue"}\n')
    report = library.index(table, text_column="c")
    assert report.added == 2
    assert [failure.path for failure in report.failures] == [f"{table}#2", f"{table}#3"]


def test_indexing_a_table_reports_progress(library: Library, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("c\n" + "red\nblue\ngreen\n" * 400)
    seen: list[Progress] = []
    library.index(table, seen.append, text_column="c")
    assert seen[-1].done == seen[-1].total == 1200


def test_a_library_without_texts_says_so(library: Library, pictures: Path) -> None:
    library.index(pictures)
    with pytest.raises(QueryError, match="holds no texts"):
        library.search("red", kind="text")
    with pytest.raises(QueryError, match="kind is 'words'"):
        library.search("red", kind="words")  # type: ignore[arg-type]


def test_both_matrices_are_kept_and_current(library: Library, table: Path, pictures: Path) -> None:
    library.index([pictures, table], text_column="caption")
    library.search("red", kind="text")
    derived = library.folder / "derived"
    assert len(list(derived.iterdir())) == 2
    (pictures / "red.png").unlink()
    library.index()
    assert len(library.search("red", k=9)) == 3
    assert len(library.search("red", k=9, kind="text")) == 3
    assert {path.name.partition("-")[0] for path in derived.iterdir()} == {str(library.stats().generation)}
