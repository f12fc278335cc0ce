"""Checkpoints that open_clip made, converted and compared with open_clip."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import open_clip
import pytest
import timm
import torch
import transformers
from safetensors.torch import save_file
from same import compare, many_texts, randomise, same_ids
from test_transformers import clip_tokenizer, gemma_tokenizer, sentencepiece_model

from crosslens.acquire.convert.convert import convert
from crosslens.models.bundle import load_bundle
from crosslens.models.spec import NetworkSpec
from crosslens.texts.normalization import CLEANERS

VISION = {"image_size": 64, "layers": 3, "width": 48, "head_width": 16, "patch_size": 16}
WORDS = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
OPENAI = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}


def folder_of(model: Any, config: dict[str, Any], folder: Path, prepared: dict[str, Any], kind: str) -> Path:
    """As open_clip's push_to_hf_hub writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    if kind == "safetensors":
        save_file(state, folder / "open_clip_model.safetensors")
    else:
        torch.save({"epoch": 1, "state_dict": {f"module.{name}": value for name, value in state.items()}},
                   folder / "open_clip_pytorch_model.bin")  # fmt: skip
    whole = {"model_cfg": config, "preprocess_cfg": prepared}
    (folder / "open_clip_config.json").write_text(json.dumps(whole))
    return folder


def check(family: str, model: Any, source: Path, photographs: list[Path], out: Path, **known: Any) -> None:
    """Compare with open_clip's own preprocessing and tokeniser, made from the folder as open_clip does."""
    prepared = json.loads((source / "open_clip_config.json").read_text())["preprocess_cfg"]
    size = model.visual.image_size
    transform = open_clip.transform.image_transform_v2(
        open_clip.transform.PreprocessCfg(**{"size": size, **prepared}), is_train=False
    )
    tokenizer = open_clip.get_tokenizer(f"local-dir:{source}")
    convert(source, out)
    compare(
        family,
        out,
        photographs,
        lambda pictures: model.encode_image(torch.stack([transform(picture) for picture in pictures])),
        lambda texts: model.encode_text(tokenizer(texts)),
    )
    same_ids(family, out, lambda text: tokenizer([text])[0].tolist(), **known)


@pytest.mark.parametrize(
    ("activation", "kind", "prepared"),
    [
        ("quick_gelu", "safetensors", {"interpolation": "bicubic", "resize_mode": "shortest"}),
        ("gelu", "bin", {"interpolation": "bilinear", "resize_mode": "squash"}),
        ("gelu", "safetensors", {"resize_mode": "longest", "fill_color": 127}),
        ("gelu", "safetensors", {}),
    ],
)
def test_openclip(
    photographs: list[Path], tmp_path: Path, activation: str, kind: str, prepared: dict[str, Any]
) -> None:
    config = {
        "embed_dim": 40,
        "quick_gelu": activation == "quick_gelu",
        "vision_cfg": VISION,
        "text_cfg": WORDS,
    }
    model = randomise(open_clip.model.CLIP(**config))
    source = folder_of(model, config, tmp_path / "source", {**OPENAI, **prepared}, kind)
    check(f"open_clip {activation} {kind} {prepared}", model, source, photographs, tmp_path / "out")


def test_openclip_with_transformers_tokeniser_files_beside_it(
    photographs: list[Path], tmp_path: Path
) -> None:
    """As LAION's repositories have them; open_clip uses its own all the same."""
    config = {
        "embed_dim": 40,
        "vision_cfg": {**VISION, "no_ln_pre": True},
        "text_cfg": WORDS,
        "custom_text": True,
    }
    model = randomise(
        open_clip.model.CustomTextCLIP(**{k: v for k, v in config.items() if k != "custom_text"})
    )
    source = folder_of(model, config, tmp_path / "source", OPENAI, "safetensors")
    clip_tokenizer().save_pretrained(source)
    check("open_clip custom text", model, source, photographs, tmp_path / "out")


def test_openai(photographs: list[Path], tmp_path: Path) -> None:
    """A TorchScript archive with OpenAI's names, in half precision as OpenAI's are."""
    vision, words = {**VISION, "width": 64, "head_width": 64}, {**WORDS, "width": 64, "heads": 1}
    model = open_clip.model.CLIP(40, vision, words, quick_gelu=True)
    randomise(model)
    open_clip.model.convert_weights_to_fp16(model)

    class Archive(torch.nn.Module):
        """The state of OpenAI's archives: the model's tensors and three numbers."""

        def __init__(self) -> None:
            super().__init__()
            for name in ("visual", "transformer", "token_embedding", "ln_final"):
                setattr(self, name, getattr(model, name))
            for name in ("positional_embedding", "text_projection", "logit_scale"):
                setattr(self, name, getattr(model, name))
            for name, value in (("input_resolution", 64), ("context_length", 77), ("vocab_size", 49408)):
                self.register_buffer(name, torch.tensor(value))

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.token_embedding(ids)

    path = tmp_path / "ViT-tiny.pt"
    torch.jit.trace(Archive(), torch.zeros(1, 77, dtype=torch.long)).save(str(path))
    bundle = convert(path, tmp_path / "out")
    assert (bundle.spec.name, bundle.spec.towers.image.activation) == ("ViT-tiny", "quick_gelu")
    model.float()
    transform = open_clip.transform.image_transform_v2(
        open_clip.transform.PreprocessCfg(size=64), is_train=False
    )
    compare(
        "OpenAI .pt",
        tmp_path / "out",
        photographs,
        lambda pictures: model.encode_image(torch.stack([transform(picture) for picture in pictures])),
        lambda texts: model.encode_text(open_clip.tokenize(texts)),
    )
    same_ids("OpenAI .pt", tmp_path / "out", lambda text: open_clip.tokenize([text])[0].tolist())


