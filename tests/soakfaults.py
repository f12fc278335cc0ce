"""Clients that are slow, go away, or send what they should not."""

from __future__ import annotations

import socket
import time
from contextlib import closing

from shelves import zipped
from soaking import CUT, Answer, answer_of, head
from soakload import FORM, LIBRARY, Load, form, sha


class Faults(Load):
    """A client that means no good. slow_seconds: how long it keeps a connection at a byte a second."""

    slow_seconds = 3.0

    def slow_request(self) -> None:
        """A byte a second; then it goes away, or there is no more to send."""
        body = b'{"query": "a dog"}'
        with self.client.watched("slow request"), self.client.raw() as wire:
            wire.sendall(head("POST /v1/search", len(body), "application/json"))
            self._trickle(wire, body)
            self.ledger.count("slow request", "left")

    def slow_upload(self) -> None:
        """Whole in the end, and then it must be taken in like any other."""
        parcel = self.parcel()
        body = form(parcel.files)
        quick = len(body) - int(self.slow_seconds)
        with self.ledger.lock:
            self.ledger.never |= parcel.broken
        answers: list[Answer] = []
        with self.client.watched("slow upload"), closing(self.service.connection()) as connection:
            connection.putrequest("POST", f"{LIBRARY}/items")
            connection.putheader("Content-Type", FORM)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders()
            connection.send(body[:quick])
            for at in range(quick, len(body)):
                time.sleep(1)
                connection.send(body[at : at + 1])
            answers.append(answer_of(connection))
            self.client.check("slow upload", answers[0])
        self.accepted(parcel, answers[0] if answers else None)

    def half_upload(self) -> None:
        """It breaks off in the middle, so nothing of it may be there."""
        parcel = self.parcel()
        body = form(parcel.files)
        with self.ledger.lock:
            self.ledger.never |= {*parcel.broken, *parcel.pictures}
        with self.client.watched("upload, left halfway"), self.client.raw() as wire:
            wire.sendall(head(f"POST {LIBRARY}/items", len(body), FORM))
            wire.sendall(body[: self.chance.randrange(1, len(body))])
            time.sleep(self.chance.choice([0, 0.05, 0.5]))
            self.ledger.count("upload, left halfway", "left")

    def unread_upload(self) -> None:
        """It goes away before it is told whether the upload was accepted."""
        parcel = self.parcel()
        body = form(parcel.files)
        with self.ledger.lock:
            self.ledger.never |= parcel.broken
        self.ledger.doubt(set(parcel.pictures))
        with self.client.watched("upload, left unanswered"), self.client.raw() as wire:
            wire.sendall(head(f"POST {LIBRARY}/items", len(body), FORM) + body)
            time.sleep(self.chance.choice([0, 0.01, 0.1]))
            self.ledger.count("upload, left unanswered", "left")

    def half_answer(self) -> None:
        """It goes away in the middle of an answer, or reads a byte a second of it."""
        path = self.chance.choice([f"{LIBRARY}/items?limit=1000", "/metrics", f"{LIBRARY}/map"])
        with self.client.watched("answer, left halfway"), self.client.raw() as wire:
            wire.sendall(head(f"GET {path}", 0, "application/json"))
            wire.recv(10)
            if self.chance.random() < 0.2:
                for _ in range(int(self.slow_seconds)):
                    time.sleep(1)
                    wire.recv(1)
            self.ledger.count("answer, left halfway", "left")

    def too_much(self) -> None:
        """A zip bomb, too many entries, more bytes than are allowed, told beforehand or not."""
        where = f"POST {LIBRARY}/items"
        bomb = zipped({"0.png": bytes(3_500_000)})
        many = zipped({f"{number}.png": b"x" for number in range(300)})
        for data in (bomb, many):
            self._refused("zip bomb", where, form([("a.zip", data)]), FORM, 413)
        large = form([("a.png", bytes(4_100_000))])
        self.client.ask("too large a file", where, large, FORM, also=(413, CUT))
        kind = "too large a body"
        with self.client.watched(kind, may_break=True), closing(self.service.connection()) as connection:
            connection.putrequest("PUT", f"{LIBRARY}/items/large.png")
            connection.putheader("Content-Length", "9000000")
            connection.endheaders(b"only the first of them")
            self.client.check(kind, answer_of(connection), (413,))

    def nonsense(self) -> None:
        """What cannot be read, is not there, or is not meant for us."""
        where, data = f"POST {LIBRARY}/items", self.picture(".png")
        whole = form([("a.png", data)])
        with self.ledger.lock:
            self.ledger.never |= {sha(data), sha(data[:-9])}
        for body, ctype, status in (
            (whole[:-12], FORM, 422),
            (whole, "multipart/form-data; boundary=other", 422),
            (whole, "multipart/form-data", 415),
            (b"", FORM, 422),
            (b"{}", "application/json", 415),
        ):
            self._refused("wrong form", where, body, ctype, status)
        for line, body, status in (
            ("POST /v1/search", b'{"query": ', 422),
            ("POST /v1/search", b'{"query": "color:red"}', 400),
            ("POST /v1/search", b'{"quarry": "a"}', 422),
            ("POST /v1/embeddings", b'{"input": ["data:image/png;base64,AAAA"]}', 422),
            ("GET /v1/libraries/nowhere", None, 404),
            ("GET /v1/items/photos:999999999", None, 404),
            ("GET /v1/jobs/none", None, 404),
            ("PATCH /v1/search", b"{}", 405),
            (f"PUT {LIBRARY}/items/notes.txt", b"x", 422),
            (f"PUT {LIBRARY}/items/none.png", b"", 422),
        ):
            self._refused("nonsense", line, body, "application/json", status)
        with self.client.watched("no HTTP"), self.client.raw() as wire:
            wire.sendall(self.chance.randbytes(200) + b"\r\n\r\n")
            self.ledger.count("no HTTP", "left")

    def _refused(self, kind: str, line: str, body: bytes | None, ctype: str, status: int) -> None:
        answer = self.client.ask(kind, line, body, ctype, also=(status,))
        if answer is not None and answer.status not in (status, 429, 503):
            self.ledger.surprise(kind, f"{answer.status} and not {status}: {line}, {answer.data[:200]!r}")

    def _trickle(self, wire: socket.socket, body: bytes) -> None:
        for at in range(min(len(body), int(self.slow_seconds))):
            time.sleep(1)
            wire.sendall(body[at : at + 1])
