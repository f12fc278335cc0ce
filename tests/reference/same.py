"""What the reference tests share: texts, randomness, and the comparison of both towers."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from crosslens import Matcher
from crosslens.models.bundle import load_bundle
from crosslens.texts.tokenizer import FastTokenizer

# For vectors: none is empty once it is cleaned.
TEXTS = (
    "a photo of a cat",
    "A Photo Of TWO DOGS playing in the snow!",
    "it's raining; the streets aren't dry...",
    "Crème brûlée & café au lait, déjà vu",
    "ein großer Hund läuft über die Straße",
    "一只猫坐在沙发上",
    "夕日に染まる富士山",
    "собака на пляже",
    "كلب يركض على الشاطئ",
    "🐶 and 🐱 are friends ❤️👨‍👩‍👧",
    "x",
    "  spaces   around\tand\nbetween  ",
    "1234567890 km/h at 12:45",
    "don't you'll we've I'm he'd they're",
    "e-mail: someone@example.com, #hashtag_with_underscores",
    "$100 <b>bold</b> 50% (off)",
    "naïve façade coöperation Ångström Œuvre",
    "the quick brown fox jumps over the lazy dog " * 12,
    "ΌΔΟΣ ΣΊΣΥΦΟΣ",
    "Ünïcödé ñandú",
)


# Asked for is 0.9999; without torch's and OpenVINO's rounding in common, 0.99999 is what float32 gives.
BAR = 0.99999
COUNT = int(os.environ.get("CROSSLENS_TEXTS", "240"))


def many_texts(count: int = COUNT, seed: int = 0) -> list[str]:
    """Captions, and strings of letters of many scripts in any order."""
    rng = random.Random(seed)  # noqa: S311 (no secret)
    nouns = [
        "cat",
        "DOG",
        "skyscraper",
        "Crème brûlée",
        "child's bicycle",
        "T-shirt",
        "沙发",
        "горы",
        "🍕",
        "naïveté",
    ]
    frames = [
        "a photo of a {}",
        "{} & {}",
        "A {} in front of the {}.",
        "{}!!! {}???",
        "“{}” — {}",
        "{}_{}",
        "({}) [{}]",
    ]
    texts = [
        *TEXTS,
        ".",
        "!?",
        "the",
        "a" * 300,
        "word " * 200,
        "?!" * 80,
        "İstanbul",
        "ﬁne ﬂow",
        "１２３ＡＢＣ",
        "Tom &amp; Jerry",
        "&quot;so&quot; &#39;it&#39; is",
        "5 &lt; 6 <b>&nbsp;",
        "it’s ‘here’",
        "<|endoftext|>",
    ]
    blocks = [
        "abcdefgh ABC",
        "äöüßéèñ",
        "αβγδΣς",
        "бвгдеЖ",
        "漢字仮名かな",
        "한국어",
        "हिन्दी",
        "עברית",
        "🙂🚀👍🏽",
        "0123456789",
        ".,;:!?-_'\"()",
        "\t \n",
    ]
    while len(texts) < count:
        if rng.random() < 0.5:
            frame = rng.choice(frames)
            texts.append(frame.format(*(rng.choice(nouns) for _ in range(frame.count("{}")))))
        else:
            letters = "".join(rng.choice(rng.choice(blocks)) for _ in range(rng.randint(1, 60)))
            texts.append(letters)
    return texts


def randomise(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Random weights, biases and norms, so large that every part shows in the vectors."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim == 0 or "logit" in name:
                continue
            noise = torch.randn(value.shape, generator=generator)
            is_scale = value.ndim == 1 and name.endswith("weight")
            spread = 0.2 if value.ndim == 1 else 1.3 / max(1, value[0].numel()) ** 0.5
            value.copy_(1 + 0.2 * noise if is_scale else spread * noise)
            if any(word in name for word in ("embed", "latent", "probe")) and value.ndim > 1:
                value.copy_(0.5 * noise)
    return model.eval()


def opened(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB")


def least_cosine(found: np.ndarray, wanted: np.ndarray) -> float:
    """Of row i with row i; `wanted` is normalised here."""
    assert found.shape == wanted.shape, (found.shape, wanted.shape)
    wanted = wanted.astype(np.float64)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    return float((found * wanted).sum(axis=1).min())


def compare(
    family: str,
    folder: Path,
    photographs: Sequence[Path],
    image_vectors: Callable[[list[Image.Image]], torch.Tensor],
    text_vectors: Callable[[list[str]], torch.Tensor],
    texts: Sequence[str] = TEXTS,
) -> None:
    """Files and texts → vectors, in both implementations; prints the least cosines."""
    matcher = Matcher(folder, precision="f32", decode="exact", device="cpu")
    with torch.inference_mode():
        wanted_images = image_vectors([opened(path) for path in photographs]).float().numpy()
        wanted_texts = text_vectors(list(texts)).float().numpy()
    found_images = matcher.embed_images(photographs)
    found_texts = matcher.embed_texts(list(texts))
    images, words = least_cosine(found_images, wanted_images), least_cosine(found_texts, wanted_texts)
    print(f"\nPARITY {family}: image {images:.7f}, text {words:.7f}")
    # Vectors that are all alike would agree whatever happened to them.
    for vectors in (found_images, found_texts):
        assert (vectors @ vectors.T).min() < 0.98, (vectors @ vectors.T).min()
    assert images >= BAR
    assert words >= BAR


def same_ids(
    family: str,
    folder: Path,
    reference: Callable[[str], list[int]],
    known: Callable[[str], bool] = lambda _: False,
) -> None:
    """Ids of many texts are equal. known: texts that may differ, for a reason that is written down."""
    bundle = load_bundle(folder)
    tokenize = FastTokenizer(bundle.tokenizer(), bundle.spec.text)
    texts = many_texts()
    found = tokenize(texts).ids
    different = [text for text, ids in zip(texts, found.tolist(), strict=True) if ids != reference(text)]
    print(f"\nIDS {family}: {len(texts) - len(different)} of {len(texts)} equal")
    unexpected = [text for text in different if not known(text)]
    assert not unexpected, unexpected[:5]
