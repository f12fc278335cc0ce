"""Endpoints of the system: health, readiness, metrics, information."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from crosslens import __version__
from crosslens.serve.contract import model_responses
from crosslens.serve.contract.openapi import TEXT, answer, optional_key, told
from crosslens.serve.error_responses import Problem
from crosslens.serve.metrics import CONTENT_TYPE
from crosslens.serve.security.auth import sent_key
from crosslens.serve.service import service_of

router = APIRouter(tags=["service"])
_FIGURES = {200: answer({"text/plain": TEXT}, "Figures, as Prometheus reads them")}


@router.get("/healthz", **told("health", None, model_responses.Health))
async def healthz() -> JSONResponse:
    """The process answers."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz", **told("readiness", None, model_responses.Readiness))
async def readyz(request: Request) -> JSONResponse:
    """The model is warm, and the service takes requests."""
    service = service_of(request)
    if not service.ready.is_set():
        raise Problem(503, "not_ready", "The service is starting or stopping", headers={"Retry-After": "1"})
    return JSONResponse({"ready": True, "model": service.engine.reference})


@router.get("/metrics", **told("metrics", "read", _FIGURES))
async def metrics(request: Request) -> Response:
    """For Prometheus."""
    service = service_of(request)
    for queue, waiting in service.engine.waiting().items():
        service.metrics.waiting.labels(queue).set(waiting)
    for state, count in service.jobs.counts().items():
        service.metrics.jobs.labels(state).set(count)
    stats = await service.run(lambda: {book.name: book.stats() for book in service.shelf.books()})
    for name, one in stats.items():
        service.metrics.items.labels(name).set(one.items if one else 0)
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)


@router.get("/v1/session", **told("session", None, model_responses.Session, more=optional_key()))
async def session(request: Request) -> JSONResponse:
    """What a page needs to know of the service and of the key it sends, if any."""
    service = service_of(request)
    text = sent_key(request.headers)
    keys = bool(service.keys.all())
    key = service.keys.find(text) if text and keys else None
    return JSONResponse(
        {
            "version": __version__,
            "keys": keys,
            "scope": ("admin" if not keys else key.scope if key else None),
            "model": service.engine.reference if key or not keys else None,
        }
    )
