"""Models in other formats → bundles, without torch; tests/reference compares vectors with the references."""

from __future__ import annotations

import errno
import json
import os
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

import foreign
from bundles import GRAPHS, write_graph_and_network
from crosslens import BundleError, Matcher, ModelError
from crosslens.acquire.convert import write
from crosslens.acquire.convert.convert import convert
from crosslens.acquire.convert.sentencepiece import unigram
from crosslens.errors import ConversionError, InputError, MissingExtraError
from crosslens.models.bundle import load_bundle
from crosslens.models.catalogue import find_bundle
from crosslens.models.spec import Networks, NetworkSpec

STARTER = find_bundle("starter").folder
PICTURES = [np.random.default_rng(n).integers(0, 256, (40, 50, 3), dtype=np.uint8) for n in range(3)]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return foreign.write_clip(tmp_path / "tiny-clip")


def networks(folder: Path) -> Networks:
    towers = load_bundle(folder).spec.towers
    assert isinstance(towers, Networks)
    return towers


def edit(path: Path, key: str, value: Any) -> None:
    """Set one key of a JSON file, given as a path; None removes it."""
    config = json.loads(path.read_text())
    *parents, last = key.split("/")
    inner = config
    for part in parents:
        inner = inner[part]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    path.write_text(json.dumps(config))


def alone(folder: Path, *allowed: str) -> bool:
    """Whether nothing was left in a folder but what is allowed."""
    return sorted(path.name for path in folder.iterdir()) == sorted(allowed)


# ---------------------------------------------------------------- what comes out


def test_a_folder_of_transformers_becomes_a_bundle(clip: Path, tmp_path: Path) -> None:
    (clip / "README.md").write_text("---\nlanguage: en\nlicense: mit\n---\n# A model\n")
    bundle = convert(clip, tmp_path / "out/made")
    spec = bundle.spec
    assert (spec.name, spec.dimension, spec.license) == ("tiny-clip", foreign.DIMENSION, "mit")
    assert spec.logit_scale == pytest.approx(50)
    assert (spec.image.size, spec.image.resize, spec.image.crop) == (32, "shortest_edge", "center_floor")
    assert (spec.text.context_length, spec.text.pad_id, spec.text.clean) == (12, 53, "none")
    assert networks(bundle.folder).image == NetworkSpec(4, "gelu", "before", 1e-5, "first")
    end = {"causal": True, "masked": False, "end_id": 53}
    assert networks(bundle.folder).text == NetworkSpec(2, "quick_gelu", "before", 1e-5, "end", **end)
    assert alone(tmp_path / "out", "made")
    matcher = Matcher(bundle.folder, precision="f32")
    assert np.isfinite(matcher.similarity(PICTURES, ["a red dog", "beach"])).all()


def test_tensors_get_their_names_and_are_joined_and_turned(tmp_path: Path) -> None:
    theirs = foreign.openclip_tensors()
    made = convert(foreign.write_openclip(tmp_path / "open"), tmp_path / "out").folder
    ours = load_file(made / "model.safetensors")
    assert (ours["image.projection.weight"] == theirs["visual.proj"].T).all()
    assert (ours["text.projection.weight"] == theirs["text_projection"].T).all()
    name = "transformer.resblocks.0.attn.in_proj_weight"
    assert (ours["text.blocks.0.attention.in.weight"] == theirs[name]).all()
    theirs = foreign.clip_tensors()
    made = convert(foreign.write_clip(tmp_path / "clip"), tmp_path / "out2").folder
    ours = load_file(made / "model.safetensors")
    parts = [theirs[f"vision_model.encoder.layers.1.self_attn.{p}_proj.bias"] for p in "qkv"]
    assert (ours["image.blocks.1.attention.in.bias"] == np.concatenate(parts)).all()
    assert not any("position_ids" in name for name in ours)


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_half_precision_stays_or_is_widened(clip: Path, tmp_path: Path, dtype: str) -> None:
    tensors = foreign.clip_tensors()
    del tensors["vision_model.embeddings.position_ids"]
    if dtype == "F16":
        save_file(
            {name: value.astype(np.float16) for name, value in tensors.items()}, clip / "model.safetensors"
        )
    else:
        write_bfloat16(clip / "model.safetensors", tensors)
    ours = load_file(convert(clip, tmp_path / "out").folder / "model.safetensors")
    found = ours["text.projection.weight"]
    assert found.dtype == (np.float16 if dtype == "F16" else np.float32)
    assert np.allclose(found, tensors["text_projection.weight"], rtol=0.01)
    assert np.isfinite(Matcher(tmp_path / "out", precision="f32").embed_texts(["a dog"])).all()


