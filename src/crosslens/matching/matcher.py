"""The matcher: one model that embeds, compares, ranks, classifies and matches pictures and texts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias, TypeVar, cast, get_args, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosslens import app_folders as places
from crosslens.arguments import brief, choice, two_lists
from crosslens.encode import RETRY, Encoded, Job, by_length, encode, normalise, vector_of
from crosslens.errors import ImageSkippedWarning, InputError, TextError, UnknownModelError, warn
from crosslens.images.decode import Decoded, Limits, decode
from crosslens.images.open_image import name_of, several
from crosslens.images.preprocess import preprocess
from crosslens.matching.match_probability import (
    Method,
    Probability,
    fit_match,
    likely,
    load_match,
    match_probability,
    save_match,
    softmax_confidence,
)
from crosslens.matching.zero_shot import TEMPLATES, assign, ensemble, prompts
from crosslens.models.catalogue import STARTER, local_name
from crosslens.models.certificate import DECODINGS, OVERSAMPLE, chosen_decoding
from crosslens.models.spec import MatchSpec, ModelSpec
from crosslens.texts.validation import LongText, check_texts, check_tokens, modality_of, short
from crosslens.towers.base import TwoTowers
from crosslens.towers.fake_model import FakeModel
from crosslens.towers.open_model import open_model
from crosslens.towers.openvino_runtime import Precision, available_cores
from crosslens.types import Embedded, Failure, Float32, ImageInput, Int64, Label, Modality, Pair, UInt8

K = TypeVar("K")
OnError = Literal["raise", "skip", "mark"]
Decode = Literal["auto", "fast", "exact"]
Images: TypeAlias = "Iterable[ImageInput] | ImageInput"

_TEXT_BATCH = 64


@dataclass(frozen=True, slots=True)
class Compute:
    """How a model is run; see `Matcher`."""

    precision: Precision = "auto"
    decode: Decode = "auto"
    device: str = "auto"


class Matcher:
    """Embeds, compares and ranks pictures and texts.

    model: a name, the path of a bundle folder, or an open model (`towers.base.TwoTowers`).
    precision: "auto" (bf16 where the device computes in it, else f32), "f32", "bf16", or "int8" after
    `crosslens models quantize`. A precision that `models check` found wanting on this machine is not taken
    by "auto".
    decode: "exact", every pixel; "fast", JPEGs at the smallest scale not below the model's input; "auto", the
    fastest that `models check` found right here, without such a check not below twice the input.
    device: "auto", "cpu", "cuda", or what else `towers.open_model.open_model` takes.
    limits: what is refused before it is decoded.

    Nothing is loaded before it is needed: texts alone never open the image tower.
    Raises UnknownModelError or BundleError.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | TwoTowers = STARTER,
        *,
        precision: Precision = "auto",
        decode: Decode = "auto",
        device: str = "auto",
        limits: Limits = Limits(),  # noqa: B008 (frozen)
    ) -> None:
        self._looks_for_paths = True  # whether a text that is the path of a picture is taken for a mistake
        self.reference: str  # how a later process asks for this model again
        if isinstance(model, str | os.PathLike):
            model = os.fspath(model)
            named = model if model == FakeModel.spec.name else local_name(model)
            self.reference = named or os.path.abspath(os.path.expanduser(model))
            model = open_model(model, precision, device)
        elif isinstance(getattr(model, "spec", None), ModelSpec):
            self.reference = model.spec.name
        else:
            raise UnknownModelError(f"{brief(model)} is no model", "Give a name or a bundle folder")
        if not isinstance(limits, Limits):
            raise InputError(f"limits is {brief(limits)}", "Wanted Limits(max_bytes=…, max_pixels=…)")
        self.model: TwoTowers = model
        self._fitted: MatchSpec | None = None
        self.limits = limits
        choice("decode", decode, get_args(Decode))
        self.decoding = chosen_decoding(model) if decode == "auto" else DECODINGS[decode]

    @property
    def spec(self) -> ModelSpec:
        """The model's facts."""
        return self.model.spec

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return self.model.spec.dimension

    @overload
    def embed_images(self, images: Images, on_error: Literal["raise", "mark"] = "raise") -> Float32: ...
    @overload
    def embed_images(self, images: Images, on_error: Literal["skip"]) -> Embedded: ...
    def embed_images(self, images: Images, on_error: OnError = "raise") -> Float32 | Embedded:
        """Embed pictures: float32 (n, d), unit norm, row i for picture i.

        on_error: what a picture that cannot be read does. "raise": ImageError, which names it. "mark": its
        row is NaN, and a warning (ImageSkippedWarning) names it. "skip": comes back as `Embedded`, whose
        `rows` say which pictures its vectors are, and whose `failures` name the others.
        """
        choice("on_error", on_error, get_args(OnError))
        jobs = (
            Job(name_of(image, number), partial(self.prepare, image, name_of(image, number)))
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
            message = f"rows are NaN for {named}{more}. on_error='skip' leaves them out"
            warn(ImageSkippedWarning(message))
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
        choice("long_text", long_text, get_args(LongText))
        texts = [texts] if isinstance(texts, str) else list(texts)
        check_texts(texts, paths=self._looks_for_paths)
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        tokens = self.model.tokenize(texts)
        check_tokens(texts, tokens, self.spec, long_text)
        vectors, sound = normalise(self._raw_texts(tokens.ids, tokens.lengths))
        if long_text == "mean":
            for row, pieces in tokens.rest.items():
                parts, _ = normalise(self._raw_texts(pieces))
                whole, _ = normalise(np.concatenate([vectors[row, None], parts]).mean(axis=0, keepdims=True))
                vectors[row] = whole[0]
        if not sound.all():
            row = int(np.argmin(sound))
            raise TextError(
                f"text {row} ({short(texts[row])}): the model gave no usable vector for it", RETRY
            )
        return vectors

    def _raw_texts(self, ids: Int64, lengths: Int64 | None = None) -> Float32:
        """Ids through the text tower, equal rows once; lengths: of the texts, short ones run short."""
        rows: dict[bytes, int] = {}
        places = [rows.setdefault(row.tobytes(), len(rows)) for row in ids]
        first = np.unique(places, return_index=True)[1]
        lengths = lengths[first] if lengths is not None and self.spec.short_texts else None
        batches = by_length(ids[first], lengths, _TEXT_BATCH)
        running = [(batch, self.model.text.submit(short)) for batch, short in batches]
        vectors = np.empty((len(first), self.dimension), np.float32)
        for batch, future in running:
            vectors[batch] = future.result()
        return vectors[places]

    @property
    def provenance(self) -> str:
        """What made this matcher's vectors, other than the model: runtime, precision, decoding."""
        return f"{self.model.runtime}, {self.decoding} decoding"

    def embed(self, data: Sequence[ImageInput] | str, modality: Modality | None = None) -> Float32:
        """Embed a list of pictures or a list of texts: float32 (n, d), unit norm.

        modality: "image" or "text"; None decides for the whole list, and refuses a mixture (`modality_of`).
        """
        items = list(several(data))
        modality = modality_of(items) if modality is None else modality
        choice("modality", modality, get_args(Modality))
        if modality == "image":
            return self.embed_images(items)
        return self.embed_texts(cast(list[str], items))

    def similarity(self, images: Images, texts: Sequence[str] | str) -> Float32:
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
        self, images: Images, labels: Sequence[str], templates: Sequence[str] = TEMPLATES
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
        templates = [templates] if isinstance(templates, str) else list(templates)
        return ensemble(self.embed_texts(prompts(labels, templates)), len(templates))

    def match(self, images: Images, texts: Sequence[str] | str) -> list[Pair]:
        """The one-to-one assignment of pictures to texts with the greatest sum of cosines, by picture.

        With more of one than of the other, the rest stay without. Needs the `eval` extra.
        """
        similarities = self.similarity(images, texts)
        rows, columns = assign(similarities)
        return [Pair(i, t, float(similarities[i, t])) for i, t in zip(rows, columns, strict=True)]

    def predict_proba(
        self, images: Images, texts: Sequence[str] | str, probability: Probability = "calibrated"
    ) -> NDArray[np.float64]:
        """Probability that picture i and text i match: float64 (n, 2), no match and match, rows sum to 1.

        Names of things ("dog") have a fit of their own. See `probability.match_probability`.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        cosines = self._pair_cosines(images, texts)
        return match_probability(cosines, self.spec, probability, self.own_match, texts)

    def predict(
        self,
        images: Images,
        texts: Sequence[str] | str,
        threshold: float = 0.5,
        probability: Probability = "calibrated",
    ) -> NDArray[np.int64]:
        """Whether picture i and text i match: int64 (n,), 1 where the probability is at least `threshold`."""
        return likely(self.predict_proba(images, texts, probability)[:, 1], threshold).astype(np.int64)

    def calibrate(
        self,
        pairs: Iterable[tuple[ImageInput, str]],
        labels: ArrayLike,
        *,
        save: bool = True,
        method: Method = "platt",
    ) -> MatchSpec:
        """Fit the match probability to pairs (picture, text); labels[i] is 1 if pair i matches, else 0.

        save: keep it in the user's data folder, for every later Matcher with this model. method: see
        `probability.fit_match`. Raises InputError unless both labels occur.
        """
        images, texts = two_lists(pairs)
        self._fitted = fit_match(self._pair_cosines(images, texts), labels, method)
        if save:
            save_match(self._fitted, places.calibration(self.spec.identity))
        return self._fitted

    def use_match(self, match: MatchSpec) -> None:
        """Take match probabilities from this fit from now on (`matching.load_calibration` reads one)."""
        self._fitted = match

    @property
    def own_match(self) -> MatchSpec | None:
        """A fit by `calibrate` or `use_match`, for names and captions alike; None: there is none."""
        if self._fitted is None:
            self._fitted = load_match(places.calibration(self.spec.identity))
        return self._fitted

    @property
    def match_spec(self) -> MatchSpec | None:
        """What turns cosines of captions into probabilities: `own_match`, else the bundle's, else None."""
        return self.own_match or self.spec.match

    def _pair_cosines(self, images: Images, texts: Sequence[str] | str) -> Float32:
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
            batch_size=self.model.batch_size,
            concurrency=self.model.concurrency,
        )

    def prepare(self, image: ImageInput, name: str) -> UInt8:
        """Decode and preprocess one picture: uint8 (s, s, 3). name: stands for it in errors."""
        return preprocess(self.decode(image, name).image, self.spec.image)

    def decode(self, image: ImageInput, name: str) -> Decoded:
        """Decode one picture as far as this model needs it."""
        size = None if self.decoding == "exact" else self.spec.image.side
        return decode(image, name, shrink_to=size, oversample=OVERSAMPLE[self.decoding], limits=self.limits)
