"""Searches over HTTP find what a Library finds, tell what is known of it, and no folder of the machine."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from crosslens import Library, Matcher
from crosslens.library.query_search import search as search_library
from crosslens.models.spec import ImageSpec
from crosslens.search.query_language import parse
from crosslens.serve.inference.explanations import seen_part
from crosslens.serve.security.auth import Keys
from crosslens.towers.fake_model import FakeModel
from shelves import ask, ended, index, png, search, served, upload


def uri(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


@pytest.fixture
def client(tmp_path: Path, pictures: Path) -> Iterator[TestClient]:
    with served(tmp_path) as client:
        index(client, pictures)
        yield client


@pytest.fixture
def two(client: TestClient) -> TestClient:
    """A second library: "mine", with cyan.png and white.png."""
    ask(client, "POST", "libraries", 201, json={"name": "mine"})
    upload(client, "mine", {"cyan.png": png("cyan"), "white.png": png("white")})
    return client


# -- what is found --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query", ["red", "yellow -red", '0.3*"blue" green', "red width:>10 ext:png", "ext:png"]
)
def test_a_search_finds_what_the_library_finds(client: TestClient, tmp_path: Path, query: str) -> None:
    found = ask(client, "POST", "search", json={"query": query, "k": 3})
    with Library.open(tmp_path / "photos", Matcher(FakeModel())) as library:
        wanted = search_library(library, query, k=3)
    assert [(hit["id"], hit["path"]) for hit in found["hits"]] == [(hit.id, hit.path) for hit in wanted]
    scores = [None if math.isnan(hit.score) else pytest.approx(hit.score) for hit in wanted]
    assert [hit["score"] for hit in found["hits"]] == scores
    assert [hit["relevance"] for hit in found["hits"]] == [hit.relevance for hit in wanted]
    assert found["query"] == str(parse(query))


def test_a_result_tells_what_is_known(client: TestClient, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x010E] = "Acme", "One", "a magenta wall"
    exif.get_ifd(0x8769)[0x9003] = "2023:05:17 12:34:56"
    Image.new("RGB", (32, 16), (255, 0, 255)).save(tmp_path / "pictures" / "m.jpg", exif=exif)
    index(client, tmp_path / "pictures")
    [hit] = ask(client, "POST", "search", json={"query": "magenta", "k": 1})["hits"]
    ask(client, "POST", f"items/{hit['item']}/tags", json={"tags": ["walls/pink"]})
    [hit] = ask(client, "POST", "search", json={"query": "tag:walls"})["hits"]
    status = os.stat(tmp_path / "pictures" / "m.jpg")
    assert hit == {
        "item": "photos:5", "library": "photos", "id": 5, "kind": "image", "name": "m.jpg",
        "path": str(tmp_path / "pictures" / "m.jpg"), "score": None, "relevance": None, "width": 32,
        "height": 16, "size": status.st_size, "modified": status.st_mtime_ns / 10**9,
        "taken": "2023-05-17T12:34:56", "camera": "Acme One", "text": None, "caption": "a magenta wall",
        "tags": ["walls/pink"], "online": True, "version": hit["version"],
    }  # fmt: skip
    assert hit == ask(client, "GET", "items/photos:5")


def test_pages_go_on_where_the_last_ended(client: TestClient) -> None:
    whole = search(client, "red", k=4)
    assert search(client, "red", k=2) + search(client, "red", k=2, offset=2) == whole
    assert search(client, "red", k=2, offset=4) == []
    assert search(client, "red", k=4, sort="path") == sorted(whole)


def test_several_libraries_are_searched_as_one(two: TestClient) -> None:
    assert search(two, "cyan", k=1) == ["cyan.png"]
    found = ask(two, "POST", "search", json={"query": "green", "k": 3})["hits"]
    assert (found[0]["item"], found[0]["library"]) == ("photos:2", "photos")
    assert {hit["library"] for hit in found} == {"photos", "mine"}
    assert search(two, "cyan", libraries=["photos"], k=1) != ["cyan.png"]
    assert search(two, "red", libraries=["mine", "mine"]) == search(two, "red", libraries=["mine"])


def test_an_item_of_any_library_can_be_part_of_a_query(two: TestClient) -> None:
    ids = {hit["name"]: hit["item"] for hit in ask(two, "POST", "search", json={"query": "ext:png"})["hits"]}
    assert search(two, f"~{ids['cyan.png']}", k=1) == ["cyan.png"]
    assert set(search(two, f"~{ids['cyan.png']}", libraries=["photos"], k=2)) == {"green.png", "blue.png"}
    assert search(two, parts=[{"item": ids["red.png"]}], k=1) == ["red.png"]
    number = ids["red.png"].partition(":")[2]
    assert search(two, f"~#{number}", libraries=["photos"], k=1) == ["red.png"]
    answer = ask(two, "POST", "search", 400, json={"query": f"red ~#{number}"})
    assert "2 are searched" in answer["detail"]


def test_parts_are_terms_of_the_query(client: TestClient) -> None:
    parts = [{"text": "yellow"}, {"text": "red", "weight": -0.5}]
    one = ask(client, "POST", "search", json={"parts": parts})
    other = ask(client, "POST", "search", json={"query": "yellow -red"})
    assert one["hits"] == other["hits"]
    assert one["query"] == other["query"] == "yellow -red"
    alone = ask(client, "POST", "search", json={"parts": parts[:1]})
    assert alone["hits"][0]["relevance"] is not None  # it is words, as if they stood in the query
    both = ask(client, "POST", "search", json={"query": "yellow", "parts": parts[1:]})
    assert both["hits"] == other["hits"]


def test_pictures_are_sent_in_the_request_or_beside_it(client: TestClient) -> None:
    assert search(client, parts=[{"image": uri(png("green"))}], k=1) == ["green.png"]
    asked = {"query": "", "parts": [{"image": {"file": "mine"}}], "k": 1}
    form = {"request": (None, json.dumps(asked)), "mine": ("x.png", png("blue"))}
    answer = client.post("/v1/search", files=form)
    assert [hit["name"] for hit in answer.json()["hits"]] == ["blue.png"]
    mixed = search(client, "red", parts=[{"image": uri(png("green")), "weight": 1}], k=1)
    assert mixed == ["yellow.png"]
    assert search(client, parts=[{"image": {"item": "photos:3"}}], k=1) == search(client, "~#3", k=1)


def test_results_come_in_groups(client: TestClient, paint: Callable[..., Path], tmp_path: Path) -> None:
    paint("sub/red.jpg", "red")
    index(client, tmp_path / "pictures")
    asked = {"query": "red", "k": 2, "group": {"by": "folder", "each": 1}}
    found = ask(client, "POST", "search", json=asked)
    folder = tmp_path / "pictures"
    assert {group["key"] for group in found["groups"]} == {str(folder), str(folder / "sub")}
    assert [len(group["hits"]) for group in found["groups"]] == [1, 1]
    assert [group["more"] for group in found["groups"] if group["key"] == str(folder)] == [True]
    assert found["hits"] == []
    ask(client, "POST", "search", 422, json={**asked, "offset": 1})


def test_relevance_is_told_and_asked_for(client: TestClient) -> None:
    found = ask(client, "POST", "search", json={"query": "red", "k": 4})
    relevant = [hit for hit in found["hits"] if hit["relevance"] >= 0.5]
    assert found["relevance_ends"] == len(relevant) < 4
    assert search(client, "red", k=4, relevant=True) == [hit["name"] for hit in relevant]
    assert ask(client, "POST", "search", json={"query": "ext:png"})["relevance_ends"] is None
    assert ask(client, "POST", "search", json={"query": "red", "sort": "date"})["relevance_ends"] is None


def test_an_empty_library_has_nothing_to_find(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        assert search(client, "red") == search(client, "red", libraries=["photos"]) == []
        assert ask(client, "POST", "search", json={"query": "x", "group": {"by": "day"}})["groups"] == []


def test_what_another_process_indexed_is_found_at_once(
    client: TestClient, paint: Callable[..., Path], tmp_path: Path
) -> None:
    for number in range(5):
        assert len(search(client, "cyan", k=20)) == 4 + number
        with Library.open(tmp_path / "photos", Matcher(FakeModel())) as library:
            library.index([str(paint(f"{number}.png", "cyan", (16 + number, 16)))])
    assert len(search(client, "cyan", k=20)) == 9


def test_where_opening_takes_long_searches_go_on_with_what_there_was(
    client: TestClient, paint: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crosslens.serve.libraries.library_handle._LONG_SECONDS", 0)
    monkeypatch.setattr("crosslens.serve.libraries.library_handle._REST", 0)
    assert len(search(client, "cyan", k=20)) == 4
    opening, going = threading.Event(), threading.Event()
    real = Library.view

    def view(self: Library) -> Any:
        opening.set()
        assert going.wait(10)
        return real(self)

    with Library.open(tmp_path / "photos", Matcher(FakeModel())) as library:
        library.index([str(paint("cyan.png"))])
    with monkeypatch.context() as patch:
        patch.setattr(Library, "view", view)
        until = time.monotonic() + 20
        while not opening.is_set():
            assert len(search(client, "cyan", k=20)) == 4
            assert time.monotonic() < until
        assert len(search(client, "cyan", k=20)) == 4
        going.set()
        while search(client, "cyan", k=1) != ["cyan.png"]:
            assert time.monotonic() < until


def test_searches_from_many_threads_while_it_is_indexed(
    client: TestClient, paint: Callable[..., Path], tmp_path: Path
) -> None:
    for number in range(150):
        paint(f"more/{number}.png", "magenta", (16 + number, 16))
    job = ask(client, "POST", "libraries/photos/folders", 202, json={"path": str(tmp_path / "pictures")})[
        "job"
    ]

    def one(number: int) -> list[str]:
        return search(client, ("red", "blue", "green")[number % 3], k=1)

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(one, range(300)))
    assert found == [[f"{('red', 'blue', 'green')[number % 3]}.png"] for number in range(300)]
    assert ended(client, job)["report"]["added"] == 150
    assert len(search(client, "magenta", k=200)) == 154


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"query": "color:red"}, 400, "invalid_query"),
        ({"query": "red ~dog.jpg"}, 400, "invalid_query"),
        ({"query": "red ~photos:99"}, 400, "invalid_query"),
        ({"query": "red ~nowhere:1"}, 400, "invalid_query"),
        ({"query": ""}, 400, "unanswerable_query"),
        ({"query": "-red"}, 400, "unanswerable_query"),
        ({"query": "red", "kind": "text"}, 400, "unanswerable_query"),
        ({"query": "red", "libraries": ["nowhere"]}, 404, "library_not_found"),
        ({"query": "red", "libraries": []}, 422, "invalid_request"),
        ({"query": "red", "k": 1001}, 422, "invalid_request"),
        ({"query": "red", "k": 0}, 422, "invalid_request"),
        ({"query": "red", "ofset": 3}, 422, "invalid_request"),
        ({"parts": [{"text": "red", "item": "photos:1"}]}, 422, "invalid_request"),
        ({"parts": [{"weight": 1}]}, 422, "invalid_request"),
        ({"parts": [{"text": "red", "weight": 0}]}, 422, "invalid_request"),
        ({"parts": [{"item": "photos:99"}]}, 404, "item_not_found"),
        ({"parts": [{"item": "photos"}]}, 422, "invalid_request"),
        ({"parts": [{"image": {"file": "x"}}]}, 422, "invalid_request"),
        ({"parts": [{"image": {"url": "http://127.0.0.1/x"}}]}, 403, "urls_off"),
        ({"parts": [{"image": "data:image/png;base64,AAAA"}]}, 422, "image_unreadable"),
        ({"parts": [{"text": "red"}] * 33}, 422, "invalid_request"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_refused(
    client: TestClient, tmp_path: Path, asked: dict[str, Any], status: int, code: str
) -> None:
    problem = ask(client, "POST", "search", status, json=asked)
    assert problem["code"] == code
    assert str(tmp_path) not in json.dumps(problem)


def test_an_error_in_a_query_says_where(client: TestClient) -> None:
    assert ask(client, "POST", "search", 400, json={"query": "a dog ~photos:99"})["column"] == 7
    assert ask(client, "POST", "search", 400, json={"query": 'a "dog'})["column"] == 3


def test_a_library_of_another_model_is_listed_and_not_searched(tmp_path: Path, pictures: Path) -> None:
    with served(tmp_path) as client:
        index(client, pictures)
    with served(tmp_path, Matcher("starter", precision="f32")) as client:
        [listed] = ask(client, "GET", "libraries")["libraries"]
        assert (listed["name"], listed["model"], listed["items"]) == ("photos", "fake", 4)
        assert search(client, "red") == []
        for method, path, more in (
            ("POST", "search", {"json": {"query": "red", "libraries": ["photos"]}}),
            ("POST", "libraries/photos/items", {"files": {"a.png": ("a.png", png("red"))}}),
            ("PUT", "libraries/photos/items/a.png", {"content": png("red")}),
            ("GET", "libraries/photos/map", {}),
        ):
            problem = ask(client, method, path, 409, **more)
            assert problem["code"] == "other_model"
            assert "'fake'" in problem["detail"]
        assert len(ask(client, "GET", "libraries/photos/items")["items"]) == 4


# -- who may see where files lie ------------------------------------------------------------------


@pytest.fixture
def keyed(tmp_path: Path, paint: Callable[..., Path]) -> Iterator[tuple[TestClient, dict[str, Any]]]:
    """A service with keys: (client, headers by scope). Its pictures lie in pictures/trip/sub."""
    paint("trip/red.png")
    paint("trip/sub/blue.png")
    keys = Keys(tmp_path / "keys.json")
    with served(tmp_path) as client:
        index(client, tmp_path / "pictures" / "trip")
    with served(tmp_path, keys=tmp_path / "keys.json") as client:
        scopes = ("read", "write", "admin")
        yield client, {scope: {"authorization": f"Bearer {keys.add(scope, scope)}"} for scope in scopes}


def test_paths_begin_below_the_folder_that_was_indexed(
    keyed: tuple[TestClient, dict[str, Any]], tmp_path: Path
) -> None:
    client, headers = keyed
    paths: dict[str, list[str]] = {}
    for scope in headers:
        found = ask(client, "POST", "search", json={"query": "blue"}, headers=headers[scope])["hits"]
        paths[scope] = [hit["path"] for hit in found]
    assert paths["read"] == paths["write"] == ["sub/blue.png", "red.png"]
    assert paths["admin"] == [str(tmp_path / "pictures/trip" / path) for path in paths["read"]]


def test_nothing_tells_where_files_lie_to_those_who_may_not_know(
    keyed: tuple[TestClient, dict[str, Any]], tmp_path: Path
) -> None:
    client, headers = keyed
    asked = {"query": "blue", "group": {"by": "folder"}}
    answers = [
        client.post("/v1/search", json=asked, headers=headers["write"]),
        client.get("/v1/libraries/photos", headers=headers["write"]),
        client.get("/v1/libraries/photos/items", headers=headers["write"]),
        client.get("/v1/items/photos:1", headers=headers["write"]),
        client.post("/v1/search", json={"query": "x", "kind": "text"}, headers=headers["write"]),
        client.get("/v1/libraries/photos/duplicates?similar=0.1", headers=headers["write"]),
    ]
    for answer in answers:
        assert "pictures" not in answer.text
        assert tmp_path.name not in answer.text
    assert [group["key"] for group in answers[0].json()["groups"]] == ["sub", ""]


@pytest.mark.parametrize(
    ("pattern", "there"), [("sub/**", True), ("/sub/**", True), ("trip/**", False), ("/**/trip/**", False)]
)
def test_a_filter_of_paths_looks_no_further_up_than_one_may_see(
    keyed: tuple[TestClient, dict[str, Any]], pattern: str, there: bool
) -> None:
    client, headers = keyed
    found = ask(client, "POST", "search", json={"query": f"path:{pattern}"}, headers=headers["read"])["hits"]
    assert bool(found) == there
    if pattern == "trip/**":
        found = ask(client, "POST", "search", json={"query": f"path:{pattern}"}, headers=headers["admin"])[
            "hits"
        ]
        assert len(found) == 2


# -- why ------------------------------------------------------------------------------------------


def test_shares_of_the_terms_sum_to_the_score(two: TestClient) -> None:
    asked = {
        "query": 'yellow -red 0.5*"green"',
        "parts": [{"item": "mine:1", "weight": 0.7}, {"image": uri(png("blue")), "weight": -0.2}],
    }
    hits = ask(two, "POST", "search", json=asked)["hits"]
    for hit in hits:
        explained = ask(two, "POST", "explain", json={**asked, "item": hit["item"], "heat": False})
        assert explained["score"] == pytest.approx(hit["score"], abs=1e-5)
        assert sum(term["share"] for term in explained["terms"]) == pytest.approx(explained["score"])
        terms = [(term["term"], term["weight"]) for term in explained["terms"]]
        assert terms == [("yellow", 1), ("red", -0.5), ("green", 0.5), ("~mine:1", 0.7), ("picture 1", -0.2)]
        assert explained["heat"] is None


def test_heat_lies_where_the_thing_is(client: TestClient) -> None:
    half = Image.new("RGB", (64, 64), "blue")
    half.paste((255, 0, 0), (0, 0, 32, 64))
    file = io.BytesIO()
    half.save(file, "PNG")
    upload(client, "photos", {"half.png": file.getvalue()})
    item = ask(client, "POST", "search", json={"query": "path:half.png"})["hits"][0]["item"]
    heat = ask(client, "POST", "explain", json={"query": "red", "item": item})["heat"]
    values = np.array(heat["values"]).reshape(heat["rows"], heat["columns"])
    assert values.shape == (7, 7)
    assert values.max() == 1
    assert values[:, :3].mean() > 10 * values[:, 4:].mean()
    assert heat["box"] == [0, 0, 1, 1]


def test_there_is_no_heat_where_there_is_no_file(client: TestClient, pictures: Path) -> None:
    (pictures / "red.png").unlink()
    explained = ask(client, "POST", "explain", json={"query": "red", "item": "photos:3"})
    assert explained["score"] == pytest.approx(1)
    assert explained["heat"] is None
    ask(client, "POST", "explain", 404, json={"query": "red", "item": "photos:99"})


@pytest.mark.parametrize(
    ("resize", "size", "side", "box"),
    [
        ("squash", 8, 8, (0, 0, 1, 1)),
        ("shortest_edge", 8, 8, (0.25, 0, 0.75, 1)),
        ("shortest_edge", 7, 8, (0.28125, 0.0625, 0.71875, 0.9375)),
        ("longest_edge", 8, 8, (0, -0.5, 1, 1.5)),
    ],
)
def test_the_part_of_a_picture_that_is_seen(
    resize: Any, size: int, side: int, box: tuple[float, ...]
) -> None:
    spec = ImageSpec(
        size, resize, "bicubic", "center", (0, 0, 0), (1, 1, 1), resize_to=side if side != size else None
    )
    assert seen_part(200, 100, spec) == pytest.approx(box)


# -- completion -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "at", "wanted"),
    [
        ("da", None, ["date:"]),
        ("red -h", None, ["-has:", "-height:"]),
        ("red has:", None, ["has:date", "has:place", "has:camera", "has:caption", "has:tag"]),
        ("kind:t", None, ["kind:text"]),
        ("tag:an", None, ['tag:"people/anna b"']),
        ("tag:PEO", None, ['tag:"people/anna b"']),
        ("-ext:", None, ["-ext:png"]),
        ("ext:jp", None, []),
        ("camera:", None, []),
        ("nothing:", None, []),
        ("dogs", None, []),
        ('"a da', None, []),
        ("da red", 2, ["date:"]),
    ],
)
def test_what_may_follow_is_suggested(
    client: TestClient, text: str, at: int | None, wanted: list[str]
) -> None:
    ask(client, "POST", "items/photos:1/tags", json={"tags": ["people/anna b"]})
    parameters = {"text": text} | ({} if at is None else {"at": at})
    found = ask(client, "GET", "complete", params=parameters)
    assert [one["text"] for one in found["suggestions"]] == wanted
    assert found["to"] == (len(text) if at is None else at)
    if wanted:
        assert text[found["from"] : found["to"]] in (
            "da",
            "-h",
            "has:",
            "kind:t",
            "tag:an",
            "tag:PEO",
            "-ext:",
        )


def test_suggestions_are_few_and_long_queries_refused(client: TestClient) -> None:
    assert len(ask(client, "GET", "complete", params={"text": ""})["suggestions"]) == 12
    ask(client, "GET", "complete", 422, params={"text": "x" * 10_001})
    assert ask(client, "GET", "complete", params={"text": "a", "at": 99})["to"] == 1
