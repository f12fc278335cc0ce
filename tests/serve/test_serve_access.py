"""Keys, scopes, hosts, origins and rates."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosslens.errors import InputError
from crosslens.serve.error_responses import Problem
from crosslens.serve.security.auth import Keys, Rates, check_host, check_origin, sent_key

OURS = frozenset({"localhost", "127.0.0.1", "[::1]", "photos.example"})


def test_a_key_is_told_once_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "sub" / "keys.json")
    text = keys.add("phone", "write")
    assert text.startswith("xl_")
    assert len(text) > 40
    assert text not in (tmp_path / "sub" / "keys.json").read_text()
    assert stat.S_IMODE(os.stat(tmp_path / "sub" / "keys.json").st_mode) == 0o600
    found = Keys(tmp_path / "sub" / "keys.json").find(text)
    assert found is not None
    assert (found.name, found.may("read"), found.may("write"), found.may("admin")) == (
        "phone",
        True,
        True,
        False,
    )
    assert keys.find(text[:-1]) is keys.find("") is keys.find(found.sha256) is None


def test_a_key_that_is_taken_back_is_worth_nothing_at_once(tmp_path: Path) -> None:
    running = Keys(tmp_path / "keys.json")
    text = Keys(tmp_path / "keys.json").add("a", "read")
    assert running.find(text) is not None
    Keys(tmp_path / "keys.json").add("b", "read")
    Keys(tmp_path / "keys.json").remove("a")
    assert running.find(text) is None
    assert [key.name for key in running.all()] == ["b"]
    with pytest.raises(InputError, match="no key 'a'"):
        running.remove("a")


@pytest.mark.parametrize("damage", ["", "[]", '{"keys": [{"name": "x"}]}', '{"keys": 3}', "\0"])
def test_a_damaged_file_of_keys_lets_nobody_in(tmp_path: Path, damage: str) -> None:
    (tmp_path / "keys.json").write_text(damage)
    with pytest.raises(InputError, match="cannot be read"):
        Keys(tmp_path / "keys.json").all()


@pytest.mark.parametrize(
    ("name", "scope"), [("", "read"), ("a b", "read"), ("x" * 65, "read"), ("x", "root")]
)
def test_what_is_no_key_is_refused(tmp_path: Path, name: str, scope: str) -> None:
    with pytest.raises(InputError):
        Keys(tmp_path / "keys.json").add(name, scope)  # type: ignore[arg-type]
    Keys(tmp_path / "keys.json").add("twice", "read")
    with pytest.raises(InputError, match="already"):
        Keys(tmp_path / "keys.json").add("twice", "read")


def test_without_a_file_there_are_no_keys() -> None:
    assert Keys(None).all() == ()
    assert Keys(None).find("xl_x") is None


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"authorization": "Bearer abc"}, "abc"),
        ({"authorization": "bearer  abc "}, "abc"),
        ({"x-api-key": "abc"}, "abc"),
        ({"authorization": "Basic abc"}, None),
        ({"authorization": "Bearer "}, None),
        ({}, None),
    ],
)
def test_a_key_is_found_in_the_headers(headers: dict[str, str], key: str | None) -> None:
    assert sent_key(headers) == key


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1:8765", "[::1]", "[::1]:9", "photos.example."]
)
def test_our_own_names_are_answered(host: str) -> None:
    check_host(host, OURS)


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "localhost.evil.example",
        "evil.example:8765",
        "127.0.0.1.evil",
        "[::2]",
        "::1",
    ],
)
def test_other_names_are_not(host: str | None) -> None:
    with pytest.raises(Problem) as refused:
        check_host(host, OURS)
    assert (refused.value.status, refused.value.code) == (421, "wrong_host")


@given(st.text(max_size=30))
def test_no_host_is_too_strange(host: str) -> None:
    with contextlib.suppress(Problem):
        check_host(host, OURS)


def test_a_page_of_another_origin_may_look_and_not_touch() -> None:
    ours = {"host": "localhost:8765", "origin": "http://localhost:8765"}
    check_origin("POST", ours, ())
    check_origin("POST", {"host": "localhost:8765"}, ())  # no browser
    check_origin("GET", {**ours, "origin": "https://evil.example"}, ())
    check_origin("POST", {**ours, "origin": "https://app.example"}, ("https://app.example",))
    for origin in ("https://evil.example", "null", "http://localhost:9999", ""):
        with pytest.raises(Problem, match="cross_origin"):
            check_origin("DELETE", {**ours, "origin": origin}, ())


def test_one_too_many_a_minute_is_told_when_to_come_back() -> None:
    rates = Rates(3)
    for _ in range(3):
        rates.check("a", now=0)
    with pytest.raises(Problem) as refused:
        rates.check("a", now=0)
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (429, "20")
    rates.check("b", now=0)
    rates.check("a", now=20)
    with pytest.raises(Problem):
        rates.check("a", now=21)
    for _ in range(1000):
        Rates(0).check("a")


def test_problems_are_documents(tmp_path: Path) -> None:
    problem = Problem(422, "x", "An x", "it is y", "make it z", {"column": 3})
    document = problem.document("id")
    assert json.loads(json.dumps(document)) == {
        "type": "urn:crosslens:problem:x", "title": "An x", "status": 422, "code": "x", "detail": "it is y",
        "remedy": "make it z", "column": 3, "request_id": "id",
    }  # fmt: skip
