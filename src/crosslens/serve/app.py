"""The application: parts made, endpoints joined, started and stopped in order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import CapacityLimiter
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from crosslens import __version__
from crosslens.matcher import Matcher
from crosslens.serve.access import Keys, Rates
from crosslens.serve.config import ServeConfig
from crosslens.serve.engine import Engine
from crosslens.serve.guard import Guard, handle_problems
from crosslens.serve.metrics import Metrics
from crosslens.serve.routes import models, system
from crosslens.serve.service import Service


def create_app(config: ServeConfig, matcher: Matcher) -> FastAPI:
    """The service as an ASGI application. Raises what opening a library raises."""
    metrics = Metrics()
    service = Service(
        config,
        Keys(config.keys),
        Rates(config.rate),
        metrics,
        Engine(matcher, metrics, config.most_waiting, config.patience),
        CapacityLimiter(config.threads),
    )
    app = FastAPI(title="crosslens", version=__version__, docs_url=None, redoc_url=None, lifespan=_lifespan)
    app.state.service = service
    for part in (system, models):
        app.include_router(part.router)
    handle_problems(app, service)
    if config.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=config.origins, allow_methods=["*"], allow_headers=["*"]
        )
    app.add_middleware(Guard, config=config, metrics=metrics)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service

    def warm_up() -> None:
        service.engine.warm_up()
        service.ready.set()

    thread = threading.Thread(target=warm_up, name="crosslens-warm-up", daemon=True)
    thread.start()
    yield
    service.ready.clear()
    await asyncio.to_thread(service.engine.close)
