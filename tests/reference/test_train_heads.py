"""Heads: linear maps over a model's vectors, trained, folded into its bundle, the same in the pipeline."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw
from safetensors.numpy import load_file, save_file

from bundles import CONTEXT, DIMENSION, SIZE, WIDTH, WORDS, write_bundle
from crosslens.cli.app import main
from crosslens.errors import InputError, ModelError, UnknownModelError
from crosslens.matching.matcher import Matcher
from crosslens.models.bundle import load_bundle
from crosslens.models.certificate import find_certificate
from crosslens.train import heads
from crosslens.train.cached_embeddings import exact_matcher
from crosslens.train.export_certificate import MappedModel, certify_export
from crosslens.train.fold_projection import Maps, fold_maps
from crosslens.train.heads import HeadSettings, train_heads
from crosslens.train.pair_dataset import Pairs

COLOURS, PLACES = ("red", "green", "blue"), ("dog", "cat", "beach")
QUICK = HeadSettings(steps=120, batch=64, rate=0.01, decay=0.1, validate_every=20, patience=10)


# -- bundles ---------------------------------------------------------------------------------------


def graph_file(path: Path, nodes: list[Any], weights: dict[str, Any], given: Any, output: str) -> None:
    """An ONNX graph that ends in the (n, 16) tensor `output`."""
    ends = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", DIMENSION])
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "tower", [given], [ends], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def write_graphs(folder: Path, *, text: bool = True) -> None:
    """A bundle of two graphs: patches' means and words' vectors, each through a random matrix."""
    write_bundle(folder, "clip")
    random = np.random.default_rng(5)
    config = json.loads((folder / "config.json").read_text())
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])
    nodes = [
        helper.make_node("AveragePool", ["pixels"], ["means"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["image_out"]),
    ]
    matrix = random.standard_normal((48, DIMENSION)).astype(np.float32)
    graph_file(folder / "image.onnx", nodes, {"matrix": matrix}, pixels, "image_out")
    del config["image"]["network"]
    config["image"] |= {"file": "image.onnx", "input": "pixels", "output": "image_out"}
    if text:
        ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["n", CONTEXT])
        nodes = [
            helper.make_node("Gather", ["table", "ids"], ["rows"]),
            helper.make_node("ReduceMean", ["rows"], ["text_out"], axes=[1], keepdims=0),
        ]
        table = random.standard_normal((len(WORDS), DIMENSION)).astype(np.float32)
        graph_file(folder / "text.onnx", nodes, {"table": table}, ids, "text_out")
        del config["text"]["network"], config["weights"]
        config["text"] |= {"file": "text.onnx", "input": "ids", "output": "text_out"}
        (folder / "model.safetensors").unlink()
    write_config(folder, config)


def write_config(folder: Path, config: dict[str, Any]) -> None:
    files = [path.name for path in folder.iterdir() if path.suffix in (".onnx", ".safetensors")]
    sums = {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in [*files, "tokenizer.json"]}
    (folder / "config.json").write_text(json.dumps({**config, "sha256": sums}))


def write_bare(folder: Path) -> None:
    """Networks without a last linear layer: states are vectors."""
    write_bundle(folder, "clip")
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "projection" not in name}
    save_file(kept, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    write_config(folder, {**config, "embedding_dim": WIDTH})


BUNDLES: dict[str, Callable[[Path], Any]] = {
    "a projection": lambda folder: write_bundle(folder, "clip"),
    "a projection with a bias": lambda folder: write_bundle(folder, "siglip"),
    "a projection of two layers": lambda folder: write_bundle(folder, "mean"),
    "weights of float16": lambda folder: write_bundle(folder, "siglip", np.float16),
    "matrices of int8": lambda folder: write_bundle(folder, "bert", int8_text=True),
    "no projection": write_bare,
    "graphs": write_graphs,
    "a graph and a network": lambda folder: write_graphs(folder, text=False),
}


def with_facts(folder: Path) -> Path:
    """A bundle that also says what was fitted to its vectors."""
    config = json.loads((folder / "config.json").read_text())
    fit = {"a": 8.0, "b": -3.0, "calibrated": True, "fitted_on": "a test"}
    config |= {"match": fit, "match_names": fit, "space": "f" * 32}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


# -- data ------------------------------------------------------------------------------------------


def picture(colour: str, place: int, random: np.random.Generator) -> bytes:
    """A bar at the left, middle or right of a coloured ground, with noise."""
    image = Image.new("RGB", (SIZE, SIZE), colour)
    ImageDraw.Draw(image).rectangle((12 * place, 0, 12 * place + 8, SIZE), fill="white")
    pixels = np.asarray(image).astype(float) + random.normal(0, 15, (SIZE, SIZE, 3))
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def shapes(count: int, seed: int) -> Pairs:
    """So many pictures of each of nine kinds, whose words the model never saw with them."""
    random = np.random.default_rng(seed)
    kinds = [(colour, place) for colour in COLOURS for place in range(3)] * count
    return Pairs(
        [picture(colour, place, random) for colour, place in kinds],
        [(f"a {colour} {PLACES[place]}",) for colour, place in kinds],
        [f"{number}.png" for number in range(len(kinds))],
    )


@pytest.fixture(scope="module")
def train() -> Pairs:
    return shapes(6, seed=0)


@pytest.fixture(scope="module")
def val() -> Pairs:
    return shapes(1, seed=1)


# -- folding ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BUNDLES)
def test_a_folded_map_is_the_map_of_the_vectors(tmp_path: Path, kind: str, val: Pairs) -> None:
    BUNDLES[kind](tmp_path / "base")
    with_facts(tmp_path / "base")
    base = load_bundle(tmp_path / "base")
    random = np.random.default_rng(0)
    image, text = (
        np.eye(base.spec.dimension, dtype=np.float32)
        + 0.3 * random.standard_normal((base.spec.dimension,) * 2).astype(np.float32)
        for _ in range(2)
    )
    made, lost = fold_maps(base, Maps(image, text, 20.0), "new", tmp_path / "new")
    assert set(lost) == {"match", "match_names", "space"}
    assert made.spec.logit_scale == 20
    assert made.spec.match is None
    assert made.spec.identity != base.spec.identity
    old, new = exact_matcher(base), exact_matcher(made)
    for matrix, embed in ((image, lambda m: m.embed_images(val.images)),
                          (text, lambda m: m.embed_texts(["a red dog", "beach"]))):  # fmt: skip
        wanted = embed(old) @ matrix.T
        wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
        np.testing.assert_allclose(embed(new), wanted, atol=1e-5)
        assert (embed(old) * wanted).sum(axis=1).max() < 0.99  # the map is not the identity

    again, _ = fold_maps(made, Maps(image, text, 20.0), "again", tmp_path / "again")
    assert again.spec.dimension == exact_matcher(again).embed_texts(["cat"]).shape[1]


def test_a_graph_that_is_no_onnx_is_refused(tmp_path: Path) -> None:
    write_graphs(tmp_path / "base")
    (tmp_path / "base" / "image.onnx").write_bytes(b"<net/>")
    config = json.loads((tmp_path / "base" / "config.json").read_text())
    write_config(tmp_path / "base", config)
    eye = np.eye(DIMENSION, dtype=np.float32)
    with pytest.raises(ModelError, match=r"image\.onnx"):
        fold_maps(load_bundle(tmp_path / "base"), Maps(eye, eye, 20.0), "new", tmp_path / "new")
    assert not (tmp_path / "new").exists()


# -- training --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["a projection", "graphs"])
@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_heads_find_more_of_what_is_held_out(
    tmp_path: Path, kind: str, loss: Any, train: Pairs, val: Pairs
) -> None:
    BUNDLES[kind](tmp_path / "base")
    with_facts(tmp_path / "base")
    settings = HeadSettings(steps=120, batch=64, rate=0.01, decay=0.1, loss=loss, patience=20)
    said: list[str] = []
    done = train_heads(tmp_path / "base", train, val, tmp_path / "run", settings, on_step=said.append)
    assert done.step > 0
    assert done.before.recall_1 <= 0.4
    assert done.validation.recall_1 >= done.before.recall_1 + 0.3
    assert done.gap < 1e-4
    assert done.lost == ("match", "match_names", "space")
    assert any("match_names" in line for line in said)

    assert done.bundle.folder == tmp_path / "run" / "tuned"
    matcher = Matcher(done.bundle.folder, precision="f32")
    ranked = matcher.embed_texts([line[0] for line in val.texts]) @ matcher.embed_images(val.images).T
    assert (ranked.argmax(axis=1) == np.arange(len(val))).mean() == pytest.approx(done.validation.recall_1)
    card = (done.bundle.folder / "README.md").read_text()
    assert f"| before training | {done.before.recall_1:.1%}" in card
    rows = log_of(tmp_path / "run")
    assert rows[0]["step"] == "0"
    assert float(rows[0]["recall_1"]) == pytest.approx(done.before.recall_1)


def test_the_bundle_is_held_against_the_model_with_its_maps(tmp_path: Path, train: Pairs) -> None:
    write_bundle(tmp_path / "base", "clip")
    held = shapes(2, seed=3)
    done = train_heads(tmp_path / "base", train, held, tmp_path / "run", QUICK)
    assert done.step > 0
    found = done.certificate
    assert found is not None
    assert found == find_certificate(done.bundle)
    assert found.reference == "the model in float32, its vectors mapped, exact decoding"
    assert found.passed("f32")
    [exact] = [run for run in found.runs if run.subject == "f32"]
    assert min(exact.image_min, exact.text_min) > 0.99999
    # A map that is not the one in the bundle is found out.
    base = exact_matcher(load_bundle(tmp_path / "base")).model
    still = np.eye(DIMENSION, dtype=np.float32)
    other = certify_export(MappedModel(base, still, still, done.bundle.spec), done.bundle, held)
    assert other is not None
    assert other.passed("f32") is False
    assert (
        train_heads(tmp_path / "base", train, held, tmp_path / "run", QUICK, certify=False).certificate
        is None
    )


def log_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_towers_run_once(
    tmp_path: Path, train: Pairs, val: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundle(tmp_path / "base", "clip")
    seen: list[str] = []
    for name in ("embed_images", "embed_texts"):
        plain = getattr(Matcher, name)

        def counted(self: Matcher, *given: Any, plain: Any = plain, **named: Any) -> Any:
            seen.append(self.spec.name)
            return plain(self, *given, **named)

        monkeypatch.setattr(Matcher, name, counted)
    short = HeadSettings(steps=20, rate=0.01)
    train_heads(tmp_path / "base", train, val, tmp_path / "run", short)
    assert "tiny-clip" in seen
    seen.clear()
    said: list[str] = []
    other = HeadSettings(steps=40, rate=0.02)
    train_heads(tmp_path / "base", train, val, tmp_path / "run", other, on_step=said.append)
    assert "tiny-clip" not in seen  # the export alone was run, to check it
    assert any("other settings" in line for line in said)
    assert log_of(tmp_path / "run")[-1]["step"] == "40"

    for path in (tmp_path / "run" / "outputs").glob("images-*.npy"):
        path.write_bytes(path.read_bytes()[:-8])  # damaged: computed again
    train_heads(tmp_path / "base", train, val, tmp_path / "run", other)
    assert "tiny-clip" in seen


def test_a_run_that_was_stopped_goes_on_as_if_it_was_not(tmp_path: Path, train: Pairs, val: Pairs) -> None:
    write_bundle(tmp_path / "base", "clip")
    settings = HeadSettings(steps=60, batch=16, rate=0.01, validate_every=10, patience=50)

    def stop(line: str) -> None:
        if line.startswith("step 30"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_heads(tmp_path / "base", train, val, tmp_path / "stopped", settings, on_step=stop)
    said: list[str] = []
    again = train_heads(tmp_path / "base", train, val, tmp_path / "stopped", settings, on_step=said.append)
    assert "going on after step 30" in said
    whole = train_heads(tmp_path / "base", train, val, tmp_path / "whole", settings)
    columns = [
        [(r["step"], r["loss"], r["recall_1"]) for r in log_of(tmp_path / n)] for n in ("stopped", "whole")
    ]
    assert columns[0] == columns[1]
    assert again.bundle.spec.identity == whole.bundle.spec.identity


def test_no_step_is_taken_after_the_limit(tmp_path: Path, train: Pairs, val: Pairs) -> None:
    write_bundle(tmp_path / "base", "clip")
    done = train_heads(tmp_path / "base", train, val, tmp_path / "run", QUICK, limit=0.0)
    assert done.step == 0
    assert done.before == done.validation
    more = train_heads(tmp_path / "base", train, val, tmp_path / "run", QUICK)
    assert more.step > 0


def test_where_no_step_is_better_the_model_stays_as_it_is(tmp_path: Path, train: Pairs, val: Pairs) -> None:
    write_bundle(tmp_path / "base", "clip")
    base = load_bundle(with_facts(tmp_path / "base"))
    said: list[str] = []
    still = HeadSettings(steps=30, rate=1e-12, validate_every=10)
    done = train_heads(base.folder, train, val, tmp_path / "run", still, on_step=said.append)
    assert done.step == 0
    assert done.lost == ()
    assert any("the bundle is a copy" in line for line in said)
    assert done.bundle.spec.match == base.spec.match
    assert done.bundle.spec.identity == base.spec.identity
    assert "as it was" in (done.bundle.folder / "README.md").read_text()
    texts = ["a red dog"]
    found, wanted = (Matcher(b.folder, precision="f32").embed_texts(texts) for b in (done.bundle, base))
    np.testing.assert_array_equal(found, wanted)


def test_pairs_that_do_not_match_are_pushed_apart(tmp_path: Path, train: Pairs, val: Pairs) -> None:
    write_bundle(tmp_path / "base", "clip")
    # The last picture has no text of its own, and counts by what it is not.
    bare = Pairs(train.images, [*train.texts[:-1], ()], train.sources)
    negatives = [(row, "a beach") for row in range(0, 54, 9)] + [(53, "a cat")]
    cosines = []
    for name, given in (("without", []), ("with", negatives)):
        done = train_heads(tmp_path / "base", bare, val, tmp_path / name, QUICK, negatives=given)
        assert done.step > 0
        matcher = Matcher(done.bundle.folder, precision="f32")
        images = matcher.embed_images([bare.images[row] for row, _ in negatives])
        cosines.append((images * matcher.embed_texts([text for _, text in negatives])).sum(axis=1))
    assert (cosines[1] < cosines[0] - 0.05).all()


# -- what goes wrong -------------------------------------------------------------------------------


def test_a_picture_that_cannot_be_read_is_named_and_left_out(
    tmp_path: Path, train: Pairs, val: Pairs
) -> None:
    write_bundle(tmp_path / "base", "clip")
    broken = Pairs([b"no picture", *train.images[1:]], train.texts, train.sources)
    said: list[str] = []
    few = HeadSettings(steps=10, rate=0.01)
    negatives = [(0, "a beach")]
    train_heads(
        tmp_path / "base", broken, val, tmp_path / "run", few, on_step=said.append, negatives=negatives
    )
    assert any("0.png" in line for line in said)
    rows = log_of(tmp_path / "run")
    assert all(np.isfinite(float(row["loss"])) for row in rows)
    assert "labels" not in rows[0]["parts"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (HeadSettings(name="a/b"), "named 'a/b'"),
        (HeadSettings(name="outputs"), "named 'outputs'"),
        (HeadSettings(steps=0), "steps is 0"),
        (HeadSettings(batch=1), "batch is 1"),
        (HeadSettings(rate=0.0), "rate is 0"),
        (HeadSettings(rate=0.1, decay=20.0), "decay is 20"),
        (HeadSettings(loss="other"), "loss is 'other'"),  # type: ignore[arg-type]
        (HeadSettings(name="base"), "trained from"),
        (HeadSettings(name="photos"), "is no model"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    tmp_path: Path, settings: HeadSettings, message: str, train: Pairs, val: Pairs
) -> None:
    write_bundle(tmp_path / "base", "clip")
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match=message):
        train_heads(tmp_path / "base", train, val, tmp_path, settings)
    assert not (tmp_path / "outputs").exists()
    assert (tmp_path / "photos").is_dir()


def test_data_that_cannot_be_trained_on_is_refused(tmp_path: Path, train: Pairs, val: Pairs) -> None:
    write_bundle(tmp_path / "base", "clip")
    base, run = tmp_path / "base", tmp_path / "run"
    with pytest.raises(InputError, match="is of picture 54"):
        train_heads(base, train, val, run, QUICK, negatives=[(54, "cat")])
    with pytest.raises(InputError, match="no held-out picture has a text"):
        train_heads(base, train, Pairs(val.images, [()] * len(val)), run, QUICK)
    with pytest.raises(InputError, match="1 pictures have a text"):
        train_heads(base, train.subset([0]), val, run, QUICK)
    with pytest.raises(UnknownModelError):
        train_heads(tmp_path / "nothing", train, val, run, QUICK)
    (run / "checkpoint.pt").write_bytes(b"of a run by a recipe")
    with pytest.raises(InputError, match="another kind"):
        train_heads(base, train, val, run, QUICK)
    assert (run / "checkpoint.pt").read_bytes() == b"of a run by a recipe"


def test_an_export_that_computes_something_else_is_refused(
    tmp_path: Path, train: Pairs, val: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundle(tmp_path / "base", "clip")

    def turned(bundle: Any, maps: Any, name: str, out: Path) -> Any:
        return fold_maps(bundle, Maps(maps.image.T, maps.text, maps.logit_scale), name, out)

    monkeypatch.setattr(heads, "fold_maps", turned)
    with pytest.raises(ModelError, match="differs from the trained one"):
        train_heads(tmp_path / "base", train, val, tmp_path / "run", QUICK)
    assert not (tmp_path / "run" / "tuned").exists()


# -- the command -----------------------------------------------------------------------------------


def test_the_command_trains_on_a_table_with_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, train: Pairs
) -> None:
    monkeypatch.setattr("crosslens.cli.app._prepare_streams", lambda: None)
    monkeypatch.chdir(tmp_path)
    write_bundle(tmp_path / "base", "clip")
    with Path("pairs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "text", "label", "split"])
        for number, (image, texts) in enumerate(zip(train.images, train.texts, strict=True)):
            Path(f"{number}.png").write_bytes(image)
            part = "val" if number >= 45 else "train"
            writer.writerow([f"{number}.png", texts[0], 1, part])
            if number % 9 == 0 and part == "train":
                writer.writerow([f"{number}.png", "a beach", 0, part])
    command = ["train", "heads", "pairs.csv", "--model", "base", "--out", "run", "--rate", "0.01",
               "--steps", "40", "--split", "train", "--val-split", "val"]  # fmt: skip
    assert main([*command, "--label-column", "label", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["step"] > 0
    assert found["recall@1"] > found["before"]["recall@1"]
    assert load_bundle(tmp_path / "run" / "tuned").spec.name == "tuned"
    assert "labels=" in log_of(tmp_path / "run")[0]["parts"]

    assert main([*command[:5], "--out", "other", "--steps", "2", "--name", "mine"]) == 0
    printed = capsys.readouterr()
    assert "--label-column label" in printed.err
    assert "recall@1" in printed.out
    assert "labels=" not in log_of(tmp_path / "other")[0]["parts"]
    assert main([*command, "--minutes", "0"]) == 1
    assert "--minutes is 0" in capsys.readouterr().err