def write_bfloat16(path: Path, tensors: foreign.Tensors) -> None:
    """A safetensors file whose numbers are the upper halves of float32."""
    header: dict[str, Any] = {}
    data = b""
    for name, value in tensors.items():
        piece = (value.view(np.uint32) >> 16).astype("<u2").tobytes()
        header[name] = {
            "dtype": "BF16",
            "shape": list(value.shape),
            "data_offsets": [len(data), len(data) + len(piece)],
        }
        data += piece
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def test_shards_give_what_one_file_gives(clip: Path, tmp_path: Path) -> None:
    whole = convert(clip, tmp_path / "whole").folder
    names = sorted(foreign.clip_tensors())
    files = {"model-00001-of-00002.safetensors": names[:20], "model-00002-of-00002.safetensors": names[20:]}
    for file, part in files.items():
        save_file({name: foreign.clip_tensors()[name] for name in part}, clip / file)
    (clip / "model.safetensors").unlink()
    where = {name: file for file, part in files.items() for name in part}
    foreign.write_json(clip / "model.safetensors.index.json", {"weight_map": where})
    made = convert(clip, tmp_path / "out").folder
    assert (made / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    (clip / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ConversionError, match="lacks model-00002-of-00002"):
        convert(clip, tmp_path / "other")


def test_a_model_in_a_hubs_cache_keeps_its_repository_and_revision(clip: Path, tmp_path: Path) -> None:
    revision = "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268"
    snapshot = tmp_path / "models--openai--clip-vit-base-patch32/snapshots" / revision
    snapshot.parent.mkdir(parents=True)
    clip.rename(snapshot)
    bundle = convert(snapshot, tmp_path / "out")
    assert bundle.spec.name == "clip-vit-base-patch32"
    source = json.loads((bundle.folder / "config.json").read_text())["source"]
    repo = "openai/clip-vit-base-patch32"
    assert source == {"format": "hugging", "repo": repo, "revision": revision}


def test_immichs_graphs_give_the_vectors_they_gave(tmp_path: Path) -> None:
    source = tmp_path / "immich"
    spec = load_bundle(GRAPHS).spec
    for part in ("visual", "textual"):
        (source / part).mkdir(parents=True)
    shutil.copy(GRAPHS / "image.onnx", source / "visual/model.onnx")
    shutil.copy(GRAPHS / "text.onnx", source / "textual/model.onnx")
    shutil.copy(GRAPHS / "tokenizer.json", source / "textual/tokenizer.json")
    pad = Tokenizer.from_file(str(GRAPHS / "tokenizer.json")).id_to_token(0)
    foreign.write_json(source / "textual/tokenizer_config.json", {"pad_token": pad})
    prepared = {"size": [96, 96], "mean": spec.image.mean, "std": spec.image.std, "interpolation": "bicubic",
                "resize_mode": "shortest", "mode": "RGB", "fill_color": 0}  # fmt: skip
    foreign.write_json(source / "visual/preprocess_cfg.json", prepared)
    foreign.write_json(source / "config.json", {"embed_dim": 256, "text_cfg": {"context_length": 24}})
    bundle = convert(source, tmp_path / "out")
    assert (bundle.spec.text.clean, bundle.spec.logit_scale) == ("lower", 100)
    ours, theirs = Matcher(bundle.folder, precision="f32"), Matcher(GRAPHS, precision="f32")
    assert (ours.embed_images(PICTURES) == theirs.embed_images(PICTURES)).all()
    assert (ours.embed_texts(["a dog", "the sea"]) == theirs.embed_texts(["a dog", "the sea"])).all()
    edit(source / "visual/preprocess_cfg.json", "size", 128)
    with pytest.raises(ConversionError, match="prepared with 128 pixels a side, and the network takes 96"):
        convert(source, tmp_path / "other")
    (source / "textual/tokenizer_config.json").unlink()
    with pytest.raises(ConversionError, match=r"lacks textual/tokenizer_config\.json"):
        convert(source, tmp_path / "other")


def test_a_text_tower_shares_the_space_of_the_model_it_fits(clip: Path, tmp_path: Path) -> None:
    base = convert(clip, tmp_path / "base")
    source = foreign.write_sentence_transformer(tmp_path / "multilingual")
    bundle = convert(source, tmp_path / "out", image_tower=base.folder)
    assert bundle.spec.identity == base.spec.identity
    assert bundle.spec.text.context_length == 10
    assert networks(bundle.folder).text == NetworkSpec(2, "gelu", "after", 1e-12, "mean", masked=True)
    one, other = (Matcher(folder, precision="f32") for folder in (base.folder, bundle.folder))
    assert (one.embed_images(PICTURES) == other.embed_images(PICTURES)).all()
    with pytest.raises(ConversionError, match="text tower without an image tower"):
        convert(source, tmp_path / "other")
    write_graph_and_network(tmp_path / "mixed")
    for graph in (GRAPHS, tmp_path / "mixed"):
        with pytest.raises(ConversionError, match=f"the image tower of {graph} is a graph, which cannot be"):
            convert(source, tmp_path / "other", image_tower=graph)
    with pytest.raises(ConversionError, match="has an image tower of its own"):
        convert(clip, tmp_path / "other", image_tower=base.folder)


def test_progress_ends_at_the_total(clip: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    convert(clip, tmp_path / "out", name="mine", on_progress=lambda done, total: seen.append((done, total)))
    assert all(0 < done <= total for done, total in seen)
    assert sorted(seen) == seen
    assert load_bundle(tmp_path / "out").spec.name == "mine"
    with pytest.raises(InputError, match="cannot be named"):
        convert(clip, tmp_path / "other", name="../up")


# ---------------------------------------------------------------- what is refused


def remove(*names: str) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return do


def change(file: str, key: str, value: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder / file, key, value)


def cut(file: str, size: int) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / file, size)


def tensors(**changes: Any) -> Callable[[Path], None]:
    """Replace tensors, "." in names written as "__"; None removes one."""

    def do(folder: Path) -> None:
        found = foreign.clip_tensors()
        for name, value in changes.items():
            key = name.replace("__", ".")
            if value is None:
                del found[key]
            else:
                found[key] = value
        save_file(found, folder / "model.safetensors")

    return do


REFUSED = [
    (remove("config.json"), "is not a model folder", "model.safetensors"),
    (remove("model.safetensors"), "holds no weights", "model.safetensors"),
    (remove("vocab.json"), "lacks its tokeniser", "vocab.json with merges.txt"),
    (remove("preprocessor_config.json"), "lacks preprocessor_config.json", "Put it there"),
    (cut("model.safetensors", 900), "model.safetensors is damaged or incomplete", "Download it again"),
    (cut("model.safetensors", 0), "model.safetensors is damaged or incomplete", "Download it again"),
    (cut("config.json", 20), "config.json is not valid JSON", "Download it again"),
    (change("config.json", "model_type", "resnet"), "'resnet'", "Supported of transformers are clip"),
    (change("config.json", "model_type", "siglip2"), "NaFlex", "fixed resolution"),
    (change("config.json", "text_config/hidden_act", "relu"), "hidden_act", "Supported are gelu"),
    (change("config.json", "text_config/eos_token_id", 7), "texts end with token 53", "another model"),
    (change("config.json", "vision_config/num_attention_heads", 3), "3 heads do not divide", ""),
    (change("config.json", "vision_config/image_size", 48), "the network takes 48", "very model"),
    (change("preprocessor_config.json", "do_center_crop", False), "square", "another variant"),
    (change("preprocessor_config.json", "resample", 0), "resample 0", "another variant"),
    (change("preprocessor_config.json", "do_resize", False), "do_resize", ""),
    (change("preprocessor_config.json", "crop_size", 64), "crop_size 64", ""),
    (change("preprocessor_config.json", "size", {"height": 32, "width": 40}), "square", ""),
    (tensors(text_projection__weight=None), "has no tensor text_projection.weight", "download it again"),
    (tensors(text_projection__weight=np.zeros((8, 9), np.float32)), "text.projection.weight should be", ""),
    (tensors(vision_model__embeddings__position_embedding__weight=np.zeros((9, 16), np.float32)),
     "image.positions should be of shape (5, 16), found (9, 16)", ""),
    (tensors(text_model__embeddings__token_embedding__weight=np.zeros((50, 16), np.float32)),
     "the tokeniser makes ids up to 53, and the network knows 50 tokens", "another model"),
    (tensors(vision_model__adapter__weight=np.zeros((3, 3), np.float32)),
     "parts that are not supported: vision_model.adapter.weight", "Supported are plain"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "problem", "remedy"), REFUSED)
def test_what_cannot_be_converted_is_named_and_leaves_nothing(
    clip: Path, tmp_path: Path, damage: Callable[[Path], None], problem: str, remedy: str
) -> None:
    damage(clip)
    with pytest.raises(ConversionError) as caught:
        convert(clip, tmp_path / "out")
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy
    assert str(clip) in caught.value.problem
    assert alone(tmp_path, "tiny-clip")


JUNK: tuple[Any, ...] = (None, "x", -1, 0, 2.5, [], {}, [[]], True, 1e999, 10**400, "../../x")
KEYS = [
    ("config.json", key)
    for key in (
        "model_type", "text_config", "vision_config", "text_config/num_attention_heads",
        "vision_config/hidden_act", "vision_config/image_size", "text_config/eos_token_id",
    )
] + [
    ("preprocessor_config.json", key)
    for key in ("size", "crop_size", "resample", "image_mean", "image_std", "do_center_crop")
] + [("tokenizer_config.json", key) for key in ("pad_token", "model_max_length")]  # fmt: skip


@pytest.mark.parametrize(("file", "key"), KEYS)
def test_nonsense_in_a_file_is_refused_or_harmless(clip: Path, tmp_path: Path, file: str, key: str) -> None:
    foreign.write_json(clip / "tokenizer_config.json", {"pad_token": "a", "model_max_length": 12})
    kept = (clip / file).read_bytes()
    for number, value in enumerate(JUNK):
        edit(clip / file, key, value)
        try:
            Matcher(convert(clip, tmp_path / f"out{number}").folder, precision="f32").embed_texts(["a dog"])
        except ModelError:
            assert not (tmp_path / f"out{number}").exists()
        (clip / file).write_bytes(kept)


OPENCLIP_REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"vision": {"layers": [3, 4, 6, 3]}}, "ResNet"),
    ({"vision": {"timm_model_name": "eva02_base_patch16_clip_224"}}, "eva02_base_patch16_clip_224"),
    ({"vision": {"timm_model_name": "naflexvit_base_siglip"}}, "naflexvit"),
    ({"vision": {"attentional_pool": True}}, "attentional_pool"),
    ({"vision": {"pool_type": "avg"}}, "pools by 'avg'"),
    ({"vision": {"image_size": [32, 64]}}, "not square"),
    ({"text": {"hf_model_name": "google/mt5-base"}}, "mt5"),
    ({"text": {"embed_cls": True}}, "embed_cls"),
    (
        {"text": {"hf_tokenizer_name": "bert", "tokenizer_kwargs": {"strip_sep_token": True}}},
        "strip_sep_token",
    ),
    ({"multimodal_cfg": {}}, "CoCa"),
]


