"""What any client may count on: heads without bodies, problems that are documents, nothing too strange."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from crosslens import Library, Matcher
from crosslens.serve.config import RequestLimits
from crosslens.serve.routes import page
from crosslens.towers.fake_model import FakeModel
from serving import running
from shelves import ask, index, png, served, upload

FORM = "multipart/form-data; boundary=x"


@pytest.fixture
def client(tmp_path: Path, pictures: Path) -> Iterator[TestClient]:
    with served(tmp_path) as client:
        index(client, pictures)
        yield client


# -- heads ----------------------------------------------------------------------------------------

ITEM = "/v1/items/photos:3"
HEADED = (
    "/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/v1/libraries", "/v1/session", "/v1/models",
    "/v1/libraries/photos/items?limit=2", ITEM, f"{ITEM}/thumbnail",
    f"{ITEM}/original", f"{ITEM}/original?inline=1",
)  # fmt: skip


@pytest.mark.parametrize("path", HEADED)
def test_a_head_is_that_of_the_whole_answer(client: TestClient, path: str) -> None:
    whole, head = client.get(path), client.head(path)
    assert head.content == b""
    assert whole.content != b""
    assert head.status_code == whole.status_code == 200
    same = {"content-type", "content-length", "etag", "cache-control", "content-disposition", "last-modified"}
    if path == "/metrics":
        same -= {"content-length"}  # it counts the requests, too
    assert {name: head.headers.get(name) for name in same} == {name: whole.headers.get(name) for name in same}
    assert {"x-request-id", "content-security-policy"} <= set(head.headers)


def test_a_head_tells_problems_parts_and_what_has_not_changed(client: TestClient) -> None:
    assert client.head("/v1/items/photos:99").status_code == 404
    assert client.head("/v1/items/photos:99").content == b""
    part = client.head(f"{ITEM}/original", headers={"range": "bytes=4-9"})
    assert (part.status_code, part.headers["content-length"], part.content) == (206, "6", b"")
    tag = client.head(f"{ITEM}/thumbnail").headers["etag"]
    assert client.head(f"{ITEM}/thumbnail", headers={"if-none-match": tag}).status_code == 304
    refused = client.head("/v1/search")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


def test_a_stream_has_no_head(client: TestClient) -> None:
    [job] = ask(client, "GET", "jobs")["jobs"]
    refused = client.head(f"/v1/jobs/{job['id']}/events")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")


def test_the_head_of_a_file_is_told_without_reading_it(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("starlette.responses.FileResponse._open_file", None)
    assert client.head(f"{ITEM}/original").status_code == 200


def test_heads_are_counted_as_such_and_what_is_no_method_is_no_name_of_a_figure(client: TestClient) -> None:
    client.head("/healthz")
    client.request("BREW", "/healthz")
    figures = client.get("/metrics").text
    assert 'crosslens_requests_total{method="HEAD",route="/healthz",status="200"} 1.0' in figures
    assert 'method="other"' in figures
    assert "BREW" not in figures


@pytest.mark.usefixtures("loopback")
def test_a_server_sends_heads_as_heads(client: TestClient) -> None:
    """With a real server in between, which counts the bytes of bodies."""
    import httpx2 as httpx

    with running(client.app) as address, httpx.Client(base_url=address) as real:
        for path in HEADED:
            assert real.head(path).content == b""
            assert real.get(path).content != b""  # over the same connection


# -- what cannot be done --------------------------------------------------------------------------


def test_what_can_be_done_instead_is_told_whole(client: TestClient) -> None:
    for path, methods in (
        ("/v1/libraries", "GET, HEAD, POST"),
        ("/v1/libraries/photos/items", "GET, HEAD, POST"),
        ("/v1/items/photos:1", "DELETE, GET, HEAD"),
        ("/v1/items/photos:1/tags", "DELETE, POST"),
        ("/v1/search", "POST"),
    ):
        refused = client.request("PATCH", path)
        assert (refused.status_code, refused.headers["allow"]) == (405, methods)
        assert refused.json()["code"] == "method_not_allowed"


def test_a_path_with_a_slash_more_is_another(client: TestClient) -> None:
    for path in ("/v1/libraries/", "/v1/items/", "/healthz/", "/v1/libraries/photos/items/"):
        answer = client.get(path, follow_redirects=False)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("wanted", ["bytes=900000-", "bytes=x-y", "bytes=9-4", "bytes=-0"])
def test_a_part_that_is_not_there_is_a_problem(client: TestClient, wanted: str) -> None:
    answer = client.get(f"{ITEM}/original", headers={"range": wanted})
    size = client.head(f"{ITEM}/original").headers["content-length"]
    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"] == f"bytes */{size}"


def test_a_fault_has_the_headers_of_every_answer(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.app.state.service.shelf, "chosen", None)  # type: ignore[attr-defined]
    answer = client.get("/v1/complete")
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, answer.json()["request_id"])
    assert answer.headers["x-content-type-options"] == "nosniff"


# -- bodies ---------------------------------------------------------------------------------------

BODIES = (
    ("POST", "/v1/libraries"), ("POST", "/v1/libraries/photos/folders"), ("POST", "/v1/items/photos:1/tags"),
    ("DELETE", "/v1/items/photos:1/tags"), ("POST", "/v1/search"), ("POST", "/v1/embeddings"),
)  # fmt: skip


@pytest.mark.parametrize(("method", "path"), BODIES)
@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b"\xff\xfe{}", "application/json", 422, "invalid_request"),
        (b"[" * 100_000, "application/json", 422, "invalid_request"),
        (b'{"\\ud800": 1}', "application/json", 422, "invalid_request"),
        (b"", "application/json", 422, "invalid_request"),
        (b"{}", "text/plain", 415, "unsupported_media"),
        (b"a=b", "application/x-www-form-urlencoded", 415, "unsupported_media"),
    ],
)
def test_a_body_that_is_none_is_refused_alike_everywhere(
    client: TestClient, method: str, path: str, content: bytes, kind: str, status: int, code: str
) -> None:
    answer = client.request(method, path, content=content, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(("method", "path"), BODIES)
def test_a_body_that_is_too_long_is_too_large_everywhere(tmp_path: Path, method: str, path: str) -> None:
    with served(tmp_path, limits=RequestLimits(body=1000)) as client:
        pieces = (b"x" * 100 for _ in range(20))
        answer = client.request(method, path, content=pieces, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "x", "1e3"])
def test_a_length_that_is_none_is_refused(client: TestClient, length: str) -> None:
    answer = client.post("/v1/search", content=b"{}", headers={"content-length": length})
    assert answer.status_code in (400, 413)


@pytest.mark.parametrize("path", ["/v1/search", "/v1/libraries/photos/items"])
@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("multipart/form-data", b""),
        ("multipart/form-data; boundary=" + "x" * 300, b"--x"),
        (FORM, b"--x\r\nbroken"),
        (FORM, b"no form"),
        (FORM, b"--x\r\nContent-Disposition: form-data\r\n\r\n{}\r\n--x--\r\n"),
        (FORM, b'--x\r\nContent-Disposition: form-data; name="request"\r\n\r\n{'),
        (
            FORM + "; charset=none",
            b'--x\r\nContent-Disposition: form-data; name="request"\r\n\r\n{\r\n--x--\r\n',
        ),
        (FORM, b"--x\r\n" + b"A" * 100_000 + b": 1\r\n\r\n\r\n--x--\r\n"),
    ],
)
def test_a_form_that_is_none_is_refused_as_any_request(
    client: TestClient, path: str, kind: str, content: bytes
) -> None:
    answer = client.post(path, content=content, headers={"content-type": kind})
    assert answer.status_code in (415, 422)
    assert answer.json()["code"] in ("unsupported_media", "invalid_request")


def test_too_many_pictures_in_a_form_are_refused_as_any_request(tmp_path: Path) -> None:
    with served(tmp_path, limits=RequestLimits(images=2)) as client:
        files = [("request", (None, "{}")), *((f"f{n}", ("a.png", png("red"))) for n in range(3))]
        answer = client.post("/v1/search", files=files)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_the_json_of_a_form_may_be_as_long_as_that_of_a_request(client: TestClient) -> None:
    request = {"image": {"file": "mine"}, "texts": ["red " * 4000] * 100}
    files = {"request": (None, json.dumps(request)), "mine": ("red.png", png("red"))}
    assert client.post("/v1/rank", files=files).status_code == 200


# -- numbers and texts ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "libraries/photos/items?offset=9223372036854775808",
        "libraries/photos/items?offset=99999999999999999999999999",
        "libraries/photos/items?limit=9223372036854775808",
        "libraries/photos/duplicates?similar=nan",
        "libraries/photos/duplicates?similar=inf",
        "libraries/photos/duplicates?similar=1.5",
        "libraries/photos/duplicates?limit=0",
    ],
)
def test_a_number_that_is_too_large_or_none_is_refused(client: TestClient, path: str) -> None:
    problem = ask(client, "GET", path, 422)
    assert problem["code"] == "invalid_request"
    ask(client, "GET", "libraries/photos/items?offset=9223372036854775807")


def test_a_library_without_anything_refuses_the_same_numbers(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        ask(client, "GET", "libraries/photos/duplicates?similar=7", 422)
        assert ask(client, "GET", "libraries/photos/duplicates?similar=0.9")["total"] == 0


@pytest.mark.parametrize("weight", ["NaN", "Infinity", "1e999"])
def test_a_weight_that_is_no_number_is_refused(client: TestClient, weight: str) -> None:
    content = f'{{"parts": [{{"text": "red", "weight": {weight}}}]}}'
    ask(client, "POST", "search", 422, content=content, headers={"content-type": "application/json"})


@pytest.mark.parametrize(
    "query",
    [
        "ext:" + ",".join(["a"] * 4000),
        " ".join(["has:tag"] * 1200),
        " ".join(["-width:3"] * 1100),
        '"' + "a " * 4000 + '"',
        "~photos:999999999999999999",
        "\0 \x1f \u202e",
    ],
)
@pytest.mark.parametrize("path", ["search", "explain"])
def test_a_query_of_many_parts_is_answered_or_refused(client: TestClient, path: str, query: str) -> None:
    request: dict[str, Any] = {"query": query, **({"item": "photos:1"} if path == "explain" else {})}
    assert client.post(f"/v1/{path}", json=request).status_code in (200, 400, 422)


# -- libraries of several kinds -------------------------------------------------------------------


@pytest.fixture
def mixed(client: TestClient, tmp_path: Path) -> TestClient:
    """Pictures in photos, pictures in holiday, and texts alone in words."""
    for name in ("holiday", "words"):
        ask(client, "POST", "libraries", 201, json={"name": name})
    upload(client, "holiday", {"red.png": png("red")})
    with Library.open(tmp_path / "data" / "words", Matcher(FakeModel())) as library:
        library.add(texts=["a red wall"], names=["wall"])
    return client


def test_an_item_is_explained_whatever_is_searched(mixed: TestClient) -> None:
    for request in (
        {"query": "red", "item": "words:1", "libraries": ["photos"]},
        {"query": "red", "item": "photos:1", "libraries": ["words"]},
        {"query": "red", "item": "words:1"},
    ):
        explained = ask(mixed, "POST", "explain", json=request)
        assert explained["terms"][0]["term"] == "red"


def test_a_library_of_texts_alone_has_no_duplicates(mixed: TestClient) -> None:
    assert ask(mixed, "GET", "libraries/words/duplicates")["clusters"] == []
    assert ask(mixed, "GET", "libraries/words/map")["total"] == 1


def test_a_page_that_was_not_built_has_a_head_too(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "PAGE", tmp_path / "nowhere")
    assert client.head("/").headers["content-type"].startswith("text/html")


# -- what is nobody's business --------------------------------------------------------------------


def test_a_text_does_not_tell_whether_there_is_a_file(client: TestClient, pictures: Path) -> None:
    there, not_there = str(pictures / "red.png"), str(pictures / "none.png")
    vectors = [ask(client, "POST", "embeddings", json={"input": text})["data"] for text in (there, not_there)]
    assert vectors[0] == vectors[1]
    ask(client, "POST", "search", json={"parts": [{"text": there}]})


def test_a_file_of_keys_that_is_damaged_lets_nobody_in_and_is_not_named(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("{")
    with served(tmp_path, keys=tmp_path / "keys.json") as client:
        for path in ("/v1/libraries", "/v1/session", "/metrics"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (500, "internal")
            assert "keys" not in answer.text
        assert client.get("/healthz").status_code == 200


# -- nothing is told to anyone else ---------------------------------------------------------------


def test_no_variable_of_the_environment_makes_the_service_tell_what_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with served(tmp_path) as client:
        ask(client, "GET", "libraries")
        assert not getattr(client.app, "_native_telemetry").enabled()  # noqa: B009
    assert "elemetry" not in caplog.text
