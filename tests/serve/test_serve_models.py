"""What the service says of pictures and texts is what a Matcher says; OpenAI's client works as it is."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from crosslens import Matcher
from crosslens.serve.app import create_app
from crosslens.serve.config import RequestLimits, ServeConfig
from crosslens.serve.security.auth import Keys
from crosslens.towers.openvino_runtime import available_cores
from serving import running

COLOURS = ("red", "green", "blue", "yellow")


def picture(colour: str, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(file, kind)
    return file.getvalue()


def uri(colour: str) -> str:
    return "data:image/png;base64," + base64.b64encode(picture(colour)).decode()


def client_of(config: ServeConfig, matcher: Matcher) -> TestClient:
    return TestClient(create_app(config, matcher), base_url="http://127.0.0.1", raise_server_exceptions=False)


@pytest.fixture(scope="module")
def client(starter: Matcher) -> Iterator[TestClient]:
    with client_of(ServeConfig(), starter) as client:
        yield client


def ask(client: TestClient, path: str, body: Any, status: int = 200, **options: Any) -> Any:
    answer = client.post(f"/v1/{path}", json=body, **options)
    assert answer.status_code == status, answer.text
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status
    assert answer.headers["x-request-id"]
    return answer.json()


# -- what a matcher says --------------------------------------------------------------------------


def test_texts_and_pictures_get_the_vectors_of_the_matcher(client: TestClient, starter: Matcher) -> None:
    inputs = ["a dog", uri("red"), "a cat", uri("blue")]
    found = ask(client, "embeddings", {"input": inputs, "model": "starter"})
    vectors = np.array([entry["embedding"] for entry in found["data"]], np.float32)
    texts = starter.embed_texts(["a dog", "a cat"])
    images = starter.embed_images([picture("red"), picture("blue")])
    np.testing.assert_allclose(vectors[[0, 2]], texts, atol=1e-5)
    np.testing.assert_allclose(vectors[[1, 3]], images, atol=1e-5)
    assert [entry["index"] for entry in found["data"]] == [0, 1, 2, 3]
    tokens = starter.model.tokenize(["a dog", "a cat"]).lengths.sum()
    assert found["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


def test_base64_pictures_are_pictures_when_said_so(client: TestClient, starter: Matcher) -> None:
    plain = base64.b64encode(picture("red")).decode()
    found = ask(client, "embeddings", {"input": plain, "modality": "image"})
    np.testing.assert_allclose(
        found["data"][0]["embedding"], starter.embed_images([picture("red")])[0], atol=1e-5
    )


def test_rank_classify_match_and_similarity_say_what_the_matcher_does(
    client: TestClient, starter: Matcher
) -> None:
    labels = ["a red wall", "a dog", "the sea"]
    ranked = ask(client, "rank", {"image": uri("red"), "texts": labels})["labels"]
    wanted = starter.rank(picture("red"), labels)
    assert [label["text"] for label in ranked] == [label.text for label in wanted]
    assert [label["confidence"] for label in ranked] == pytest.approx(
        [w.confidence for w in wanted], abs=1e-3
    )
    rows = ask(client, "classify", {"images": [uri("red"), uri("blue")], "labels": labels})["results"]
    assert [row["labels"][0]["text"] for row in rows] == [
        line[0].text for line in starter.classify([picture("red"), picture("blue")], labels)
    ]
    pairs = [{"image": uri("red"), "text": "a red wall"}, {"image": uri("blue"), "text": "a dog"}]
    matched = ask(client, "match", {"pairs": pairs})["results"]
    chances = starter.predict_proba([picture("red"), picture("blue")], ["a red wall", "a dog"])[:, 1]
    assert [row["probability"] for row in matched] == pytest.approx(list(chances), abs=1e-3)
    assert [row["calibrated"] for row in matched] == [True, True]
    body = {"pairs": pairs, "probability": "automm"}
    assert [row["calibrated"] for row in ask(client, "match", body)["results"]] == [False, False]
    table = ask(client, "similarity", {"images": [uri("red"), uri("blue")], "texts": labels})
    np.testing.assert_allclose(
        table["images_texts"], starter.similarity([picture("red"), picture("blue")], labels), atol=1e-5
    )
    assert np.array(table["images_images"]).shape == (2, 2)
    assert np.array(table["texts_texts"]).diagonal() == pytest.approx([1, 1, 1], abs=1e-5)


def test_pictures_come_as_files_too(client: TestClient) -> None:
    request = {"image": {"file": "photo"}, "texts": ["a red wall", "the sea"]}
    files = {"photo": ("any.png", picture("red"), "image/png")}
    answer = client.post("/v1/rank", data={"request": json.dumps(request)}, files=files)
    assert answer.status_code == 200, answer.text
    assert answer.json() == ask(client, "rank", {**request, "image": uri("red")})
    answer = client.post("/v1/rank", data={"request": json.dumps(request)}, files={"other": b"x"})
    assert (answer.status_code, "no file 'photo'" in answer.text) == (422, True)


# -- OpenAI's client ------------------------------------------------------------------------------


@pytest.mark.usefixtures("loopback")
def test_openais_client_works_as_it_is(starter: Matcher, tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    text = keys.add("app", "read")
    with running(create_app(ServeConfig(keys=tmp_path / "keys.json"), starter)) as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key=text)
        for form in ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}):
            found = client.embeddings.create(model="starter", input=["a dog", "a cat"], **form)  # type: ignore[call-overload]
            if isinstance(found.data[0].embedding, list):
                np.testing.assert_allclose(
                    [entry.embedding for entry in found.data],
                    starter.embed_texts(["a dog", "a cat"]),
                    atol=1e-5,
                )
            else:
                raw = base64.b64decode(found.data[0].embedding)
                np.testing.assert_allclose(
                    np.frombuffer(raw, "<f4"), starter.embed_texts("a dog")[0], atol=1e-5
                )
            assert found.usage.total_tokens > 4
        assert [model.id for model in client.models.list()] == ["starter"]
        with pytest.raises(openai.NotFoundError):
            client.embeddings.create(model="gpt", input="x")
        with pytest.raises(openai.AuthenticationError):
            openai.OpenAI(base_url=f"{address}/v1", api_key="xl_wrong").models.list()


# -- many clients ---------------------------------------------------------------------------------


def test_many_clients_share_batches_and_get_their_own(starter: Matcher) -> None:
    app = create_app(ServeConfig(patience=0.02), starter)
    with TestClient(app, base_url="http://127.0.0.1") as client, ThreadPoolExecutor(24) as pool:
        ask(client, "embeddings", {"input": "warm"})

        def one(number: int) -> bool:
            found = ask(client, "embeddings", {"input": f"number {number}"})["data"][0]["embedding"]
            return bool(np.allclose(found, starter.embed_texts(f"number {number}")[0], atol=1e-4))

        assert all(pool.map(one, range(120)))
        lines = client.get("/metrics").text.splitlines()
    figures = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[0] != "#"}
    assert figures['crosslens_batch_rows_sum{tower="text"}'] >= 120
    assert figures['crosslens_batch_rows_count{tower="text"}'] < 110
    assert figures['crosslens_requests_total{method="POST",route="/v1/embeddings",status="200"}'] == 121


def test_a_repeated_text_comes_from_memory(starter: Matcher) -> None:
    app = create_app(ServeConfig(), starter)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        first = ask(client, "embeddings", {"input": ["again", "again", "other"]})
        second = ask(client, "embeddings", {"input": ["other", "again"]})
        text = client.get("/metrics").text
    assert first["data"][0]["embedding"] == first["data"][1]["embedding"] == second["data"][1]["embedding"]
    assert 'crosslens_texts_total{source="memory"} 3.0' in text


def test_when_too_much_waits_callers_are_turned_away(starter: Matcher) -> None:
    app = create_app(ServeConfig(most_waiting=4), starter)
    engine, go = app.state.service.engine, threading.Event()
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert app.state.service.ready.wait(30)
        busy = [engine._decoders.submit(go.wait, 30) for _ in range(available_cores())]
        turned_away = client.post("/v1/embeddings", json={"input": [uri("red")] * 5})
        go.set()
        assert all(one.result() for one in busy)
        assert client.post("/v1/embeddings", json={"input": [uri("red")] * 4}).status_code == 200
    assert turned_away.json()["code"] == "overloaded"
    assert turned_away.headers["retry-after"] == "1"


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "says"),
    [
        ("embeddings", {"input": []}, 422, "invalid_request", "input is empty"),
        ("embeddings", {"input": ""}, 422, "text_unusable", "is empty"),
        ("embeddings", {"input": "x", "model": "gpt-4"}, 404, "model_not_found", "gpt-4"),
        ("embeddings", {"input": "x", "dimensions": 3}, 422, "invalid_request", "dimensions"),
        ("embeddings", {"input": [[1, 2]]}, 422, "invalid_request", "input"),
        ("embeddings", {"inputs": "x"}, 422, "invalid_request", "inputs"),
        ("embeddings", {"input": "AAAA", "modality": "image"}, 422, "image_unreadable", "image 0"),
        ("embeddings", {"input": "not base64!", "modality": "image"}, 422, "invalid_request", "no base64"),
        ("embeddings", {"input": "data:image/png,plain"}, 422, "invalid_request", "not base64"),
        ("embeddings", {"input": ["x"] * 3000}, 413, "too_large", "2048"),
        ("embeddings", {"input": "x" * 30_000}, 413, "too_large", "characters"),
        ("embeddings", {"input": [uri("red")] * 300}, 413, "too_large", "256"),
        ("rank", {"image": uri("red"), "texts": []}, 422, "invalid_request", "texts"),
        ("rank", {"image": "http://127.0.0.1/x", "texts": ["x"]}, 403, "urls_off", ""),
        ("rank", {"image": {"url": "http://127.0.0.1/x"}, "texts": ["x"]}, 403, "urls_off", ""),
        ("rank", {"image": {"file": "x"}, "texts": ["x"]}, 422, "invalid_request", "no file 'x'"),
        ("rank", {"image": "/etc/passwd", "texts": ["x"]}, 422, "", ""),
        (
            "classify",
            {"images": [uri("red")], "labels": ["x"], "templates": ["no place"]},
            422,
            "",
            "template",
        ),
        ("similarity", {}, 422, "invalid_request", "neither"),
        ("match", {"pairs": [{"image": uri("red"), "text": "x"}], "probability": "sure"}, 422, "", ""),
    ],
)
def test_what_is_wrong_is_said(
    client: TestClient, path: str, body: Any, status: int, code: str, says: str
) -> None:
    problem = ask(client, path, body, status)
    assert code in problem["code"]
    assert says in problem.get("detail", "")


def test_what_is_no_json_or_of_another_form_is_refused(client: TestClient) -> None:
    for kind, data, status in (
        ("application/json", b"{", 422),
        ("text/plain", b"x", 415),
        ("multipart/form-data; boundary=x", b"garbage", 422),
        ("application/json", b"\xff\xfe", 422),
        ("application/json", b'{"image": "", "texts": ["\\ud800"]}', 422),
    ):
        answer = client.post("/v1/rank", content=data, headers={"content-type": kind})
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_that_is_too_long_is_refused_whether_or_not_it_says_so(starter: Matcher) -> None:
    config = ServeConfig(limits=RequestLimits(body=1000))
    with client_of(config, starter) as client:
        body = json.dumps({"input": "x" * 2000}).encode()
        headers = {"content-type": "application/json"}
        assert client.post("/v1/embeddings", content=body, headers=headers).status_code == 413
        pieces = (body[start : start + 100] for start in range(0, len(body), 100))
        answer = client.post("/v1/embeddings", content=pieces, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert client.post("/v1/embeddings", content=b"{}", headers={"content-length": "x"}).status_code in (
            400,
            413,
        )


def test_other_paths_and_methods_are_problems_too(client: TestClient) -> None:
    for method, path, status, code in (
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/embeddings", 405, "method_not_allowed"),
        ("GET", "/docs", 404, "not_found"),
    ):
        answer = client.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_fault_of_the_service_tells_nothing_of_itself(
    starter: Matcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(ServeConfig(), starter)

    def broken(*_: Any) -> Any:
        raise RuntimeError("secret place /home/anna")

    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        monkeypatch.setattr(app.state.service.engine, "embed_texts", broken)
        answer = client.post("/v1/embeddings", json={"input": "x"})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text


# -- who may --------------------------------------------------------------------------------------


def test_keys_and_scopes_and_hosts(starter: Matcher, tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    with client_of(ServeConfig(keys=tmp_path / "keys.json", rate=5), starter) as client:
        assert client.get("/v1/models").status_code == 200  # no keys yet
        assert client.app.state.service.ready.wait(30)  # type: ignore[attr-defined]
        text = keys.add("a", "read")
        refused = client.get("/v1/models")
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer realm="crosslens"')
        assert client.get("/v1/models", headers={"authorization": f"Bearer {text}"}).status_code == 200
        assert client.get("/v1/models", headers={"x-api-key": text}).status_code == 200
        assert client.get("/metrics").status_code == 401
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
        assert client.get("/v1/session").json()["scope"] is None
        assert client.get("/v1/models", headers={"host": "evil.example"}).status_code == 421
        headers = {"authorization": f"Bearer {text}"}
        statuses = [client.get("/v1/models", headers=headers).status_code for _ in range(6)]
        assert statuses[-1] == 429


def test_a_page_of_another_origin_cannot_ask_unless_it_may(starter: Matcher) -> None:
    with client_of(ServeConfig(origins=("https://app.example",)), starter) as client:
        body = {"input": "x"}
        assert (
            client.post("/v1/embeddings", json=body, headers={"origin": "https://evil.example"}).status_code
            == 403
        )
        allowed = client.post("/v1/embeddings", json=body, headers={"origin": "https://app.example"})
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (
            200,
            "https://app.example",
        )


def test_every_answer_forbids_what_a_page_does_not_need(client: TestClient) -> None:
    headers = client.get("/healthz").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers


def test_the_log_tells_no_texts_and_no_keys(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "crosslens.access"):
        ask(client, "embeddings", {"input": "a secret wish"}, headers={"authorization": "Bearer xl_secret"})
    [line] = [json.loads(record.message) for record in caplog.records if record.name == "crosslens.access"]
    assert (line["method"], line["route"], line["status"]) == ("POST", "/v1/embeddings", 200)
    assert "secret" not in json.dumps(line)


def test_the_service_is_not_ready_before_it_is_warm(
    starter: Matcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    app: FastAPI = create_app(ServeConfig(), starter)
    go = threading.Event()
    warm_up = app.state.service.engine.warm_up
    monkeypatch.setattr(app.state.service.engine, "warm_up", lambda: (go.wait(10), warm_up()))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        early = client.get("/readyz")
        assert (early.status_code, early.json()["code"]) == (503, "not_ready")
        go.set()
        assert app.state.service.ready.wait(30)
        assert client.get("/readyz").json() == {"ready": True, "model": "starter"}