@pytest.mark.parametrize(("config", "reason"), OPENCLIP_REFUSED)
def test_openclips_other_architectures_are_named(tmp_path: Path, config: dict[str, Any], reason: str) -> None:
    source = foreign.write_openclip(tmp_path / "source", **config)
    with pytest.raises(ConversionError) as caught:
        convert(source, tmp_path / "out")
    assert reason in caught.value.problem
    assert "vision transformer" in caught.value.remedy
    assert alone(tmp_path, "source")


def test_openclip_without_its_tokeniser_says_which_files_to_put_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = foreign.write_openclip(tmp_path / "source")
    (source / "vocab.json").unlink()
    monkeypatch.setattr("crosslens.acquire.convert.tokenizers.find_spec", lambda _: None)
    with pytest.raises(ConversionError) as caught:
        convert(source, tmp_path / "out")
    for word in ("vocab.json", "merges.txt", "openai/clip-vit-base-patch32", "bpe_simple_vocab_16e6.txt.gz"):
        assert word in caught.value.remedy


@pytest.mark.parametrize("what", ["nothing", "empty", "file", "bundle", "named file"])
def test_what_is_no_model_is_told_what_was_looked_for(tmp_path: Path, what: str) -> None:
    path = STARTER if what == "bundle" else tmp_path / "source"
    if what == "empty":
        path.mkdir()
    elif what == "file":
        path.write_bytes(b"words")
    elif what == "named file":
        path = foreign.write_clip(tmp_path / "clip") / "model.safetensors"
    with pytest.raises(ConversionError) as caught:
        convert(path, tmp_path / "out")
    problems = {
        "nothing": "there is no folder or file",
        "empty": "is not a model folder",
        "file": "single file",
        "bundle": "is a bundle already",
        "named file": "single file",
    }
    assert problems[what] in caught.value.problem
    if what in ("nothing", "empty"):
        assert "visual/model.onnx" in caught.value.remedy


