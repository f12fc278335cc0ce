"""What makes search better without another model? Templates, hubness correction, query expansion.

Needs the evaluation pictures (a folder with images/ and captions.tsv):

    python benchmarks/search_quality.py [--data ../shared/eval/flickr8k-test] [--model starter]

captions: recall of a caption's own picture. words: mean average precision of query_words.txt; a picture
is relevant if at least two of its captions have the word, passed over if one has, and a word is used if three
pictures are relevant. Differences come with their standard error, over pictures and over words.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosslens import Matcher
from crosslens.matching.zero_shot import TEMPLATES
from crosslens.models.probe_texts import PROBES
from crosslens.types import Float32
from recall import DATA, KS, read_captions

WORDS = Path(__file__).with_name("query_words.txt")
_ENDINGS = r"(?:s|es|ing|ed|y|ies|i?ers?)?\b"
WORD_TEMPLATES = (
    ("{}",), ("a {}",), ("the {}",), ("a photo of {}",), ("a photo of a {}.",),
    ("{}", "a {}"), ("{}", "a {}", "the {}"), ("{}", "a {}", "a photo of a {}"), TEMPLATES,
)  # fmt: skip
CAPTION_TEMPLATES = (
    ("{}",), ("a photo of {}",), ("{}", "a photo of {}"), ("{}", "a photo of {}", "a picture of {}"),
    ("{}", "a photo of {}", "a close-up of {}", "a drawing of {}"),
)  # fmt: skip


@dataclass(frozen=True)
class Set:
    """Captions and words, with what belongs to them.

    own: the picture of each caption. relevant, known: (words, pictures), known being whether it is judged.
    """

    matcher: Matcher
    pictures: Float32
    captions: list[str]
    own: NDArray[np.int64]
    words: list[str]
    relevant: NDArray[np.bool_]
    known: NDArray[np.bool_]

    def embed(self, texts: list[str], templates: tuple[str, ...]) -> Float32:
        """Each text in every template, averaged: unit vectors."""
        filled = [template.replace("{}", text) for text in texts for template in templates]
        vectors = self.matcher.embed_texts(filled).reshape(len(texts), len(templates), -1)
        return unit(vectors.mean(axis=1))

    def recalls(self, scores: Float32) -> NDArray[np.float64]:
        """Whether each caption's own picture is among the first k: (captions, KS)."""
        rank = 1 + (scores > scores[np.arange(len(scores)), self.own][:, None]).sum(axis=1)
        return (rank[:, None] <= np.array(KS)).astype(float)

    def precisions(self, scores: Float32) -> NDArray[np.float64]:
        """Average precision of each word: (words,)."""
        found = []
        for row, relevant, known in zip(scores, self.relevant, self.known, strict=True):
            hits = relevant[known][np.argsort(-row[known], kind="stable")]
            found.append((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())
        return np.array(found)


def unit(vectors: NDArray[np.floating]) -> Float32:
    """Scaled to length 1."""
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def load(data: Path, model: str) -> Set:
    """Embed the pictures, and judge them for each word by their captions."""
    matcher, pairs = Matcher(model), read_captions(data)
    files = sorted(path.name for path in (data / "images").iterdir())
    own = np.array([files.index(name) for name, _ in pairs])
    words, counts = WORDS.read_text().split(), []
    for word in words:
        stem = word[:-3] if len(word) > 6 and word.endswith("ing") else word
        stem = stem[:-1] if stem.endswith("s") and not stem.endswith("ss") else stem
        wanted = re.compile(rf"\b{stem}{_ENDINGS}", re.IGNORECASE)
        mentions = own[[bool(wanted.search(text)) for _, text in pairs]]
        counts.append(np.bincount(mentions, minlength=len(files)))
    table = np.stack(counts)
    used = (table >= 2).sum(axis=1) >= 3
    pictures = matcher.embed_images([data / "images" / name for name in files])
    kept = [word for word, is_used in zip(words, used, strict=True) if is_used]
    captions = [text for _, text in pairs]
    return Set(matcher, pictures, captions, own, kept, table[used] >= 2, table[used] != 1)


class Table:
    """Prints rows with their difference from the first."""

    def __init__(self, data: Set, title: str) -> None:
        self.data, self.first = data, None
        head = "".join(f"{'R@' + str(k):>7}{'':>15}" for k in KS)
        print(f"\n{title}\n{'':<34}{'words: mAP':>12}{'':>13}  captions:{head}")

    def row(self, name: str, words: Float32 | None, captions: Float32 | None) -> None:
        """words, captions: scores of all pictures, (q, pictures); None: not measured."""
        precisions = None if words is None else self.data.precisions(words)
        recalls = None if captions is None else self.data.recalls(captions)
        if self.first is None:
            self.first = (precisions, recalls)
        line = f"{name:<34}"
        if precisions is not None:
            line += f"{100 * precisions.mean():>12.2f} " + difference(precisions - self.first[0])
        else:
            line += " " * 27
        for column in range(len(KS)) if recalls is not None else ():
            apart = recalls[:, column] - self.first[1][:, column]
            # Captions of one picture are no independent samples.
            by_picture = np.bincount(self.data.own, apart) / np.bincount(self.data.own)
            line += f"{100 * recalls[:, column].mean():>10.2f} " + difference(by_picture)
        print(line.rstrip())


def difference(apart: NDArray[np.float64]) -> str:
    """Mean and standard error, in points."""
    if not apart.any():
        return " " * 12
    return f"{100 * apart.mean():+6.2f}±{100 * apart.std() / len(apart) ** 0.5:.2f} "


def templates(data: Set) -> None:
    """Prompt templates, averaged."""
    table = Table(data, "templates: words")
    rows = []
    for chosen in WORD_TEMPLATES:
        scores = data.embed(data.words, chosen) @ data.pictures.T
        rows.append(data.precisions(scores))
        table.row("the seven of classify" if chosen is TEMPLATES else " + ".join(chosen), scores, None)
    random, gains, chosen_in_halves = np.random.default_rng(0), [], Counter[str]()
    for _ in range(500):
        half = random.permutation(len(data.words)) < len(data.words) // 2
        best = int(np.argmax([row[half].mean() for row in rows]))
        chosen_in_halves[" + ".join(WORD_TEMPLATES[best])] += 1
        gains.append((rows[best] - rows[0])[~half].mean())
    [(name, times)] = chosen_in_halves.most_common(1)
    low, high = 100 * np.quantile(gains, [0.025, 0.975])
    print(f"chosen by one half of the words: {name!r}, {times} times of 500;")
    print(f"gain in the other half {100 * np.mean(gains):+.2f}, 95 % of the halves {low:+.2f} to {high:+.2f}")
    table = Table(data, "templates: captions")
    for chosen in CAPTION_TEMPLATES:
        table.row(" + ".join(chosen)[:33], None, data.embed(data.captions, chosen) @ data.pictures.T)


def hubness(data: Set, words: Float32, captions: Float32) -> None:
    """Pictures that are near to everything are moved away; by texts, or by the other pictures."""
    table = Table(data, "hubness correction")
    queries = words @ data.pictures.T, captions @ data.pictures.T
    table.row("none", *queries)
    texts = -np.sort(-(data.pictures @ data.matcher.embed_texts(PROBES).T), axis=1)
    others = -np.sort(-(data.pictures @ data.pictures.T), axis=1)
    for n in (10, 50, 200, len(PROBES)):
        for weight in (0.25, 0.5, 1.0):  # 0.5 is CSLS, but for a constant of the query
            bias = weight * texts[:, :n].mean(axis=1)
            table.row(f"CSLS by texts, {n} nearest × {weight}", *(q - bias for q in queries))
    for scale in (10, 30):
        bias = np.log(np.exp(scale * texts).mean(axis=1)) / scale
        table.row(f"inverted softmax, scale {scale}", *(q - bias for q in queries))
    for n in (10, 50):
        for weight in (0.2, 0.5):
            bias = weight * others[:, :n].mean(axis=1)
            table.row(f"CSLS by pictures, {n} × {weight}", *(q - bias for q in queries))


def expansion(data: Set, words: Float32, captions: Float32) -> None:
    """The query moved towards what it finds; pictures towards what is like them."""
    table = Table(data, "query expansion, and pictures smoothed")
    pictures, mean = data.pictures, data.pictures.mean(axis=0)
    table.row("none", words @ pictures.T, captions @ pictures.T)
    for n in (1, 3, 10):
        for weight in (0.1, 0.3):
            for name, centre in (("", 0), (", centred", mean)):
                moved = []
                for query in (words, captions):
                    best = np.argsort(-(query @ pictures.T), axis=1)[:, :n]
                    moved.append(unit(query + weight * unit((pictures[best] - centre).mean(axis=1))))
                table.row(f"{n} best × {weight}{name}", *(query @ pictures.T for query in moved))
    alike = np.argsort(-((pictures - mean) @ (pictures - mean).T), axis=1)
    for n in (2, 10):
        for weight in (0.1, 0.4):
            smooth = unit(pictures + weight * pictures[alike[:, 1 : n + 1]].mean(axis=1))
            table.row(f"pictures with {n} neighbours × {weight}", words @ smooth.T, captions @ smooth.T)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--model", default="starter")
    arguments = parser.parse_args()
    data = load(arguments.data, arguments.model)
    print(f"model {arguments.model}: {len(data.pictures):,} pictures, {len(data.captions):,} captions,")
    print(
        f"{len(data.words)} words with {np.median(data.relevant.sum(axis=1)):.0f} relevant pictures (median)"
    )
    templates(data)
    vectors = data.embed(data.words, ("{}",)), data.embed(data.captions, ("{}",))
    hubness(data, *vectors)
    expansion(data, *vectors)


if __name__ == "__main__":
    main()
