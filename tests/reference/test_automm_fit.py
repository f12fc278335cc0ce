"""AutoMM's fit over tiny models: recall rises, probabilities are fitted, a saved predictor is the same."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from bundles import SIZE, write_bundle
from crosslens.automm import MultiModalPredictor, fitting
from crosslens.errors import (
    CrosslensWarning,
    ImageSkippedWarning,
    InputError,
    ModelError,
    UncalibratedWarning,
)

COLOURS, PLACES = ("red", "green", "blue"), ("dog", "cat", "beach")
KINDS = [(colour, place) for colour in COLOURS for place in range(3)]
QUICK = {"optim.lr": 0.01, "env.batch_size": 64, "optim.max_steps": 75}


def picture(colour: str, place: int, random: np.random.Generator) -> Image.Image:
    """A bar at the left, middle or right of a coloured ground, with noise."""
    image = Image.new("RGB", (SIZE, SIZE), colour)
    ImageDraw.Draw(image).rectangle((12 * place, 0, 12 * place + 8, SIZE), fill="white")
    pixels = np.asarray(image).astype(float) + random.normal(0, 15, (SIZE, SIZE, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def rows(count: int, seed: int, *, labels: bool = False) -> dict[str, list[Any]]:
    """So many pictures of each kind with their texts; with labels, each also with a text of another kind."""
    random = np.random.default_rng(seed)
    data: dict[str, list[Any]] = {"picture": [], "caption": [], "fits": []}
    for number, (colour, place) in enumerate(KINDS * count):
        image = picture(colour, place, random)
        wrong = KINDS[(number + 1 + int(random.integers(8))) % 9]
        for fits, (word, where) in (("yes", (colour, place)), ("no", wrong)):
            if fits == "yes" or labels:
                data["picture"].append(image)
                data["caption"].append(f"a {word} {PLACES[where]}")
                data["fits"].append(fits)
    if not labels:
        del data["fits"]
    return data


@pytest.fixture
def bundle(tmp_path: Path) -> str:
    write_bundle(tmp_path / "bundle", "clip")
    return str(tmp_path / "bundle")


def predictor(bundle: str, **arguments: Any) -> MultiModalPredictor:
    usual = {"problem_type": "image_text_similarity", "query": "picture", "response": "caption"}
    return MultiModalPredictor(**usual | {"presets": bundle, "hyperparameters": QUICK} | arguments)


def test_pairs_without_labels_are_learned_saved_and_loaded_without_torch(bundle: str, tmp_path: Path) -> None:
    lines: list[str] = []
    tuning = rows(1, seed=1)
    fitted = predictor(bundle)
    before = fitted.matcher.spec.identity
    assert (
        fitted.fit(rows(6, seed=0), tuning_data=tuning, save_path=tmp_path / "saved", on_step=lines.append)
        is fitted
    )
    summary = fitted.fit_summary()
    assert summary["val_recall@1"] > summary["val_recall@1_before"] + 0.3
    assert (summary["training_pictures"], summary["validation_pictures"]) == (54, 9)
    assert summary["match_fitted_on"] is None
    assert summary["training_time"] > 0
    assert any("step" in line for line in lines)
    assert fitted.matcher.spec.identity != before

    # `evaluate` asks the new model; its precision is the runtime's choice, and the bars are far apart.
    ids = {"picture": dict(enumerate(tuning["picture"])), "caption": dict(enumerate(tuning["caption"]))}
    found = fitted.evaluate(
        [(row, row, 1) for row in range(9)],
        query_data={"picture": list(range(9))},
        response_data={"caption": list(range(9))},
        id_mappings=ids,
        cutoffs=[3],
    )
    assert found["recall@3"] > 0.7

    kept = {path.name for path in (tmp_path / "saved").rglob("*") if path.is_file()}
    assert {"predictor.json", "config.json", "model.safetensors", "tokenizer.json", "README.md"} == kept
    fitted.matcher.use_match(fitted.matcher.own_match or fitting.fit_match([0.1, 0.9], [0, 1]))
    fitted.save(tmp_path / "saved")
    texts = [f"a {colour} {thing}" for colour in COLOURS for thing in PLACES]
    image = tmp_path / "red.png"
    tuning["picture"][0].save(image)
    code = (
        "import json, sys; from crosslens.automm import MultiModalPredictor as P; "
        "p, texts, image = P.load(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]; "
        "v = p.extract_embedding(texts).tolist(); "
        "q = p.predict_proba({'picture': [image] * len(texts), 'caption': texts}).tolist(); "
        "assert 'torch' not in sys.modules; print(json.dumps([v, q, p.fit_summary()]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "saved"), json.dumps(texts), str(image)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    vectors, proba, kept_summary = json.loads(done.stdout)
    np.testing.assert_allclose(vectors, fitted.extract_embedding(texts), atol=1e-6)
    data = {"picture": [str(image)] * 9, "caption": texts}
    np.testing.assert_allclose(proba, fitted.predict_proba(data), atol=1e-6)
    assert kept_summary == summary


def test_labels_teach_what_does_not_match_and_fit_the_probability(bundle: str, tmp_path: Path) -> None:
    chosen = {"label": "fits", "match_label": "yes", "classes": ["no", "yes"]}
    fitted = predictor(bundle, **chosen)
    fitted.fit(rows(8, seed=0, labels=True), holdout_frac=0.25)
    summary = fitted.fit_summary()
    assert summary["validation_pictures"] == 18
    assert summary["match_fitted_on"] == "18 pairs that match and 18 that do not"
    assert summary["val_recall@5"] > summary["val_recall@5_before"]
    test = rows(2, seed=2, labels=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UncalibratedWarning)
        figures = fitted.evaluate(test, metrics=["roc_auc", "accuracy", "log_loss"])
    assert figures["roc_auc"] > 0.9
    assert figures["accuracy"] > 0.8
    assert figures["log_loss"] < 0.55  # that of ½ for each is 0.69
    fitted.save(tmp_path / "saved")
    loaded = MultiModalPredictor.load(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.predict_proba(test), fitted.predict_proba(test))
    assert loaded.predict(test).tolist() == fitted.predict(test).tolist()


def test_epochs_pictures_that_cannot_be_read_and_what_is_in_the_way(bundle: str, tmp_path: Path) -> None:
    data = rows(4, seed=0)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    data["picture"].append(tmp_path / "broken.png")
    data["caption"].append("a red dog")
    fitted = predictor(bundle, hyperparameters=None)
    with pytest.warns(ImageSkippedWarning, match=r"left out of training: .*broken\.png$"):
        fitted.fit(
            data, tuning_data=rows(1, 1), hyperparameters="optim.lr=0.01 optim.max_epochs=3 env.batch_size=9"
        )
    assert 0 <= fitted.fit_summary()["best_step"] <= 15
    first = fitted.matcher
    with pytest.raises(ModelError, match="cannot use device"):
        fitted.fit(data, tuning_data=rows(1, 1), device="cuda")
    assert fitted.matcher is first
    with pytest.warns(CrosslensWarning, match="without effect here: presets"):
        fitted.fit(rows(4, seed=0), presets="default", tuning_data=rows(1, 1), time_limit=1e-6)
    assert fitted.fit_summary()["best_step"] == 0
    assert fitted.matcher.spec.identity == first.spec.identity, "no step was taken: the model is a copy"


def test_a_model_that_was_not_saved_goes_with_its_predictor(
    bundle: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    fitted = predictor(bundle).fit(rows(3, seed=0), time_limit=1e-6)
    assert len(list((tmp_path / "temporary").iterdir())) == 1
    fitted.fit(rows(3, seed=0), time_limit=1e-6)
    assert len(list((tmp_path / "temporary").iterdir())) == 1
    with pytest.raises(InputError, match="both hold texts"):
        fitted.fit({"picture": ["a"], "caption": ["b"]})
    assert fitted.extract_embedding(["a red dog"]).shape == (1, 16)
    del fitted
    gc.collect()
    assert list((tmp_path / "temporary").iterdir()) == []
