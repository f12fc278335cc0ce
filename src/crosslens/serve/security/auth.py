"""Authentication and rate limits: API keys with scopes, host names, requests per second.

A key is 256 random bits, so its plain SHA-256 is as hard to turn round as the key is to guess; only that is
kept. Keys are compared in constant time, all of them, so that time tells nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Lock
from typing import Literal, TypeAlias, get_args

from crosslens.errors import InputError
from crosslens.serve.error_responses import Problem

Scope: TypeAlias = Literal["read", "write", "admin"]
_MARK = "xl_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_MINUTE = 60.0
_MOST_CALLERS = 10_000


class KeyFileError(InputError):
    """The file of keys is damaged."""


@dataclass(frozen=True, slots=True)
class Key:
    """An API key. scope: it may do this and what lies below it: admin, write, read."""

    name: str
    scope: Scope
    sha256: str
    made: float

    def may(self, scope: Scope) -> bool:
        """Whether it allows something of this scope."""
        order = get_args(Scope)
        return order.index(self.scope) >= order.index(scope)


@dataclass(slots=True)
class Keys:
    """The keys in a file, looked at again whenever the file changes. file: None where there are none."""

    file: Path | None
    _known: tuple[Key, ...] = ()
    _state: tuple[int, int] | None = None
    _lock: Lock = field(default_factory=Lock)

    def all(self) -> tuple[Key, ...]:
        """Every key. Raises KeyFileError for a file that is damaged: nobody is let in by mistake."""
        if self.file is None:
            return ()
        with self._lock:
            try:
                status = self.file.stat()
            except FileNotFoundError:
                self._known, self._state = (), None
                return ()
            state = (status.st_mtime_ns, status.st_size)
            if state != self._state:
                self._known, self._state = _read(self.file), state
            return self._known

    def find(self, text: str) -> Key | None:
        """The key that a client sent; None for none of ours."""
        digest = hashlib.sha256(text.encode()).hexdigest()
        found = None
        for key in self.all():
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found

    def add(self, name: str, scope: Scope) -> str:
        """Make a key and return it, the only time that it is told. Raises InputError."""
        if not _NAME.fullmatch(name):
            raise InputError(f"{name!r} is no name for a key", "Use letters, digits, '.', '_' and '-'")
        if scope not in get_args(Scope):
            raise InputError(f"{scope!r} is no scope", f"Wanted one of {', '.join(get_args(Scope))}")
        if any(key.name == name for key in self.all()):
            raise InputError(f"there is a key {name!r} already", "Choose another name, or remove it first")
        text = _MARK + secrets.token_urlsafe(32)
        key = Key(name, scope, hashlib.sha256(text.encode()).hexdigest(), time.time())
        self._write((*self.all(), key))
        return text

    def remove(self, name: str) -> None:
        """Take a key back, at once. Raises InputError where there is none of that name."""
        kept = tuple(key for key in self.all() if key.name != name)
        if len(kept) == len(self.all()):
            raise InputError(f"there is no key {name!r}", "See: crosslens keys list")
        self._write(kept)

    def _write(self, keys: tuple[Key, ...]) -> None:
        if self.file is None:
            raise InputError("no file for keys is set", "Name one")
        self.file.parent.mkdir(parents=True, exist_ok=True)
        draft = self.file.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({"keys": [asdict(key) for key in keys]}, file, indent=1)
        draft.replace(self.file)


def _read(file: Path) -> tuple[Key, ...]:
    try:
        return tuple(Key(**entry) for entry in json.loads(file.read_text())["keys"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise KeyFileError(
            f"the file of keys {file} cannot be read ({error})", "Repair or remove it"
        ) from error


# -- requests -------------------------------------------------------------------------------------


def sent_key(headers: Mapping[str, str]) -> str | None:
    """The key in a request: "Authorization: Bearer KEY", or "X-API-Key: KEY"."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and value.strip():
        return value.strip()
    return headers.get("x-api-key") or None


def check_host(header: str | None, allowed: frozenset[str]) -> None:
    """Refuse requests for a name that is not ours: a page elsewhere may have its own name point here.

    Raises Problem.
    """
    host = (header or "").strip().lower()
    name = host[: host.rfind("]") + 1] if host.startswith("[") else host.partition(":")[0]
    if name.rstrip(".") not in allowed:
        remedy = "The operator can allow it: crosslens serve --allow-host NAME"
        raise Problem(421, "wrong_host", "This service does not answer to that name", f"{name!r}", remedy)


def check_origin(method: str, headers: Mapping[str, str], origins: tuple[str, ...]) -> None:
    """Refuse what a page of another origin would have a browser do. Raises Problem."""
    origin = headers.get("origin")
    if method in ("GET", "HEAD", "OPTIONS") or origin is None or origin in origins:
        return
    if origin.partition("://")[2].lower() != headers.get("host", "").lower():
        raise Problem(
            403, "cross_origin", "Another origin may not do this", f"the request is from {origin!r}"
        )


class Rates:
    """How often each caller may ask: as many a minute, all at once if it likes (a token bucket)."""

    def __init__(self, a_minute: int) -> None:
        self._most = a_minute
        self._left: dict[str, tuple[float, float]] = {}
        self._lock = Lock()

    def check(self, caller: str, now: float | None = None) -> None:
        """Count a request. Raises Problem with Retry-After for one too many."""
        if not self._most:
            return
        now = time.monotonic() if now is None else now
        with self._lock:
            left, then = self._left.pop(caller, (float(self._most), now))
            left = min(self._most, left + (now - then) * self._most / _MINUTE)
            allowed = left >= 1
            self._left[caller] = (left - allowed, now)  # at the end: the first is who was silent longest
            while len(self._left) > _MOST_CALLERS:
                del self._left[next(iter(self._left))]
        if not allowed:
            seconds = max(1, round((1 - left) * _MINUTE / self._most))
            raise Problem(429, "too_many_requests", "Too many requests", f"{self._most} a minute are allowed",
                          "Wait", headers={"Retry-After": str(seconds)})  # fmt: skip
