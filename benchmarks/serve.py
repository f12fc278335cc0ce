"""The HTTP service under load, beside others with the same weights: FastAPI and transformers, and infinity.

Each server is a process of its own, and so is the load: clients that ask again as soon as they are answered.
What the towers do alone is measured in the same run, by a process that is fed ready batches, while the
servers and the load's clients, connected, are idle beside it.

    .venv-reference/bin/python benchmarks/serve.py [--seconds 10] [--rows 1000000] [--infinity PYTHON]

PYTHON is that of an environment of its own: pip install torch "infinity_emb[server,torch,vision]" aiohttp.
Without transformers: .venv/bin/python benchmarks/serve.py --model starter, which leaves the peers out.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

CLIENTS = (1, 8, 64)
HOST = "127.0.0.1"


# -- the load -------------------------------------------------------------------------------------


async def one_client(port: int, requests: list[bytes], ends: float, seen: list[float], first: int) -> None:
    """Ask again and again over one connection until the time is up; seen: seconds of each answer."""
    reader, writer = await asyncio.open_connection(HOST, port)
    number = first
    while time.perf_counter() < ends:
        started = time.perf_counter()
        writer.write(requests[number % len(requests)])
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:] if b": " in line)
        body = await reader.readexactly(int(fields[b"content-length"]))
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"{head.decode()}{body.decode()[:500]}")
        seen.append(time.perf_counter() - started)
        number += 1
    writer.close()


async def load(port: int, requests: list[bytes], clients: int, seconds: float) -> list[float]:
    seen: list[float] = []
    ends = time.perf_counter() + seconds
    step = max(1, len(requests) // clients)
    await asyncio.gather(*(one_client(port, requests, ends, seen, n * step) for n in range(clients)))
    return seen


async def idle_clients(port: int) -> None:
    """The same connections, over which nothing is asked."""
    opened = [await asyncio.open_connection(HOST, port) for _ in range(max(CLIENTS))]
    print("ready", flush=True)
    await asyncio.Event().wait()
    del opened


@contextmanager
def idle_load(port: int) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, __file__, "--idle", str(port)], stdout=subprocess.PIPE)
    try:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.kill()
        process.wait()


def post(path: str, body: Any) -> bytes:
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def measured(
    port: int, requests: list[bytes], clients: int, seconds: float, each: int = 1
) -> dict[str, float]:
    """Inputs a second, and milliseconds, of requests that hold `each` inputs; the load is another process."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(json.dumps([request.decode() for request in requests]).encode())
        file.flush()
        command = [sys.executable, __file__, "--load", file.name, str(port), str(clients), str(seconds)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seen = json.loads(done.stdout)
    ordered = sorted(seen)
    return {
        "rate": each * len(seen) / seconds,
        "p50": 1000 * statistics.median(seen),
        "p99": 1000 * ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))],
    }


# -- the servers ----------------------------------------------------------------------------------


@contextmanager
def server(name: str, model: str, library: str = "", python: str = sys.executable) -> Iterator[int]:
    """A server in a process of its own, warm; gives its port."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    command = [python, "-W", "ignore", __file__, "--server", name, str(port), model, library]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout
        if process.stdout.readline().strip() != "ready":
            raise SystemExit(f"the server {name!r} did not start; run it alone: {' '.join(command)}")
        yield port
    finally:
        process.terminate()
        process.wait(30)


def serve_crosslens(port: int, model: str, library: str) -> None:
    import uvicorn

    from crosslens import Matcher
    from crosslens.serve.app import create_app
    from crosslens.serve.config import ServeConfig

    libraries = (Path(library),) if library else ()
    app = create_app(ServeConfig(port=port, libraries=libraries), Matcher(model))
    announce(uvicorn.Config(app, HOST, port, log_level="error"), app.state.service.ready.wait)


def serve_transformers(port: int, model: str, _library: str) -> None:
    """What one writes in an hour: a request at a time, a model call for each."""
    from models import declare_missing_operators

    declared = declare_missing_operators()
    import io
    from threading import Lock

    import torch
    import uvicorn
    from fastapi import Body, FastAPI
    from PIL import Image
    from transformers import AutoProcessor, CLIPModel

    towers, processor = CLIPModel.from_pretrained(model).eval(), AutoProcessor.from_pretrained(model)
    app, lock = FastAPI(), Lock()

    @app.post("/v1/embeddings")
    def embeddings(asked: dict[str, Any] = Body()) -> dict[str, Any]:  # noqa: B008
        given = asked["input"]
        pictures = [one.startswith("data:image/") for one in given]
        with torch.inference_mode():
            if all(pictures):
                images = [
                    Image.open(io.BytesIO(base64.b64decode(one.partition(",")[2]))).convert("RGB")
                    for one in given
                ]
                inputs = processor(images=images, return_tensors="pt")
                with lock:
                    vectors = towers.get_image_features(**inputs).pooler_output
            else:
                inputs = processor(text=given, padding=True, truncation=True, return_tensors="pt")
                with lock:
                    vectors = towers.get_text_features(**inputs).pooler_output
        return {"data": [{"embedding": row.tolist()} for row in vectors]}

    announce(uvicorn.Config(app, HOST, port, log_level="error"), lambda: None)
    del declared


def announce(config: Any, ready: Any) -> None:
    """Run a server, and say so once it is warm."""
    import threading

    import uvicorn

    running = uvicorn.Server(config)

    def say() -> None:
        while not running.started:
            time.sleep(0.05)
        ready()
        print("ready", flush=True)

    threading.Thread(target=say, daemon=True).start()
    running.run()


def serve_infinity(port: int, model: str, _library: str) -> None:
    """infinity_emb as its documentation starts it, but in float32 and for this machine's processor."""
    from models import declare_missing_operators

    declared = declare_missing_operators()
    import uvicorn
    from infinity_emb import EngineArgs
    from infinity_emb.infinity_server import create_server

    engine = EngineArgs(
        model_name_or_path=model, engine="torch", device="cpu", dtype="float32", bettertransformer=False
    )
    app = create_server(engine_args_list=[engine], url_prefix="/v1")
    announce(uvicorn.Config(app, HOST, port, log_level="error"), lambda: None)
    del declared


