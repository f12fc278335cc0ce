"""The query language: what is read, what is printed, and what errors point at."""

from __future__ import annotations

import pickle
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crosslens.errors import QueryError, QuerySyntaxError
from crosslens.search.filter_conditions import (
    Amount,
    Camera,
    Date,
    Day,
    Extension,
    Glob,
    Has,
    Kind,
    Near,
    Relevant,
)
from crosslens.search.query_language import Filter, Phrase, Picture, Query, parse
from crosslens.search.query_mixing import WITHOUT_WEIGHT

PAGE = Path(__file__).parents[2] / "docs" / "query.md"


def only(text: str) -> Any:
    """The one filter of a query."""
    [found] = parse(text).filters
    return found.condition


# -- words, phrases and pictures ------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "two dogs on a beach",
        "black-and-white photo",
        "at 10:30",
        '27" monitor',
        "it's me",
        "rock & roll (live)",
        "AC\\DC",
        "C#",
        "3 * 4",
        "a - b",
        "note: the rest",
        "--",
        "Zürich 北京",
        "#12",
    ],
)
def test_plain_words_are_one_phrase(text: str) -> None:
    assert parse(text) == Query(text)
    assert parse(text).is_plain


def test_words_around_operators_are_one_phrase() -> None:
    assert parse(" two\tdogs -people  on ext:jpg a beach ").words == "two dogs on a beach"


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("-people", Phrase("people", WITHOUT_WEIGHT, quoted=False)),
        ('-"wet fur"', Phrase("wet fur", WITHOUT_WEIGHT)),
        ('"wet fur"', Phrase("wet fur")),
        ('1.5*"wet fur"', Phrase("wet fur", 1.5)),
        ("2*wet", Phrase("wet", 2.0, quoted=False)),
        ("-2*wet", Phrase("wet", -2.0, quoted=False)),
        ('"say \\"hi\\" \\\\ there"', Phrase('say "hi" \\ there')),
        ("~dog.jpg", Picture("dog.jpg")),
        ("-~./dog.jpg", Picture("./dog.jpg", WITHOUT_WEIGHT)),
        ('0.5*~"my dog.jpg"', Picture("my dog.jpg", 0.5)),
        ("~#12", Picture(12)),
        ('~"#12"', Picture("#12")),
        ("~C:\\dog.jpg", Picture("C:\\dog.jpg")),
        ("-\\-x", Phrase("-x", WITHOUT_WEIGHT, quoted=False)),
    ],
)
def test_terms(text: str, term: Phrase | Picture) -> None:
    assert parse(text) == Query(terms=(term,))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\\-people", "-people"),
        ('\\"dogs', '"dogs'),
        ("\\~50", "~50"),
        ("2\\*3", "2*3"),
        ("ext\\:jpg", "ext:jpg"),
        ("a\\\\:b", "a\\:b"),
        ("\\\\", "\\"),
    ],
)
def test_a_backslash_makes_an_ordinary_character(text: str, words: str) -> None:
    assert parse(text) == Query(words)


def test_nothing_asks_for_nothing() -> None:
    assert parse("") == parse("  \n ") == Query()
    assert not parse("").is_plain


# -- filters --------------------------------------------------------------------------------------


