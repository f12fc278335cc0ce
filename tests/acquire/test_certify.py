"""Certificates: what a model's fast ways of computing are worth on this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundles import write_bundle
from crosslens import InputError
from crosslens.acquire.certify import Sample, check_model
from crosslens.acquire.quantize import quantise
from crosslens.errors import MissingExtraError, ModelError
from crosslens.models.bundle import Bundle, load_bundle
from crosslens.models.catalogue import find_bundle
from crosslens.models.certificate import BARS, Certificate, certificate_file, find_certificate
from crosslens.towers.openvino_runtime import OpenVinoModel

TEXTS = [
    f"{first} {second}" for first in ("a red", "blue", "green a") for second in ("dog", "cat", "beach", "a")
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Twelve smooth JPEGs, large enough to be decoded at a scale."""
    folder, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(5)
    paths = []
    for number in range(12):
        small = Image.fromarray(random.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        paths.append(str(folder / f"{number}.jpg"))
        small.resize((420, 300), Image.Resampling.BICUBIC).save(paths[-1], quality=92)
    return paths


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept of a model is kept for one test."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    write_bundle(tmp_path / "it", "clip")
    return load_bundle(tmp_path / "it")


def run_of(certificate: Certificate, subject: str) -> object:
    return next(run for run in certificate.runs if run.subject == subject)


def test_every_way_of_computing_is_held_against_the_reference(bundle: Bundle, pictures: list[str]) -> None:
    steps: list[str] = []
    certificate = check_model(bundle, Sample(pictures, TEXTS, [0] * 12), steps.append)
    subjects = [run.subject for run in certificate.runs]
    assert subjects[0] == "f32"
    assert subjects[-2:] == ["2x", "1x"]
    assert ("bf16" in subjects) == (OpenVinoModel(bundle).precision == "bf16")
    assert steps == ["reference", *subjects[:-2], "2x decoding", "1x decoding"]
    exact = certificate.runs[0]
    assert (exact.image_min, exact.text_min) == pytest.approx((1, 1), abs=1e-5)
    assert (exact.overlap, exact.agreement, exact.reason) == (1, 1, "")
    assert certificate.runs[-1].image_mean < certificate.runs[-2].image_mean < 1
    assert all(run.images_per_second > 0 and run.texts_per_second > 0 for run in certificate.runs)
    assert certificate.reference_recall == exact.recall


def test_a_certificate_is_kept_and_found_again(bundle: Bundle, pictures: list[str]) -> None:
    certificate = check_model(bundle, Sample(pictures, TEXTS))
    assert certificate_file(bundle) == bundle.folder / "certificate.json"
    assert find_certificate(bundle) == certificate
    assert certificate.reference_recall is None


def test_what_misses_its_bar_is_said_with_the_figure(
    bundle: Bundle, pictures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BARS, "1x", 1.0)
    certificate = check_model(bundle, Sample(pictures, TEXTS))
    assert certificate.passed("1x") is False
    assert certificate.runs[-1].reason.startswith("mean cosine 0.9")
    assert certificate.runs[-1].reason.endswith("is below 1.0")
    assert certificate.passed("int8") is None


def test_recall_is_the_share_of_captions_that_find_their_picture(bundle: Bundle, pictures: list[str]) -> None:
    [nearest] = {run.agreement for run in check_model(bundle, Sample(pictures, TEXTS)).runs[:1]}
    assert nearest == 1
    everywhere = check_model(bundle, Sample(pictures, TEXTS, list(range(12))))
    assert everywhere.reference_recall is not None
    assert 0 <= everywhere.reference_recall <= 100


def test_too_few_pictures_or_texts_are_refused(pictures: list[str]) -> None:
    with pytest.raises(InputError, match="10 pictures and 12 texts are too few"):
        Sample(pictures[:10], TEXTS)
    with pytest.raises(InputError, match="12 pictures and 3 texts are too few"):
        Sample(pictures, TEXTS[:3])


def test_the_embedded_model_passes_where_its_decoding_is_exact(pictures: list[str]) -> None:
    certificate = check_model(find_bundle("starter"), Sample(pictures, TEXTS), keep=False)
    assert certificate.passed("f32")
    assert certificate.passed("bf16") is not False
    assert find_certificate(find_bundle("starter")) is None


def test_quantising_without_nncf_names_the_line_that_installs_it(
    bundle: Bundle, pictures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MissingExtraError, match=r'pip install "crosslens\[int8\]"$'):
        quantise(bundle, Sample(pictures, TEXTS))


def test_an_int8_tower_below_its_bar_is_not_kept_unless_forced(
    bundle: Bundle, pictures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A stand-in for NNCF: the graph as it was. tests/reference has the real one.
    monkeypatch.setattr(
        "crosslens.acquire.quantize._quantised", lambda bundle, _: OpenVinoModel(bundle, "f32").image_graph()
    )
    monkeypatch.setitem(BARS, "int8", 1.1)
    with pytest.raises(ModelError, match=r"'tiny-clip' was made and falls short: mean cosine .*--force"):
        quantise(bundle, Sample(pictures, TEXTS))
    with pytest.raises(ModelError, match="has no int8 image tower yet"):
        OpenVinoModel(bundle, "int8").image  # noqa: B018 (opens it)
    assert find_certificate(bundle) is None
    certificate = quantise(bundle, Sample(pictures, TEXTS), force=True)
    assert certificate.passed("int8") is False
    assert find_certificate(bundle) == certificate
    monkeypatch.setitem(BARS, "int8", 0.99)
    assert quantise(bundle, Sample(pictures, TEXTS)).passed("int8")
