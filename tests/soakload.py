"""What clients do to a service, well-meaning and not, each in a thread of its own, by chance."""

from __future__ import annotations

import base64
import hashlib
import io
import random
import threading
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

from PIL import Image

from shelves import zipped
from soaking import Accepted, Answer, Client, Ledger, Service

LIBRARY = "/v1/libraries/photos"
_WORDS = ["a dog", "red car", "two people", "the sea at night", "a plate of food", "snow", "green hills"]
_QUERIES = ["{} ext:png", "{} -snow", '"soak" {}', "{} tag:soak", "{} size:>1kb", "ext:jpg", "relevant: {}"]
FORM = "multipart/form-data; boundary=soaked"
_KEEPERS = 150
# Pictures in the library, beyond which clients delete more than they send.
_MOST_ITEMS = 1200


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def form(files: list[tuple[str, bytes]]) -> bytes:
    """Files as a form."""
    parts = []
    for name, data in files:
        said = f'Content-Disposition: form-data; name="file"; filename="{name}"'
        parts += [b"--soaked\r\n", said.encode(), b"\r\n\r\n", data, b"\r\n"]
    return b"".join([*parts, b"--soaked--\r\n"])


@dataclass(frozen=True, slots=True)
class Parcel:
    """An upload to be sent. pictures: names by content; broken: contents that are no pictures."""

    files: list[tuple[str, bytes]]
    pictures: dict[str, str]
    bad: set[str]
    twice: set[str]
    broken: set[str]


