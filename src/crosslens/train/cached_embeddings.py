"""Embeddings of a finished model for pictures and texts, computed once and cached on disk.

A folder holds them as images-KEY.npy and texts-KEY.npy, float32 (n, d), each of up to 512 pictures or
4,096 texts. KEY is a hash of the model, of how its inputs are decoded, and of the inputs: so the same are
found again, others are not, and a run that was stopped goes on at the piece that it was at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from crosslens.errors import InputError
from crosslens.matching.matcher import Matcher
from crosslens.models.bundle import Bundle
from crosslens.models.spec import Networks
from crosslens.towers.open_model import open_model
from crosslens.towers.openvino_runtime import OpenVinoModel
from crosslens.types import Float32

_PIECES = {"images": 512, "texts": 4096}


class KeptOutputs:
    """Unit vectors of a model, in float32, by the pipeline that every command uses.

    folder: where they are kept. device: "cpu", or "cuda" for the towers that run there. computed: how many
    vectors were not there yet. asked: a hash of the model and all inputs so far.
    """

    def __init__(
        self,
        folder: Path,
        bundle: Bundle,
        *,
        device: str = "cpu",
        on_step: Callable[[str], None] = lambda _step: None,
    ) -> None:
        self.folder, self._on_step = folder, on_step
        self.matcher = exact_matcher(bundle, device)
        self.computed, self.asked = 0, b""
        self._key = f"{bundle.spec.identity} {self.matcher.decoding}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder} cannot be made ({error.strerror})", "Name another folder") from error

    def images(self, images: Sequence[bytes], names: Sequence[str] = ()) -> Float32:
        """(n, d); rows of NaN for pictures that cannot be read, which are named.

        images: the bytes of files. names: for messages.
        """

        def compute(piece: Sequence[bytes], at: int) -> Float32:
            found = self.matcher.embed_images(piece, on_error="skip")
            vectors = np.full((len(piece), self.matcher.dimension), np.nan, np.float32)
            vectors[found.rows] = found.vectors
            missing = np.setdiff1d(np.arange(len(piece)), found.rows)
            for row, failure in zip(missing.tolist(), found.failures, strict=True):
                name = names[at + row] if names else f"picture {at + row}"
                self._on_step(f"{name} cannot be read ({failure.reason})")
            return vectors

        return self._kept("images", images, [hashlib.sha256(image).digest() for image in images], compute)

    def texts(self, texts: Sequence[str]) -> Float32:
        """(n, d). Raises TextError for what no text tower takes, such as an empty text."""
        sums = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
        return self._kept("texts", texts, sums, lambda piece, _at: self.matcher.embed_texts(list(piece)))

    def _kept(
        self,
        kind: str,
        inputs: Sequence[bytes] | Sequence[str],
        sums: Sequence[bytes],
        compute: Callable[..., Float32],
    ) -> Float32:
        self.asked = hashlib.sha256(self.asked + self._key.encode() + b"".join(sums)).digest()
        found, most = [], _PIECES[kind]
        for at in range(0, len(inputs), most):
            piece = hashlib.sha256(self._key.encode() + b"".join(sums[at : at + most])).hexdigest()[:32]
            count = len(sums[at : at + most])
            path = self.folder / f"{kind}-{piece}.npy"
            vectors = _read(path, (count, self.matcher.dimension))
            if vectors is None:
                vectors = compute(inputs[at : at + most], at)
                self.computed += count
                _write(path, vectors)
                self._on_step(f"{kind}: {at + count:,} of {len(inputs):,}")
            found.append(vectors)
        return np.concatenate(found) if found else np.empty((0, self.matcher.dimension), np.float32)


def exact_matcher(bundle: Bundle, device: str = "cpu") -> Matcher:
    """A bundle in float32, with compiled graphs kept nowhere; on CUDA where its towers run there."""
    if device.startswith("cuda") and isinstance(bundle.spec.towers, Networks):
        return Matcher(open_model(bundle.folder, "f32", device))
    return Matcher(OpenVinoModel(bundle, "f32"))


def _read(path: Path, shape: tuple[int, int]) -> Float32 | None:
    """A piece; None where there is none that is whole."""
    try:
        vectors: Float32 = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return vectors if vectors.shape == shape and vectors.dtype == np.float32 else None


def _write(path: Path, vectors: Float32) -> None:
    draft = path.with_name(f"{path.name}.draft")
    try:
        with draft.open("wb") as file:
            np.save(file, vectors)
        draft.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror})", "Make room") from error
