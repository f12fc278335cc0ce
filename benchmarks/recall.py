"""Retrieval on Flickr8k's official test split: 1,000 pictures, 5,000 captions, from Python and from the CLI.

Needs the evaluation pictures (a folder with images/ and captions.tsv: file, caption):

    python benchmarks/recall.py [--data ../shared/eval/flickr8k-test] [--parquet FOLDER] [--model starter]

Where --parquet is there (pictures with captions, source and split), the pictures of its split `val` too, in
Python: those of Flickr8k (600, everyday photographs) and all (900), each set searched alone.

Rank of a caption's picture = 1 + number of pictures with a strictly greater score; intervals of 95 % by
bootstrap over pictures, whose captions are drawn together.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from crosslens import Library, Matcher
from crosslens.evaluation.bootstrap import Estimate, estimates
from sets import PARQUET, TEST, Held, validation

DATA = TEST
KS = (1, 5, 10)


def read_captions(data: Path) -> list[tuple[str, str]]:
    """(file, caption) pairs."""
    with (data / "captions.tsv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [(row["file"], row["caption"]) for row in rows]


def from_ranks(ranks: list[int]) -> list[float]:
    """Recall at each k, in percent."""
    return [100 * sum(rank <= k for rank in ranks) / len(ranks) for k in KS]


def rank_in(scores: dict[str, float], wanted: str) -> int:
    """Rank of a file among hits; a file that is not among them counts as last."""
    own = scores.get(wanted)
    return 1 + sum(score > own for score in scores.values()) if own is not None else 10**9


def by_matcher(model: str, data: Path, captions: list[tuple[str, str]]) -> tuple[list[int], list[int]]:
    """Ranks text → image and image → text (the best of its captions), from the embeddings."""
    matcher = Matcher(model)
    files = sorted(path.name for path in (data / "images").iterdir())
    images = matcher.embed_images([data / "images" / name for name in files])
    texts = matcher.embed_texts([caption for _, caption in captions])
    scores = texts @ images.T
    own = np.array([files.index(name) for name, _ in captions])
    own_scores = scores[np.arange(len(texts)), own]
    to_image = 1 + (scores > own_scores[:, None]).sum(axis=1)
    best = np.full(len(files), -np.inf)
    np.maximum.at(best, own, own_scores)
    to_text = 1 + (best[:, None] < scores.T).sum(axis=1)
    return to_image.tolist(), to_text.tolist()


def held_out(matcher: Matcher, held: Held) -> dict[str, Estimate]:
    """Recall text → image, in percent, by "R@k"."""
    pairs = held.pairs
    scores = matcher.embed_texts(pairs.texts) @ matcher.embed_images(pairs.images).T
    own = scores[np.arange(len(scores)), pairs.text_to_image]
    ranks = 1 + (scores > own[:, None]).sum(axis=1)
    return estimates({f"R@{k}": 100.0 * (ranks <= k) for k in KS}, {}, pairs.text_to_image)


def by_library(folder: Path, captions: list[tuple[str, str]]) -> list[int]:
    """Ranks through Library.search_many."""
    with Library.open(folder) as library:
        found = library.search_many([caption for _, caption in captions], k=max(KS))
    return [
        rank_in({os.path.basename(hit.path): hit.score for hit in hits}, name)
        for hits, (name, _) in zip(found, captions, strict=True)
    ]


def by_command(folder: Path, captions: list[tuple[str, str]]) -> list[int]:
    """Ranks through `crosslens search --queries FILE --json`, all in one process."""
    crosslens = Path(sys.executable).with_name("crosslens")
    queries = folder.parent / "queries.txt"
    queries.write_text("\n".join(caption for _, caption in captions) + "\n", encoding="utf-8")
    command = [crosslens, "search", "-L", folder, "--queries", queries, "-k", str(max(KS)), "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    ranks = []
    for line, (name, caption) in zip(done.stdout.splitlines(), captions, strict=True):
        answer = json.loads(line)
        assert answer["query"]["text"] == caption
        ranks.append(rank_in({os.path.basename(h["path"]): h["score"] for h in answer["hits"]}, name))
    return ranks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--parquet", type=Path, default=PARQUET)
    parser.add_argument("--model", default="starter")
    arguments = parser.parse_args()
    if not (arguments.data / "captions.tsv").is_file():
        parser.error(
            f"{arguments.data} has no captions.tsv: give --data, a folder with images/ and captions.tsv"
        )
    captions = read_captions(arguments.data)
    to_image, to_text = by_matcher(arguments.model, arguments.data, captions)
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder) / "library"
        with Library.open(where, arguments.model) as library:
            report = library.index(arguments.data / "images")
        rows = {
            "text → image, Matcher": from_ranks(to_image),
            "text → image, Library": from_ranks(by_library(where, captions)),
            "text → image, command line": from_ranks(by_command(where, captions)),
            "image → text, Matcher": from_ranks(to_text),
        }
    print(f"model {arguments.model}, {Matcher(arguments.model).model.runtime}")
    print(f"{report.encoded:,} pictures indexed in {report.seconds:.1f} s, {len(captions):,} captions")
    print(f"{'':<28}" + "".join(f"{'R@' + str(k):>8}" for k in KS))
    for name, recalls in rows.items():
        print(f"{name:<28}" + "".join(f"{recall:>8.2f}" for recall in recalls))
    print(f"median rank text → image: {statistics.median(to_image):.0f}")
    for source in ("flickr8k", None) if arguments.parquet.is_dir() else ():
        held = validation(source, arguments.parquet)
        print(f"\n{held.name}: {len(held.pairs.images):,} pictures, {len(held.pairs.texts):,} captions")
        for name, found in held_out(Matcher(arguments.model), held).items():
            print(f"{name:<28}{found.value:>8.2f}  ({found.low:.2f} to {found.high:.2f})")


if __name__ == "__main__":
    main()