def roberta_tokenizer(folder: Path) -> Any:
    """XLM-RoBERTa's, on a small sentencepiece model."""
    pytest.importorskip("sentencepiece")
    from transformers.convert_slow_tokenizer import SpmConverter  # noqa: F401 (says that it is there)

    path = sentencepiece_model(folder / "spm")
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(str(path))
    scores = [(model.id_to_piece(n), model.get_score(n)) for n in range(3, len(model))]
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    return transformers.XLMRobertaTokenizer(vocab=[*special, *scores, ("<mask>", 0.0)], model_max_length=512)


@pytest.mark.parametrize("projection", ["mlp", "linear"])
def test_openclip_with_xlm_roberta(photographs: list[Path], tmp_path: Path, projection: str) -> None:
    source = tmp_path / "source"
    tokenizer = roberta_tokenizer(tmp_path)
    tokenizer.save_pretrained(source)
    transformers.XLMRobertaConfig(
        vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=1,
        intermediate_size=96, max_position_embeddings=514, pad_token_id=1, type_vocab_size=1,
        layer_norm_eps=1e-5,
    ).save_pretrained(tmp_path / "tiny-xlm-roberta")  # fmt: skip
    words = {
        "hf_model_name": str(tmp_path / "tiny-xlm-roberta"),
        "hf_tokenizer_name": str(source),
        "hf_proj_type": projection,
        "hf_pooler_type": "mean_pooler",
        "hf_model_pretrained": False,
    }
    config = {"embed_dim": 40, "vision_cfg": VISION, "text_cfg": words}
    model = randomise(open_clip.model.CustomTextCLIP(**config))
    folder_of(model, config, source, OPENAI, "safetensors")
    check(f"open_clip XLM-RoBERTa {projection}", model, source, photographs, tmp_path / "out")


@contextmanager
def small_timm() -> Iterator[None]:
    """timm's own builders of SigLIP's towers, with fewer blocks and less width."""
    create = timm.create_model

    def smaller(name: str, **options: Any) -> Any:
        return create(name, depth=2, embed_dim=48, img_size=64, **options)

    with mock.patch.object(timm, "create_model", smaller):
        yield


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("vit_base_patch16_siglip_224", "c4"),
        ("vit_so400m_patch16_siglip_256", "gemma"),
        ("vit_base_patch32_siglip_256", "gemma"),
    ],
)
def test_openclip_siglip(photographs: list[Path], tmp_path: Path, name: str, kind: str) -> None:
    source = tmp_path / "source"
    if kind == "gemma":
        tokenizer = gemma_tokenizer()
        # open_clip reads Gemma's class, which leaves lower-casing to its own cleaning.
        tokenizer = transformers.GemmaTokenizer(
            vocab=tokenizer._vocab, merges=tokenizer._merges, add_bos_token=False, add_eos_token=True,
            padding_side="right",
        )  # fmt: skip
    else:
        pytest.importorskip("sentencepiece")
        import sentencepiece

        model = sentencepiece.SentencePieceProcessor(str(sentencepiece_model(tmp_path / "spm")))
        vocabulary = [(model.id_to_piece(n), model.get_score(n)) for n in range(len(model))]
        tokenizer = transformers.T5Tokenizer(vocab=vocabulary, extra_ids=0, pad_token="</s>")  # noqa: S106 (no password)
    tokenizer.save_pretrained(source)
    heads = 16 if "so400m" in name else 12
    words = {
        "context_length": 64, "vocab_size": len(tokenizer), "hf_tokenizer_name": str(source), "width": 48,
        "tokenizer_kwargs": {"clean": "canonicalize"}, "heads": heads, "layers": 2, "no_causal_mask": True,
        "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6},
        **({"act_kwargs": {"approximate": "tanh"}} if kind == "gemma" else {}),
    }  # fmt: skip
    vision = {"image_size": 64, "timm_model_name": name, "timm_pool": "map", "timm_proj": "none"}
    config = {"embed_dim": 48, "init_logit_bias": -10, "vision_cfg": vision, "text_cfg": words}
    with small_timm():
        model = randomise(open_clip.model.CustomTextCLIP(**config))
    prepared = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    folder_of(model, config, source, prepared, "safetensors")
    check(f"open_clip SigLIP {name} {kind}", model, source, photographs, tmp_path / "out")
    # Both forms of GELU are so near to each other that vectors hardly tell them apart.
    towers = load_bundle(tmp_path / "out").spec.towers
    exact = isinstance(model.visual.trunk.blocks[0].mlp.act, torch.nn.GELU) and (
        model.visual.trunk.blocks[0].mlp.act.approximate == "none"
    )
    assert towers.image == NetworkSpec(heads, "gelu" if exact else "gelu_tanh", "before", 1e-6, "attention")
    assert towers.text == NetworkSpec(heads, "gelu" if kind == "c4" else "gelu_tanh", "before", 1e-6, "last")


def test_cleaning_is_open_clips() -> None:
    theirs = {
        kind: open_clip.tokenizer.get_clean_fn(kind) for kind in ("whitespace", "lower", "canonicalize")
    }
    for text in (*many_texts(2000, 11), "schÃ¶n", "doesnâ€™t", "a &amp;lt; b", "\x1b[31mred"):
        assert {kind: clean(text) for kind, clean in theirs.items()} == {
            kind: CLEANERS[kind](text) for kind in theirs
        }


def test_many_texts_hold_what_is_hard() -> None:
    texts = many_texts()
    assert len(texts) >= 200
    assert len(set(texts)) > 190
