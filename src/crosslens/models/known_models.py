"""The table of known models: frozen data, nothing is looked up or guessed.

A revision pins a repository's commit; None: the commit of its main branch when it is pulled. Figures are
published ones, in percent, each with its source (`entry.SOURCES`); None: not published, or not found.
"""

from __future__ import annotations

from typing import Any

from crosslens.models.catalogue_entry import HUGGING, OPENCLIP, SENTENCE, STARTER, TEXT_TOWER, Entry, Scores

_MIT_CODE = "MIT (of the code; none is declared for the weights)"
_BY_BOT = (
    "The commit is the hub's own conversion to safetensors, offered to the repository, not merged there."
)
_ONLY_BIN = "The weights are a PyTorch file, so pulling it takes the torch extra."
_COPY = "Measured by OpenCLIP on its own copy of the weights."

Three = tuple[float, float, float]
Five = tuple[float, float, float, float, float]

_B32: Three = (151.28, 87.85, 63.43)
_B16: Three = (149.62, 86.19, 63.43)
_L14: Three = (427.62, 303.97, 123.65)

_OPENAI_PIXELS = {
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
}


def _clip_config(size: int, patch: int) -> dict[str, Any]:
    text = {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}
    vision = {"image_size": size, "layers": 12, "width": 768, "patch_size": patch}
    model = {"embed_dim": 512, "vision_cfg": vision, "text_cfg": text}
    return {"model_cfg": model, "preprocess_cfg": _OPENAI_PIXELS}


def _xlm_config(size: str, dimension: int, **vision: int) -> dict[str, Any]:
    name = f"xlm-roberta-{size}"
    text = {"hf_model_name": name, "hf_tokenizer_name": name, "hf_pooler_type": "mean_pooler"}
    model = {"embed_dim": dimension, "vision_cfg": {"image_size": 224, **vision}, "text_cfg": text}
    return {"model_cfg": model, "preprocess_cfg": _OPENAI_PIXELS}


# open_clip_config.json for repositories that lack it, from open_clip 3.3.0's model_configs.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "ViT-B-32": _clip_config(224, 32),
    "ViT-B-32-256": _clip_config(256, 32),
    "ViT-B-16": _clip_config(224, 16),
    "xlm-roberta-base-ViT-B-32": _xlm_config("base", 512, layers=12, width=768, patch_size=32),
    "xlm-roberta-large-ViT-H-14": _xlm_config(
        "large", 1024, layers=32, width=1280, head_width=80, patch_size=14
    ),
}


def _openai(
    name: str, revision: str, parameters: Three, dimension: int, size: int, scores: Five, notes: str = ""
) -> Entry:
    return Entry(
        name=name, family="OpenAI CLIP", repo=f"openai/{name}", revision=revision, layout=HUGGING,
        parameters=parameters, dimension=dimension, image_size=size, context=77, languages="English",
        licence=_MIT_CODE, scores=Scores(*scores, "open_clip"), scripts=("LATIN",), notes=notes,
    )  # fmt: skip


def _openclip(
    name: str, repo: str, revision: str, parameters: Three, size: int, scores: Five, **more: Any
) -> Entry:
    dimension = {"b": 512, "l": 768, "h": 1024}[name.split("-")[2]]
    data = "DataComp" if "datacomp" in name else "LAION-2B"
    return Entry(
        name=name, family=f"OpenCLIP, {data}", repo=f"laion/{repo}", revision=revision,
        layout=more.pop("layout", OPENCLIP), parameters=parameters, dimension=dimension, image_size=size,
        context=77, languages="English", licence="MIT", scores=Scores(*scores, "open_clip"),
        scripts=("LATIN",), **more,
    )  # fmt: skip


def _siglip(
    name: str, revision: str, parameters: Three, dimension: int, size: int, scores: Scores, **more: Any
) -> Entry:
    second = name.startswith("siglip2")
    return Entry(
        name=name, family="SigLIP 2" if second else "SigLIP", repo=f"google/{name}", revision=revision,
        layout=HUGGING, parameters=parameters, dimension=dimension, image_size=size, context=64,
        languages="109 languages" if second else "English", licence="Apache-2.0", scores=scores,
        scripts=() if second else ("LATIN",), **more,
    )  # fmt: skip


def _siglip1(name: str, revision: str, parameters: Three, dimension: int, size: int, scores: Five) -> Entry:
    return _siglip(name, revision, parameters, dimension, size, Scores(*scores, "open_clip"), notes=_COPY)


def _siglip2(
    name: str,
    revision: str,
    parameters: Three,
    dimension: int,
    size: int,
    scores: Three,
    recommended: str = "",
) -> Entry:
    five = Scores(*scores, None, None, "big_vision")
    return _siglip(name, revision, parameters, dimension, size, five, recommended=recommended)


def _chinese(size: str, revision: str, parameters: Three, dimension: int, notes: str) -> Entry:
    name = f"chinese-clip-vit-{size}"
    return Entry(
        name=name, family="Chinese-CLIP", repo=f"OFA-Sys/{name}", revision=revision, layout=HUGGING,
        parameters=parameters, dimension=dimension, image_size=224, context=52, languages="Chinese",
        licence=_MIT_CODE, scores=None, notes=notes,
    )  # fmt: skip


