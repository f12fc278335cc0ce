"""A hub on this machine for tests: it serves what huggingface_hub asks for, and misbehaves when told to.

Large files are redirected to a store of their own, as on the real hub, where they can be had in parts.
"""

from __future__ import annotations

import hashlib
import json
import re
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

LARGE = 2_000
_RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, hub: FakeHub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


class FakeHub:
    """repos: name → commit → file → content; "main" is the last commit.

    down: it answers 503. closed: repositories that ask for consent. cut: after how many bytes each coming
    transfer from the store breaks off. garbled: the store's bytes are wrong.
    seen: (method, path, range, user agent, authorisation).
    """

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, dict[str, bytes]]] = {}
        self.closed: set[str] = set()
        self.cut: list[int] = []
        self.garbled = False
        self.seen: list[tuple[str, str, str | None, str, str | None]] = []
        self.down = False
        self._servers = [_Server(self), _Server(self)]
        self.url, self.store = (server.url for server in self._servers)

    def add(self, repo: str, commit: str, folder: Path) -> None:
        """A repository with the files of a folder."""
        files = {
            str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }
        self.repos.setdefault(repo, {})[commit] = files

    def stop(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def asked(self, method: str, part: str) -> list[str | None]:
        """The ranges of all requests for what has this in its path."""
        return [seen[2] for seen in self.seen if seen[0] == method and part in seen[1]]

    def stored(self, digest: str) -> bytes | None:
        for commits in self.repos.values():
            for files in commits.values():
                for content in files.values():
                    if hashlib.sha256(content).hexdigest() == digest:
                        return content
        return None


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:  # noqa: PLR0911 (one for each thing that may go wrong)
        hub = self.server.hub
        hub.seen.append(
            (
                self.command,
                self.path,
                self.headers["Range"],
                self.headers["User-Agent"],
                self.headers["Authorization"],
            )
        )
        if hub.down:
            self._send(503, {})
            return
        if self.path.startswith("/store/"):
            self._store(self.path.removeprefix("/store/"), body=body)
            return
        match = _RESOLVE.fullmatch(self.path)
        if match is None or match["repo"] not in hub.repos:
            self._send(404 if match is None else 401, {"X-Error-Code": "RepoNotFound"})
            return
        if match["repo"] in hub.closed:
            self._send(403, {"X-Error-Code": "GatedRepo"})
            return
        commits = hub.repos[match["repo"]]
        commit = list(commits)[-1] if match["revision"] == "main" else match["revision"]
        if commit not in commits:
            self._send(404, {"X-Error-Code": "RevisionNotFound"})
            return
        content = commits[commit].get(match["file"])
        if content is None:
            self._send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        facts = {"X-Repo-Commit": commit}
        if len(content) < LARGE:
            facts["ETag"] = f'"{hashlib.sha1(content, usedforsecurity=False).hexdigest()}"'
            self._send(200, facts, content, body=body)
            return
        digest = hashlib.sha256(content).hexdigest()
        facts |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
        self._send(302, {**facts, "Location": f"{hub.store}/store/{digest}"})

    def _store(self, digest: str, *, body: bool) -> None:
        content = self.server.hub.stored(digest)
        assert content is not None
        start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        facts = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        if self.server.hub.garbled:
            content = bytes(len(content))
        cut = self.server.hub.cut.pop(0) if self.server.hub.cut and body else None
        self._send(206 if start else 200, facts, content[start:], body=body, cut=cut)

    def _send(
        self,
        status: int,
        facts: dict[str, str],
        content: bytes = b"",
        *,
        body: bool = True,
        cut: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in facts.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content[:cut])
        if cut is not None:
            self.close_connection = True


def tiny_clip(folder: Path) -> Path:
    """A CLIP of transformers' format with random weights, as its files would be."""
    folder.mkdir(parents=True)
    width, dimension, patch, side, context, words = 64, 32, 16, 32, 12, 300
    random = np.random.default_rng(0)

    def tensor(*shape: int) -> np.ndarray:
        return random.normal(0, 0.1, shape).astype(np.float32)

    weights = {
        "logit_scale": np.array(4.6052, np.float32),
        "visual_projection.weight": tensor(dimension, width),
        "text_projection.weight": tensor(dimension, width),
        "vision_model.embeddings.class_embedding": tensor(width),
        "vision_model.embeddings.patch_embedding.weight": tensor(width, 3, patch, patch),
        "vision_model.embeddings.position_embedding.weight": tensor((side // patch) ** 2 + 1, width),
        "text_model.embeddings.token_embedding.weight": tensor(words, width),
        "text_model.embeddings.position_embedding.weight": tensor(context, width),
    }
    norms = ["vision_model.pre_layrnorm", "vision_model.post_layernorm", "text_model.final_layer_norm"]
    for tower in ("vision_model", "text_model"):
        block = f"{tower}.encoder.layers.0"
        norms += [f"{block}.layer_norm1", f"{block}.layer_norm2"]
        shapes = {f"self_attn.{name}_proj": (width, width) for name in ("q", "k", "v", "out")}
        for name, shape in {**shapes, "mlp.fc1": (128, width), "mlp.fc2": (width, 128)}.items():
            weights |= {f"{block}.{name}.weight": tensor(*shape), f"{block}.{name}.bias": tensor(shape[0])}
    for name in norms:
        weights |= {f"{name}.weight": 1 + tensor(width), f"{name}.bias": tensor(width)}
    save_file(weights, folder / "model.safetensors")
    sizes = {"num_attention_heads": 4, "num_hidden_layers": 1, "hidden_size": width, "intermediate_size": 128}
    config = {
        "model_type": "clip",
        "projection_dim": dimension,
        "vision_config": {**sizes, "image_size": side, "patch_size": patch},
        "text_config": {**sizes, "max_position_embeddings": context, "vocab_size": words, "eos_token_id": 2},
    }
    (folder / "config.json").write_text(json.dumps(config))
    pictures = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}, "resample": 3,
                "image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": context}))
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = [*letters, *("<|startoftext|>", "<|endoftext|>")]
    tokenizer = Tokenizer(
        models.BPE({word: number for number, word in enumerate(vocabulary)}, [], unk_token="<|endoftext|>")  # noqa: S106
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(vocabulary[-2:])
    ends = [(name, vocabulary.index(name)) for name in vocabulary[-2:]]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>", special_tokens=ends
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "pytorch_model.bin").write_bytes(b"a pickle that nobody may open" * 100)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    return folder
