"""Models are pulled, whole or not at all, and go on where they stopped. The hub is on this machine."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from crosslens import Matcher, app_folders
from crosslens.acquire import hub_download as hub_module
from crosslens.acquire.installed_models import Origin, pull, pulled, remove
from crosslens.errors import ConversionError, DownloadError, MissingExtraError, ModelError, UnknownModelError
from crosslens.models.bundle import load_bundle
from crosslens.models.catalogue import CATALOGUE, find_bundle
from fakehub import FakeHub, tiny_clip

NAME = "clip-vit-base-patch32"
ENTRY = CATALOGUE[NAME]
REPO, COMMIT = str(ENTRY.repo), str(ENTRY.revision)
OTHER = "0" * 40
STARTER = CATALOGUE["starter"].folder


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("hub") / "clip")


@pytest.fixture(autouse=True)
def places_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def hub(tmp_path: Path, clip: Path, loopback: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with a tiny CLIP where the catalogue expects ViT-B/32, and a later commit on its main branch."""
    from huggingface_hub import constants, file_download

    server = FakeHub()
    server.add(REPO, COMMIT, clip)
    server.add(REPO, OTHER, clip)
    server.repos[REPO][OTHER]["README.md"] = b"newer"
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 500)  # what is written at once, as far as that
    monkeypatch.setattr(file_download.time, "sleep", lambda _seconds: None)
    yield server
    server.stop()


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Conversions copy `starter` in place of what they are given, and note what that was."""
    calls: list[dict[str, Any]] = []

    def convert(source: Path, out: Path, **arguments: Any) -> Any:
        files = {str(p.relative_to(source)): p.read_bytes() for p in Path(source).rglob("*") if p.is_file()}
        calls.append({"files": files, **arguments})
        shutil.copytree(STARTER, out)
        config = json.loads((out / "config.json").read_text())
        (out / "config.json").write_text(json.dumps(config | {"source": {"format": "copied"}}))
        return load_bundle(out)

    monkeypatch.setattr("crosslens.acquire.convert.convert.convert", convert)
    return calls


def left() -> list[str]:
    """What lies where models are kept, but for locks."""
    folder = app_folders.models()
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".lock") if folder.is_dir() else []


# ---------------------------------------------------------------- pulling


def test_a_model_is_pulled_at_the_pinned_commit_and_used_by_name(hub: FakeHub, tmp_path: Path) -> None:
    told: dict[str, tuple[int, int | None]] = {}
    bundle = pull(NAME, lambda file, done, total: told.update({file: (done, total)}))
    assert bundle.folder == app_folders.models() / NAME
    config = json.loads((bundle.folder / "config.json").read_text())
    assert config["name"] == NAME
    assert config["source"] == {"format": "hugging", "repo": REPO, "revision": COMMIT}
    assert (config["license"], config["scripts"]) == (ENTRY.licence, ["LATIN"])
    weights = len(hub.repos[REPO][COMMIT]["model.safetensors"])
    assert told["model.safetensors"] == (weights, weights)
    assert told["bundle"][0] <= told["bundle"][1]  # type: ignore[operator]
    for name in (NAME, REPO, f"hf-hub:{REPO}", REPO.upper()):
        assert find_bundle(name).folder == bundle.folder
        assert Matcher(name, precision="f32").reference == NAME
    Image.new("RGB", (40, 50), "red").save(tmp_path / "red.png")
    assert Matcher(NAME, precision="f32").similarity([tmp_path / "red.png"], ["red"]).shape == (1, 1)
    assert left() == [NAME]


def test_only_the_files_of_the_layout_are_fetched(hub: FakeHub) -> None:
    pull(NAME)
    asked = {seen[1].rpartition("/")[2] for seen in hub.seen if "resolve" in seen[1]}
    assert asked == {
        "config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json",
        "special_tokens_map.json", "model.safetensors",
    }  # fmt: skip
    assert all(f"/resolve/{COMMIT}/" in seen[1] for seen in hub.seen if "resolve" in seen[1])


def test_a_model_that_is_here_is_not_pulled_again(hub: FakeHub) -> None:
    first = pull(NAME)
    hub.seen.clear()
    assert pull(REPO) == first
    assert hub.seen == []
    with pytest.raises(ModelError, match=f"is here already.*models remove {NAME}"):
        pull(NAME, origin=Origin(revision="main"))


def test_another_revision_is_taken_and_its_commit_noted(hub: FakeHub) -> None:
    bundle = pull(NAME, origin=Origin(revision="main"))
    assert json.loads((bundle.folder / "config.json").read_text())["source"]["revision"] == OTHER
    assert [model.commit for model in pulled()] == [OTHER]


def test_a_model_without_a_pin_is_resolved_once(
    hub: FakeHub, clip: Path, copied: list[dict[str, Any]]
) -> None:
    entry = next(entry for entry in CATALOGUE.values() if entry.repo and entry.revision is None)
    commit = "1" * 40
    hub.repos[str(entry.repo)] = {
        commit: {"tokenizer.json": b"{}", "open_clip_model.safetensors": b"weights"}
    }
    bundle = pull(entry.name)
    assert json.loads((bundle.folder / "config.json").read_text())["source"]["revision"] == commit
    revisions = {seen[1].split("/resolve/")[1].split("/")[0] for seen in hub.seen if "/resolve/" in seen[1]}
    assert revisions <= {"main", commit}


def test_a_repository_without_its_configuration_is_given_the_catalogues(
    hub: FakeHub, copied: list[dict[str, Any]]
) -> None:
    entry = CATALOGUE["openclip-xlm-roberta-base-vit-b-32"]
    files = {"tokenizer.json": b"{}", "open_clip_model.safetensors": b"weights"}
    hub.repos[str(entry.repo)] = {str(entry.revision): files}
    pull(entry.name)
    given = json.loads(copied[0]["files"]["open_clip_config.json"])
    assert given["model_cfg"]["text_cfg"]["hf_model_name"] == "xlm-roberta-base"
    assert given["preprocess_cfg"]["mean"][0] == pytest.approx(0.4815, abs=1e-4)


def test_its_own_configuration_goes_first(hub: FakeHub, copied: list[dict[str, Any]], tmp_path: Path) -> None:
    entry = CATALOGUE["openclip-vit-b-32-datacomp"]
    files = {"open_clip_config.json": b"{}", "open_clip_model.safetensors": b"weights"}
    hub.repos[str(entry.repo)] = {str(entry.revision): files}
    pull(entry.name)
    assert copied[0]["files"]["open_clip_config.json"] == b"{}"


def test_a_text_tower_brings_the_model_it_fits(hub: FakeHub, copied: list[dict[str, Any]]) -> None:
    entry = CATALOGUE["mclip-xlm-roberta-large-vit-b-32"]
    files = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": b"weights"}
    hub.repos[str(entry.repo)] = {str(entry.revision): files}
    pull(entry.name)
    assert [call["name"] for call in copied] == [NAME, entry.name]
    assert [call["image_tower"] for call in copied] == [None, NAME]
    assert left() == [NAME, entry.name]


def test_a_model_outside_the_catalogue_is_pulled_by_its_repository(hub: FakeHub, clip: Path) -> None:
    hub.add("someone/My-CLIP", OTHER, clip)
    bundle = pull("someone/My-CLIP")
    assert bundle.folder == app_folders.models() / "someone--my-clip"
    assert find_bundle("someone/My-CLIP") == find_bundle("someone--my-clip") == bundle
    assert Matcher("someone/My-CLIP").reference == "someone--my-clip"


def test_a_repository_named_like_one_of_the_catalogue_is_another(hub: FakeHub, clip: Path) -> None:
    hub.add(f"someone/{NAME}", OTHER, clip)
    pull(f"someone/{NAME}")
    assert left() == [f"someone--{NAME}"]
    with pytest.raises(UnknownModelError, match="not on this machine yet"):
        find_bundle(NAME)


@pytest.mark.parametrize(
    "names",
    [
        ["visual/preprocess_cfg.json", "textual/tokenizer.json", "textual/model.onnx", "visual/model.onnx"],
        ["modules.json", "config.json", "1_Pooling/config.json", "2_Dense/config.json", "tokenizer.json",
         "2_Dense/model.safetensors", "model.safetensors"],
        ["open_clip_config.json", "open_clip_model.safetensors"],
        ["config.json", "tokenizer.json", "model.safetensors"],
        ["config.json", "preprocessor_config.json", "vocab.txt", "model.safetensors"],
    ],
)  # fmt: skip
def test_every_format_is_told_by_its_files(
    hub: FakeHub, copied: list[dict[str, Any]], names: list[str]
) -> None:
    hub.repos["someone/model"] = {
        OTHER: {name: name.encode() for name in [*names, "unwanted.bin", "code.py"]}
    }
    pull("someone/model")
    assert sorted(copied[0]["files"]) == sorted(names)


def test_weights_in_parts_are_fetched_with_their_index(hub: FakeHub, copied: list[dict[str, Any]]) -> None:
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    names = ["config.json", "preprocessor_config.json", "tokenizer.json", *index["weight_map"].values()]
    files = {name: name.encode() for name in names}
    hub.repos["someone/model"] = {
        OTHER: {**files, "model.safetensors.index.json": json.dumps(index).encode()}
    }
    pull("someone/model")
    assert set(index["weight_map"].values()) <= set(copied[0]["files"])


def test_nothing_but_files_is_asked_for_and_little_is_told(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull(NAME)
    assert {seen[0] for seen in hub.seen} == {"HEAD", "GET"}
    assert not [seen[1] for seen in hub.seen if "telemetry" in seen[1] or "/api/" in seen[1]]
    assert {agent for _, path, _, agent, _ in hub.seen if "torch" in agent or "crosslens" in agent} == set()


def test_a_token_goes_to_the_hub_and_not_to_its_store(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.utils._headers.get_token", lambda: "hf_secret")
    pull(NAME)
    tokens = {
        ("store" in path, token)
        for _, path, _, _, token in hub.seen
        if "safetensors" in path or "store" in path
    }
    assert tokens == {(False, "Bearer hf_secret"), (True, None)}


# ---------------------------------------------------------------- from a folder


def test_a_folder_of_files_does_without_a_network(clip: Path) -> None:
    bundle = pull(NAME, origin=Origin(folder=clip))
    config = json.loads((bundle.folder / "config.json").read_text())
    assert config["source"] == {"format": "hugging", "folder": str(clip)}
    assert [(model.name, model.repo) for model in pulled()] == [(NAME, None)]


def test_a_folder_that_is_none_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="nowhere"):
        pull(NAME, origin=Origin(folder=tmp_path / "nowhere"))
    assert left() == []


def test_a_folder_may_lack_the_configuration_too(tmp_path: Path, copied: list[dict[str, Any]]) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "open_clip_model.safetensors").write_bytes(b"weights")
    pull("openclip-vit-b-16-datacomp", origin=Origin(folder=folder))
    assert set(copied[0]["files"]) == {"open_clip_model.safetensors", "open_clip_config.json"}
    assert [path.name for path in folder.iterdir()] == ["open_clip_model.safetensors"]


# ---------------------------------------------------------------- what goes wrong


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(hub: FakeHub) -> None:
    hub.cut = [1000, 500]
    pull(NAME)
    assert hub.asked("GET", "/store/")[:3] == [None, "bytes=1000-", "bytes=1500-"]


def test_so_does_one_that_broke_off_in_an_earlier_run(hub: FakeHub) -> None:
    hub.cut = [3000] + [0] * 20
    with pytest.raises(DownloadError, match=r"broke off.*Run the same command again"):
        pull(NAME)
    assert left() == []
    hub.cut, hub.seen = [], []
    pull(NAME)
    assert hub.asked("GET", "/store/")[0] == "bytes=3000-"


def test_a_damaged_transfer_is_noticed_and_thrown_away(hub: FakeHub, tmp_path: Path) -> None:
    hub.garbled = True
    with pytest.raises(DownloadError, match=r"was damaged on its way.*again"):
        pull(NAME)
    assert left() == []
    hub.garbled = False
    pull(NAME)


def test_a_part_that_is_too_long_is_begun_again(hub: FakeHub, tmp_path: Path) -> None:
    hub.cut = [3000] + [0] * 20
    with pytest.raises(DownloadError):
        pull(NAME)
    [part] = tmp_path.glob("cache/models--*/blobs/*.incomplete")
    part.write_bytes(bytes(10_000_000))
    hub.cut = []
    pull(NAME)


def test_a_repository_that_does_not_exist(hub: FakeHub) -> None:
    with pytest.raises(
        DownloadError, match=r"no repository nobody/nothing on http.*or it is private.*hf auth"
    ):
        pull("nobody/nothing")
    assert left() == []


def test_a_revision_that_does_not_exist(hub: FakeHub) -> None:
    with pytest.raises(DownloadError, match=r"has no revision v9\. .*--revision main"):
        pull(NAME, origin=Origin(revision="v9"))


def test_a_repository_that_asks_for_consent(hub: FakeHub) -> None:
    hub.closed.add(REPO)
    with pytest.raises(
        DownloadError, match=rf"accepted its terms\. Accept them on {hub.url}/{REPO}, then log in"
    ):
        pull(NAME)


def test_a_repository_without_weights(hub: FakeHub) -> None:
    del hub.repos[REPO][COMMIT]["model.safetensors"], hub.repos[REPO][COMMIT]["pytorch_model.bin"]
    with pytest.raises(DownloadError, match=r"has no model\.safetensors or pytorch_model\.bin"):
        pull(NAME)


def test_weights_that_need_torch_are_not_fetched_without_it(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "find_spec", lambda _name: None)
    del hub.repos[REPO][COMMIT]["model.safetensors"]
    with pytest.raises(MissingExtraError, match=r'pip install "crosslens\[torch\]"'):
        pull(NAME)
    assert hub.asked("GET", "/store/") == [None], "only the tokeniser's"


def test_no_network_says_which_files_to_put_where(hub: FakeHub) -> None:
    hub.stop()
    with pytest.raises(DownloadError) as caught:
        pull(NAME)
    assert "the hub cannot be asked" in caught.value.problem
    for word in (
        "config.json",
        "model.safetensors",
        f"huggingface.co/{REPO}/tree/{COMMIT}",
        f"pull {NAME} --from",
    ):
        assert word in caught.value.remedy
    assert left() == []


def test_a_hub_that_is_down_counts_as_no_network(hub: FakeHub) -> None:
    hub.down = True
    with pytest.raises(DownloadError, match="the hub cannot be asked"):
        pull(NAME)


def test_what_is_in_the_cache_is_enough_without_a_network(hub: FakeHub) -> None:
    first = pull(NAME)
    remove(NAME)
    hub.stop()
    assert pull(NAME) == first


def test_offline_mode_is_kept_to(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE is set"):
        pull(NAME)
    assert hub.seen == []
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    pull(NAME)
    remove(NAME)
    hub.seen.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    pull(NAME)
    assert hub.seen == []


def test_a_full_disk_while_downloading(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    with pytest.raises(DownloadError, match=r"no space is left.*set HF_HOME"):
        pull(NAME)
    assert left() == []


def test_a_full_disk_while_converting(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_source: Path, out: Path, **_named: object) -> None:
        out.mkdir()
        (out / "half").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("crosslens.acquire.convert.convert.convert", full)
    with pytest.raises(DownloadError, match=f"no space is left for {NAME}"):
        pull(NAME)
    assert left() == []


def test_a_cache_that_cannot_be_written(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DownloadError, match=r"cannot be written.*HF_HOME"):
        pull(NAME)


def test_an_interrupted_pull_leaves_nothing_but_the_download(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_arguments: object, **_named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("crosslens.acquire.convert.convert.convert", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pull(NAME)
    assert left() == []
    hub.seen.clear()
    pull(NAME)
    assert hub.asked("GET", "") == []


def test_what_a_killed_pull_left_is_cleaned_up(clip: Path) -> None:
    litter = app_folders.models() / f".{NAME}.work-x"
    litter.mkdir(parents=True)
    assert pulled() == []
    pull(NAME, origin=Origin(folder=clip))
    assert left() == [NAME]


def test_two_do_not_pull_the_same_model_at_once(clip: Path) -> None:
    from filelock import FileLock

    app_folders.models().mkdir(parents=True)
    with (
        FileLock(app_folders.models() / f".{NAME}.lock"),
        pytest.raises(ModelError, match="another process is pulling"),
    ):
        pull(NAME, origin=Origin(folder=clip))


def test_a_name_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="Did you mean clip-vit-base-patch32"):
        pull("clip-vit-base-patch31")
    for name in ("../../etc", ".", ".hidden", "a/b/c", ""):
        with pytest.raises(ModelError):
            pull(name)
    (tmp_path / "bundle").mkdir()
    shutil.copytree(STARTER, tmp_path / "bundle", dirs_exist_ok=True)
    with pytest.raises(ModelError, match="is a model already"):
        pull(str(tmp_path / "bundle"))


# ---------------------------------------------------------------- removing


def test_removing_frees_the_bundle_and_says_what_the_cache_keeps(hub: FakeHub, tmp_path: Path) -> None:
    pull(NAME)
    [model] = pulled()
    removed = remove(REPO)
    assert (removed.name, removed.freed) == (NAME, model.size)
    assert removed.kept == tmp_path / "cache" / f"models--{REPO.replace('/', '--')}"
    assert removed.kept_size >= len(hub.repos[REPO][COMMIT]["model.safetensors"])
    assert left() == []
    with pytest.raises(UnknownModelError, match="not on this machine yet"):
        find_bundle(NAME)


def test_removing_takes_downloads_along_when_asked(hub: FakeHub, tmp_path: Path) -> None:
    pull(NAME)
    removed = remove(NAME, also_downloads=True)
    assert removed.kept is None
    assert removed.freed > len(hub.repos[REPO][COMMIT]["model.safetensors"])
    assert not list(tmp_path.glob("cache/models--*"))


def test_what_was_made_of_a_model_goes_with_it_unless_another_has_its_pictures(clip: Path) -> None:
    bundle = pull(NAME, origin=Origin(folder=clip))
    twin = shutil.copytree(bundle.folder, app_folders.models() / "twin")
    made = app_folders.quantised(bundle.spec.identity)
    made.parent.mkdir(parents=True)
    made.write_bytes(b"int8")
    remove("twin")
    assert not twin.exists()
    assert made.exists()
    remove(NAME)
    assert not made.parent.exists()


def test_what_was_not_pulled_is_not_removed(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="part of the package"):
        remove("starter")
    with pytest.raises(ModelError, match="folder of yours"):
        remove(str(tmp_path))
    with pytest.raises(UnknownModelError, match="not on this machine"):
        remove(NAME)
    assert (STARTER / "config.json").is_file()


def test_a_damaged_bundle_can_be_listed_and_removed(clip: Path) -> None:
    bundle = pull(NAME, origin=Origin(folder=clip))
    (bundle.folder / "config.json").write_text("{")
    assert [(model.name, model.repo) for model in pulled()] == [(NAME, None)]
    remove(NAME)
    assert left() == []


# ---------------------------------------------------------------- in a process of its own


@pytest.fixture
def process(hub: FakeHub, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A command with nothing but the environment to tell it where the hub is."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "hf"), **variables,
        }  # fmt: skip
        command = [sys.executable, "-m", "crosslens", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    return run


def test_the_environment_names_the_hub_and_the_cache(
    hub: FakeHub, process: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = process("models", "pull", NAME)
    assert done.returncode == 0, done.stderr
    assert f"{NAME} is here:" in done.stdout
    assert "not checked: no pictures at hand" in done.stdout
    assert list(tmp_path.glob("hf/hub/models--*/snapshots/*/model.safetensors"))
    assert "%|" not in done.stderr, "no bar of another library"
    assert process("models", "remove", NAME).returncode == 0
    hub.seen.clear()
    done = process("models", "pull", NAME, HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert hub.seen == []


def test_a_wrong_mirror_is_no_network(process: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = process("models", "pull", NAME, HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert f"crosslens models pull {NAME} --from FOLDER" in done.stderr
