"""Retrieval measured: texts that look for their picture, and pictures for their texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike

from crosslens.arguments import choice, numbers, whole
from crosslens.errors import InputError
from crosslens.evaluation.bootstrap import RESAMPLES, Int64, estimates
from crosslens.evaluation.datasets import Pairs
from crosslens.evaluation.embedding import OnProgress, embed_pairs
from crosslens.evaluation.metrics import depths
from crosslens.evaluation.ranks import RankedQueries, Relevance, Ties, rank_queries
from crosslens.matching.matcher import Matcher
from crosslens.types import Failure, Float32

CUTOFFS = (1, 5, 10)


@dataclass(frozen=True, slots=True)
class Retrieval:
    """How well captions find their pictures (text_to_image) and pictures their captions (image_to_text).

    Figures of either: `recall@k`, the share of all right answers among the first k; `hit@k`, whether any
    right answer is among them; `precision@k`; `ndcg@k`, with graded relevance; `mrr`; `map`; `median_rank`,
    of the first right answer.
    With one picture to a caption, text_to_image's recall@k and hit@k are the same. With five captions to a
    picture, image_to_text's recall@1 is 0.2 at best; hit@1 is what papers on CLIP report as R@1.
    """

    text_to_image: RankedQueries
    image_to_text: RankedQueries

    @property
    def directions(self) -> dict[str, RankedQueries]:
        """Both, by name."""
        return {"text_to_image": self.text_to_image, "image_to_text": self.image_to_text}


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """What a model did on a set: the figures, what could not be read, and how fast it went.

    images, texts: how many were embedded. images_per_second: files to vectors, the model already open.
    failures: pictures that were left out, with their captions.
    pairs: the set as evaluated, without them.
    """

    retrieval: Retrieval
    pairs: Pairs
    failures: tuple[Failure, ...]
    images_per_second: float
    texts_per_second: float


def retrieval_metrics(
    image_vectors: ArrayLike,
    text_vectors: ArrayLike,
    text_to_image: ArrayLike,
    *,
    cutoffs: Sequence[int] = CUTOFFS,
    ties: Ties = "worst",
    resamples: int = RESAMPLES,
    image_ids: Sequence[str] | None = None,
) -> Retrieval:
    """Rank all pictures for every text and all texts for every picture, by cosine.

    image_vectors: (n, d), text_vectors: (m, d), unit norm. text_to_image: (m,), row of each text's picture,
    -1 for none; or rows (text, picture, relevance) where several pictures are right, or some more than
    others.
    A query without a right answer does not count; `uncounted` says how many there are. ties: see
    `rank_queries`.
    resamples: of the bootstrap for 95 % intervals, which draws a picture with all its captions; 0: no
    intervals.
    Raises InputError.
    Source: trec_eval for all figures; Young et al., TACL 2014, for image–caption retrieval in both
    directions.
    """
    choice("ties", ties, get_args(Ties))
    whole("resamples", resamples, least=0)
    found = depths(cutoffs)
    images, texts = _vectors("image_vectors", image_vectors), _vectors("text_vectors", text_vectors)
    if images.shape[1] != texts.shape[1]:
        problem = f"image_vectors have shape {images.shape} and text_vectors {texts.shape}"
        raise InputError(problem, "Give vectors of one model")
    right = _relevance(text_to_image, len(images), len(texts))
    if not len(right.queries):
        raise InputError("no text has a picture that is right", "Check text_to_image, or the judgements")
    by_text = rank_queries(texts, images, right, found, ties, image_ids)
    by_image = rank_queries(images, texts, right.turned(), found, ties)
    return Retrieval(
        _estimated(by_text, _clusters(right), resamples),
        _estimated(by_image, np.arange(len(by_image.rows)), resamples),
    )


def evaluate_retrieval(
    matcher: Matcher,
    pairs: Pairs,
    *,
    cutoffs: Sequence[int] = CUTOFFS,
    ties: Ties = "worst",
    resamples: int = RESAMPLES,
    on_progress: OnProgress = lambda _progress: None,
) -> RetrievalReport:
    """Embed a set and measure retrieval both ways; see `retrieval_metrics`.

    A picture that cannot be read is left out with its captions, and named. Raises InputError, TextError.
    """
    embedded = embed_pairs(matcher, pairs, on_progress)
    pairs = embedded.pairs
    right = pairs.relevance
    retrieval = retrieval_metrics(
        embedded.images,
        embedded.texts,
        np.stack([right.queries, right.answers, right.levels], axis=1),
        cutoffs=cutoffs,
        ties=ties,
        resamples=resamples,
        image_ids=pairs.image_ids,
    )
    rates = embedded.images_per_second, embedded.texts_per_second
    return RetrievalReport(retrieval, pairs, embedded.failures, *rates)


def _vectors(name: str, values: ArrayLike) -> Float32:
    vectors = numbers(name, values, np.float32)
    if vectors.ndim != 2 or not len(vectors):
        raise InputError(f"{name} have shape {vectors.shape}", "Wanted (n, d), and at least one")
    sound = np.isfinite(vectors).all(axis=1)
    if not sound.all():
        raise InputError(f"row {int(np.argmin(sound))} of {name} is not finite", "Leave it out")
    return np.ascontiguousarray(vectors)


def _relevance(text_to_image: ArrayLike, images: int, texts: int) -> Relevance:
    """Raises InputError for rows that are not there."""
    given = numbers("text_to_image", text_to_image)
    rows = given.astype(np.int64)
    if not (rows == given).all():
        raise InputError("text_to_image holds what is no whole number", "Give rows of pictures")
    if rows.ndim == 1:
        if len(rows) != texts:
            raise InputError(f"text_to_image has {len(rows)} rows for {texts} texts", "Give one to a text")
        rows = np.stack([np.arange(texts), rows, np.ones(texts, np.int64)], axis=1)[rows >= 0]
    if rows.ndim != 2 or rows.shape[1] != 3:
        problem = f"text_to_image has shape {rows.shape}"
        raise InputError(problem, "Wanted (texts,), or rows of text, picture and relevance (m, 3)")
    for name, values, count in (("text", rows[:, 0], texts), ("picture", rows[:, 1], images)):
        wrong = (values < 0) | (values >= count)
        if wrong.any():
            problem = f"text_to_image names {name} {values[np.argmax(wrong)]}, and there are {count}"
            raise InputError(problem, "Count from 0")
    return Relevance.of(*rows.T)


def _clusters(right: Relevance) -> Int64:
    """Which texts are drawn together: those of one picture, where every text has one; else each by itself."""
    texts, starts = np.unique(right.queries, return_index=True)
    if len(texts) < len(right.queries):
        return np.arange(len(texts))
    return np.unique(right.answers[starts], return_inverse=True)[1]


def _estimated(ranked: RankedQueries, clusters: Int64, resamples: int) -> RankedQueries:
    means = {name: values for name, values in ranked.columns.items() if name not in ("rank", "positives")}
    medians = {"median_rank": ranked.columns["rank"]}
    return replace(ranked, figures=estimates(means, medians, clusters, resamples))
