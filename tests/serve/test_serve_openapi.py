"""/openapi.json says what is so: whatever fits it, and whatever does not, is answered as it says.

Schemathesis makes the requests: at the edges of every schema, and at random within and beyond them. It finds
what a person would not write by hand. CROSSLENS_API_EXAMPLES is how many at random for each operation.
"""

from __future__ import annotations

import base64
import copy
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import pytest
import schemathesis
from hypothesis import HealthCheck, seed, settings
from hypothesis.errors import FlakyStrategyDefinition
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import Failure

from crosslens import Library, Matcher
from crosslens.serve.app import create_app
from crosslens.serve.config import RequestLimits, ServeConfig
from crosslens.serve.ingest.jobs import ENDED, Task
from crosslens.serve.security.auth import Keys
from crosslens.serve.service import Service as Parts
from crosslens.towers.fake_model import FakeModel
from serving import running
from shelves import ask, index, png, served, upload, zipped

# Imported when it is first used. Under pytest that is a compilation, and two threads at once are too many.
anyio.open_file  # noqa: B018

EXAMPLES = int(os.environ.get("CROSSLENS_API_EXAMPLES", "5"))
CODES = set(re.findall(r"`(\w+)`", (Path(__file__).parents[2] / "docs" / "http.md").read_text()))
IDENTITIES = {
    "health", "readiness", "metrics", "session", "list_models", "embed", "rank", "match", "classify",
    "similarity", "search", "explain", "complete", "list_libraries", "create_library", "get_library",
    "list_items", "upload_items", "put_item", "add_folder", "list_tags", "find_duplicates", "get_map",
    "list_concepts", "get_concept", "teach_concept", "forget_concept", "suggest_marks",
    "preview_concept_tag", "give_concept_tag",
    "get_item", "delete_item", "get_thumbnail", "get_original", "add_tags", "remove_tags",
    "list_jobs", "get_job", "cancel_job", "follow_job",
}  # fmt: skip
# What a failure of the service itself may be by design: not ready, and no room on its disk.
BY_DESIGN = ["503", "507"]
PICTURE = "data:image/png;base64," + base64.b64encode(png("red")).decode()
# Stand for what is known only when the service runs.
A_JOB, A_FOLDER = "THE-JOB", "THE-FOLDER"

ITEMS = [f"photos:{number}" for number in range(1, 7)] + ["words:1", "words:2"]
PARAMETERS: dict[str, list[Any]] = {
    "name": ["photos", "words", "empty"],
    "item": ITEMS,
    "concept": ["warm", "cold", "Warm"],
    "tag": ["warm", "tone/warm"],
    "identity": [A_JOB],
    "file": ["red.png", "new.jpg", "cyan.png"],
    "text": ["a red tag:", "-kind:", "blue camera:", "tag:s"],
    "v": ["0123456789ab"],
    "Range": ["bytes=0-9", "bytes=-5", "bytes=0-1,4-5", "bytes=99999-", "x"],
    "If-None-Match": ["*", '"x"'],
}
COLOURS = ["red", "blue", "a green wall"]
PICTURES = [PICTURE, {"item": "photos:1"}, {"item": "photos:2"}]
MEMBERS: dict[str, dict[str, list[Any]]] = {
    "Search": {
        "query": [
            "",
            "red",
            "blue -red",
            "~photos:1",
            "has:tag",
            "concept:warm",
            "kind:text red",
            '"a red" ext:png',
        ]
    },
    "Explain": {"query": ["red", "green ~photos:2", "-blue yellow"], "item": ITEMS},
    "Part": {"text": COLOURS, "item": ITEMS, "image": PICTURES},
    "Rank": {"image": PICTURES, "texts": [COLOURS, ["red"]]},
    "MatchedPair": {"image": PICTURES, "text": COLOURS},
    "Classify": {
        "images": [PICTURES, [PICTURE]],
        "labels": [COLOURS],
        "templates": [["a {}", "{}"], ["{}!"]],
    },
    "Similarity": {"images": [[], PICTURES], "texts": [COLOURS, []]},
    "Folder": {"path": [A_FOLDER]},
    "NewLibrary": {"name": ["empty", "new", "new.2"]},
    "Tags": {"tags": [["sea"], ["people/anna", "Sea"]]},
    "Lesson": {
        "yes": [["photos:1"], ["photos:1", "photos:2"], ["words:1"], []],
        "no": [["photos:3"], []],
        "unmark": [["photos:2"], []],
        "threshold": [0.3, 0.9],
    },
    "GiveTag": {"tag": ["warm", "tone/warm", None]},
    "Embeddings": {"input": ["red", PICTURE, COLOURS], "model": ["fake"], "dimensions": [4]},
}
LIBRARIES = [["photos"], ["words", "photos"], ["empty"]]
FORMS = {
    "Search": {"parts": [{"image": {"file": "mine"}}]},
    "Explain": {"parts": [{"image": {"file": "mine"}}], "item": "photos:1"},
    "Rank": {"image": {"file": "mine"}, "texts": COLOURS},
    "Match": {"pairs": [{"image": {"file": "mine"}, "text": "red"}]},
    "Classify": {"images": [{"file": "mine"}], "labels": COLOURS},
    "Similarity": {"images": [{"file": "mine"}, PICTURE]},
}


