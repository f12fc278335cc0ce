"""Conversion of text towers trained for another model's pictures: sentence-transformers and M-CLIP.

The bundle gets the image tower of the model they fit, and names that model's space as its own, so that a
library of its pictures stays searchable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from numpy.typing import NDArray
from tokenizers import Tokenizer

from crosslens.acquire.convert import tokenizers
from crosslens.acquire.convert.hugging import ACTIVATIONS
from crosslens.acquire.convert.layout import Layout
from crosslens.acquire.convert.result import Converted
from crosslens.acquire.convert.source import Source, read_json
from crosslens.errors import ConversionError
from crosslens.models.bundle import Bundle
from crosslens.models.spec import Networks, NetworkSpec, Pool, TextSpec
from crosslens.models.weights import read_weights

# heads, activation and epsilon under the names that each kind gives them, and transformers' defaults.
_KINDS: dict[str, tuple[tuple[str, int], tuple[str, str], tuple[str, float]]] = {
    "distilbert": (("n_heads", 12), ("activation", "gelu"), ("", 1e-12)),
    "bert": (("num_attention_heads", 12), ("hidden_act", "gelu"), ("layer_norm_eps", 1e-12)),
    "roberta": (("num_attention_heads", 12), ("hidden_act", "gelu"), ("layer_norm_eps", 1e-12)),
    "xlm-roberta": (("num_attention_heads", 12), ("hidden_act", "gelu"), ("layer_norm_eps", 1e-12)),
}


@dataclass(frozen=True, slots=True)
class TextTower:
    """A text tower by itself: weights under our names, network, tokeniser, and tokens of its longest text.

    words: where the tokeniser's files lie.
    """

    weights: dict[str, NDArray[Any]]
    network: NetworkSpec
    tokenizer: Tokenizer
    length: int
    words: Source

    @property
    def pad_id(self) -> int:
        """Of the padding token."""
        default = "<pad>" if self.tokenizer.token_to_id("<pad>") else "[PAD]"
        return tokenizers.pad_id(self.words, self.tokenizer, default)


def convert_sentence_transformer(source: Source, base: Bundle) -> Converted:
    """A folder with modules.json, beside the image tower that it fits. Raises ConversionError."""
    return _joined(source, base, read_sentence_transformer(source))


def read_sentence_transformer(source: Source) -> TextTower:
    """A folder with modules.json: a transformer, a pooling, perhaps a dense layer. Raises ConversionError."""
    modules = _modules(source)
    inner = Source("hugging", source.folder / modules.pop("Transformer"))
    kind = str(inner.read("config.json").get("model_type"))
    if kind not in _KINDS:
        _refuse(source, f"its transformer is a {kind}", f"Supported are {', '.join(_KINDS)}")
    pool = _pool(source, source.folder / modules.pop("Pooling") / "config.json")
    dense = modules.pop("Dense", None)
    modules.pop("Normalize", None)
    if modules:
        _refuse(source, f"it has modules {', '.join(modules)}", "Supported are Transformer, Pooling, Dense")
    moved = Layout(inner.tensors())
    prefix = "distilbert." if moved.has("distilbert.embeddings.word_embeddings.weight") else ""
    moved.bert(prefix, first_position=2 if "roberta" in kind else 0)
    moved.refuse_rest(r"(.*\.)?pooler\.|vocab_|cls\.|lm_head\.")
    if dense is not None:
        _dense(source, dense, moved)
    facts = inner.read_any("sentence_bert_config.json")
    tokenizer = tokenizers.from_folder(inner, *_vocabulary(kind))
    if facts.get("do_lower_case"):
        tokenizer = tokenizers.lower_case(tokenizer)
    # Newer versions state the length with the tokeniser.
    positions = len(moved.made["text.positions"])
    length = min(positions, int(facts.get("max_seq_length") or tokenizers.context(inner, positions)))
    return TextTower(moved.made, _network(inner, kind, pool), tokenizer, length, inner)


def convert_mclip(source: Source, base: Bundle) -> Converted:
    """M-CLIP: a transformer whose mean state goes through one linear layer. Raises ConversionError."""
    moved = Layout(source.tensors())
    of_roberta = "roberta" in str(source.read("config.json").get("modelBase", "")).lower()
    moved.bert("transformer.", first_position=2 if of_roberta else 0)
    moved.pair("text.projection", "LinearTransformation")
    moved.refuse_rest(r"transformer\.pooler\.")
    heads = moved.made["text.tokens"].shape[1] // 64  # of all models that M-CLIP builds on
    network = NetworkSpec(heads, "gelu", "after", 1e-5 if of_roberta else 1e-12, "mean", masked=True)
    kind = "xlm-roberta" if of_roberta else "bert"
    tokenizer = tokenizers.from_folder(source, *_vocabulary(kind))
    length = tokenizers.context(source, len(moved.made["text.positions"]))
    return _joined(source, base, TextTower(moved.made, network, tokenizer, length, source))


def _joined(source: Source, base: Bundle, text: TextTower) -> Converted:
    """The text tower beside the base's image tower."""
    towers = base.spec.towers
    if not isinstance(towers, Networks):
        raise ConversionError(
            f"the image tower of {base.folder} is a graph, which cannot be joined with another text tower",
            "Convert the base model from its safetensors",
        )
    projection = text.weights.get("text.projection.weight", text.weights["text.tokens"].T)
    if len(projection) != base.spec.dimension:
        raise ConversionError(
            f"{source.folder} makes vectors of {len(projection)} numbers, {base.spec.name} of "
            f"{base.spec.dimension}",
            "Give the model whose image tower it was taught to fit",
        )
    images = read_weights(base.weights(towers), "image.")
    return Converted(
        dimension=base.spec.dimension,
        logit_scale=base.spec.logit_scale,
        image=base.spec.image,
        image_network=towers.image,
        text=TextSpec(text.length, text.pad_id),
        text_network=text.network,
        weights={**images, **text.weights},
        tokenizer=text.tokenizer,
        space=base.spec.identity,
    )


