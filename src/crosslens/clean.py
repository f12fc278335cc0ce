"""What the references do to a text before their tokenisers see it.

OpenCLIP repairs a text with ftfy, resolves HTML's entities, and brings white space into order. All of that is
done here but the repair of wrongly decoded text ("schÃ¶n"), for which ftfy itself would be needed.
"""

from __future__ import annotations

import html
import re
import string
import unicodedata
from collections.abc import Callable, Mapping

from crosslens.models.spec import Clean

_ENTITY = re.compile(r"&#?[0-9A-Za-z]{1,24};")
_ESCAPE = re.compile("\x1b\\[[0-9;]*[A-Za-z]")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_LIGATURES = {
    "Ĳ": "IJ", "ĳ": "ij", "ŉ": "'n", "Ǳ": "DZ", "ǲ": "Dz", "ǳ": "dz", "Ǆ": "DŽ", "ǅ": "Dž", "ǆ": "dž",
    "Ǉ": "LJ", "ǈ": "Lj", "ǉ": "lj", "Ǌ": "NJ", "ǋ": "Nj", "ǌ": "nj", "ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl",
    "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "ſt", "ﬆ": "st",
}  # fmt: skip


def _table() -> Mapping[int, str | None]:
    """What ftfy exchanges character by character."""
    table: dict[int, str | None] = {ord(key): value for key, value in _LIGATURES.items()}
    for number in range(0x80, 0xA0):  # controls that were meant as Windows-1252
        table[number] = bytes([number]).decode("windows-1252", errors="ignore") or chr(number)
    table.update(dict.fromkeys([0x2BC, *range(0x2018, 0x201C), 0x91, 0x92], "'"))
    table.update(dict.fromkeys([*range(0x201C, 0x2020), 0x93, 0x94], '"'))
    for number in range(0xFF01, 0xFFF0):  # of full and half width
        table[number] = unicodedata.normalize("NFKC", chr(number))
    table[0x3000] = " "
    controls = (*range(9), 0xB, *range(0xE, 0x20), 0x7F, *range(0x206A, 0x2070), 0xFEFF)
    table.update(dict.fromkeys((*controls, *range(0xFFF9, 0xFFFD)), None))
    return table


_TABLE = _table()


def _repaired(text: str) -> str:
    """OpenCLIP's `basic_clean`, as far as the module says."""
    if "&" in text and "<" not in text:
        text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    text = unicodedata.normalize("NFC", _ESCAPE.sub("", text).translate(_TABLE))
    return html.unescape(html.unescape(text)) if "&" in text else text


def _whitespace(text: str) -> str:
    return " ".join(_repaired(text).split())


def _lower(text: str) -> str:
    return _whitespace(text).lower()


def _canonical(text: str) -> str:
    """OpenCLIP's for SigLIP: no punctuation, lower case."""
    text = _repaired(text).replace("_", " ").translate(_NO_PUNCTUATION)
    return " ".join(text.lower().split())


def _siglip(text: str) -> str:
    """Transformers' `SiglipTokenizer`: the first word is marked before white space is brought into order."""
    text = ("▁" + text.replace("▁", " ")).lower().translate(_NO_PUNCTUATION)
    text = re.sub(r"\s+", " ", text).strip()
    return "" if text == "▁" else text


CLEANERS: dict[Clean, Callable[[str], str]] = {
    "none": str,
    "whitespace": _whitespace,
    "lower": _lower,
    "canonicalize": _canonical,
    "siglip": _siglip,
}
