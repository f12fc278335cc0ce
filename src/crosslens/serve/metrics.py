"""Prometheus metrics. Names begin with crosslens_; units are seconds and bytes."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counts of one service, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self.requests = Counter(
            "crosslens_requests", "Requests answered", ["method", "route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "crosslens_request_seconds",
            "Seconds to an answer",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.running = Gauge("crosslens_requests_running", "Requests being answered", registry=registry)
        self.waiting = Gauge("crosslens_queue_depth", "Inputs that wait", ["queue"], registry=registry)
        self.rows = Histogram(
            "crosslens_batch_rows", "Rows of batches", ["tower"], buckets=_ROWS, registry=registry
        )
        self.images = Counter(
            "crosslens_images_embedded", "Pictures embedded for requests", registry=registry
        )
        self.texts = Counter(
            "crosslens_texts", "Texts asked for, new or from memory", ["source"], registry=registry
        )
        self.indexed = Counter("crosslens_indexed", "Pictures indexed by jobs", registry=registry)
        self.failures = Counter("crosslens_failures", "Failures by reason", ["reason"], registry=registry)
        self.jobs = Gauge("crosslens_jobs", "Jobs by state", ["state"], registry=registry)
        self.items = Gauge("crosslens_library_items", "Items of a library", ["library"], registry=registry)

    def batch(self, tower: str) -> Callable[[int], None]:
        """What is told the rows of every batch."""
        return self.rows.labels(tower).observe

    def cached(self, known: int, new: int) -> None:
        """Count texts whose vectors were known, and those that were not."""
        self.texts.labels("memory").inc(known)
        self.texts.labels("new").inc(new)

    def text(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self._registry)
