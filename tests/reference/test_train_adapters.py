"""Adapters: they alone are trained, recall rises, a stopped run goes on, the export computes the same."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import transformers
from same import opened, randomise
from test_openclip import folder_of
from test_train import draw, losses
from test_transformers import VISION, WORDS, clip_tokenizer, sentencepiece_model

from bundles import write_bundle
from crosslens.cli.app import main
from crosslens.errors import ConversionError, InputError, MissingExtraError
from crosslens.matching.matcher import Matcher
from crosslens.train.adapters import AdapterSettings, finish_adapters, open_adapters, train_adapters
from crosslens.train.lora import SplitAttention, split_attention
from crosslens.train.pair_dataset import Pairs
from crosslens.train.pretrained_checkpoints import read_pretrained

FAMILIES = ("clip", "siglip", "openclip")
QUICK = AdapterSettings(
    steps=40, batch=32, rate=4e-3, least_area=0.9, validate_every=10, save_every=2, patience=50, seed=3
)


def write_clip(folder: Path) -> Any:
    config = transformers.CLIPConfig(
        text_config={**WORDS, "vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407},
        vision_config={**VISION, "image_size": 32, "patch_size": 8},
        projection_dim=40,
    )
    model = randomise(transformers.CLIPModel(config), seed=1)
    processor = transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32)
    for part in (model, processor, clip_tokenizer()):
        part.save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Tiny\n")
    return model


def write_siglip(folder: Path) -> Any:
    pytest.importorskip("sentencepiece")
    tokenizer = transformers.SiglipTokenizer(str(sentencepiece_model(folder.parent / "spm")))
    config = transformers.SiglipConfig(
        text_config={**WORDS, "hidden_size": 48, "vocab_size": len(tokenizer), "projection_size": 48,
                     "max_position_embeddings": 64},
        vision_config={**VISION, "image_size": 32, "patch_size": 8},
    )  # fmt: skip
    model = randomise(transformers.SiglipModel(config), seed=1)
    with torch.no_grad():  # as SigLIP starts; patches no larger than the rest
        model.vision_model.embeddings.patch_embedding.weight.mul_(0.2)
        model.logit_scale.fill_(math.log(10))
        model.logit_bias.fill_(-10)
    for part in (model, transformers.SiglipImageProcessorPil(size={"height": 32, "width": 32}), tokenizer):
        part.save_pretrained(folder)
    return model


def write_openclip(folder: Path) -> Any:
    vision = {"image_size": 32, "layers": 2, "width": 48, "head_width": 16, "patch_size": 8}
    words = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    config = {"embed_dim": 40, "vision_cfg": vision, "text_cfg": words}
    model = randomise(open_clip.model.CLIP(**config))
    folder_of(model, config, folder, {"resize_mode": "shortest"}, "safetensors")
    return model


WRITERS = {"clip": write_clip, "siglip": write_siglip, "openclip": write_openclip}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("checkpoints")
    for family, write in WRITERS.items():
        write(place / family)
    return {family: place / family for family in FAMILIES}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    draw(folder)
    return folder


@pytest.fixture
def pairs(drawn: Path) -> Pairs:
    """32 shapes, 8 colours of 4, all on the left, since training mirrors."""
    rows = [line.split(",") for line in (drawn / "pairs.csv").read_text().splitlines()[1:33]]
    return Pairs([(drawn / name).read_bytes() for name, _ in rows], [(text,) for _, text in rows])


@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_alone_are_trained_and_recall_rises(
    family: str, checkpoints: dict[str, Path], pairs: Pairs, drawn: Path, tmp_path: Path
) -> None:
    run = open_adapters(checkpoints[family], pairs, pairs, tmp_path / "run", QUICK)
    model = run.run.trainer.model
    frozen = {n: v.detach().clone() for n, v in model.named_parameters() if not v.requires_grad}
    first = {n: v.detach().clone() for n, v in model.trained()}
    assert all("lora_" in name or name in ("log_scale", "bias") for name in first)
    assert any("in_proj" in name or "q_proj" in name for name in first)
    assert {name for name in first if "lora_" not in name} == (
        {"log_scale", "bias"} if family == "siglip" else {"log_scale"}
    )
    start = run.run.trainer.started
    ids = start.tokenize(["a dog", "two dogs on a beach"]).ids
    lengths = start.lengths(ids)
    if family != "siglip":  # texts may run shorter, to their end token, which is CLIP's padding too
        whole, cut = (model.embed_texts(torch.from_numpy(i)) for i in (ids[:1], ids[:1, : lengths[0]]))
        assert lengths.tolist() == [4, 7]
        assert torch.allclose(whole, cut, atol=1e-5)
    reports = list(run.steps())
    now = dict(model.named_parameters())
    assert all(torch.equal(now[name], value) for name, value in frozen.items())
    assert all(not torch.equal(now[name], value) for name, value in first.items())
    assert np.mean([r.loss for r in reports[-5:]]) < np.mean([r.loss for r in reports[:5]])

    done = finish_adapters(run)
    assert done.validation.score > run.before.score + 0.05
    assert done.gap < 1e-4
    assert done.certificate is not None
    assert done.certificate.passed("f32")
    card = (done.bundle.folder / "README.md").read_text()
    assert "before training" in card
    assert done.bundle.spec.logit_scale == pytest.approx(float(now["log_scale"].exp()), rel=0.2)
    assert (done.bundle.spec.match is not None) == (family == "siglip")
    if family == "clip":
        assert done.bundle.spec.license == "mit"

    # Files and texts through the pipeline → the same recall, which chose the adapters in bf16.
    matcher = Matcher(done.bundle.folder, precision="f32", decode="exact")
    images = matcher.embed_images([str(drawn / f"{number}.png") for number in range(32)])
    texts = matcher.embed_texts([line[0] for line in pairs.texts])
    ranks = (texts @ images.T).argmax(axis=1)
    assert (ranks == np.arange(32)).mean() == pytest.approx(done.validation.recall_1, abs=0.1)


@pytest.mark.parametrize("family", ["clip", "openclip"])
def test_the_merged_checkpoint_and_the_adapter_open_in_their_own_libraries(
    family: str, checkpoints: dict[str, Path], pairs: Pairs, drawn: Path, tmp_path: Path
) -> None:
    import peft

    settings = dataclasses.replace(QUICK, steps=4)
    done = train_adapters(checkpoints[family], pairs, pairs, tmp_path / "run", settings)
    folder = tmp_path / "run" / "checkpoint"
    pictures = [opened(drawn / f"{number}.png") for number in range(8)]
    base = read_pretrained(checkpoints[family]).network
    if family == "clip":
        model = transformers.AutoModel.from_pretrained(folder)
        pixels = transformers.CLIPImageProcessorPil.from_pretrained(folder)(
            images=pictures, return_tensors="pt"
        )
        vectors = [m.get_image_features(**pixels).pooler_output for m in (model, base)]
        peft.PeftModel.from_pretrained(base, tmp_path / "run" / "adapter")
        vectors.append(base.get_image_features(**pixels).pooler_output)
    else:
        model, prepare = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
        pixels = torch.stack([prepare(picture) for picture in pictures])
        vectors = [m.encode_image(pixels) for m in (model, base.eval())]
        split_attention(base)
        assert torch.allclose(base.encode_image(pixels), vectors[1], atol=1e-5)
        peft.PeftModel.from_pretrained(base, tmp_path / "run" / "adapter")
        vectors.append(base.encode_image(pixels))
    merged, before, adapted = (torch.nn.functional.normalize(found, dim=1).detach() for found in vectors)
    found = torch.from_numpy(
        Matcher(done.bundle.folder, precision="f32", decode="exact").embed_images(
            [str(drawn / f"{number}.png") for number in range(8)]
        )
    )
    for reference in (merged, adapted):
        assert (1 - (found * reference).sum(dim=1)).max() < 1e-4
    assert done.step == 0 or (1 - (found * before).sum(dim=1)).max() > 1e-4


@pytest.mark.parametrize("family", ["clip", "openclip"])
def test_a_run_that_was_stopped_takes_the_same_steps(
    family: str, checkpoints: dict[str, Path], pairs: Pairs, tmp_path: Path
) -> None:
    settings = dataclasses.replace(QUICK, steps=6, batch=8, dropout=0.2, validate_every=3)
    whole = open_adapters(checkpoints[family], pairs, pairs, tmp_path / "whole", settings)
    list(whole.steps())
    stopped = open_adapters(checkpoints[family], pairs, pairs, tmp_path / "stopped", settings)
    for report in stopped.steps():
        if report.step == 3:
            break  # one step after the last checkpoint
    again = open_adapters(checkpoints[family], pairs, pairs, tmp_path / "stopped", settings)
    assert again.run.trainer.step in (2, 3)
    assert again.before == whole.before
    list(again.steps())
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")
    assert len(losses(tmp_path / "whole")) == 6
    assert (tmp_path / "whole" / "curves.png").is_file()


def test_a_run_of_other_settings_is_refused(
    checkpoints: dict[str, Path], pairs: Pairs, tmp_path: Path
) -> None:
    open_adapters(checkpoints["clip"], pairs, pairs, tmp_path / "run", QUICK)
    with pytest.raises(InputError, match="another rank, another seed"):
        open_adapters(
            checkpoints["clip"], pairs, pairs, tmp_path / "run", dataclasses.replace(QUICK, seed=4, rank=2)
        )


def test_only_the_named_layers_get_adapters(
    checkpoints: dict[str, Path], pairs: Pairs, tmp_path: Path
) -> None:
    settings = dataclasses.replace(QUICK, targets=("v_proj", "text_model.encoder.layers.0.mlp.fc1"))
    run = open_adapters(checkpoints["clip"], pairs, pairs, tmp_path / "run", settings)
    layers = {name.split(".lora_")[0] for name, _ in run.run.trainer.model.trained() if "lora_" in name}
    assert len(layers) == 3 + 2 + 1
    assert all(name.endswith(("v_proj", "text_model.encoder.layers.0.mlp.fc1")) for name in layers)


@pytest.mark.parametrize(
    ("family", "settings", "message"),
    [
        ("clip", {"targets": ("attention",)}, "no layer 'attention'.*q_proj"),
        ("openclip", {"targets": ("q_proj",)}, "no layer 'q_proj'.*in_proj"),
        ("clip", {"loss": "sigmoid"}, "no logit bias"),
        ("clip", {"rank": 0}, "rank is 0"),
        ("clip", {"name": "checkpoint"}, "cannot be named"),
        ("clip", {"batch": 1}, "batch = 1"),
    ],
)
def test_settings_that_do_not_fit_are_named(
    family: str,
    settings: dict[str, Any],
    message: str,
    checkpoints: dict[str, Path],
    pairs: Pairs,
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match=message):
        open_adapters(
            checkpoints[family], pairs, pairs, tmp_path / "run", dataclasses.replace(QUICK, **settings)
        )


def test_what_is_no_checkpoint_is_refused(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConversionError, match="not a model folder"):
        read_pretrained(tmp_path / "empty")
    with pytest.raises(ConversionError, match="no folder"):
        read_pretrained(tmp_path / "absent")
    write_bundle(tmp_path / "bundle", "clip")
    with pytest.raises(ConversionError, match="is a bundle"):
        read_pretrained(tmp_path / "bundle")
    (tmp_path / "align").mkdir()
    (tmp_path / "align" / "config.json").write_text('{"model_type": "align"}')
    with pytest.raises(ConversionError, match="'align'"):
        read_pretrained(tmp_path / "align")
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "modules.json").write_text("[]")
    with pytest.raises(ConversionError, match="sentence-transformers"):
        read_pretrained(tmp_path / "words")
    (tmp_path / "coca").mkdir()
    config = json.loads((checkpoints["openclip"] / "open_clip_config.json").read_text())
    config["model_cfg"]["multimodal_cfg"] = {}
    (tmp_path / "coca" / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(ConversionError, match="CoCa"):
        read_pretrained(tmp_path / "coca")


def test_without_peft_the_line_that_installs_it_is_named(
    checkpoints: dict[str, Path], pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r'pip install "crosslens\[adapters\]"'):
        open_adapters(checkpoints["clip"], pairs, pairs, tmp_path / "run", QUICK)


def test_split_attention_is_the_attention_that_it_stands_for(tmp_path: Path) -> None:
    model = write_openclip(tmp_path / "openclip")
    ids = open_clip.tokenize(["a dog", "two cats on a beach"])
    before = model.encode_text(ids)
    split_attention(model)
    assert sum(isinstance(module, SplitAttention) for module in model.modules()) == 4
    assert torch.allclose(model.encode_text(ids), before, atol=1e-5)


def test_the_command_trains_stops_and_goes_on(
    checkpoints: dict[str, Path], drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "train", "adapters", str(drawn / "pairs.csv"), "--val", str(drawn / "pairs.csv"), "--checkpoint",
        str(checkpoints["openclip"]), "--out", str(tmp_path / "run"), "--steps", "3", "--batch", "8",
        "--name", "shapes", "--targets", "c_fc,c_proj",
    ]  # fmt: skip
    assert main([*command, "--minutes", "0.000001"]) == 0
    stopped = capsys.readouterr()
    assert "1 of 3 steps done" in stopped.err
    assert "held-out pictures: recall@1" in stopped.out
    assert main([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["bundle"] == str(tmp_path / "run" / "shapes")
    assert printed["export_gap"] < 1e-4
    assert len(losses(tmp_path / "run")) == 3
    assert main([*command[:5], "--checkpoint", str(drawn), "--out", str(tmp_path / "other")]) != 0
    assert "not a model folder" in capsys.readouterr().err


def test_the_libraries_open_beside_a_torch_that_torchvision_was_not_built_for() -> None:
    """In a process of its own: what declares the missing operators for these tests must not help."""
    code = (
        "from crosslens.train.torchvision_compat import load_torchvision; "
        "load_torchvision(); load_torchvision(); "
        "import peft, open_clip, torchvision; from transformers import AutoModel"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
