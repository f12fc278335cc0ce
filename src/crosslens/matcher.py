"""The matcher: a model with everything around it that turns pictures and words into comparable vectors."""

from __future__ import annotations

import os
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from crosslens import places
from crosslens.decode import Limits, decode
from crosslens.encode import Encoded, Job, encode, normalise
from crosslens.errors import EncodingError, InputError, TextError, TextTruncatedWarning, UnseenScriptWarning
from crosslens.models.catalogue import CATALOGUE, STARTER, find_bundle
from crosslens.models.spec import ModelSpec
from crosslens.preprocess import preprocess
from crosslens.read import has_image_name
from crosslens.tokenize import Tokens
from crosslens.towers.base import TwoTowers
from crosslens.towers.fake import FakeModel
from crosslens.towers.openvino import OpenVinoModel, Precision, available_cores
from crosslens.types import Float32, ImageInput, Label, UInt8

K = TypeVar("K")
Modality = Literal["image", "text"]

_IMAGE_BATCH = 32
_TEXT_BATCH = 64


def softmax_confidence(similarities: ArrayLike, logit_scale: float) -> NDArray[np.float64]:
    """Softmax of logit_scale × similarities over the last axis: float64, same shape, rows sum to 1.

    Says which of several texts fits best, never whether any fits. Finite for any finite input.
    Source: CLIP (Radford et al. 2021), where logit_scale is learned; 100 for OpenAI's models.
    """
    logits = np.asarray(similarities, dtype=np.float64) * logit_scale
    if logits.ndim == 0 or logits.shape[-1] == 0:
        raise ValueError(f"softmax needs at least one similarity in the last axis, got shape {logits.shape}")
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]


def modality_of(items: Sequence[ImageInput]) -> Modality:
    """What a list holds: "image" when all entries are pictures or paths of files, "text" when none is.

    Raises InputError, which names the rows, for a mixture.
    """
    texts = [row for row, item in enumerate(items) if isinstance(item, str) and not os.path.isfile(item)]
    if texts and len(texts) < len(items):
        images = sorted(set(range(len(items))) - set(texts))
        raise InputError(
            f"the list mixes pictures and texts: {_listed(images)} are pictures, {_listed(texts)} are not",
            'Check the paths, or say which it is: modality="image" or "text"',
        )
    return "image" if items and not texts else "text"


def open_model(
    model: str | os.PathLike[str], precision: Precision = "auto", cache: Path | None = None
) -> TwoTowers:
    """A model by name or bundle folder, ready to run; "fake" is the one for tests (`towers.fake`).

    Raises UnknownModelError or BundleError.
    """
    if os.fspath(model) == FakeModel.spec.name:
        return FakeModel()
    return OpenVinoModel(find_bundle(model), precision, cache)


