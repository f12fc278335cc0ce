"""Several processes that train together take the steps that one would take."""

from __future__ import annotations

import csv
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.reference.test_train import draw, recipe

from crosslens.errors import InputError
from crosslens.train.batches import Batches
from crosslens.train.caption_table import TextTable
from crosslens.train.distributed import Ranks
from crosslens.train.full import open_run, train_steps
from crosslens.train.pair_dataset import Pairs
from crosslens.train.recipe import Recipe, read_recipe

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ROOT = Path(__file__).parents[2]

SCRIPT = """
import dataclasses, sys
from pathlib import Path

import numpy as np
import torch

from crosslens.train.distributed import Ranks, joined
from crosslens.train.recipe import read_recipe
from crosslens.train.trainer import Trainer
from crosslens.train.full import open_run

# In bf16 other pictures may be nearest, since several are nearly as near.
Trainer._in_bf16 = False

def gradients(ranks):
    torch.manual_seed(0)
    inputs, tower, scale = torch.randn(7, 5), torch.nn.Linear(5, 3), torch.nn.Parameter(torch.tensor(2.0))
    vectors = ranks.gather(tower(inputs[ranks.part(7)]), 7)
    loss = torch.logsumexp(scale * vectors @ vectors.T, dim=1).mean() + 0.1 * scale**2
    loss.backward()
    values = [*tower.parameters(), scale]
    ranks.average_gradients(values)
    return [loss.detach(), *(value.grad for value in values)]

def losses(ranks, folder):
    recipe = read_recipe("recipe.toml")
    loss = dataclasses.replace(recipe.loss, kind="sigmoid", hard_negatives=0.25)
    stages = (dataclasses.replace(recipe.stages[0], steps=4),)
    run = open_run(dataclasses.replace(recipe, loss=loss, stages=stages), Path(folder), ranks=ranks)
    found = [report.loss for report in run.trainer.steps()]
    return torch.tensor(found), run.trainer.objective.seen.float()

with joined("cpu") as ranks:
    assert ranks.count == 2
    torch.testing.assert_close(gradients(ranks), gradients(Ranks()), rtol=1e-5, atol=1e-6)
    assert ranks.agreed(np.arange(3 - ranks.rank)).tolist() == [0, 1, 2]
    weights = torch.full((2, 3), float(ranks.rank)).T
    ranks.share([weights])
    assert weights.eq(0).all()
    together, alone = losses(ranks, "together"), losses(Ranks(), f"alone-{ranks.rank}")
    torch.testing.assert_close(together[0], alone[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(together[1], alone[1], rtol=0, atol=0.01)
    assert alone[1].abs().sum() > 0
"""


def torchrun(folder: Path, *words: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [*TORCHRUN, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]


def with_labels(folder: Path) -> Recipe:
    """A recipe with most parts of the loss, in a file."""
    recipe(folder, 6)
    path = folder / "recipe.toml"
    path.write_text(
        path.read_text()
        + "[loss]\nsimilar_texts = 0.2\nkeep_texts = 0.1\nlabels = 0.5\n"
        + "[labels]\nwords = 4\nfresh = 5\n"
    )
    return read_recipe(path)


def test_two_processes_have_the_gradients_and_the_hard_negatives_of_one(tmp_path: Path) -> None:
    with_labels(tmp_path)
    (tmp_path / "script.py").write_text(SCRIPT)
    torchrun(tmp_path, "script.py")


def test_two_processes_have_the_losses_of_one_also_when_they_go_on(tmp_path: Path) -> None:
    facts = with_labels(tmp_path)
    alone = [report.loss for report in train_steps(open_run(facts, tmp_path / "one", place=tmp_path))]
    command = ("-m", "crosslens", "train", "whole", "recipe.toml", "--out", "two")
    torchrun(tmp_path, *command, "--minutes", "0.0001")
    two = tmp_path / "two"
    assert not (two / "tiny").exists()
    torchrun(tmp_path, *command)
    with (two / "log.csv").open() as file:
        together = [float(row["loss"]) for row in csv.DictReader(file)]
    assert together == pytest.approx(alone, rel=1e-3)
    assert len(together) == 6
    names = {path.name for path in two.iterdir()}
    assert {"checkpoint.pt", "best.pt", "tiny", "log.csv"} <= names
    assert not any(name.endswith((".draft", ".new")) for name in names)
    one, other = (
        torch.load(tmp_path / kind / "checkpoint.pt", weights_only=True)["average"] for kind in ("one", "two")
    )
    for name, value in one.items():
        assert torch.allclose(value, other[name], atol=5e-3), name


@pytest.mark.parametrize("count", [2, 3])
def test_parts_of_a_batch_make_up_the_whole(tmp_path: Path, count: int) -> None:
    facts = dataclasses.replace(recipe(tmp_path, 2), seed=1)
    rows = draw(tmp_path)
    train = Pairs([(tmp_path / name).read_bytes() for name, _ in rows], [(text, "x") for _, text in rows])
    first, said = np.arange(0, 2 * len(rows) + 1, 2), np.arange(2 * len(rows))
    captions = TextTable(first, said, np.zeros((2 * len(rows), 4), np.int64), None)
    seen = torch.zeros(len(rows), 4)
    whole = Batches(facts, train, captions, 32, Ranks()).batch(1, seen)
    parts = [Batches(facts, train, captions, 32, Ranks(rank, count)).batch(1, seen) for rank in range(count)]
    for part in parts:
        assert np.array_equal(part.pictures, whole.pictures)
        assert np.array_equal(part.captions, whole.captions)
    assert np.array_equal(np.concatenate([part.pixels for part in parts]), whole.pixels)


def test_more_processes_than_pictures_are_refused(tmp_path: Path) -> None:
    facts = recipe(tmp_path, 2)
    with pytest.raises(InputError, match="33 processes share it"):
        Batches(
            facts,
            Pairs([b""] * 64, [("x",)] * 64),
            TextTable(*np.zeros((3, 1), np.int64), None),
            32,
            Ranks(0, 33),
        )
