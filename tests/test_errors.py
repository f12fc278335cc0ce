"""One test to each promise that an error or a warning makes: its class, what it names, and what to do.

A promise is provoked as a user would: through crosslens, its automm and evaluate, or the command line. What
needs a full disk, a read-only folder or a damaged bundle is held where that is set up (`ELSEWHERE`).
"""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import crosslens
from crosslens import Library, Limits, Matcher, errors, semantic_search, softmax_confidence
from crosslens.automm import MultiModalPredictor
from crosslens.cli import main
from crosslens.errors import (
    BundleError,
    CrosslensError,
    CrosslensWarning,
    EncodingError,
    ImageNotFoundError,
    ImageSkippedWarning,
    ImageTooLargeError,
    InputError,
    LibraryBusyError,
    LibraryDamagedError,
    LibraryError,
    LibraryModelError,
    LibraryNotFoundError,
    LibraryVersionError,
    MissingExtraError,
    QueryError,
    QuerySyntaxError,
    TextError,
    TextTruncatedWarning,
    UncalibratedWarning,
    UnknownModelError,
    UnreadableImageError,
    UnseenScriptWarning,
)
from crosslens.evaluation.metrics import pair_metrics, ranking_metrics
from crosslens.library import query_search
from crosslens.models.catalogue import CATALOGUE
from crosslens.store.locks import writer_lock
from crosslens.store.schema import DATABASE
from crosslens.texts.tabular_files import read_table, write_vectors
from crosslens.towers.fake_model import FAKE_SPEC, FakeModel
from crosslens.types import Float32

RED = np.full((4, 4, 3), (255, 0, 0), np.uint8)
X, Y = [1.0, 0.0], [0.0, 1.0]
# Where a promise is held that is none of this file's, and what holds it.
ELSEWHERE = {
    "LibraryReadOnlyError": "test_faults.py",
    "LibraryFullError": "test_faults.py",
    "ConversionError": "test_convert.py",
    "DownloadError": "test_files.py",
    "NetworkLibraryWarning": "test_network.py",
}


