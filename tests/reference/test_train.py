"""Training: a tiny model learns, a killed run goes on as it was, the bundle computes the same."""

from __future__ import annotations

import csv
import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from bundles import write_bundle
from crosslens.errors import InputError, ModelError
from crosslens.matching.matcher import Matcher
from crosslens.train.efficientnet import efficientnet_lite2
from crosslens.train.export import About, Storage, check_export, export_bundle
from crosslens.train.full import finish, open_run, train_steps
from crosslens.train.initial_model import start
from crosslens.train.label_texts import build_labels
from crosslens.train.losses import contrastive_loss, label_loss, sigmoid_loss, softmax_loss, targets
from crosslens.train.pair_dataset import Pairs
from crosslens.train.recipe import Recipe, read_recipe
from crosslens.train.validation import validate

COLOURS = ("red", "green", "blue", "yellow", "black", "orange", "purple", "white")
SHAPES = ("circle", "square", "triangle", "bar")
PLACES = ("left", "right")

RECIPE = """
name = "tiny"
dimension = 32
seed = 3
validate_every = 1000
save_every = 2
patience = 50

[data]
train = "pairs.csv"
val = "pairs.csv"

[image]
kind = "vit"
size = 32
patch = 8
width = 48
layers = 2
heads = 2

[text]
kind = "transformer"
context_length = 16
vocabulary = 400
width = 48
layers = 2
heads = 2

[rates]
heads = 2e-3
text = 2e-3
image = 2e-3
warmup = 10
ema = 0.9

[[stages]]
steps = STEPS
batch = 32
least_area = 0.9
"""


def draw(folder: Path) -> list[tuple[str, str]]:
    """64 pictures of coloured shapes, left or right, and what they show."""
    rows = []
    for number in range(64):
        colour, shape, place = COLOURS[number % 8], SHAPES[number // 8 % 4], PLACES[number // 32]
        image = Image.new("RGB", (48, 48), "gray")
        pen, x = ImageDraw.Draw(image), 4 if place == "left" else 24
        if shape == "circle":
            pen.ellipse((x, 14, x + 20, 34), fill=colour)
        elif shape == "square":
            pen.rectangle((x, 14, x + 20, 34), fill=colour)
        elif shape == "triangle":
            pen.polygon([(x, 34), (x + 20, 34), (x + 10, 14)], fill=colour)
        else:
            pen.rectangle((x + 8, 4, x + 12, 44), fill=colour)
        image.save(folder / f"{number}.png")
        rows.append((f"{number}.png", f"a {colour} {shape} on the {place}"))
    with (folder / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "text"), *rows])
    return rows


def recipe(folder: Path, steps: int) -> Recipe:
    draw(folder)
    (folder / "recipe.toml").write_text(RECIPE.replace("STEPS", str(steps)))
    return read_recipe(folder / "recipe.toml")


