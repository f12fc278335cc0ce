"""Which device and precision a model runs with."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from bundles import GRAPHS, write_bundle, write_graph_and_network
from crosslens import Matcher
from crosslens.errors import MissingExtraError, ModelError
from crosslens.models.bundle import Bundle, load_bundle
from crosslens.models.catalogue import find_bundle
from crosslens.models.certificate import Certificate, Run, certificate_file, machine, save_certificate
from crosslens.towers import open_model as opening
from crosslens.towers.open_model import auto_device, open_model


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    write_bundle(tmp_path / "it", "clip")
    return load_bundle(tmp_path / "it")


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with an NVIDIA GPU and torch, as far as can be seen without using them."""
    (tmp_path / "nvidia").touch()
    monkeypatch.setattr(opening, "_NVIDIA", tmp_path / "nvidia")
    monkeypatch.setattr(opening, "find_spec", lambda _name: object())


def test_without_a_gpu_it_is_the_cpu(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(opening, "_NVIDIA", tmp_path / "gone")
    assert auto_device(bundle) == ("cpu", "no NVIDIA GPU is there")


@pytest.mark.usefixtures("gpu")
def test_with_a_gpu_and_torch_it_is_cuda(bundle: Bundle) -> None:
    assert auto_device(bundle)[0] == "cuda"
    assert "torch" not in sys.modules


@pytest.mark.usefixtures("gpu")
def test_what_cuda_cannot_run_stays_on_the_cpu(bundle: Bundle, tmp_path: Path) -> None:
    assert auto_device(bundle, "int8")[0] == "cpu"
    write_graph_and_network(tmp_path / "mixed")
    for folder in (GRAPHS, tmp_path / "mixed"):
        why = "this model's image tower is a graph, which does not run on the NVIDIA GPU"
        assert auto_device(load_bundle(folder)) == ("cpu", why)


@pytest.mark.usefixtures("gpu")
def test_a_gpu_without_torch_says_how_to_use_it(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "find_spec", lambda _name: None)
    assert auto_device(bundle) == (
        "cpu", 'an NVIDIA GPU is there; to use it: pip install "crosslens[torch]"'
    )  # fmt: skip


def test_cuda_without_torch_names_the_line_that_installs_it(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r'pip install "crosslens\[torch\]"$'):
        open_model(bundle.folder, device="cuda")


def test_a_device_that_openvino_does_not_find_is_named(bundle: Bundle) -> None:
    with pytest.raises(ModelError, match=r"no device 'GPU.9'.*It finds: CPU"):
        Matcher(bundle.folder, device="GPU.9").embed_texts("cat")


def test_int8_that_was_never_made_says_how_to_make_it(bundle: Bundle) -> None:
    with pytest.raises(ModelError, match="crosslens models quantize tiny-clip --images DIR"):
        Matcher(bundle.folder, precision="int8").embed_images([b"GIF89a"])


def certify(bundle: Bundle, **reasons: str) -> None:
    runs = tuple(
        Run(subject, "", "", 1, 1, 1, 1, 1, 1, 1, 1, None, reasons.get(f"_{subject}", ""))
        for subject in ("f32", "bf16", "2x", "1x")
    )
    certificate = Certificate("it", bundle.spec.identity, machine(), "", "", 20, 20, None, runs)
    save_certificate(certificate, certificate_file(bundle))


def test_without_a_certificate_decoding_stays_at_twice_the_input(bundle: Bundle) -> None:
    assert Matcher(bundle.folder).decoding == "2x"


@pytest.mark.parametrize(
    ("reasons", "decoding"),
    [({}, "1x"), ({"_1x": "bad"}, "2x"), ({"_1x": "bad", "_2x": "bad"}, "exact")],
)
def test_the_fastest_decoding_that_passed_is_taken(
    bundle: Bundle, reasons: dict[str, str], decoding: str
) -> None:
    certify(bundle, **reasons)
    assert Matcher(bundle.folder).decoding == decoding
    assert Matcher(bundle.folder, decode="exact").decoding == "exact"
    assert Matcher(bundle.folder, decode="fast").decoding == "1x"
    assert Matcher(bundle.folder).provenance.endswith(f", {decoding} decoding")


def test_a_bf16_that_fell_short_is_not_taken(bundle: Bundle) -> None:
    certify(bundle, _bf16="mean cosine 0.9 is below 0.9995")
    assert Matcher(bundle.folder).model.precision == "f32"  # type: ignore[attr-defined]
    assert Matcher(bundle.folder, precision="bf16").model.precision == "bf16"  # type: ignore[attr-defined]


def test_a_certificate_of_other_weights_or_another_machine_counts_for_nothing(bundle: Bundle) -> None:
    certify(bundle)
    file = certificate_file(bundle)
    text = file.read_text()
    file.write_text(text.replace(machine(), "another machine"))
    assert Matcher(bundle.folder).decoding == "2x"
    file.write_text(text.replace(bundle.spec.identity, "0" * 32))
    assert Matcher(bundle.folder).decoding == "2x"
    file.write_text(text[:50])
    assert Matcher(bundle.folder).decoding == "2x"


def test_the_embedded_models_certificate_lies_in_the_users_data() -> None:
    file = certificate_file(find_bundle("starter"))
    assert "site-packages" not in file.parts
    assert find_bundle("starter").folder not in file.parents


def test_frozen_facts_of_a_run_tell_whether_it_passed(bundle: Bundle) -> None:
    run = Run("bf16", "", "", 1, 1, 1, 1, 1, 1, 1, 1, None, "")
    assert run.passed
    assert not dataclasses.replace(run, reason="too far").passed
