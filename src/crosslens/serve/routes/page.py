"""The web page: files built from web/, and a plain page where they are missing."""

from __future__ import annotations

import html
import os
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from crosslens import __version__
from crosslens.serve.error_responses import not_found
from crosslens.serve.service import service_of

router = APIRouter(include_in_schema=False)
PAGE = Path(__file__).parents[1] / "page"
# Their names change with their content.
_FOR_GOOD = "public, max-age=31536000, immutable"
_PLAIN = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>crosslens</title></head>
<body><h1>crosslens {version}</h1>
<p>The service is running with the model {model}. Its page was not built: in a clone of the repository,
<code>make page</code> does it.</p>
<p>The interface for programs is described in <a href="/openapi.json">/openapi.json</a>.</p></body></html>
"""


@router.get("/")
async def index(request: Request) -> Response:
    """The page."""
    headers = {"Cache-Control": "no-cache"}
    if (PAGE / "index.html").is_file():
        return FileResponse(PAGE / "index.html", media_type="text/html", headers=headers)
    model = "" if service_of(request).keys.all() else service_of(request).engine.reference
    return HTMLResponse(_PLAIN.format(version=__version__, model=html.escape(model)), headers=headers)


@router.get("/{name}")
async def file(name: str) -> Response:
    """A file beside it, such as an icon."""
    there = {entry.name: entry.path for entry in os.scandir(PAGE) if entry.is_file()} if PAGE.is_dir() else {}
    if name not in there or name.startswith("."):
        raise not_found("page of that name")
    return FileResponse(there[name], headers={"Cache-Control": "no-cache"})


class _Assets(StaticFiles):
    """Files that may be kept for good."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code in (200, 304):
            response.headers["Cache-Control"] = _FOR_GOOD
        return response


def assets() -> Mount:
    """The scripts and styles of the page."""
    return Mount("/assets", _Assets(directory=PAGE / "assets", check_dir=False), name="assets")
