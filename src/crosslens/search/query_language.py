"""The query language: parser and printer, a line of text ↔ `Query`. docs/query.md has the grammar.

    two dogs on a beach -people 1.5*"wet fur" ~./dog.jpg after:2023-05 -ext:heic

`parse` reads one, `str` prints it so that it parses to itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TypeAlias

from crosslens.errors import QueryError, QuerySyntaxError
from crosslens.search.filter_conditions import Condition, Kind, Relevant, plain, quote, quoted_if_needed
from crosslens.search.filter_values import CONDITIONS, WITHOUT_VALUE
from crosslens.search.query_mixing import WITHOUT_WEIGHT
from crosslens.types import Modality

_WEIGHT = re.compile(r"(\d{1,4}(?:\.\d{1,20})?)\*(?=\S)", re.ASCII)
_LEAST_WEIGHT, _LARGEST_WEIGHT = 0.001, 1000.0
_NAME = re.compile(r"([A-Za-z]+):", re.ASCII)
_ESCAPED = '\\"-~:*'  # what a backslash makes an ordinary character of
_LONGEST = 10_000
# SQLite puts together no more than a thousand conditions; nobody means so many.
_MOST_FILTERS = 100


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase beside the words of a query. weight: of `search.query_mixing.Term`; negative pushes away.

    quoted: looked for in captions, tags and names, too.
    """

    text: str
    weight: float = 1.0
    quoted: bool = True

    def __str__(self) -> str:
        # After a "-" even one that stands alone would be read as an operator's.
        bare = "\\-" if self.text == "-" else _escaped(self.text)
        return _weighted(self.weight, quote(self.text) if self.quoted else bare)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture beside the words: a file, or an item by its number. at: its place in the text."""

    source: str | int
    weight: float = 1.0
    at: int = field(default=0, compare=False)

    def __str__(self) -> str:
        if isinstance(self.source, int):
            return _weighted(self.weight, f"~#{self.source}")
        is_number = self.source.startswith("#")
        return _weighted(self.weight, "~" + (quote if is_number else quoted_if_needed)(self.source))


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on the items found, or that it does not hold."""

    condition: Condition
    negated: bool = False

    def __str__(self) -> str:
        return f"{'-' if self.negated else ''}{self.condition}"


Part: TypeAlias = Phrase | Picture | Filter