def test_the_query_of_the_design_is_read() -> None:
    query = parse(
        'two dogs on a beach -people 1.5*"wet fur" ~./dog.jpg after:2023-05 before:2024 path:holiday/** '
        "-ext:heic size:>2mb near:48.85,2.35,5km camera:pixel kind:text"
    )
    assert query.words == "two dogs on a beach"
    assert query.terms == (Phrase("people", -0.5, quoted=False), Phrase("wet fur", 1.5), Picture("./dog.jpg"))
    assert query.kind == "text"
    assert query.filters == (
        Filter(Date("after", Day(2023, 5))),
        Filter(Date("before", Day(2024))),
        Filter(Glob("holiday/**")),
        Filter(Extension(("heic",)), negated=True),
        Filter(Amount("size", ">", 2_000_000)),
        Filter(Near(48.85, 2.35, 5.0, "km")),
        Filter(Camera("pixel")),
        Filter(Kind("text")),
    )


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        ("after:2023", datetime(2023, 1, 1), None),
        ("after:2023-05", datetime(2023, 5, 1), None),
        ("before:2024-02-29", None, datetime(2024, 2, 29)),
        ("date:2023", datetime(2023, 1, 1), datetime(2024, 1, 1)),
        ("date:2023-12", datetime(2023, 12, 1), datetime(2024, 1, 1)),
        ("date:2023-5-7", datetime(2023, 5, 7), datetime(2023, 5, 8)),
        ("date:2023-05..2023-08", datetime(2023, 5, 1), datetime(2023, 9, 1)),
        ("date:2022..2023-02-28", datetime(2022, 1, 1), datetime(2023, 3, 1)),
    ],
)
def test_dates_are_from_their_first_moment_to_the_end_of_their_last(
    text: str, begin: datetime | None, end: datetime | None
) -> None:
    assert (only(text).begin, only(text).end) == (begin, end)


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("size:>2mb", 2_000_001, None),
        ("size:>=2MB", 2_000_000, None),
        ("size:<1.5kib", 0, 1535),
        ("size:<=10", 0, 10),
        ("size:500kb..2mb", 500_000, 2_000_000),
        ("width:1920", 1920, 1920),
        ("height:=10", 10, 10),
        ("width:800..1200", 800, 1200),
    ],
)
def test_amounts_have_bounds(text: str, least: int, most: int | None) -> None:
    bounds = only(text).bounds
    assert bounds[0] == least
    assert bounds[1] == most or (most is None and bounds[1] > 10**15)


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("holiday", "/p/holiday/a.jpg", True),
        ("holiday", "/p/holiday.jpg", False),
        ("holiday/**", "/p/Holiday/x/a.jpg", True),
        ("holiday/**", "/holiday", False),
        ("holiday/", "/p/holiday", False),
        ("holiday/", "/p/holiday/a", True),
        ("/p", "/p/a.jpg", True),
        ("/p", "/q/p/a.jpg", False),
        ("*.jpg", "/p/a.JPG", True),
        ("*.jpg", "/p/a.jpg.png", False),
        ("a?.jpg", "/p/ab.jpg", True),
        ("a?.jpg", "/p/a/b.jpg", False),
        ("a*b", "/p/a/b", False),
        ("x/*/z", "/x/y/z", True),
        ("x/*/z", "/x/y/y/z", False),
        ("x/**/z", "/x/z", True),
        ("x/**/z", "/x/y/y/z/a.jpg", True),
        ("x/**/y/**/z", "/x/y/a/y/z", True),
        ("**", "/a", True),
        ("2023-[01]?/", "/p/2023-12/a.jpg", True),
        ("2023-[!1]*", "/p/2023-12/a.jpg", False),
        ("[z", "/p/[z", True),
    ],
)
def test_patterns_of_paths_are_gitignores(pattern: str, path: str, fits: bool) -> None:
    assert only(f'path:"{pattern}"').fits(path) is fits


def test_a_pattern_full_of_stars_is_decided_at_once() -> None:
    assert not Glob("*a" * 100 + "/" + "**/x/" * 100 + "b").fits("/" + "a" * 250 + "/x" * 500)


@pytest.mark.parametrize(
    ("text", "kind"),
    [("kind:text", "text"), ("-kind:text", "image"), ("kind:image -kind:text", "image"), ("a", None)],
)
def test_the_kind_is_what_the_query_says(text: str, kind: str | None) -> None:
    assert parse(text).kind == kind


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("dogs befor:2023", 6, "there is no filter 'befor'. Did you mean before"),
        ("dogs -xyzzy:1", 7, "Filters are after, before"),
        ('dogs "wet fur', 6, "the quotes are not closed"),
        ('dogs "wet"fur', 11, "Put a space between"),
        ('dogs ""', 6, "in quotes is empty"),
        ("dogs after: 2023", 12, "has no value"),
        ("dogs after:yesterday", 12, "'yesterday' is no date"),
        ("date:2023-13", 6, "2023-13 is no date"),
        ("date:2023-02-30", 6, "is no date"),
        ("date:2023-00", 6, "is no date"),
        ("date:0001", 6, "is no date"),
        ("date:2023..2022", 6, "earlier date first"),
        ("after:2022..2023", 7, "date:2022..2023"),
        ("size:big", 6, "'big' is no size"),
        ("size:>2mm", 6, "'2mm' is no size"),
        ("width:>2mb", 7, "is no width"),
        ("width:1.5", 7, "is no width"),
        ("size:2mb..1mb", 6, "smaller number first"),
        ("size:999999999999tb", 6, "more than any size"),
        ("a near:48.85,2.35", 8, "near:48.85,2.35,5km"),
        ("near:98,2,5km", 6, "not on the Earth"),
        ("near:8,2,0km", 6, "reaches nowhere"),
        ("ext:.", 5, "ext:jpg,png"),
        ("path:/", 6, "no pattern of paths"),
        ("has:legs", 5, "has:place"),
        ("dogs relevant:very", 15, "relevant takes no value"),
        ("dogs -relevant:", 7, "relevant: cannot be turned round"),
        ("kind:video", 6, "kind:image or kind:text"),
        ("a ~", 3, "names no picture"),
        ("a ~#x", 4, "no number of an item"),
        ("a 0*b", 3, "out of range"),
        ("a 2*ext:jpg", 3, "takes no weight"),
    ],
)
def test_an_error_points_at_the_character(text: str, column: int, says: str) -> None:
    with pytest.raises(QuerySyntaxError, match=re.escape(says)) as raised:
        parse(text)
    assert raised.value.column == column
    assert f"character {column} of the query" in str(raised.value)
    line, caret = raised.value.pointer.split("\n")
    assert line[len(caret) - 1 :] == text[column - 1 :]
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)  # noqa: S301


