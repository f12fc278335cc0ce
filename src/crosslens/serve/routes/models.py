"""Endpoints of the model: embeddings, rank, match, classify, similarity."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import Any

import numpy as np
from fastapi import APIRouter, Depends
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from crosslens.matching.match_probability import is_calibrated
from crosslens.matching.zero_shot import TEMPLATES
from crosslens.serve.contract import model_responses, requests
from crosslens.serve.contract.multipart_forms import Sent, sent
from crosslens.serve.contract.openapi import json_body, told
from crosslens.serve.error_responses import Problem, invalid
from crosslens.serve.inference.request_images import is_picture
from crosslens.serve.service import Service, service_of
from crosslens.types import Float32

router = APIRouter(prefix="/v1", tags=["model"])


@router.get("/models", **told("list_models", "read", model_responses.ModelList))
async def models(request: Request) -> Response:
    """The model of this service, as OpenAI lists them."""
    engine = service_of(request).engine
    spec = engine.spec
    facts = {
        "id": engine.reference,
        "object": "model",
        "owned_by": "crosslens",
        "name": spec.name,
        "identity": spec.identity,
        "dimension": spec.dimension,
        "context_length": spec.text.context_length,
        "image_size": spec.image.size,
        "scripts": list(spec.scripts),
        "runtime": engine.provenance,
    }
    return _answered({"object": "list", "data": [facts]})


@router.post(
    "/embeddings",
    **told("embed", "read", model_responses.EmbeddingList, takes=json_body(requests.Embeddings)),
)
async def embeddings(
    request: Request,
    body: Sent[requests.Embeddings] = Depends(sent(requests.Embeddings)),  # noqa: B008
) -> Response:
    """Embed texts and pictures: OpenAI's interface. A data URI of a picture is a picture."""
    service, asked = service_of(request), body.asked
    _check_model(service, asked.model)
    inputs = [asked.input] if isinstance(asked.input, str) else asked.input
    if not inputs:
        raise invalid("input is empty", "Give a text or a picture, or a list of them")
    dimension = service.engine.dimension
    if asked.dimensions not in (None, dimension):
        raise invalid(f"dimensions is {asked.dimensions}", f"This model has {dimension}; leave it out")
    vectors, tokens = await service.run(lambda: _embedded(service, inputs, asked.modality))
    data = [
        {"object": "embedding", "index": number, "embedding": _written(vector, asked.encoding_format)}
        for number, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _answered({"object": "list", "data": data, "model": service.engine.reference, "usage": usage})


@router.post(
    "/rank", **told("rank", "read", model_responses.Ranking, takes=json_body(requests.Rank, files=True))
)
async def rank(
    request: Request,
    body: Sent[requests.Rank] = Depends(sent(requests.Rank, files=True)),  # noqa: B008
) -> Response:
    """Texts by how well they fit a picture, best first, with softmax confidence over them."""
    service = service_of(request)
    asked = body.asked
    service.check_texts(asked.texts)

    def work() -> list[dict[str, Any]]:
        [picture] = service.pictures([asked.image], body.files)
        return [asdict(label) for label in service.engine.rank(picture, asked.texts)]

    return _answered({"labels": await service.run(work)})


@router.post(
    "/match",
    **told("match", "read", model_responses.MatchedPairs, takes=json_body(requests.Match, files=True)),
)
async def match(
    request: Request,
    body: Sent[requests.Match] = Depends(sent(requests.Match, files=True)),  # noqa: B008
) -> Response:
    """How probably each picture and its text belong together."""
    service, pairs = service_of(request), body.asked.pairs
    service.check_texts([pair.text for pair in pairs])

    def work() -> list[dict[str, float | bool]]:
        engine, kind = service.engine, body.asked.probability or "calibrated"
        images = engine.embed_images(service.pictures([pair.image for pair in pairs], body.files))
        texts = [pair.text for pair in pairs]
        cosines = np.clip((images * engine.embed_texts(texts)).sum(axis=1), -1, 1)
        chances = engine.probabilities(cosines, texts, kind)
        fitted = is_calibrated(engine.spec, texts, engine.own_match) & (kind == "calibrated")
        return [
            {"similarity": float(cosine), "probability": float(chance), "calibrated": bool(is_fitted)}
            for cosine, chance, is_fitted in zip(cosines, chances, fitted, strict=True)
        ]

    return _answered({"results": await service.run(work)})


@router.post(
    "/classify",
    **told("classify", "read", model_responses.Classified, takes=json_body(requests.Classify, files=True)),
)
async def classify(
    request: Request,
    body: Sent[requests.Classify] = Depends(sent(requests.Classify, files=True)),  # noqa: B008
) -> Response:
    """For every picture the labels, best first, with softmax confidence over them."""
    service, asked = service_of(request), body.asked
    templates = asked.templates or list(TEMPLATES)
    service.check_texts([label for label in asked.labels for _ in templates])

    def work() -> list[dict[str, Any]]:
        pictures = service.pictures(asked.images, body.files)
        ranked = service.engine.classify(pictures, asked.labels, templates)
        return [{"labels": [asdict(label) for label in labels]} for labels in ranked]

    return _answered({"results": await service.run(work)})


@router.post(
    "/similarity",
    **told(
        "similarity", "read", model_responses.Similarities, takes=json_body(requests.Similarity, files=True)
    ),
)
async def similarity(
    request: Request,
    body: Sent[requests.Similarity] = Depends(sent(requests.Similarity, files=True)),  # noqa: B008
) -> Response:
    """The cosines of pictures and texts, everything with everything."""
    service, asked = service_of(request), body.asked
    if not asked.images and not asked.texts:
        raise invalid("there is neither a picture nor a text", "Give some of either")
    service.check_texts(asked.texts)

    def work() -> dict[str, Any]:
        images = service.engine.embed_images(service.pictures(asked.images, body.files))
        texts = service.engine.embed_texts(asked.texts)
        return {
            "images_texts": _cosines(images, texts),
            "images_images": _cosines(images, images),
            "texts_texts": _cosines(texts, texts),
        }

    return _answered(await service.run(work))


def _answered(document: dict[str, Any]) -> Response:
    """An answer in JSON; vectors are many numbers, which this writes several times as fast as `json` does."""
    return Response(to_json(document), media_type="application/json")


def _check_model(service: Service, name: str | None) -> None:
    engine = service.engine
    if name not in (None, "", engine.reference, engine.spec.name):
        known = engine.reference
        problem = f"there is no model {name!r} here"
        raise Problem(
            404, "model_not_found", "There is no such model", problem, f"This service has {known!r}"
        )


def _embedded(service: Service, inputs: list[str], modality: str) -> tuple[Float32, int]:
    """(vectors of all inputs, in order; tokens of the texts)."""
    pictured = [modality == "image" or (modality == "auto" and is_picture(one)) for one in inputs]
    texts = [one for one, picture in zip(inputs, pictured, strict=True) if not picture]
    images = [one for one, picture in zip(inputs, pictured, strict=True) if picture]
    service.check_texts(texts)
    engine, rows = service.engine, np.array(pictured, bool)
    vectors = np.empty((len(inputs), engine.dimension), np.float32)
    if images:
        vectors[rows] = engine.embed_images(service.pictures(images, {}))
    if texts:
        vectors[~rows] = engine.embed_texts(texts)
    return vectors, engine.tokens(texts)


def _written(vector: Float32, form: str) -> list[float] | str:
    if form == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    numbers: list[float] = vector.tolist()
    return numbers


def _cosines(one: Float32, other: Float32) -> list[list[float]]:
    rows: list[list[float]] = np.clip(one @ other.T, -1, 1).tolist()
    return rows
