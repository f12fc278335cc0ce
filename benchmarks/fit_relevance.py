"""Fits relevance to a model, says how often it is wrong, and so decides whether it is shown in per cent.

    python benchmarks/fit_relevance.py [--data ../shared/eval/flickr8k-test] [--model starter] [--write]

Libraries of 2, 13, 100 and 1,000 pictures are drawn from Flickr8k's test split. Asked is for what is there:
captions, queries written by hand (present_queries.txt), single nouns that two captions of a picture have
(nouns.txt); and for what is not: words that are no words (no_words.txt), things that none of the 1,000
pictures shows (absent_queries.txt, absent_nouns.txt), and everyday things that no caption of the library
mentions though other pictures of the split show them.

Missed is a query that something fits and is answered with nothing, a false alarm one that nothing fits and
is answered with something. Every group of a library's queries counts the same; the rates of the model are
those of the size of library that fares worst. Where presence is ½ (`middle`) is chosen on one half of queries
and pictures, so that the greater of the two rates is least; the rates are those of the other half. (There is
one library of 1,000, so only its queries are halved.) 20 divisions, each both ways. What is shipped is fitted
to all.

--write: into the bundle's config.json, as `relevance`. Shown in per cent is what keeps both rates to 10 %.
"""

from __future__ import annotations

import argparse
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosslens import Matcher
from crosslens.matching.match_probability import fit_match
from crosslens.models.null_texts import UNPICTURED
from crosslens.models.spec import RELEVANCE_BAR
from crosslens.search.relevance_calibration import TOP, Background, above, level
from crosslens.types import Float32
from nouns import WORD, read_nouns
from sets import add_options, flickr8k_test
from writing import write_facts

HERE = Path(__file__).parent
# Size of libraries → how many are drawn for a fit.
DRAWS = {2: 60, 13: 30, 100: 8, 1000: 1}
THERE, ABSENT = ("captions", "written", "nouns"), ("no words", "absent", "absent nouns", "elsewhere")
REPEATS = 20
# What captions do not leave out where it is to be seen.
_TOLD = (
    "baby beach bicycle bike bird boat car dog football horse motorcycle pool skateboard snow soccer surfer "
    "swing tennis wedding"
)
_TRIED = np.arange(0.5, 4.01, 0.05)
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
# Deviations of queries above the texts that no picture shows: size of library → group → (n,).
Deviations = dict[int, dict[str, NDArray[np.floating]]]


@dataclass(frozen=True)
class Queries:
    """scores: of all pictures, (q, pictures). fits: whether a picture does; never: whether it does not.

    What is neither is not judged.
    """

    scores: Float32
    fits: Bools
    never: Bools


@dataclass(frozen=True)
class Set:
    """groups: of queries. unpictured: scores of texts that no picture shows, (t, pictures)."""

    groups: dict[str, Queries]
    unpictured: Float32


def load(data: Path, model: str) -> Set:
    """Embed and judge everything."""
    matcher, pairs = Matcher(model), flickr8k_test(data).pairs
    pictures = matcher.embed_images(pairs.images)
    nothing = np.zeros((1, len(pictures)), bool)

    def queries(texts: list[str], fits: Bools | None = None, never: Bools | None = None) -> Queries:
        scores = matcher.embed_texts(texts) @ pictures.T
        empty = np.repeat(nothing, len(texts), axis=0)
        if fits is None:
            return Queries(scores, empty, ~empty if never is None else never)
        return Queries(scores, fits, empty)

    own = np.zeros((len(pairs.texts), len(pictures)), bool)
    own[np.arange(len(own)), pairs.text_to_image] = True
    written = [line.split("\t") for line in lines("present_queries.txt")]
    patterns = [re.compile(rf"\b(?:{pattern})", re.IGNORECASE) for _, pattern in written]
    told = np.array([[bool(one.search(text)) for text in pairs.texts] for one in patterns])
    counts, forms = mentions(pairs.texts, pairs.text_to_image, len(pictures))
    known = np.array([forms[0] in _TOLD.split() for forms in read_nouns() for _ in forms])
    often = [form for form, is_told in zip(forms, known, strict=True) if is_told]
    groups = {
        "captions": queries(list(pairs.texts), own),
        "written": queries([text for text, _ in written], (told.astype(np.float32) @ own) > 0),
        "nouns": queries(forms, counts >= 2),
        "no words": queries(lines("no_words.txt")),
        "absent": queries(lines("absent_queries.txt")),
        "absent nouns": queries(lines("absent_nouns.txt")),
        "elsewhere": queries(often, never=counts[known] == 0),
    }
    return Set(groups, matcher.embed_texts(UNPICTURED) @ pictures.T)


def lines(name: str) -> list[str]:
    """Of a file beside this one."""
    return (HERE / name).read_text(encoding="utf-8").splitlines()


def mentions(texts: tuple[str, ...], owners: Ints, pictures: int) -> tuple[Ints, list[str]]:
    """(how many captions of each picture have a noun, (forms, pictures); the forms)."""
    nouns = read_nouns()
    place = {form: row for row, forms in enumerate(nouns) for form in forms}
    counts = np.zeros((len(nouns), pictures), np.int64)
    for text, picture in zip(texts, owners, strict=True):
        for row in {place[word] for word in WORD.findall(text.lower()) if word in place}:
            counts[row, picture] += 1
    forms = [(row, form) for row, some in enumerate(nouns) for form in some]
    return counts[[row for row, _ in forms]], [form for _, form in forms]


