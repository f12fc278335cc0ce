"""A model on disk: a bundle of two graphs with one thing broken at a time."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundles import GRAPHS
from crosslens import BundleError, Matcher, UnknownModelError
from crosslens.models.bundle import Bundle, load_bundle
from crosslens.models.catalogue import CATALOGUE, find_bundle
from crosslens.models.spec import MatchSpec, RelevanceSpec
from crosslens.towers.fake_model import FakeModel
from crosslens.towers.openvino_runtime import OpenVinoModel

STARTER = CATALOGUE["starter"].folder
ABSENT = object()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of golden/graphs under another name, free to be replaced."""
    folder = tmp_path.resolve() / "bundle"
    folder.mkdir()
    for name in ("config.json", "image.onnx", "text.onnx", "tokenizer.json"):
        try:
            os.link(GRAPHS / name, folder / name)
        except OSError:  # another file system
            shutil.copy(GRAPHS / name, folder / name)
    return folder


def replace(path: Path, content: bytes | str) -> None:
    """Write a new file of that name; the linked original stays as it is."""
    path.unlink()
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def edit(folder: Path, key: str, value: Any) -> None:
    """Set or remove one key of config.json, given as a path: "image/size"."""
    config = json.loads((folder / "config.json").read_text())
    *parents, last = key.split("/")
    inner = config
    for part in parents:
        inner = inner[part]
    if value is ABSENT:
        del inner[last]
    else:
        inner[last] = value
    replace(folder / "config.json", json.dumps(config))


def exchange(folder: Path, name: str, content: bytes | str) -> None:
    """Replace a file and its hash, as someone who makes a bundle by hand would."""
    replace(folder / name, content)
    edit(folder, f"sha256/{name}", hashlib.sha256((folder / name).read_bytes()).hexdigest())


def opened(folder: Path) -> OpenVinoModel:
    return OpenVinoModel(load_bundle(folder), "f32")


# ---------------------------------------------------------------- sound bundles


def test_a_sound_bundle_is_understood(folder: Path) -> None:
    spec = load_bundle(folder).spec
    assert (spec.name, spec.version, spec.dimension) == ("graphs", "0", 256)
    assert (spec.image.size, spec.image.resize, spec.image.interpolation) == (96, "shortest_edge", "bicubic")
    assert spec.image.mean == (0.485, 0.456, 0.406)
    assert (spec.text.context_length, spec.text.pad_id, spec.scripts) == (24, 0, ("LATIN",))
    assert spec.match is not None
    assert spec.match.calibrated


def test_a_copied_bundle_gives_the_same_vectors(folder: Path) -> None:
    copy, original = Matcher(folder, precision="f32"), Matcher(GRAPHS, precision="f32")
    assert np.array_equal(copy.embed_texts("a dog"), original.embed_texts("a dog"))


def test_what_is_optional_may_be_absent(folder: Path) -> None:
    for key in ("match", "scripts", "license", "version"):
        edit(folder, key, ABSENT)
    spec = load_bundle(folder).spec
    assert (spec.match, spec.scripts, spec.license, spec.version) == (None, (), "not stated", "0")


def test_texts_alone_need_no_image_graph(folder: Path) -> None:
    (folder / "image.onnx").unlink()
    assert Matcher(folder).embed_texts("a dog").shape == (1, 256)


def test_facts_that_are_seldom_stated(folder: Path) -> None:
    edit(folder, "image/resize_to", 110)
    edit(folder, "image/crop", "center_floor")
    edit(folder, "text/clean", "canonicalize")
    spec = load_bundle(folder).spec
    assert (spec.image.side, spec.image.crop, spec.text.clean) == (110, "center_floor", "canonicalize")
    edit(folder, "image/resize", "longest_edge")
    with pytest.raises(BundleError, match=r'"image.resize_to" must be absent'):
        load_bundle(folder)
    edit(folder, "image/resize_to", ABSENT)
    edit(folder, "image/fill", 127)
    spec = load_bundle(folder).spec
    assert (spec.image.resize, spec.image.fill, spec.image.side) == ("longest_edge", 127, 96)


RELEVANCE = {"middle": 2.0, "steepness": 1.5, "missed": 0.08, "false_alarms": 0.1, "measured_on": "here"}


def test_what_was_fitted_to_a_model_is_read(folder: Path) -> None:
    edit(folder, "match_names", {"a": 5, "b": -1, "calibrated": True, "fitted_on": "names"})
    edit(folder, "relevance", RELEVANCE)
    spec = load_bundle(folder).spec
    assert spec.match_names == MatchSpec(5, -1, calibrated=True, fitted_on="names")
    assert spec.relevance == RelevanceSpec(2.0, 1.5, 0.08, 0.1, "here")
    assert spec.shows_relevance
    edit(folder, "relevance", ABSENT)
    assert not load_bundle(folder).spec.shows_relevance