def test_a_long_query_is_shown_around_the_error() -> None:
    with pytest.raises(QuerySyntaxError) as raised:
        parse("dog " * 500 + "befor:2023\n" + "cat " * 500)
    line, caret = raised.value.pointer.split("\n")
    assert len(line) <= 100
    assert line[caret.index("^") :].startswith("befor:2023 cat")


@pytest.mark.parametrize("text", ["kind:text kind:image", "kind:text -kind:text", "a" * 20_000, 5])
def test_a_query_that_cannot_be_is_refused(text: Any) -> None:
    with pytest.raises(QueryError):
        parse(text)


# -- what is printed ------------------------------------------------------------------------------

texts = st.text(st.characters(codec="utf-8") | st.sampled_from(' "\\-~:*#'), min_size=1, max_size=20).filter(
    lambda text: bool(text.strip())
)
weights = st.floats(0.001, 1000) | st.sampled_from([1.0, 0.5, 1.5])
signed = st.tuples(weights, st.sampled_from([1, -1])).map(lambda pair: pair[0] * pair[1])
days = st.dates(datetime(1800, 1, 1).date(), datetime(2999, 12, 31).date()).flatmap(
    lambda day: st.sampled_from([Day(day.year), Day(day.year, day.month), Day(day.year, day.month, day.day)])
)
numbers = st.integers(0, 10**12) | st.sampled_from([0, 2000, 5 * 10**6, 10**9])
conditions = st.one_of(
    st.builds(Date, st.sampled_from(["after", "before", "date"]), days),
    st.lists(days, min_size=2, max_size=2)
    .map(lambda two: sorted(two, key=lambda day: day.begin))
    .map(lambda two: Date("date", *two)),
    st.builds(
        Amount,
        st.sampled_from(["size", "width", "height"]),
        st.sampled_from(["<", "<=", "=", ">=", ">"]),
        numbers,
    ),
    st.lists(numbers, min_size=2, max_size=2).map(lambda two: Amount("size", "..", min(two), max(two))),
    texts.filter(lambda text: any(text.split("/"))).map(Glob),
    st.lists(st.from_regex(r"[a-z0-9]{1,5}(\.gz)?", fullmatch=True), min_size=1, max_size=3).map(
        lambda endings: Extension(tuple(endings))
    ),
    st.builds(
        Near,
        st.floats(-90, 90),
        st.floats(-180, 180),
        st.floats(0.001, 10_000),
        st.sampled_from(["m", "km", "mi"]),
    ),
    texts.map(Camera),
    st.sampled_from(["date", "place", "camera"]).map(Has),
    st.just(Kind("text")),
    st.just(Relevant()),
)
terms = st.builds(Phrase, texts, signed) | st.builds(
    Picture, texts | st.just("#12") | st.integers(0, 10**15), signed
)
queries = st.builds(
    Query,
    st.lists(texts, max_size=4).map(lambda words: " ".join(" ".join(words).split())),
    st.lists(terms, max_size=3).map(tuple),
    st.lists(st.builds(Filter, conditions, st.booleans()), max_size=4).map(tuple),
).filter(
    lambda query: (
        len({f.negated for f in query.filters if isinstance(f.condition, Kind)}) < 2
        and Filter(Relevant(), negated=True) not in query.filters
    )
)


@settings(deadline=None, max_examples=500)
@given(queries)
def test_what_is_printed_parses_to_itself(query: Query) -> None:
    assert parse(str(query)) == query
    assert str(parse(str(query))) == str(query)


@settings(deadline=None, max_examples=500)
@given(
    st.text(max_size=40)
    | st.lists(
        st.sampled_from(
            ["-", "~", '"', "\\", "*", "2*", "ext:", "after:", "near:", "1,2,3km", "2023", "#1", " ", "a"]
        ),
        max_size=12,
    ).map("".join)
)
@example('-"a"')
@example("ext:\\")
@example("-\\-")
def test_any_text_is_read_or_refused_where_it_goes_wrong(text: str) -> None:
    try:
        query = parse(text)
    except QueryError as error:
        column = error.column if isinstance(error, QuerySyntaxError) else 1
    else:
        column = 1
        assert parse(str(query)) == query
    assert 1 <= column <= len(text) + 1


# -- the page -------------------------------------------------------------------------------------


def test_every_filter_is_on_the_page_and_its_examples_are_read() -> None:
    page = PAGE.read_text()
    from crosslens.search.filter_values import CONDITIONS

    assert {name for name in CONDITIONS if f"`{name}:" not in page} == set()
    shown = re.findall(r"^    (?!\w+ +=)(.+?)(?:   +.*)?$", page.partition("## Errors")[0], re.MULTILINE)
    assert len(shown) > 10
    for line in shown:
        assert parse(str(parse(line))) == parse(line), line


def test_every_error_on_the_page_is_the_one_that_is_raised() -> None:
    shown = re.findall(r"^    error: (.*)\n      (.*)\n      ( *)\^", PAGE.read_text(), re.MULTILINE)
    assert shown
    for message, text, spaces in shown:
        with pytest.raises(QuerySyntaxError) as raised:
            parse(text)
        assert (str(raised.value), raised.value.column) == (message, len(spaces) + 1)