def deviations(data: Set, pictures: Ints, asked: dict[str, Ints], random: np.random.Generator) -> Deviations:
    """Of the queries `asked` (rows of each group), in libraries of some of the pictures."""
    found: dict[int, dict[str, list[NDArray[np.floating]]]] = {}
    for size, draws in DRAWS.items():
        groups = found.setdefault(size, {})
        for _ in range(draws):
            whole = size > len(pictures)
            library = np.arange(data.unpictured.shape[1]) if whole else random.permutation(pictures)[:size]
            nothings = level(best(data.unpictured[:, library]))
            background = Background(nothings, np.zeros(1, np.float32), size, 0.0)
            for name, queries in data.groups.items():
                rows = asked[name]
                right = queries.fits if name in THERE else queries.never
                there = right[rows][:, library]
                rows = rows[there.any(axis=1) if name in THERE else there.all(axis=1)]
                if name == "captions":
                    rows = random.permutation(rows)[:500]
                if len(rows):
                    levels = level(best(queries.scores[rows][:, library]))
                    groups.setdefault(name, []).append(above(levels, background))
    return {
        size: {name: np.concatenate(values) for name, values in groups.items()}
        for size, groups in found.items()
    }


def best(scores: Float32) -> Float32:
    """The best of each query, best first: (q, at most TOP)."""
    most = min(TOP, scores.shape[1])
    return -np.sort(-scores, axis=1)[:, :most]


def rates(values: Deviations, at: float) -> dict[int, tuple[dict[str, float], float, float]]:
    """Size → (rate of each group, missed, false alarms)."""
    found = {}
    for size, groups in values.items():
        each = {n: float((v < at).mean() if n in THERE else (v >= at).mean()) for n, v in groups.items()}
        missed, false = (np.mean([each[n] for n in side if n in each]) for side in (THERE, ABSENT))
        found[size] = (each, float(missed), float(false))
    return found


def worst(values: Deviations, at: float) -> tuple[float, float]:
    """(missed, false alarms), each of the size that fares worst."""
    missed, false = zip(*(rate[1:] for rate in rates(values, at).values()), strict=True)
    return max(missed), max(false)


def fitted(values: Deviations) -> float:
    """Where the greater of the two rates is least."""
    return float(_TRIED[int(np.argmin([max(worst(values, at)) for at in _TRIED]))])


def steepness(values: Deviations, random: np.random.Generator) -> float:
    """Of a sigmoid fitted to as many deviations of each group and size."""
    x, y = [], []
    for groups in values.values():
        for name, some in groups.items():
            x.append(random.choice(some, 500))
            y.append(np.full(500, name in THERE))
    return fit_match(np.concatenate(x).astype(float), np.concatenate(y).astype(float)).a


def halves(data: Set) -> tuple[dict[int, dict[str, float]], list[tuple[float, float]]]:
    """Where nothing was fitted on: (rates of size and group, (missed, false) of each time)."""
    random = np.random.default_rng(0)
    pictures = data.unpictured.shape[1]
    each: dict[int, dict[str, list[float]]] = {}
    totals = []
    for _ in range(REPEATS):
        side = random.random(pictures) < 0.5
        split = {name: random.random(len(q.scores)) < 0.5 for name, q in data.groups.items()}
        split["captions"] = data.groups["captions"].fits[:, side].any(axis=1)  # with their pictures
        parts = [
            deviations(
                data,
                np.flatnonzero(side == one),
                {name: np.flatnonzero(half == one) for name, half in split.items()},
                random,
            )
            for one in (True, False)
        ]
        for own, other in (parts, parts[::-1]):
            at = fitted(own)
            totals.append(worst(other, at))
            for size, (rate, missed, false) in rates(other, at).items():
                for name, value in (rate | {"missed": missed, "false": false}).items():
                    each.setdefault(size, {}).setdefault(name, []).append(value)
    means = {s: {name: float(np.mean(v)) for name, v in groups.items()} for s, groups in each.items()}
    return means, totals


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    data = load(arguments.data, arguments.model)
    means, totals = halves(data)
    print(f"model {arguments.model}; per cent, of the halves that were not fitted on\n")
    columns = (*THERE, "missed", *ABSENT, "false")
    print("| pictures | " + " | ".join(f"**{c}**" if c in ("missed", "false") else c for c in columns) + " |")
    print("|" + "---|" * (len(columns) + 1))
    for size, groups in means.items():
        cells = (f"{100 * groups[name]:.1f}" if name in groups else "–" for name in columns)
        print(f"| {size:,} | " + " | ".join(cells) + " |")
    missed, false = (float(np.mean(column)) for column in zip(*totals, strict=True))
    random = np.random.default_rng(0)
    everything = {name: np.arange(len(queries.scores)) for name, queries in data.groups.items()}
    whole = deviations(data, np.arange(data.unpictured.shape[1]), everything, random)
    facts = {
        "middle": round(fitted(whole), 2),
        "steepness": round(steepness(whole, random), 2),
        "missed": round(missed, 3),
        "false_alarms": round(false, 3),
        "measured_on": "Flickr8k test, libraries of 2, 13, 100 and 1,000 pictures, the worst of them; "
        "halves that were not fitted on (benchmarks/fit_relevance.py)",
    }
    print(f"\nworst size: missed {100 * missed:.1f} %, false alarms {100 * false:.1f} %")
    is_shown = max(missed, false) <= RELEVANCE_BAR
    print(f"middle {facts['middle']}, steepness {facts['steepness']}")
    print(f"shown in per cent: {'yes' if is_shown else 'no'}")
    if arguments.write:
        print(f"relevance written to {write_facts(arguments.model, {'relevance': facts}).name}")


if __name__ == "__main__":
    main()
