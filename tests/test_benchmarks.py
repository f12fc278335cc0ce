"""What the benchmarks count as right."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crosslens.matching import Pairs
from imagenet_names import CLASSES, labelled, read_classes
from nouns import asked_of, read_nouns
from sets import Held
from starter import Bar


def _held(captions: int, *groups: tuple[int, tuple[str, ...]]) -> Held:
    """Pictures with their captions, so many of each kind."""
    texts = [text for many, group in groups for _ in range(many) for text in group]
    owners = np.repeat(np.arange(sum(many for many, _ in groups)), captions)
    images = tuple(f"{n}.jpg" for n in range(owners[-1] + 1))
    return Held("made", Pairs("made", images, images, tuple(texts), owners), captions)


def test_a_noun_is_right_where_two_captions_name_it_in_either_form() -> None:
    held = _held(2, (20, ("a Dog.", "two dogs")), (19, ("a cat", "a cat")), (30, ("a dog", "an animal")))
    asked = asked_of(held, [("dog", "dogs"), ("cat", "cats")])
    assert asked.forms == [("dog", "dogs")]
    assert asked.right[0].tolist() == [True] * 20 + [False] * 49


def test_where_there_is_one_caption_it_decides_and_ten_pictures_are_enough() -> None:
    asked = asked_of(_held(1, (10, ("a dog",)), (9, ("a cat",))), [("dog", "dogs"), ("cat", "cats")])
    assert asked.forms == [("dog", "dogs")]


def test_nouns_stand_once() -> None:
    forms = [form for forms in read_nouns() for form in forms]
    assert len(forms) == len(set(forms)) > 100


def test_pictures_are_labelled_by_row_name_or_folder(tmp_path: Path) -> None:
    classes = read_classes()
    assert len(classes) == 1000, CLASSES
    (tmp_path / "golden_retriever").mkdir()
    for name in ("golden_retriever/x.jpg", "3.jpg", "tennis ball_2.jpg"):
        (tmp_path / name).touch()
    pictures, labels = labelled(tmp_path, classes)
    assert len(pictures) == 3
    assert [classes[row] for row in labels] == ["tiger shark", "Golden Retriever", "tennis ball"]


def test_a_bar_is_met_from_its_own_side() -> None:
    assert [Bar("", 5, "", 5).met, Bar("", 6, "", 5, most=True).met, Bar("", 1, "", None).met] == [
        "yes",
        "no",
        "",
    ]
