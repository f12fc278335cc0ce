"""Request bodies: JSON, or a multipart form with JSON in its field "request" and pictures beside it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from crosslens.serve.error_responses import Problem, invalid, too_large
from crosslens.serve.service import service_of

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Sent(Generic[M]):
    """A request and the files that came with it, by form field."""

    asked: M
    files: dict[str, bytes]


def sent(model: type[M], *, files: bool = False) -> Callable[[Request], Awaitable[Sent[M]]]:
    """A dependency that reads a request of this kind, and raises Problem. files: it may be a form."""

    async def read(request: Request) -> Sent[M]:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if files and kind == "multipart/form-data":
            return await _form(request, model)
        if kind not in ("application/json", ""):
            remedy = "Send application/json" + (", or multipart/form-data" if files else "")
            raise Problem(415, "unsupported_media", "The form of the request is not known", kind, remedy)
        return Sent(validated(model, await request.body()), {})

    return read


def validated(model: type[M], data: bytes | str) -> M:
    """JSON as one of our requests. Raises Problem, which names the members that are wrong."""
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise wrong_members(error.errors()) from error


def wrong_members(errors: Any) -> Problem:
    """A problem that says of each member what is wrong with it."""
    found = [
        {"where": ".".join(str(part) for part in one.get("loc", ())), "what": str(one.get("msg", ""))}
        for one in list(errors)[:20]
    ]
    detail = "; ".join(f"{one['where'] or 'the request'}: {one['what']}" for one in found[:3])
    problem = invalid(detail, "See /openapi.json")
    problem.more["errors"] = found
    return problem


async def _form(request: Request, model: type[M]) -> Sent[M]:
    limits = service_of(request).config.limits
    asked: M | None = None
    files: dict[str, bytes] = {}
    size = 0
    try:
        async with request.form(max_files=limits.images, max_fields=20, max_part_size=limits.body) as form:
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    data = await value.read()
                    size += len(data)
                    if size > limits.body:
                        raise too_large(f"the files have more than {limits.body:,} bytes together")
                    files[name] = data
                elif name == "request":
                    asked = validated(model, value)
    except HTTPException as error:
        raise invalid(f"the form cannot be read ({error.detail})", "Send multipart/form-data") from error
    if asked is None:
        raise invalid('the form has no field "request"', "Put the JSON of the request there")
    return Sent(asked, files)
