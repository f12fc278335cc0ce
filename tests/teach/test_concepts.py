"""Concepts taught by a few examples: the head, the filter, the tag, and that no tower runs for them."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosslens import Library, Matcher
from crosslens.cli.app import main
from crosslens.errors import InputError, LibraryDamagedError, QueryError
from crosslens.library.query_search import search
from crosslens.maintenance import tagging
from crosslens.maintenance.backup_and_compact import compact
from crosslens.maintenance.integrity_check import verify
from crosslens.maintenance.model_migration import migrate
from crosslens.search.linear_head import (
    LEAST_STATED,
    Examples,
    Rate,
    Space,
    error_rates,
    fit,
    held_out_margins,
    least_certain,
    logit,
)
from crosslens.store.schema import DATABASE
from crosslens.teach import concepts
from crosslens.towers.fake_model import FakeModel
from turned import open_named

GOLDEN = Path(__file__).parents[1] / "golden"
REDS, BLUES = 12, 12


def units(count: int, dimension: int = 16, seed: int = 0, towards: int | None = None) -> np.ndarray:
    """Random unit vectors, float32; towards: an axis that all lean to."""
    vectors = np.random.default_rng(seed).normal(size=(count, dimension))
    if towards is not None:
        vectors[:, towards] += 3
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def library(tmp_path: Path, fake: Matcher) -> Iterator[Library]:
    """Twelve shades of red, then twelve of blue, added without files: red-0 … blue-11."""
    with Library.open(tmp_path / "library", fake) as library:
        shades = [np.full((8, 8, 3), (120 + 10 * n, 6 * n, 0), np.uint8) for n in range(REDS)]
        shades += [np.full((8, 8, 3), (0, 6 * n, 120 + 10 * n), np.uint8) for n in range(BLUES)]
        names = [f"red-{n}" for n in range(REDS)] + [f"blue-{n}" for n in range(BLUES)]
        library.add(images=shades, names=names)
        yield library


def names(found: list[Any]) -> list[str]:
    return [getattr(one, "hit", one).path.removeprefix("added:") for one in found]


def number(library: Library, *wanted: str) -> list[int]:
    ids = {item.path.removeprefix("added:"): item.id for item in library.items()}
    return [ids[name] for name in wanted]


# -- the head -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("yes", "no", "presumed"), [(3, 4, 30), (20, 0, 60), (40, 50, 0), (1, 0, 5)])
@pytest.mark.parametrize("dimension", [8, 64])
def test_the_head_is_that_of_scikit_learn(yes: int, no: int, presumed: int, dimension: int) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    examples = Examples(
        units(yes, dimension, 1, towards=0), units(no, dimension, 2, towards=1), units(presumed, dimension, 3)
    )
    mean, scale = units(1, dimension, 4)[0] / 2, 0.7
    head = fit(examples, Space(mean, scale))
    rows = (np.concatenate([examples.yes, examples.no, examples.presumed]).astype(np.float64) - mean) / scale
    half = 0.5 if no and presumed else 1.0
    weights = np.repeat([1.0, half * yes / max(no, 1), half * yes / max(presumed, 1)], [yes, no, presumed])
    other = linear_model.LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000)
    other.fit(rows, np.repeat([1, 0], [yes, no + presumed]), sample_weight=weights)
    strangers = units(50, dimension, 5)
    wanted = other.decision_function((strangers.astype(np.float64) - mean) / scale)
    np.testing.assert_allclose(head.margins(strangers), wanted, atol=2e-4)


def test_an_example_that_is_held_out_is_judged_by_a_head_that_never_saw_it() -> None:
    examples = Examples(units(6, seed=1, towards=0), units(7, seed=2), units(20, seed=3))
    space = Space(np.zeros(16, np.float32), 1.0)
    yes, no = held_out_margins(examples, space)
    own = fit(examples, space)
    assert (yes < own.margins(examples.yes)).all()
    assert (no > own.margins(examples.no)).all()
    # Labels that say nothing are found out: half of all is wrong, though the fit itself is without error.
    noise = Examples(units(30, 64, seed=4), units(30, 64, seed=5), units(0, 64))
    missed, alarms = error_rates(noise, Space(np.zeros(64, np.float32), 1.0), 0.5)
    assert missed is not None
    assert alarms is not None
    assert 0.3 < (missed.wrong + alarms.wrong) / 60 < 0.8
    assert (fit(noise, Space(np.zeros(64, np.float32), 0.1)).margins(noise.yes) > 0).all()


@pytest.mark.parametrize("few", range(LEAST_STATED))
def test_no_rate_is_stated_of_fewer_than_five(few: int) -> None:
    space = Space(np.zeros(16, np.float32), 1.0)
    examples = Examples(units(8, seed=1), units(few, seed=2), units(9, seed=3))
    missed, alarms = error_rates(examples, space, 0.5)
    assert (missed is None, alarms) == (False, None)
    turned = Examples(units(few + 1, seed=1)[: few or 1], units(8, seed=2), units(9, seed=3))
    missed, alarms = error_rates(turned, space, 0.5)
    assert (missed, alarms is None) == (None, False)


def test_the_interval_is_wilsons() -> None:
    assert (Rate(0, 10).low, Rate(0, 10).high) == pytest.approx((0, 0.2775), abs=1e-4)
    assert (Rate(5, 10).low, Rate(5, 10).high) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert Rate(10, 10).high == 1


def test_what_is_suggested_is_uncertain_and_diverse() -> None:
    vectors = np.concatenate([np.tile(units(1, seed=1), (40, 1)), units(40, seed=2)])
    margins = np.linspace(-4, 4, 80)[np.random.default_rng(0).permutation(80)]
    margins[::5] = np.nan
    chosen = least_certain(margins, 0.0, lambda rows: vectors[rows], 5)
    assert chosen[0] == np.nanargmin(np.abs(margins))
    assert not np.isnan(margins[chosen]).any()
    assert len(set(chosen.tolist())) == 5
    assert sum(row < 40 for row in chosen) <= 1  # of forty copies of one, one
    assert len(least_certain(margins, 0.0, lambda rows: vectors[rows], 79)) == 64


@given(st.floats(0.01, 0.99))
def test_a_threshold_is_a_margin(threshold: float) -> None:
    assert 1 / (1 + np.exp(-logit(threshold))) == pytest.approx(threshold)


# -- teaching -------------------------------------------------------------------------------------


def test_a_concept_finds_what_is_like_its_examples(library: Library) -> None:
    taught = concepts.teach(
        library, "Warm", yes=number(library, "red-0", "red-5"), no=number(library, "blue-3")
    )
    assert (taught.name, taught.kind, taught.yes, taught.no, taught.presumed) == ("Warm", "image", 2, 1, 21)
    assert (taught.missed, taught.false_alarms, taught.current) == (None, None, True)
    found = search(library, "concept:warm", k=100)
    assert sorted(names(found)) == sorted(f"red-{n}" for n in range(REDS))
    scores = [hit.score for hit in found]
    assert scores == sorted(scores, reverse=True)
    assert sorted(names(search(library, "-concept:WARM", k=100))) == sorted(f"blue-{n}" for n in range(BLUES))
    # Beside words it is a filter, and the words rank; sorted by name it is one as well.
    assert names(search(library, "blue concept:warm", k=1)) == names(
        search(library, "blue path:added:red-*", k=1)
    )
    assert names(search(library, "concept:warm", k=3, sort="path")) == ["red-0", "red-1", "red-10"]
    assert [one.name for one in concepts.taught(library)] == ["Warm"]


def test_marks_count_whatever_the_head_says(library: Library) -> None:
    odd, no = number(library, "blue-11"), number(library, "red-4")
    yes = number(library, *(f"red-{n}" for n in range(4)))
    concepts.teach(library, "mine", yes=[*yes, *odd], no=no)
    found = set(names(search(library, "concept:mine", k=100)))
    assert "blue-11" in found
    assert "red-4" not in found
    concepts.teach(library, "mine", unmark=[*odd, *no])
    found = set(names(search(library, "concept:mine", k=100)))
    assert "blue-11" not in found
    assert "red-4" in found
    # The last mark counts.
    assert concepts.teach(library, "mine", no=yes[:1]).yes == 3
    assert concepts.teach(library, "mine", yes=yes[:1]).yes == 4


def test_with_positives_alone_items_at_random_are_presumed_no(library: Library) -> None:
    taught = concepts.teach(library, "red", yes=number(library, *(f"red-{n}" for n in range(8))))
    assert (taught.no, taught.presumed) == (0, REDS + BLUES - 8)
    assert taught.missed == Rate(0, 8)
    assert taught.false_alarms is None
    assert {name[:3] for name in names(search(library, "concept:red", k=100))} == {"red"}


def test_examples_may_be_filters_folders_and_paths(tmp_path: Path, pictures: Path, fake: Matcher) -> None:
    with Library.open(tmp_path / "library", fake) as library:
        library.index(pictures)
        tagging.tag(library, pictures / "red.png", "rex")
        concepts.teach(library, "dog", yes="tag:rex", no=[pictures / "blue.png", "path:green.png"])
        assert Path(search(library, "concept:dog")[0].path).stem == "red"
        with pytest.raises(InputError, match=r"nothing in library .* fits tag:cat"):
            concepts.teach(library, "dog", yes="tag:cat")
        with pytest.raises(InputError, match="is not in library"):
            concepts.teach(library, "dog", yes="tag")


def test_a_higher_threshold_is_stricter(library: Library) -> None:
    concepts.teach(library, "red", yes=number(library, "red-0", "red-1"))
    counts = []
    for threshold in (0.01, 0.5, 0.99):
        assert concepts.teach(library, "red", threshold=threshold).threshold == threshold
        counts.append(concepts.plan_tag(library, "red").fits)
    assert counts[0] == REDS + BLUES
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 2  # what was marked
    assert concepts.teach(library, "red", yes=number(library, "red-2")).threshold == 0.99  # as it was
    for wrong in (0, 1, -1, float("nan"), "x"):
        with pytest.raises(InputError, match="threshold is"):
            concepts.teach(library, "red", threshold=wrong)  # type: ignore[arg-type]


def test_what_cannot_be_taught_is_refused_and_changes_nothing(library: Library) -> None:
    [red, blue] = number(library, "red-0", "blue-0")
    with pytest.raises(InputError, match=r"there is no concept 'dog'.*teach it by examples"):
        concepts.teach(library, "dog", no=[blue])
    with pytest.raises(InputError, match="marked yes and no"):
        concepts.teach(library, "dog", yes=[red, blue], no=[blue])
    with pytest.raises(InputError, match="is no name of a concept"):
        concepts.teach(library, "animals/dog", yes=[red])
    with pytest.raises(InputError, match="nothing is left in library"):
        concepts.teach(library, "all", yes=[item.id for item in library.items()])
    concepts.teach(library, "dog", yes=[red], no=[blue])
    with pytest.raises(InputError, match="no example is left"):
        concepts.teach(library, "dog", no=[red])
    library.add(texts=["a red wall"], names=["wall"])
    with pytest.raises(InputError, match="texts are marked, and the concept is one of pictures"):
        concepts.teach(library, "dog", yes=number(library, "wall"))
    with pytest.raises(QueryError, match="was taught on pictures, and texts are looked for"):
        search(library, "concept:dog", kind="text")
    assert [(one.name, one.yes, one.no) for one in concepts.taught(library)] == [("dog", 1, 1)]


def test_what_is_not_known_is_said_with_what_is(library: Library) -> None:
    with pytest.raises(QueryError, match=r"no concept 'cat'.*There are none yet"):
        search(library, "concept:cat")
    concepts.teach(library, "dog", yes=number(library, "red-0"))
    for fails in (
        lambda: search(library, "red -concept:cat"),
        lambda: concepts.suggest(library, "cat"),
        lambda: concepts.give_tag(library, "cat"),
        lambda: concepts.forget(library, "cat"),
    ):
        with pytest.raises(QueryError, match=r"no concept 'cat'.*There are dog"):
            fails()


def test_suggestions_are_not_marked_yet_and_near_the_threshold(library: Library) -> None:
    yes, no = number(library, "red-0", "red-1"), number(library, "blue-0")
    concepts.teach(library, "red", yes=yes, no=no)
    suggested = concepts.suggest(library, "red", 5)
    assert len({one.hit.id for one in suggested} - {*yes, *no}) == 5
    assert all(0 < one.score < 1 for one in suggested)
    assert len(concepts.suggest(library, "red", 100)) == REDS + BLUES - 3


def test_a_concept_holds_for_what_is_indexed_later_and_is_known_to_the_next_process(
    library: Library, fake: Matcher
) -> None:
    concepts.teach(library, "red", yes=number(library, "red-0", "red-9"), no=number(library, "blue-2"))
    library.add(images=[np.full((8, 8, 3), (250, 0, 10), np.uint8)], names=["new"])
    with Library.open(library.folder, fake) as later:
        assert "new" in names(search(later, "concept:red", k=100))
    assert verify(library.folder).clean


def test_several_libraries_share_a_concept_that_one_was_taught(
    library: Library, tmp_path: Path, pictures: Path, fake: Matcher
) -> None:
    concepts.teach(library, "warm", yes=number(library, "red-0", "red-9"), no=number(library, "blue-2"))
    with Library.open(tmp_path / "other", fake) as other:
        other.index(pictures)
        found = search([library, other], "concept:warm", k=100)
        assert {Path(hit.path).name for hit in found if hit.library == str(other.folder)} >= {"red.png"}
        assert "blue.png" not in {Path(hit.path).name for hit in found}
        with pytest.raises(QueryError, match="no concept 'cold'"):
            search([library, other], "concept:cold")


# -- the tag --------------------------------------------------------------------------------------


def test_nothing_is_tagged_before_it_is_asked_for(library: Library) -> None:
    concepts.teach(library, "red", yes=number(library, "red-0", "red-9"), no=number(library, "blue-2"))
    plan = concepts.plan_tag(library, "red")
    assert (plan.tag, plan.fits, plan.items, plan.new, plan.gone) == ("red", REDS, REDS + BLUES, REDS, 0)
    assert tagging.tags(library) == {}
    assert concepts.give_tag(library, "red") == plan
    assert tagging.tags(library) == {"red": REDS}
    assert concepts.plan_tag(library, "red").new == 0
    assert [one.tags for one in concepts.taught(library)] == [{"red": REDS}]
    assert concepts.give_tag(library, "red", "colours/Red").new == REDS
    assert len(search(library, "tag:colours", k=100)) == REDS


def test_a_tag_given_again_follows_the_marks_but_leaves_those_of_people(library: Library) -> None:
    tagging.tag(library, number(library, "red-1", "blue-7"), "warm")
    concepts.teach(library, "warm", yes=number(library, "red-0", "red-9"), no=number(library, "blue-2"))
    assert concepts.give_tag(library, "warm").new == REDS - 1
    tagging.tag(library, number(library, "red-2"), "warm")  # a person says so, too
    concepts.teach(library, "warm", no=number(library, "red-1", "red-2", "red-3"))
    plan = concepts.plan_tag(library, "warm")
    done = concepts.give_tag(library, "warm")
    assert (done, done.new) == (plan, 0)
    tagged = set(names(search(library, "tag:warm", k=100)))
    assert {"red-1", "red-2", "blue-7"} <= tagged
    assert "red-3" not in tagged
    concepts.forget(library, "warm")
    assert set(names(search(library, "tag:warm", k=100))) == tagged
    assert verify(library.folder).clean


def test_marks_of_a_content_that_is_thrown_out_go_with_it(library: Library) -> None:
    yes = number(library, "red-0", "red-9")
    concepts.teach(library, "red", yes=yes, no=number(library, "blue-2"))
    library.remove(yes[:1])
    assert concepts.teach(library, "red").yes == 2  # its vector is still there
    library.close()
    compact(library.folder)
    [red] = concepts.taught(library)
    assert red.yes == 1
    assert "red-3" in names(search(library, "concept:red", k=100))


# -- models and formats ---------------------------------------------------------------------------


class Silent(FakeModel):
    """A model whose towers and tokeniser must not be asked."""

    def __init__(self) -> None:
        class Refusing:
            def submit(self, _batch: object) -> Any:
                raise AssertionError("a tower ran")

        self.image = self.text = Refusing()  # type: ignore[assignment]

    def tokenize(self, _texts: object) -> Any:
        raise AssertionError("the tokeniser ran")


def test_no_tower_runs(library: Library) -> None:
    library.close()
    with Library.open(library.folder, Matcher(Silent())) as silent:
        red, blue = number(silent, "red-0", "red-9"), number(silent, "blue-2")
        concepts.teach(silent, "red", yes=red, no=blue)
        assert len(search(silent, "concept:red", k=100)) == REDS
        assert len(concepts.suggest(silent, "red", 5)) == 5
        assert concepts.give_tag(silent, "red").new == REDS
        assert len(search(silent, "tag:red -concept:red")) == 0
        with pytest.raises(AssertionError, match=r"a tower ran|tokeniser ran"):
            search(silent, "red concept:red")


def test_a_concept_of_another_model_is_refused_until_it_is_taught_again(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crosslens.matching.matcher.open_model", open_named)
    folder = tmp_path / "library"
    with Library.open(folder, "fake") as library:
        library.index(pictures)
        concepts.teach(library, "warm", yes=pictures / "red.png", no=pictures / "blue.png")
        before = [Path(hit.path).name for hit in search(library, "concept:warm")]
    migrate(folder, Matcher("turned"))
    with Library.open(folder) as library:
        assert [one.current for one in concepts.taught(library)] == [False]
        for use in (
            lambda: search(library, "concept:warm"),
            lambda: concepts.suggest(library, "warm"),
            lambda: concepts.plan_tag(library, "warm"),
        ):
            with pytest.raises(QueryError, match=r"another model .*crosslens teach 'warm'"):
                use()
        again = concepts.teach(library, "warm")  # from the examples that were kept
        assert (again.yes, again.no, again.current) == (1, 1, True)
        assert [Path(hit.path).name for hit in search(library, "concept:warm")] == before


@pytest.mark.parametrize("blob", [b"", b"abc", b"\0" * 8, b"\xff" * 16])
def test_weights_that_are_damaged_are_refused_until_it_is_taught_again(library: Library, blob: bytes) -> None:
    concepts.teach(library, "red", yes=number(library, "red-0", "red-9"), no=number(library, "blue-2"))
    with closing(sqlite3.connect(library.folder / DATABASE)) as database, database:
        database.execute("UPDATE concepts SET weights = ?", (blob,))
    for use in (lambda: search(library, "concept:red"), lambda: concepts.suggest(library, "red")):
        with pytest.raises(LibraryDamagedError, match="the weights of the concept 'red' are damaged"):
            use()
    concepts.teach(library, "red")
    assert len(search(library, "concept:red", k=100)) == REDS


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_older_library_can_be_read_and_then_taught(tmp_path: Path, version: int, fake: Matcher) -> None:
    shutil.copy(GOLDEN / f"library-version-{version}.sqlite3", tmp_path / DATABASE)
    with Library.open(tmp_path, fake) as library:
        assert concepts.taught(library) == []
        with pytest.raises(QueryError, match="There are none yet"):
            search(library, "concept:red")
        with closing(sqlite3.connect(tmp_path / DATABASE)) as database:
            assert database.execute("PRAGMA user_version").fetchone() == (version,)  # read, not changed
        [one, *_] = [item for item in library.items() if item.text is None]
        concepts.teach(library, "red", yes=[one.id])
        assert concepts.give_tag(library, "red").new >= 1
    assert verify(tmp_path).clean


# -- the command line -----------------------------------------------------------------------------


@pytest.fixture
def command(
    library: Library, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    monkeypatch.setenv("CROSSLENS_LIBRARY", str(library.folder))
    monkeypatch.setattr("crosslens.cli.app._prepare_streams", lambda: None)
    monkeypatch.setattr("crosslens.matching.matcher.open_model", open_named)

    def run(*words: object, status: int = 0) -> str:
        capsys.readouterr()
        assert main([str(word) for word in words]) == status
        said = capsys.readouterr()
        return said.out if status == 0 else said.err

    return run


def test_the_command_teaches_previews_and_saves(library: Library, command: Callable[..., str]) -> None:
    reds, blues = number(library, *(f"red-{n}" for n in range(6))), number(library, "blue-0", "blue-5")
    marks = [word for one in reds for word in ("--yes", one)] + [
        word for one in blues for word in ("--no", one)
    ]
    said = command("teach", "warm", *marks, "--suggest", 2)
    assert "warm: 6 marked yes, 2 no; 16 taken at random are presumed no" in said
    assert "misses 0 of 6 (0%, 95 % interval 0% to 39%); false alarms not known (fewer than 5 marked)" in said
    assert "holds for 12 of 24 pictures: crosslens search concept:warm" in said
    assert "would tag 12 as warm: crosslens teach warm --save" in said
    assert len(re.findall(r"^  0\.\d\d\t\d+\tadded:", said, re.MULTILINE)) == 2
    assert command("tags") == ""
    assert "tagged 12 as warm" in command("teach", "warm", "--save")
    assert command("tags").split() == ["12", "warm"]
    assert "would tag 12 as tone/warm: crosslens teach warm --tag tone/warm --save" in command(
        "teach", "warm", "--tag", "tone/warm"
    )
    assert command("concepts").startswith("warm: 6 yes, 2 no, misses 0 of 6")
    found = json.loads(command("search", "concept:warm", "-k", 20, "--json"))
    assert len(found["hits"]) == 12
    assert command("teach", "warm", "--forget") == "forgot warm\n"
    assert "there is no concept 'warm'" in command("search", "concept:warm", status=1)
    assert "no concept was taught" in command("concepts")


def test_the_command_speaks_json(library: Library, command: Callable[..., str]) -> None:
    [red, *others] = number(library, *(f"red-{n}" for n in range(5)))
    marks = [word for one in others for word in ("--yes", one)]
    said = json.loads(command("teach", "warm", "--yes", red, *marks, "--json"))
    assert said["missed"] == {
        "wrong": 0,
        "of": 5,
        "rate": 0,
        "low": 0,
        "high": pytest.approx(0.434, abs=1e-3),
    }
    assert said["false_alarms"] is None
    assert said["tag"] == {"tag": "warm", "fits": 12, "items": 24, "new": 12, "gone": 0, "saved": False}
    assert len(said["suggestions"]) == 5
    [listed] = json.loads(command("concepts", "--json"))["concepts"]
    assert listed["name"] == "warm"
    assert "stands alone" in command("teach", "warm", "--forget", "--save", status=2)


# -- real photographs -----------------------------------------------------------------------------


@pytest.mark.shared
def test_ten_and_ten_photographs_teach_dog(tmp_path: Path, shared: Path, starter: Matcher) -> None:
    """By captions: marked are ten pictures that two captions call a dog, and ten that none does."""
    data = shared / "eval" / "flickr8k-test"
    captions = defaultdict(list)
    with (data / "captions.tsv").open() as file:
        for row in csv.DictReader(file, delimiter="\t"):
            captions[row["file"]].append(row["caption"].lower())
    named = {name: sum("dog" in text for text in texts) for name, texts in sorted(captions.items())[:400]}
    with Library.open(tmp_path / "library", starter) as library:
        library.index([data / "images" / name for name in named])
        ids = {item.id: named[Path(item.path).name] for item in library.items()}
        yes = [one for one, count in ids.items() if count >= 2]
        no = [one for one, count in ids.items() if count == 0]
        taught = concepts.teach(library, "dog", yes=yes[:10], no=no[:10])
        assert taught.missed is not None
        assert taught.false_alarms is not None
        found = {hit.id for hit in search(library, "concept:dog", k=400)}
    recall = np.mean([one in found for one in yes[10:]])
    alarms = np.mean([one in found for one in no[10:]])
    assert recall > 0.75
    assert alarms < 0.1
    # No more is wrong than was said.
    assert 1 - recall <= taught.missed.high
    assert alarms <= taught.false_alarms.high