@dataclass(frozen=True, slots=True)
class Query:
    """What a line asks for. words: those without an operator, one phrase; "" where there are none."""

    words: str = ""
    terms: tuple[Phrase | Picture, ...] = ()
    filters: tuple[Filter, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether there are words, and nothing else."""
        return bool(self.words) and not self.terms and not self.filters

    @property
    def kind(self) -> Modality | None:
        """What is to be found; None where the query does not say. Raises QueryError if it says both."""
        kinds = {_kind_of(f) for f in self.filters if isinstance(f.condition, Kind)}
        if len(kinds) > 1:
            raise QueryError("nothing is a picture and a text", "Leave one kind: away")
        return kinds.pop() if kinds else None

    @property
    def relevant(self) -> bool:
        """Whether results are wanted only if they are probably meant."""
        return any(isinstance(f.condition, Relevant) for f in self.filters)

    def __str__(self) -> str:
        words = [_escaped(word) for word in self.words.split()]
        return " ".join([*words, *map(str, self.terms), *map(str, self.filters)])


def parse(text: str) -> Query:
    """A query from a line of text. Raises QuerySyntaxError, which says where; QueryError for no text."""
    if not isinstance(text, str):
        raise QueryError(f"the query is {type(text).__name__}", "Wanted a text")
    if len(text) > _LONGEST:
        raise QueryError(f"the query has {len(text):,} characters", f"Give at most {_LONGEST:,}")
    return _Reader(text).query()


class _Reader:
    """Reads a query from left to right. `_at`: the next character."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def query(self) -> Query:
        words: list[str] = []
        terms: list[Phrase | Picture] = []
        filters: list[Filter] = []
        while self._skip_spaces():
            start, part = self._at, self._part()
            if isinstance(part, str):
                words.append(part)
            elif isinstance(part, Filter):
                if len(filters) == _MOST_FILTERS:
                    raise self._error(start, f"there are more than {_MOST_FILTERS} filters", "Leave some out")
                filters.append(part)
            else:
                terms.append(part)
        query = Query(" ".join(words), tuple(terms), tuple(filters))
        query.kind  # noqa: B018 (a query that asks for two kinds is refused here)
        return query

    def _part(self) -> str | Part:
        """A word, or what an operator makes."""
        away = self._next() == "-" and self._peek(1) not in ("", "-") and not self._peek(1).isspace()
        self._at += away
        start = self._at
        if condition := self._condition():
            if away and isinstance(condition, Relevant):
                remedy = "Leave the - away; for the word itself put it in quotes"
                raise self._error(start, "relevant: cannot be turned round", remedy)
            return Filter(condition, negated=away)
        weight = self._weight()
        if weight is not None and (condition := self._condition()):
            remedy = f"Leave {plain(weight)}* away; for the words themselves put them in quotes"
            raise self._error(start, f"the filter {condition} takes no weight", remedy)
        value = (1.0 if weight is None else weight) * (-1 if away else 1)
        if away and weight is None:
            value = WITHOUT_WEIGHT
        if self._next() == "~":
            return self._picture(value)
        if self._next() == '"':
            return Phrase(self._quoted("a phrase"), value)
        word = self._word()
        return Phrase(word, value, quoted=False) if away or weight is not None else word

    def _weight(self) -> float | None:
        found = _WEIGHT.match(self._text, self._at)
        if found is None:
            return None
        weight = float(found[1])
        if not _LEAST_WEIGHT <= weight <= _LARGEST_WEIGHT:
            raise self._error(
                self._at,
                f"the weight {found[1]} is out of range",
                f"Weights lie between {plain(_LEAST_WEIGHT)} and {plain(_LARGEST_WEIGHT)}",
            )
        self._at = found.end()
        return weight

    def _condition(self) -> Condition | None:
        """A filter, `name:value`; None where none begins. A word that ends in a colon is a word."""
        found = _NAME.match(self._text, self._at)
        if found is None:
            return None
        start, name = self._at, found[1].lower()
        begins = found.end()
        is_end = begins >= len(self._text) or self._text[begins].isspace()
        if name not in CONDITIONS:
            if is_end:
                return None
            from difflib import get_close_matches

            near = get_close_matches(name, CONDITIONS, n=1)
            meant = f"Did you mean {near[0]}: ?" if near else f"Filters are {', '.join(sorted(CONDITIONS))}."
            remedy = f"{meant} To look for the word, write {found[1]}\\: instead"
            raise self._error(start, f"there is no filter {found[1]!r}", remedy)
        self._at = begins
        value = "" if is_end else self._value("a value")
        try:
            if not value.strip() and name not in WITHOUT_VALUE:
                remedy = f"Put it right after the colon; to look for the word, write {found[1]}\\: instead"
                raise QueryError(f"the filter {name} has no value", remedy)
            return CONDITIONS[name](name, value)
        except QueryError as error:
            raise self._error(begins, error.problem, error.remedy) from error

    def _picture(self, weight: float) -> Picture:
        start = self._at
        self._at += 1
        in_quotes = self._next() == '"'
        value = self._value("a picture") if self._next() and not self._next().isspace() else ""
        if not value.strip():
            remedy = "Write a file or an item after it, ~dog.jpg or ~#12; for the character itself: \\~"
            raise self._error(start, "~ names no picture", remedy)
        if value.startswith("#") and not in_quotes:
            number = value[1:]
            if not (number.isascii() and number.isdecimal() and len(number) <= 18):
                remedy = "Wanted, for example: ~#12; a file of that name in quotes"
                raise self._error(start + 1, f"{value!r} is no number of an item", remedy)
            return Picture(int(number), weight, start)
        return Picture(value, weight, start)

    # -- characters -------------------------------------------------------------------------------

    def _value(self, what: str) -> str:
        """What follows a colon or "~": in quotes, or up to the next space, as it stands."""
        if self._next() == '"':
            return self._quoted(what)
        start = self._at
        while self._next() and not self._next().isspace():
            self._at += 1
        return self._text[start : self._at]

    def _quoted(self, what: str) -> str:
        """What stands in quotes; a backslash before a quote or a backslash makes it a character."""
        start = self._at
        self._at += 1
        characters: list[str] = []
        while self._next() != '"':
            if not self._next():
                raise self._error(start, "the quotes are not closed", 'Close them, or write \\"')
            if self._next() == "\\" and self._peek(1) in ("\\", '"'):
                self._at += 1
            characters.append(self._next())
            self._at += 1
        self._at += 1
        if self._next() and not self._next().isspace():
            raise self._error(self._at, "something follows the quotes at once", "Put a space between")
        text = "".join(characters)
        if not text.strip():
            raise self._error(start, f"{what} in quotes is empty", "Write something between the quotes")
        return text

    def _word(self) -> str:
        """What stands up to the next space; a backslash makes the next character an ordinary one."""
        characters: list[str] = []
        while self._next() and not self._next().isspace():
            if self._next() == "\\" and self._peek(1) and self._peek(1) in _ESCAPED:
                self._at += 1
            characters.append(self._next())
            self._at += 1
        return "".join(characters)

    def _skip_spaces(self) -> bool:
        """Go to the next character that is no space; False at the end."""
        while self._next().isspace():
            self._at += 1
        return bool(self._next())

    def _next(self) -> str:
        return self._peek(0)

    def _peek(self, ahead: int) -> str:
        return self._text[self._at + ahead : self._at + ahead + 1]

    def _error(self, at: int, problem: str, remedy: str) -> QuerySyntaxError:
        return QuerySyntaxError(self._text, at, problem, remedy)


def _kind_of(filter_: Filter) -> Modality:
    assert isinstance(filter_.condition, Kind)  # noqa: S101 (its caller looked)
    other: Modality = "text" if filter_.condition.kind == "image" else "image"
    return other if filter_.negated else filter_.condition.kind


def _weighted(weight: float, what: str) -> str:
    if weight == WITHOUT_WEIGHT:
        return f"-{what}"
    number = "" if weight == 1 else f"{plain(abs(weight))}*"
    return f"{'-' if weight < 0 else ''}{number}{what}"


def _escaped(word: str) -> str:
    """A word as a query has it: no operator in it is taken for one."""
    word = word.replace("\\", "\\\\")
    if word[0] in '"~' or (word[0] == "-" and word != "-"):
        return "\\" + word
    if found := _NAME.match(word) or _WEIGHT.match(word):
        return f"{word[: found.end() - 1]}\\{word[found.end() - 1 :]}"
    return word
