"""A sentencepiece model as a tokeniser of the tokenizers library, without sentencepiece or protobuf.

The file is a protocol buffer; wanted of it are the pieces with their scores, and the table by which text is
normalised. Field numbers are those of sentencepiece_model.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from crosslens.errors import ConversionError

_UNIGRAM, _CONTROL, _UNKNOWN = 1, 3, 2


def unigram(path: Path, *, fairseq: bool = False) -> Tokenizer:
    """A tokeniser from a unigram model, without start or end tokens.

    fairseq: ids as XLM-RoBERTa has them. Raises ConversionError.
    """
    try:
        pieces, kind, charsmap = _parse(path.read_bytes())
    except (OSError, ValueError, IndexError, struct.error) as error:
        raise ConversionError(
            f"{path} is not a sentencepiece model ({error})", "Download it again"
        ) from error
    if kind != _UNIGRAM or not pieces:
        raise ConversionError(f"{path} is no unigram model", "Put tokenizer.json there")
    special = [piece for piece, _, sort in pieces if sort in (_CONTROL, _UNKNOWN)]
    scores = [(piece, score) for piece, score, _ in pieces]
    if fairseq:
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        scores = [(token, 0.0) for token in special[:4]] + scores[3:] + [("<mask>", 0.0)]
    unknown = next(number for number, (piece, _) in enumerate(scores) if piece == "<unk>")
    tokenizer = Tokenizer(models.Unigram(scores, unknown, byte_fallback=False))
    spaces = normalizers.Replace(Regex(" {2,}"), " ")
    steps = [normalizers.Precompiled(charsmap), spaces] if charsmap else [spaces]
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return tokenizer


def _parse(data: bytes) -> tuple[list[tuple[str, float, int]], int, bytes]:
    """(pieces with score and type, type of the model, table of characters)."""
    pieces, kind, charsmap = [], _UNIGRAM, b""
    for field, value in _fields(data):
        if field == 1 and isinstance(value, bytes):
            parts = dict(_fields(value))
            score = parts.get(2, 0.0)
            name, sort = parts.get(1, b""), parts.get(3, 1)
            if isinstance(name, bytes) and isinstance(score, float) and isinstance(sort, int):
                pieces.append((name.decode("utf-8"), score, sort))
        elif field == 2 and isinstance(value, bytes):
            found = dict(_fields(value)).get(3, _UNIGRAM)
            kind = found if isinstance(found, int) else _UNIGRAM
        elif field == 3 and isinstance(value, bytes):
            found = dict(_fields(value)).get(2, b"")
            charsmap = found if isinstance(found, bytes) else b""
    return pieces, kind, charsmap


def _fields(data: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """The numbered values of a message: numbers, floats and byte strings."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        if key & 7 == 0:
            number, place = _varint(data, place)
            yield key >> 3, number
        elif key & 7 == 1:
            place += 8
        elif key & 7 == 2:
            length, place = _varint(data, place)
            if place + length > len(data):
                raise ValueError("it ends in the middle")
            yield key >> 3, data[place : place + length]
            place += length
        elif key & 7 == 5:
            yield key >> 3, struct.unpack_from("<f", data, place)[0]
            place += 4
        else:
            raise ValueError("no protocol buffer")


def _varint(data: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[place]
        number |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return number, place
