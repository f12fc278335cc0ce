"""int8 by the real NNCF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundles import write_bundle
from crosslens import Matcher
from crosslens.certify import Sample
from crosslens.models.bundle import load_bundle
from crosslens.quantise import quantise


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept of a model is kept for one test."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_an_int8_tower_is_made_without_the_network_and_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bundle(tmp_path / "it", "clip")
    bundle, random = load_bundle(tmp_path / "it"), np.random.default_rng(5)
    pictures = []
    for number in range(24):
        small = Image.fromarray(random.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        pictures.append(str(tmp_path / f"{number}.png"))
        small.resize((64, 48), Image.Resampling.BICUBIC).save(pictures[-1])
    texts = [f"{a} {b}" for a in ("a red", "blue", "green") for b in ("dog", "cat", "beach", "a")]
    certificate = quantise(bundle, Sample(pictures, texts), force=True)
    [run] = [run for run in certificate.runs if run.subject == "int8"]
    assert 0.9 < run.image_mean < 0.99999
    matcher = Matcher(tmp_path / "it", precision="int8", decode="exact")
    assert matcher.provenance == "OpenVINO CPU int8, exact decoding"
    cosines = (
        matcher.embed_images(pictures) * Matcher(tmp_path / "it", precision="f32").embed_images(pictures)
    ).sum(axis=1)
    assert cosines.mean() == pytest.approx(run.image_mean, abs=1e-3)
    assert capsys.readouterr().out == ""
