"""Middleware of every request: request id, host check, size limit, API key, access log."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from crosslens.errors import CrosslensError
from crosslens.serve.config import ServeConfig
from crosslens.serve.contract.multipart_forms import wrong_members
from crosslens.serve.error_responses import (
    MEDIA_TYPE,
    Overloaded,
    Problem,
    invalid,
    problem_of,
    stopping,
    too_large,
)
from crosslens.serve.metrics import Metrics
from crosslens.serve.security.auth import KeyFileError, Scope, check_host, check_origin, sent_key
from crosslens.serve.service import Service, service_of

access_log = logging.getLogger("crosslens.access")
fault_log = logging.getLogger("crosslens.faults")

# Where a body goes to the disk as it comes.
_UPLOADS = re.compile(r"/v1/libraries/[^/]+/items(/[^/]+)?/?$")
# What has no end has no length either, and nobody asks for its head alone.
_STREAMS = re.compile(r"/v1/jobs/[^/]+/events$")
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
_LONGEST_NUMBER = 18
# In a scope: of an answer, only the head is wanted.
HEAD = "crosslens.head"
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
# Nothing of another place, no frames, no scripts but the page's own files.
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
_TITLES = {404: ("not_found", "Not found"), 405: ("method_not_allowed", "This cannot be done here")}


def scope(wanted: Scope) -> Callable[[Request], Awaitable[None]]:
    """A dependency: the request's key must allow this. Without any keys everything is allowed."""

    async def check(request: Request) -> None:
        service = service_of(request)
        if not service.keys.all():
            service.rates.check(request.client.host if request.client else "")
            return
        text = sent_key(request.headers)
        key = service.keys.find(text) if text else None
        if key is None:
            challenge = {"WWW-Authenticate": 'Bearer realm="crosslens"'}
            said = "the key is not known" if text else "no key was sent"
            remedy = "Send it as Authorization: Bearer KEY"
            raise Problem(401, "unauthorized", "A key is needed", said, remedy, headers=challenge)
        request.state.key, request.state.scope = key.name, key.scope
        service.rates.check(f"key {key.name}")
        if not key.may(wanted):
            raise Problem(403, "forbidden", "The key does not allow this", f"it takes the scope {wanted!r}")

    return check


def allowed_hosts(config: ServeConfig) -> frozenset[str]:
    """The names that the service answers to."""
    own = f"[{config.host}]" if ":" in config.host else config.host
    named = {own, *config.allowed_hosts} - {"0.0.0.0", "[::]"}  # noqa: S104 (taken away, not listened on)
    return frozenset(name.lower() for name in (*named, *_LOOPBACK))