@pytest.mark.parametrize(
    ("key", "value"),
    [("missed", 1.1), ("false_alarms", -0.1), ("missed", None), ("steepness", 0), ("middle", "2")],
)
def test_what_relevance_cannot_be_is_refused(folder: Path, key: str, value: object) -> None:
    edit(folder, "relevance", {**RELEVANCE, key: value})
    with pytest.raises(BundleError, match=rf'"relevance\.{key}" must be'):
        load_bundle(folder)


def test_facts_at_their_default_leave_an_identity_as_it_was_before_there_were_any(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    image = {key: config["image"][key] for key in ("size", "resize", "interpolation", "crop", "mean", "std")}
    text = {key: config["text"][key] for key in ("context_length", "pad_id")}
    sums = [config["sha256"][name] for name in ("image.onnx", "text.onnx", "tokenizer.json")]
    facts = json.dumps({"image": image, "text": text, "sha256": sums}, sort_keys=True)
    identity = load_bundle(folder).spec.identity
    assert identity == hashlib.sha256(facts.encode()).hexdigest()[:32]
    edit(folder, "image/fill", 0)
    edit(folder, "text/clean", "none")
    assert load_bundle(folder).spec.identity == identity
    edit(folder, "text/clean", "lower")
    assert load_bundle(folder).spec.identity != identity


def test_the_identity_is_that_of_weights_and_preprocessing(folder: Path) -> None:
    before = load_bundle(folder).spec.identity
    for key, value in (("name", "other"), ("version", 7), ("license", "none"), ("logit_scale", 1.5)):
        edit(folder, key, value)
    assert load_bundle(folder).spec.identity == before


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image/size", 97),
        ("image/resize", "squash"),
        ("image/interpolation", "bilinear"),
        ("image/mean", [0, 0, 0]),
        ("text/context_length", 25),
        ("text/pad_id", 1),
        ("sha256/image.onnx", "0" * 64),
        ("sha256/text.onnx", "0" * 64),
        ("sha256/tokenizer.json", "0" * 64),
    ],
)
def test_another_preprocessing_or_other_weights_are_another_identity(
    folder: Path, key: str, value: Any
) -> None:
    before = load_bundle(folder).spec.identity
    edit(folder, key, value)
    assert load_bundle(folder).spec.identity != before


# ---------------------------------------------------------------- config.json


def test_a_folder_without_config_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"is not a model folder: config\.json cannot be read") as caught:
        load_bundle(tmp_path)
    assert str(tmp_path) in caught.value.problem
    assert "docs/models.md" in caught.value.remedy


@pytest.mark.parametrize("content", ["", "{", "not JSON", b"\xff\xfe\x00"])
def test_a_config_that_is_not_json_is_refused(folder: Path, content: bytes | str) -> None:
    replace(folder / "config.json", content)
    with pytest.raises(BundleError, match=r"config\.json is not valid JSON"):
        load_bundle(folder)


@pytest.mark.parametrize("content", ["[]", "1", "null", "{}", '{"format": "zip"}'])
def test_a_config_of_another_format_is_refused(folder: Path, content: str) -> None:
    replace(folder / "config.json", content)
    with pytest.raises(BundleError, match='"format" is not "two-tower-bundle"'):
        load_bundle(folder)


REQUIRED = (
    *("name", "embedding_dim", "logit_scale", "image", "text", "sha256"),
    *("image/file", "image/input", "image/output", "image/size", "image/resize", "image/interpolation"),
    *("image/crop", "image/mean", "image/std"),
    *("text/file", "text/input", "text/output", "text/tokenizer", "text/context_length", "text/pad_id"),
    *("sha256/image.onnx", "sha256/text.onnx", "sha256/tokenizer.json", "match/a", "match/b"),
)