@pytest.mark.parametrize("file", ["pytorch_model.bin", "tiny.pt"])
def test_pickles_without_torch_name_the_extra(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    (clip / "model.safetensors").rename(clip / file)
    with pytest.raises(MissingExtraError, match=r'pip install "crosslens\[torch\]"'):
        convert(clip / file if file.endswith(".pt") else clip, tmp_path / "out")
    assert alone(tmp_path, "tiny-clip")


def test_errors_belong_to_models() -> None:
    assert issubclass(ConversionError, ModelError)


# ---------------------------------------------------------------- whole or not there


@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_an_existing_target_is_left_alone(clip: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    if kind == "folder":
        out.mkdir()
        (out / "mine").write_text("precious")
    elif kind == "file":
        out.write_text("precious")
    else:
        out.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConversionError, match="exists already"):
        convert(clip, out)
    assert out.is_symlink() or "precious" in {
        out.read_text() if kind == "file" else (out / "mine").read_text()
    }


def test_a_full_disk_is_found_before_anything_is_written(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=5))
    with pytest.raises(ConversionError, match="there is no room"):
        convert(clip, tmp_path / "out")
    assert alone(tmp_path, "tiny-clip")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_disk_that_fails_while_writing_leaves_nothing(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, number: int
) -> None:
    whole = write.Draft.write

    def failing(draft: Any, name: str, pieces: Any) -> None:
        if name == file:
            (draft.folder / name).write_bytes(b"half")
            raise OSError(number, os.strerror(number))
        whole(draft, name, pieces)

    monkeypatch.setattr(write.Draft, "write", failing)
    with pytest.raises(ConversionError, match="no room" if number == errno.ENOSPC else "cannot be written"):
        convert(clip, tmp_path / "deep/er/out")
    assert alone(tmp_path / "deep/er")