def said() -> dict[str, Any]:
    """The document of a service without keys."""
    return create_app(ServeConfig(data=Path("nowhere")), Matcher(FakeModel())).openapi()


def operations(whole: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in whole["paths"].values() for operation in path.values()]


def parameters(whole: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for operation in operations(whole) for one in operation.get("parameters", ())]


def document() -> dict[str, Any]:
    """What the service says, but that answers hold nothing which it does not name.

    Where there is more than a path, the path names what is there: else nothing beyond it would be looked at.
    """
    whole = copy.deepcopy(said())
    for operation in operations(whole):
        named = [one for one in operation.get("parameters", ()) if one["in"] == "path"]
        if "requestBody" in operation or len(named) < len(operation.get("parameters", ())):
            for parameter in named:
                parameter["schema"] = {"enum": PARAMETERS[parameter["name"]]}
    for schema in whole["components"]["schemas"].values():
        if schema.get("additionalProperties") is True:
            schema["additionalProperties"] = False
    return whole


def with_known_values(whole: dict[str, Any]) -> dict[str, Any]:
    """The document for requests that mean something: they name what is there."""
    schemas = whole["components"]["schemas"]
    for name, members in MEMBERS.items():
        schemas[name]["properties"] |= {member: {"enum": values} for member, values in members.items()}
    for name in ("Search", "Explain"):
        schemas[name]["properties"]["libraries"] = {"enum": LIBRARIES}
        schemas[name]["properties"]["k"]["maximum"] = 1000
    for parameter in parameters(whole):
        if parameter["name"] in PARAMETERS:
            parameter["schema"] = {"enum": PARAMETERS[parameter["name"]]}
    picture = {"type": "string", "format": "binary", "contentMediaType": "image/png"}
    for operation in operations(whole):
        content = operation.get("requestBody", {}).get("content", {})
        form = content.get("multipart/form-data", {}).get("schema", {"properties": {}})
        if "request" in form["properties"]:
            model = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
            form["properties"] = {"request": {"enum": [json.dumps(FORMS[model])]}, "mine": picture}
            form |= {"required": ["request", "mine"], "additionalProperties": False}
        elif "file" in form["properties"]:
            form["properties"]["file"]["items"] = picture
    return whole


def schema(whole: dict[str, Any], mode: str) -> Any:
    """What makes the requests: the same ones every time."""
    checks = {
        "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", *BY_DESIGN]},
        # What fits the schema may still mean nothing: no item of that number, no base64, no such filter.
        "positive_data_acceptance": {
            "expected-statuses": ["2xx", "304", "400", "403", "404", "409", "413", "416", "422", "429"]
        },
        "negative_data_rejection": {"enabled": mode == "all", "expected-statuses": ["4xx"]},
    }
    generation = {"mode": mode, "max-examples": EXAMPLES, "deterministic": True, "database": "none"}
    config = {"seed": 1, "generation": generation, "checks": checks, "suppress-health-check": ["all"]}
    return schemathesis.openapi.from_dict(whole, config=SchemathesisConfig.from_dict(config))


