"""Tokenisation: texts → int64 (n, context_length) as the `TextSpec` says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from tokenizers import Tokenizer

from crosslens.errors import BundleError
from crosslens.models.spec import TextSpec
from crosslens.texts.normalization import CLEANERS
from crosslens.types import Int64


@dataclass(frozen=True, slots=True)
class Tokens:
    """ids: int64 (n, context_length), padded.

    lengths: (n,) tokens in each whole text, start and end included, before anything was cut off.
    contents: (n,) tokens of each kept text that are not special; 0 means that nothing is left of it.
    rest: of each row that was cut, what was cut off, as rows of ids (m, context_length).
    """

    ids: Int64
    lengths: Int64
    contents: Int64
    rest: dict[int, Int64] = field(default_factory=dict)


class Tokenize(Protocol):
    """Turns texts into tokens."""

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Tokenise; see `Tokens`."""
        ...


class FastTokenizer:
    """A Hugging Face `tokenizer.json`, run by the tokenizers library.

    Truncation and padding follow `spec`; a file that sets them otherwise is refused with BundleError.
    """

    def __init__(self, path: Path, spec: TextSpec) -> None:
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises plain Exception
            raise BundleError(
                f"{path} is not a tokeniser ({error})", "Copy the whole bundle again"
            ) from error
        self._spec = spec
        self._configure(path)

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Tokenise; ids are always (n, context_length), and a cut text keeps its end token."""
        if not texts:
            return Tokens(np.empty((0, self._spec.context_length), np.int64), *np.empty((2, 0), np.int64))
        clean = CLEANERS[self._spec.clean]
        encodings = self._tokenizer.encode_batch_fast([clean(text) for text in texts])
        ids = np.array([encoding.ids for encoding in encodings], dtype=np.int64)
        special = np.array([encoding.special_tokens_mask for encoding in encodings], dtype=np.int64)
        kept = np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64)
        contents = (kept * (1 - special)).sum(axis=1)
        cut_off = [
            sum(len(part.ids) - sum(part.special_tokens_mask) for part in encoding.overflowing)
            for encoding in encodings
        ]
        rest = {
            row: np.array([part.ids for part in encoding.overflowing], dtype=np.int64)
            for row, encoding in enumerate(encodings)
            if encoding.overflowing
        }
        return Tokens(ids, kept.sum(axis=1) + np.array(cut_off, np.int64), contents, rest)

    def _configure(self, path: Path) -> None:
        length, pad = self._spec.context_length, self._spec.pad_id
        truncation, padding = self._tokenizer.truncation, self._tokenizer.padding
        if truncation is not None and truncation["max_length"] != length:
            self._refuse(path, "truncates to", truncation["max_length"], "context_length", length)
        if padding is not None and padding["pad_id"] != pad:
            self._refuse(path, "pads with", padding["pad_id"], "pad_id", pad)
        if padding is not None and padding["length"] not in (None, length):
            self._refuse(path, "pads to", padding["length"], "context_length", length)
        size = self._tokenizer.get_vocab_size()
        if not 0 <= pad < size:
            self._refuse(path, "has ids up to", size - 1, "pad_id", pad)
        self._tokenizer.enable_truncation(length)
        self._tokenizer.enable_padding(pad_id=pad, pad_token=self._tokenizer.id_to_token(pad), length=length)
        short, long = self._tokenizer.encode("a"), self._tokenizer.encode("a " * (length + 1))
        words = zip(short.ids, short.attention_mask, short.special_tokens_mask, strict=True)
        if not any(kept and not special and number != pad for number, kept, special in words):
            raise BundleError(f'{path} makes no token of the text "a"', "Copy the whole bundle again")
        end = short.ids[sum(short.attention_mask) - 1]
        if long.ids[-1] != end:
            raise BundleError(
                f"{path} drops the end token {end} of texts that are too long", "Repair the tokeniser"
            )

    @staticmethod
    def _refuse(path: Path, does: str, found: object, key: str, wanted: object) -> None:
        raise BundleError(
            f"{path} {does} {found}, but config.json says {key} {wanted}", "Copy the whole bundle again"
        )
