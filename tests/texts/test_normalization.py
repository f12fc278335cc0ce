"""What references do to texts first; tests/reference compares with them."""

from __future__ import annotations

import unicodedata

import ftfy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosslens.texts.normalization import _SOUND, CLEANERS


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("  two\t words \n", "two words"),
        ("it’s ‘so’ “said”", "it's 'so' \"said\""),
        ("Tom &amp; Jerry &amp;amp; Co", "Tom & Jerry & Co"),
        ("5 &lt; 6 <b>", "5 < 6 <b>"),
        ("ﬁne ﬂow, Ĳssel", "fine flow, IJssel"),
        ("１２　ＡＢｃ！", "12 ABc!"),
        ("ｶﾞ", unicodedata.normalize("NFC", "カ\u3099")),
        ("e\u0301", "é"),
        ("a\x00b\x1b[31mc\ufeff", "abc"),
        ("\x93quoted\x94 \x85", '"quoted" …'),
        ("schÃ¶n", "schön"),
        ("the Mona Lisa doesnâ€™t have eyebrows", "the Mona Lisa doesn't have eyebrows"),
    ],
)
def test_whitespace_repairs_as_ftfy_does(text: str, clean: str) -> None:
    assert CLEANERS["whitespace"](text) == clean


@pytest.mark.parametrize(
    ("kind", "clean"),
    [
        ("none", " An_Ångström, (ΟΔΟΣ)… "),
        ("lower", "an_ångström, (οδος)…"),
        ("canonicalize", "an ångström οδος…"),
        ("siglip", "▁ anångström οδος…"),
    ],
)
def test_each_kind_does_what_its_reference_does(kind: str, clean: str) -> None:
    assert CLEANERS[kind](" An_Ångström, (ΟΔΟΣ)… ") == clean  # type: ignore[index]


@pytest.mark.parametrize("text", ["", "  ", "!?", "._-", "▁"])
def test_punctuation_alone_is_nothing_to_siglip(text: str) -> None:
    assert CLEANERS["siglip"](text) == ""
    assert text == "▁" or CLEANERS["canonicalize"](text) == ""


@given(st.text(st.characters(max_codepoint=0x7F), max_size=40))
def test_texts_that_skip_the_repair_need_none(text: str) -> None:
    if _SOUND.fullmatch(text):
        assert " ".join(ftfy.fix_text(text).split()) == " ".join(text.split())


@given(st.text(max_size=40))
def test_no_text_is_too_strange(text: str) -> None:
    for clean in CLEANERS.values():
        assert isinstance(clean(text), str)
    assert CLEANERS["lower"](text) == " ".join(CLEANERS["lower"](text).split())
