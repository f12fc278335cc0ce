"""What the benchmarks count as right."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from crosslens.evaluation import Pairs
from crosslens.models.bundle import load_bundle
from crosslens.models.catalogue import find_bundle
from fit_probability import names_of
from fit_relevance import fitted, lines, worst
from imagenet_names import CLASSES, labelled, read_classes
from nouns import asked_of, read_nouns
from sets import Held
from starter import Bar
from writing import write_facts


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


def test_names_are_nouns_and_pairs_of_words_that_end_in_one() -> None:
    held = _held(2, (3, ("a black dog on grass", "one black dog")), (3, ("the dogs play", "two dogs")))
    names = names_of(held)
    assert set(names) == {"dog", "black dog"}  # grass is in one caption a picture
    forms, counts = names["black dog"]
    assert forms == ("black dog", "black dogs", "a black dog")
    assert counts.tolist() == [2, 2, 2, 0, 0, 0]
    assert names["dog"][1].tolist() == [2] * 6


def test_the_greater_rate_of_the_worst_size_is_made_least() -> None:
    there, absent = np.array([2.0, 3.0, 4.0, 5.0]), np.array([0.0, 1.0, 1.5, 2.4])
    values = {2: {"captions": there, "absent": absent}, 13: {"captions": there + 1, "absent": absent}}
    assert worst(values, 2.5) == (0.25, 0.0)
    assert worst(values, 1.8) == (0.0, 0.25)
    assert max(worst(values, fitted(values))) == 0.25


def test_what_was_measured_is_written_into_a_bundle(tmp_path: Path) -> None:
    bundle = shutil.copytree(find_bundle("starter").folder, tmp_path / "bundle")
    before = load_bundle(bundle).spec
    facts = {"middle": 2.0, "steepness": 1.5, "missed": 0.05, "false_alarms": 0.05, "measured_on": "here"}
    write_facts(str(bundle), {"relevance": facts})
    after = load_bundle(bundle).spec
    assert after.shows_relevance
    assert (after.identity, after.match) == (before.identity, before.match)


def test_no_list_of_absent_things_holds_what_is_asked_for_as_present() -> None:
    present = {form for forms in read_nouns() for form in forms}
    assert not present & {*lines("absent_nouns.txt"), *lines("no_words.txt"), *lines("absent_queries.txt")}