@dataclass
class Place:
    """What a promise may use: a folder with files of every kind, and a library in it."""

    folder: Path
    fake: Matcher
    library: Library

    def __truediv__(self, name: str) -> str:
        return str(self.folder / name)

    def write(self, name: str, content: str | bytes) -> str:
        """A file with this content, and its path."""
        (self.folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return self / name

    def predictor(self, **named: Any) -> MultiModalPredictor:
        """One of pictures with texts, unless told otherwise."""
        usual = {"problem_type": "image_text_similarity", "query": "picture", "response": "caption"}
        return MultiModalPredictor(
            **{**usual, "hyperparameters": {"model.fake.checkpoint_name": "fake"}, **named}
        )


# What somebody does, the error it is, the input that its message names, and the way out.
Promise = tuple[Callable[[Place], object], type[Exception], str, str]


@pytest.fixture
def place(pictures: Path, fake: Matcher, tmp_path: Path) -> Iterator[Place]:
    with Library.open(tmp_path / "library", fake) as library:
        library.index(pictures)
        found = Place(tmp_path, fake, library)
        shutil.copy(pictures / "red.png", tmp_path / "red.png")
        yield found


class Blank(FakeModel):
    """A model whose vectors are zero."""

    def __init__(self) -> None:
        self.image = self.text = self  # type: ignore[assignment]

    def submit(self, batch: np.ndarray) -> Future[Float32]:
        done: Future[Float32] = Future()
        done.set_result(np.zeros((len(batch), 4), np.float32))
        return done


class Other(FakeModel):
    """Computes the same and says that it is another."""

    spec = dataclasses.replace(FAKE_SPEC, name="other", tokenizer_sha256="other")


def bundle(at: Place, change: Callable[[dict[str, Any]], object] = lambda _config: None) -> Matcher:
    """The starter as a bundle of one's own, with something changed in its config.json."""
    folder = at.folder / "bundle"
    shutil.copytree(CATALOGUE["starter"].folder, folder)
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    return Matcher(folder, precision="f32")


def sql(at: Place, statement: str) -> Library:
    """The library, opened after somebody wrote into its database."""
    at.library.close()
    with sqlite3.connect(at.folder / "library" / DATABASE) as database:
        database.execute(statement)
    database.close()
    shutil.rmtree(at.folder / "library" / "derived")
    return Library.open(at.folder / "library")


def locked(at: Place) -> object:
    with writer_lock(at.library.folder):
        return at.library.index()


def pairs(at: Place, **columns: Any) -> dict[str, Any]:
    return {"picture": [at / "red.png"], "caption": ["red"], **columns}


def damaged(at: Place) -> object:
    at.library.close()
    (at.folder / "library" / DATABASE).write_bytes(b"garbage" * 1000)
    return Library.open(at.folder / "library")


# Each is named by a sentence that begins "what happens with …".
PICTURES: dict[str, Promise] = {
    "a picture that is not there":
        (lambda at: at.fake.embed_images([at / "gone.png"]),
         ImageNotFoundError, "gone.png", "Check the path"),
    "a folder in place of a picture":
        (lambda at: at.fake.embed_images([at.folder]),
         UnreadableImageError, "folder", "Name the pictures in it"),
    "a name that no system has":
        (lambda at: at.fake.embed_images(["x" * 3000 + ".png"]),
         UnreadableImageError, "x.png", "Check the path"),
    "an empty file":
        (lambda at: at.fake.embed_images([at.write("empty.png", "")]),
         UnreadableImageError, "empty.png", "Copy it"),
    "a text named like a picture":
        (lambda at: at.fake.embed_images([at.write("a.jpg", "dear diary")]),
         UnreadableImageError, "a.jpg", "JPEG"),
    "a picture that is cut short":
        (lambda at: at.fake.embed_images([at.write("half.png", Path(at / "red.png").read_bytes()[:50])]),
         UnreadableImageError, "half.png", "save it anew"),
    "more bytes than the limit":
        (lambda at: Matcher(FakeModel(), limits=Limits(max_bytes=9)).embed_images([at / "red.png"]),
         ImageTooLargeError, "red.png", "raise Limits.max_bytes"),
    "more pixels than the limit":
        (lambda _: Matcher(FakeModel(), limits=Limits(max_pixels=9)).embed_images([RED]),
         ImageTooLargeError, "image 0: 4 × 4 pixels", "raise Limits.max_pixels"),
    "a limit of nothing": (lambda _: Limits(max_bytes=0), InputError, "Limits.max_bytes is 0", "at least 1"),
    "limits that are none":
        (lambda _: Matcher(FakeModel(), limits=9), InputError, "limits is 9", "Limits(max_bytes=…"),
    "a data URI that cannot be decoded":
        (lambda at: at.fake.embed_images(["data:image/png;base64,?"]),
         UnreadableImageError, "data:image", "anew"),
    "an array that is no picture":
        (lambda at: at.fake.embed_images([RED, RED / 2]),
         UnreadableImageError, "image 1: an array of float64", "uint8"),
    "a number among pictures":
        (lambda at: at.fake.embed_images([RED, 5]), UnreadableImageError, "image 1: int", "a Pillow image"),
    "a file that was opened as text":
        (lambda at: at.fake.embed_images([io.StringIO("x")]), UnreadableImageError, "image 0", 'mode "rb"'),
    "a picture that the model cannot place":
        (lambda _: Matcher(Blank()).embed_images([RED]), EncodingError, "image 0", "Leave it out"),
}  # fmt: skip
TEXTS: dict[str, Promise] = {
    "a thing that is no text":
        (lambda at: at.fake.embed_texts(["red", 5]), TextError, "text 1 is int", "texts"),
    "a text with half a character":
        (lambda at: at.fake.embed_texts(["red", "\ud800"]), TextError, "text 1", "Decode its bytes"),
    "the path of a picture as a text":
        (lambda at: at.fake.embed_texts(["red", at / "red.png"]),
         TextError, "text 1", "Pass pictures to the image side"),
    "an empty text":
        (lambda at: at.fake.embed_texts(["red", " "]), TextError, "text 1 (' ')", "leave it out"),
    "a text that is too long":
        (lambda at: at.fake.embed_texts("red " * 9, long_text="error"),
         TextError, "red red", 'long_text="truncate"'),
    "a text that the model cannot place":
        (lambda _: Matcher(Blank()).embed_texts(["red", "blue"]),
         TextError, "text 0 ('red')", "Leave it out"),
    "pictures and texts in one list":
        (lambda at: at.fake.embed(["red", at / "red.png"]),
         InputError, "row 1 are pictures, row 0", 'modality="image"'),
    "no texts to rank": (lambda at: at.fake.rank(RED, []), TextError, "no text to rank", "Give at least one"),
    "no labels": (lambda at: at.fake.classify(RED, []), InputError, "no labels", "Give at least one"),
    "an empty label": (lambda at: at.fake.classify(RED, ["a", ""]), InputError, "label 1 is ''", "not empty"),
    "no templates":
        (lambda at: at.fake.classify(RED, ["a"], []), InputError, "no templates", "a photo of a {}."),
    "a template without a place for the label":
        (lambda at: at.fake.classify(RED, ["a"], "a dog"), InputError, "'a dog'", "a photo of a {}."),
}  # fmt: skip
CHOICES: dict[str, Promise] = {
    "another on_error": (lambda at: at.fake.embed_images(RED, "ignore"), InputError, "'ignore'", "'skip'"),
    "another long_text": (lambda at: at.fake.embed_texts("red", "cut"), InputError, "'cut'", "'truncate'"),
    "another modality": (lambda at: at.fake.embed(["red"], "images"), InputError, "'images'", "'image'"),
    "another probability":
        (lambda at: at.fake.predict_proba(RED, "red", "honest"), InputError, "'honest'", "'calibrated'"),
    "another precision": (lambda _: Matcher(precision="f8"), InputError, "'f8'", "bf16"),
    "a threshold that is no number":
        (lambda at: at.fake.predict(RED, "red", "half"), InputError, "threshold is 'half'", "a number"),
    "more pictures than texts":
        (lambda at: at.fake.predict([RED, RED], "red"), InputError, "2 pictures and 1 texts", "Give pairs"),
    "labels that are not those of the pairs":
        (lambda at: at.fake.calibrate([(RED, "red")], [0, 1]),
         InputError, "1 pairs and 2 labels", "one label to a pair"),
    "labels of one kind":
        (lambda at: at.fake.calibrate([(RED, "red")], [1]), InputError, "must be 0 and 1", "Add pairs"),
    "labels that are no numbers":
        (lambda at: at.fake.calibrate([(RED, "red")], ["yes"]),
         InputError, "labels are no numbers", "array of numbers"),
    "no similarities": (lambda _: softmax_confidence([], 1), InputError, "shape (0,)", "at least one text"),
    "a logit scale of nought":
        (lambda _: softmax_confidence([1], 0), InputError, "logit_scale is 0", "positive"),
}  # fmt: skip
MODELS: dict[str, Promise] = {
    "a model that nobody knows": (lambda _: Matcher("startr"), UnknownModelError, "'startr'", "mean starter"),
    "a model that is none": (lambda _: Matcher(5), UnknownModelError, "5 is no model", "bundle folder"),
    "a folder that is no bundle":
        (lambda at: Matcher(at.folder), BundleError, "config.json", "docs/models.md"),
    "a bundle that lacks something":
        (lambda at: bundle(at, lambda config: config.pop("logit_scale")),
         BundleError, '"logit_scale"', "docs/models.md"),
    "a bundle whose files were exchanged":
        (lambda at: bundle(at, lambda c: c["sha256"].update({"tokenizer.json": "0" * 64})).embed_texts("red"),
         BundleError, "tokenizer.json", "Copy the whole bundle again"),
}  # fmt: skip
LIBRARIES: dict[str, Promise] = {
    "a library that is not there":
        (lambda at: Library.open(at / "none").search("red"),
         LibraryNotFoundError, "none", "crosslens index -L"),
    "an index of nothing":
        (lambda at: Library.open(at / "none").index(),
         LibraryNotFoundError, "none", "Name a folder of pictures"),
    "a file in place of a library":
        (lambda at: Library.open(at / "red.png", at.fake).index(at / "red.png"),
         LibraryError, "red.png", "Name a folder"),
    "a library made with another model":
        (lambda at: Library.open(at / "library", Matcher(Other())),
         LibraryModelError, "'other'", "Leave the model out"),
    "a library made with another version of its model":
        (lambda at: sql(at, "UPDATE meta SET value = 'old' WHERE key = 'model.identity'").search("red"),
         LibraryModelError, "another version of 'fake'", "crosslens migrate -L"),
    "a model that moved away":
        (lambda at: sql(at, "UPDATE meta SET value = '/gone' WHERE key = 'model.name'").search("red"),
         LibraryModelError, "/gone", "--model NEW_PLACE"),
    "a library of a newer crosslens":
        (lambda at: sql(at, "PRAGMA user_version = 99"),
         LibraryVersionError, "format 99", "pip install -U crosslens"),
    "a database of another program":
        (lambda at: sql(at, "PRAGMA application_id = 5"),
         LibraryDamagedError, DATABASE, "Choose another folder"),
    "a database that is garbage": (damaged, LibraryDamagedError, DATABASE, "move the folder away"),
    "a vector that is cut short":
        (lambda at: sql(at, "UPDATE vectors SET vector = x'00'; ").search("red"),
         LibraryDamagedError, "1 bytes", "Restore the library"),
    "a library that is being indexed": (locked, LibraryBusyError, "library", "Wait until it has finished"),
    "a source that is not there":
        (lambda at: at.library.index(at / "gone"), ImageNotFoundError, "gone", "Check the spelling"),
    "a table without its column":
        (lambda at: at.library.index(at.write("t.csv", "a\nred\n")), InputError, "t.csv", "--text-column"),
    "something to remove that is not there":
        (lambda at: at.library.remove([999]), InputError, "999", "crosslens list"),
    "a path to add":
        (lambda at: at.library.add(images=[at / "red.png"]), InputError, "red.png", "library.index(PATH)"),
    "nothing to add": (lambda at: at.library.add(), InputError, "images or texts", "Call it once for each"),
    "more names than things to add":
        (lambda at: at.library.add(texts="red", names=["a", "b"]),
         InputError, "1 things to add and 2 names", "one to each"),
    "a name for two things":
        (lambda at: at.library.add(texts=["red", "blue"], names=["a", "a"]), InputError, "'a'", "one item"),
    "an empty name":
        (lambda at: at.library.add(texts=["red"], names=[""]), InputError, "name 0 is ''", "a name"),
    "a search for nothing": (lambda at: at.library.search(), QueryError, "nothing", "Give a text, a picture"),
    "a search only without":
        (lambda at: at.library.search(without="red"), QueryError, "nothing but", "Give a text, a picture"),
    "a search for several texts":
        (lambda at: at.library.search(["red"]), QueryError, "is list", "Use search_many"),
    "a search for no result":
        (lambda at: at.library.search("red", k=0), QueryError, "k is 0", "at least 1"),
    "a search for another kind":
        (lambda at: at.library.search("red", kind="words"), QueryError, "'words'", '"image" or "text"'),
    "a query with a filter that there is not":
        (lambda at: query_search.search(at.library, "red befor:2023"),
         QuerySyntaxError, "character 5 of the query: there is no filter 'befor'", "Did you mean before:"),
    "a search for texts where there are none":
        (lambda at: at.library.search("red", kind="text"), QueryError, "holds no texts", "--text-column"),
}  # fmt: skip
SEARCHES: dict[str, Promise] = {
    "another similarity":
        (lambda _: semantic_search(similarity_type="l2"), InputError, "similarity_type is 'l2'", "'cosine'"),
    "a top_k of nought": (lambda _: semantic_search(top_k=0), InputError, "top_k is 0", "at least 1"),
    "neither data nor embeddings":
        (lambda _: semantic_search(), InputError, "query side has neither", "Give either query_data"),
    "data without a matcher":
        (lambda _: semantic_search(query_data=["red"]), InputError, "matcher is None", "crosslens.Matcher"),
    "vectors of two models":
        (lambda _: semantic_search(query_embeddings=[X], response_embeddings=[[1, 2, 3]]),
         InputError, "queries have 2 numbers and responses 3", "one model"),
    "embeddings of three axes":
        (lambda _: semantic_search(query_embeddings=[[X]], response_embeddings=[X]),
         InputError, "query_embeddings have shape (1, 1, 2)", "(n, d)"),
    "embeddings that are no numbers":
        (lambda _: semantic_search(query_embeddings=["red"], response_embeddings=[X]),
         InputError, "query_embeddings are no numbers", "an array of numbers"),
    "an embedding that is not finite":
        (lambda _: semantic_search(query_embeddings=[X], response_embeddings=[X, [np.nan, 0]]),
         InputError, "response_embeddings: row 1", "Leave it out"),
    "an embedding that is zero":
        (lambda _: semantic_search(query_embeddings=[X], response_embeddings=[X, [0, 0]]),
         InputError, "response_embeddings: row 1", "dot_prod"),
    "a response without an id":
        (lambda _: semantic_search(query_embeddings=[X], response_embeddings=[X, Y], id_mappings=["a"]),
         InputError, "response 1 of 2", "Give one to each"),
}  # fmt: skip
AUTOMM: dict[str, Promise] = {
    "another problem type":
        (lambda at: at.predictor(problem_type="ner"), InputError, "'ner'", "text_similarity"),
    "two columns on one side":
        (lambda at: at.predictor(query=["a", "b"]), InputError, "query names 2 columns", "Name one"),
    "a match label without the other":
        (lambda at: at.predictor(match_label="yes"), InputError, "'yes'", "classes=[…, …]"),
    "three classes":
        (lambda at: at.predictor(classes=["a", "b", "c"]),
         InputError, "['a', 'b', 'c']", "two different labels"),
    "several models":
        (lambda at: at.predictor(hyperparameters={"a.checkpoint_name": "x", "b.checkpoint_name": "y"}),
         InputError, "['x', 'y']", "Name one for both sides"),
    "a preset that stands for a model elsewhere":
        (lambda at: at.predictor(presets="best_quality", hyperparameters={}),
         UnknownModelError, "openai/clip-vit-large-patch14-336", "Presets: default"),
    "training on pairs of texts":
        (lambda at: at.predictor(problem_type="text_similarity").fit(pairs(at)),
         InputError, "text_similarity", "image_text_similarity"),
    "training for less than no time":
        (lambda at: at.predictor().fit(pairs(at), time_limit=0),
         InputError, "time_limit is 0", "more than 0"),
    "a predictor saved over something else":
        (lambda at: at.predictor().save(at.folder), InputError, "is no predictor", "Name a new folder"),
    "no predictor to load":
        (lambda at: MultiModalPredictor.load(at.folder), InputError, "holds no predictor", "predictor.save"),
    "masks":
        (lambda at: at.predictor().extract_embedding(["red"], return_masks=True),
         InputError, "return_masks", "Leave it out"),
    "a tensor in pandas":
        (lambda at: at.predictor().extract_embedding(["red"], as_tensor=True, as_pandas=True),
         InputError, "as_tensor and as_pandas", "Choose one"),
    "another signature":
        (lambda at: at.predictor().extract_embedding(["red"], signature="left"),
         InputError, "'left'", "'query'"),
    "mappings of another column":
        (lambda at: at.predictor().extract_embedding(["red"], id_mappings={"picture": {}}),
         InputError, "['picture']", "signature="),
    "a mapping that is none":
        (lambda at: at.predictor().predict(pairs(at), id_mappings={"caption": 5}),
         InputError, "5 for 'caption'", "a dict"),
    "an id that stands for nothing":
        (lambda at: at.predictor().predict(pairs(at), id_mappings={"caption": {"blue": "x"}}),
         InputError, "'caption', row 0: id_mappings has nothing for the id 'red'", "Add what"),
    "columns of which none is named":
        (lambda at: at.predictor(query=None, response=None).extract_embedding({"a": ["red"], "b": ["red"]}),
         InputError, "['a', 'b']", "Give the one to embed"),
    "no candidates":
        (lambda at: at.predictor().predict(pairs(at), candidate_data=[]),
         InputError, "candidate_data is empty", "at least one"),
    "classes that are not named":
        (lambda at: at.predictor(problem_type="zero_shot_image_classification").predict(pairs(at)),
         InputError, "zero_shot_image_classification", "candidate_data=[…]"),
    "pairs whose columns are not named":
        (lambda at: at.predictor(query=None).predict(pairs(at)), InputError, "both columns", 'query="…"'),
    "a column that is not there":
        (lambda at: at.predictor().predict({"picture": [at / "red.png"]}),
         InputError, "'caption'", "There is 'picture'"),
    "columns that differ in length":
        (lambda at: at.predictor().predict(pairs(at, caption=["red", "blue"])),
         InputError, "'caption': 2", "a row"),
    "a missing value":
        (lambda at: at.predictor().predict(pairs(at, caption=[None])),
         InputError, "column 'caption', row 0", "fill it in"),
    "pictures on both sides":
        (lambda at: at.predictor().predict(pairs(at, caption=[at / "red.png"])),
         InputError, "'picture' and 'caption' both hold images", "Check the paths"),
    "the name of a picture that is gone":
        (lambda at: at.predictor().predict(pairs(at, picture=["gone.png"])),
         InputError, "row 0", 'modality="text"'),
    "a ranking with one side":
        (lambda at: at.predictor().evaluate([], query_data=["red"]),
         InputError, "response_data", "Give both"),
    "a label that is neither":
        (lambda at: at.predictor().evaluate(pairs(at, label=["maybe"])),
         InputError, "row 0 has the label 'maybe'", "0 or 1"),
    "a judgement of something unknown":
        (lambda at: at.predictor().evaluate([("pink", "red")], query_data=["blue"], response_data=["red"]),
         InputError, "judgement 0 names the query 'pink'", "Add it there"),
}  # fmt: skip
METRICS: dict[str, Promise] = {
    "a ranking metric that nobody knows":
        (lambda _: ranking_metrics({"q": ["a"]}, [], "auc"), InputError, "'auc'", "recall, precision"),
    "no cutoffs":
        (lambda _: ranking_metrics({"q": ["a"]}, [], cutoffs=[]), InputError, "no cutoffs", "(1, 5, 10)"),
    "a cutoff of nought":
        (lambda _: ranking_metrics({"q": ["a"]}, [], cutoffs=[0]), InputError, "cutoff is 0", "at least 1"),
    "no judgements":
        (lambda _: ranking_metrics({"q": ["a"]}, []), InputError, "no relevance judgements", "rows of query"),
    "a judgement that is none":
        (lambda _: ranking_metrics({"q": ["a"]}, ["qa"]),
         InputError, "judgement 0 is 'qa'", "(query, response"),
    "a judgement without a ranking":
        (lambda _: ranking_metrics({"q": ["a"]}, [("p", "a", 1)]),
         InputError, "query 'p'", "Add its ranking"),
    "a relevance below nought":
        (lambda _: ranking_metrics({"q": ["a"]}, [("q", "a", -1)]), InputError, "relevance -1", "from 0"),
    "two judgements that differ":
        (lambda _: ranking_metrics({"q": ["a"]}, [("q", "a", 1), ("q", "a", 0)]),
         InputError, "judgement 1", "one of them"),
    "a pair metric that nobody knows":
        (lambda _: pair_metrics([1], [1], "ndcg"), InputError, "'ndcg'", "roc_auc"),
    "labels and probabilities of different lengths":
        (lambda _: pair_metrics([1], [1, 0]), InputError, "(1,) and probabilities (2,)", "(n,) twice"),
    "a label that is no label":
        (lambda _: pair_metrics([1, 7], [1, 0]), InputError, "label 1 is 7", "1 (match)"),
    "a probability above 1":
        (lambda _: pair_metrics([1, 0], [1, 2]), InputError, "probability 1 is 2", "from 0 to 1"),
    "pairs of one label":
        (lambda _: pair_metrics([1], [1]), InputError, "all 1 pairs", "pairs of both kinds"),
}  # fmt: skip
TABLES: dict[str, Promise] = {
    "a table of another kind": (lambda _: list(read_table("a.xls")), InputError, "a.xls", ".csv"),
    "a table that is not there":
        (lambda at: list(read_table(at / "none.csv")), InputError, "none.csv", "Check the spelling"),
    "a table that is not UTF-8":
        (lambda at: list(read_table(at.write("t.csv", b"x\n\xff\n"))), InputError, "t.csv", "as UTF-8"),
    "more values than names":
        (lambda at: list(read_table(at.write("t.csv", "x\n1,2\n"))),
         InputError, "t.csv: line 2", "quotes around"),
    "a line that is no JSON":
        (lambda at: list(read_table(at.write("t.jsonl", "{}\n{"))),
         InputError, "t.jsonl: line 2", "one object to a line"),
    "a line that is no JSON object":
        (lambda at: list(read_table(at.write("t.jsonl", "[1]"))),
         InputError, "t.jsonl: line 1", "one object to a line"),
    "vectors for another kind of file":
        (lambda at: write_vectors(at / "out.txt", ["a"], np.ones((1, 4))), InputError, "out.txt", ".npy"),
    "more ids than vectors":
        (lambda at: write_vectors(at / "out.npy", ["a", "b"], np.ones((1, 4))), InputError, "2 ids", "n ids"),
}  # fmt: skip
PROMISES = PICTURES | TEXTS | CHOICES | MODELS | LIBRARIES | SEARCHES | AUTOMM | METRICS | TABLES


@pytest.mark.filterwarnings("ignore::crosslens.errors.UncalibratedWarning")
@pytest.mark.parametrize("what", PROMISES)
def test_an_error_names_the_input_and_the_way_out(what: str, place: Place) -> None:
    does, kind, names, remedy = PROMISES[what]
    with pytest.raises(CrosslensError) as caught:
        does(place)
    error = caught.value
    assert type(error) is kind
    assert names in error.problem
    assert remedy in error.remedy
    assert str(error) == f"{error.problem}. {error.remedy}."
    assert str(Path(crosslens.__file__).parent) not in str(error)


def test_every_error_and_warning_has_a_promise() -> None:
    held = {kind.__name__ for _, kind, _, _ in PROMISES.values()} | set(ELSEWHERE)
    held |= {kind.__name__ for _, kind, _, _ in WARNINGS.values()} | {"MissingExtraError"}
    leaves = {
        name for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, CrosslensError | CrosslensWarning)
        and not kind.__subclasses__()
    }  # fmt: skip
    assert leaves - held == set()