SERVERS = {"crosslens": serve_crosslens, "transformers": serve_transformers, "infinity": serve_infinity}


# -- what there is to compare with ----------------------------------------------------------------


def towers_alone(model: str, paths: list[str], seconds: float) -> dict[str, float]:
    """Pictures and texts a second of the towers, fed by ready batches as fast as they take them."""
    import numpy as np

    from crosslens import Matcher
    from crosslens.encode import by_length

    matcher = Matcher(model)
    rows = np.stack([matcher.prepare(path, path) for path in paths[:32]])
    tokens = matcher.model.tokenize(texts(64))
    lengths = tokens.lengths if matcher.spec.short_texts else None
    [(_, ids)] = by_length(tokens.ids, lengths, 64)  # as the service sends them
    found = {}
    for name, tower, batch in (("image", matcher.model.image, rows), ("text", matcher.model.text, ids)):
        tower.submit(batch).result()
        done, started = 0, time.perf_counter()
        running = [tower.submit(batch) for _ in range(4)]
        while time.perf_counter() - started < seconds:
            running.pop(0).result()
            done += len(batch)
            running.append(tower.submit(batch))
        found[name] = done / (time.perf_counter() - started)
        for future in running:
            future.result()
    return found


def texts(count: int) -> list[str]:
    said = "a dog runs on the beach with two red cars near water under blue sky at night in snow"
    words = said.split()
    return [" ".join(words[(n * 7 + i * 3) % len(words)] for i in range(8)) + f" {n}" for n in range(count)]


def synthetic_library(folder: Path, rows: int, model: str) -> Path:
    """A library of drawn vectors, in clusters around mixtures of the vectors of captions."""
    import numpy as np

    from crosslens import Library, Matcher

    matcher = Matcher(model)
    random = np.random.default_rng(0)
    with Library.open(folder / "million", matcher) as library:
        said = matcher.embed_texts(captions_of(matcher))
        one, other = said[random.integers(0, len(said), (2, 2000))]
        centres = one + random.random((2000, 1), dtype=np.float32) * other
        centres *= np.sqrt(matcher.dimension) / np.linalg.norm(centres, axis=1, keepdims=True)
        from crosslens.library.library_model import record_of
        from crosslens.store.database import Catalog
        from crosslens.store.records import Entry
        from crosslens.types import Item

        folder.mkdir(exist_ok=True)
        catalog = Catalog(library.folder, create=True)
        catalog.set_model(record_of(matcher))
        root = catalog.add_root("/pictures", "/")
        for start in range(0, rows, 5000):
            count = min(5000, rows - start)
            vectors = centres[random.integers(0, 2000, count)] * 0.8
            vectors += random.standard_normal(vectors.shape, dtype=np.float32) * 0.7
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            entries = [
                Entry(Item(f"/pictures/{n}.jpg", 1, 1), root.id, n.to_bytes(32, "big"), 10, 10, vector)
                for n, vector in enumerate(vectors, start)
            ]
            catalog.record(entries, [], matcher.spec.identity, "drawn")
        catalog.close()
        library.prepare()
        print(f"search over {rows:,} vectors: {library.stats().approximate or 'exact'}", flush=True)
    return folder / "million"


# -- the run --------------------------------------------------------------------------------------


def embeddings(arguments: argparse.Namespace, folder: Path, model: str, peer: str) -> None:
    from pictures import write_jpegs

    paths = [str(path) for path in write_jpegs(folder / "jpegs", 64, (224, 224))]
    pictures = ["data:image/jpeg;base64," + base64.b64encode(Path(p).read_bytes()).decode() for p in paths]
    asks = {
        "image": [ask(one, "image") for one in pictures],
        "text": [ask(one, "text") for one in texts(60_000)],
    }
    print(f"{'inputs a second, one to a request':<36}{'clients':>8}{'rate':>9}{'p50 ms':>9}{'p99 ms':>9}"
          f"{'of the towers':>15}{'to the peer':>13}")  # fmt: skip
    with ExitStack() as stack:
        ports = {"crosslens": stack.enter_context(server("crosslens", model))}
        if peer:
            ports["transformers"] = stack.enter_context(server("transformers", peer))
        if peer and arguments.infinity:
            ports["infinity"] = stack.enter_context(server("infinity", peer, python=arguments.infinity))
        with idle_load(ports["crosslens"]):
            alone = towers_alone(model, paths, 5)
        compare(arguments, asks, ports, alone)


