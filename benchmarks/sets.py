"""The image–caption sets that the embedded model is measured on; it is trained on none of them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from crosslens.evaluation import Pairs, load_pairs

SHARED = Path(__file__).parent.parent.parent / "shared"
TEST = SHARED / "eval" / "flickr8k-test"
PARQUET = SHARED / "train"


@dataclass(frozen=True)
class Held:
    """A set by name. captions: as many as each picture has."""

    name: str
    pairs: Pairs
    captions: int


def flickr8k_test(data: Path = TEST) -> Held:
    """1,000 pictures with five captions each: Flickr8k's official test split."""
    return Held("Flickr8k test", load_pairs(data), 5)


def validation(source: str | None = None, data: Path = PARQUET) -> Held:
    """The split `val`: 600 pictures of "flickr8k" with five captions, 300 of "cc3m" with one; None: all."""
    pairs = load_pairs(data, split="val", where={} if source is None else {"source": source})
    return Held(f"{source or 'all'}, val", pairs, round(len(pairs.texts) / len(pairs.images)))


def add_options(parser: argparse.ArgumentParser) -> None:
    """--data, --parquet and --model."""
    parser.add_argument("--data", type=Path, default=TEST, help="Flickr8k test: images/ and captions.tsv")
    parser.add_argument(
        "--parquet", type=Path, default=PARQUET, help="pictures with captions, split and source"
    )
    parser.add_argument("--model", default="starter", help="a name, or a folder with a bundle")
