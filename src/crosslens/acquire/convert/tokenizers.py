"""Tokenisers of each model family → tokenizer.json."""

from __future__ import annotations

import gzip
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from crosslens.acquire.convert.sentencepiece import unigram
from crosslens.acquire.convert.source import Source
from crosslens.errors import ConversionError
from crosslens.models.spec import TextSpec

_CLIP_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_BPE_FILE = "bpe_simple_vocab_16e6.txt.gz"


def settings(source: Source) -> dict[str, Any]:
    """tokenizer_config.json; empty where there is none."""
    return source.read_any("tokenizer_config.json")


def from_folder(source: Source, *kinds: str, made: bool = False) -> Tokenizer:
    """The folder's tokenizer.json, or one made of older files.

    made: of these rather than tokenizer.json, where both are there, since the reference reads them.

    kinds: which of them this family may have: "clip" (vocab.json and merges.txt), "bert" (vocab.txt),
    "siglip" (spiece.model), "xlm-roberta" (sentencepiece.bpe.model).
    """
    there = source.has("tokenizer.json")
    if there and not (made and any(source.has(name) for kind in kinds for name in _MAKERS[kind][0])):
        return _ended(source, _load(source.folder / "tokenizer.json"))
    wanted = ["tokenizer.json"]
    for kind in kinds:
        names, make = _MAKERS[kind]
        if all(source.has(name) for name in names):
            built: Tokenizer = make(source)
            return built
        wanted.append(" with ".join(names))
    raise ConversionError(f"{source.folder} lacks its tokeniser", f"Put {', or '.join(wanted)} there")


def openclip_bpe(source: Source) -> Tokenizer:
    """The tokeniser that OpenCLIP and OpenAI have in their code: from the folder, or as installed."""
    here = source.folder / _BPE_FILE
    if here.is_file():
        return _clip(*_read_bpe(here), "<start_of_text>", "<end_of_text>")
    if any(source.has(name) for name in ("tokenizer.json", "vocab.json")):
        return _as_openclip(source)
    for package in ("open_clip", "clip"):
        spec = find_spec(package)
        for folder in spec.submodule_search_locations or [] if spec else []:
            if (Path(folder) / _BPE_FILE).is_file():
                return _clip(*_read_bpe(Path(folder) / _BPE_FILE), "<start_of_text>", "<end_of_text>")
    raise ConversionError(
        f"{source.folder} lacks its tokeniser, which OpenCLIP has in its code",
        "Put vocab.json and merges.txt there (those of openai/clip-vit-base-patch32 are the same), or "
        f"{_BPE_FILE}",
    )


def pad_id(source: Source, tokenizer: Tokenizer, default: str) -> int:
    """Of the padding token that the folder's files name."""
    named = settings(source).get("pad_token") or source.read_any("special_tokens_map.json").get("pad_token")
    token = named.get("content") if isinstance(named, dict) else named
    number = tokenizer.token_to_id(token or default)
    if number is None:
        raise ConversionError(f"{source.folder}: the tokeniser has no token {token or default!r} to pad with")
    return int(number)


def context(source: Source, positions: int) -> int:
    """Tokens of a text: as many as the network has positions for, or fewer where the tokeniser says so."""
    stated = settings(source).get("model_max_length")
    return min(positions, stated) if isinstance(stated, int) and stated > 0 else positions


def end_id(tokenizer: Tokenizer) -> int:
    """The token that ends every text."""
    return int(tokenizer.encode("a").ids[-1])


def ready(tokenizer: Tokenizer, spec: TextSpec) -> Tokenizer:
    """Cut and pad as the spec says."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(spec.context_length)
    tokenizer.enable_padding(
        pad_id=spec.pad_id, pad_token=tokenizer.id_to_token(spec.pad_id), length=spec.context_length
    )
    return tokenizer


def plain(tokenizer: Tokenizer) -> Tokenizer:
    """Neither cut nor padded, whatever its file says."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def lower_case(tokenizer: Tokenizer) -> Tokenizer:
    """Put lower-casing before all else, as SigLIP 2 was trained."""
    before = tokenizer.normalizer
    lower = normalizers.Lowercase()
    tokenizer.normalizer = lower if before is None else normalizers.Sequence([lower, before])
    return tokenizer


def end_only(tokenizer: Tokenizer, end: str) -> Tokenizer:
    """End every text with this token and begin it with none."""
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", special_tokens=[(end, tokenizer.token_to_id(end))]
    )
    return tokenizer


def _load(path: Path) -> Tokenizer:
    try:
        return plain(Tokenizer.from_file(str(path)))
    except Exception as error:  # the library raises plain Exception
        raise ConversionError(f"{path} is not a tokeniser ({error})", "Download it again") from error


