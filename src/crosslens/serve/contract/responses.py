"""Response models for /openapi.json: libraries, items, searches, jobs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

# A member that may be missing. With a default, clients would be told that it is there.
_MISSING: Any = Field(default_factory=lambda: None)

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(description="Since the epoch")]
Time = Annotated[str, Field(description="YYYY-MM-DDTHH:MM:SS, by the clock of the camera")]
Cosine = Annotated[float, Field(description="A cosine")]
Share = Annotated[float, Field(ge=0, le=1)]


class Answer(BaseModel):
    """What all answers have in common."""

    model_config = ConfigDict(extra="allow")


# -- problems -------------------------------------------------------------------------------------


class WrongMember(Answer):
    """A member of a request that is not as it must be."""

    where: str
    what: str


class Problem(Answer):
    """An answer that is no success (RFC 9457)."""

    type: Annotated[str, Field(pattern="^urn:crosslens:problem:", description="With the code at its end")]
    title: Annotated[str, Field(description="Of the kind of problem")]
    status: Annotated[int, Field(ge=400, le=599)]
    code: Annotated[str, Field(description="What programs can go by: it does not change")]
    detail: Annotated[str, Field(description="What was wrong this time")] = _MISSING
    remedy: Annotated[str, Field(description="What to do about it")] = _MISSING
    request_id: str
    column: Annotated[int, Field(description="Of a query that cannot be read: where, from 1")] = _MISSING
    errors: Annotated[list[WrongMember], Field(description="Of a request: its wrong members")] = _MISSING


# -- items and searches ----------------------------------------------------------------------------


class Item(Answer):
    """An item, as searches and lists give it."""

    item: Annotated[str, Field(description='Its name in requests: "photos:12"')]
    library: str
    id: Annotated[int, Field(description="Never used again in its library")]
    kind: Literal["image", "text"]
    name: str
    path: Annotated[str, Field(description="Below the folder that was indexed; for admins the whole")]
    score: Annotated[float | None, Field(description="A cosine; null where there was no query")]
    relevance: Annotated[
        float | None,
        Field(description="In [0, 1], from 0.5 on probably meant; null where unknown, or wrong too often"),
    ]
    width: Annotated[int | None, Field(description="Pixels, upright; null of a text")]
    height: Annotated[int | None, Field(description="Pixels, upright; null of a text")]
    size: Annotated[int, Field(ge=0, description="Bytes of the file")]
    modified: Seconds
    taken: Time | None
    camera: str | None
    text: Annotated[str | None, Field(description="Of a text")]
    caption: str | None
    tags: list[str]
    online: Annotated[bool, Field(description="False while its disk is away")]
    version: Annotated[str, Field(description="Changes with the content")]


class ItemGroup(Answer):
    """Results that belong together. more: whether some were left out."""

    key: Annotated[str, Field(description='The day, the folder …; "" where it is not known')]
    hits: list[Item]
    more: bool


class SearchResult(Answer):
    """What was found, the best first; with `group` in the request in groups, else in hits."""

    query: Annotated[str, Field(description="As it was read")]
    hits: list[Item]
    relevance_ends: Annotated[
        int | None, Field(description="How many, from the first, are probably meant; null: not known")
    ]
    groups: list[ItemGroup] = _MISSING
    took_ms: Annotated[float, Field(ge=0)]


class TermShare(Answer):
    """A term's part in a score; all shares together are the score."""

    term: str
    weight: float
    similarity: Cosine
    share: float


class HeatMap(Answer):
    """Where in a picture the score lies: cells row by row.

    box: left, top, right, bottom of the grid, as fractions of the picture.
    """

    rows: Count
    columns: Count
    values: list[Share]
    box: Annotated[list[float], Field(min_length=4, max_length=4)]


class Explanation(Answer):
    """Why an item has its score."""

    score: float
    terms: list[TermShare]
    heat: HeatMap | None


class Suggestion(Answer):
    """What may stand in a query."""

    text: str
    kind: Literal["filter", "value", "tag", "concept", "camera", "extension", "year"]


class Completions(Answer):
    """What may take the place of the characters between `from` and `to`."""

    from_: Annotated[int, Field(alias="from", ge=0)]
    to: Count
    suggestions: list[Suggestion]


class ItemTags(Answer):
    """The tags that an item has now."""

    tags: list[str]


