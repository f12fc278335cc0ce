"""The model for many callers at once: shared batches, and a cache of text embeddings.

It is a `Matcher`, so that whatever takes one (a library's search, `rank`, `classify`) gains by it.
"""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslens.encode import Encoded, Job, normalise
from crosslens.errors import CrosslensError, EncodingError
from crosslens.matching.match_probability import Probability, match_probability
from crosslens.matching.matcher import K, Matcher
from crosslens.serve.error_responses import Overloaded
from crosslens.serve.inference.dynamic_batching import Gathering, GatheringModel
from crosslens.serve.metrics import Metrics
from crosslens.texts.validation import LongText
from crosslens.towers.openvino_runtime import available_cores
from crosslens.types import Float32, UInt8

_TEXTS_KEPT = 10_000
_TEXT_BATCH = 64


class Engine(Matcher):
    """A `Matcher` whose calls from many threads share batches. Call `close` at the end.

    most_waiting, patience: as in `Gathering`. Calls raise Overloaded when too much is waiting.
    """

    def __init__(self, matcher: Matcher, metrics: Metrics, most_waiting: int, patience: float) -> None:
        model = matcher.model
        self._gathering = GatheringModel(
            model,
            Gathering(model.batch_size, model.concurrency, most_waiting, patience, metrics.batch("image")),
            Gathering(_TEXT_BATCH, model.concurrency, most_waiting, patience, metrics.batch("text")),
        )
        super().__init__(self._gathering, limits=matcher.limits)
        self.reference, self.decoding = matcher.reference, matcher.decoding
        self.plain = matcher
        self._looks_for_paths = False  # clients may not know what files there are
        self._metrics = metrics
        self._most_waiting = most_waiting
        self._decoding_now = 0
        self._lock = threading.Lock()
        self._decoders = ThreadPoolExecutor(available_cores(), thread_name_prefix="crosslens-decode")
        self._texts: OrderedDict[tuple[str, LongText], Float32] = OrderedDict()

    def warm_up(self) -> None:
        """Open both towers and run each once."""
        self.embed_texts(["a photo"])
        size = self.spec.image.size
        self.embed_images([np.zeros((size, size, 3), np.uint8)])

    def waiting(self) -> dict[str, int]:
        """Inputs that wait: to be decoded, and for each tower."""
        return {"decode": self._decoding_now, **self._gathering.waiting()}

    def close(self) -> None:
        """Finish what was accepted."""
        self._decoders.shutdown()
        self._gathering.close()

    def embed_texts(self, texts: Sequence[str] | str, long_text: LongText = "truncate") -> Float32:
        """See `Matcher.embed_texts`; texts that were embedded lately are not embedded again."""
        texts = [texts] if isinstance(texts, str) else list(texts)
        with self._lock:
            known = {text: self._texts.get((text, long_text)) for text in texts if isinstance(text, str)}
        new = [text for text in dict.fromkeys(texts) if known.get(text) is None]
        self._metrics.cached(len(texts) - len(new), len(new))
        if new or not texts:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # nobody would see them
                vectors = super().embed_texts(new, long_text)
            known |= dict(zip(new, vectors, strict=True))
        found = [vector for text in texts if (vector := known[text]) is not None]
        with self._lock:
            for text, vector in zip(texts, found, strict=True):
                self._texts[text, long_text] = vector
                self._texts.move_to_end((text, long_text))
            while len(self._texts) > _TEXTS_KEPT:
                self._texts.popitem(last=False)
        return np.stack(found) if found else np.empty((0, self.dimension), np.float32)

    def tokens(self, texts: Sequence[str]) -> int:
        """How many tokens texts have, those beyond the context left out."""
        if not texts:
            return 0
        lengths = self.model.tokenize(texts).lengths
        return int(np.minimum(lengths, self.spec.text.context_length).sum())

    def probabilities(
        self, cosines: Float32, texts: Sequence[str], probability: Probability
    ) -> NDArray[np.float64]:
        """The probability that pairs with these cosines and texts match, (n,)."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return match_probability(cosines, self.spec, probability, self.own_match, texts)[:, 1]

    def encode(self, jobs: Iterable[Job[K]]) -> Iterator[Encoded[K]]:
        """See `Matcher.encode`: pictures of all callers are decoded by one pool and share batches."""
        waiting: list[tuple[K, Future[UInt8] | None]] = []
        try:
            for job in jobs:
                waiting.append((job.key, self._prepared(job)))  # noqa: PERF401 (kept when one is refused)
        except Overloaded:
            for _, begun in waiting:  # nobody will ask for these
                if begun is not None:
                    begun.cancel()
            raise
        rows: list[tuple[K, UInt8 | CrosslensError | None]] = []
        for key, future in waiting:
            try:
                rows.append((key, None if future is None else future.result()))
            except CrosslensError as error:
                rows.append((key, error))
        ready = [row for _, row in rows if isinstance(row, np.ndarray)]
        size = self.model.batch_size
        parts = [np.stack(ready[start : start + size]) for start in range(0, len(ready), size)]
        running = [self.model.image.submit(part) for part in parts]
        raw = [future.result() for future in running]
        vectors, sound = (
            normalise(np.concatenate(raw)) if raw else (np.empty((0, 0), np.float32), np.empty(0))
        )
        self._metrics.images.inc(len(ready))
        done = iter(zip(vectors, sound, strict=True))
        for key, row in rows:
            if not isinstance(row, np.ndarray):
                yield Encoded(key, None, row)
                continue
            vector, good = next(done)
            yield Encoded(key, vector if good else None, None if good else EncodingError("no usable vector"))

    def _prepared(self, job: Job[Any]) -> Future[UInt8] | None:
        """Have a picture decoded. Raises Overloaded when too many wait for it."""
        if job.load is None:
            return None
        with self._lock:
            if self._decoding_now >= self._most_waiting:
                raise Overloaded(self._decoding_now)
            self._decoding_now += 1
        future: Future[UInt8] = self._decoders.submit(job.load)
        future.add_done_callback(self._one_less)
        return future

    def _one_less(self, _future: Future[UInt8]) -> None:
        with self._lock:
            self._decoding_now -= 1
