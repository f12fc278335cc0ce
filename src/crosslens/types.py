"""Value types shared by all stages and returned to callers: Hit, Item, Failure, IndexReport and others."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

Float32: TypeAlias = NDArray[np.float32]
UInt8: TypeAlias = NDArray[np.uint8]
Int64: TypeAlias = NDArray[np.int64]

# What stands for one picture wherever crosslens takes one: a path, a data URI, base64, the bytes of an image
# file, a binary file, a Pillow image, or a uint8 array (h, w), (h, w, 3) or (h, w, 4).
ImageInput: TypeAlias = (
    "str | PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | PILImage | NDArray[Any]"
)


# What a list, a search or an item is about.
Modality: TypeAlias = Literal["image", "text"]


@dataclass(frozen=True, slots=True)
class Item:
    """A file found by the read stage. size: bytes. modified_ns: mtime, nanoseconds since the epoch."""

    path: str
    size: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What a picture's EXIF says of it; None where it does not.

    taken: YYYY-MM-DDTHH:MM:SS, by the clock of the camera. latitude, longitude: degrees, north and east
    positive, both or neither. camera: its maker and model. caption: what it says that it shows; keywords: of
    its own (EXIF, IPTC, XMP).
    """

    taken: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    camera: str | None = None
    caption: str | None = None
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that was passed over, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result.

    id: the item's number in its library, never reused. path: of the picture; of a text its table and row.
    score: cosine between the query and the item, in [-1, 1].
    online: False while the folder it came from is missing (an unplugged disk).
    width, height: pixels after EXIF orientation, 0 for a text. size: bytes. modified: seconds since the
    epoch. text: what was found, None for a picture. library: the folder of its library where several were
    searched, else None. relevance: in [0, 1], from 0.5 on it is probably meant; None where it is not known.
    """

    id: int
    path: str
    score: float
    online: bool
    width: int
    height: int
    size: int
    modified: float
    text: str | None = None
    library: str | None = None
    relevance: float | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """One text ranked against a picture.

    index: its place in the texts as given. similarity: cosine in [-1, 1].
    confidence: softmax over all the texts, in [0, 1]; says which text fits best, not whether any does.
    """

    text: str
    index: int
    similarity: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Pair:
    """A picture and a text that were matched, by their places in the lists given. similarity: cosine."""

    image: int
    text: int
    similarity: float


@dataclass(frozen=True, slots=True)
class Embedded:
    """What could be embedded of a list.

    vectors: float32 (m, d), unit norm; rows: int64 (m,), their places in the list; failures: the others.
    """

    vectors: Float32
    rows: Int64
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an indexing run has come. done counts failed files too; total: files to look into."""

    done: int
    total: int
    failed: int
    encoded: int


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What an indexing run did, in files.

    added, changed, moved, removed, unchanged, offline: items by what became of them.
    encoded: pictures that went through the image tower; the rest were recognised by content.
    ignored: files passed over, because their name is not that of a picture or .crosslensignore names them.
    failures: pictures that could not be read, with reasons.
    """

    added: int
    changed: int
    moved: int
    removed: int
    unchanged: int
    offline: int
    encoded: int
    ignored: int
    seconds: float
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class Approximation:
    """How a large library is searched approximately.

    rows: of the index; cells: 0 where it has none; probes, candidates: cells that each query looks into, and
    rows that are then scored exactly, at least. recall_of_stored, recall_of_texts: recall@10 against exact
    search, measured when it was built, with vectors of the library and with texts'. seconds: that building
    and measuring took.
    """

    rows: int
    cells: int
    probes: int
    candidates: int
    recall_of_stored: float
    recall_of_texts: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Migrating:
    """A migration that is under way. encoded: of the library's contents, those that have a new vector."""

    model: str
    dimension: int
    encoded: int


@dataclass(frozen=True, slots=True)
class LibraryStats:
    """Facts about a library.

    items: pictures and texts; texts: those of them that are texts.
    roots: what was indexed; missing: those that are not there now. generation: counts committed changes.
    size: bytes on disk. approximate: None while the library is searched exactly. waiting: items that a
    migration left without a vector, since their files were away; migrating: None while none is under way.
    """

    path: str
    model: str
    dimension: int
    items: int
    texts: int
    offline: int
    contents: int
    vectors: int
    roots: tuple[str, ...]
    missing: tuple[str, ...]
    generation: int
    size: int
    approximate: Approximation | None
    waiting: int = 0
    migrating: Migrating | None = None
