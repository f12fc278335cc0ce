"""Fits the match probabilities of a model, of captions and of names of things, and says how far they hold.

    python benchmarks/fit_probability.py [--model starter] [--write captions names]

Fitted on pictures held out of training, the split `val` of --parquet: a caption with its own picture and
with another, as many of each; a name ("dog", "dogs", "a dog", "black dog") with a picture that two of its
five captions name, and with one that none names. Pictures without five captions give captions only. Every
name gives as many pairs of either kind, at most 20, so that the frequent ones do not decide.
Measured twice: on halves of pictures (and of names) that were not fitted on, and on Flickr8k's test split.
Names that no caption mentions may be there all the same, so what is said of names is a little too low.

--write: these into the bundle's config.json, as `match` and `match_names`.
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from crosslens import Matcher
from crosslens.evaluation.classification import calibration_error
from crosslens.matching.match_probability import apply_match, fit_match
from crosslens.models.spec import MatchSpec
from crosslens.types import Float32
from nouns import WORD, read_nouns
from sets import Held, add_options, flickr8k_test, validation
from writing import write_facts

EACH, LEAST = 20, 3
_SMALL = re.compile(
    "a|an|the|this|and|or|of|in|on|at|to|from|with|by|for|as|are|is|his|her|their|its|one|two|three|four"
)
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Scored:
    """Pairs: cosines, whether they match, and what decides their half: the picture, or the name."""

    cosines: NDArray[np.float64]
    labels: Ints
    groups: Ints

    def of(self, rows: Bools) -> Scored:
        """Some of them."""
        return Scored(self.cosines[rows], self.labels[rows], self.groups[rows])


def names_of(held: Held) -> dict[str, tuple[tuple[str, ...], NDArray[np.int64]]]:
    """Nouns, and pairs of words that end in one → (forms, how many captions of each picture have it)."""
    nouns = {form: forms for forms in read_nouns() for form in forms}
    counts: dict[str, Counter[int]] = {}
    forms: dict[str, tuple[str, ...]] = {}
    for text, picture in zip(held.pairs.texts, held.pairs.text_to_image, strict=True):
        words = WORD.findall(text.lower())
        found = {}
        for before, word in zip(["", *words], words, strict=False):
            if word in nouns:
                found[nouns[word][0]] = nouns[word]
                if before and not _SMALL.fullmatch(before) and before not in nouns:
                    found[f"{before} {nouns[word][0]}"] = tuple(f"{before} {form}" for form in nouns[word])
        for name in found:
            counts.setdefault(name, Counter())[int(picture)] += 1
        forms |= found
    table = {}
    for name in sorted(counts):
        row = np.zeros(len(held.pairs.images), np.int64)
        row[list(counts[name])] = list(counts[name].values())
        if (row >= 2).sum() >= LEAST:
            plain = forms[name]
            table[name] = ((*plain, f"{'an' if plain[0][0] in 'aeiou' else 'a'} {plain[0]}"), row)
    return table


def of_names(matcher: Matcher, held: Held, pictures: Float32) -> Scored:
    """Pairs of names, from pictures with five captions."""
    random, cosines, labels, groups = np.random.default_rng(0), [], [], []
    told = np.bincount(held.pairs.text_to_image, minlength=len(pictures)) >= 5
    for group, (forms, counts) in enumerate(names_of(held).values()):
        vectors = matcher.embed_texts(list(forms))
        shown, absent = np.flatnonzero(told & (counts >= 2)), np.flatnonzero(told & (counts == 0))
        many = min(EACH, len(shown), len(absent))
        for label, rows in ((1, shown), (0, absent)):
            chosen = random.choice(rows, many, replace=False)
            cosines.append((vectors[np.arange(many) % len(forms)] * pictures[chosen]).sum(axis=1))
            labels += [label] * many
            groups += [group] * many
    return Scored(np.concatenate(cosines).astype(float), np.array(labels), np.array(groups))


def of_captions(matcher: Matcher, held: Held, pictures: Float32) -> Scored:
    """Every caption with its own picture, and with another."""
    texts, own = matcher.embed_texts(held.pairs.texts), held.pairs.text_to_image
    other = (own + np.random.default_rng(0).integers(1, len(pictures), len(own))) % len(pictures)
    cosines = np.concatenate([(texts * pictures[rows]).sum(axis=1) for rows in (own, other)]).astype(float)
    return Scored(cosines, np.repeat([1, 0], len(own)), np.concatenate([own, own]))


def held_out(scored: Scored) -> tuple[NDArray[np.float64], Ints]:
    """(probabilities, labels) of halves by the fit to the other half."""
    half = np.random.default_rng(1).permutation(scored.groups.max() + 1)[scored.groups] % 2 == 0
    p = np.empty(len(half))
    for fitted, held in ((half, ~half), (~half, half)):
        part = scored.of(fitted)
        p[held] = apply_match(fit_match(part.cosines, part.labels), scored.cosines[held])
    return p, scored.labels


def show(what: str, p: NDArray[np.float64], labels: Ints) -> None:
    """A line of figures; the last: of those between 0.8 and 0.9, and between 0.1 and 0.2, how many match."""
    right = ((p >= 0.5) == labels).mean()
    high, low = ((p >= 0.8) & (p < 0.9)), ((p >= 0.1) & (p < 0.2))
    shares = "  ".join(
        f"{labels[rows].mean():>5.2f}" if rows.sum() >= 20 else "    –" for rows in (high, low)
    )
    print(
        f"{what:<46}{len(p):>7,}{roc_auc_score(labels, p):>8.3f}{100 * right:>8.1f}"
        f"{calibration_error(p, labels):>8.3f}  {shares}"
    )


def among_all(matcher: Matcher, test: Held, pictures: Float32, match: MatchSpec) -> None:
    """What ½ means where matches are rare: all captions with all pictures."""
    own = test.pairs.text_to_image
    p = apply_match(match, (matcher.embed_texts(test.pairs.texts) @ pictures.T).astype(float))
    sure, right = p >= 0.5, p[np.arange(len(own)), own] >= 0.5
    rare = sure.sum() / right.sum()
    print(f"all captions with all pictures: {100 * sure.mean():.1f} % get ½ or more, 1 in {rare:.0f} right")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument("--write", nargs="+", choices=("captions", "names"), default=())
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    matcher = Matcher(arguments.model)
    val, test = validation(None, arguments.parquet), flickr8k_test(arguments.data)
    pictures = {held.name: matcher.embed_images(held.pairs.images) for held in (val, test)}
    print(f"model {arguments.model} (version {matcher.spec.version})")
    print(f"{'':<46}{'pairs':>7}{'AUC':>8}{'right %':>8}{'ECE':>8}  of p 0.8–0.9, 0.1–0.2 match")
    fits: dict[str, MatchSpec] = {}
    for kind, key, score in (("captions", "match", of_captions), ("names", "match_names", of_names)):
        fitted, tested = (score(matcher, held, pictures[held.name]) for held in (val, test))
        match = fit_match(fitted.cosines, fitted.labels)
        said = f"Flickr8k and Conceptual Captions, split val, {kind}: {match.fitted_on}"
        fits[key] = replace(match, fitted_on=said)
        show(f"{kind}: val, other halves", *held_out(fitted))
        show(f"{kind}: Flickr8k test", apply_match(match, tested.cosines), tested.labels)
        if key == "match_names":
            p = apply_match(fits["match"], tested.cosines)
            show("names: Flickr8k test, by the fit of captions", p, tested.labels)
    among_all(matcher, test, pictures[test.name], fits["match"])
    facts = {
        key: {"a": round(fit.a, 4), "b": round(fit.b, 4), "fitted_on": fit.fitted_on, "calibrated": True}
        for key, fit in fits.items()
    }
    print(*(f'"{key}": {fact}' for key, fact in facts.items()), sep="\n")
    keys = {"captions": "match", "names": "match_names"}
    if chosen := {keys[name]: facts[keys[name]] for name in arguments.write}:
        print(f"{', '.join(chosen)} written to {write_facts(arguments.model, chosen).name}")


if __name__ == "__main__":
    main()
