"""A teacher draws a model towards itself; what it computes is computed once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.reference.test_train import draw, recipe

from crosslens.errors import UnknownModelError
from crosslens.matching.matcher import Matcher
from crosslens.train.full import Run, finish, open_run
from crosslens.train.losses import feature_distillation, similarity_distillation
from crosslens.train.recipe import DistillSpec, Recipe


def distilled(folder: Path, steps: int) -> Recipe:
    """A recipe with the embedded model as teacher, whose vectors are longer than the model's 32."""
    plain = recipe(folder, steps)
    rates = dataclasses.replace(plain.rates, ema=0.0)
    return dataclasses.replace(plain, rates=rates, distill=DistillSpec("starter", 1.0, 0.5))


def divergence(run: Run, teacher: Matcher, folder: Path) -> float:
    """From the teacher's similarities, over all pictures and captions."""
    rows = draw(folder)
    texts = [text for _, text in rows]
    theirs = teacher.spec.logit_scale * teacher.similarity([str(folder / name) for name, _ in rows], texts)
    model, started = run.trainer.model.eval(), run.trainer.started
    pixels = run.trainer.batches._pixels
    images = np.stack([np.asarray(pixels.picture(row).resize((32, 32))) for row in range(len(rows))])
    with torch.inference_mode():
        mine = model.embed_images(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
        words = model.embed_texts(torch.from_numpy(started.tokenize(texts).ids))
        return float(similarity_distillation(model.scale * mine @ words.T, torch.from_numpy(theirs)))


def test_a_model_with_a_teacher_gets_nearer_to_it_than_one_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    kept = Matcher.embed_images

    def embed_images(self: Matcher, images: Sequence[bytes], *rest: object, **named: object) -> object:
        asked.append(len(images))
        return kept(self, images, *rest, **named)  # type: ignore[call-overload]

    facts = distilled(tmp_path, 40)
    teacher = Matcher("starter", precision="f32", decode="exact")
    without = open_run(
        dataclasses.replace(facts, distill=DistillSpec()), tmp_path / "without", place=tmp_path
    )
    list(without.trainer.steps())
    with monkeypatch.context() as patch:
        patch.setattr(Matcher, "embed_images", embed_images)
        run = open_run(facts, tmp_path / "run", place=tmp_path)
        assert sum(asked) == 64
        reports = []
        for report in run.trainer.steps():
            reports.append(report)
            if report.step == 4:
                break
        run = open_run(facts, tmp_path / "run", place=tmp_path)
        assert run.trainer.step == 4
        reports += run.trainer.steps()
        assert sum(asked) == 64
    for part in ("similarities", "features"):
        values = [report.parts[part] for report in reports]
        assert np.mean(values[-5:]) < 0.7 * np.mean(values[:5]), part
    assert divergence(run, teacher, tmp_path) < 0.7 * divergence(without, teacher, tmp_path)

    # A run that never stopped takes the same steps: the maps are kept, too.
    whole = open_run(dataclasses.replace(facts), tmp_path / "whole", place=tmp_path)
    steps = whole.trainer.steps()
    losses = [next(steps).loss for _ in range(8)]
    assert losses == [report.loss for report in reports[:8]]
    done = finish(run)
    assert done.gap < 1e-4  # they are no part of the bundle
    assert "Teacher: starter." in (done.bundle.folder / "README.md").read_text()


def test_the_divergence_is_that_of_the_distributions() -> None:
    random = torch.Generator().manual_seed(0)
    ours, theirs = torch.randn(4, 5, generator=random), torch.randn(4, 5, generator=random)

    def rows(logits: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        p, q = torch.softmax(teacher, 1), torch.softmax(logits, 1)
        return (p * (p / q).log()).sum(dim=1).mean()

    wanted = (rows(ours, theirs) + rows(ours.T, theirs.T)) / 2
    assert torch.isclose(similarity_distillation(ours, theirs), wanted)
    assert similarity_distillation(ours, ours).abs() < 1e-6
    assert feature_distillation(ours, 2 * ours).abs() < 1e-6
    assert torch.isclose(feature_distillation(ours, -ours), torch.tensor(2.0))


def test_a_teacher_that_is_not_there_is_named(tmp_path: Path) -> None:
    facts = dataclasses.replace(recipe(tmp_path, 1), distill=DistillSpec("nobody"))
    with pytest.raises(UnknownModelError, match="nobody"):
        open_run(facts, tmp_path / "run", place=tmp_path)