ANY = schema(document(), "all")
KNOWN = schema(with_known_values(document()), "positive")


@dataclass(frozen=True)
class Service:
    """A service to ask. pictures: a folder that may be indexed; job: one that has ended."""

    address: str
    pictures: Path
    job: str
    parts: Parts

    def call(self, case: Any, **more: Any) -> Any:
        """Send a request."""
        if case.path_parameters.get("identity") == A_JOB:
            case.path_parameters["identity"] = self.job
        if isinstance(case.body, dict) and case.body.get("path") == A_FOLDER:
            case.body["path"] = str(self.pictures)
        return case.call(base_url=self.address, **more)

    def ask(self, case: Any) -> None:
        """Send a request, and hold the answer against the document."""
        response = self.call(case)
        case.validate_response(
            response, additional_checks=[as_documented], transport_kwargs={"base_url": self.address}
        )

    def rest(self) -> None:
        """Wait until every job has ended, and searches see what it did."""
        until = time.monotonic() + 30
        while any(job.state not in ENDED for job in self.parts.jobs.all()):
            assert time.monotonic() < until
            time.sleep(0.002)
        for book in self.parts.shelf.books():
            book.refresh()


def as_documented(_ctx: Any, response: Any, case: Any) -> None:
    """A success has a status that is named; a failure is a problem document with a code that is."""
    label, status = case.operation.label, response.status_code
    if status < 400:
        if str(status) not in case.operation.definition.raw["responses"]:
            raise Failure(operation=label, title="a status that is not named", message=str(status))
        return
    kind = response.headers.get("content-type", [""])[0]
    problem = response.json() if kind == "application/problem+json" else {}
    told = (problem.get("status"), problem.get("code") in CODES, problem.get("request_id"))
    if told != (status, True, response.headers["x-request-id"][0]):
        raise Failure(operation=label, title="no problem document", message=f"{status} {kind} {problem}")


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, and libraries with pictures of that folder, uploaded ones, texts and tags."""
    folder = tmp_path_factory.mktemp("libraries")
    (folder / "pictures").mkdir()
    for colour in ("red", "green", "blue", "yellow"):
        (folder / "pictures" / f"{colour}.png").write_bytes(png(colour))
    with Library.open(folder / "words", Matcher(FakeModel())) as words:
        words.add(texts=["a red wall", "the blue sea"], names=["wall", "sea"])
    with served(folder) as client:
        index(client, folder / "pictures")
        upload(client, "photos", {"cyan.png": png("cyan"), "more.zip": zipped({"copy.png": png("white")})})
        ask(client, "POST", "items/photos:1/tags", json={"tags": ["sea", "people/anna"]})
        ask(client, "POST", "libraries/photos/concepts/warm", json={"yes": ["photos:1"], "no": ["photos:2"]})
    return folder


@contextmanager
def fresh(libraries: Path) -> Iterator[Service]:
    """A service with copies of these, and an empty one."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        for name in ("photos", "words"):
            shutil.copytree(libraries / name, folder / name)
        (folder / "data" / "empty").mkdir(parents=True)
        config = ServeConfig(
            libraries=(folder / "photos", folder / "words"),
            data=folder / "data",
            folders=(libraries,),
            limits=RequestLimits(body=1 << 20, upload=1 << 20, file=1 << 18),
        )
        app = create_app(config, Matcher(FakeModel()))
        with running(app) as address:
            parts: Parts = app.state.service
            job = parts.jobs.submit("photos", "index", Task(lambda _: None))
            yield Service(address, libraries / "pictures", job.id, parts)


@pytest.fixture
def service(libraries: Path, loopback: None) -> Iterator[Service]:
    """A service of its own for each operation, so that none finds what another has left."""
    with fresh(libraries) as service:
        yield service