class Load:
    """One client. Its kinds of requests are its methods."""

    def __init__(self, service: Service, ledger: Ledger, number: int) -> None:
        self.chance = random.Random(number)  # noqa: S311 (no secret)
        self.service = service
        self.ledger = ledger
        self.client = Client(service, ledger)
        self.number = number
        self.sent = 0
        self.items: list[str] = []
        self.jobs: list[str] = []

    def work(self, kinds: Mapping[str, int], until: threading.Event) -> None:
        """Ask, by chance, until it is over."""
        names, weights = list(kinds), list(kinds.values())
        while not until.is_set():
            if not self.service.is_up:
                time.sleep(0.1)  # and ask all the same
            [kind] = self.chance.choices(names, weights)
            try:
                getattr(self, kind)()
            except Exception as error:  # the test's own fault
                self.ledger.surprise(kind, f"the test itself failed: {error!r}")
                raise

    # -- what is sent -----------------------------------------------------------------------------

    def name(self, ending: str) -> str:
        self.sent += 1
        return f"soak-{self.number}-{self.sent}{ending}"

    def picture(self, ending: str) -> bytes:
        """A picture that nobody sent before."""
        size = self.chance.choice([(96, 64), (160, 200), (320, 240), (640, 480)])
        rough = Image.frombytes("RGB", (16, 12), self.chance.randbytes(16 * 12 * 3))
        file = io.BytesIO()
        kind = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}[ending]
        rough.resize(size, Image.Resampling.BILINEAR).save(file, kind, quality=80)
        return file.getvalue()

    def ending(self) -> str:
        return self.chance.choice([".jpg", ".jpg", ".png", ".webp"])

    def text(self) -> str:
        # Some are new, most were asked before.
        return f"{self.chance.choice(_WORDS)} {self.chance.randrange(200)}"

    def data_uri(self) -> str:
        return "data:image/jpeg;base64," + base64.b64encode(self.picture(".jpg")).decode()

    def broken_picture(self) -> bytes:
        whole = self.picture(".png")
        junk = self.chance.randbytes(50)
        return self.chance.choice([whole[: len(whole) // 2], junk, whole[:8] + junk, b"\xff\xd8\xff" + junk])

    def parcel(self) -> Parcel:
        """A few pictures; sometimes with what is none, with one twice, with one that is there already."""
        chance, made = self.chance, Parcel([], {}, set(), set(), set())
        for _ in range(chance.randint(1, 4)):
            ending = self.ending()
            # Names that others use too are numbered.
            name = chance.choice(["IMG_1" + ending, self.name(ending), self.name(ending)])
            data = self.picture(ending)
            made.files.append((name, data))
            made.pictures[sha(data)] = name
        if chance.random() < 0.3:
            name, data = self.name(".png"), self.broken_picture()
            made.files.insert(0, (name, data))
            made.bad.add(name)
            made.broken.add(sha(data))
        if chance.random() < 0.2:
            name = self.name(".png")
            made.files.append((name, made.files[-1][1]))
            made.twice.add(name)
        with self.ledger.lock:
            known = list(self.ledger.keepers.values())
        if known and chance.random() < 0.2:
            name = self.name(".png")
            made.files.append((name, chance.choice(known)))
            made.twice.add(name)
        return made

    def archive(self) -> Parcel:
        """A parcel as an archive, perhaps cut short, or with an entry whose bytes are not what it says."""
        plain, name = self.parcel(), self.name(".zip")
        entries = {f"{place}/{entry}": data for place, (entry, data) in enumerate(plain.files)}
        entries |= {"notes.txt": b"soak", ".hidden/a.png": b"none"}
        data = bytearray(zipped(entries))
        bad = {f"{name}/{entry}" for entry in entries if entry.partition("/")[2] in plain.bad}
        bad.add(f"{name}/notes.txt")
        twice = {f"{name}/{entry}" for entry in entries if entry.partition("/")[2] in plain.twice}
        how, first = self.chance.random(), next(iter(entries))
        if how < 0.15:  # its list is gone, so nothing of it is taken
            cut = bytes(data[: len(data) * 2 // 3])
            return Parcel([(name, cut)], {}, {name}, set(), {*plain.broken, *plain.pictures})
        if how < 0.25 and list(entries.values()).count(entries[first]) == 1:
            data[data.index(first.encode()) + len(first) + 5] ^= 0xFF
            good = {one: kept for one, kept in plain.pictures.items() if one != sha(entries[first])}
            return Parcel([(name, bytes(data))], good, {*bad, f"{name}/{first}"}, twice, plain.broken)
        return Parcel([(name, bytes(data))], plain.pictures, bad, twice, plain.broken)

    # -- putting things in ------------------------------------------------------------------------

    def upload(self) -> None:
        self._send(self.parcel())

    def upload_archive(self) -> None:
        self._send(self.archive())

    def _send(self, parcel: Parcel) -> None:
        if len(self.ledger.kept) > _MOST_ITEMS:
            self.delete()
            return
        with self.ledger.lock:
            self.ledger.never |= parcel.broken
        answer = self.client.ask("upload", f"POST {LIBRARY}/items", form(parcel.files), FORM)
        self.accepted(parcel, answer)

    def accepted(self, parcel: Parcel, answer: Answer | None) -> None:
        """Note what became of a parcel, and look at its job, now or later."""
        if answer is None or answer.status == 503:  # it ended in the middle
            self.ledger.doubt(set(parcel.pictures))
            return
        if answer.status != 202:
            with self.ledger.lock:
                self.ledger.never |= set(parcel.pictures)
            return
        job = answer.json()["job"]["id"]
        self.jobs = [*self.jobs[-9:], job]
        taken = Accepted(job, self.service.life, parcel.pictures, parcel.bad, parcel.twice)
        with self.ledger.lock:
            self.ledger.uploads += 1
            self.ledger.pictures += len(parcel.pictures)
            self.ledger.kept |= set(parcel.pictures)
        if self.chance.random() < 0.04:
            self.cancel(taken)
            return
        for name, data in parcel.files:  # what may be sent again once it is known to be there
            new = sha(data) in parcel.pictures and name not in parcel.twice
            if new and len(self.ledger.keepers) < _KEEPERS:
                self.watch_until_done(taken, {sha(data): data})
                return
        with self.ledger.lock:
            self.ledger.unchecked.append(taken)

    def cancel(self, taken: Accepted) -> None:
        self.ledger.doubt(set(taken.pictures))
        self.client.ask("cancel a job", f"DELETE /v1/jobs/{taken.job}", also=(404,))

    def watch_until_done(self, taken: Accepted, keep: dict[str, bytes]) -> None:
        until = time.monotonic() + 5
        while time.monotonic() < until:
            state = self._look_at(taken)
            if state == "done":
                with self.ledger.lock:
                    self.ledger.keepers |= keep
                    self._may_be_deleted(taken, set(keep))
            if state != "running":
                return
            time.sleep(0.1)
        with self.ledger.lock:
            self.ledger.unchecked.append(taken)

    def check_job(self) -> None:
        """Look at an upload of a while ago."""
        with self.ledger.lock:
            taken = self.ledger.unchecked.popleft() if self.ledger.unchecked else None
        if taken is None:
            return
        state = self._look_at(taken)
        with self.ledger.lock:
            if state == "running":
                self.ledger.unchecked.append(taken)
            elif state == "done":
                self._may_be_deleted(taken, set())

    def _may_be_deleted(self, taken: Accepted, besides: set[str]) -> None:
        self.ledger.deletable.extend(one for one in taken.pictures if one not in besides)

    def _look_at(self, taken: Accepted) -> str:
        """done, running, or lost with its process; a job that is done must tell all that was wrong."""
        answer = self.client.ask("job", f"GET /v1/jobs/{taken.job}", also=(404,))
        if answer is None or answer.status != 200:
            return "unknown"
        job = answer.json()
        if job["state"] in ("waiting", "running"):
            return "running"
        if job["state"] == "cancelled" and not (self.service.is_up and self.service.life == taken.life):
            return "unknown"  # the service is stopping
        told = {one["name"] for one in job["failures"]}, {one["name"] for one in job["duplicates"]}
        if (job["state"], *told) != ("done", taken.bad, taken.twice):
            self.ledger.surprise("job", f"wanted failures {taken.bad}, duplicates {taken.twice}, got {job}")
        return "done"

    def put(self) -> None:
        """One of a few names of its own, so that pictures are replaced too."""
        name = f"put-{self.number}-{self.chance.randrange(20)}.png"
        data = self.picture(".png") if self.chance.random() < 0.85 else self.broken_picture()
        good = self._is_whole(data)
        line, also = f"PUT {LIBRARY}/items/{name}", () if good else (422,)
        answer = self.client.ask("put", line, data, "image/png", also)
        with self.ledger.lock:
            before = self.ledger.names.get(name, {None})
            if not good:
                self.ledger.never.add(sha(data))
            elif answer is None:
                self.ledger.names[name] = before | {sha(data)}
            elif answer.status in (200, 201):
                self.ledger.names[name] = {sha(data)}
        if answer is not None and answer.status in (200, 201) and self.chance.random() < 0.3:
            self._remove_put(name, answer.json()["item"])

    @staticmethod
    def _is_whole(data: bytes) -> bool:
        with suppress(Exception):
            Image.open(io.BytesIO(data)).load()
            return True
        return False

    def _remove_put(self, name: str, item: str) -> None:
        answer = self.client.ask("delete", f"DELETE /v1/items/{item}")
        with self.ledger.lock:
            if answer is None:
                self.ledger.names[name].add(None)
            elif answer.status == 200:
                self.ledger.names[name] = {None}
                self.ledger.deletions += 1

    def delete(self) -> None:
        """An own item of a while ago."""
        with self.ledger.lock:
            one = self.ledger.deletable.popleft() if self.ledger.deletable else None
        if one is None:
            return
        found = self.client.ask("list", f"GET {LIBRARY}/items?sort=added&limit=1000")
        items = found.json()["items"] if found is not None and found.status == 200 else []
        item = next((item["item"] for item in items if item["version"] == one[:12]), None)
        if item is None:
            return  # it may be farther down
        self.ledger.doubt({one})
        answer = self.client.ask("delete", f"DELETE /v1/items/{item}")
        if answer is not None and answer.status == 200:
            with self.ledger.lock:
                self.ledger.unsure.discard(one)
                self.ledger.gone.add(one)
                self.ledger.deletions += 1

    def folder(self) -> None:
        body = {"path": str(self.service.folder / "pictures")}
        answer = self.client.ask("folder", f"POST {LIBRARY}/folders", body)
        if answer is not None and answer.status == 202:
            self.ledger.folder_accepted = True
        self.client.ask("folder", f"POST {LIBRARY}/folders", {"path": "/"}, also=(403,))

    # -- asking -----------------------------------------------------------------------------------

    def embed(self) -> None:
        texts = [self.text() for _ in range(self.chance.randint(1, 4))]
        self.client.ask("embed texts", "POST /v1/embeddings", {"input": texts})
        images = [self.data_uri() for _ in range(self.chance.randint(1, 3))]
        self.client.ask("embed pictures", "POST /v1/embeddings", {"input": images})

    def search(self) -> None:
        """By words and filters, by a picture, by an item; what it finds is used by others."""
        chance = self.chance
        query = chance.choice(_QUERIES).format(self.text())
        asked: dict[str, Any] = {"query": query, "k": 20, "sort": chance.choice(["score", "date", "path"])}
        if chance.random() < 0.2:
            asked |= {"group": {"by": chance.choice(["day", "folder", "content"]), "each": 2}}
        answer = self.client.ask("search", "POST /v1/search", asked)
        if answer is not None and answer.status == 200 and answer.json()["hits"]:
            self.items = [hit["item"] for hit in answer.json()["hits"]]
        parts = [{"image": self.data_uri(), "weight": 1}, {"text": self.text(), "weight": -0.5}]
        self.client.ask("search by picture", "POST /v1/search", {"parts": parts, "k": 5})
        if self.items:
            item, gone = chance.choice(self.items), (400, 404)
            self.client.ask("search by item", "POST /v1/search", {"parts": [{"item": item}]}, also=gone)
            self.client.ask("explain", "POST /v1/explain", {"query": self.text(), "item": item}, also=gone)

    def judge(self) -> None:
        image = {"item": self.chance.choice(self.items)} if self.items else self.data_uri()
        gone = (404, 409)
        self.client.ask("rank", "POST /v1/rank", {"image": image, "texts": _WORDS}, also=gone)
        pairs = [{"image": self.data_uri(), "text": self.text()}]
        self.client.ask("match", "POST /v1/match", {"pairs": pairs}, also=gone)
        asked = {"images": [image], "labels": ["dog", "car"], "templates": ["a photo of a {}"]}
        self.client.ask("classify", "POST /v1/classify", asked, also=gone)
        asked = {"images": [image], "texts": ["a dog"]}
        self.client.ask("similarity", "POST /v1/similarity", asked, also=gone)

    def look(self) -> None:
        """Items as a page shows them."""
        for path in ("", "/items?limit=100", "/tags", "/duplicates", "/map"):
            self.client.ask("library", f"GET {LIBRARY}{path}")
        for item in self.items[:5]:
            size = self.chance.choice([64, 256, 512])
            gone = (404, 409)
            self.client.ask("thumbnail", f"GET /v1/items/{item}/thumbnail?size={size}", also=gone)
            self.client.ask("original", f"GET /v1/items/{item}/original", also=gone)
            self.client.ask("item", f"GET /v1/items/{item}", also=(404,))
        self.client.ask("complete", "GET /v1/complete?text=a+dog+tag:s")

    def label(self) -> None:
        if self.items:
            line = f"/v1/items/{self.chance.choice(self.items)}/tags"
            tags = ["soak", f"soak/{self.chance.randrange(20)}"]
            self.client.ask("tag", f"POST {line}", {"tags": tags}, also=(404, 422))
            self.client.ask("untag", f"DELETE {line}", {"tags": tags[1:]}, also=(404, 422))

    def measure(self) -> None:
        for path in ("/metrics", "/healthz", "/readyz", "/v1/libraries", "/v1/models", "/v1/jobs"):
            self.client.ask("service", f"GET {path}")

    def listen(self) -> None:
        """To a job, until it ends or the patience does."""
        if not self.jobs:
            return
        with self.client.watched("events"), closing(self.service.connection()) as connection:
            connection.request("GET", f"/v1/jobs/{self.chance.choice(self.jobs)}/events")
            answer = connection.getresponse()
            numbers, lines = [], self.chance.choice([3, 8, 1000])
            while answer.status == 200 and lines and (line := answer.readline()):
                lines -= 1
                if line.startswith(b"id: "):
                    numbers.append(int(line[4:]))
            self.ledger.count("events", answer.status)
            if answer.status not in (200, 404) or numbers != sorted(numbers):
                self.ledger.surprise("events", f"{answer.status}, {numbers}")
