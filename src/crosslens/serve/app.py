"""The FastAPI application: parts made, routes mounted, started and stopped in order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio import CapacityLimiter
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from crosslens.matching.matcher import Matcher
from crosslens.serve.config import ServeConfig
from crosslens.serve.contract.openapi import App
from crosslens.serve.inference.engine import Engine
from crosslens.serve.ingest.jobs import Jobs
from crosslens.serve.ingest.recovery import left_over, pick_up
from crosslens.serve.libraries.query_completion import Completer
from crosslens.serve.libraries.registry import Shelf
from crosslens.serve.libraries.thumbnails import Thumbnails
from crosslens.serve.metrics import Metrics
from crosslens.serve.routes import concepts, items, jobs, libraries, models, page, search, system
from crosslens.serve.security.auth import Keys, Rates
from crosslens.serve.security.middleware import Guard, handle_problems
from crosslens.serve.service import Service
from crosslens.towers.openvino_runtime import available_cores

_SLOW_THREADS = 4
# FastAPI would hand what it sees, messages of exceptions too, to whatever the environment sets up.
_NO_TELEMETRY: Any = dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False)


def create_app(config: ServeConfig, matcher: Matcher) -> FastAPI:
    """The service as an ASGI application. Raises what opening a library raises."""
    metrics = Metrics()
    engine = Engine(matcher, metrics, config.most_waiting, config.patience)
    service = Service(
        config,
        Keys(config.keys),
        Rates(config.rate),
        metrics,
        engine,
        Shelf(config, engine),
        Jobs(config.most_jobs, metrics),
        Thumbnails(config.thumbnails),
        Completer(),
        CapacityLimiter(config.threads),
        CapacityLimiter(available_cores()),
        CapacityLimiter(_SLOW_THREADS),
    )
    app = App(
        docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=_lifespan, telemetry=_NO_TELEMETRY
    )
    app.state.service = service
    for part in (system, models, search, libraries, concepts, items, jobs, page):
        app.include_router(part.router)
    app.router.routes.append(page.assets())
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
    left = [(book, left_over(book)) for book in service.shelf.books()]

    def warm_up() -> None:
        service.engine.warm_up()
        service.ready.set()
        for book, folders in left:
            pick_up(book, folders, service.jobs, service.config)

    thread = threading.Thread(target=warm_up, name="crosslens-warm-up", daemon=True)
    thread.start()
    yield
    service.ready.clear()
    service.stopping.set()
    await asyncio.to_thread(thread.join)
    await asyncio.to_thread(service.jobs.close)
    await asyncio.to_thread(service.engine.close)
    service.shelf.close()
