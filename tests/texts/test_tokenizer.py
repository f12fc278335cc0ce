"""Stage 3, words: padding, truncation, and tokeniser files that contradict their config.json."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from crosslens import Matcher
from crosslens.errors import BundleError
from crosslens.models.spec import TextSpec
from crosslens.texts.tokenizer import FastTokenizer

PAD, UNKNOWN, START, END, A, DOG = range(6)
VOCABULARY = {"<pad>": PAD, "<unk>": UNKNOWN, "<s>": START, "</s>": END, "a": A, "dog": DOG}
SPEC = TextSpec(context_length=5, pad_id=PAD)


def words() -> Tokenizer:
    """One token a word, between <s> and </s>."""
    tokenizer = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))  # noqa: S106 (no password)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", None, [("<s>", START), ("</s>", END)]
    )
    return tokenizer


Build = Callable[..., FastTokenizer]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Save a tokeniser, and open it as a bundle would."""

    def save_and_open(tokenizer: Tokenizer, spec: TextSpec = SPEC) -> FastTokenizer:
        tokenizer.save(str(tmp_path / "tokenizer.json"))
        return FastTokenizer(tmp_path / "tokenizer.json", spec)

    return save_and_open


def test_a_short_text_is_padded(build: Build) -> None:
    tokens = build(words())(["a dog"])
    assert tokens.ids.tolist() == [[START, A, DOG, END, PAD]]
    assert (tokens.lengths.tolist(), tokens.contents.tolist()) == ([4], [2])


def test_a_text_is_cleaned_first(build: Build) -> None:
    tokens = build(words(), TextSpec(5, PAD, clean="canonicalize"))(["A_Dog!"])
    assert tokens.ids.tolist() == [[START, A, DOG, END, PAD]]
    assert build(words(), TextSpec(5, PAD, clean="canonicalize"))(["!!"]).contents.tolist() == [0]


def test_a_long_text_is_cut_keeps_its_end_token_and_tells_its_whole_length(build: Build) -> None:
    tokens = build(words())(["a dog a dog a dog"])
    assert tokens.ids.tolist() == [[START, A, DOG, A, END]]
    assert (tokens.lengths.tolist(), tokens.contents.tolist()) == ([8], [3])


def test_a_text_that_just_fits_is_not_cut(build: Build) -> None:
    tokens = build(words())(["a dog a"])
    assert tokens.ids.tolist() == [[START, A, DOG, A, END]]
    assert tokens.lengths.tolist() == [5]


@pytest.mark.parametrize("text", ["", "  ", "\n\t"])
def test_a_text_without_words_has_no_contents(build: Build, text: str) -> None:
    tokens = build(words())([text])
    assert tokens.ids.tolist() == [[START, END, PAD, PAD, PAD]]
    assert (tokens.lengths.tolist(), tokens.contents.tolist()) == ([2], [0])


def test_unknown_words_are_contents(build: Build) -> None:
    assert build(words())(["xyzzy"]).contents.tolist() == [1]


def test_no_texts_give_no_rows(build: Build) -> None:
    tokens = build(words())([])
    assert (tokens.ids.shape, tokens.ids.dtype) == ((0, 5), np.int64)
    assert tokens.lengths.shape == tokens.contents.shape == (0,)


def test_padding_and_truncation_of_the_file_may_agree_with_the_config(build: Build) -> None:
    agreeing = words()
    agreeing.enable_truncation(5)
    agreeing.enable_padding(pad_id=PAD, pad_token="<pad>", length=5)  # noqa: S106
    assert build(agreeing)(["a dog"]).ids.tolist() == build(words())(["a dog"]).ids.tolist()


def test_a_file_that_pads_to_the_longest_is_made_to_pad_to_the_context(build: Build) -> None:
    to_longest = words()
    to_longest.enable_padding(pad_id=PAD, pad_token="<pad>")  # noqa: S106
    assert build(to_longest)(["a"]).ids.shape == (1, 5)


def test_a_file_that_truncates_elsewhere_is_refused(build: Build) -> None:
    tokenizer = words()
    tokenizer.enable_truncation(7)
    with pytest.raises(BundleError, match=r"truncates to 7, but config\.json says context_length 5"):
        build(tokenizer)


