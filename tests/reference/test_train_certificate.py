"""What a trained bundle's certificate says, and how its weights are stored."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from tests.reference.test_train import recipe

from crosslens.cli.app import main
from crosslens.errors import InputError
from crosslens.models.bundle import load_bundle
from crosslens.models.certificate import BARS, find_certificate
from crosslens.train.export import Storage
from crosslens.train.export_certificate import TrainedModel, bars_of, certify_export
from crosslens.train.full import finish, open_run, train_steps
from crosslens.train.recipe import ExportSpec


def test_the_bundle_is_held_against_the_trainer_and_the_certificate_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = open_run(recipe(tmp_path, 2), tmp_path / "run", place=tmp_path)
    list(train_steps(run))
    done = finish(run)
    found = find_certificate(done.bundle)
    assert found is not None
    assert found == done.certificate
    assert found.reference == "the trained model in torch cpu f32, exact decoding"
    assert (found.pictures, found.texts) == (64, 64)
    assert {"f32", "2x", "1x"} <= {run.subject for run in found.runs}
    [exact] = [run for run in found.runs if run.subject == "f32"]
    assert exact.passed
    assert min(exact.image_min, exact.text_min) > 0.99999
    assert main(["models", "show", str(done.bundle.folder), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["certificate"]
    assert (shown["identity"], shown["passed"]) == (done.bundle.spec.identity, True)

    # Weights that are not those of the bundle are found out.
    with torch.no_grad():
        for value in run.trainer.model.image.parameters():
            value.add_(torch.randn(value.shape, generator=torch.Generator().manual_seed(0)))
    other = certify_export(
        TrainedModel(run.trainer.started, done.bundle.spec), done.bundle, run.trainer.val, Storage()
    )
    assert other is not None
    assert other.passed("f32") is False


def test_ten_held_out_pictures_are_too_few_for_a_certificate(tmp_path: Path) -> None:
    run = open_run(recipe(tmp_path, 1), tmp_path / "run", place=tmp_path)
    few = run.trainer.val.subset(range(10))
    run.trainer.val = few
    list(train_steps(run))
    done = finish(run)
    assert done.certificate is None
    assert not (done.bundle.folder / "certificate.json").exists()


def test_a_finished_run_is_exported_anew_as_its_recipe_says_now(tmp_path: Path) -> None:
    plain = recipe(tmp_path, 1)
    run = open_run(plain, tmp_path / "run", place=tmp_path)
    list(train_steps(run))
    weights = tmp_path / "run" / "tiny" / "model.safetensors"
    finish(run)
    whole = weights.stat().st_size
    small = dataclasses.replace(plain, export=ExportSpec(half=True, int8_text=True))
    run = open_run(small, tmp_path / "run", place=tmp_path)
    assert run.finished
    done = finish(run)
    assert weights.stat().st_size < 0.55 * whole
    assert done.certificate is not None
    assert done.certificate.passed("f32")
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["export"]["half"] is True
    assert load_bundle(tmp_path / "run" / "tiny").spec.identity == done.bundle.spec.identity


def test_a_run_folder_from_before_there_were_export_settings_is_the_same_run(tmp_path: Path) -> None:
    plain = recipe(tmp_path, 1)
    open_run(plain, tmp_path / "run", place=tmp_path)
    path = tmp_path / "run" / "recipe.json"
    facts = json.loads(path.read_text())
    for later in ("export", "distill"):
        del facts[later]
    old = json.dumps(facts)
    path.write_text(old)
    open_run(plain, tmp_path / "run", place=tmp_path)
    assert path.read_text() == old
    with pytest.raises(InputError, match="another recipe"):
        open_run(dataclasses.replace(plain, dimension=16), tmp_path / "run", place=tmp_path)


def test_what_is_asked_of_a_bundle_follows_its_storage() -> None:
    assert bars_of(Storage()) == BARS
    assert bars_of(Storage(half=True))["f32"] == 0.999
    assert bars_of(Storage(int8=True))["bf16"] == BARS["int8"]
    assert bars_of(Storage(int8=True))["2x"] == BARS["2x"]
