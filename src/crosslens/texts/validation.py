"""Text validation before embedding: what is refused, and what a caller is warned of."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crosslens.errors import InputError, TextError, TextTruncatedWarning, UnseenScriptWarning, warn
from crosslens.images.folder_walk import has_image_name
from crosslens.images.open_image import is_written
from crosslens.models.spec import ModelSpec
from crosslens.texts.tokenizer import Tokens
from crosslens.types import ImageInput, Modality

LongText = Literal["truncate", "mean", "error"]


def modality_of(items: Sequence[ImageInput], name: str = "the list") -> Modality:
    """What a list holds: "image" when all entries are pictures or paths of files, "text" when none is.

    Raises InputError, which names the rows, for a mixture, and for a picture's name where no file is.
    """
    texts = [row for row, item in enumerate(items) if isinstance(item, str) and not _is_picture(item)]
    lost = next((row for row in texts if has_image_name(str(items[row]))), None)
    if lost is not None:
        problem = f"{name}, row {lost}: there is no picture {short(str(items[lost]))}"
        raise InputError(problem, 'Check the path; for texts that end so, say modality="text"')
    if texts and len(texts) < len(items):
        images = sorted(set(range(len(items))) - set(texts))
        raise InputError(
            f"{name} mixes pictures and texts: {_listed(images)} are pictures, {_listed(texts)} are not",
            'Check the paths, or say which it is: modality="image" or "text"',
        )
    return "image" if items and not texts else "text"


def _is_picture(text: str) -> bool:
    return os.path.isfile(text) or is_written(text)


def check_texts(texts: Sequence[str], *, paths: bool = True) -> None:
    """Raise TextError for the first entry that is no text, or is the path of a picture.

    paths: whether the latter is looked for; False where who asks may not know what files there are.
    """
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise TextError(f"text {row} is {type(text).__name__}, not str", "Give a list of texts")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            problem = f"text {row} ({text!a:.60}) holds half a character, a lone surrogate"
            raise TextError(problem, "Decode its bytes by the encoding they are in") from error
        if paths and has_image_name(text) and os.path.isfile(text):
            raise TextError(
                f"text {row} ({short(text)}) is the path of a picture", "Pass pictures to the image side"
            )


def check_tokens(texts: Sequence[str], tokens: Tokens, spec: ModelSpec, long_text: LongText) -> None:
    """Raise TextError for an empty text, and for a long one if `long_text` is "error"; warn of the rest."""
    empty = np.flatnonzero(tokens.contents == 0)
    if len(empty):
        row = int(empty[0])
        which = f"text {row} ({short(texts[row])})" if len(texts) > 1 else f"the text {short(texts[row])}"
        raise TextError(
            f"{which} is empty, or holds nothing the model reads", "Write a word, or leave it out"
        )
    length = spec.text.context_length
    cut = np.flatnonzero(tokens.lengths > length)
    if len(cut) and long_text != "mean":
        too_long = f"{_these(texts, cut)} longer than the {length} tokens that {spec.name} reads"
        if long_text == "error":
            raise TextError(too_long, 'Shorten it, or choose long_text="truncate" or "mean"')
        most = tokens.lengths[cut].max()
        message = f"{too_long} ({most} tokens at most); the end was left out. long_text='mean' reads it all"
        warn(TextTruncatedWarning(message))
    unseen = {row: script for row, text in enumerate(texts) if (script := _unseen_script(text, spec))}
    if unseen:
        scripts = ", ".join(sorted(set(unseen.values())))
        message = (
            f"{_these(texts, np.array(list(unseen)))} in a script that {spec.name} never saw ({scripts})"
        )
        message += f"; the results mean nothing. It reads {', '.join(spec.scripts)}"
        warn(UnseenScriptWarning(message))


def _unseen_script(text: str, spec: ModelSpec) -> str | None:
    if not spec.scripts or text.isascii():
        return None
    scripts = filter(None, map(_script, unicodedata.normalize("NFC", text)))
    return next((script for script in scripts if script not in spec.scripts), None)


def _script(character: str) -> str | None:
    """The script of a letter, by the first word of its Unicode name: LATIN, CYRILLIC, CJK and so on.

    None for what all scripts share: digits, signs (µ, the Ω of ohm, ª), modifiers (ʻ).
    """
    words = unicodedata.name(character, "SIGN").split()
    is_letter = unicodedata.category(character) in ("Lu", "Ll", "Lt", "Lo")
    if not is_letter or {"SIGN", "INDICATOR", "SYMBOL", "MATHEMATICAL"} & set(words):
        return None
    return words[1] if words[0] in ("FULLWIDTH", "HALFWIDTH") else words[0]


def _these(texts: Sequence[str], rows: NDArray[np.int64]) -> str:
    """Name some of the texts, as the subject of a sentence."""
    if len(rows) > 1:
        return f"{len(rows)} texts ({_listed(rows)}) are"
    text = short(texts[rows[0]])
    return f"{text} is" if len(texts) == 1 else f"text {rows[0]} ({text}) is"


def _listed(rows: Sequence[int] | NDArray[np.int64]) -> str:
    more = ", …" if len(rows) > 5 else ""
    return ("rows " if len(rows) > 1 else "row ") + ", ".join(map(str, rows[:5])) + more


def short(text: str) -> str:
    """A text in quotes, cut to 40 characters, for messages."""
    return repr(text if len(text) <= 40 else text[:39] + "…")