@pytest.mark.parametrize(
    ("module", "extra", "does"),
    [
        ("scipy.optimize", "eval", lambda at: at.fake.match(RED, "red")),
        ("pytrec_eval", "eval", lambda _: ranking_metrics({"q": ["a"]}, [("q", "a", 1)])),
        ("sklearn.metrics", "eval", lambda _: pair_metrics([0, 1], [0, 1])),
        ("pandas", "pandas", lambda at: at.predictor().extract_embedding(["red"], as_pandas=True)),
        ("pyarrow", "parquet", lambda at: list(read_table(at / "t.parquet"))),
        ("pyarrow", "parquet", lambda at: write_vectors(at / "o.parquet", ["a"], np.ones((1, 4)))),
    ],
)
def test_what_needs_an_extra_ends_with_the_line_that_installs_it(
    module: str, extra: str, does: Callable[[Place], object], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError) as caught:
        does(place)
    assert str(caught.value).endswith(f'is not installed: pip install "crosslens[{extra}]"')


# -- warnings -------------------------------------------------------------------------------------

UNFITTED = dataclasses.replace(
    FAKE_SPEC, name="unfitted", tokenizer_sha256="unfitted", match=None, match_names=None
)
WARNINGS: dict[str, Promise] = {
    "a text that is cut":
        (lambda at: at.fake.embed_texts(["red", "red " * 9]),
         TextTruncatedWarning, "text 1 ('red", "long_text='mean'"),
    "a script that the model never saw":
        (lambda at: at.fake.embed_texts(["red", "пёс"]),
         UnseenScriptWarning, "text 1 ('пёс')", "It reads LATIN"),
    "a picture that is marked":
        (lambda at: at.fake.embed_images([at / "gone.png"], "mark"),
         ImageSkippedWarning, "gone.png", "on_error='skip'"),
    "a model without a fit":
        (lambda _: Matcher(type("Unfitted", (FakeModel,), {"spec": UNFITTED})()).predict_proba(RED, "red"),
         UncalibratedWarning, "unfitted", "Matcher.calibrate"),
    "texts with texts":
        (lambda at: at.predictor(problem_type="text_similarity").predict(pairs(at, picture=["red"])),
         UncalibratedWarning, "text_similarity", "a guess"),
    "hyperparameters of another training":
        (lambda at: at.predictor(hyperparameters={"a.checkpoint_name": "fake", "optim.top_k": 1}),
         CrosslensWarning, "optim.top_k", "without effect"),
}  # fmt: skip


