"""What AutoMM's fit makes of tables and arguments, before anything is trained; it needs no torch."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from crosslens.automm import MultiModalPredictor
from crosslens.automm.fitting import Labelled, Plan, column_kinds, labelled, split_off
from crosslens.automm.hyperparameters import Hyperparameters, read_hyperparameters
from crosslens.errors import CrosslensWarning, ImageError, InputError, MissingExtraError, TextError
from crosslens.train.pair_dataset import Pairs

FAKE = {"model.clip.checkpoint_name": "fake"}


def predictor(**arguments: Any) -> MultiModalPredictor:
    usual = {"problem_type": "image_text_similarity", "query": "picture", "response": "caption"}
    return MultiModalPredictor(**usual | {"hyperparameters": FAKE} | arguments)


@pytest.fixture
def red(paint: Callable[..., Path]) -> Path:
    return paint("red.png")


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_pictures_of_any_kind_become_files_each_once(red: Path) -> None:
    image = Image.open(red)
    array = np.asarray(image)
    kinds = [str(red), red, red.read_bytes(), image, array, str(red)]
    data = labelled(kinds, ["a", "b", "c", "d", "e", "f"], None, "train_data")
    assert data.pairs.texts[0] == ("a", "b", "f")
    assert ("c",) in data.pairs.texts
    assert all(np.array_equal(pixels(found), array) for found in data.pairs.images)
    assert data.negatives == []
    assert data.pairs.sources[0] == str(red)


def test_rows_that_do_not_match_are_negatives(paint: Callable[..., Path]) -> None:
    red, blue = (str(paint(f"{colour}.png")) for colour in ("red", "blue"))
    data = labelled([red, red, blue], ["red", "blue", "red"], np.array([1, 0, 0]), "train_data")
    assert data.pairs.texts == [("red",), ()]
    assert data.negatives == [(0, "blue"), (1, "red")]
    assert data.said == [0]
    assert data.of([1, 0]).negatives == [(1, "blue"), (0, "red")]
    assert data.of([1]).negatives == [(0, "red")]


def test_rows_that_cannot_be_trained_on_are_named(red: Path) -> None:
    with pytest.raises(InputError, match="rows 0 and 2 are the same pair with different labels"):
        labelled([str(red)] * 3, ["red", "blue", "red"], np.array([1, 1, 0]), "train_data")
    with pytest.raises(TextError, match="tuning_data: text 1 is empty"):
        labelled([str(red)] * 2, ["red", " "], None, "tuning_data")
    with pytest.raises(InputError, match="no picture matches a text"):
        labelled([str(red)], ["red"], np.array([0]), "train_data")
    with pytest.raises(InputError, match="train_data has no rows"):
        labelled([], [], None, "train_data")
    with pytest.raises(ImageError, match="gone"):
        labelled(["gone.png"], ["red"], None, "train_data")


def data_of(texts: list[tuple[str, ...]], negatives: list[tuple[int, str]]) -> Labelled:
    return Labelled(Pairs([bytes([row % 256]) for row in range(len(texts))], texts, []), negatives)


def test_whole_pictures_are_held_out_with_all_that_is_said_of_them() -> None:
    texts = [(f"text {row}",) if row < 20 else () for row in range(30)]
    data = data_of(texts, [(row, "wrong") for row in range(0, 30, 2)])
    train, held = split_off(data, 0.2, 0)
    assert (len(train.said), len(held.said)) == (16, 4)
    assert (len(train.pairs), len(held.pairs)) == (24, 6)
    assert not set(train.pairs.images) & set(held.pairs.images)
    for part in (train, held):
        for row, _ in part.negatives:
            assert part.pairs.images[row][0] % 2 == 0
    assert len(train.negatives) + len(held.negatives) == 15
    assert split_off(data, 0.2, 0)[1].pairs.images == held.pairs.images
    assert split_off(data, 0.2, 1)[1].pairs.images != held.pairs.images
    assert len(split_off(data, None, 0)[1].said) == 4
    many = data_of([("text",)] * 5000, [])
    assert len(split_off(many, None, 0)[1].pairs) == 500
    with pytest.raises(InputError, match=r"too few to hold some out.*tuning_data"):
        split_off(data_of([("a",), ("b",)], []), 0.1, 0)


def test_hyperparameters_are_read_in_all_of_automms_forms() -> None:
    expected = Hyperparameters("fake", rate=1e-3, epochs=3, batch=8, patience=2)
    named = {"optim.lr": 1e-3, "optim.max_epochs": 3, "env.batch_size": 8, "optim.patience": 2}
    assert read_hyperparameters(FAKE | named) == expected
    old = {"optimization.learning_rate": 1e-3, "optimization.max_epochs": 3, "env.per_gpu_batch_size": 8}
    assert read_hyperparameters(FAKE | old | {"optimization.patience": 2}) == expected
    words = (
        "model.clip.checkpoint_name=fake optim.lr=1e-3 optim.max_epochs=3 env.batch_size=8 optim.patience=2"
    )
    assert read_hyperparameters(words) == read_hyperparameters(words.split()) == expected
    assert read_hyperparameters({"env.batch_size": 8, "env.per_gpu_batch_size": 2}).batch == 8
    assert read_hyperparameters({"optim.max_steps": -1}).steps is None
    assert read_hyperparameters(None) == Hyperparameters()
    assert Hyperparameters(rate=1.0).over(Hyperparameters("x", rate=2.0, batch=3)) == Hyperparameters(
        "x", rate=1.0, batch=3
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"optim.lr": "fast"}, "optim.lr is 'fast'"),
        ({"optim.max_epochs": 0}, "optim.max_epochs is 0"),
        ({"env.batch_size": 2.5}, "env.batch_size is 2.5"),
        ("faster", "hyperparameters are 'faster'"),
        (5, "hyperparameters are 5"),
    ],
)
def test_hyperparameters_that_cannot_be_are_refused(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        predictor().fit({}, hyperparameters=given)


def test_column_types_say_which_side_the_pictures_are() -> None:
    types = {"picture": "image_path", "caption": "text", "price": "numerical"}
    assert column_kinds(types, ("picture", "caption")) == {"picture": "image", "caption": "text"}
    assert column_kinds(None, ("picture", "caption")) == {}
    with pytest.raises(InputError, match="column_types has 'numerical' for 'price'"):
        column_kinds(types, ("picture", "price"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"time_limit": -1}, "time_limit is -1"),
        ({"holdout_frac": 1.0}, "holdout_frac is 1.0"),
        ({"holdout_frac": 0}, "holdout_frac is 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        predictor().fit({}, **arguments)


def test_a_plan_takes_what_can_be() -> None:
    Plan(Hyperparameters(), holdout=0.5, time_limit=0.1, seed=3).check()


def test_a_folder_of_somebody_elses_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(InputError, match="is no predictor"):
        predictor().fit({}, save_path=tmp_path)
    with pytest.raises(InputError, match="is no predictor"):
        predictor(path=str(tmp_path)).fit({})


@pytest.mark.parametrize("kind", ["text_similarity", "image_similarity", "zero_shot_image_classification"])
def test_only_pictures_with_texts_are_trained_on(kind: str) -> None:
    with pytest.raises(InputError, match=rf"not for {kind}.*image_text_similarity.*checkpoint_name"):
        predictor(problem_type=kind).fit({})
    with pytest.raises(InputError, match="both columns"):
        predictor(query=None).fit({})


def test_arguments_of_automms_that_do_nothing_here_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(TypeError, match="colour"):
        predictor().fit({}, colour="red")
    with (
        pytest.warns(CrosslensWarning, match="without effect here: predictors, teacher_predictor$"),
        pytest.raises(MissingExtraError),
    ):
        predictor().fit({}, teacher_predictor=predictor(), predictors=[], clean_ckpts=False, standalone=True)
    with (
        pytest.warns(CrosslensWarning, match=r"without effect here: env\.num_gpus"),
        pytest.raises(MissingExtraError),
    ):
        predictor().fit({}, hyperparameters={"env.num_gpus": 1})


def test_without_torch_it_says_what_to_install(red: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r'torch.*pip install "crosslens\[train\]"$'):
        predictor().fit({"picture": [str(red)], "caption": ["red"]})