def test_a_file_that_pads_with_another_token_is_refused(build: Build) -> None:
    tokenizer = words()
    tokenizer.enable_padding(pad_id=UNKNOWN, pad_token="<unk>", length=5)  # noqa: S106
    with pytest.raises(BundleError, match=r"pads with 1, but config\.json says pad_id 0"):
        build(tokenizer)


def test_a_file_that_pads_to_another_length_is_refused(build: Build) -> None:
    tokenizer = words()
    tokenizer.enable_padding(pad_id=PAD, pad_token="<pad>", length=9)  # noqa: S106
    with pytest.raises(BundleError, match=r"pads to 9, but config\.json says context_length 5"):
        build(tokenizer)


def test_a_file_that_loses_the_end_token_of_long_texts_is_refused(build: Build) -> None:
    tokenizer = words()
    tokenizer.post_processor = processors.TemplateProcessing("$A", None, [])
    tokenizer.normalizer = normalizers.Replace(Regex("$"), " </s>")
    with pytest.raises(BundleError, match="drops the end token 3"):
        build(tokenizer)


def test_padding_with_the_end_token_is_fine(build: Build) -> None:
    tokens = build(words(), TextSpec(5, END))(["a", "a dog a dog"])  # as CLIP and SigLIP do
    assert tokens.ids.tolist() == [[START, A, END, END, END], [START, A, DOG, A, END]]
    assert (tokens.lengths.tolist(), tokens.contents.tolist()) == ([3, 6], [1, 3])


@pytest.mark.parametrize("pad", [99, -1])
def test_padding_with_a_token_that_does_not_exist_is_refused(build: Build, pad: int) -> None:
    with pytest.raises(BundleError, match=str(pad)):
        build(words(), TextSpec(5, pad))


def test_a_tokeniser_that_reads_nothing_is_refused(build: Build) -> None:
    empty = Tokenizer(models.WordLevel({"<pad>": PAD}, unk_token="<pad>"))  # noqa: S106
    with pytest.raises(BundleError):
        build(empty)


@pytest.mark.parametrize("content", ["", "{}", "not JSON", '{"version": "1.0"}'])
def test_a_file_that_is_no_tokeniser_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(BundleError, match=r"tokenizer\.json is not a tokeniser"):
        FastTokenizer(path, SPEC)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"gone\.json is not a tokeniser"):
        FastTokenizer(tmp_path / "gone.json", SPEC)


# ---------------------------------------------------------------- the starter's


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=120), min_size=1, max_size=5))
def test_a_text_has_the_same_ids_alone_and_in_company(starter: Matcher, texts: list[str]) -> None:
    together = starter.model.tokenize(texts)
    assert together.ids.shape == (len(texts), starter.spec.text.context_length)
    for row, text in enumerate(texts):
        alone = starter.model.tokenize([text])
        assert np.array_equal(alone.ids[0], together.ids[row])
        assert alone.lengths[0] == together.lengths[row]
        assert alone.contents[0] == together.contents[row]


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.text(max_size=200), st.lists(st.sampled_from(["dog", "Zyzzyva", "café"])).map(" ".join)))
def test_lengths_are_those_of_the_whole_text(starter: Matcher, raw: Tokenizer, text: str) -> None:
    tokens = starter.model.tokenize([text])
    whole = raw.encode(text).ids
    length = starter.spec.text.context_length
    assert tokens.lengths[0] == len(whole)
    assert tokens.contents[0] == min(len(whole), length) - 2
    if len(whole) <= length:
        assert tokens.ids[0].tolist() == whole + [0] * (length - len(whole))
    else:
        assert tokens.ids[0].tolist() == whole[: length - 1] + whole[-1:]


@pytest.fixture(scope="module")
def raw() -> Tokenizer:
    """The starter's tokeniser as the tokenizers library has it, without padding and truncation."""
    from crosslens.models.catalogue import find_bundle

    tokenizer = Tokenizer.from_file(str(find_bundle("starter").tokenizer()))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