@pytest.mark.parametrize("what", WARNINGS)
def test_a_warning_names_the_input_and_what_it_means(what: str, place: Place) -> None:
    does, kind, names, remedy = WARNINGS[what]
    with pytest.warns(CrosslensWarning) as caught:
        does(place)
    (warning,) = caught
    assert warning.category is kind
    assert names in str(warning.message)
    assert remedy in str(warning.message)
    assert warning.filename == __file__  # it points at who called


# -- the command line -----------------------------------------------------------------------------


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """The command line in this process."""
    monkeypatch.setattr("crosslens.cli.app._prepare_streams", lambda: None)  # pytest's own cannot be changed
    terminate = signal.getsignal(signal.SIGTERM)
    yield lambda *arguments: main([str(argument) for argument in arguments])
    signal.signal(signal.SIGTERM, terminate)


@pytest.mark.parametrize(
    ("command", "status", "names", "remedy"),
    [
        ("search -L {at}/library {at}/red.png", 1, "red.png' is a file", "--image"),
        ("search -L {at}/library --queries {at}/blank.txt", 1, "blank.txt", "one search to a line"),
        ("search -L {at}/library --queries {at}/latin.txt", 1, "latin.txt: line 1", "as UTF-8"),
        ("search -L {at}/library red --queries {at}/blank.txt", 2, "--queries stands alone", "give no TEXT"),
        ("search -L {at}/library --image a --image b", 2, "--image", "once"),
        ("search -L {at}/library red -k 0", 2, "'-k'", "greater than or equal to 1"),
        ("index -L {at}/new --model startr {at}/pictures", 1, "'startr'", "Did you mean starter?"),
        ("classify {at}/red.png --model fake", 1, "no labels", "--labels FILE"),
        ("embed {at}/gone --out {at}/out.npy --model fake", 1, "gone: there is no", "Check the spelling"),
        ("embed {at}/red.png --out {at}/out.txt --model fake", 1, "out.txt", ".npy"),
        ("embed --out {at}/out.npy --model fake", 2, "pictures", "--texts FILE"),
        ("match {at}/t.csv --image-column a --text-column b --model fake", 1, "t.csv: row 1", "'a', 'c'"),
        ("remove -L {at}/library {at}/gone", 1, "gone is not in library", "crosslens list"),
    ],
)  # fmt: skip
def test_a_mistake_on_the_command_line_says_what_to_type(
    command: str, status: int, names: str, remedy: str, place: Place, run: Callable[..., int], capsys: Any
) -> None:
    place.write("blank.txt", "\n \n")
    place.write("latin.txt", b"caf\xe9\n")
    place.write("t.csv", "a,c\nred.png,red\n")
    assert run(*(part.format(at=place.folder) for part in command.split())) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert names in err
    assert remedy in err