class Removed(Answer):
    """An item that is no longer in its library."""

    item: str
    file_deleted: bool


# -- libraries -------------------------------------------------------------------------------------


class LibraryFacts(Answer):
    """A library. items: pictures and texts; offline: those whose disk is away."""

    name: str
    items: Count
    texts: Count
    offline: Count
    model: Annotated[str | None, Field(description="null while it is empty")]
    generation: Annotated[int, Field(ge=0, description="Counts what was committed")]
    size: Annotated[int, Field(ge=0, description="Bytes on the disk")]
    writable: bool
    roots: Annotated[int, Field(ge=0, description="Folders that were indexed")]


class LibraryList(Answer):
    """All libraries, by name."""

    libraries: list[LibraryFacts]


class IndexedFolder(Answer):
    """A folder that was indexed. path: for those who may know where files lie."""

    name: str
    online: bool
    path: str = _MISSING


class ApproximateSearch(Answer):
    """How a large library is searched, and recall@10 against exact search when that was built."""

    rows: Count
    cells: Count
    probes: Count
    candidates: Count
    recall_of_stored: Share
    recall_of_texts: Share | None
    seconds: float


class LibraryDetails(LibraryFacts):
    """A library, and more of it. contents: different ones; approximate: null where it is searched exactly."""

    dimension: int | None
    contents: Count
    folders: list[IndexedFolder]
    approximate: ApproximateSearch | None


class ItemPage(Answer):
    """Some items of a library. total: of all."""

    items: list[Item]
    total: Count


class TagCount(Answer):
    """A tag, and how many items have it."""

    tag: str
    items: Count


class TagCounts(Answer):
    """The tags of a library."""

    tags: list[TagCount]


class DuplicateCluster(Answer):
    """Pictures that are the same or nearly so, the one to keep first. freed: bytes that the others take."""

    kind: Literal["identical", "re-encoded", "burst", "similar"]
    reason: Annotated[str, Field(description="Why that one")]
    freed: Count
    items: list[Item]


class Duplicates(Answer):
    """Clusters, those first that would free most. total: of all."""

    clusters: list[DuplicateCluster]
    total: Count


class LibraryMap(Answer):
    """Points in [-1, 1], one for each of `items`. total: items, of which these may be a sample."""

    points: list[Annotated[list[float], Field(min_length=2, max_length=2)]]
    items: list[str]
    total: Count


# -- jobs ------------------------------------------------------------------------------------------


class JobFailure(Answer):
    """What could not be taken in, and why."""

    name: str
    reason: str


class JobDuplicate(Answer):
    """What was not kept, and the file of the library with the same content."""

    name: str
    same_as: str


class JobReport(Answer):
    """What indexing did, in files. present: those that were there already."""

    added: Count = _MISSING
    changed: Count = _MISSING
    moved: Count = _MISSING
    removed: Count = _MISSING
    unchanged: Count = _MISSING
    offline: Count = _MISSING
    encoded: Count = _MISSING
    ignored: Count = _MISSING
    seconds: float = _MISSING
    present: Count = _MISSING


class JobProblem(Answer):
    """Why a job failed."""

    code: str
    title: str


class Job(Answer):
    """Work in the background. done, total: files; failed: how many could not be taken in."""

    id: str
    library: str
    kind: Literal["upload", "folder", "index"]
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    done: Count
    total: Count
    failed: Count
    failures: Annotated[list[JobFailure], Field(description="The first thousand")]
    duplicates: Annotated[list[JobDuplicate], Field(description="The first thousand; all are `present`")]
    created: Seconds
    started: Seconds | None
    ended: Seconds | None
    report: JobReport = _MISSING
    problem: JobProblem = _MISSING


class JobProgress(Answer):
    """How far a job has come, in files."""

    done: Count
    total: Count
    failed: Count


_TOLD = {
    "contentMediaType": "application/json",
    "contentSchema": {
        "anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Job", "JobProgress", "JobFailure")]
    },
}


class JobEvent(Answer):
    """What a stream tells of a job; the data of `state` and `done` is all that is known of it."""

    event: Literal["state", "progress", "failure", "done"]
    id: str
    data: Annotated[str, Field(json_schema_extra=_TOLD)]


class JobList(Answer):
    """All jobs that are known still, the newest first."""

    jobs: list[Job]


class AcceptedJob(Answer):
    """A job that was begun."""

    job: Job