class Matcher:
    """Embeds, compares and ranks pictures and texts.

    model: a name, the path of a bundle folder, or an open model (`towers.base.TwoTowers`).
    precision: "auto" (bf16 where the CPU computes in it, else f32), "bf16" or "f32".
    limits: what is refused before it is decoded.

    Nothing is loaded before it is needed: texts alone never open the image tower.
    Raises UnknownModelError or BundleError.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | TwoTowers = STARTER,
        *,
        precision: Precision = "auto",
        limits: Limits = Limits(),  # noqa: B008 (frozen)
    ) -> None:
        # How a later process asks for this model again.
        self.reference: str
        if isinstance(model, str | os.PathLike):
            model = os.fspath(model)
            named = model in CATALOGUE or model == FakeModel.spec.name
            self.reference = model if named else os.path.abspath(os.path.expanduser(model))
            model = open_model(model, precision, _writable(places.model_cache()))
        else:
            self.reference = model.spec.name
        self.model: TwoTowers = model
        self.limits = limits

    @property
    def spec(self) -> ModelSpec:
        """The model's facts."""
        return self.model.spec

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return self.model.spec.dimension

    def embed_images(self, images: Iterable[ImageInput] | ImageInput) -> Float32:
        """Embed pictures: float32 (n, d), unit norm, row i for picture i.

        Raises ImageError, which names the picture, for the first that cannot be read.
        """
        jobs = (
            Job(_name(image, number), partial(self.prepare, image, _name(image, number)))
            for number, image in enumerate(_several(images))
        )
        rows = [_vector_of(result) for result in self.encode(jobs)]
        return np.stack(rows) if rows else np.empty((0, self.dimension), np.float32)

    def embed_texts(self, texts: Sequence[str] | str) -> Float32:
        """Embed texts: float32 (n, d), unit norm, row i for text i.

        Warns (TextTruncatedWarning, UnseenScriptWarning) with the rows concerned.
        Raises TextError for an empty text, or for the path of a picture in place of a text.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        _check_texts(texts)
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        tokens = self.model.tokenize(texts)
        self._check_tokens(texts, tokens)
        starts = range(0, len(texts), _TEXT_BATCH)
        running = [self.model.text.submit(tokens.ids[i : i + _TEXT_BATCH]) for i in starts]
        vectors, sound = normalise(np.concatenate([future.result() for future in running]))
        if not sound.all():
            row = int(np.argmin(sound))
            raise TextError(f"text {row} ({_short(texts[row])}): the model gave no usable vector for it")
        return vectors

    def embed(self, data: Sequence[ImageInput] | str, modality: Modality | None = None) -> Float32:
        """Embed a list of pictures or a list of texts: float32 (n, d), unit norm.

        modality: "image" or "text"; None decides for the whole list, and refuses a mixture (`modality_of`).
        """
        items = list(_several(data))
        if (modality or modality_of(items)) == "image":
            return self.embed_images(items)
        return self.embed_texts(cast(list[str], items))

    def similarity(self, images: Iterable[ImageInput] | ImageInput, texts: Sequence[str] | str) -> Float32:
        """Cosine of every picture with every text: float32 (images, texts), in [-1, 1]."""
        cosines: Float32 = self.embed_images(images) @ self.embed_texts(texts).T
        return np.clip(cosines, -1, 1, out=cosines)

    def rank(self, image: ImageInput, texts: Sequence[str]) -> list[Label]:
        """The texts by how well they fit a picture, best first, with softmax confidence over them all."""
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not texts:
            raise TextError("there is no text to rank", "Give at least one")
        similarities = self.similarity([image], texts)[0]
        confidences = softmax_confidence(similarities, self.spec.logit_scale)
        order = np.argsort(-similarities, kind="stable")
        return [Label(texts[i], int(i), float(similarities[i]), float(confidences[i])) for i in order]

    def encode(self, jobs: Iterable[Job[K]]) -> Iterator[Encoded[K]]:
        """Run prepared pictures (`prepare`) through the image tower, in order, with bounded memory."""
        return encode(
            jobs,
            self.model.image,
            workers=available_cores() + 1,  # one more, because Pillow holds Python's lock at times
            batch_size=_IMAGE_BATCH,
            concurrency=self.model.concurrency,
        )

    def prepare(self, image: ImageInput, name: str) -> UInt8:
        """Decode and preprocess one picture: uint8 (s, s, 3). name: stands for it in errors."""
        spec = self.spec.image
        return preprocess(decode(image, name, shrink_to=spec.size, limits=self.limits).image, spec)

    def _check_tokens(self, texts: Sequence[str], tokens: Tokens) -> None:
        empty = np.flatnonzero(tokens.contents == 0)
        if len(empty):
            raise TextError(
                f"text {empty[0]} ({_short(texts[empty[0]])}) is empty, or holds nothing the model reads"
            )
        length = self.spec.text.context_length
        cut = np.flatnonzero(tokens.lengths > length)
        if len(cut):
            warnings.warn(
                TextTruncatedWarning(
                    f"{_these(texts, cut)} longer than the {length} tokens that {self.spec.name} reads "
                    f"({tokens.lengths[cut].max()} tokens at most); the end was left out"
                ),
                stacklevel=3,
            )
        unseen = {row: script for row, text in enumerate(texts) if (script := self._unseen_script(text))}
        if unseen:
            rows = np.array(list(unseen))
            warnings.warn(
                UnseenScriptWarning(
                    f"{_these(texts, rows)} in a script that {self.spec.name} never saw "
                    f"({', '.join(sorted(set(unseen.values())))}); the results mean nothing"
                ),
                stacklevel=3,
            )

    def _unseen_script(self, text: str) -> str | None:
        if not self.spec.scripts or text.isascii():
            return None
        scripts = filter(None, map(_script, unicodedata.normalize("NFC", text)))
        return next((script for script in scripts if script not in self.spec.scripts), None)


def _script(character: str) -> str | None:
    """The script of a letter, by the first word of its Unicode name: LATIN, CYRILLIC, CJK and so on.

    None for what all scripts share: digits, signs (µ, the Ω of ohm, ª), modifiers (ʻ).
    """
    words = unicodedata.name(character, "SIGN").split()
    is_letter = unicodedata.category(character) in ("Lu", "Ll", "Lt", "Lo")
    if not is_letter or {"SIGN", "INDICATOR", "SYMBOL", "MATHEMATICAL"} & set(words):
        return None
    return words[1] if words[0] in ("FULLWIDTH", "HALFWIDTH") else words[0]


def _check_texts(texts: Sequence[str]) -> None:
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise TextError(f"text {row} is {type(text).__name__}, not str")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise TextError(f"text {row} ({text!a:.60}) holds half a character, a lone surrogate") from error
        if has_image_name(text) and os.path.isfile(text):
            raise TextError(
                f"text {row} ({_short(text)}) is the path of a picture", "Pass pictures to the image side"
            )


def _vector_of(result: Encoded[Any]) -> Float32:
    if isinstance(result.error, EncodingError):
        raise EncodingError(f"the model gave no usable vector for {result.key}")
    if result.error is not None:
        raise result.error
    assert result.vector is not None  # noqa: S101 (every job here has something to encode)
    return result.vector


def _several(images: Iterable[ImageInput] | ImageInput) -> Iterable[ImageInput]:
    """One picture counts as a list of one; an array is one unless it has a fourth axis."""
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, str | bytes | os.PathLike | Image.Image):
        return [images]
    return images


def _name(image: ImageInput, number: int) -> str:
    return os.fspath(image) if isinstance(image, str | os.PathLike) else f"image {number}"


def _these(texts: Sequence[str], rows: NDArray[np.int64]) -> str:
    """Name some of the texts, as the subject of a sentence."""
    if len(rows) > 1:
        return f"{len(rows)} texts ({_listed(rows)}) are"
    text = _short(texts[rows[0]])
    return f"{text} is" if len(texts) == 1 else f"text {rows[0]} ({text}) is"


def _listed(rows: Sequence[int] | NDArray[np.int64]) -> str:
    return (
        ("rows " if len(rows) > 1 else "row ")
        + ", ".join(map(str, rows[:5]))
        + (", …" if len(rows) > 5 else "")
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")


def _writable(folder: Path) -> Path | None:
    """The folder, made if need be; None where it cannot be written: a cache is never a condition."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None
