"""Predictors on disk: the same after a load, in a folder that is whole or not there, and without pickles."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundles import write_bundle
from crosslens import app_folders
from crosslens.automm import MultiModalPredictor, saving
from crosslens.errors import BundleError, CrosslensWarning, InputError
from crosslens.models.bundle import load_bundle
from crosslens.models.catalogue import find_bundle
from crosslens.models.certificate import Certificate, Run, find_certificate, machine, save_certificate
from crosslens.models.spec import MatchSpec

FAKE = {"model.clip.checkpoint_name": "fake"}
TEXTS = ["red dog", "blue cat", "a beach"]


def predictor(**arguments: Any) -> MultiModalPredictor:
    usual = {"problem_type": "image_text_similarity", "query": "picture", "response": "caption"}
    return MultiModalPredictor(**usual | {"hyperparameters": FAKE} | arguments)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "bundle", "clip")
    return tmp_path / "bundle"


def of_bundle(bundle: Path, **arguments: Any) -> MultiModalPredictor:
    return predictor(hyperparameters=None, presets=str(bundle), **arguments)


def test_a_predictor_is_the_same_after_a_load(bundle: Path, tmp_path: Path, pictures: Path) -> None:
    saved = of_bundle(bundle, label="fits", match_label="yes", classes=["yes", "no"], eval_metric="f1")
    saved.matcher.use_match(MatchSpec(3.0, -1.0, calibrated=True, fitted_on="4 pairs"))
    saved.save(tmp_path / "saved")
    data = {"picture": [str(pictures / "red.png")] * 3, "caption": TEXTS}
    vectors, proba = saved.extract_embedding(TEXTS), saved.predict_proba(data)
    shutil.rmtree(bundle)  # the saved one has its own
    loaded = MultiModalPredictor.load(tmp_path / "saved")
    assert (loaded.label, loaded.query, loaded.response) == ("fits", "picture", "caption")
    assert (loaded.eval_metric, loaded.class_labels) == ("f1", ["yes", "no"])
    assert loaded.problem_type == "image_text_similarity"
    np.testing.assert_array_equal(loaded.extract_embedding(TEXTS), vectors)
    np.testing.assert_array_equal(loaded.predict_proba(data), proba)
    assert loaded.matcher.own_match == saved.matcher.own_match


def test_a_fresh_process_loads_it_without_torch(bundle: Path, tmp_path: Path) -> None:
    of_bundle(bundle).save(tmp_path / "saved")
    code = (
        "import sys; from crosslens.automm import MultiModalPredictor as P; "
        f"print(P.load({str(tmp_path / 'saved')!r}).extract_embedding(['red dog']).tolist()); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    expected = of_bundle(bundle).extract_embedding(["red dog"])
    np.testing.assert_allclose(json.loads(done.stdout), expected, atol=1e-6)


def test_the_folder_holds_the_model_and_json_and_no_pickle(bundle: Path, tmp_path: Path) -> None:
    (bundle / "README.md").write_text("tiny")
    (bundle / "weights.pkl").write_bytes(b"\x80\x04.")  # of somebody else's, and not copied
    of_bundle(bundle).save(tmp_path / "saved")
    files = {str(file.relative_to(tmp_path / "saved")) for file in (tmp_path / "saved").rglob("*.*")}
    model = {"config.json", "model.safetensors", "tokenizer.json", "README.md"}
    assert files == {"predictor.json", *(os.path.join("model", name) for name in model)}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_embedded_model_is_copied_or_named(tmp_path: Path) -> None:
    whole = predictor(hyperparameters=None)
    whole.save(tmp_path / "whole")
    assert (tmp_path / "whole/model/config.json").is_file()
    whole.save(tmp_path / "named", standalone=False)
    assert [path.name for path in (tmp_path / "named").iterdir()] == ["predictor.json"]
    for name in ("whole", "named"):
        assert MultiModalPredictor.load(tmp_path / name).matcher.spec.identity == whole.matcher.spec.identity
    facts = tmp_path / "named/predictor.json"
    facts.write_text(facts.read_text().replace(whole.matcher.spec.identity, "f" * 32))
    with pytest.raises(BundleError, match=r"another model than starter is.*standalone=True"):
        MultiModalPredictor.load(tmp_path / "named")


def test_what_was_found_of_the_model_here_comes_along(bundle: Path, tmp_path: Path) -> None:
    spec = load_bundle(bundle).spec
    run = Run("bf16", "OpenVINO", "2x", 0.9, 0.9, 0.9, 0.9, 0.5, 0.5, 10.0, 10.0, None, "too far off")
    certificate = Certificate(spec.name, spec.identity, machine(), "today", "f32", 1, 1, None, (run,))
    save_certificate(certificate, bundle / "certificate.json")
    of_bundle(bundle).save(tmp_path / "saved")
    assert find_certificate(find_bundle(str(tmp_path / "saved/model"))) == certificate


def test_the_model_for_tests_is_kept_by_name(tmp_path: Path) -> None:
    predictor(problem_type="text_similarity").save(tmp_path / "saved")
    assert MultiModalPredictor.load(tmp_path / "saved").extract_embedding(["red"]).tolist() == [[1, 0, 0, 0]]


def test_a_predictor_is_replaced_and_nothing_else_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "saved"
    predictor(label="old").save(place)
    predictor(label="new").save(place)
    assert MultiModalPredictor.load(place).label == "new"
    (tmp_path / "empty").mkdir()
    predictor().save(tmp_path / "empty")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    for other in (tmp_path / "mine", tmp_path / "mine/thesis.txt"):
        with pytest.raises(InputError, match="exists and is no predictor"):
            predictor().save(other)
    assert (tmp_path / "mine/thesis.txt").read_text() == "years of work"

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving, "_replace", full)
    with pytest.raises(InputError, match="cannot be written"):
        predictor(label="lost").save(place)
    assert MultiModalPredictor.load(place).label == "new"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "saved"
    predictor(label="old").save(place)
    kept = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if ".draft-" in self.name:
            raise OSError(5, "Input/output error")
        return kept(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(InputError, match="cannot be written"):
        predictor(label="new").save(place)
    assert MultiModalPredictor.load(place).label == "old"
    assert [path.name for path in tmp_path.iterdir() if path.is_dir() and path != place] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "thesis"}, "format"),
        ({"version": 2}, "newer crosslens"),
        ({"query": 5}, '"query" is 5'),
        ({"classes": None}, '"classes" is None'),
        ({"model": {"name": 3}}, '"model" is'),
        ({"model": {"name": None, "identity": "x"}}, "another model"),
        ({"calibrated": True}, "match.json"),
        ({"problem_type": "ner"}, "'ner'"),
    ],
)
def test_a_damaged_predictor_is_refused(
    bundle: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    of_bundle(bundle).save(tmp_path / "saved")
    facts = tmp_path / "saved/predictor.json"
    facts.write_text(json.dumps(json.loads(facts.read_text()) | change))
    with pytest.raises((BundleError, InputError), match=message):
        MultiModalPredictor.load(tmp_path / "saved")


def test_what_is_no_json_and_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no predictor"):
        MultiModalPredictor.load(tmp_path)
    for content in (b"{", b"[1]", b"\xff", b"[" * 100_000):
        (tmp_path / "predictor.json").write_bytes(content)
        with pytest.raises(BundleError, match="is damaged"):
            MultiModalPredictor.load(tmp_path)
        with pytest.raises(BundleError, match="is damaged"):
            predictor().save(tmp_path)


def test_labels_are_kept_with_their_type_or_refused(tmp_path: Path) -> None:
    predictor(classes=np.array([3, 7])).save(tmp_path / "numbers")
    assert MultiModalPredictor.load(tmp_path / "numbers").class_labels == [3, 7]
    with pytest.raises(InputError, match=r"match_label holds .* cannot be saved"):
        predictor(classes=[("a", 1), ("b", 2)]).save(tmp_path / "tuples")
    assert not (tmp_path / "tuples").exists()


def test_a_calibration_of_the_users_comes_along(bundle: Path, tmp_path: Path, pictures: Path) -> None:
    saved = of_bundle(bundle)
    path = str(pictures / "red.png")
    cosines = saved.matcher.similarity([path], TEXTS)[0]
    order = np.argsort(cosines)
    labels = np.zeros(3, dtype=int)
    labels[order[-1]] = 1
    saved.matcher.calibrate([(path, text) for text in TEXTS], labels)
    saved.save(tmp_path / "saved")
    app_folders.calibration(saved.matcher.spec.identity).unlink()  # another user, or another machine
    assert MultiModalPredictor.load(tmp_path / "saved").matcher.own_match == saved.matcher.own_match


def test_resuming_is_said_to_do_nothing(tmp_path: Path) -> None:
    predictor().save(tmp_path / "saved")
    with pytest.warns(CrosslensWarning, match="without effect here: resume"):
        MultiModalPredictor.load(tmp_path / "saved", resume=True)
    MultiModalPredictor.load(tmp_path / "saved", verbosity=0)
    with pytest.raises(InputError, match="was not fitted"):
        MultiModalPredictor.load(tmp_path / "saved").fit_summary()
