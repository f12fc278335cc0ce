"""Recipes: what is read is what was written, and what is wrong is named with its remedy."""

from pathlib import Path

import numpy as np
import pytest

from crosslens.errors import InputError
from crosslens.train.data_reading import read_pairs
from crosslens.train.label_texts import build_labels, plural, singular
from crosslens.train.pair_dataset import Groups, Pairs
from crosslens.train.recipe import read_recipe, recipe_facts, recipe_from_facts

HEAD = 'name = "x"\n[data]\ntrain = "pairs"\n'
STAGE = "[[stages]]\nsteps = 10\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_a_recipe_says_which_stage_a_step_belongs_to(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, f"{HEAD}{STAGE}batch = 8\n{STAGE}batch = 16\nsize = 96\n"))
    assert recipe.steps == 20
    assert [recipe.stage_at(step).batch for step in (0, 9, 10, 19)] == [8, 8, 16, 16]
    assert [recipe.pairs_until(step) for step in (0, 10, 12, 20)] == [0, 80, 112, 240]
    assert recipe_from_facts(recipe_facts(recipe)) == recipe


def test_a_stage_may_weigh_labels_in_its_own_way(tmp_path: Path) -> None:
    text = f"{HEAD}{STAGE}{STAGE}labels = 0.75\nby_class = 0.5\n[loss]\nlabels = 0.25\n"
    recipe = read_recipe(written(tmp_path, text))
    assert [recipe.label_weight(stage) for stage in recipe.stages] == [0.25, 0.75]


def test_pictures_are_drawn_so_that_classes_are_equally_frequent() -> None:
    # 90 pictures of the first class, 9 of the second, one of the third; the last is sure of nothing.
    best = np.array([[0]] * 90 + [[1]] * 9 + [[2]] + [[0]])
    likely = np.array([[0.9]] * 100 + [[0.1]], np.float32)
    labels = build_labels([()] * 101, 0, [("one",), ("two",), ("three",)], (best, likely))
    drawn = labels.draw(3000, np.random.default_rng(0))
    assert 100 not in drawn
    shares = np.bincount(best[drawn, 0]) / 3000
    assert np.allclose(shares, 1 / 3, atol=0.03)
    with pytest.raises(InputError, match="surely of any class"):
        build_labels([("a dog",)] * 3, 2, [], None).draw(2, np.random.default_rng(0))


def test_a_word_is_the_truer_the_more_captions_of_a_picture_have_it() -> None:
    captions = [("a dog runs", "the dogs", "two animals", "a dog")] * 2 + [("a dog",), ("animals",)]
    labels = build_labels(captions, 2, [], None)
    words = [forms[0] for forms in labels.texts]
    truth = labels.of(np.array([0, 2, 3]))
    assert words == ["animal", "dog", "dog run", "run"]
    assert np.allclose(truth[:, 1] / truth[1, 1], [0.75, 1, 0])
    assert np.allclose(truth[:, 0] / truth[2, 0], [0.25, 0, 1])


def test_pictures_of_one_group_are_drawn_as_often_as_it_has_texts() -> None:
    texts = [("x",)] * 60 + [("x", "y", "z")] * 20
    groups = Groups.of(Pairs([b""] * 80, texts, groups=["web"] * 60 + ["photos"] * 20))
    random, first = np.random.default_rng(0), 0
    for _ in range(2000):
        rows = groups.draw(30, random)
        kinds = {bool(row < 60) for row in rows.tolist()}
        assert len(kinds) == 1
        assert len(set(rows.tolist())) == len(rows)
        assert len(rows) == (30 if kinds == {True} else 20)
        first += kinds == {True}
    assert first / 2000 == pytest.approx(0.5, abs=0.04)