def unmirrored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Left and right are told apart here, so nothing is mirrored."""
    from crosslens.train import batches

    kept = batches.random_view
    monkeypatch.setattr(
        batches, "random_view", lambda *given: dataclasses.replace(kept(*given), flipped=False)
    )


def test_a_tiny_model_learns_64_pairs_by_heart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unmirrored(monkeypatch)
    begun = time.process_time()
    run = open_run(recipe(tmp_path, 240), tmp_path / "run", place=tmp_path)
    before = validate(run.trainer.model, run.trainer.started, run.trainer.val, torch.device("cpu"))
    reports = list(train_steps(run))
    done = finish(run)
    assert time.process_time() - begun < 60
    assert before.recall_1 < 0.2
    assert done.validation.recall_1 > 0.9
    assert reports[-1].loss < reports[0].loss / 2
    assert done.gap < 1e-4
    assert "recall@1" in (done.bundle.folder / "README.md").read_text()

    matcher = Matcher(done.bundle.folder, precision="f32")
    rows = draw(tmp_path)
    images = matcher.embed_images([str(tmp_path / name) for name, _ in rows])
    texts = matcher.embed_texts([text for _, text in rows])
    ranks = (texts @ images.T).argmax(axis=1)
    assert (ranks == np.arange(64)).mean() == pytest.approx(done.validation.recall_1, abs=0.04)


COMMAND = (sys.executable, "-m", "crosslens", "train", "whole")


def losses(folder: Path) -> list[str]:
    with (folder / "log.csv").open() as file:
        return [row["loss"] for row in csv.DictReader(file)]


def test_a_run_that_was_killed_goes_on_with_the_same_losses(tmp_path: Path) -> None:
    recipe(tmp_path, 12)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    file = str(tmp_path / "recipe.toml")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*COMMAND, file, "-o", str(whole)], check=True, env=environment, capture_output=True)
    process = subprocess.Popen(
        [*COMMAND, file, "-o", str(killed)], env=environment, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (killed / "log.csv").is_file() and len(losses(killed)) >= 5:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 5 <= len(losses(killed)) < 12
    subprocess.run([*COMMAND, file, "-o", str(killed)], check=True, env=environment, capture_output=True)
    assert losses(killed) == losses(whole)
    assert len(losses(whole)) == 12


@pytest.mark.parametrize("similar", [0.0, 0.2])
def test_every_part_of_the_loss_is_computed_and_falls(tmp_path: Path, similar: float) -> None:
    plain = recipe(tmp_path, 60)
    loss = dataclasses.replace(
        plain.loss, kind="sigmoid", hard_negatives=0.25, similar_texts=similar, keep_texts=0.1, labels=0.5
    )
    facts = dataclasses.replace(plain, loss=loss, labels=dataclasses.replace(plain.labels, words=4))
    reports = list(train_steps(open_run(facts, tmp_path / "run", place=tmp_path)))
    assert set(reports[0].parts) == {"pairs", "texts", "labels"}
    assert all(np.isfinite(list(report.parts.values())).all() for report in reports)
    for part in ("pairs", "labels"):
        assert np.mean([r.parts[part] for r in reports[-10:]]) < np.mean(
            [r.parts[part] for r in reports[:10]]
        )


def test_a_folder_with_a_run_of_another_recipe_is_refused(tmp_path: Path) -> None:
    first = recipe(tmp_path, 4)
    open_run(first, tmp_path / "run", place=tmp_path)
    with pytest.raises(InputError, match="another recipe"):
        open_run(dataclasses.replace(first, seed=4), tmp_path / "run", place=tmp_path)


@pytest.mark.parametrize("family", ["bert", "clip"])
def test_given_weights_are_trained_further_and_exported(tmp_path: Path, family: str) -> None:
    write_bundle(tmp_path / "base", family)
    plain = recipe(tmp_path, 3)
    warm = dataclasses.replace(
        plain,
        image=dataclasses.replace(plain.image, kind="bundle", path=str(tmp_path / "base")),
        text=dataclasses.replace(plain.text, kind="bundle"),
    )
    run = open_run(warm, tmp_path / "run", place=tmp_path)
    list(train_steps(run))
    done = finish(run)
    assert done.gap < 1e-4
    base = Matcher(tmp_path / "base", precision="f32").embed_texts(["abc"])
    assert not np.allclose(Matcher(done.bundle.folder, precision="f32").embed_texts(["abc"]), base)


def test_a_graph_cannot_be_trained_and_says_so(tmp_path: Path) -> None:
    plain = recipe(tmp_path, 3)
    warm = dataclasses.replace(plain, image=dataclasses.replace(plain.image, kind="bundle", path="starter"))
    with pytest.raises(ModelError, match="graph"):
        open_run(warm, tmp_path / "run", place=tmp_path)


def test_installed_towers_become_one_bundle_of_a_graph_and_a_network(tmp_path: Path) -> None:
    rows = draw(tmp_path)
    pairs = Pairs([(tmp_path / name).read_bytes() for name, _ in rows[:8]], [(text,) for _, text in rows[:8]])
    plain = recipe(tmp_path, 3)
    facts = dataclasses.replace(
        plain,
        dimension=64,
        image=dataclasses.replace(plain.image, kind="efficientnet-lite2", size=96, hidden=32),
        text=dataclasses.replace(plain.text, kind="sentence-transformer"),
    )
    started = start(facts, pairs, tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 96, 96), np.uint8)
    texts = ["a dog on a beach", "two red cars", "x"]
    exact = export_bundle(started, About("two"), tmp_path / "exact")
    assert check_export(started, exact, pixels, texts) < 1e-4
    small = export_bundle(started, About("two"), tmp_path / "small", Storage(half=True, int8_text=True))
    sizes = [sum(file.stat().st_size for file in b.folder.iterdir()) for b in (exact, small)]
    assert sizes[1] < 0.45 * sizes[0]
    one, other = Matcher(tmp_path / "exact", precision="f32"), Matcher(tmp_path / "small", precision="f32")
    cosines = (one.embed_texts(texts) * other.embed_texts(texts)).sum(axis=1)
    assert cosines.mean() > 0.999
    assert cosines.min() > 0.997  # matrices of int8, and a text of one letter
    assert one.model.spec.short_texts


def test_frozen_blocks_compute_what_torch_does_also_when_first_called_in_an_autocast() -> None:
    tower, _ = efficientnet_lite2(16, 0, 8)
    tower.trained_blocks = 0
    pixels = torch.randn(16, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = tower.last_map(pixels).mean(dim=(2, 3))
        with torch.autocast("cpu", torch.bfloat16):
            tower.freeze(7)
            found = tower.last_map(pixels).float().mean(dim=(2, 3))
    assert torch.cosine_similarity(expected, found).min() > 0.995


def test_the_losses_are_those_of_their_papers() -> None:
    random = torch.Generator().manual_seed(0)
    images, texts = (
        torch.nn.functional.normalize(torch.randn(6, 8, generator=random), dim=1) for _ in range(2)
    )
    same, scale = torch.eye(6, dtype=torch.bool), torch.tensor(10.0)
    wanted = targets(same, None, 0.0, 0.05)
    logits = scale * images @ texts.T
    rows = torch.arange(6)
    clip = (
        torch.nn.functional.cross_entropy(logits, rows) + torch.nn.functional.cross_entropy(logits.T, rows)
    ) / 2
    assert torch.isclose(softmax_loss(logits, wanted), clip)
    pairwise = torch.nn.functional.binary_cross_entropy_with_logits(logits, same.float(), reduction="none")
    assert torch.isclose(sigmoid_loss(logits, same), pairwise.sum(dim=1).mean())
    zero = torch.tensor(0.0)
    assert torch.isclose(contrastive_loss("softmax", images, texts, scale, zero, same, wanted), clip)


def test_equal_captions_are_positives_of_each_other() -> None:
    same = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    assert targets(same, None, 0.0, 0.05)[0].tolist() == [0.5, 0.5, 0.0]
    soft = targets(same, torch.eye(3), 0.2, 0.05)
    assert torch.allclose(soft.sum(dim=1), torch.ones(3))


def test_labels_that_are_true_of_nothing_cost_nothing() -> None:
    logits = torch.randn(4, 5, requires_grad=True)
    assert label_loss(logits, torch.zeros(4, 5), torch.ones(5, dtype=torch.bool)) == 0


def test_words_of_captions_are_labels_in_singular_and_plural() -> None:
    captions = [("a dog runs", "the dogs run"), ("two dogs on the beach",), ("a cat",), ("dog and cat",)]
    labels = build_labels(captions, 2, [], None)
    forms = {texts[0]: texts for texts in labels.texts}
    assert set(forms) == {"dog", "cat"}
    assert "dogs" in forms["dog"]
    truth = labels.of(np.arange(4))
    column = [texts[0] for texts in labels.texts].index("dog")
    assert (truth[:, column] > 0).tolist() == [True, True, False, True]


def test_what_is_no_model_is_not_replaced_by_an_export(tmp_path: Path) -> None:
    facts = recipe(tmp_path, 2)
    mine = tmp_path / "run" / facts.name
    mine.mkdir(parents=True)
    (mine / "photograph.jpg").write_bytes(b"mine")
    with pytest.raises(InputError, match="is no model"):
        open_run(facts, tmp_path / "run", place=tmp_path)
    assert (mine / "photograph.jpg").read_bytes() == b"mine"