def _ended(source: Source, tokenizer: Tokenizer) -> Tokenizer:
    """What transformers does for Gemma's tokenisers after it has read their tokenizer.json."""
    facts = settings(source)
    if facts.get("add_eos_token") is True and facts.get("add_bos_token") is False:
        named = facts.get("eos_token", "<eos>")
        end = named.get("content") if isinstance(named, dict) else named
        if isinstance(end, str) and tokenizer.token_to_id(end) is not None:
            return end_only(tokenizer, end)
    return tokenizer


def _as_openclip(source: Source) -> Tokenizer:
    """With the files of transformers' CLIP, which has other names for the start and end of a text."""
    model = json.loads(from_folder(source, "clip").to_str())["model"]
    vocabulary, merges = model.get("vocab"), model.get("merges")
    if not isinstance(vocabulary, dict) or model.get("end_of_word_suffix") != "</w>":
        raise ConversionError(
            f"{source.folder}: its tokeniser is not CLIP's, and open_clip_config.json names no other",
            "Put vocab.json and merges.txt of openai/clip-vit-base-patch32 there",
        )
    names = {"<|startoftext|>": "<start_of_text>", "<|endoftext|>": "<end_of_text>"}
    renamed: dict[str, int] = {names.get(str(word), str(word)): number for word, number in vocabulary.items()}
    pairs = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in merges]
    return _clip(renamed, [(first, second) for first, second in pairs], *names.values())


def _clip_files(source: Source) -> Tokenizer:
    lines = (source.folder / "merges.txt").read_text(encoding="utf-8").split("\n")
    pairs = [tuple(line.split()) for line in lines if line and not line.startswith("#version")]
    merges = [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]
    return _clip(source.read("vocab.json"), merges, "<|startoftext|>", "<|endoftext|>")


def _clip(vocabulary: dict[str, int], merges: list[tuple[str, str]], start: str, end: str) -> Tokenizer:
    """Byte-level BPE that marks the ends of words, on lower-case text."""
    bpe = models.BPE(
        vocabulary, merges, unk_token=end, end_of_word_suffix="</w>", continuing_subword_prefix=""
    )
    tokenizer = Tokenizer(bpe)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in (start, end)])
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(
        (end, vocabulary[end]), (start, vocabulary[start]), trim_offsets=False, add_prefix_space=False
    )
    return tokenizer


def _read_bpe(path: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """OpenAI's own file of merges, from which the vocabulary follows."""
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")[1 : 49152 - 256 - 2 + 1]
    merges = [(first, second) for first, second in (line.split() for line in lines)]
    letters = _byte_letters()
    words = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges)]
    words += ["<start_of_text>", "<end_of_text>"]
    return {word: number for number, word in enumerate(words)}, merges


def _byte_letters() -> list[str]:
    """A printable letter for every byte, in the order of OpenAI's vocabulary: printable bytes come first."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = len(set(range(256)) - set(printable))
    return [*map(chr, printable), *(chr(256 + number) for number in range(others))]


def _bert_files(source: Source) -> Tokenizer:
    """WordPiece on vocab.txt; tokenizer_config.json says whether it has case."""
    facts = settings(source)
    words = (source.folder / "vocab.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")
    vocabulary = {word.rstrip("\r"): number for number, word in enumerate(words)}
    missing = [token for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]") if token not in vocabulary]
    if missing:
        raise ConversionError(f"{source.folder}/vocab.txt lacks {', '.join(missing)}", "Download it again")
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106 (no secret)
    tokenizer.add_special_tokens(
        [t for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if t in vocabulary]
    )
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=facts.get("do_lower_case", True),
        handle_chinese_chars=facts.get("tokenize_chinese_chars", True),
        strip_accents=facts.get("strip_accents"),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"])
    )
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _siglip_files(source: Source) -> Tokenizer:
    tokenizer = unigram(source.folder / "spiece.model")
    return end_only(tokenizer, "</s>")


def _roberta_files(source: Source) -> Tokenizer:
    """XLM-RoBERTa, whose ids are those of its sentencepiece model moved by one."""
    tokenizer = unigram(source.folder / "sentencepiece.bpe.model", fairseq=True)
    start, end = (token for token in ("<s>", "</s>"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (start, end)],
    )
    return tokenizer


_MAKERS: dict[str, tuple[tuple[str, ...], Any]] = {
    "clip": (("vocab.json", "merges.txt"), _clip_files),
    "bert": (("vocab.txt",), _bert_files),
    "siglip": (("spiece.model",), _siglip_files),
    "xlm-roberta": (("sentencepiece.bpe.model",), _roberta_files),
}


def serialised(tokenizer: Tokenizer) -> bytes:
    """The content of a tokenizer.json."""
    return (json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False) + "\n").encode()
