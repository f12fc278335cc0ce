"""Fetching a picture from a URL, protected against SSRF.

The name is looked up once, and every address found must be public; the connection goes to that very address,
so that a second look-up cannot give another. Each redirect is checked in the same way.
"""

from __future__ import annotations

import http.client
import ipaddress
import ssl
import time
from contextlib import closing
from socket import SOCK_STREAM, create_connection, getaddrinfo, socket
from urllib.parse import urljoin, urlsplit

from crosslens.serve.error_responses import Problem, too_large

_MOST_REDIRECTS = 3
_PORTS = {"http": 80, "https": 443}
_REDIRECTS = (301, 302, 303, 307, 308)
_BLOCK = 1 << 16
_LONGEST = 2000


def fetch(url: str, most_bytes: int, seconds: float) -> bytes:
    """The bytes behind an address. Raises Problem: not allowed, not there, too large, too slow."""
    deadline = time.monotonic() + seconds
    for _ in range(_MOST_REDIRECTS + 1):
        data, elsewhere = _once(url, most_bytes, deadline)
        if elsewhere is None:
            return data
        url = urljoin(url, elsewhere)
    raise _refused(f"more than {_MOST_REDIRECTS} redirects")


def public_address(host: str, port: int) -> str:
    """The address of a host, if it and all its others are public. Raises Problem."""
    try:
        found = {entry[4][0] for entry in getaddrinfo(host, port, type=SOCK_STREAM)}
    except (OSError, UnicodeError) as error:
        raise _unreachable(f"the name {host!r} is not known") from error
    for text in found:
        if not is_public(str(text)):
            raise _refused("only public addresses are fetched from")
    return str(min(found, key=lambda text: (":" in str(text), str(text))))


def is_public(text: str) -> bool:
    """Whether an IP address can be anybody's on the internet."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        # What is an IPv4 address in another dress is judged as that.
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return inner.is_global and not inner.is_multicast
    return address.is_global and not address.is_multicast


def _once(url: str, most_bytes: int, deadline: float) -> tuple[bytes, str | None]:
    """(bytes, None), or (nothing, where they are instead)."""
    connection, target = _connection(url, deadline)
    try:
        connection.request("GET", target, headers={"Accept": "image/*", "User-Agent": "crosslens"})
        plug = connection.sock  # the answer may take it over
        with closing(connection.getresponse()) as answer:
            if answer.status in _REDIRECTS and (elsewhere := answer.getheader("Location")):
                return b"", elsewhere
            if answer.status != http.HTTPStatus.OK:
                raise _unreachable(f"the answer was {answer.status}")
            return _body(plug, answer, most_bytes, deadline), None
    except (OSError, http.client.HTTPException, UnicodeError, ValueError) as error:
        raise _unreachable(f"no picture came back ({type(error).__name__})") from error
    finally:
        connection.close()


def _body(plug: socket, answer: http.client.HTTPResponse, most: int, deadline: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise _unreachable("it took too long")
        plug.settimeout(left)
        part = answer.read1(_BLOCK)
        if not part:
            return b"".join(parts)
        size += len(part)
        if size > most:
            raise too_large(f"the picture behind the address has more than {most:,} bytes")
        parts.append(part)


def _connection(url: str, deadline: float) -> tuple[http.client.HTTPConnection, str]:
    """A connection to the checked address of an URL's host, and what to ask it for."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme.lower(), 0)
        host = parts.hostname or ""
    except ValueError as error:
        raise _refused("it is no address") from error
    if parts.scheme.lower() not in _PORTS or not host or len(url) > _LONGEST or parts.username is not None:
        raise _refused("wanted http or https, a host, and no password")
    address = public_address(host, port)
    left = deadline - time.monotonic()
    if left <= 0:
        raise _unreachable("it took too long")
    kind = _PinnedHTTPS if parts.scheme.lower() == "https" else _Pinned
    connection = kind(host, port, timeout=left)
    connection.address = address
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return connection, target


class _Pinned(http.client.HTTPConnection):
    """Connects to an address that was checked, whatever its host's name means by now."""

    address = ""

    def connect(self) -> None:
        self.sock = create_connection((self.address, self.port), self.timeout)


class _PinnedHTTPS(_Pinned):
    def connect(self) -> None:
        super().connect()
        self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)


def _refused(detail: str) -> Problem:
    return Problem(403, "url_refused", "The address of a picture is not allowed", detail)


def _unreachable(detail: str) -> Problem:
    return Problem(422, "url_unreachable", "The picture behind an address could not be fetched", detail)
