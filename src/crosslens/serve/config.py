"""Configuration of the service, made once by the command line; and limits of requests."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from crosslens.errors import InputError
from crosslens.images.decode import Limits as PictureLimits
from crosslens.matching.matcher import Compute

DEFAULT_PORT = 8765
_MB = 1 << 20


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What one request may hold.

    body: bytes of one that is JSON. images, texts: how many. characters: of one text. k: results. upload:
    bytes of uploaded files together; file: of one of them. zip_entries, zip_ratio: files in an archive, and
    how many times larger than it they may be. url_bytes, url_seconds: of a picture behind an address.
    """

    body: int = 64 * _MB
    images: int = 256
    texts: int = 2048
    characters: int = 20_000
    k: int = 1000
    upload: int = 4096 * _MB
    file: int = 512 * _MB
    zip_entries: int = 50_000
    zip_ratio: int = 100
    url_bytes: int = 32 * _MB
    url_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """How the service runs.

    libraries: folders; their names are what clients call them by. data: the folder of those that clients
    make; None: in the user's data folder. model: where no library says; how: see `Compute`. keys: the file
    of API keys. allowed_hosts: names of this service beside its address and those of loopback. origins:
    pages of other origins that may call it. folders: below which clients with admin scope may add folders.
    urls: whether pictures may be named by address. rate: requests a minute for each key, or address without
    keys; 0: any. most_waiting: inputs that may wait for a tower. patience: seconds that a busy tower's queue
    waits for others. threads: requests that are worked on at a time. most_jobs: that may wait for one
    library. thumbnails: bytes of them that are kept in memory.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    libraries: tuple[Path, ...] = ()
    data: Path | None = None
    model: str | None = None
    how: Compute = field(default_factory=Compute)
    keys: Path | None = None
    insecure: bool = False
    allowed_hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
    urls: bool = False
    rate: int = 0
    most_waiting: int = 4096
    patience: float = 0.002
    threads: int = 128
    most_jobs: int = 32
    thumbnails: int = 128 * _MB
    limits: RequestLimits = field(default_factory=RequestLimits)
    pictures: PictureLimits = field(default_factory=PictureLimits)

    def __post_init__(self) -> None:
        if not 0 <= self.port < 1 << 16:
            raise InputError(f"port is {self.port}", "Wanted a number in 0..65535")
        names = [path.name for path in self.libraries]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InputError(f"two libraries are called {twice!r}", "Rename the folder of one")

    @property
    def is_local(self) -> bool:
        """Whether nobody but this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
