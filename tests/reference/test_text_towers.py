"""Multilingual text towers that fit another model's pictures, compared with what they come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from same import TEXTS, least_cosine, randomise, same_ids
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules as models
from test_openclip import roberta_tokenizer
from test_transformers import bert_words, clip_tokenizer

from crosslens import Matcher
from crosslens.acquire.convert.convert import convert
from crosslens.errors import ConversionError
from crosslens.library.library import Library
from crosslens.models.bundle import Bundle


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The model whose pictures the text towers fit."""
    folder = tmp_path_factory.mktemp("base")
    config = transformers.CLIPConfig(
        text_config={"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
                     "num_attention_heads": 2, "vocab_size": 49408, "bos_token_id": 49406,
                     "eos_token_id": 49407},
        vision_config={"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2,
                       "num_attention_heads": 4, "image_size": 64, "patch_size": 16},
        projection_dim=40,
    )  # fmt: skip
    randomise(transformers.CLIPModel(config)).save_pretrained(folder / "source")
    transformers.CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size=64).save_pretrained(
        folder / "source"
    )
    clip_tokenizer().save_pretrained(folder / "source")
    return convert(folder / "source", folder / "base")


def bert_tokenizer() -> Any:
    words = {word: number for number, word in enumerate(bert_words())}
    return transformers.BertTokenizer(vocab=words, do_lower_case=False, model_max_length=512)


def check(family: str, bundle: Bundle, base: Bundle, photographs: list[Path], wanted: torch.Tensor) -> None:
    found = Matcher(bundle.folder, precision="f32", device="cpu")
    least = least_cosine(found.embed_texts(list(TEXTS)), wanted.detach().float().numpy())
    print(f"\nPARITY {family}: text {least:.7f}")
    assert least >= 0.99999
    assert bundle.spec.identity == base.spec.identity
    other = Matcher(base.folder, precision="f32", device="cpu")
    assert (found.embed_images(photographs) == other.embed_images(photographs)).all()


@pytest.mark.parametrize("dense", [True, False])
def test_sentence_transformers(base: Bundle, photographs: list[Path], tmp_path: Path, dense: bool) -> None:
    tokenizer = bert_tokenizer()
    width = 64 if dense else 40
    config = transformers.DistilBertConfig(
        vocab_size=len(tokenizer),
        dim=width,
        n_layers=2,
        n_heads=4,
        hidden_dim=96,
        max_position_embeddings=512,
    )
    transformers.DistilBertModel(config).save_pretrained(tmp_path / "inner")
    tokenizer.save_pretrained(tmp_path / "inner")
    parts = [models.Transformer(str(tmp_path / "inner"), max_seq_length=60)]
    parts.append(models.Pooling(width))
    if dense:
        parts.append(models.Dense(width, 40, bias=False, activation_function=torch.nn.Identity()))
    model = SentenceTransformer(modules=parts, device="cpu")
    randomise(model, seed=3)
    model.save(str(tmp_path / "source"))
    bundle = convert(tmp_path / "source", tmp_path / "out", image_tower=base.folder)
    wanted = model.encode(list(TEXTS), convert_to_tensor=True)
    check(f"sentence-transformers dense={dense}", bundle, base, photographs, wanted)
    same_ids(
        "sentence-transformers",
        bundle.folder,
        lambda text: tokenizer(text, padding="max_length", max_length=60, truncation=True).input_ids,
    )


def test_mclip(base: Bundle, photographs: list[Path], tmp_path: Path) -> None:
    """As M-CLIP writes it: the tensors of a transformer and of one linear layer, and a config of its own."""
    tokenizer = roberta_tokenizer(tmp_path)
    config = transformers.XLMRobertaConfig(
        vocab_size=len(tokenizer), hidden_size=128, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=96, max_position_embeddings=514, pad_token_id=1, type_vocab_size=1,
        layer_norm_eps=1e-5,
    )  # fmt: skip

    class MultilingualCLIP(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.transformer = transformers.XLMRobertaModel(config)
            self.LinearTransformation = torch.nn.Linear(128, 40)

        def forward(self, texts: list[str]) -> torch.Tensor:
            tokens = tokenizer(texts, padding=True, return_tensors="pt")
            states = self.transformer(**tokens)[0]
            seen = tokens["attention_mask"]
            mean = (states * seen.unsqueeze(2)).sum(dim=1) / seen.sum(dim=1)[:, None]
            return self.LinearTransformation(mean)

    model = randomise(MultilingualCLIP(), seed=4)
    source = tmp_path / "source"
    tokenizer.save_pretrained(source)
    torch.save(model.state_dict(), source / "pytorch_model.bin")
    facts = {
        "model_type": "M-CLIP",
        "modelBase": "xlm-roberta-large",
        "numDims": 40,
        "transformerDimensions": 128,
    }
    (source / "config.json").write_text(json.dumps(facts))
    bundle = convert(source, tmp_path / "out", image_tower=base.folder)
    with torch.inference_mode():
        wanted = model(list(TEXTS))
    check("M-CLIP", bundle, base, photographs, wanted)
    same_ids(
        "M-CLIP",
        bundle.folder,
        lambda text: tokenizer(text, padding="max_length", max_length=512, truncation=True).input_ids,
    )


def test_a_library_of_the_base_model_is_searched_with_the_other_text_tower(
    base: Bundle, photographs: list[Path], tmp_path: Path
) -> None:
    tokenizer = bert_tokenizer()
    config = transformers.DistilBertConfig(
        vocab_size=len(tokenizer), dim=40, n_layers=1, n_heads=4, hidden_dim=96, max_position_embeddings=64
    )
    transformers.DistilBertModel(config).save_pretrained(tmp_path / "inner")
    tokenizer.save_pretrained(tmp_path / "inner")
    parts = [models.Transformer(str(tmp_path / "inner"), max_seq_length=64), models.Pooling(40)]
    SentenceTransformer(modules=parts, device="cpu").save(str(tmp_path / "source"))
    bundle = convert(tmp_path / "source", tmp_path / "out", image_tower=base.folder)
    with Library.open(tmp_path / "library", model=base.folder) as library:
        library.index([photographs[0].parent])
    with Library.open(tmp_path / "library", model=bundle.folder) as library:
        assert len(library.search("一只猫", k=3)) == 3


def test_a_text_tower_asks_for_the_model_it_fits(base: Bundle, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "modules.json").write_text("[]")
    with pytest.raises(ConversionError, match="text tower without an image tower"):
        convert(source, tmp_path / "out")