class Guard:
    """The outermost layer, plain ASGI: nothing is buffered, so that streams stay streams."""

    def __init__(self, app: ASGIApp, config: ServeConfig, metrics: Metrics) -> None:
        self._app = app
        self._config = config
        self._metrics = metrics
        self._hosts = allowed_hosts(config)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it at once."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        is_head = method == "HEAD" and not _STREAMS.match(scope["path"])
        if is_head:  # the same answer, and its body left out below; the server must not see it as another
            scope.setdefault("state", {})
            scope = {**scope, "method": "GET", HEAD: True}
        request = Request(scope, receive)
        # No secret; asking the system for one lets go of Python's lock, and has to wait for it.
        request.state.id = f"{random.getrandbits(64):016x}"
        status, begun, started = 500, False, time.perf_counter()

        async def answer(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                extra = {**_HEADERS, "x-request-id": request.state.id}
                given = {name.lower() for name, _ in message["headers"]}
                added = [(n.encode(), v.encode()) for n, v in extra.items() if n.encode() not in given]
                message["headers"] = [*message["headers"], *added]
            elif is_head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        self._metrics.running.inc()
        try:
            try:
                check_host(request.headers.get("host"), self._hosts)
                check_origin(request.method, request.headers, self._config.origins)
                self._check_length(request)
            except Problem as problem:
                await problem_response(request, problem)(scope, receive, answer)
                return
            await self._app(scope, self._counted(request, receive), answer)
        except asyncio.CancelledError:  # the server stops, and has waited for it long enough
            if not begun:
                await problem_response(request, stopping())(scope, receive, answer)
        finally:
            self._metrics.running.dec()
            self._note(request, method, status, time.perf_counter() - started)

    def _most_bytes(self, request: Request) -> int:
        limits = self._config.limits
        return limits.upload if _UPLOADS.match(request.scope["path"]) else limits.body

    def _check_length(self, request: Request) -> None:
        length, most = request.headers.get("content-length", "0"), self._most_bytes(request)
        if not length.isdecimal() or len(length) > _LONGEST_NUMBER or int(length) > most:
            raise too_large(f"the request has {length:.20} bytes, {most:,} are allowed")

    def _counted(self, request: Request, receive: Receive) -> Receive:
        """A body that does not say how long it is is counted as it comes."""
        most, size = self._most_bytes(request), 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > most:
                raise too_large(f"the request has more than {most:,} bytes")
            return message

        return counted

    def _note(self, request: Request, method: str, status: int, seconds: float) -> None:
        """One line of JSON: no query, no text, no key."""
        route = getattr(request.scope.get("route"), "path", "other")
        known = method if method in _METHODS else "other"  # a client may call it anything
        self._metrics.requests.labels(known, route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if not access_log.isEnabledFor(logging.INFO):
            return
        client = request.client.host if request.client else ""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "id": request.state.id,
            "client": client,
            "key": getattr(request.state, "key", None),
            "method": known,
            "route": route,
            "status": status,
            "ms": round(1000 * seconds, 2),
        }
        access_log.info(json.dumps(line))


def problem_response(request: Request, problem: Problem) -> Response:
    """A problem as an answer."""
    identity = getattr(request.state, "id", "")
    # That of a fault is sent by a layer outside of the guard, which adds nothing.
    headers = {**_HEADERS, "x-request-id": identity, **problem.headers}
    return JSONResponse(problem.document(identity), problem.status, headers=headers, media_type=MEDIA_TYPE)


def handle_problems(app: FastAPI, service: Service) -> None:
    """Have every error answered by a problem document."""

    async def answer(request: Request, error: Exception) -> Response:
        problem = _problem(error)
        problem.detail, problem.remedy = map(service.shelf.hide, (problem.detail, problem.remedy))
        service.metrics.failures.labels(problem.code).inc()
        if problem.status == 405:
            problem.headers["Allow"] = ", ".join(_allowed(app, request))
        if problem.status >= 500 and problem.code != "not_ready":  # which is no fault
            fault_log.error("request %s", request.state.id, exc_info=error)
        return problem_response(request, problem)

    # Named one by one: what only Exception stands for is logged with its trace by whoever runs the app.
    kinds = (HTTPException, RequestValidationError, ClientDisconnect, Problem, Overloaded, CrosslensError)
    for kind in (Exception, *kinds):
        app.add_exception_handler(kind, answer)


def _allowed(app: FastAPI, request: Request) -> list[str]:
    """The methods that a path knows. The framework tells those of its first endpoint alone."""
    path = request.scope["path"]

    def is_there(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in app.routes)

    there = {method for method in _METHODS if is_there("GET" if method == "HEAD" else method)}
    return sorted(there - ({"HEAD"} if _STREAMS.match(path) else set()))


def _problem(error: Any) -> Problem:
    if isinstance(error, RequestValidationError):
        return wrong_members(error.errors())
    if isinstance(error, ClientDisconnect):  # nobody reads it
        return invalid("the connection was closed before the request was whole")
    if isinstance(error, HTTPException):
        code, title = _TITLES.get(error.status_code, (f"http_{error.status_code}", "This was refused"))
        headers = dict(error.headers or {})
        return Problem(error.status_code, code, title, str(error.detail or ""), headers=headers)
    if isinstance(error, KeyFileError):  # the operator's mistake, not the client's
        return problem_of(RuntimeError())
    return problem_of(error)