def ask(given: str, modality: str) -> bytes:
    """Infinity wants to know the modality; others tell it themselves."""
    return post("/v1/embeddings", {"input": [given], "modality": modality})


def compare(
    arguments: argparse.Namespace,
    asks: dict[str, list[bytes]],
    ports: dict[str, int],
    alone: dict[str, float],
) -> None:
    for kind, requests in asks.items():
        print(f"{kind}: the towers alone {alone[kind]:.0f}/s")
        # Texts that were asked for before would come from memory: each run has its own.
        runs = [requests[number :: 2 * len(CLIENTS)] for number in range(2 * len(CLIENTS))]
        for clients, warm, timed in zip(CLIENTS, runs[::2], runs[1::2], strict=True):
            rows = {}
            for name, port in ports.items():
                measured(port, warm, clients, 1)
                rows[name] = measured(port, timed, clients, arguments.seconds)
            for name, row in rows.items():
                others = rows.get("transformers")
                ratio = f"{row['rate'] / others['rate']:.2f}×" if others else ""
                print(
                    f"  {name:<34}{clients:>8}{row['rate']:>9.1f}{row['p50']:>9.1f}{row['p99']:>9.1f}"
                    f"{row['rate'] / alone[kind]:>15.0%}{ratio:>13}",
                    flush=True,
                )


def captions_of(matcher: Any) -> list[str]:
    from crosslens.models.probe_texts import captions

    return list(captions(matcher.spec.scripts))


def searches(arguments: argparse.Namespace, folder: Path) -> None:
    """With the model that comes along, since words must mean something for a search to be like others."""
    from crosslens import Matcher

    library = synthetic_library(folder, arguments.rows, "starter")
    said = captions_of(Matcher("starter"))
    pairs = [f"{one} {word} {other}" for word in ("and", "with") for one in said for other in said]
    with server("crosslens", "starter", str(library)) as port:
        asks = [post("/v1/search", {"query": text, "k": 10}) for text in pairs]
        known = asks[:200]
        new = [asks[200 + number :: len(CLIENTS)] for number in range(len(CLIENTS))]
        print(f"{'searches a second':<36}{'clients':>8}{'rate':>9}{'p50 ms':>9}{'p99 ms':>9}")
        for name, runs in (("texts not seen before", new), ("texts from memory", [known] * len(CLIENTS))):
            for clients, requests in zip(CLIENTS, runs, strict=True):
                measured(port, known, clients, 1)
                row = measured(port, requests, clients, arguments.seconds)
                figures = f"{row['rate']:>9.1f}{row['p50']:>9.1f}{row['p99']:>9.1f}"
                print(f"  {name:<34}{clients:>8}{figures}", flush=True)


def make_model(folder: Path) -> None:
    """A ViT-B/32 with random weights, for both. In a process of its own."""
    from models import declare_missing_operators, write_transformers_clip

    declared = declare_missing_operators()
    from crosslens.acquire.convert.convert import convert

    write_transformers_clip(folder / "hf")
    convert(folder / "hf", folder / "bundle")
    del declared


def main() -> None:
    if len(sys.argv) > 1 and sys.argv[1] == "--load":
        requests = [request.encode() for request in json.loads(Path(sys.argv[2]).read_text())]
        print(json.dumps(asyncio.run(load(int(sys.argv[3]), requests, int(sys.argv[4]), float(sys.argv[5])))))
        return
    if len(sys.argv) > 1 and sys.argv[1] == "--idle":
        asyncio.run(idle_clients(int(sys.argv[2])))
        return
    if len(sys.argv) > 1 and sys.argv[1] == "--server":
        SERVERS[sys.argv[2]](int(sys.argv[3]), sys.argv[4], sys.argv[5])
        return
    if len(sys.argv) > 1 and sys.argv[1] == "--make":
        make_model(Path(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument(
        "--model", default="", help="a bundle; none: a ViT-B/32 is made, and the peer runs too"
    )
    parser.add_argument("--infinity", default="", help="a Python that has infinity_emb")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "jpegs").mkdir()
        os.environ.update(HOME=name, HF_HUB_OFFLINE="1", DO_NOT_TRACK="1")
        model, peer = arguments.model, ""
        if not model:
            subprocess.run([sys.executable, "-W", "ignore", __file__, "--make", name], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
            model, peer = str(folder / "bundle"), str(folder / "hf")
        embeddings(arguments, folder, model, peer)
        if arguments.rows:
            searches(arguments, folder)


if __name__ == "__main__":
    main()
