"""Row types of the database, as frozen data."""

from __future__ import annotations

from dataclasses import dataclass

from crosslens.types import Facts, Float32, Hit, Item


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """The model whose vectors the library holds. name: how to ask for it, a name or a folder."""

    name: str
    identity: str
    dimension: int


@dataclass(frozen=True, slots=True)
class Root:
    """A folder or file that was indexed.

    mount: where its file system was mounted then. text_column: of a table, the column that holds its texts.
    """

    id: int
    path: str
    is_file: bool
    mount: str
    online: bool
    text_column: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture or text to record. vector: unit, float32 (d,); None where the content is known already.

    facts: None where they were not looked for.
    """

    item: Item
    root_id: int
    hash: bytes
    width: int
    height: int
    vector: Float32 | None
    text: str | None = None
    facts: Facts | None = None


@dataclass(frozen=True, slots=True)
class ItemRow:
    """An item with the facts that a search result carries."""

    id: int
    path: str
    online: bool
    width: int
    height: int
    size: int
    modified_ns: int
    text: str | None

    def hit(self, score: float) -> Hit:
        """The item as a search result."""
        modified = self.modified_ns / 10**9
        return Hit(
            self.id, self.path, score, self.online, self.width, self.height, self.size, modified, self.text
        )