@pytest.mark.parametrize("key", REQUIRED)
def test_a_missing_key_is_named(folder: Path, key: str) -> None:
    edit(folder, key, ABSENT)
    with pytest.raises(BundleError, match="found None") as caught:
        load_bundle(folder)
    assert f'"{key.replace("/", ".")}' in caught.value.problem


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", 7),
        ("name", ""),
        ("embedding_dim", "256"),
        ("embedding_dim", 0),
        ("embedding_dim", -256),
        ("embedding_dim", 2.5),
        ("embedding_dim", True),
        ("embedding_dim", float("nan")),
        ("embedding_dim", float("inf")),
        pytest.param("embedding_dim", 10**400, id="embedding_dim-too large"),
        ("logit_scale", 0),
        ("logit_scale", -1.0),
        ("logit_scale", float("nan")),
        ("logit_scale", [1]),
        ("image/size", 0),
        ("image/size", None),
        ("image/resize", "stretched"),
        ("image/resize_to", 95),
        ("image/resize_to", "100"),
        ("image/fill", 256),
        ("image/fill", -1),
        ("text/clean", "tidy"),
        ("text/clean", 1),
        ("image/interpolation", "nearest"),
        ("image/interpolation", ["bicubic"]),
        ("image/crop", 1),
        ("image/mean", [0.5, 0.5]),
        ("image/mean", "0.5"),
        ("image/mean", [0.5, "a", 0.5]),
        ("image/mean", [0.5, float("nan"), 0.5]),
        ("image/std", 0.5),
        ("image/std", [0.2, 0, 0.2]),
        ("text/context_length", 0),
        ("text/context_length", "24"),
        ("text/pad_id", "0"),
        ("text/pad_id", None),
        ("text/pad_id", 0.5),
        ("text/pad_id", float("nan")),
        ("image/file", "../image.onnx"),
        ("image/file", "/etc/passwd"),
        ("text/file", "..\\text.onnx"),
        ("text/tokenizer", ""),
        ("sha256/image.onnx", "abc"),
        ("sha256/image.onnx", 5),
        ("match/a", "8"),
        ("match/b", None),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(folder: Path, key: str, value: Any) -> None:
    edit(folder, key, value)
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    assert f'"{key.replace("/", ".")}" must be ' in caught.value.problem
    assert str(folder) in caught.value.problem


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image", [1, 2]),
        ("text", "text.onnx"),
        ("sha256", ["abc"]),
        ("sha256", "abc"),
        ("match", [1, 2]),
        ("match", "good"),
        ("scripts", None),
        ("scripts", 5),
        ("scripts", "LATIN"),
    ],
)
def test_a_section_of_the_wrong_kind_is_named(folder: Path, key: str, value: Any) -> None:
    edit(folder, key, value)
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    assert f'"{key}' in caught.value.problem


def test_keeping_the_shape_without_cropping_is_refused_because_the_input_is_square(folder: Path) -> None:
    edit(folder, "image/crop", "none")
    with pytest.raises(BundleError, match="crop"):
        load_bundle(folder)


# ---------------------------------------------------------------- missing and exchanged files

OPEN: dict[str, Callable[[OpenVinoModel], object]] = {
    "image.onnx": lambda model: model.image,
    "text.onnx": lambda model: model.text,
    "tokenizer.json": lambda model: model.tokenize,
}


@pytest.mark.parametrize("name", OPEN)
def test_a_missing_file_is_named_when_it_is_opened(folder: Path, name: str) -> None:
    (folder / name).unlink()
    model = opened(folder)
    with pytest.raises(BundleError, match=r"cannot be read \(No such file") as caught:
        OPEN[name](model)
    assert f"model folder {folder}: {name}" in caught.value.problem


