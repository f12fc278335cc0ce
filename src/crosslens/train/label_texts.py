"""Label texts: names of classes and words of captions, with how far each is true of each picture.

They teach a model texts as people type them: a bare noun, its plural, two words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosslens.errors import InputError

_WORD = re.compile(r"[a-z]+")
# Words that say nothing of what a picture shows.
_NOTHING_SEEN = (
    "a an the and or of in on at to from with by for as is are was were be been being has have had its "
    "his her their this that these those it he she they them him while into onto over under up down out "
    "off near next behind front through during between against around across along above below beside "
    "other another some many few two three four five several there one who which what where when not no "
    "very you your we our my i s t all can do does"
)
# How likely the classifier must find a class for a picture to be drawn for it.
_SURE = 0.2
_STOP = frozenset(_NOTHING_SEEN.split())


@dataclass(frozen=True, slots=True)
class Labels:
    """Texts and what is true of each picture.

    texts: variants of each label, of which one is asked at a time. classes: how many of them are names of
    classes; they come first. groups: slices of labels that exclude each other more or less: the classes, the
    words. rows, columns, values: entries of the sparse matrix
    (pictures, labels) of how far each is true, in (0, 1], sorted by row.
    """

    texts: Sequence[tuple[str, ...]]
    classes: int
    groups: tuple[slice, ...]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.texts)

    def of(self, pictures: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 (n, labels) of some pictures."""
        wanted = np.zeros((len(pictures), len(self.texts)), np.float32)
        first = np.searchsorted(self.rows, pictures, "left")
        last = np.searchsorted(self.rows, pictures, "right")
        for row, (start, end) in enumerate(zip(first, last, strict=True)):
            wanted[row, self.columns[start:end]] = self.values[start:end]
        return wanted

    def draw(self, count: int, random: np.random.Generator) -> NDArray[np.int64]:
        """Rows of pictures, each class as likely as any other, a surer picture likelier: int64 (count,)."""
        sure = (self.columns < self.classes) & (self.values > _SURE)
        rows, columns, values = self.rows[sure], self.columns[sure], self.values[sure].astype(np.float64)
        if not len(rows):
            raise InputError(
                "no picture is surely of any class", "Leave by_class out, or name labels.classes"
            )
        weights = values / np.bincount(columns, values, self.classes)[columns]
        return random.choice(rows, count, p=weights / weights.sum())


def read_classes(path: Path) -> list[tuple[str, ...]]:
    """Class names, one a line in the order of the classifier; "," parts names of the same.

    Raises InputError.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})", "Check labels.classes") from error
    names = [
        tuple(part.strip() for part in line.split(",") if part.strip()) for line in lines if line.strip()
    ]
    return [_forms(group) for group in names]


def build_labels(
    captions: Sequence[Sequence[str]],
    least: int,
    classes: Sequence[tuple[str, ...]],
    opinions: tuple[NDArray[np.int64], NDArray[np.float32]] | None,
) -> Labels:
    """captions: of each picture. least: pictures that must hold a word; 0: no words are labels.

    opinions: of the classifier, the best classes of each picture int64 (n, k) and their probabilities
    float32 (n, k).
    """
    entries: list[tuple[int, int, float]] = []
    if opinions is not None:
        for row, (best, likely) in enumerate(zip(*opinions, strict=True)):
            entries += [(row, int(c), float(p)) for c, p in zip(best, likely, strict=True) if p > 0.01]
    held = [_terms(texts) for texts in captions] if least else []
    counts = Counter(term for terms in held for term in terms)
    words = sorted(term for term, count in counts.items() if count >= least) if least else []
    place = {term: len(classes) + number for number, term in enumerate(words)}
    rarest = max(least, 1)
    for row, terms in enumerate(held):
        # The more of a picture's captions name a thing, the surer it is to be seen.
        entries += [
            (row, place[t], share * (rarest / counts[t]) ** 0.5)
            for t, share in sorted(terms.items())
            if t in place
        ]
    entries.sort()
    rows, columns, values = zip(*entries, strict=True) if entries else ((), (), ())
    texts = [*classes, *(_forms((term,)) for term in words)]
    return Labels(
        texts,
        len(classes),
        tuple(
            part
            for part in (slice(0, len(classes)), slice(len(classes), len(texts)))
            if part.stop > part.start
        ),
        np.array(rows, np.int64),
        np.array(columns, np.int64),
        np.array(values, np.float32),
    )


def singular(word: str) -> str:
    """The singular by the rules of English spelling; exceptions stay as they are."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < 4 or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    if word.endswith(("ches", "shes", "xes", "sses", "zes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") else word


def plural(word: str) -> str:
    """The plural by the same rules."""
    for many, one in _IRREGULAR.items():
        if word == one:
            return many
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(("s", "x", "z", "ch", "sh")) else f"{word}s"


_IRREGULAR = {
    "men": "man", "women": "woman", "children": "child", "people": "person", "feet": "foot",
    "teeth": "tooth", "geese": "goose", "mice": "mouse", "knives": "knife", "leaves": "leaf",
    "wolves": "wolf", "shelves": "shelf", "policemen": "policeman", "firemen": "fireman",
    "fishermen": "fisherman", "snowmen": "snowman", "buses": "bus", "glasses": "glasses", "jeans": "jeans",
    "shorts": "shorts", "pants": "pants", "trousers": "trousers", "movies": "movie", "cookies": "cookie",
    "series": "series", "sheep": "sheep",
}  # fmt: skip


def _terms(texts: Sequence[str]) -> dict[str, float]:
    """Words and pairs of neighbouring words in the singular, each with the part of the captions it is in."""
    found: Counter[str] = Counter()
    for text in texts:
        words = [singular(word) for word in _WORD.findall(text.lower())]
        kept = [word if word not in _STOP and len(word) > 2 else None for word in words]
        pairs = (f"{one} {two}" for one, two in pairwise(kept) if one and two)
        found.update({*(word for word in kept if word), *pairs})
    return {term: count / len(texts) for term, count in found.items()}


def _forms(names: Sequence[str]) -> tuple[str, ...]:
    """Each name as it is, with its last word in the plural, and with an article."""
    found: list[str] = []
    for name in names:
        *first, last = name.split()
        many = " ".join([*first, plural(last)])
        found += [name, name, many, f"a {name}", f"a photo of a {name}"]
    return tuple(found)
