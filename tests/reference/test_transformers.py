"""Folders that transformers wrote, converted and compared with transformers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import transformers
from same import compare, least_cosine, many_texts, opened, randomise, same_ids

from crosslens import Matcher
from crosslens.acquire.convert.convert import convert
from crosslens.models.spec import NetworkSpec

VISION = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4}
WORDS = {"hidden_size": 32, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 2}


def clip_tokenizer() -> Any:
    """CLIP's, from the vocabulary that open_clip has in it."""
    simple = open_clip.tokenizer.SimpleTokenizer()
    vocabulary = {
        {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}.get(word, word): number
        for word, number in simple.encoder.items()
    }
    merges = sorted(simple.bpe_ranks, key=simple.bpe_ranks.get)
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


def image_vectors(model: Any, processor: Any) -> Any:
    def embed(pictures: list[Any]) -> torch.Tensor:
        pixels = processor(images=pictures, return_tensors="pt")["pixel_values"]
        return model.get_image_features(pixel_values=pixels).pooler_output

    return embed


def text_vectors(model: Any, tokenizer: Any, **options: Any) -> Any:
    def embed(texts: list[str]) -> torch.Tensor:
        inputs = tokenizer(texts, return_tensors="pt", truncation=True, **options)
        names = ("input_ids",) if options.get("ids_only") else ("input_ids", "attention_mask")
        return model.get_text_features(**{name: inputs[name] for name in names}).pooler_output

    return embed


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any, Any]:
    config = transformers.CLIPConfig(
        text_config={**WORDS, "vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407},
        vision_config={**VISION, "image_size": 64, "patch_size": 16},
        projection_dim=40,
    )
    model = randomise(transformers.CLIPModel(config))
    processor = transformers.CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size=64)
    folder = tmp_path_factory.mktemp("clip") / "source"
    tokenizer = clip_tokenizer()
    for part in (model, processor, tokenizer):
        part.save_pretrained(folder)
    return folder, model, processor, tokenizer


def test_clip(clip: tuple[Path, Any, Any, Any], photographs: list[Path], tmp_path: Path) -> None:
    folder, model, processor, tokenizer = clip
    convert(folder, tmp_path / "out")
    compare(
        "transformers CLIP",
        tmp_path / "out",
        photographs,
        image_vectors(model, processor),
        text_vectors(model, tokenizer, padding="max_length", max_length=77),
    )
    same_ids(
        "transformers CLIP",
        tmp_path / "out",
        lambda text: tokenizer(text, padding="max_length", max_length=77, truncation=True).input_ids,
    )


def test_clip_by_the_processor_that_resizes_with_torchvision(
    clip: tuple[Path, Any, Any, Any], photographs: list[Path], tmp_path: Path
) -> None:
    """Torchvision resizes tensors otherwise than Pillow resizes pictures; the difference is printed."""
    folder, model, _, _ = clip
    convert(folder, tmp_path / "out")
    fast = transformers.CLIPImageProcessor(size={"shortest_edge": 64}, crop_size=64)
    with torch.inference_mode():
        wanted = image_vectors(model, fast)([opened(path) for path in photographs]).numpy()
    found = Matcher(tmp_path / "out", precision="f32", decode="exact").embed_images(photographs)
    least = least_cosine(found, wanted)
    print(f"\nPARITY transformers CLIP, torchvision's resizing: image {least:.7f}")
    assert least > 0.999


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_clip_in_half_precision(
    clip: tuple[Path, Any, Any, Any], photographs: list[Path], tmp_path: Path, dtype: str
) -> None:
    folder, _, processor, tokenizer = clip
    half = transformers.CLIPModel.from_pretrained(folder, dtype=getattr(torch, dtype))
    shutil.copytree(folder, tmp_path / "source")
    half.save_pretrained(tmp_path / "source")
    convert(tmp_path / "source", tmp_path / "out")
    compare(
        f"transformers CLIP {dtype}",
        tmp_path / "out",
        photographs,
        image_vectors(half.float(), processor),
        text_vectors(half.float(), tokenizer, padding="max_length", max_length=77),
    )


def test_clip_in_shards_in_pickles_and_with_old_tokeniser_files(
    clip: tuple[Path, Any, Any, Any], photographs: list[Path], tmp_path: Path
) -> None:
    folder, model, _, tokenizer = clip
    made = convert(folder, tmp_path / "whole").folder
    shards = tmp_path / "shards"
    shutil.copytree(folder, shards)
    (shards / "model.safetensors").unlink()
    model.save_pretrained(shards, max_shard_size="2MB")
    assert (shards / "model.safetensors.index.json").exists()
    pickle = tmp_path / "pickle"
    shutil.copytree(folder, pickle)
    (pickle / "model.safetensors").unlink()
    torch.save(model.state_dict(), pickle / "pytorch_model.bin")
    old = json.loads((pickle / "tokenizer.json").read_text())
    (pickle / "tokenizer.json").unlink()
    (pickle / "vocab.json").write_text(json.dumps(old["model"]["vocab"]))
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in old["model"]["merges"]]
    (pickle / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    sums = {(convert(source, tmp_path / f"{source.name}-out").folder / "model.safetensors").read_bytes()
            for source in (shards, pickle)}  # fmt: skip
    assert sums == {(made / "model.safetensors").read_bytes()}
    same_ids(
        "CLIP from vocab.json and merges.txt",
        tmp_path / "pickle-out",
        lambda text: tokenizer(text, padding="max_length", max_length=77, truncation=True).input_ids,
    )


def sentencepiece_model(folder: Path, vocabulary: int = 700) -> Path:
    """A small unigram model with T5's special pieces, trained on the texts."""
    import sentencepiece

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "texts.txt").write_text(
        "\n".join(" ".join(text.lower().split()) for text in many_texts(2000, 7))
    )
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "texts.txt"), model_prefix=str(folder / "spiece"), vocab_size=vocabulary,
        character_coverage=1.0, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
        hard_vocab_limit=False,
    )  # fmt: skip
    return folder / "spiece.model"


