"""What a machine allows at best: cores / (decode + encode), the seconds of one core that a picture needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from crosslens import Matcher
from crosslens.towers.openvino_runtime import OpenVinoModel, available_cores

BATCH, BATCHES = 32, 8


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


class Limit:
    """Decoding in one thread, and encoding by one stream in one thread, each alone."""

    def __init__(self, matcher: Matcher) -> None:
        model = matcher.model
        assert isinstance(model, OpenVinoModel)
        alone = OpenVinoModel(model.bundle, model.precision, quantised=model.quantised)  # type: ignore[arg-type]
        alone.concurrency = 1
        self._matcher, self._tower = matcher, alone.image

    def costs(self, paths: Sequence[str]) -> tuple[float, float]:
        """Seconds of one core to decode a picture, and to encode one."""
        matcher = self._matcher
        batch = np.stack([matcher.prepare(path, path) for path in paths[:BATCH]])
        self._tower.submit(batch).result()
        decode = seconds(lambda: [matcher.prepare(path, path) for path in paths]) / len(paths)
        encode = seconds(lambda: [self._tower.submit(batch).result() for _ in range(BATCHES)])
        return decode, encode / (BATCHES * BATCH)

    def rate(self, paths: Sequence[str]) -> float:
        """Pictures a second that no pipeline on this machine can exceed."""
        return available_cores() / sum(self.costs(paths))
