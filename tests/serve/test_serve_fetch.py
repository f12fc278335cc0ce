"""Pictures behind addresses: nothing is reached that is not public, whatever a name means later."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from crosslens.serve.error_responses import Problem
from crosslens.serve.security import url_fetch as module
from crosslens.serve.security.url_fetch import fetch, is_public, public_address

NOT_PUBLIC = """
    127.0.0.1 127.8.8.8 10.0.0.1 172.16.0.1 192.168.1.1 169.254.169.254 0.0.0.0 100.64.0.1 224.0.0.1
    255.255.255.255 240.0.0.1 198.18.0.1 192.0.2.1 :: ::1 fe80::1 fe80::1%eth0 fc00::1 ff02::1
    ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::7f00:1 2002:7f00:1:: 2001:db8::1 2001::1
"""


@pytest.mark.parametrize("address", NOT_PUBLIC.split())
def test_what_is_not_public_is_known(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.215.14", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_what_is_public_is_known(address: str) -> None:
    assert is_public(address)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What names mean; looked up nowhere else."""
    known: dict[str, list[str]] = {}

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        if host not in known:
            raise socket.gaierror("not known")
        addresses = known[host]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(module, "getaddrinfo", look_up)
    return known


def test_one_address_of_a_name_that_is_not_public_is_enough(names: dict[str, list[str]]) -> None:
    names["good.example"] = ["93.184.215.14", "93.184.215.15"]
    names["bad.example"] = ["93.184.215.14", "127.0.0.1"]
    assert public_address("good.example", 80) == "93.184.215.14"
    with pytest.raises(Problem, match="url_refused"):
        public_address("bad.example", 80)
    with pytest.raises(Problem, match="url_unreachable"):
        public_address("unknown.example", 80)


REFUSED = """
    file:///etc/passwd ftp://good.example/x gopher://good.example http:// http:///x //good.example/x
    http://user:secret@good.example/ http://good.example:99999/ http://[::1/ http://127.0.0.1/
    http://2130706433/ http://0x7f000001/ http://localhost/
"""


@pytest.mark.parametrize("url", [*REFUSED.split(), "http://good.example/" + "x" * 3000])
def test_what_is_no_public_address_is_refused(names: dict[str, list[str]], url: str) -> None:
    names |= {"good.example": ["93.184.215.14"], "127.0.0.1": ["127.0.0.1"], "localhost": ["127.0.0.1"]}
    names |= {"2130706433": ["127.0.0.1"], "0x7f000001": ["127.0.0.1"]}
    with pytest.raises(Problem) as refused:
        fetch(url, 1000, 2)
    assert refused.value.code == "url_refused"


class Answers(BaseHTTPRequestHandler):
    """/picture, /long, /endless, /missing, and /to/ANYTHING, which redirects there."""

    def do_GET(self) -> None:
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path[4:])
            self.end_headers()
        elif self.path == "/picture":
            assert self.headers["Host"].startswith("good.example")
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"bytes")
        elif self.path == "/long":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"x" * 100_000)
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(100):
                    self.wfile.write(b"x")
                    self.wfile.flush()
                    threading.Event().wait(0.05)
            except OSError:
                pass
        else:
            self.send_error(404)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def site(loopback: None, names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A site that counts as public although it is here."""
    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    names["good.example"] = ["127.0.0.1"]
    names["evil.example"] = ["10.0.0.1"]
    known = is_public
    monkeypatch.setattr(module, "is_public", lambda text: text == "127.0.0.1" or known(text))
    yield f"http://good.example:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_picture_is_fetched_also_by_way_of_a_redirect(site: str) -> None:
    assert fetch(f"{site}/picture", 1000, 5) == b"bytes"
    assert fetch(f"{site}/to//picture", 1000, 5) == b"bytes"
    assert fetch(f"{site}/to/{site}/picture", 1000, 5) == b"bytes"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/to/http://evil.example/x", "url_refused"),
        ("/to/file:///etc/passwd", "url_refused"),
        ("/to//to//to//to//to//picture", "url_refused"),
        ("/missing", "url_unreachable"),
        ("/long", "too_large"),
        ("/endless", "url_unreachable"),
        ("/\u2603", "url_unreachable"),
    ],
)
def test_what_leads_elsewhere_or_takes_too_much_is_refused(site: str, path: str, code: str) -> None:
    with pytest.raises(Problem) as refused:
        fetch(f"{site}{path}", 50_000, 1)
    assert refused.value.code == code


def test_the_name_is_looked_up_once(
    site: str, names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    look_up = module.getaddrinfo

    def counting(host: str, port: int, **options: Any) -> Any:
        asked.append(host)
        return look_up(host, port, **options)

    monkeypatch.setattr(module, "getaddrinfo", counting)
    connected: list[Any] = []
    create = socket.create_connection
    monkeypatch.setattr(module, "create_connection", lambda a, *r: connected.append(a) or create(a, *r))
    fetch(f"{site}/picture", 1000, 5)
    assert asked.count("good.example") == 1
    assert connected[0][0] == "127.0.0.1"  # the address that was checked, not the name
