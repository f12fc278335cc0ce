"""Does relevance tell what is there from what is not? Beside the best flat threshold, on Flickr8k's test.

Needs the evaluation pictures (a folder with images/ and captions.tsv) and scikit-learn:

    python benchmarks/relevance.py [--data ../shared/eval/flickr8k-test] [--model starter]

Queries: the captions; present_queries.txt, written by hand (with a pattern that the captions of all pictures
that might fit match, so that those can be removed); absent_queries.txt, of things that are in none of them.
A missed alarm is an answer "nothing here matches" to a query that something fits; a false one is any picture
for a query that nothing fits.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from crosslens import Matcher
from crosslens.models.null_texts import UNPICTURED
from crosslens.models.probe_texts import PROBES
from crosslens.search.relevance_calibration import RELEVANT, TOP, Background, level, relevance
from crosslens.types import Float32
from recall import DATA, read_captions

HERE = Path(__file__).parent
REPEATS = 20
SIZES = (500, 100, 50, 20)
SHIPPED = "relevance, as shipped"
Float = NDArray[np.floating]


@dataclass(frozen=True)
class Set:
    """Unit vectors and what belongs together. own: the picture of each caption; fits: (present, pictures)."""

    pictures: Float32
    captions: Float32
    own: NDArray[np.int64]
    present: Float32
    fits: NDArray[np.bool_]
    absent: Float32
    unpictured: Float32
    probes: Float32
    texts: list[str]


def load(data: Path, model: str) -> Set:
    """Embed everything."""
    matcher = Matcher(model)
    captions = read_captions(data)
    files = sorted(path.name for path in (data / "images").iterdir())
    own = np.array([files.index(name) for name, _ in captions])
    lines = [line.split("\t") for line in (HERE / "present_queries.txt").read_text().splitlines()]
    absent = (HERE / "absent_queries.txt").read_text().splitlines()
    fits = np.zeros((len(lines), len(files)), bool)
    for row, (_, pattern) in enumerate(lines):
        wanted = re.compile(rf"\b(?:{pattern})", re.IGNORECASE)
        fits[row, own[[bool(wanted.search(text)) for _, text in captions]]] = True
    texts = [text for _, text in captions]

    def embed(queries: list[str]) -> Float32:
        return matcher.embed_texts(queries)

    return Set(
        matcher.embed_images([data / "images" / name for name in files]),
        embed(texts), own, embed([text for text, _ in lines]), fits, embed(absent),
        matcher.embed_texts(UNPICTURED), matcher.embed_texts(PROBES), texts,
    )  # fmt: skip


class Library:
    """Some of the pictures, as a library. queries: float32 (q, d) wherever they are taken."""

    def __init__(self, data: Set, pictures: NDArray[np.int64]) -> None:
        self.data, self.which = data, pictures
        self.vectors = data.pictures[pictures]
        self.background = Background(self.level(data.unpictured), self.vectors.mean(axis=0))

    def best(self, queries: Float32) -> Float32:
        """Each query's best scores: (q, TOP)."""
        return -np.sort(-(queries @ self.vectors.T), axis=1)[:, :TOP]

    def level(self, queries: Float32) -> Float32:
        """Each query's level: (q,)."""
        return level(self.best(queries))

    def above(self, values: Float, nothings: Float) -> Float:
        """How many deviations above those of texts that no picture shows."""
        return (values - nothings.mean()) / nothings.std()

    def statistics(self, queries: Float32) -> dict[str, Float]:
        """What may say whether anything fits, by name: (q,) each."""
        top, top_of_nothings = self.best(queries)[:, 0], self.best(self.data.unpictured)[:, 0]
        levels = self.level(queries)
        return {
            "best cosine (flat)": top,
            "level (flat)": levels,
            "best cosine above nothings": self.above(top, top_of_nothings),
            "level above nothings": self.above(levels, self.background.levels),
            SHIPPED: self.relevance_of_best(queries),
        }

    def relevances(self, queries: Float32) -> Float32:
        """As shipped: (q, pictures)."""
        rows = zip(queries @ self.vectors.T, self.best(queries), queries, strict=True)
        return np.stack([relevance(scores, best, query, self.background) for scores, best, query in rows])

    def relevance_of_best(self, queries: Float32) -> Float32:
        """As shipped, of the best picture: (q,)."""
        rows = zip(self.best(queries), queries, strict=True)
        return np.array([relevance(best[:1], best, query, self.background)[0] for best, query in rows])

    def answered(self) -> tuple[Float32, Float32]:
        """(captions of its pictures, written queries that something in it fits)."""
        inside = np.isin(self.data.own, self.which)
        return self.data.captions[inside], self.data.present[self.data.fits[:, self.which].any(axis=1)]