def test_groups_come_from_a_column(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes(bytes([number]))
    rows = [f"{n}.png,text {n},{'train' if n < 5 else 'val'},{'b' if n % 2 else 'a'}" for n in range(6)]
    (tmp_path / "pairs.csv").write_text("\n".join(["image,text,split,source", *rows]))
    head = HEAD.replace('"pairs"', '"pairs.csv"') + 'train_split = "train"\nval_split = "val"\n'
    stage = f"{STAGE}one_group = 0.5\n"
    train, val = read_pairs(
        read_recipe(written(tmp_path, f'{head}group_column = "source"\n{stage}')), tmp_path
    )
    assert train.groups == ["a", "a", "a", "b", "b"]
    assert val.groups == ["b"]
    assert train.texts == [("text 0",), ("text 2",), ("text 4",), ("text 1",), ("text 3",)]
    assert [image[0] for image in train.images] == [0, 2, 4, 1, 3]
    with pytest.raises(InputError, match="row 0 has no 'where'"):
        read_pairs(read_recipe(written(tmp_path, f'{head}group_column = "where"\n{stage}')), tmp_path)
    with pytest.raises(InputError, match="have no groups"):
        Groups.of(Pairs([b""], [("x",)]))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name = ", "not TOML"),
        (HEAD, "missing"),
        (f"{HEAD}colour = 1\n{STAGE}", "no setting 'colour'"),
        (f"{HEAD}{STAGE}batch = 1\n", "at least 2 pairs"),
        (f'{HEAD}{STAGE}batch = "many"\n', "a whole number"),
        (f"{HEAD}{STAGE}text = 1\n", "true or false"),
        (f"{HEAD}{STAGE}least_area = 0.0\n", "more than 0"),
        (f'name = "../x"\n[data]\ntrain = "pairs"\n{STAGE}', "without slashes"),
        (f"{HEAD}{STAGE}by_class = 1.0\n", "less than 1"),
        (f"{HEAD}{STAGE}one_group = 0.5\n", "needs data.group_column"),
        (f"{HEAD}{STAGE}one_group = 0.5\nby_class = 0.5\n", "less than 1 together"),
        (f'{HEAD}{STAGE}[image]\nkind = "resnet"\n', "efficientnet-lite2"),
        (f"{HEAD}val_fraction = 1.0\n{STAGE}", "between 0 and 1"),
        ('name = "x"\ndata = 1\n', "a table"),
        (f"{HEAD}{STAGE}[distill]\nfeatures = -1.0\n", "0 or more"),
        (f'{HEAD}{STAGE}[distill]\nteacher = "x"\nsimilarities = 0.0\n', "above 0"),
        (f"{HEAD}{STAGE}[export]\nclass_names = 0.3\n", "names of the classes"),
        (f"{HEAD}{STAGE}[export]\nclass_temperature = 0.0\n", "more than 0"),
        (f'{HEAD}{STAGE}[image]\nkind = "vit"\n[export]\nint8 = true\n', "convolutional"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_recipe(written(tmp_path, text))


def test_a_recipe_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_recipe(tmp_path / "none.toml")


def test_the_recipe_of_the_embedded_model_is_sound() -> None:
    folder = Path(__file__).parents[2] / "recipes"
    assert read_recipe(folder / "starter.toml").name == "starter"
    assert len((folder / "imagenet_classes.txt").read_text().splitlines()) == 1000


def test_settings_that_came_later_have_the_value_that_runs_from_before_had(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, HEAD + STAGE))
    facts = recipe_facts(recipe)
    for later in ("export", "distill"):
        del facts[later]
    assert recipe_from_facts(facts) == recipe


@pytest.mark.parametrize(
    ("one", "many"),
    [("dog", "dogs"), ("child", "children"), ("bench", "benches"), ("puppy", "puppies"), ("boy", "boys"),
     ("dress", "dresses"), ("man", "men"), ("bus", "buses"), ("box", "boxes"), ("knife", "knives")],
)  # fmt: skip
def test_plurals_are_formed_and_undone(one: str, many: str) -> None:
    assert plural(one) == many
    assert singular(many) == one
    assert singular(one) == one