@ANY.parametrize()
def test_any_request_is_answered_as_documented(case: Any, service: Service) -> None:
    service.ask(case)


@KNOWN.parametrize()
def test_a_request_that_means_something_is_answered_as_documented(case: Any, service: Service) -> None:
    service.ask(case)


def sequences(libraries: Path) -> Any:
    """What an answer names is asked for, changed, deleted, and asked for again."""

    class Sequence(KNOWN.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            super().setup()
            self.stack = ExitStack()
            self.service = self.stack.enter_context(fresh(libraries))

        def teardown(self) -> None:
            self.stack.close()
            super().teardown()

        def call(self, case: Any, **more: Any) -> Any:
            response = self.service.call(case, **more)
            self.service.rest()  # the next request must find the same every time
            return response

        def validate_response(self, response: Any, case: Any, _checks: Any = None, **more: Any) -> None:
            super().validate_response(response, case, [as_documented], **more)

    return Sequence


@pytest.mark.usefixtures("loopback")
@pytest.mark.parametrize("round_", range(-(-EXAMPLES // 10)))
def test_requests_that_build_on_each_other_are_answered_as_documented(libraries: Path, round_: int) -> None:
    quiet = {"suppress_health_check": list(HealthCheck), "deadline": None, "database": None}
    how = settings(max_examples=min(10, EXAMPLES), **quiet)
    # So Hypothesis complains of answers that are others than before; not so of failures that come and go.
    with suppress(FlakyStrategyDefinition):
        seed(round_)(sequences(libraries)).run(settings=how)


# -- the document itself --------------------------------------------------------------------------


def test_the_document_is_sound_and_its_names_stay() -> None:
    schemathesis.openapi.from_dict(said(), config=SchemathesisConfig.from_dict({})).validate()
    found = operations(said())
    assert {operation["operationId"] for operation in found} == IDENTITIES
    assert len(found) == len(IDENTITIES)
    tags = {tag["name"] for tag in said()["tags"]}
    assert {tag for operation in found for tag in operation["tags"]} == tags


def test_every_endpoint_says_what_it_answers() -> None:
    whole = said()
    for operation in operations(whole):
        failure = operation["responses"]["default"]["content"]["application/problem+json"]
        assert failure["schema"] == {"$ref": "#/components/schemas/Problem"}
        good = {status: one for status, one in operation["responses"].items() if status[0] == "2"}
        assert good
        for answer in good.values():
            assert answer["content"]
            schema = answer["content"].get("application/json", {"schema": {"$ref": ""}})["schema"]
            assert set(schema) == {"$ref"}
        assert all("schema" in parameter for parameter in operation.get("parameters", ()))
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(whole)))
    assert named == set(whole["components"]["schemas"])


def test_keys_are_wanted_as_documented(tmp_path: Path) -> None:
    Library.open(tmp_path / "photos", Matcher(FakeModel())).add(texts=["red"])
    with served(tmp_path, keys=tmp_path / "keys.json") as client:
        assert {} in client.get("/openapi.json").json()["paths"]["/v1/search"]["post"]["security"]
        keys = {scope: Keys(tmp_path / "keys.json").add(scope, scope) for scope in ("read", "write", "admin")}  # type: ignore[arg-type]
        for path, found in client.get("/openapi.json").json()["paths"].items():
            url = path.format(name="photos", file="a.png", item="photos:77", identity="none", concept="none")
            for method, operation in found.items():
                statuses = {
                    scope: client.request(method, url, headers={"x-api-key": key}).status_code
                    for scope, key in keys.items()
                }
                nobody = client.request(method, url).status_code
                needed = operation.get("security", [{}])
                if {} in needed:
                    assert operation["operationId"] in ("health", "readiness", "session")
                    assert nobody == statuses["read"] == 200, path
                    continue
                assert needed[0].keys() | needed[1].keys() == {"bearer", "header"}
                [scope] = needed[0]["bearer"]
                assert nobody == 401
                assert [one for one in keys if statuses[one] != 403] == list(keys)[list(keys).index(scope) :]