@pytest.fixture(scope="module")
def siglip_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    pytest.importorskip("sentencepiece")
    path = sentencepiece_model(tmp_path_factory.mktemp("spm"))
    return transformers.SiglipTokenizer(str(path))


def siglip_model(rows: int, **vision: Any) -> Any:
    config = transformers.SiglipConfig(
        text_config={**WORDS, "hidden_size": 48, "vocab_size": rows, "max_position_embeddings": 64,
                     "projection_size": 48},
        vision_config={**VISION, "image_size": 70, "patch_size": 16, **vision},
    )  # fmt: skip
    return randomise(transformers.SiglipModel(config), seed=1)


def test_siglip(siglip_tokenizer: Any, photographs: list[Path], tmp_path: Path) -> None:
    model = siglip_model(len(siglip_tokenizer))
    processor = transformers.SiglipImageProcessorPil(size={"height": 70, "width": 70})
    for part in (model, processor, siglip_tokenizer):
        part.save_pretrained(tmp_path / "source")
    bundle = convert(tmp_path / "source", tmp_path / "out")
    assert bundle.spec.match is not None
    assert bundle.spec.match.b == pytest.approx(float(model.logit_bias))
    # Both forms of GELU are so near to each other that vectors hardly tell them apart.
    assert bundle.spec.towers.image == NetworkSpec(4, "gelu_tanh", "before", 1e-6, "attention")
    assert bundle.spec.towers.text == NetworkSpec(2, "gelu_tanh", "before", 1e-6, "last")
    compare(
        "transformers SigLIP",
        tmp_path / "out",
        photographs,
        image_vectors(model, processor),
        text_vectors(model, siglip_tokenizer, padding="max_length", max_length=64, ids_only=True),
    )
    same_ids(
        "transformers SigLIP",
        tmp_path / "out",
        lambda text: siglip_tokenizer(text, padding="max_length", max_length=64, truncation=True).input_ids,
        # Cut into pieces of 15 and 16 letters, all ways have one score, and either library takes its own.
        known=lambda text: text == "a" * 300,
    )


def gemma_tokenizer() -> Any:
    """Byte-level fallback BPE as Gemma's, on the texts, lower-case as for SigLIP 2."""
    from tokenizers import Tokenizer, models, normalizers, trainers

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{number:02X}>" for number in range(256))]
    trained = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))  # noqa: S106
    trained.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=special, show_progress=False)
    trained.train_from_iterator([text for text in many_texts(900, 3) if text.isascii()], trainer)
    model = json.loads(trained.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    return transformers.Siglip2Tokenizer(
        vocab=model["vocab"], merges=merges, add_bos_token=False, add_eos_token=True, padding_side="right"
    )


def test_siglip_2(photographs: list[Path], tmp_path: Path) -> None:
    tokenizer = gemma_tokenizer()
    model = siglip_model(len(tokenizer), image_size=64)
    processor = transformers.SiglipImageProcessorPil(size={"height": 64, "width": 64}, resample=2)
    for part in (model, processor, tokenizer):
        part.save_pretrained(tmp_path / "source")
    convert(tmp_path / "source", tmp_path / "out")
    compare(
        "transformers SigLIP 2",
        tmp_path / "out",
        photographs,
        image_vectors(model, processor),
        text_vectors(model, tokenizer, padding="max_length", max_length=64, ids_only=True),
    )
    same_ids(
        "transformers SigLIP 2",
        tmp_path / "out",
        lambda text: tokenizer(text, padding="max_length", max_length=64, truncation=True).input_ids,
    )


def bert_words() -> list[str]:
    """A vocabulary of WordPiece that knows some words, and all their letters."""
    words = sorted({word for text in many_texts(300, 5) for word in text.lower().split() if word.isalpha()})
    letters = sorted(
        {letter for text in many_texts(300, 5) for letter in text.lower() if not letter.isspace()}
    )
    pieces = [*letters, *("##" + letter for letter in letters), *(w for w in words if len(w) > 1)]
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces]


@pytest.mark.parametrize("files", ["tokenizer.json", "vocab.txt"])
def test_chinese_clip(photographs: list[Path], tmp_path: Path, files: str) -> None:
    words = bert_words()
    tokenizer = transformers.BertTokenizer(vocab={word: number for number, word in enumerate(words)})
    config = transformers.ChineseCLIPConfig(
        text_config={**WORDS, "vocab_size": len(words), "max_position_embeddings": 60},
        vision_config={**VISION, "image_size": 64, "patch_size": 16},
        projection_dim=40,
    )
    model = randomise(transformers.ChineseCLIPModel(config), seed=2)
    processor = transformers.ChineseCLIPImageProcessorPil(
        size={"height": 64, "width": 64}, do_center_crop=False
    )
    for part in (model, processor, tokenizer):
        part.save_pretrained(tmp_path / "source")
    if files == "vocab.txt":
        (tmp_path / "source/tokenizer.json").unlink()
        (tmp_path / "source/vocab.txt").write_text("\n".join(words) + "\n")
    convert(tmp_path / "source", tmp_path / "out")
    compare(
        f"transformers Chinese-CLIP ({files})",
        tmp_path / "out",
        photographs,
        image_vectors(model, processor),
        text_vectors(model, tokenizer, padding=True, max_length=60),
    )
    same_ids(
        f"transformers Chinese-CLIP ({files})",
        tmp_path / "out",
        lambda text: tokenizer(text, padding="max_length", max_length=60, truncation=True).input_ids,
    )
