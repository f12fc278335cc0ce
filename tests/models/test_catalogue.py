"""The catalogue: its facts hold together, and names lead to models or to what to do."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from crosslens import Matcher, app_folders
from crosslens.automm import PRESETS
from crosslens.errors import UnknownModelError
from crosslens.models.catalogue import CATALOGUE, entry_of, files_of, find_bundle, local_name, own_name
from crosslens.models.catalogue_entry import SOURCES, Entry
from crosslens.models.known_models import ARCHITECTURES, TABLE
from crosslens.models.probe_texts import ENGLISH, OTHERS, captions

ENTRIES = [pytest.param(entry, id=entry.name) for entry in TABLE]
STARTER = CATALOGUE["starter"].folder


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def put(name: str) -> Path:
    """A bundle where pulled models are."""
    return shutil.copytree(STARTER, app_folders.models() / name)


# ---------------------------------------------------------------- facts


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_facts_of_an_entry_hold_together(entry: Entry) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry.name)
    assert entry.revision is None or re.fullmatch(r"[0-9a-f]{40}", entry.revision)
    whole, image, text = entry.parameters
    assert whole == pytest.approx(image + text, abs=0.02)
    assert entry.image_size % 8 == 0
    assert entry.dimension % 64 == 0
    assert entry.architecture is None or entry.architecture in ARCHITECTURES
    assert (entry.repo is None) == (entry.name == "starter") == (not entry.layout)
    assert bool(entry.scripts) == (entry.languages == "English" and entry.repo is not None)


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_figure_has_a_source_and_is_a_percentage(entry: Entry) -> None:
    if entry.scores is not None:
        figures = [getattr(entry.scores, name) for name in entry.scores.__slots__ if name != "source"]
        assert entry.scores.source in SOURCES
        assert all(figure is None or 0 < figure < 100 for figure in figures)
        assert entry.scores.coco_text_to_image < entry.scores.coco_image_to_text  # type: ignore[operator]
    figures_in_notes = re.search(r"\d\d\.\d|\d %", entry.notes)
    assert not figures_in_notes or any(f"({key})" in entry.notes for key in SOURCES)


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_text_tower_fits_a_model_of_the_catalogue(entry: Entry) -> None:
    if entry.image_tower is not None:
        base = CATALOGUE[entry.image_tower]
        assert (base.dimension, base.image_size) == (entry.dimension, entry.image_size)
        assert base.image_tower is None


def test_names_and_repositories_are_unique() -> None:
    assert len({entry.name for entry in TABLE}) == len({entry.repo for entry in TABLE}) == len(TABLE)


def test_every_family_that_was_asked_for_is_there() -> None:
    for part in (
        "clip-vit-base-patch32", "clip-vit-base-patch16", "clip-vit-large-patch14-336",
        "openclip-vit-b-32-laion2b", "openclip-vit-b-32-256-datacomp", "openclip-vit-h-14-laion2b",
        "siglip-so400m-patch14-384", "siglip2-base-patch32-256", "siglip2-so400m-patch14-384",
        "chinese-clip-vit-base-patch16", "openclip-xlm-roberta-base-vit-b-32", "clip-vit-b-32-multilingual",
    ):  # fmt: skip
        assert part in CATALOGUE


def test_the_starters_facts_are_those_of_its_bundle() -> None:
    entry, spec = CATALOGUE["starter"], find_bundle("starter").spec
    assert (spec.dimension, spec.image.size, spec.text.context_length) == (
        entry.dimension, entry.image_size, entry.context,
    )  # fmt: skip


def test_recommended_is_one_of_each_sort() -> None:
    recommended = [entry.recommended for entry in TABLE if entry.recommended]
    assert len(recommended) == len(set(recommended)) == 5
    for sort in ("fast on CPU", "best quality", "multilingual"):
        assert any(sort in words for words in recommended)


def test_the_openclip_configurations_are_those_of_the_table() -> None:
    for entry in TABLE:
        if entry.architecture is not None:
            model = ARCHITECTURES[entry.architecture]["model_cfg"]
            assert model["embed_dim"] == entry.dimension
            assert model["vision_cfg"]["image_size"] == entry.image_size


def test_the_texts_for_checks_are_many_and_varied() -> None:
    assert len(set(ENGLISH)) == len(ENGLISH) >= 100
    assert all(text == text.strip() and text for text in (*ENGLISH, *OTHERS))
    assert captions(("LATIN",)) == ENGLISH
    assert set(captions(())) == {*ENGLISH, *OTHERS}
    assert all(letter.isascii() for text in ENGLISH for letter in text)


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("clip-vit-base-patch32", "clip-vit-base-patch32"),
        ("openai/clip-vit-base-patch32", "clip-vit-base-patch32"),
        ("hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "openclip-vit-b-32-laion2b"),
        ("sentence-transformers/clip-ViT-B-32-multilingual-v1", "clip-vit-b-32-multilingual"),
        ("Someone/Model", "someone--model"),
        ("/a/path", None),
        ("../up", None),
        ("a/b/c", None),
        ("", None),
        (".", None),
        ("a\0b", None),
    ],
)
def test_what_a_model_is_called_here(given: str, name: str | None) -> None:
    assert own_name(given) == name


def test_a_pulled_model_is_found_by_its_names_before_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(STARTER, tmp_path / "clip-vit-base-patch32")
    assert find_bundle("clip-vit-base-patch32").folder == tmp_path / "clip-vit-base-patch32"
    assert Matcher("clip-vit-base-patch32").reference == str(tmp_path / "clip-vit-base-patch32")
    folder = put("clip-vit-base-patch32")
    assert find_bundle("clip-vit-base-patch32").folder == folder
    assert find_bundle("openai/clip-vit-base-patch32").folder == folder
    assert Matcher("openai/clip-vit-base-patch32").reference == "clip-vit-base-patch32"
    assert find_bundle("./clip-vit-base-patch32").folder == tmp_path / "clip-vit-base-patch32"


def test_the_presets_of_automm_are_in_the_catalogue() -> None:
    assert all(entry_of(name) for name in PRESETS.values())


def test_a_known_model_that_is_not_here_comes_with_the_command_that_gets_it() -> None:
    for name in ("clip-vit-base-patch32", "openai/clip-vit-base-patch32"):
        with pytest.raises(
            UnknownModelError, match="clip-vit-base-patch32 is not on this machine yet"
        ) as caught:
            find_bundle(name)
        assert caught.value.remedy.startswith(
            "Get it with: crosslens models pull clip-vit-base-patch32 (about 0.6 GB). Without a network: put "
        )
        assert caught.value.remedy.endswith("crosslens models pull clip-vit-base-patch32 --from FOLDER")
    assert local_name("clip-vit-base-patch32") is None


def test_a_repository_that_nobody_knows_may_be_on_the_hub() -> None:
    with pytest.raises(UnknownModelError, match="if it is on the hub: crosslens models pull someone/model"):
        find_bundle("someone/model")


def test_the_files_of_a_layout_are_named() -> None:
    words = files_of(CATALOGUE["clip-vit-base-patch32"].layout)
    assert words.startswith(
        "config.json, preprocessor_config.json, tokenizer.json, model.safetensors (or pytorch_model"
    )
    assert "and if they are there tokenizer_config.json" in words


# ---------------------------------------------------------------- the documentation


def test_the_table_in_the_documentation_is_the_catalogue() -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    section = page.partition("## The catalogue")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|(.*)\|$", section, re.MULTILINE)
    assert [name for name, _ in rows] == [entry.name for entry in TABLE]
    for (_, cells), entry in zip(rows, TABLE, strict=True):
        assert [cell.strip() for cell in cells.split("|")] == documented(entry)


def documented(entry: Entry) -> list[str]:
    """An entry as a row of docs/models.md: print them with `python tests/models/test_catalogue.py`."""
    scores = entry.scores
    names = (
        "imagenet",
        "coco_text_to_image",
        "coco_image_to_text",
        "flickr_text_to_image",
        "flickr_image_to_text",
    )
    figures = [getattr(scores, name) if scores else None for name in names]
    return [
        entry.languages,
        f"{entry.parameters[0]:,.0f}",
        str(entry.dimension),
        str(entry.image_size),
        str(entry.context),
        *("–" if figure is None else f"{figure:.1f}" for figure in figures),
        scores.source if scores else "–",
        entry.licence,
    ]


if __name__ == "__main__":
    for entry in TABLE:
        print(f"| `{entry.name}` | {' | '.join(documented(entry))} |")