@pytest.mark.parametrize("name", OPEN)
def test_a_file_with_one_other_byte_is_refused(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    replace(folder / name, bytes(content))
    with pytest.raises(BundleError, match="is damaged or was exchanged") as caught:
        OPEN[name](opened(folder))
    assert name in caught.value.problem
    assert caught.value.remedy == "Copy the whole bundle again"


@pytest.mark.parametrize("name", OPEN)
def test_a_file_cut_short_is_refused(folder: Path, name: str) -> None:
    replace(folder / name, (folder / name).read_bytes()[:-100])
    with pytest.raises(BundleError, match="is damaged or was exchanged"):
        OPEN[name](opened(folder))


@pytest.mark.parametrize("name", OPEN)
def test_a_folder_in_place_of_a_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(BundleError, match=f"{name} cannot be read"):
        OPEN[name](opened(folder))


def test_a_file_name_that_no_system_has_is_refused(folder: Path) -> None:
    edit(folder, "sha256/a\0b", "0" * 64)
    edit(folder, "image/file", "a\0b")
    with pytest.raises(BundleError):
        opened(folder).image  # noqa: B018 (opening is the point)


def test_two_graphs_exchanged_for_each_other_are_refused(folder: Path) -> None:
    image, text = (folder / "image.onnx").read_bytes(), (folder / "text.onnx").read_bytes()
    replace(folder / "image.onnx", text)
    replace(folder / "text.onnx", image)
    with pytest.raises(BundleError, match=r"image\.onnx is damaged or was exchanged"):
        OPEN["image.onnx"](opened(folder))


# ---------------------------------------------------------------- config.json against the files


def test_a_graph_that_is_no_graph_is_refused(folder: Path) -> None:
    exchange(folder, "image.onnx", "this is no graph")
    with pytest.raises(BundleError, match=r"image\.onnx is not a graph that OpenVINO reads"):
        OPEN["image.onnx"](opened(folder))


def test_the_other_towers_graph_is_refused(folder: Path) -> None:
    exchange(folder, "image.onnx", (folder / "text.onnx").read_bytes())
    with pytest.raises(BundleError, match=r"config\.json asks for 'pixel_values' f32"):
        OPEN["image.onnx"](opened(folder))


@pytest.mark.parametrize("name", ["image.onnx", "text.onnx"])
def test_another_dimension_than_the_graphs_is_refused(folder: Path, name: str) -> None:
    edit(folder, "embedding_dim", 512)
    with pytest.raises(BundleError, match=r"f32 \(-1, 256\), config\.json asks for '\w+' f32 \(-1, 512\)"):
        OPEN[name](opened(folder))


def test_another_image_size_than_the_graphs_is_refused(folder: Path) -> None:
    edit(folder, "image/size", 224)
    with pytest.raises(BundleError, match=r"\(-1, 3, 96, 96\), config\.json asks for .* \(-1, 3, 224, 224\)"):
        OPEN["image.onnx"](opened(folder))


@pytest.mark.parametrize("name", ["text.onnx", "tokenizer.json"])
def test_another_context_length_than_the_files_is_refused(folder: Path, name: str) -> None:
    edit(folder, "text/context_length", 77)
    with pytest.raises(BundleError, match=r"24.*config\.json.*77"):
        OPEN[name](opened(folder))


def test_another_padding_than_the_tokenisers_is_refused(folder: Path) -> None:
    edit(folder, "text/pad_id", 1)
    with pytest.raises(BundleError, match=r"pads with 0, but config\.json says pad_id 1"):
        OPEN["tokenizer.json"](opened(folder))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("image.onnx", "image/input"),
        ("image.onnx", "image/output"),
        ("text.onnx", "text/input"),
        ("text.onnx", "text/output"),
    ],
)
def test_names_that_the_graph_does_not_have_are_refused(folder: Path, name: str, key: str) -> None:
    edit(folder, key, "elsewhere")
    with pytest.raises(BundleError, match=r"config\.json asks for 'elsewhere'"):
        OPEN[name](opened(folder))


def test_a_tokeniser_that_is_none_is_refused(folder: Path) -> None:
    exchange(folder, "tokenizer.json", "{}")
    with pytest.raises(BundleError, match=r"tokenizer\.json is not a tokeniser"):
        OPEN["tokenizer.json"](opened(folder))


# ---------------------------------------------------------------- names


def test_a_model_is_found_by_name_and_by_folder(folder: Path) -> None:
    assert find_bundle("starter").folder == STARTER
    for model in (folder, str(folder)):
        assert find_bundle(model) == Bundle(folder, load_bundle(GRAPHS).spec)


def test_a_folder_is_found_below_the_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    assert find_bundle("~/bundle").folder == folder


@pytest.mark.parametrize("name", ["startr", "Starter", "starter2"])
def test_a_name_almost_right_gives_the_nearest(name: str) -> None:
    with pytest.raises(UnknownModelError, match=f"no model named '{name}'") as caught:
        find_bundle(name)
    assert caught.value.remedy.startswith("Did you mean starter? ")


@pytest.mark.parametrize("name", ["resnet", "/nowhere/at/all", "a\0b"])
def test_a_name_far_off_says_where_names_are_listed(name: str) -> None:
    with pytest.raises(UnknownModelError) as caught:
        find_bundle(name)
    assert caught.value.remedy.startswith("Built in is starter; `crosslens models` lists")


def test_the_home_of_someone_unknown_is_no_folder() -> None:
    with pytest.raises(UnknownModelError):
        find_bundle("~nobody-of-this-name/bundle")


def test_an_unknown_model_stops_the_matcher_at_once() -> None:
    with pytest.raises(UnknownModelError):
        Matcher("no such model")


# ---------------------------------------------------------------- how a library remembers its model


def test_a_folder_is_remembered_by_its_whole_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert Matcher("bundle").reference == str(folder)


@pytest.mark.parametrize("name", ["starter", "fake"])
def test_a_name_is_remembered_as_itself_even_beside_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert Matcher(name).reference == name


def test_a_name_given_as_a_path_is_remembered_as_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Matcher(Path("starter")).reference == "starter"  # `find_bundle` takes it for the name


def test_an_open_model_is_remembered_by_its_name() -> None:
    assert Matcher(FakeModel()).reference == "fake"