def _modules(source: Source) -> dict[str, str]:
    """Kind → folder, of modules.json."""
    path = source.folder / "modules.json"
    listed = read_json_list(path)
    found: dict[str, str] = {}
    for module in listed:
        kind, folder = str(module.get("type", "")).split(".")[-1], str(module.get("path", ""))
        if ".." in folder.split("/") or folder.startswith("/"):
            _refuse(source, f"modules.json names the folder {folder!r}", "Download it again")
        found[kind] = folder
    for kind in ("Transformer", "Pooling"):
        if kind not in found:
            _refuse(source, f"modules.json names no {kind}", "Supported are Transformer, Pooling, Dense")
    return found


def read_json_list(path: Any) -> list[dict[str, Any]]:
    """A JSON list of objects."""
    import json

    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConversionError(f"{path} cannot be read ({error})", "Download it again") from error
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise ConversionError(f"{path} is no list of modules", "Download it again")
    return value


def _pool(source: Source, path: Any) -> Pool:
    facts = read_json(path)
    modes = {key for key, value in facts.items() if key.startswith("pooling_mode_") and value is True}
    named = facts.get("pooling_mode")
    if modes == {"pooling_mode_mean_tokens"} or named in ("mean", ["mean"]):
        return "mean"
    if modes == {"pooling_mode_cls_token"} or named in ("cls", ["cls"]):
        return "first"
    return _refuse(source, f"it pools by {named or sorted(modes)}", "Supported are the mean and the first")


def _dense(source: Source, folder: str, moved: Layout) -> None:
    inner = Source("hugging", source.folder / folder)
    activation = str(inner.read("config.json").get("activation_function", "Identity")).split(".")[-1]
    if activation != "Identity":
        _refuse(source, f"its dense layer ends with {activation}", "Supported is one without activation")
    layer = Layout(inner.tensors())
    layer.pair("text.projection", "linear")
    moved.made.update(layer.made)


def _network(inner: Source, kind: str, pool: Pool) -> NetworkSpec:
    config = inner.read("config.json")
    heads, activation, epsilon = _KINDS[kind]
    named = config.get(activation[0], activation[1])
    if named not in ACTIVATIONS:
        _refuse(inner, f"its activation is {named}", f"Supported are {', '.join(map(str, ACTIVATIONS))}")
    return NetworkSpec(
        heads=int(config.get(*heads)),
        activation=ACTIVATIONS[named],
        norm="after",
        epsilon=float(config.get(*epsilon)),
        pool=pool,
        masked=True,
    )


def _vocabulary(kind: str) -> tuple[str, ...]:
    return ("xlm-roberta",) if kind == "xlm-roberta" else ("bert",)


def _refuse(source: Source, reason: str, supported: str) -> NoReturn:
    raise ConversionError(f"{source.folder} is not supported: {reason}", supported)