def test_an_interruption_leaves_nothing(clip: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(clip, tmp_path / "out", on_progress=interrupt)
    assert alone(tmp_path, "tiny-clip")


def test_a_target_that_appears_meanwhile_is_left_alone(clip: Path, tmp_path: Path) -> None:
    def appear(done: int, total: int) -> None:
        (tmp_path / "out").mkdir(exist_ok=True)

    with pytest.raises(ConversionError, match="exists already"):
        convert(clip, tmp_path / "out", on_progress=appear)
    assert alone(tmp_path, "tiny-clip", "out")
    assert alone(tmp_path / "out")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0o500)
    with pytest.raises(ConversionError, match="cannot be written"):
        convert(clip, tmp_path / "shut/out")


def test_weights_that_are_exchanged_afterwards_are_refused(clip: Path, tmp_path: Path) -> None:
    made = convert(clip, tmp_path / "out").folder
    path = made / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(BundleError, match="damaged or was exchanged"):
        Matcher(made, precision="f32").embed_texts(["a dog"])


# ---------------------------------------------------------------- sentencepiece


def varint(number: int) -> bytes:
    found = b""
    while number >= 0x80:
        found += bytes([number & 0x7F | 0x80])
        number >>= 7
    return found + bytes([number])


def message(*fields: tuple[int, Any]) -> bytes:
    """A protocol buffer of byte strings, floats and numbers."""
    found = b""
    for number, value in fields:
        if isinstance(value, float):
            found += varint(number << 3 | 5) + struct.pack("<f", value)
        elif isinstance(value, int):
            found += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            found += varint(number << 3 | 2) + varint(len(data)) + data
    return found


def sentencepiece_file(path: Path, kind: int = 1) -> Path:
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), ("▁red", -1.0, 1), ("▁", -2.0, 1),
              ("r", -3.0, 1), ("e", -3.0, 1), ("d", -3.0, 1), ("hund", -1.5, 1)]  # fmt: skip
    listed = [(1, message((1, piece), (2, score), (3, sort))) for piece, score, sort in pieces]
    path.write_bytes(message(*listed, (2, message((3, kind), (4, 9))), (3, message((1, "identity")))))
    return path


def test_a_sentencepiece_model_is_read_without_sentencepiece(tmp_path: Path) -> None:
    plain = unigram(sentencepiece_file(tmp_path / "spiece.model"))
    assert plain.encode("red  hund der").tokens == ["▁red", "▁", "hund", "▁", "d", "e", "r"]
    assert plain.encode("red").ids == [3]
    moved = unigram(tmp_path / "spiece.model", fairseq=True)
    assert moved.encode("red").ids == [4]
    assert [moved.token_to_id(t) for t in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")] == [0, 1, 2, 3, 10]


@pytest.mark.parametrize("kind", ["cut", "empty", "bpe", "words"])
def test_what_is_no_sentencepiece_model_is_refused(tmp_path: Path, kind: str) -> None:
    path = sentencepiece_file(tmp_path / "spiece.model", kind=2 if kind == "bpe" else 1)
    if kind == "cut":
        os.truncate(path, path.stat().st_size // 2 + 3)
    elif kind in ("empty", "words"):
        path.write_bytes(b"" if kind == "empty" else b"these are only words, many of them")
    with pytest.raises(ConversionError, match=r"spiece\.model is no"):
        unigram(path)
