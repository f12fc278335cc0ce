"""Concepts over HTTP: taught by marks, found, suggested for, given as a tag, forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from crosslens import Library, Matcher
from crosslens.serve.security.auth import Keys
from crosslens.towers.fake_model import FakeModel
from shelves import ask, index, search, served

WARM = "libraries/photos/concepts/warm"


@pytest.fixture
def client(tmp_path: Path, pictures: Path) -> Iterator[TestClient]:
    with served(tmp_path) as client:
        index(client, pictures)
        yield client


def items(client: TestClient) -> dict[str, str]:
    """Names of items in requests, by the names of their files."""
    found = ask(client, "GET", "libraries/photos/items")["items"]
    return {one["name"].partition(".")[0]: one["item"] for one in found}


def teach(client: TestClient, status: int = 200, path: str = WARM, **marks: Any) -> Any:
    of = items(client)
    named = {kind: [of[name] for name in names] for kind, names in marks.items() if kind != "threshold"}
    return ask(client, "POST", path, status, json={**marks, **named})


def test_marks_teach_what_queries_find(client: TestClient) -> None:
    of = items(client)
    taught = teach(client, yes=["red"], no=["blue"])
    assert taught.items() >= {"name": "warm", "library": "photos", "yes": 1, "no": 1, "current": True}.items()
    assert (taught["marked_yes"], taught["marked_no"]) == ([of["red"]], [of["blue"]])
    assert (taught["missed"], taught["false_alarms"]) == (None, None)
    found = ask(client, "POST", "search", json={"query": "concept:warm"})
    assert found["hits"][0]["name"] == "red.png"
    assert -1 <= found["hits"][-1]["score"] <= found["hits"][0]["score"] <= 1
    assert "blue.png" not in search(client, "concept:warm")
    assert "blue.png" in search(client, "-concept:warm")
    # What is marked is seen by the next search.
    assert "green.png" in search(client, "-concept:warm")
    teach(client, yes=["green"])
    assert "green.png" in search(client, "concept:warm")
    teach(client, no=["green"])
    assert "green.png" not in search(client, "concept:warm")
    assert ask(client, "GET", WARM) == teach(client) | {"taught": ask(client, "GET", WARM)["taught"]}
    [listed] = ask(client, "GET", "libraries/photos/concepts")["concepts"]
    assert listed.items() <= ask(client, "GET", WARM).items()


def test_it_is_said_why_something_is_found(client: TestClient) -> None:
    teach(client, yes=["red"], no=["blue"])
    told = ask(client, "POST", "explain", json={"query": "concept:warm", "item": items(client)["red"]})
    [term] = told["terms"]
    assert (term["term"], term["share"]) == ("concept:warm", pytest.approx(told["score"]))
    assert told["heat"] is not None


def test_suggestions_are_items_without_a_mark(client: TestClient) -> None:
    teach(client, yes=["red"], no=["blue"])
    found = ask(client, "GET", f"{WARM}/suggestions", params={"limit": 5})["suggestions"]
    assert {one["item"]["name"] for one in found} == {"green.png", "yellow.png"}
    assert all(0 < one["score"] < 1 for one in found)


def test_a_tag_is_given_only_when_it_is_asked_for(client: TestClient) -> None:
    teach(client, yes=["red", "yellow"], no=["blue", "green"])
    plan = {"tag": "warm", "fits": 2, "items": 4, "new": 2, "gone": 0}
    assert ask(client, "GET", f"{WARM}/tag") == {**plan, "given": False}
    assert search(client, "tag:warm") == []
    assert ask(client, "POST", f"{WARM}/tag", json={}) == {**plan, "given": True}
    assert sorted(search(client, "tag:warm")) == ["red.png", "yellow.png"]
    assert ask(client, "GET", WARM)["tags"] == [{"tag": "warm", "items": 2}]
    assert ask(client, "GET", f"{WARM}/tag", params={"tag": "tone/warm"})["new"] == 2
    teach(client, no=["yellow"])
    assert ask(client, "POST", f"{WARM}/tag", json={"tag": "warm"}).items() >= {"new": 0, "gone": 1}.items()
    assert search(client, "tag:warm") == ["red.png"]
    assert ask(client, "DELETE", WARM) == {"forgotten": "warm"}
    assert search(client, "tag:warm") == ["red.png"]
    assert ask(client, "GET", WARM, 404)["code"] == "concept_not_found"


def test_a_name_may_have_spaces_and_any_case(client: TestClient) -> None:
    teach(client, path="libraries/photos/concepts/My%20Dog", yes=["red"])
    assert ask(client, "GET", "libraries/photos/concepts/my dog")["name"] == "My Dog"
    assert search(client, 'concept:"MY DOG"')[0] == "red.png"
    suggested = ask(client, "GET", "complete", params={"text": "concept:m"})["suggestions"]
    assert suggested == [{"text": 'concept:"My Dog"', "kind": "concept"}]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_what_is_not_there_is_said(client: TestClient, method: str) -> None:
    assert ask(client, method, WARM, 404)["code"] == "concept_not_found"
    assert ask(client, method, "libraries/nowhere/concepts/warm", 404)["code"] == "library_not_found"
    assert ask(client, "POST", "search", 400, json={"query": "concept:warm"})["code"] == "unanswerable_query"
    problem = ask(client, "POST", "search", 400, json={"query": "concept:warm"})
    assert "/" not in problem["detail"]  # nothing of this machine


def test_marks_that_are_none_are_refused_and_change_nothing(client: TestClient, tmp_path: Path) -> None:
    of = items(client)
    for body in (
        {"yes": ["photos:77"]},
        {"yes": ["nowhere:1"]},
        {"yes": ["red"]},
        {"yes": [of["red"]], "no": [of["red"]]},
        {"no": [of["red"]]},
        {"yes": [of["red"]], "threshold": 1},
        {"maybe": []},
    ):
        answer = client.post(f"/v1/{WARM}", json=body)
        assert answer.status_code in (404, 422), body
    assert ask(client, "GET", "libraries/photos/concepts") == {"concepts": []}
    ask(client, "POST", "libraries", 201, json={"name": "empty"})
    assert ask(client, "GET", "libraries/empty/concepts") == {"concepts": []}
    ask(client, "POST", "libraries/empty/concepts/warm", 422, json={"yes": ["photos:1"]})
    ask(client, "POST", "libraries/empty/concepts/warm", 422, json={})


def test_a_reader_may_look_and_not_teach(tmp_path: Path) -> None:
    Library.open(tmp_path / "photos", Matcher(FakeModel())).add(texts=["red", "blue", "green"])
    key = Keys(tmp_path / "keys.json").add("reader", "read")
    with served(tmp_path, keys=tmp_path / "keys.json") as client:
        client.headers["x-api-key"] = key
        assert ask(client, "GET", "libraries/photos/concepts") == {"concepts": []}
        assert ask(client, "POST", WARM, 403, json={"yes": ["photos:1"]})["code"] == "forbidden"
        assert ask(client, "POST", f"{WARM}/tag", 403, json={})["code"] == "forbidden"
