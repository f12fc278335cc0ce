"""The service on a port of this machine, for tests that talk to it as others do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI


@contextmanager
def running(app: FastAPI, grace: int = 5) -> Iterator[str]:
    """Run an application; gives its address. It is warm when it is given, and stopped at the end.

    grace: seconds that requests have when it is stopped.
    """
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_level="critical", timeout_graceful_shutdown=grace)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    ends = time.monotonic() + 60
    while not (server.started and app.state.service.ready.is_set()):
        assert thread.is_alive(), "the service did not start"
        assert time.monotonic() < ends, "the service is not ready"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the service did not stop"
