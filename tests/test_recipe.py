"""Recipes: what is read is what was written, and what is wrong is named with its remedy."""

from pathlib import Path

import numpy as np
import pytest

from crosslens.errors import InputError
from crosslens.train.labels import build_labels, plural, singular
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
    folder = Path(__file__).parents[1] / "recipes"
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