def _xlm(
    name: str, repo: str, revision: str | None, parameters: Three, dimension: int, scores: Five, **more: Any
) -> Entry:
    return Entry(
        name=name, family="OpenCLIP, LAION-5B", repo=f"laion/{repo}", revision=revision, layout=OPENCLIP,
        parameters=parameters, dimension=dimension, image_size=224, context=77, languages="100 languages",
        licence="MIT", scores=Scores(*scores, "open_clip"), **more,
    )  # fmt: skip


def _mclip(
    name: str, repo: str, revision: str, dimension: int, text: float, tower: str, english: float
) -> Entry:
    return Entry(
        name=name, family="M-CLIP", repo=f"M-CLIP/{repo}", revision=revision, layout=TEXT_TOWER,
        parameters=(text, 0, text), dimension=dimension, image_size=224, context=512,
        languages="48 languages", licence=_MIT_CODE, scores=None, image_tower=tower,
        notes=f"A text tower for the pictures of {tower}. English was not among the captions it learnt from; "
        f"on English COCO captions it reaches {english} % recall@10 (mclip). {_ONLY_BIN}",
    )  # fmt: skip


TABLE = (
    Entry(
        name=STARTER, family="starter", repo=None, revision=None, layout=(), parameters=(31.1, 8.3, 22.8),
        dimension=256, image_size=192, context=32, languages="English",
        licence="non-commercial research and education", scores=None,
        notes="Everyday things. Flickr8k test, text → image: R@1 24.9, R@10 67.2 (card).",
    ),
    _openai("clip-vit-base-patch32", "c237dc49a33fc61debc9276459120b7eac67e7ef", _B32, 512, 224,
            (63.32, 30.44, 50.12, 58.78, 78.9), _BY_BOT),
    _openai("clip-vit-base-patch16", "57c216476eefef5ab752ec549e440a49ae4ae5f3", _B16, 512, 224,
            (68.34, 33.09, 52.42, 62.16, 82.2), _ONLY_BIN),
    _openai("clip-vit-large-patch14", "32bd64288804d66eefd0ccbe215aa642df71cc41", _L14, 768, 224,
            (75.54, 36.51, 56.34, 64.96, 85.2)),
    _openai("clip-vit-large-patch14-336", "ce19dc912ca5cd21c8a653c79e251e808ccabcd1",
            (427.94, 304.29, 123.65), 768, 336, (76.56, 37.09, 57.94, 66.9, 87.7), _ONLY_BIN),
    _openclip("openclip-vit-b-32-laion2b", "CLIP-ViT-B-32-laion2B-s34B-b79K",
              "1a25a446712ba5ee05982a381eed697ef9b435cf", _B32, 224, (66.56, 39.34, 56.32, 66.78, 84.1)),
    _openclip("openclip-vit-b-16-laion2b", "CLIP-ViT-B-16-laion2B-s34B-b88K",
              "7288da5a0d6f0b51c4a2b27c624837a9236d0112", _B16, 224, (70.23, 42.31, 59.44, 69.84, 86.3),
              notes=_ONLY_BIN),
    _openclip("openclip-vit-l-14-laion2b", "CLIP-ViT-L-14-laion2B-s32B-b82K",
              "1627032197142fbe2a7cfec626f4ced3ae60d07a", _L14, 224, (75.25, 46.51, 63.36, 75.52, 89.5),
              notes="Pixels are normalised by 0.5, unlike with the other OpenCLIP models."),
    _openclip("openclip-vit-h-14-laion2b", "CLIP-ViT-H-14-laion2B-s32B-b79K",
              "1c2b8495b28150b8a4922ee1c8edee224c284c0c", (986.11, 632.08, 354.03), 224,
              (77.96, 49.48, 65.92, 77.64, 90.7)),
    _openclip("openclip-vit-b-32-datacomp", "CLIP-ViT-B-32-DataComp.XL-s13B-b90K",
              "f0e2ffa09cbadab3db6a261ec1ec56407ce42912", _B32, 224, (69.17, 37.14, 53.54, 61.08, 79.0),
              architecture="ViT-B-32"),
    _openclip("openclip-vit-b-32-256-datacomp", "CLIP-ViT-B-32-256x256-DataComp-s34B-b86K",
              "4afec35ffe57a943d569ff7ee888061830164da8", (151.29, 87.86, 63.43), 256,
              (72.81, 39.93, 57.92, 64.92, 84.8), architecture="ViT-B-32-256",
              recommended="fast on CPU, small"),
    _openclip("openclip-vit-b-16-datacomp", "CLIP-ViT-B-16-DataComp.XL-s13B-b90K",
              "05fa70d888b3dcddcaeb5906c71e35e736bc8d42", _B16, 224, (73.49, 40.16, 57.44, 67.56, 85.1),
              architecture="ViT-B-16", notes=_BY_BOT),
    _openclip("openclip-vit-l-14-datacomp", "CLIP-ViT-L-14-DataComp.XL-s13B-b90K",
              "11681a0c38f47b1809e6746e671ca4d5ab0184af", _L14, 224, (79.21, 45.73, 63.3, 73.38, 89.0),
              layout=HUGGING, notes=_BY_BOT),
    _siglip1("siglip-base-patch16-224", "7fd15f0689c79d79e38b1c2e2e2370a7bf2761ed",
             (203.16, 92.88, 110.27), 768, 224, (76.04, 47.78, 65.74, 74.68, 89.1)),
    _siglip1("siglip-base-patch16-256", "b078df89e446d623010d890864d4207fe6399f61",
             (203.2, 92.93, 110.27), 768, 256, (76.53, 48.34, 66.14, 75.04, 90.4)),
    _siglip1("siglip-large-patch16-256", "d0da9f876e7d66b4e250cd2450c3ba2ce735e447",
             (652.15, 315.96, 336.19), 1024, 256, (80.45, 52.28, 70.8, 79.04, 91.8)),
    _siglip1("siglip-so400m-patch14-384", "9fdffc58afc957d1a03a25b10dba0329ab15c2a3",
             (877.96, 428.23, 449.73), 1152, 384, (83.08, 54.21, 72.42, 82.96, 94.3)),
    _siglip2("siglip2-base-patch32-256", "9e7ee68506177b546b2d5dc578f54afdc5e425f1",
             (376.86, 94.55, 282.3), 768, 256, (74.0, 47.2, 63.7), "fast on CPU, multilingual"),
    _siglip2("siglip2-base-patch16-224", "75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2",
             (375.19, 92.88, 282.3), 768, 224, (78.2, 52.1, 68.9)),
    _siglip2("siglip2-base-patch16-256", "3f9f96cb90da5dbc758b01813f2f6f1aee24c1ab",
             (375.23, 92.93, 282.3), 768, 256, (79.1, 53.2, 69.7), "good at moderate cost, multilingual"),
    _siglip2("siglip2-large-patch16-256", "787800c8990e6f058423089178e718139608408c",
             (881.53, 315.96, 565.57), 1024, 256, (82.5, 54.7, 71.5)),
    _siglip2("siglip2-so400m-patch14-384", "e8e487298228002f3d8a82e0cd5c8ea9c567f57f",
             (1136.01, 428.23, 707.78), 1152, 384, (84.1, 55.8, 71.7), "best quality, multilingual"),
    _chinese("base-patch16", "36e679e65c2a2fead755ae21162091293ad37834", (188.26, 86.19, 102.07), 512,
             f"Text → image R@1 on Flickr30K-CN 62.7, COCO-CN 62.2, MUGE 52.1 (cn_clip). {_ONLY_BIN}"),
    _chinese("large-patch14", "cc2eeb803885adc11690654a6e55fde2feeb7420", (406.23, 303.97, 102.27), 768,
             f"Text → image R@1 on Flickr30K-CN 68.0, COCO-CN 64.0, MUGE 56.3 (cn_clip). {_BY_BOT}"),
    _xlm("openclip-xlm-roberta-base-vit-b-32", "CLIP-ViT-B-32-xlm-roberta-base-laion5B-s13B-b90k",
         "3b2ebf5589caa8c0f7e370141a26ffdbd806565d", (366.12, 87.85, 278.27), 512,
         (62.36, 37.78, 53.54, 64.48, 82.7), architecture="xlm-roberta-base-ViT-B-32",
         notes=f"Figures with English texts; ImageNet in Italian 43 %, in Japanese 37 % (card). {_ONLY_BIN}"),
    _xlm("openclip-xlm-roberta-large-vit-h-14",
         "CLIP-ViT-H-14-frozen-xlm-roberta-large-laion5B-s13B-b90k", None, (1193.01, 632.08, 560.94), 1024,
         (76.95, 49.21, 65.96, 77.42, 91.8), architecture="xlm-roberta-large-ViT-H-14",
         notes=f"Figures with English texts. {_ONLY_BIN}"),
    Entry(
        name="clip-vit-b-32-multilingual", family="sentence-transformers",
        repo="sentence-transformers/clip-ViT-B-32-multilingual-v1",
        revision="58edf8cada9e398793dca955574a48cbb7f18be2", layout=SENTENCE, parameters=(135.13, 0, 135.13),
        dimension=512, image_size=224, context=128, languages="52 languages", licence="Apache-2.0",
        scores=None, recommended="52 languages for pictures of clip-vit-base-patch32",
        image_tower="clip-vit-base-patch32", notes="A text tower for the pictures of clip-vit-base-patch32.",
    ),
    _mclip("mclip-xlm-roberta-large-vit-b-32", "XLM-Roberta-Large-Vit-B-32",
           "358a8bbb24369324bacf4d7c970c51ca928aad70", 512, 560.42, "clip-vit-base-patch32", 91.8),
    _mclip("mclip-xlm-roberta-large-vit-l-14", "XLM-Roberta-Large-Vit-L-14",
           "ad70f9333ca5fc97d85b1491b939cf721cd2bad8", 768, 560.68, "clip-vit-large-patch14", 92.4),
)  # fmt: skip
