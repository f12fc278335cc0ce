"""Relevance: what is probably meant, and the answer that nothing here matches."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from crosslens import Hit, Library, Matcher, app_folders
from crosslens.cli.app import main
from crosslens.cli.output.hits import hit_table
from crosslens.errors import QueryError, TextError
from crosslens.library.query_search import Asked, Page, find, read, search
from crosslens.library.result_relevance import is_known, showable
from crosslens.models.null_texts import UNPICTURED
from crosslens.models.probe_texts import PROBES
from crosslens.models.spec import ModelSpec, RelevanceSpec
from crosslens.search.filter_conditions import Relevant
from crosslens.search.query_language import Filter, Query, parse
from crosslens.search.relevance_calibration import RELEVANT, TOP, Background, Presence, level, relevance
from crosslens.towers.fake_model import FAKE_SPEC, FakeModel
from crosslens.types import Float32

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
COLOURS = ("red", "green", "blue", "yellow", "magenta", "cyan", "white")


@pytest.fixture
def library(fake: Matcher, paint: Callable[..., Path], tmp_path: Path) -> Iterator[Library]:
    """Seven colours, and nothing black. Texts that no picture shows are black to the fake model."""
    for colour in COLOURS:
        paint(f"{colour}.png")
    with Library.open(tmp_path / "library", fake) as opened:
        opened.index(paint("red.png").parent)
        yield opened


def names(hits: list[Hit]) -> list[str]:
    return [Path(hit.path).stem for hit in hits]


def numbers(
    scores: list[float], best: list[float], levels: list[float], centre: float = 0.0, size: int = 1000
) -> Float32:
    """Relevance for a query along the first axis."""
    query, middle = np.eye(2, dtype=np.float32)[0], np.array([centre, 0], np.float32)
    background = Background(np.array(levels, np.float32), middle, size, usual=0.1)
    return relevance(np.array(scores, np.float32), np.array(best, np.float32), query, background)


# -- the numbers ----------------------------------------------------------------------------------


def test_a_level_is_made_of_the_five_best_and_the_best_counts_for_more() -> None:
    best = np.array([[0.9, 0.5, 0.5, 0.5, 0.1, 0.7]], np.float32)
    assert level(best)[0] == pytest.approx(0.25 * 0.9 + 0.75 * 0.5)
    assert level(best[:, :1])[0] == pytest.approx(0.9)


def test_what_is_above_all_that_no_picture_shows_is_relevant_and_what_is_not_is_not() -> None:
    nothings = [0.10, 0.12, 0.14, 0.16, 0.18]
    assert numbers([0.4], [0.4] * TOP, nothings)[0] > 0.99
    assert numbers([0.14], [0.14] * TOP, nothings)[0] < 0.1
    # At 1.75 deviations above their mean it is an even chance.
    even = float(np.mean(nothings) + 1.75 * np.std(nothings))
    assert numbers([even], [even] * TOP, nothings)[0] == pytest.approx(0.5, abs=1e-3)


def test_relevance_falls_with_the_score_and_ends_before_the_mean_of_the_library() -> None:
    found = numbers([0.9, 0.8, 0.7, 0.6, 0.5, 0.3], [0.9, 0.8, 0.7, 0.6, 0.5], [0.1, 0.2], centre=0.3)
    assert (np.diff(found) <= 0).all()
    assert found[0] > 0.95
    assert found[-1] == 0
    assert ((found >= 0) & (found <= 1)).all()


def test_one_picture_that_nothing_is_like_is_relevant() -> None:
    nothings = [0.18, 0.20, 0.22, 0.21, 0.19]
    [lone, next_one] = numbers([0.33, 0.22], [0.33, 0.22, 0.22, 0.22, 0.21], nothings, centre=0.18)
    assert lone > 0.9
    assert next_one < RELEVANT


def test_neither_of_two_pictures_that_are_alike_is_nothing() -> None:
    first, second = numbers([0.36, 0.31], [0.36, 0.31], [0.08, 0.12], centre=0.335, size=2)
    assert first > second > RELEVANT
    # Among a thousand like them, the one below their mean is no result.
    assert numbers([0.36, 0.31], [0.36] * TOP, [0.08, 0.12], centre=0.335)[1] == 0


def test_a_model_may_have_its_own_fit() -> None:
    background = Background(np.array([0.1, 0.2], np.float32), np.zeros(2, np.float32), 1000, usual=0.1)
    query, scores = np.eye(2, dtype=np.float32)[0], np.full(TOP, 0.25, np.float32)  # two deviations above
    for fitted, wanted in ((Presence(2.0, 3.0), 0.5), (Presence(1.0, 3.0), 1 / (1 + np.exp(-3)))):
        assert relevance(scores[:1], scores, query, background, fitted)[0] == pytest.approx(wanted, abs=1e-4)


def test_a_library_whose_pictures_are_all_alike_has_one_relevance() -> None:
    found = numbers([0.4, 0.4], [0.4, 0.4], [0.1, 0.2], centre=0.4)
    assert np.isfinite(found).all()
    assert found[0] == found[1] > RELEVANT


def test_texts_that_no_picture_shows_are_many_different_and_no_others() -> None:
    assert len(set(UNPICTURED)) == len(UNPICTURED) >= 100
    written = {
        line.partition("\t")[0]
        for name in ("absent_queries.txt", "present_queries.txt")
        for line in (BENCHMARKS / name).read_text().splitlines()
    }
    assert len(written) > 220
    assert not set(UNPICTURED) & (written | set(PROBES)), "what is measured with must not be tested with"


# -- searching ------------------------------------------------------------------------------------


def test_a_search_by_words_says_how_relevant_its_pictures_are(library: Library) -> None:
    hits = library.search("red", k=7)
    assert names(hits)[0] == "red"
    assert all(hit.relevance is not None and 0 <= hit.relevance <= 1 for hit in hits)
    found = [hit.relevance or 0 for hit in hits]
    assert found[0] > 0.99
    assert found == sorted(found, reverse=True)
    assert found[-1] < RELEVANT


def test_only_what_is_relevant_is_kept(library: Library) -> None:
    kept = search(library, "red relevant:", k=7)
    assert names(kept) == [Path(hit.path).stem for hit in library.search("red", k=7)][: len(kept)]
    assert 0 < len(kept) < 7
    assert all((hit.relevance or 0) >= RELEVANT for hit in kept)


def test_a_search_can_say_that_there_is_nothing(library: Library) -> None:
    assert len(search(library, "an elephant", k=7)) == 7
    assert search(library, "an elephant relevant:", k=7) == []


def test_pages_of_what_is_relevant_are_parts_of_it(library: Library) -> None:
    kept = search(library, "red relevant:", k=7)
    one_by_one = [hit for n in range(7) for hit in search(library, "red relevant:", k=1, offset=n)]
    assert one_by_one == kept
    by_path = search(library, "red relevant:", k=7, sort="path")
    assert names(by_path) == sorted(names(kept))


@pytest.mark.parametrize("k", [1, 3, 100])
def test_relevance_does_not_depend_on_how_many_are_asked_for(library: Library, k: int) -> None:
    [whole] = library.search("yellow", k=5)[:1]
    assert library.search("yellow", k=k)[0].relevance == pytest.approx(whole.relevance)


def test_filters_do_not_make_relevant_what_is_not(library: Library) -> None:
    [only] = search(library, "red path:green.png")
    assert (only.relevance or 0) < RELEVANT
    assert search(library, "red path:green.png relevant:") == []
    assert names(search(library, "red path:red.png relevant:")) == ["red"]


def test_a_filter_that_leaves_many_changes_no_relevance(library: Library) -> None:
    whole = {hit.path: hit.relevance for hit in library.search("red", k=7)}
    left = search(library, "red -path:red.png -path:green.png", k=7)
    assert len(left) == TOP
    assert {hit.path: hit.relevance for hit in left}.items() <= whole.items()


def test_many_searches_at_once_have_it_too(library: Library) -> None:
    texts = ["red", "an elephant", "yellow and green"]
    assert library.search_many(texts, k=2) == [library.search(text, k=2) for text in texts]
    assert library.search_many([], k=2) == []


def test_each_of_several_libraries_is_judged_by_itself(
    library: Library, fake: Matcher, paint: Callable[..., Path], tmp_path: Path
) -> None:
    for shade in ("blue", "cyan"):
        paint(f"../more/{shade}.png", shade)
    with Library.open(tmp_path / "other", fake) as other:
        other.index(tmp_path / "more")
        hits = search([library, other], "red relevant:", k=20)
        assert names(hits)[0] == "red"
        assert {hit.library for hit in hits} == {str(library.folder)}


def test_a_library_of_one_picture_can_be_judged(
    fake: Matcher, paint: Callable[..., Path], tmp_path: Path
) -> None:
    with Library.open(tmp_path / "one", fake) as one:
        one.index(paint("red.png").parent)
        assert names(search(one, "red relevant:")) == ["red"]
        assert search(one, "blue relevant:") == []


@pytest.mark.parametrize(
    "query",
    ["red -blue relevant:", '"red" relevant:', "2*red relevant:", "~#1 red relevant:", "relevant:",
     "red kind:text relevant:", "ext:png relevant:"],
)  # fmt: skip
def test_it_is_refused_where_it_is_not_known(library: Library, query: str) -> None:
    library.add(texts=["a red wall"])
    with pytest.raises(QueryError, match="relevance is known of pictures alone"):
        search(library, query)


def test_what_was_not_measured_has_none(library: Library, paint: Callable[..., Path]) -> None:
    library.add(texts=["a red wall"])
    asked = (
        Asked(read("red -blue")),
        Asked(read("red"), image=str(paint("red.png"))),
        Asked(read("red"), without="blue"),
        Asked(read("red"), kind="text"),
        Asked(Query(), image=str(paint("red.png"))),
        Asked(read("ext:png")),
    )
    for one in asked:
        hits = find(library, one, Page())
        assert hits
        assert all(hit.relevance is None for hit in hits)
    assert library.get(hits[0].id).relevance is None  # type: ignore[union-attr]


def test_a_model_that_reads_no_english_has_none(
    library: Library, fake: Matcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_known(FAKE_SPEC)
    assert is_known(replace(FAKE_SPEC, scripts=()))
    monkeypatch.setattr(fake.model, "spec", replace(FAKE_SPEC, scripts=("CJK",)), raising=False)
    assert library.search("red")[0].relevance is None
    with pytest.raises(QueryError, match="relevance is known"):
        search(library, "red relevant:")


# -- where it is shown ----------------------------------------------------------------------------


def of_model(missed: float, false_alarms: float) -> ModelSpec:
    return replace(FAKE_SPEC, relevance=RelevanceSpec(1.75, 1.8, missed, false_alarms, "here"))


@pytest.mark.parametrize(
    ("spec", "is_shown"),
    [(of_model(0.1, 0.1), True), (of_model(0.101, 0.0), False), (of_model(0.0, 0.2), False),
     (replace(FAKE_SPEC, relevance=None), False)],
)  # fmt: skip
def test_it_is_shown_where_both_rates_hold(library: Library, spec: ModelSpec, is_shown: bool) -> None:
    assert spec.shows_relevance is is_shown
    hits = library.search("red", k=2)
    shown = [hit.relevance for hit in showable(hits, spec)]
    assert shown == ([hit.relevance for hit in hits] if is_shown else [None, None])


def test_where_it_does_not_hold_the_terminal_has_no_figure_and_the_filter_stays(
    library: Library, fake: Matcher, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("crosslens.cli.app._prepare_streams", lambda: None)
    monkeypatch.setattr(FakeModel, "spec", of_model(0.3, 0.3))
    library.close()
    asked = ["search", "-L", str(library.folder), "--json", "-k", "2"]
    for more in ([], ["--group", "folder"]):
        assert main([*asked, "red", *more]) == 0
        assert "relevance" not in capsys.readouterr().out
    assert main([*asked, "an elephant", "--relevant"]) == 0
    assert json.loads(capsys.readouterr().out)["hits"] == []


def test_a_model_may_have_its_own_fit_in_a_search(
    library: Library, fake: Matcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = library.search("red")[0].relevance or 0
    strict = replace(FAKE_SPEC, relevance=RelevanceSpec(1e6, 1.8, 0, 0, "here"))
    monkeypatch.setattr(fake.model, "spec", strict, raising=False)
    assert before > 0.99
    assert (library.search("red")[0].relevance or 0) < 0.01


@pytest.mark.shared
def test_neither_of_two_dogs_is_nothing(starter: Matcher, shared: Path, tmp_path: Path) -> None:
    photos = shared / "eval" / "photos"
    with open(photos / "captions.tsv") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    told: dict[str, str] = {}
    for row in rows:
        told[row["file"]] = told.get(row["file"], "") + " " + row["caption"].lower()
    dogs = sorted(name for name, text in told.items() if len(re.findall(r"\bdog\b", text)) >= 5)
    assert len(dogs) >= 8
    for number in range(0, 8, 2):
        with Library.open(tmp_path / f"two-{number}", starter) as two:
            two.index([photos / name for name in dogs[number : number + 2]])
            hits = two.search("dog")
            assert len(hits) == 2
            assert all(f"{hit.relevance:.0%}" != "0%" for hit in hits)
            # What one is, the other is nearly.
            assert (hits[1].relevance or 0) > (hits[0].relevance or 0) / 3


# -- what is kept ---------------------------------------------------------------------------------


@pytest.fixture
def embedded(fake: Matcher, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts each call embedded."""
    counts: list[int] = []
    embed = fake.embed_texts

    def counting(texts: Any, *rest: Any) -> Float32:
        counts.append(len(texts))
        return embed(texts, *rest)

    monkeypatch.setattr(fake, "embed_texts", counting)
    return counts


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, still empty."""
    monkeypatch.setattr(app_folders, "relevance", lambda identity: tmp_path / "cache" / identity)
    return tmp_path / "cache" / FAKE_SPEC.identity


def test_the_texts_are_embedded_once_for_a_model(library: Library, embedded: list[int], cache: Path) -> None:
    for text in ("red", "blue", "green"):
        library.search(text)
    assert embedded == [1, len(UNPICTURED), 1, 1]
    assert len(list(cache.iterdir())) == 2


def test_a_library_that_has_changed_is_judged_anew(
    library: Library, embedded: list[int], cache: Path, paint: Callable[..., Path]
) -> None:
    assert search(library, "an elephant relevant:") == []
    [file] = cache.glob("*.json")
    before = json.loads(file.read_text())
    paint("black.png")
    library.index()
    # What is not there is black to the fake model, and now there is something black.
    library.search("red")
    after = json.loads(file.read_text())
    assert after["stamp"] != before["stamp"]
    assert max(before["levels"]) < 0.01 < min(after["levels"])
    assert embedded.count(len(UNPICTURED)) == 1


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"stamp": 1, "levels": [NaN]}', b"\xff" * 4000])
def test_damaged_files_are_made_anew(library: Library, cache: Path, damage: bytes) -> None:
    before = library.search("red", k=7)
    files = sorted(cache.iterdir())
    good = [file.read_bytes() for file in files]
    for file in files:
        file.write_bytes(damage)
    assert library.search("red", k=7) == before
    assert [file.read_bytes() for file in files] == good


def test_levels_that_cannot_be_are_not_believed(library: Library, cache: Path) -> None:
    before = library.search("red", k=7)
    [file] = cache.glob("*.json")
    kept = json.loads(file.read_text())
    for levels in ([], [2.0] * 5, [[0.1]], "high", None):
        file.write_text(json.dumps({**kept, "levels": levels}))
        assert library.search("red", k=7) == before


def test_a_cache_that_cannot_be_written_costs_time_only(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(app_folders, "relevance", lambda identity: tmp_path / "file" / identity)
    assert (library.search("red")[0].relevance or 0) > 0.99


# -- the query language and the command line ------------------------------------------------------


def test_relevant_is_a_filter_without_a_value() -> None:
    query = parse("dogs Relevant: ext:png")
    assert Filter(Relevant()) in query.filters
    assert query.relevant
    assert query.words == "dogs"
    assert str(query) == "dogs relevant: ext:png"
    assert parse("dogs\\: relevant\\:") == Query("dogs: relevant:")
    assert parse(str(parse("relevant\\:"))) == Query("relevant:")


def test_a_table_shows_it_in_per_cent_where_it_is_known(library: Library) -> None:
    def table(hits: list[Hit]) -> str:
        console = Console(width=200, record=True, file=StringIO())
        console.print(hit_table({"text": "red"}, hits, thumbnails=False))
        return console.export_text()

    assert re.search(r"^1 +1\.000 +100% ", table(library.search("red", k=2)), re.MULTILINE)
    assert "%" not in table(search(library, "red -blue", k=2))


@pytest.fixture
def command_line(library: Library, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The beginning of a search of the library."""
    monkeypatch.setattr("crosslens.cli.app._prepare_streams", lambda: None)
    library.close()
    return ["search", "-L", str(library.folder)]


