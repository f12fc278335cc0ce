"""Endpoints of jobs: state, progress as server-sent events, cancellation."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse

from crosslens.serve.contract import responses
from crosslens.serve.contract.openapi import JobName, answer, ref, told
from crosslens.serve.ingest.jobs import ENDED, Job
from crosslens.serve.service import Service, service_of

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
_HEARTBEAT_SECONDS = 15.0
_LOOK_SECONDS = 1.0  # whether the service is stopping
_LEAST_SECONDS = 0.1  # between two messages of a job that is quick
_RETRY_MS = 2000
_EVENTS = {
    200: answer({"text/event-stream": ref(responses.JobEvent)}, "Server-sent events; the schema is of one")
}
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@router.get("", **told("list_jobs", "read", responses.JobList))
async def jobs(request: Request) -> JSONResponse:
    """All jobs that are known still, the newest first."""
    return JSONResponse({"jobs": [job.document() for job in service_of(request).jobs.all()]})


@router.get("/{identity}", **told("get_job", "read", responses.Job))
async def job_(request: Request, identity: JobName) -> JSONResponse:
    """A job."""
    return JSONResponse(service_of(request).jobs.get(identity).document())


@router.delete("/{identity}", **told("cancel_job", "write", responses.Job))
async def cancel(request: Request, identity: JobName) -> JSONResponse:
    """Have a job end with its next batch; what it committed stays."""
    service = service_of(request)
    return await service.run(lambda: JSONResponse(service.jobs.cancel(identity).document()))


@router.get("/{identity}/events", **told("follow_job", "read", _EVENTS))
async def events(request: Request, identity: JobName) -> StreamingResponse:
    """What becomes of a job, as server-sent events: `state`, `progress`, `failure`, and `done` at the end."""
    service = service_of(request)
    stream = _stream(service, service.jobs.get(identity))
    return StreamingResponse(stream, media_type="text/event-stream", headers=_HEADERS)


async def _stream(service: Service, job: Job) -> AsyncIterator[str]:
    """The state now, then what changes. A client that comes back needs no history."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    def listener() -> None:
        with suppress(RuntimeError):  # the loop is closed already
            loop.call_soon_threadsafe(changed.set)

    end = job.listen(listener)
    try:
        yield f"retry: {_RETRY_MS}\n\n"
        told = _Told()
        while True:
            changed.clear()
            for message in told.news(job):
                yield message
            if told.is_over or service.stopping.is_set():
                return
            heard = time.monotonic()
            while not changed.is_set() and not service.stopping.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), _LOOK_SECONDS)
                if time.monotonic() - heard >= _HEARTBEAT_SECONDS:
                    heard = time.monotonic()
                    yield ": still here\n\n"
            await asyncio.sleep(_LEAST_SECONDS)
    finally:
        end()


class _Told:
    """What a client was told of a job so far."""

    def __init__(self) -> None:
        self._state = ""
        self._progress: dict[str, int] = {}
        self._failures = 0
        self.is_over = False

    def news(self, job: Job) -> Iterator[str]:
        """What it does not know yet. Its first is the whole job."""
        version, now = job.version, job.document()
        state, failures = now["state"], now["failures"][self._failures :]
        progress = {name: now[name] for name in ("done", "total", "failed")}
        if self._state:
            yield from (_message("failure", failure, version) for failure in failures)
            if progress != self._progress:
                yield _message("progress", progress, version)
        self.is_over = state in ENDED
        if state != self._state:
            yield _message("done" if self.is_over else "state", now, version)
        self._state, self._progress, self._failures = state, progress, len(now["failures"])


def _message(event: str, data: Any, version: int) -> str:
    return f"id: {version}\nevent: {event}\ndata: {json.dumps(data)}\n\n"
