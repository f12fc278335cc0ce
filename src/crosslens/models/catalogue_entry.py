"""An entry of the model catalogue: repository, revision, sizes, licence, scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crosslens import app_folders

STARTER = "starter"

# One of these alternatives, each a set of files; () among them: none is needed.
Choice = tuple[tuple[str, ...], ...]

_TOKENISER: Choice = (
    ("tokenizer.json",),
    ("vocab.json", "merges.txt"),
    ("spiece.model",),
    ("sentencepiece.bpe.model",),
    ("vocab.txt",),
)
_TOKENISER_FACTS: tuple[Choice, ...] = (
    (("tokenizer_config.json",), ()),
    (("special_tokens_map.json",), ()),
)
_HUGGING_WEIGHTS: Choice = (("model.safetensors",), ("pytorch_model.bin",))
_OPENCLIP_WEIGHTS: Choice = (
    ("open_clip_model.safetensors",),
    ("open_clip_pytorch_model.safetensors",),
    ("open_clip_pytorch_model.bin",),
)

# What is fetched of a repository, by the format of its files; the first file tells the format.
HUGGING: tuple[Choice, ...] = (
    (("config.json",),),
    (("preprocessor_config.json",),),
    _TOKENISER,
    *_TOKENISER_FACTS,
    _HUGGING_WEIGHTS,
)
TEXT_TOWER: tuple[Choice, ...] = ((("config.json",),), _TOKENISER, *_TOKENISER_FACTS, _HUGGING_WEIGHTS)
OPENCLIP: tuple[Choice, ...] = (
    (("open_clip_config.json",), ()),
    (*_TOKENISER, ()),
    *_TOKENISER_FACTS,
    _OPENCLIP_WEIGHTS,
)
SENTENCE: tuple[Choice, ...] = (
    (("modules.json",),),
    (("config.json",),),
    (("sentence_bert_config.json",), ()),
    (("1_Pooling/config.json",),),
    (("2_Dense/config.json",),),
    _TOKENISER,
    *_TOKENISER_FACTS,
    (("2_Dense/model.safetensors",), ("2_Dense/pytorch_model.bin",)),
    _HUGGING_WEIGHTS,
)
ONNX: tuple[Choice, ...] = (
    (("visual/preprocess_cfg.json",),),
    (("config.json",), ()),
    (("textual/tokenizer.json",),),
    (("textual/tokenizer_config.json",), ()),
    (("textual/special_tokens_map.json",), ()),
    (("textual/model.onnx",),),
    (("visual/model.onnx",),),
)

SOURCES = {
    "open_clip": "mlfoundations/open_clip, docs/openclip_results.csv at f862f86c and "
    "docs/openclip_retrieval_results.csv at 05e7db49: zero-shot, measured by OpenCLIP for all models alike",
    "big_vision": "google-research/big_vision, README_siglip2.md at 1659d429, table of checkpoints: measured "
    "by SigLIP 2's authors with code of their own, so small differences to OpenCLIP's figures mean nothing",
    "cn_clip": "OFA-Sys/Chinese-CLIP, Results.md at 3f4b8d8d: zero-shot, on Chinese captions",
    "mclip": "FreddeFrallan/Multilingual-CLIP, README.md at 019b3f88: text → image recall@10 on human "
    "translations of MS-COCO captions",
    "card": "the model's own card",
}


@dataclass(frozen=True, slots=True)
class Scores:
    """Zero-shot figures, percent: ImageNet-1k top-1; R@1 on COCO and Flickr30k, by text and by image.

    source: a key of `SOURCES`.
    """

    imagenet: float | None
    coco_text_to_image: float | None
    coco_image_to_text: float | None
    flickr_text_to_image: float | None
    flickr_image_to_text: float | None
    source: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A model that can be asked for by name.

    repo: where its files are on the hub; None: it is part of this package. layout: which of them are fetched.
    parameters: millions, of both towers, of the image tower, of the text tower.
    image_tower: for a text tower alone, the model whose pictures it was taught to fit.
    architecture: a key of `ARCHITECTURES`, for a repository that may lack its configuration.
    scripts: as in `ModelSpec`. recommended: for what; "" if not.
    """

    name: str
    family: str
    repo: str | None
    revision: str | None
    layout: tuple[Choice, ...]
    parameters: tuple[float, float, float]
    dimension: int
    image_size: int
    context: int
    languages: str
    licence: str
    scores: Scores | None
    recommended: str = ""
    image_tower: str | None = None
    architecture: str | None = None
    scripts: tuple[str, ...] = ()
    notes: str = ""

    @property
    def folder(self) -> Path:
        """Where its bundle lies, once it is there."""
        if self.name == STARTER:
            return Path(__file__).parent / STARTER
        return app_folders.models() / self.name

    @property
    def download(self) -> int:
        """About how many bytes are fetched: four to a parameter."""
        own = self.parameters[2] if self.image_tower else self.parameters[0]
        return round(own * 4e6)
