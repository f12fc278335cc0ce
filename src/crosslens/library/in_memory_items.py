"""Items without a file: pictures in memory and texts, named added:NAME.

All or nothing: everything is embedded first, then recorded in one transaction.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from PIL import Image

from crosslens.arguments import word
from crosslens.encode import Job, vector_of
from crosslens.errors import InputError
from crosslens.images.decode import decode
from crosslens.images.exif import facts_of
from crosslens.images.open_image import without_path
from crosslens.images.preprocess import preprocess
from crosslens.matching.matcher import Matcher
from crosslens.store.database import Catalog
from crosslens.store.migration_target import waiting_of
from crosslens.store.path_encoding import ADDED, text_hash
from crosslens.store.records import Entry
from crosslens.types import Facts, Float32, ImageInput, Item, UInt8

# Of a content's hash, as the name of what came without one.
_NAME_DIGITS = 16


@dataclass(slots=True)
class _Content:
    """One thing to add, and what was found out about it. vector: None where the library has it already."""

    hash: bytes
    size: int
    width: int = 0
    height: int = 0
    text: str | None = None
    vector: Float32 | None = None
    facts: Facts | None = None


def add_images(
    catalog: Catalog, matcher: Matcher, images: Iterable[ImageInput], names: Sequence[str] | None
) -> list[int]:
    """Add pictures; returns their ids in the order given. Raises InputError, ImageError."""
    contents = []
    for number, result in enumerate(matcher.encode(_jobs(catalog, matcher, images))):
        content = result.key
        content.vector = vector_of(result, f"image {number}")
        contents.append(content)
    return _record(catalog, matcher, contents, names)


def add_texts(
    catalog: Catalog, matcher: Matcher, texts: Sequence[str] | str, names: Sequence[str] | None
) -> list[int]:
    """Add texts; returns their ids in the order given. Raises InputError, TextError."""
    texts = [texts] if isinstance(texts, str) else list(texts)
    vectors = matcher.embed_texts(texts)
    contents = [
        _Content(text_hash(text), len(text.encode()), text=text, vector=vector)
        for text, vector in zip(texts, vectors, strict=True)
    ]
    return _record(catalog, matcher, contents, names)


def _jobs(catalog: Catalog, matcher: Matcher, images: Iterable[ImageInput]) -> Iterator[Job[_Content]]:
    """A job to a picture; one whose content the library has, or that came before, needs no encoding."""
    met: set[bytes] = set()
    for number, source in enumerate(images):
        name = f"image {number}"
        picture = without_path(source, name, matcher.limits)
        if isinstance(picture, bytes):
            content = _Content(hashlib.sha256(picture).digest(), len(picture))
        else:
            picture = decode(picture, name, limits=matcher.limits).image
            content = _Content(_pixel_hash(picture), len(picture.tobytes()), *picture.size)
        known = content.hash in met or catalog.has_vector(content.hash, matcher.spec.identity)
        met.add(content.hash)
        yield Job(content, None if known else partial(_load, content, picture, name, matcher))


def _load(content: _Content, picture: bytes | Image.Image, name: str, matcher: Matcher) -> UInt8:
    decoded = matcher.decode(picture, name)
    content.width, content.height = decoded.width, decoded.height
    content.facts = facts_of(picture)
    return preprocess(decoded.image, matcher.spec.image)


def _pixel_hash(image: Image.Image) -> bytes:
    """What stands for a picture that is no file: its size and its RGB pixels."""
    width, height = image.size
    return hashlib.sha256(f"pixels\0{width}\0{height}\0".encode() + image.tobytes()).digest()


def _record(
    catalog: Catalog, matcher: Matcher, contents: Sequence[_Content], names: Sequence[str] | None
) -> list[int]:
    """Write what is new in one transaction; a name that exists gets the new content."""
    root = catalog.added_root()
    now = time.time_ns()
    paths = [ADDED + name for name in _names(contents, names)]
    known = catalog.hashes_of(paths)
    waiting = waiting_of(catalog, known.values(), matcher.spec.identity)
    entries = [
        Entry(Item(path, c.size, now), root.id, c.hash, c.width, c.height, c.vector, c.text, c.facts)
        for path, c in zip(paths, contents, strict=True)
        if known.get(path) != c.hash or c.hash in waiting
    ]
    if entries:
        catalog.record(entries, [], matcher.spec.identity, matcher.provenance)
    ids = catalog.ids_of(paths)
    return [ids[path] for path in paths]


def _names(contents: Sequence[_Content], names: Sequence[str] | None) -> list[str]:
    if names is None:
        return [content.hash.hex()[:_NAME_DIGITS] for content in contents]
    names = list(names)
    if len(names) != len(contents):
        raise InputError(
            f"there are {len(contents)} things to add and {len(names)} names", "Give one to each"
        )
    for row, name in enumerate(names):
        word(f"name {row}", name)
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise InputError(f"{repeated[0]!r} names more than one thing", "A name stands for one item")
    return names