def threshold(captions: Float, present: Float, absent: Float) -> float:
    """The one with the fewest alarms, missed (captions and written queries half each) and false."""
    tried = np.unique(np.concatenate([captions, present, absent]))
    alarms = [((captions < t).mean() + (present < t).mean()) / 2 + (absent >= t).mean() for t in tried]
    return float(tried[int(np.argmin(alarms))])


def alarms(captions: Float, present: Float, absent: Float, at: float) -> list[float]:
    return [100 * (captions < at).mean(), 100 * (present < at).mean(), 100 * (absent >= at).mean()]


def halves(data: Set) -> None:
    """Thresholds from one half of pictures and queries, alarms in the other half."""
    for title, sizes in (("500 pictures", (500,)), ("500, 100, 50 and 20 pictures, one threshold", SIZES)):
        random, found = np.random.default_rng(0), {}
        for _ in range(REPEATS):
            order = random.permutation(len(data.pictures))
            sides = random.random(len(data.present)) < 0.5, random.random(len(data.absent)) < 0.5
            first = [measured(data, order[::2][:size], sides) for size in sizes]
            second = [measured(data, order[1::2][:size], (~sides[0], ~sides[1])) for size in sizes]
            for own, other in ((first, second), (second, first)):
                for name in own[0]:
                    groups = zip(*(values[name] for values in own), strict=True)
                    # As many of each library.
                    pooled = [np.concatenate([random.choice(group, 200) for group in g]) for g in groups]
                    at = RELEVANT if name == SHIPPED else threshold(*pooled)
                    there = [alarms(*values[name], at=at) for values in other]
                    found.setdefault(name, []).append(np.mean(there, axis=0))
        print(f"\nthreshold from one half of pictures and queries, alarms in the other, per cent: {title}")
        print(f"{'':<28}{'missed: captions':>18}{'written':>10}{'false: absent':>16}{'mean':>8}  below flat")
        flat = mean_alarm(found["best cosine (flat)"])
        for name, rows in found.items():
            captions, present, absent = np.mean(rows, axis=0)
            mean = mean_alarm(rows)
            below = f"{(mean < flat).sum():>5} of {len(flat)}"
            print(f"{name:<28}{captions:>18.1f}{present:>10.1f}{absent:>16.1f}{mean.mean():>8.1f}{below}")


def mean_alarm(rows: list[Float]) -> Float:
    """Missed alarms, captions and written queries half each, and false ones: their mean, (repeats,)."""
    captions, present, absent = np.array(rows).T
    return ((captions + present) / 2 + absent) / 2


def measured(
    data: Set, pictures: NDArray[np.int64], sides: tuple[NDArray[np.bool_], NDArray[np.bool_]]
) -> dict[str, list[Float]]:
    """Statistics of (captions, written, absent) in a library of these pictures; of some of the queries."""
    library = Library(data, pictures)
    has = data.fits[:, pictures].any(axis=1) & sides[0]
    groups = library.answered()[0], data.present[has], data.absent[sides[1]]
    values = [library.statistics(group) for group in groups]
    return {name: [group[name] for group in values] for name in values[0]}


