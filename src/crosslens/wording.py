"""How a query is put to a model: as it is, but for one bare word where another way was measured to help.

docs/search-quality.md has the figures, and what else was tried.
"""

from __future__ import annotations

from collections.abc import Sequence

from crosslens.models.spec import ModelSpec

# By the name of a model, what a bare word is put into: "dog" is asked as "a dog".
_BARE_WORD = {"starter": "a {}"}


def worded(texts: Sequence[str] | str, spec: ModelSpec) -> list[str]:
    """The texts to embed for what somebody looks for, as many as were given."""
    texts = [texts] if isinstance(texts, str) else list(texts)
    template = _BARE_WORD.get(spec.name)
    return texts if template is None else [_in(template, text) for text in texts]


def _in(template: str, text: str) -> str:
    word = text.strip() if isinstance(text, str) else ""  # what is no text is refused where texts are
    return template.format(word) if word.isascii() and word.isalpha() else text
