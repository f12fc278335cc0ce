"""Bare nouns, singular and plural: how many of the first ten pictures show what was typed.

    python benchmarks/nouns.py [--data FOLDER] [--parquet FOLDER] [--model starter]

A picture is right for a noun if two of its captions name it, in either form. Of nouns.txt, those are asked
that are right for at least 20 of the set's pictures, in both forms. Where there is one caption a picture
(Conceptual Captions), that one decides, and ten pictures are enough: what a caption does not mention counts
as wrong though the picture may show it, so the figure is a lower bound. Reported: the mean over all forms of
precision@10, with a 95 % interval by bootstrap over nouns; both forms of one are drawn together.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosslens import Matcher
from crosslens.evaluation.bootstrap import Estimate, estimates
from crosslens.types import Float32
from sets import Held, add_options, flickr8k_test, validation

NOUNS = Path(__file__).with_name("nouns.txt")
K = 10
WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class Asked:
    """forms: of each noun that is asked; right: bool (nouns, pictures)."""

    forms: list[tuple[str, ...]]
    right: NDArray[np.bool_]


def read_nouns(path: Path = NOUNS) -> list[tuple[str, ...]]:
    """(singular, plural), or the one form that is in use."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("\t")) for line in lines if line and not line.startswith("#")]


def asked_of(held: Held, nouns: Sequence[tuple[str, ...]]) -> Asked:
    """The nouns that enough pictures of a set show."""
    need, least = (2, 20) if held.captions > 1 else (1, K)
    pairs = held.pairs
    place = {form: row for row, forms in enumerate(nouns) for form in forms}
    counts = np.zeros((len(nouns), len(pairs.images)), int)
    for text, picture in zip(pairs.texts, pairs.text_to_image, strict=True):
        for row in {place[word] for word in WORD.findall(text.lower()) if word in place}:
            counts[row, picture] += 1
    right = counts >= need
    rows = np.flatnonzero(right.sum(axis=1) >= least)
    return Asked([nouns[row] for row in rows], right[rows])


def precisions(
    matcher: Matcher, pictures: Float32, asked: Asked
) -> tuple[list[str], NDArray[np.int64], NDArray]:
    """(each form, its noun's row, its precision@10)."""
    texts = [form for forms in asked.forms for form in forms]
    noun = np.array([row for row, forms in enumerate(asked.forms) for _ in forms])
    scores = matcher.embed_texts(texts) @ pictures.T
    best = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    return texts, noun, asked.right[noun[:, None], best].mean(axis=1)


def mean_precision(matcher: Matcher, held: Held, *, show: bool = False) -> tuple[Estimate, int, int]:
    """(mean precision@10, nouns, forms); show: print it for each noun."""
    asked = asked_of(held, read_nouns())
    texts, noun, found = precisions(matcher, matcher.embed_images(held.pairs.images), asked)
    if show:
        print(f"\n{held.name}: {len(held.pairs.images):,} pictures")
        for row, forms in enumerate(asked.forms):
            values = "".join(f"{p:>8.1f}" for p in found[noun == row])
            print(f"  {' / '.join(forms):<24}{asked.right[row].sum():>5} pictures{values}")
    mean = estimates({"p": found}, {}, noun)["p"]
    return mean, len(asked.forms), len(texts)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    arguments = parser.parse_args()
    matcher = Matcher(arguments.model)
    sets = [flickr8k_test(arguments.data)]
    sets += [
        validation(source, arguments.parquet) for source in ("flickr8k", "cc3m") if arguments.parquet.exists()
    ]
    rows = [(held.name, *mean_precision(matcher, held, show=True)) for held in sets]
    print(f"\nmodel {arguments.model}: mean precision@{K}, 95 % by bootstrap over nouns")
    for name, mean, nouns, forms in rows:
        print(
            f"{name:<20}{mean.value:>7.3f}  ({mean.low:.3f} to {mean.high:.3f})  {nouns} nouns, {forms} forms"
        )


if __name__ == "__main__":
    main()