def test_the_command_says_that_nothing_matches(
    command_line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [*command_line, "an elephant", "--relevant"]
    assert main(asked) == 0
    assert capsys.readouterr().out == "nothing here matches\n"
    assert main([*command_line, "an elephant relevant:", "--group", "folder"]) == 0
    assert capsys.readouterr().out == "nothing here matches\n"
    assert main([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hits"] == []
    assert main([*command_line, "an elephant path:nowhere"]) == 0
    assert capsys.readouterr().out == "nothing found\n"


def test_the_command_keeps_what_is_meant(command_line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command_line, "red", "--relevant", "--json"]) == 0
    hits = json.loads(capsys.readouterr().out)["hits"]
    assert 0 < len(hits) < 7
    assert all(hit["relevance"] >= RELEVANT for hit in hits)


def test_the_command_refuses_it_where_it_is_not_known(
    command_line: list[str], paint: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command_line, "--image", str(paint("red.png")), "--relevant"]) == 1
    assert "relevance is known of pictures alone" in capsys.readouterr().err
    assert main([*command_line, "--queries", "-", "--relevant"]) == 2


# -- one bare word --------------------------------------------------------------------------------


def test_a_search_asks_for_what_was_typed(fake: Matcher, paint: Callable[..., Path], tmp_path: Path) -> None:
    with Library.open(tmp_path / "words", fake) as opened:
        opened.index(paint("red.png").parent)
        [vector] = fake.embed_texts(["dog"])
        [picture] = fake.embed_images([paint("red.png")])
        assert opened.search("dog")[0].score == pytest.approx(float(vector @ picture), abs=1e-3)
        assert opened.search_many(["dog"])[0][0].score == opened.search("dog")[0].score
        with pytest.raises(TextError):
            opened.search_many([5])  # type: ignore[list-item]


# -- what docs/relevance.md says ------------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore::crosslens.errors.TextTruncatedWarning")
def test_the_starter_tells_absent_things_as_docs_relevance_says(
    starter: Matcher, shared: Path, tmp_path: Path
) -> None:
    data = shared / "eval" / "flickr8k-test"
    with open(data / "captions.tsv") as file:
        captions = [row["caption"] for row in csv.DictReader(file, delimiter="\t")][::10]
    absent = (BENCHMARKS / "absent_queries.txt").read_text().splitlines()
    with Library.open(tmp_path / "eval", starter) as opened:
        opened.index(data / "images")
        answered, false = (
            np.mean([(hits[0].relevance or 0) >= RELEVANT for hits in opened.search_many(texts, k=1)])
            for texts in (captions, absent)
        )
    assert answered >= 0.98
    assert false == pytest.approx(0.38, abs=0.03)