def libraries(data: Set) -> dict[str, list[NDArray[np.int64]]]:
    """Parts of the pictures, by name."""
    random, everything = np.random.default_rng(1), np.arange(len(data.pictures))
    told = np.array([" ".join(np.array(data.texts)[data.own == one]).lower() for one in everything])
    dogs = np.array([bool(re.search(r"\bdogs?\b", text)) for text in told])
    sport = np.array([bool(re.search(r"ball\b|soccer|tennis|bik|motor|skat|surf", text)) for text in told])
    return {
        "1000": [everything],
        **{str(n): [random.permutation(everything)[:n] for _ in range(4000 // n)] for n in (200, 50, 20, 10)},
        "dogs": [np.flatnonzero(dogs)],
        "no dogs": [np.flatnonzero(~dogs)],
        "sport": [np.flatnonzero(sport)],
    }


def transfer(data: Set) -> None:
    """A threshold that was chosen with all pictures, in other libraries."""
    parts = libraries(data)
    whole = Library(data, parts["1000"][0])
    groups = whole.answered()[0], data.present, data.absent
    at = {
        name: RELEVANT if name == SHIPPED else threshold(*(whole.statistics(group)[name] for group in groups))
        for name in whole.statistics(data.absent)
    }
    print("\nthe threshold that is best with all 1,000 pictures, in other libraries, per cent")
    print("missed captions / missed written queries / false alarms")
    print(f"{'':<28}" + "".join(f"{name:>12}" for name in parts))
    rows: dict[str, list[str]] = {}
    for choices in parts.values():
        found: dict[str, list[list[float]]] = {}
        for choice in choices:
            library = Library(data, choice)
            asked = (*library.answered(), data.absent)
            if not len(asked[1]):
                continue
            values = [library.statistics(group) for group in asked]
            for name, where in at.items():
                found.setdefault(name, []).append(alarms(*(v[name] for v in values), at=where))
        for name, line in found.items():
            rows.setdefault(name, []).append("/".join(f"{v:.0f}" for v in np.mean(line, axis=0)))
    for name, cells in rows.items():
        print(f"{name:<28}" + "".join(f"{cell:>12}" for cell in cells))


def lists(data: Set) -> None:
    """How many pictures are kept, and whether a caption's own is among them."""
    library = Library(data, np.arange(len(data.pictures)))
    cosines = {name: getattr(data, name) @ data.pictures.T for name in ("captions", "absent")}
    kept = library.relevances(data.captions) >= RELEVANT
    of_absent = library.relevances(data.absent) >= RELEVANT
    # The flat threshold that keeps as many in all.
    flat = float(np.sort(cosines["captions"].ravel())[-int(kept.sum())])
    rows = {
        SHIPPED: (kept, of_absent),
        "flat, as many kept": (cosines["captions"] >= flat, cosines["absent"] >= flat),
    }
    print("\nwhat is kept, 1,000 pictures")
    print(
        f"{'':<28}{'own kept':>10}{'median':>8}{'90 %':>6}{'most':>6}{'nothing':>9}{'absent: anything':>18}"
    )
    for name, (own, absent) in rows.items():
        hit = own[np.arange(len(own)), data.own].mean()
        counts = own.sum(axis=1)
        numbers = (
            f"{100 * hit:>8.1f} %{np.median(counts):>8.0f}{np.quantile(counts, 0.9):>6.0f}{counts.max():>6}"
        )
        alarms_ = f"{100 * (counts == 0).mean():>7.1f} %{100 * absent.any(axis=1).mean():>16.1f} %"
        print(f"{name:<28}{numbers}{alarms_}")


def removed(data: Set) -> None:
    """Captions without their own picture; written queries without any picture that might fit."""
    everything = np.arange(len(data.pictures))
    library = Library(data, everything)
    scores = data.captions @ data.pictures.T
    with_own = -np.sort(-scores, axis=1)[:, :TOP]
    scores[np.arange(len(scores)), data.own] = -1
    without = -np.sort(-scores, axis=1)[:, :TOP]
    print("\nremoved pictures: AUC of answers with them against answers without, missed and false alarms")

    def show(what: str, name: str, there: Float, gone: Float, at: float) -> None:
        area = roc_auc_score(np.repeat([1, 0], [len(there), len(gone)]), np.concatenate([there, gone]))
        numbers = f"{area:.3f}  {100 * (there < at).mean():5.1f}  {100 * (gone >= at).mean():5.1f}"
        print(f"{what:<34}{name:<24}{numbers}")

    nothings = library.background.levels
    at = threshold(*(library.statistics(g)["best cosine (flat)"] for g in (*library.answered(), data.absent)))
    show("captions, own picture", "best cosine", with_own[:, 0], without[:, 0], at)
    above = library.above(level(with_own), nothings), library.above(level(without), nothings)
    show("captions, own picture", "level above nothings", *above, at=1.75)
    there = library.statistics(data.present)
    gone = [
        Library(data, everything[~fits]).statistics(data.present[[row]]) for row, fits in enumerate(data.fits)
    ]
    for name, where in (("best cosine (flat)", at), ("level above nothings", 1.75)):
        show(
            "written, all that might fit", name, there[name], np.array([one[name][0] for one in gone]), where
        )


def candidates(data: Set) -> dict[str, tuple[Float, Float, Float]]:
    """Scores of (captions, written, absent) by everything that was tried: (q, pictures) each."""
    texts = data.pictures @ data.probes.T
    sorted_texts = -np.sort(-texts, axis=1)
    found = {}

    def add(name: str, score: object) -> None:
        found[name] = tuple(score(q @ data.pictures.T) for q in (data.captions, data.present, data.absent))

    def median(s: Float) -> Float:
        return np.median(s, axis=1, keepdims=True)

    def z(s: Float) -> Float:
        return (s - s.mean(axis=1, keepdims=True)) / s.std(axis=1, keepdims=True)

    def t(s: Float) -> Float:
        return (s - texts.mean(axis=1)) / texts.std(axis=1)

    def top(s: Float, n: int) -> Float:
        return -np.sort(-s, axis=1)[:, :n].mean(axis=1, keepdims=True)

    add("cosine", lambda s: s)
    add("z by query", z)
    add("robust z by query", lambda s: (s - median(s)) / median(abs(s - median(s))))
    add("z by picture (texts)", t)
    add("s-norm", lambda s: (z(s) + t(s)) / 2)
    for n in (10, 50):
        cohort = sorted_texts[:, :n]
        add(f"adaptive z by picture, {n}", lambda s, c=cohort: (s - c.mean(axis=1)) / c.std(axis=1))
        add(f"CSLS, {n}", lambda s, c=cohort, n=n: 2 * s - c.mean(axis=1) - top(s, n))
    for scale in (10, 30):
        null = np.log(np.exp(scale * texts).mean(axis=1)) / scale
        add(f"inverted softmax, {scale}", lambda s, null=null: s - null)
    add("less the mean of texts", lambda s: s - texts.mean(axis=1))
    add("mean with the five best", lambda s: s + top(s, TOP))
    return found


def tried(data: Set) -> None:
    """Areas under the curve of what was tried."""
    rows, tell = np.arange(len(data.captions)), np.random.default_rng(0)
    others = tell.integers(0, len(data.pictures), (len(rows), 50))
    others = np.where(others == data.own[:, None], (others + 1) % len(data.pictures), others)
    print(
        "\nareas under the curve: a caption's own picture against others, best scores against those of absent"
    )
    print(f"{'':<28}{'pairs':>8}{'captions':>10}{'written':>9}")

    def area(pos: Float, neg: Float) -> float:
        truth = np.repeat([1, 0], [pos.size, neg.size])
        return float(roc_auc_score(truth, np.concatenate([pos.ravel(), neg.ravel()])))

    found = candidates(data)
    for name, (captions, present, absent) in found.items():
        pairs = area(captions[rows, data.own], captions[rows[:, None], others])
        best = [group.max(axis=1) for group in (captions, present, absent)]
        print(f"{name:<28}{pairs:>8.3f}{area(best[0], best[2]):>10.3f}{area(best[1], best[2]):>9.3f}")
    names = ["cosine", "z by query", "z by picture (texts)", "s-norm"]
    features = [np.stack([found[n][g].max(axis=1) for n in names], axis=1) for g in (1, 2)]
    x, y = np.concatenate(features), np.repeat([1, 0], [len(f) for f in features])
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    side, out = tell.random(len(y)) < 0.5, np.zeros(len(y))
    for one in (side, ~side):
        fitted = LogisticRegression(class_weight="balanced").fit(x[one], y[one])
        out[~one] = fitted.decision_function(x[~one])
    print(f"{'logistic over four, halves':<28}{'':>8}{'':>10}{roc_auc_score(y, out):>9.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--model", default="starter")
    arguments = parser.parse_args()
    data = load(arguments.data, arguments.model)
    print(f"model {arguments.model}: {len(data.pictures):,} pictures, {len(data.captions):,} captions,")
    print(f"{len(data.present)} written queries, {len(data.absent)} of absent things,")
    print(f"{len(UNPICTURED)} texts that no picture shows (nothings)")
    for part in (tried, halves, transfer, lists, removed):
        part(data)


if __name__ == "__main__":
    main()
