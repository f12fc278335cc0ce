"""The OpenAPI document: what endpoints take and answer.

Each endpoint says it where it stands: `@router.get("/{item}", **told("get_item", "read", answers.Item))`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from fastapi import Depends, FastAPI, Path
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from starlette.responses import JSONResponse, Response

from crosslens import __version__
from crosslens.serve.contract import concept_responses, model_responses, requests, responses
from crosslens.serve.error_responses import MEDIA_TYPE
from crosslens.serve.security.auth import Scope
from crosslens.serve.security.middleware import scope

Described: TypeAlias = dict[str, Any]

LibraryName = Annotated[str, Path(description="Of a library")]
ItemName = Annotated[
    str,
    Path(description="As `item` in results: photos:12", json_schema_extra={"pattern": "^.+:[0-9]{1,18}$"}),
]
JobName = Annotated[str, Path(description="`id` of a job")]

BYTES = {"type": "string", "format": "binary"}
TEXT = {"type": "string"}
NOT_CHANGED = {"description": "It is still what has the ETag in If-None-Match"}
IF_NONE_MATCH = {
    "name": "If-None-Match", "in": "header", "schema": TEXT, "description": "The ETag of an earlier answer"
}  # fmt: skip
RANGE = {"name": "Range", "in": "header", "schema": TEXT, "description": "Which bytes: bytes=0-1023"}

_SCHEMAS = "#/components/schemas/"
_ABOUT = "Search of pictures by words and of words by pictures. docs/http.md has the same for people."
_TAGS = [
    {"name": "search", "description": "Searching, saying why, and completing queries"},
    {"name": "libraries", "description": "What libraries hold, and putting something into them"},
    {"name": "items", "description": "One picture or text: facts, the file, tags"},
    {"name": "concepts", "description": "What a library learns from a few examples"},
    {"name": "jobs", "description": "What takes long, told as it happens"},
    {"name": "model", "description": "Embeddings, and what a model says of pictures and texts"},
    {"name": "service", "description": "How the service itself fares"},
]
_KEYS: dict[str, Described] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key of `crosslens keys add`"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key"},
}
_NO_KEY: dict[str, list[str]] = {}
# Of every answer, and of those that say "later".
_HEADERS = {
    "X-Request-Id": {"schema": TEXT, "description": "The number of the request"},
    "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait, where that helps"},
}


def told(
    identity: str,
    wanted: Scope | None,
    good: type[BaseModel] | Mapping[int, Described],
    *,
    status: int = 200,
    takes: Described | None = None,
    more: Described | None = None,
) -> dict[str, Any]:
    """Arguments of an endpoint's decorator: its name, the scope that it needs, what it takes and answers.

    wanted: None for everybody. good: answers of success, by status, or the model of the one with this
    status. more: what else OpenAPI has of an operation.
    """
    known = {status: json_answer(good)} if isinstance(good, type) else dict(good)
    is_json = "application/json" in known[min(known)].get("content", ())
    extra: Described = {"security": _keys_with(wanted)} if wanted else {}
    extra |= {"requestBody": {"required": True, **takes}} if takes else {}
    return {
        "operation_id": identity,
        "dependencies": [Depends(scope(wanted))] if wanted else [],
        "status_code": min(known),
        "response_class": JSONResponse if is_json else Response,
        "responses": {**known, "default": _failure()},
        "openapi_extra": {**extra, **(more or {})},
    }


def ref(model: type[BaseModel]) -> Described:
    """The schema of a model."""
    return {"$ref": _SCHEMAS + model.__name__}


def json_answer(model: type[BaseModel], description: str = "") -> Described:
    """An answer in JSON."""
    return answer({"application/json": ref(model)}, description or _first_line(model))


def answer(kinds: Mapping[str, Described], description: str) -> Described:
    """An answer. kinds: schemas by media type."""
    return {
        "description": description,
        "content": {kind: {"schema": schema} for kind, schema in kinds.items()},
    }


def json_body(model: type[BaseModel], *, files: bool = False) -> Described:
    """A request that `forms.sent` reads. files: it may be a form, with pictures beside the JSON."""
    content = {"application/json": {"schema": ref(model)}}
    if files:
        request = {**TEXT, "contentMediaType": "application/json", "contentSchema": ref(model)}
        form = {"type": "object", "properties": {"request": request}, "required": ["request"],
                "additionalProperties": BYTES}  # fmt: skip
        content["multipart/form-data"] = {"schema": form}
    return {"content": content}


def raw_body(kinds: Mapping[str, Described], description: str) -> Described:
    """Another request. kinds: schemas by media type."""
    return answer(kinds, description)


def optional_key() -> Described:
    """For what answers everybody, and those with a key otherwise."""
    return {"security": [*_keys_with(None), _NO_KEY]}


class App(FastAPI):
    """An application whose document is this module's."""

    def openapi(self) -> dict[str, Any]:
        """The document, which says that keys are optional while there are none."""
        if self.openapi_schema is None:
            self.openapi_schema = _document(self)
        if self.state.service.keys.all():
            return self.openapi_schema
        return _without_keys(self.openapi_schema)


def _document(app: FastAPI) -> dict[str, Any]:
    whole = get_openapi(
        title="crosslens", version=__version__, description=_ABOUT, routes=app.routes, tags=_TAGS
    )
    whole["components"] = {"schemas": _schemas(), "securitySchemes": _KEYS, "headers": _HEADERS}
    for operations in whole["paths"].values():
        for operation in operations.values():
            for status, answered in operation["responses"].items():
                names = _HEADERS if status == "default" else ["X-Request-Id"]
                headers = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
                answered["headers"] = headers | answered.get("headers", {})
    return whole


def _without_keys(whole: dict[str, Any]) -> dict[str, Any]:
    def opened(operation: Described) -> Described:
        needed = operation.get("security", [])
        return operation if _NO_KEY in needed or not needed else {**operation, "security": [*needed, _NO_KEY]}

    paths = whole["paths"].items()
    return {
        **whole,
        "paths": {path: {method: opened(one) for method, one in found.items()} for path, found in paths},
    }


class _Plain(GenerateJsonSchema):
    """Members without titles, which would only repeat their names."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 (of the base class)
        return False


def _schemas() -> dict[str, Any]:
    models = [
        model
        for module in (responses, concept_responses, model_responses, requests)
        for model in vars(module).values()
        if isinstance(model, type) and issubclass(model, BaseModel) and model.__module__ == module.__name__
    ]
    wanted = [(model, "validation") for model in models if model not in (responses.Answer, requests.Request)]
    _, found = models_json_schema(wanted, ref_template=_SCHEMAS + "{model}", schema_generator=_Plain)  # type: ignore[arg-type]
    return dict(sorted(found["$defs"].items()))


def _failure() -> Described:
    return answer({MEDIA_TYPE: ref(responses.Problem)}, "A problem document (RFC 9457)")


def _keys_with(wanted: Scope | None) -> list[dict[str, list[str]]]:
    return [{name: [wanted] if wanted else []} for name in _KEYS]


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").partition("\n")[0]
