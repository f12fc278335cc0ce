"""`crosslens models …` as a user and as a program meets it."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bundles import write_graph_and_network
from crosslens import Library, app_folders
from crosslens.acquire.certify import Sample
from crosslens.acquire.installed_models import disk_use
from crosslens.cli import main
from crosslens.errors import InputError, MissingExtraError
from crosslens.models.bundle import Bundle, load_bundle
from crosslens.models.catalogue import CATALOGUE, find_bundle
from crosslens.models.certificate import Certificate, Run, find_certificate
from crosslens.models.probe_texts import ENGLISH
from fakehub import tiny_clip

NAME = "clip-vit-base-patch32"
STARTER = CATALOGUE["starter"].folder
Models = Callable[..., "Done"]


class Done:
    """What a command left behind."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def models(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Models:
    """Run `crosslens models …` in this process."""
    monkeypatch.setattr("crosslens.cli.app._prepare_streams", lambda: None)
    monkeypatch.setattr("crosslens.cli.app.signal.signal", lambda *_arguments: None)

    def call(*arguments: str | Path) -> Done:
        capsys.readouterr()
        status = main(["models", *(str(argument) for argument in arguments)])
        captured = capsys.readouterr()
        return Done(status, captured.out, captured.err)

    return call


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return tiny_clip(tmp_path / "clip")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Thirty pictures that differ."""
    folder = tmp_path / "photos"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(30):
        pixels = random.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((240, 200)).save(folder / f"{number:02}.jpg")
    return folder


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[Sample]:
    """Checks note their sample; each run passes unless the bundle is named "bad"."""
    samples: list[Sample] = []

    def check(
        bundle: Bundle, sample: Sample, on_step: Callable[[str], None], **_named: object
    ) -> Certificate:
        samples.append(sample)
        on_step("reference")
        runs = tuple(
            Run(subject, "OpenVINO", "exact", 0.99, 0.98, 1, 1, 0.9, 0.8, 12.3, 4567.8, None, reason)
            for subject, reason in (
                ("f32", bundle.spec.name * (bundle.spec.name == "bad")),
                ("1x", "too coarse"),
            )
        )
        return Certificate(bundle.spec.name, bundle.spec.identity, "here", "now", "f32", 3, 4, None, runs)

    monkeypatch.setattr("crosslens.acquire.certify.check_model", check)
    return samples


def put(name: str) -> Path:
    """A bundle where pulled models are."""
    folder = shutil.copytree(STARTER, app_folders.models() / name)
    edit(folder / "config.json", "name", name)
    return folder


def edit(config: Path, key: str, value: object) -> None:
    config.write_text(json.dumps(json.loads(config.read_text()) | {key: value}))


# ---------------------------------------------------------------- list, show


def test_models_lists_all_with_tabs_where_nobody_watches(models: Models) -> None:
    size = disk_use(put(NAME))
    put("of-mine")
    starter = CATALOGUE["starter"]
    rows = [line.split("\t") for line in models("list").out.splitlines()]
    assert models().out == models("list").out
    assert [row[0] for row in rows] == [*CATALOGUE, "of-mine"]
    assert rows[0] == [
        *("starter", "English", f"{starter.parameters[0]:.0f} M", str(starter.image_size), "–", "–"),
        *("non-commercial", "built in", ""),
    ]
    pulled = f"pulled ({size / 1e6:.0f} MB)"
    assert rows[1] == [NAME, "English", "151 M", "224", "63.3", "30.4", "MIT (code)", pulled, ""]
    assert rows[2][-2:] == ["to pull", ""]
    assert rows[-1][3] == str(load_bundle(STARTER).spec.image.size)
    assert {row[-1] for row in rows if row[-1]} >= {"fast on CPU, small", "best quality, multilingual"}


@pytest.mark.parametrize(("columns", "licences"), [(80, False), (120, True)])
def test_models_is_a_table_that_fits_a_terminal(columns: int, licences: bool) -> None:
    primary, secondary = pty.openpty()
    environment = os.environ | {"COLUMNS": str(columns), "LINES": "50"}
    command = [sys.executable, "-m", "crosslens", "models"]
    with subprocess.Popen(command, stdout=secondary, stderr=secondary, env=environment) as process:
        os.close(secondary)
        printed = b""
        while True:
            try:
                piece = os.read(primary, 65536)
            except OSError:  # the other side is closed
                break
            if not piece:
                break
            printed += piece
    os.close(primary)
    lines = printed.decode().replace("\r", "").splitlines()
    assert process.returncode == 0
    assert max(map(len, lines)) <= columns
    assert lines[0].startswith("name")
    assert ("licence" in lines[0]) == licences
    assert any(line.startswith("siglip2-base-patch32-256* ") for line in lines)
    assert "* siglip2-so400m-patch14-384: best quality, multilingual" in lines


def test_models_json_holds_every_fact(models: Models) -> None:
    size = disk_use(put(NAME))
    found = {model["name"]: model for model in models("--json").json["models"]}
    assert models("list", "--json").json["models"] == list(found.values())
    assert found[NAME]["here"] == "pulled"
    assert found[NAME]["size"] == size > 10_000_000
    assert found[NAME]["scores"]["coco_text_to_image"] == 30.44
    assert "openclip_results.csv" in found[NAME]["source"]
    assert found["starter"]["here"] == "built in"
    assert found["siglip2-base-patch16-256"]["recommended"]
    assert found["siglip2-base-patch16-256"]["folder"] is None


@pytest.mark.parametrize("name", CATALOGUE)
def test_show_gives_every_fact_with_its_source(models: Models, name: str) -> None:
    entry, shown = CATALOGUE[name], models("show", name).out
    assert shown.splitlines()[0] == name
    for fact in (
        entry.licence,
        entry.languages,
        f"{entry.dimension} numbers",
        entry.recommended,
        entry.notes,
    ):
        assert fact in shown
    assert ("source" in shown) == (entry.scores is not None)
    assert name == "starter" or f"huggingface.co/{entry.repo}" in shown


def test_show_takes_a_repository_and_a_folder(models: Models) -> None:
    assert models("show", "openai/clip-vit-base-patch32").out.startswith(f"{NAME}\n")
    done = models("show", STARTER)
    assert done.out.startswith(f"{STARTER}\n")
    assert "256 numbers" in done.out
    assert f"models check {STARTER}" in done.out
    assert models("show", STARTER, "--json").json["dimension"] == 256


def test_show_of_a_name_that_is_none_is_an_error(models: Models) -> None:
    done = models("show", "nothing-like-it")
    assert done.status == 1
    assert done.err.startswith("error: there is no model named 'nothing-like-it'")


# ---------------------------------------------------------------- check


def test_check_proves_and_show_repeats_it(models: Models, photos: Path) -> None:
    done = models("check", "starter", "--images", photos)
    assert done.status == 0, done.err
    assert "30 pictures" in done.out
    rows = {line.split()[0]: line.split()[1:] for line in done.out.splitlines() if line[:1].isalnum()}
    assert rows["f32"][0] == "1.00000"
    assert rows["f32"][-1] == rows["2x"][-1] == "ok"
    assert "checking: reference" in done.err
    assert find_certificate(find_bundle("starter")) is not None
    table = done.out.splitlines()[:8]
    assert "\n".join(table) in models("show", "starter").out
    assert models("show", "starter", "--json").json["certificate"]["passed"] is True


def test_check_of_a_folder(models: Models, photos: Path, tmp_path: Path, checked: list[Sample]) -> None:
    bundle = shutil.copytree(STARTER, tmp_path / "bundle")
    assert models("check", bundle, "--images", photos).status == 0
    assert list(checked[0].texts) == list(ENGLISH)
    assert len(checked[0].pictures) == 30


def test_check_exits_with_1_below_a_bar_but_not_for_decoding_at_once(
    models: Models, photos: Path, checked: list[Sample]
) -> None:
    put("bad")
    done = models("check", "bad", "--images", photos)
    assert done.status == 1
    assert "f32 is not used by itself: bad" in done.out
    assert models("check", "bad", "--images", photos, "--json").json["passed"] is False
    put("good")
    done = models("check", "good", "--images", photos)
    assert done.status == 0
    assert "1x is not used by itself: too coarse" in done.out


def test_check_takes_pictures_from_the_library_evenly(
    models: Models, photos: Path, tmp_path: Path, checked: list[Sample]
) -> None:
    folder = tmp_path / "library"
    with Library.open(folder) as library:
        library.index([photos])
        library.add(texts=["a text is no picture"])
    (photos / "00.jpg").unlink()
    assert models("check", "starter", "-L", folder, "--limit", "15").status == 0
    assert len(checked[0].pictures) == 15
    assert {Path(path).parent for path in checked[0].pictures} == {photos}


def test_check_without_pictures_says_where_to_name_some(models: Models, tmp_path: Path) -> None:
    done = models("check", "starter")
    assert done.status == 1
    assert "no pictures to check it with" in done.err
    assert "--images DIR" in done.err
    assert "no such folder" in models("check", "starter", "--images", tmp_path / "none").err
    (tmp_path / "empty").mkdir()
    assert "too few to check" in models("check", "starter", "--images", tmp_path / "empty").err


def test_check_leaves_out_what_cannot_be_read(models: Models, photos: Path, checked: list[Sample]) -> None:
    (photos / "07.jpg").write_bytes(b"no picture")
    done = models("check", "starter", "--images", photos)
    assert done.status == 0
    assert f"warning: {photos / '07.jpg'}: not a picture in a known format" in done.err
    assert "left out" in done.err
    assert len(checked[0].pictures) == 29


def test_check_with_captions_pairs_them_with_their_pictures(
    models: Models, photos: Path, tmp_path: Path, checked: list[Sample]
) -> None:
    (photos / "03.jpg").write_bytes(b"no picture")
    rows = [f"{number:02}.jpg,caption {number}{letter}" for number in range(20) for letter in "ab"]
    table = tmp_path / "captions.csv"
    table.write_text("\n".join(["file,words", *rows]) + "\n")
    done = models(
        "check", "starter", "--captions", table, "--image-column", "file", "--text-column", "words",
        "--images", photos, "--limit", "15",
    )  # fmt: skip
    assert done.status == 0, done.err
    [sample] = checked
    assert [Path(path).stem for path in sample.pictures] == [f"{n:02}" for n in range(15) if n != 3]
    assert len(sample.texts) == len(sample.pairs) == 28
    for text, place in zip(sample.texts, sample.pairs, strict=True):
        assert int(Path(sample.pictures[place]).stem) == int(text[8:-1])


def test_captions_may_name_pictures_beside_the_table(
    models: Models, photos: Path, checked: list[Sample]
) -> None:
    rows = [json.dumps({"image": f"{number:02}.jpg", "caption": f"caption {number}"}) for number in range(20)]
    (photos / "captions.jsonl").write_text("\n".join(rows))
    assert models("check", "starter", "--captions", photos / "captions.jsonl").status == 0
    assert len(checked[0].pictures) == 20


def test_a_table_without_the_column_is_an_error(models: Models, tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_text("file,words\na.jpg,b\n")
    done = models("check", "starter", "--captions", tmp_path / "captions.csv")
    assert done.status == 1
    assert "row 1 has no 'image'. Its columns are 'file', 'words'" in done.err


# ---------------------------------------------------------------- pull, convert, remove


def test_pull_from_a_folder_use_and_remove(models: Models, clip: Path, photos: Path) -> None:
    done = models("pull", NAME, "--from", clip)
    assert done.status == 0, done.err
    assert done.out.startswith(f"{NAME} is here: ")
    assert f"not checked: no pictures at hand. crosslens models check {NAME} --images DIR" in done.out
    assert main(["score", str(photos / "00.jpg"), "a", "b", "--model", NAME, "--json"]) == 0
    assert models("pull", NAME).out.startswith(f"{NAME} is here already: ")
    assert "is here already" in models("pull", NAME, "--from", clip).err
    done = models("remove", NAME)
    assert done.out.startswith(f"{NAME} removed, ")
    assert done.status == 0
    assert not app_folders.models().joinpath(NAME).exists()
    assert models("remove", NAME).err.startswith(f"error: {NAME} is not on this machine")


def test_pull_ends_with_a_check_where_the_library_has_pictures(
    models: Models, clip: Path, photos: Path, checked: list[Sample]
) -> None:
    for number in range(30, 60):
        shutil.copy(photos / f"{number - 30:02}.jpg", photos / f"{number}.jpg")
    with Library.open() as library:
        library.index([photos])
    done = models("pull", NAME, "--from", clip)
    assert f"certificate of {NAME}" in done.out
    assert len(checked[0].pictures) == 50
    models("remove", NAME)
    assert "not checked" in models("pull", NAME, "--from", clip, "--no-check").out


def test_pull_of_nothing_says_what_was_looked_for(models: Models, tmp_path: Path) -> None:
    done = models("pull", NAME, "--from", tmp_path)
    assert done.status == 1
    assert "is not a model folder" in done.err
    assert "config.json with model.safetensors" in done.err


def test_convert_writes_a_bundle_anywhere(
    models: Models, clip: Path, photos: Path, tmp_path: Path, checked: list[Sample]
) -> None:
    out = tmp_path / "bundle"
    done = models("convert", clip, "--out", out, "--name", "mine")
    assert done.status == 0, done.err
    assert done.out.startswith("mine is here: ")
    assert f"crosslens models check {out} --images DIR" in done.out
    assert find_bundle(out).spec.name == "mine"
    again = models("convert", clip, "--out", out)
    assert again.status == 1
    assert str(out) in again.err
    for number in range(30, 60):
        shutil.copy(photos / "00.jpg", photos / f"{number}.jpg")
    done = models("convert", clip, "--out", tmp_path / "two", "--images", photos, "--json")
    facts, certificate = map(json.loads, done.out.splitlines())
    assert facts["folder"] == str(tmp_path / "two")
    assert certificate["passed"] is True


def test_remove_refuses_what_is_not_ours(models: Models, tmp_path: Path) -> None:
    assert "part of the package" in models("remove", "starter").err
    assert "folder of yours" in models("remove", tmp_path).err
    put("of-mine")
    assert models("remove", "of-mine", "--json").json["kept"] is None


@pytest.mark.parametrize("source", ["trained with crosslens", ["a", "list"], None])
def test_a_model_whose_source_is_no_repository_is_listed_and_removed(models: Models, source: object) -> None:
    write_graph_and_network(app_folders.models() / "mixed")
    edit(app_folders.models() / "mixed/config.json", "source", source)
    [found] = [model for model in models("--json").json["models"] if model["name"] == "mixed"]
    assert found["here"] == "pulled"
    assert models("show", "mixed", "--json").json["dimension"] == 256
    assert models("remove", "mixed", "--json").json["kept"] is None
    assert not (app_folders.models() / "mixed").exists()


# ---------------------------------------------------------------- quantize


@pytest.fixture
def quantised(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Sequence[str], bool]]:
    """A quantiser that notes its pictures."""
    calls: list[tuple[Sequence[str], bool]] = []

    def quantise(
        bundle: Bundle, sample: Sample, *, force: bool, on_step: Callable[[str], None]
    ) -> Certificate:
        calls.append((sample.pictures, force))
        run = Run("int8", "OpenVINO", "exact", 0.995, 0.98, 1, 1, 0.9, 0.8, 12.3, 45, None, "")
        return Certificate(bundle.spec.name, bundle.spec.identity, "here", "now", "f32", 3, 4, None, (run,))

    module = ModuleType("crosslens.acquire.quantize")
    module.quantise = quantise  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "crosslens.acquire.quantize", module)
    return calls


def test_quantize_calibrates_on_the_pictures_and_shows_the_certificate(
    models: Models, photos: Path, quantised: list[tuple[Sequence[str], bool]]
) -> None:
    done = models("quantize", "starter", "--images", photos, "--force")
    assert done.status == 0
    assert "int8       0.99500" in done.out
    [(pictures, force)] = quantised
    assert (len(pictures), force) == (30, True)


def test_quantize_without_its_extra_says_what_to_install(
    models: Models, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_arguments: object, **_named: object) -> None:
        raise MissingExtraError("nncf", "int8")

    monkeypatch.setattr("crosslens.acquire.quantize.quantise", missing)
    done = models("quantize", "starter", "--images", photos)
    assert done.status == 1
    assert done.err.endswith('pip install "crosslens[int8]"\n')


def test_too_few_pictures_are_refused(models: Models, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        Sample(["a"] * 3, ["b"] * 30)
    assert models("quantize", "starter").status == 2
