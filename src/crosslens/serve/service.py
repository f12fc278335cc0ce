"""The running service: one object with everything the endpoints work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any, TypeVar, cast

import anyio.to_thread
from anyio import CapacityLimiter
from starlette.requests import Request

from crosslens.serve.config import ServeConfig
from crosslens.serve.contract.requests import Address, ItemPicture, Picture, Upload
from crosslens.serve.error_responses import too_large
from crosslens.serve.inference.engine import Engine
from crosslens.serve.inference.request_images import picture_bytes, uploaded
from crosslens.serve.ingest.jobs import Jobs
from crosslens.serve.libraries.query_completion import Completer
from crosslens.serve.libraries.registry import Shelf
from crosslens.serve.libraries.thumbnails import Thumbnails, file_of, opened
from crosslens.serve.metrics import Metrics
from crosslens.serve.security.auth import Keys, Rates

T = TypeVar("T")


@dataclass(frozen=True)
class Service:
    """A service and its parts.

    threads, decoding, slow: how many threads for most, for thumbnails, for what takes long. stopping: streams
    are to end.
    """

    config: ServeConfig
    keys: Keys
    rates: Rates
    metrics: Metrics
    engine: Engine
    shelf: Shelf
    jobs: Jobs
    thumbnails: Thumbnails
    completer: Completer
    threads: CapacityLimiter
    decoding: CapacityLimiter
    slow: CapacityLimiter
    ready: Event = field(default_factory=Event)
    stopping: Event = field(default_factory=Event)

    async def run(self, work: Callable[[], T], limiter: CapacityLimiter | None = None) -> T:
        """Something that takes time, in a thread. A client that goes away does not wait for it."""
        return await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter or self.threads)

    def sees_paths(self, request: Request) -> bool:
        """Whether a client may know where files lie: an admin may, and who uses it on this machine alone."""
        if self.keys.all():
            return getattr(request.state, "scope", None) == "admin"
        return self.config.is_local

    def pictures(self, given: Sequence[Picture], files: Mapping[str, bytes]) -> list[bytes]:
        """The bytes of pictures, however they were given. Raises Problem."""
        limit = self.config.limits.images
        if len(given) > limit:
            raise too_large(f"{len(given)} pictures are in the request, {limit} are allowed")
        return [self._picture(one, f"image {number}", files) for number, one in enumerate(given)]

    def _picture(self, given: Picture, name: str, files: Mapping[str, bytes]) -> bytes:
        if isinstance(given, str):
            return picture_bytes(given, self.config, name)
        if isinstance(given, Address):
            return picture_bytes(given.url, self.config, name)
        if isinstance(given, Upload):
            return uploaded(files, given.file)
        return self.item_picture(given)

    def item_picture(self, given: ItemPicture) -> bytes:
        """The file of an item. Raises Problem."""
        with opened(file_of(*self.shelf.item(given.item))) as file:
            data = file.read(self.config.pictures.max_bytes + 1)
        if len(data) > self.config.pictures.max_bytes:
            raise too_large(f"{given.item} has more than {self.config.pictures.max_bytes:,} bytes")
        return data

    def check_texts(self, texts: Sequence[str]) -> None:
        """Raise Problem for more or longer texts than are allowed."""
        limits = self.config.limits
        if len(texts) > limits.texts:
            raise too_large(f"{len(texts)} texts are in the request, {limits.texts} are allowed")
        longest = max(map(len, texts), default=0)
        if longest > limits.characters:
            raise too_large(f"a text has {longest:,} characters, {limits.characters:,} are allowed")


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    return cast(Service, cast(Any, request).app.state.service)
