"""Text normalisation that reference models apply before tokenising.

OpenCLIP repairs a text with ftfy, resolves HTML's entities, and brings white space into order.
"""

from __future__ import annotations

import html
import re
import string
from collections.abc import Callable

from crosslens.models.spec import Clean

# What ftfy leaves as it is; most texts are so, and importing it costs a start some milliseconds.
_SOUND = re.compile(r"[ -%'-~\t\n\r]*")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _repaired(text: str) -> str:
    """OpenCLIP's `basic_clean`."""
    if _SOUND.fullmatch(text):
        return text
    import ftfy

    return html.unescape(html.unescape(ftfy.fix_text(text)))


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
