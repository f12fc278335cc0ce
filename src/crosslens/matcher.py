"""The matcher: a model with everything around it that turns pictures and words into comparable vectors."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from crosslens import places
from crosslens.decode import Limits, decode
from crosslens.encode import Encoded, Job, encode, normalise, vector_of
from crosslens.errors import ImageSkippedWarning, InputError, TextError
from crosslens.inputs import shown
from crosslens.models.catalogue import CATALOGUE, STARTER, find_bundle
from crosslens.models.spec import MatchSpec, ModelSpec
from crosslens.preprocess import preprocess
from crosslens.probability import (
    Probability,
    fit_match,
    load_match,
    match_probability,
    save_match,
    softmax_confidence,
)
from crosslens.texts import LongText, check_texts, check_tokens, modality_of, short
from crosslens.towers.base import TwoTowers
from crosslens.towers.fake import FakeModel
from crosslens.towers.openvino import OpenVinoModel, Precision, available_cores
from crosslens.types import (
    Embedded,
    Failure,
    Float32,
    ImageInput,
    Int64,
    Label,
    Modality,
    Pair,
    UInt8,
)
from crosslens.zeroshot import TEMPLATES, assign, ensemble, prompts

K = TypeVar("K")
OnError = Literal["raise", "skip", "mark"]

_IMAGE_BATCH = 32
_TEXT_BATCH = 64


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
        self._fitted: MatchSpec | None = None
        self.limits = limits

    @property
    def spec(self) -> ModelSpec:
        """The model's facts."""
        return self.model.spec

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return self.model.spec.dimension

    @overload
    def embed_images(
        self, images: Iterable[ImageInput] | ImageInput, on_error: Literal["raise", "mark"] = "raise"
    ) -> Float32: ...
    @overload
    def embed_images(
        self, images: Iterable[ImageInput] | ImageInput, on_error: Literal["skip"]
    ) -> Embedded: ...
    def embed_images(
        self, images: Iterable[ImageInput] | ImageInput, on_error: OnError = "raise"
    ) -> Float32 | Embedded:
        """Embed pictures: float32 (n, d), unit norm, row i for picture i.

        on_error: what a picture that cannot be read does. "raise": ImageError, which names it. "mark": its
        row is NaN, and a warning (ImageSkippedWarning) names it. "skip": comes back as `Embedded`, whose
        `rows` say which pictures its vectors are, and whose `failures` name the others.
        """
        if on_error not in ("raise", "skip", "mark"):
            raise InputError(f'on_error is {on_error!r}, wanted "raise", "skip" or "mark"')
        jobs = (
            Job(_name(image, number), partial(self.prepare, image, _name(image, number)))
            for number, image in enumerate(several(images))
        )
        results = self.encode(jobs)
        if on_error == "raise":
            rows = [cast(Float32, vector_of(result, result.key)) for result in results]
            return np.stack(rows) if rows else np.empty((0, self.dimension), np.float32)
        embedded, count = self._without_failures(results)
        if on_error == "skip":
            return embedded
        if embedded.failures:
            named = "; ".join(f"{failure.path}: {failure.reason}" for failure in embedded.failures[:3])
            more = f" and {len(embedded.failures) - 3} more" if len(embedded.failures) > 3 else ""
            warnings.warn(ImageSkippedWarning(f"rows are NaN for {named}{more}"), stacklevel=2)
        vectors = np.full((count, self.dimension), np.nan, dtype=np.float32)
        vectors[embedded.rows] = embedded.vectors
        return vectors

    def _without_failures(self, results: Iterable[Encoded[str]]) -> tuple[Embedded, int]:
        """(what could be embedded, the number of all)."""
        vectors, rows, failures, number = [], [], [], -1
        for number, result in enumerate(results):
            if result.vector is not None:
                vectors.append(result.vector)
                rows.append(number)
            elif result.error is not None:
                failures.append(Failure(result.key, getattr(result.error, "reason", result.error.problem)))
        stacked = np.stack(vectors) if vectors else np.empty((0, self.dimension), np.float32)
        return Embedded(stacked, np.array(rows, dtype=np.int64), tuple(failures)), number + 1

    def embed_texts(self, texts: Sequence[str] | str, long_text: LongText = "truncate") -> Float32:
        """Embed texts: float32 (n, d), unit norm, row i for text i.

        long_text: what happens to a text longer than the model's context. "truncate": its end is left out,
        the end token kept, and a warning (TextTruncatedWarning) names the row. "mean": it is cut into pieces
        whose vectors are averaged. "error": TextError.
        Warns of scripts the model never saw (UnseenScriptWarning).
        Raises TextError for an empty text, or for the path of a picture in place of a text.
        """
        if long_text not in ("truncate", "mean", "error"):
            raise InputError(f'long_text is {long_text!r}, wanted "truncate", "mean" or "error"')
        texts = [texts] if isinstance(texts, str) else list(texts)
        check_texts(texts)
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        tokens = self.model.tokenize(texts)
        check_tokens(texts, tokens, self.spec, long_text)
        vectors, sound = normalise(self._raw_texts(tokens.ids))
        if long_text == "mean":
            for row, pieces in tokens.rest.items():
                parts, _ = normalise(self._raw_texts(pieces))
                whole, _ = normalise(np.concatenate([vectors[row, None], parts]).mean(axis=0, keepdims=True))
                vectors[row] = whole[0]
        if not sound.all():
            row = int(np.argmin(sound))
            raise TextError(f"text {row} ({short(texts[row])}): the model gave no usable vector for it")
        return vectors

    def _raw_texts(self, ids: Int64) -> Float32:
        starts = range(0, len(ids), _TEXT_BATCH)
        running = [self.model.text.submit(ids[i : i + _TEXT_BATCH]) for i in starts]
        return np.concatenate([future.result() for future in running])

    def embed(self, data: Sequence[ImageInput] | str, modality: Modality | None = None) -> Float32:
        """Embed a list of pictures or a list of texts: float32 (n, d), unit norm.

        modality: "image" or "text"; None decides for the whole list, and refuses a mixture (`modality_of`).
        """
        items = list(several(data))
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
        return self.rank_vectors(self.embed_images([image]), self.embed_texts(texts), texts)[0]

    def rank_vectors(self, images: Float32, texts: Float32, names: Sequence[str]) -> list[list[Label]]:
        """`rank` for embeddings: images (n, d), texts (m, d), names[j] for row j of texts."""
        ranked = []
        for similarities in np.clip(images @ texts.T, -1, 1):
            confidences = softmax_confidence(similarities, self.spec.logit_scale)
            order = np.argsort(-similarities, kind="stable")
            ranked.append(
                [Label(names[i], int(i), float(similarities[i]), float(confidences[i])) for i in order]
            )
        return ranked

    def classify(
        self,
        images: Iterable[ImageInput] | ImageInput,
        labels: Sequence[str],
        templates: Sequence[str] = TEMPLATES,
    ) -> list[list[Label]]:
        """For every picture the labels, best first, with softmax confidence over all of them.

        templates: prompts with "{}" for the label; their vectors are averaged for each label. ("{}",) takes
        the labels as they are.
        """
        labels = [labels] if isinstance(labels, str) else list(labels)
        texts = self.embed_labels(labels, templates)
        return self.rank_vectors(self.embed_images(images), texts, labels)

    def embed_labels(self, labels: Sequence[str], templates: Sequence[str] = TEMPLATES) -> Float32:
        """A zero-shot classifier: float32 (n, d), unit norm, a label's row the mean over its prompts."""
        return ensemble(self.embed_texts(prompts(labels, templates)), len(templates))

    def match(self, images: Iterable[ImageInput] | ImageInput, texts: Sequence[str] | str) -> list[Pair]:
        """The one-to-one assignment of pictures to texts with the greatest sum of cosines, by picture.

        With more of one than of the other, the rest stay without. Needs the `eval` extra.
        """
        similarities = self.similarity(images, texts)
        rows, columns = assign(similarities)
        return [
            Pair(image, text, float(similarities[image, text]))
            for image, text in zip(rows, columns, strict=True)
        ]

    def predict_proba(
        self,
        images: Iterable[ImageInput] | ImageInput,
        texts: Sequence[str] | str,
        probability: Probability = "calibrated",
    ) -> NDArray[np.float64]:
        """Probability that picture i and text i match: float64 (n, 2), no match and match, rows sum to 1.

        See `probability.match_probability`.
        """
        cosines = self._pair_cosines(images, texts)
        return match_probability(cosines, self.spec, probability, self.match_spec)

    def predict(
        self,
        images: Iterable[ImageInput] | ImageInput,
        texts: Sequence[str] | str,
        threshold: float = 0.5,
    ) -> NDArray[np.int64]:
        """Whether picture i and text i match: int64 (n,), 1 where the probability is at least `threshold`."""
        return (self.predict_proba(images, texts)[:, 1] >= threshold).astype(np.int64)

    def calibrate(
        self,
        images: Iterable[ImageInput] | ImageInput,
        texts: Sequence[str] | str,
        labels: ArrayLike,
        *,
        save: bool = True,
    ) -> MatchSpec:
        """Fit the match probability to pairs: picture i, text i, labels[i] 1 for a match and 0 for none.

        save: keep the fit in the user's data folder, for every later Matcher with this model.
        Raises InputError unless both labels occur.
        """
        self._fitted = fit_match(self._pair_cosines(images, texts), labels)
        if save:
            save_match(self._fitted, places.calibration(self.spec.identity))
        return self._fitted

    @property
    def match_spec(self) -> MatchSpec | None:
        """What turns cosines into match probabilities: a fit by `calibrate`, else the bundle's, else None."""
        if self._fitted is None:
            self._fitted = load_match(places.calibration(self.spec.identity))
        return self._fitted or self.spec.match

    def _pair_cosines(self, images: Iterable[ImageInput] | ImageInput, texts: Sequence[str] | str) -> Float32:
        pictures, words = self.embed_images(images), self.embed_texts(texts)
        if len(pictures) != len(words):
            raise InputError(f"there are {len(pictures)} pictures and {len(words)} texts", "Give pairs")
        cosines: Float32 = np.clip((pictures * words).sum(axis=1), -1, 1)
        return cosines

    def encode(self, jobs: Iterable[Job[K]]) -> Iterator[Encoded[K]]:
        """Run prepared pictures (`prepare`) through the image tower, in order, with bounded memory."""
        return encode(
            jobs,
            self.model.image,
            workers=available_cores(),
            batch_size=_IMAGE_BATCH,
            concurrency=self.model.concurrency,
        )

    def prepare(self, image: ImageInput, name: str) -> UInt8:
        """Decode and preprocess one picture: uint8 (s, s, 3). name: stands for it in errors."""
        spec = self.spec.image
        return preprocess(decode(image, name, shrink_to=spec.size, limits=self.limits).image, spec)


def several(images: Iterable[ImageInput] | ImageInput) -> Iterable[ImageInput]:
    """One picture counts as a list of one; an array is one unless it has a fourth axis."""
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    one = isinstance(images, str | bytes | bytearray | memoryview | os.PathLike | Image.Image)
    if one or hasattr(images, "read"):
        return [cast(ImageInput, images)]
    return cast(Iterable[ImageInput], images)


def _name(image: ImageInput, number: int) -> str:
    return shown(os.fspath(image)) if isinstance(image, str | os.PathLike) else f"image {number}"


def _writable(folder: Path) -> Path | None:
    """The folder, made if need be; None where it cannot be written: a cache is never a condition."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None
