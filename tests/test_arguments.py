"""Every public function with arguments of every kind: it keeps its promise, or raises an error of crosslens.

TypeError and ValueError pass too, for what is of a wrong type altogether, such as None for a list; anything
else (AttributeError, IndexError, UnicodeError, a warning of NumPy's) is a fault.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from crosslens import Hit, Label, Library, Limits, Matcher, semantic_search, softmax_confidence
from crosslens.automm import MultiModalPredictor
from crosslens.errors import CrosslensError, CrosslensWarning
from crosslens.evaluation.metrics import Labels, Table, judgements, pair_metrics, ranking_metrics
from crosslens.texts.tabular_files import column, read_table, write_vectors
from crosslens.towers.fake_model import COLOURS, FakeModel

FAKE = {"model.clip.checkpoint_name": "fake"}
REFUSED = object()

some = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


def call(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """What a function returns, or REFUSED."""
    with warnings.catch_warnings():  # pytest makes errors of all others
        warnings.simplefilter("ignore", CrosslensWarning)
        try:
            return function(*arguments, **named)
        except (CrosslensError, TypeError, ValueError) as error:
            # Not what descends from them elsewhere, such as UnicodeError.
            if not isinstance(error, CrosslensError) and type(error) not in (TypeError, ValueError):
                raise
    return REFUSED


# -- what is passed in ----------------------------------------------------------------------------


def mostly(meant: st.SearchStrategy[Any], other: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What is meant, three times of four; else something other."""
    return st.integers(0, 3).flatmap(lambda number: meant if number else other)


HUGE = st.builds(lambda: 10**400)  # written out by nobody
LONG = st.sampled_from("x/").map(lambda character: character * 5000)
WORDS = (
    "", " ", "\0", "a\0b", "\ud800", "\u200d", "\n", "red", "blue sky", "red.png", "пёс", "a {}", "~",
    "~nobody/x", "data:,", "data:;base64,AAAA", "image", "text", "query", "cosine", "recall",
    "starter", "fake", "a.npy",
)  # fmt: skip
STRINGS = st.one_of(st.sampled_from(WORDS), st.text(st.characters(), max_size=6))
WHOLE = st.one_of(st.integers(-3, 5), st.sampled_from([2**31, 2**63 - 1, -(2**63)]))
NUMBERS = st.one_of(WHOLE, HUGE, st.floats(), st.booleans(), st.complex_numbers(), st.just(np.int64(2)))
ARRAYS = arrays.arrays(
    st.sampled_from([np.uint8, np.float32, np.int64, object, np.bool_, "U3", np.complex64, "M8[s]"]),
    arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3),
)
PICTURES = st.builds(lambda: np.full((4, 3, 3), 99, np.uint8)) | st.builds(lambda: Image.new("RGB", (3, 2)))
OTHERS = st.one_of(
    st.none(), st.binary(max_size=6), st.builds(object), st.just(Path("red")), st.just(Path()), st.dates(),
    st.builds(lambda: io.BytesIO(b"x")), st.builds(lambda: io.StringIO("x")),
)  # fmt: skip
ONE = st.one_of(STRINGS, LONG, NUMBERS, ARRAYS, PICTURES, OTHERS)
SEVERAL = st.one_of(
    st.lists(ONE, max_size=3),
    st.tuples(ONE, ONE),
    st.dictionaries(STRINGS | st.integers(0, 3), ONE | st.lists(ONE, max_size=2), max_size=2),
    st.sets(STRINGS, max_size=2),
    st.lists(ONE, max_size=2).map(iter),
)
ANYTHING = ONE | SEVERAL
WRITTEN = st.sampled_from(["red", "blue sky", "пёс", "a {}", "red.png", "x y " * 2000, "\u200d", "a\0b"])
TEXTS = mostly(st.lists(WRITTEN, max_size=3) | WRITTEN, st.lists(STRINGS, max_size=3) | ANYTHING)
IMAGES = mostly(st.lists(PICTURES, max_size=3) | PICTURES, st.lists(PICTURES | ONE, max_size=3) | ANYTHING)
K = mostly(st.integers(1, 9) | HUGE, ONE)


def one_of(*words: str | None) -> st.SearchStrategy[Any]:
    """One of the words that are meant, or something else."""
    return mostly(st.sampled_from(words), ONE)


@pytest.fixture(scope="module", autouse=True)
def empty_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder to be in, so that no string names anything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("place"))
        yield Path.cwd()


@pytest.fixture(scope="module")
def model() -> Matcher:
    """The fake one; a module's, as hypothesis wants it."""
    return Matcher(FakeModel())


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a picture of every colour."""
    folder = tmp_path_factory.mktemp("coloured")
    for colour, rgb in COLOURS.items():
        Image.new("RGB", (8, 8), tuple(int(255 * part) for part in rgb)).save(folder / f"{colour}.png")
    return folder


@pytest.fixture(scope="module")
def library(model: Matcher, coloured: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """A library of those pictures and of two texts."""
    table = tmp_path_factory.mktemp("table") / "texts.csv"
    table.write_text("text\nred\nblue sky\n")
    with Library.open(tmp_path_factory.mktemp("library"), model) as library:
        library.index([coloured, table], text_column="text")
        yield library


def check_embeddings(vectors: Any, count: int | None = None) -> None:
    assert vectors.dtype == np.float32
    assert vectors.ndim == 2
    assert vectors.shape[1] == 4
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1)
    assert count is None or len(vectors) == count


def length(items: Any) -> int | None:
    """How many rows a list must have; None for what is no list."""
    return len(items) if isinstance(items, list | tuple) else None


# -- softmax_confidence ---------------------------------------------------------------------------


@some
@given(
    mostly(st.lists(st.floats(), min_size=1) | arrays.arrays(np.float64, (2, 3)), ANYTHING),
    mostly(st.floats(0, 1e300), ONE),
)
def test_confidence_sums_to_one_for_whatever_is_finite(similarities: Any, scale: Any) -> None:
    confidence = call(softmax_confidence, similarities, scale)
    if confidence is not REFUSED:
        given_ = np.asarray(similarities, np.float64)
        assert confidence.dtype == np.float64
        assert confidence.shape == given_.shape
        finite = np.isfinite(given_).all(axis=-1)
        assert confidence.sum(axis=-1)[finite] == pytest.approx(1)
        assert ((confidence >= 0) & (confidence <= 1))[finite].all()


# -- Matcher --------------------------------------------------------------------------------------


@some
@given(
    mostly(st.sampled_from(["fake", "starter"]), STRINGS | NUMBERS | ARRAYS | OTHERS), one_of("auto", "f32")
)
def test_a_model_is_opened_or_refused(name: Any, precision: Any) -> None:
    matcher = call(Matcher, name, precision=precision)
    assert matcher is REFUSED or matcher.spec.name in ("fake", "starter")


@some
@given(mostly(st.integers(1), ONE), mostly(st.integers(1), ONE), ONE)
def test_limits_are_whole_numbers(max_bytes: Any, max_pixels: Any, other: Any) -> None:
    limits = call(Limits, max_bytes, max_pixels)
    if limits is not REFUSED:
        vectors = call(Matcher(FakeModel(), limits=limits).embed_images, [np.zeros((2, 2, 3), np.uint8)])
        assert vectors is REFUSED or vectors.shape == (1, 4)
    assert call(Matcher, FakeModel(), limits=other) is REFUSED


@some
@given(images=IMAGES, on_error=one_of("raise", "mark", "skip"))
def test_pictures_are_embedded_row_by_row(model: Matcher, images: Any, on_error: Any) -> None:
    found = call(model.embed_images, images, on_error)
    if found is REFUSED:
        return
    if on_error == "skip":
        check_embeddings(found.vectors, len(found.rows))
        assert (np.diff(found.rows) > 0).all()
        assert length(images) in (None, len(found.rows) + len(found.failures))
    else:
        check_embeddings(found[~np.isnan(found).any(axis=1)])
        assert length(images) in (None, len(found))
        assert on_error == "mark" or not np.isnan(found).any()


@some
@given(texts=TEXTS, long_text=one_of("truncate", "mean", "error"))
def test_texts_are_embedded_row_by_row(model: Matcher, texts: Any, long_text: Any) -> None:
    vectors = call(model.embed_texts, texts, long_text)
    if vectors is not REFUSED:
        check_embeddings(vectors, length(texts))


@some
@given(data=IMAGES | TEXTS, modality=one_of(None, "image", "text"))
def test_lists_are_embedded_as_what_they_hold(model: Matcher, data: Any, modality: Any) -> None:
    vectors = call(model.embed, data, modality)
    if vectors is not REFUSED:
        assert modality is None or modality in ("image", "text")
        check_embeddings(vectors, length(data))


@some
@given(images=IMAGES, texts=TEXTS)
def test_pictures_are_compared_with_texts(model: Matcher, images: Any, texts: Any) -> None:
    cosines = call(model.similarity, images, texts)
    if cosines is not REFUSED:
        assert cosines.dtype == np.float32
        assert length(images) in (None, len(cosines))
        assert length(texts) in (None, cosines.shape[1])
        assert (np.abs(cosines) <= 1).all()


@some
@given(images=IMAGES, texts=TEXTS)
def test_pairs_are_assigned_one_to_one(model: Matcher, images: Any, texts: Any) -> None:
    pytest.importorskip("scipy")
    pairs = call(model.match, images, texts)
    if pairs is not REFUSED:
        for places in ([pair.image for pair in pairs], [pair.text for pair in pairs]):
            assert len(set(places)) == len(places)


@some
@given(image=mostly(PICTURES, ONE), texts=TEXTS)
def test_texts_are_ranked_all_of_them(model: Matcher, image: Any, texts: Any) -> None:
    check_ranked(call(model.rank, image, texts), texts)


@some
@given(images=IMAGES, labels=TEXTS, templates=mostly(st.just(["a {}"]), TEXTS))
def test_labels_are_ranked_all_of_them(model: Matcher, images: Any, labels: Any, templates: Any) -> None:
    rows = call(model.classify, images, labels, templates)
    if rows is not REFUSED:
        assert length(images) in (None, len(rows))
        for row in rows:
            check_ranked(row, labels)


def check_ranked(labels: list[Label] | object, texts: Any) -> None:
    if isinstance(labels, list):
        assert sorted(label.index for label in labels) == list(range(len(labels)))
        assert length(texts) in (None, len(labels))
        assert sum(label.confidence for label in labels) == pytest.approx(1)
        similarities = [label.similarity for label in labels]
        assert similarities == sorted(similarities, reverse=True)


@some
@given(
    images=IMAGES,
    texts=TEXTS,
    probability=one_of("calibrated", "automm"),
    threshold=mostly(st.floats(0, 1), ONE),
)
def test_pairs_have_probabilities_and_labels(
    model: Matcher, images: Any, texts: Any, probability: Any, threshold: Any
) -> None:
    proba = call(model.predict_proba, images, texts, probability)
    if proba is not REFUSED:
        assert proba.dtype == np.float64
        assert proba.shape == (len(proba), 2)
        assert proba.sum(axis=1) == pytest.approx(1)
    labels = call(model.predict, [np.zeros((2, 2), np.uint8)] * 2, ["red", "black"], threshold)
    if labels is not REFUSED:
        assert labels.dtype == np.int64
        assert labels.shape == (2,)


@some
@given(labels=mostly(st.permutations([0, 1]), ANYTHING))
def test_a_fit_is_finite(labels: Any) -> None:
    fit = call(
        Matcher(FakeModel()).calibrate,
        [(np.zeros((2, 2), np.uint8), "red"), (np.zeros((2, 2), np.uint8), "black")],
        labels,
        save=False,
    )
    assert fit is REFUSED or np.isfinite([fit.a, fit.b]).all()


# -- Library --------------------------------------------------------------------------------------


@some
@given(folder=ONE, model=st.none() | ONE)
def test_opening_a_library_makes_nothing(folder: Any, model: Any) -> None:
    before = os.listdir()
    library = call(Library.open, folder, model)
    if library is not REFUSED:
        assert isinstance(library.folder, Path)
        library.close()
    assert os.listdir() == before


def check_hits(hits: Any, k: Any = None) -> None:
    if hits is not REFUSED:
        assert all(isinstance(hit, Hit) and -1 <= hit.score <= 1 for hit in hits)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert k is None or len(hits) <= k


@some
@given(
    text=mostly(st.none() | WRITTEN, ANYTHING),
    image=mostly(st.none() | PICTURES, ONE),
    without=mostly(st.none(), TEXTS),
    k=K,
    kind=one_of(None, "image", "text"),
)
def test_a_search_finds_at_most_k(
    library: Library, text: Any, image: Any, without: Any, k: Any, kind: Any
) -> None:
    check_hits(call(library.search, text, image=image, without=without, k=k, kind=kind), k)
    check_hits(call(library.search, "red", k=k), k)
    check_hits(call(library.search, "red", kind=kind), 10)


@some
@given(texts=TEXTS, k=K, kind=one_of(None, "image", "text"))
def test_many_searches_give_a_list_to_a_text(library: Library, texts: Any, k: Any, kind: Any) -> None:
    found = call(library.search_many, texts, k, kind)
    if found is not REFUSED:
        assert length(texts) in (None, len(found))
        for hits in found:
            check_hits(hits, k)


@some
@given(number=mostly(st.integers(1, 12), ANYTHING))
def test_an_item_is_there_or_not(library: Library, number: Any) -> None:
    hit = call(library.get, number)
    assert hit is REFUSED or hit is None or hit.id == number


@some
@given(targets=mostly(st.lists(st.integers(1, 12), max_size=2), st.lists(ONE) | ONE))
def test_removing_counts_what_it_removes(library: Library, coloured: Path, targets: Any) -> None:
    before = library.stats().items
    count = call(library.remove, targets)
    assert before - library.stats().items == (0 if count is REFUSED else count)
    if count not in (REFUSED, 0):
        library.index()


@some
@given(images=IMAGES, texts=TEXTS, names=mostly(st.none(), TEXTS))
def test_adding_gives_an_id_to_each(library: Library, images: Any, texts: Any, names: Any) -> None:
    before = library.stats().items
    for arguments in ({"images": images, "texts": texts}, {"images": images}, {"texts": texts}):
        ids = call(library.add, **arguments, names=names)
        if ids is REFUSED:
            assert library.stats().items == before
        else:
            assert all(library.get(number).id == number for number in ids)
            library.remove(set(ids))


@some
@given(sources=TEXTS, text_column=st.none() | ONE)
def test_sources_that_are_nowhere_are_refused(library: Library, sources: Any, text_column: Any) -> None:
    before = library.stats()
    report = call(library.index, sources, text_column=text_column)
    assert report is REFUSED or library.stats().items == before.items


# -- semantic_search ------------------------------------------------------------------------------

VECTORS = arrays.arrays(np.float32, (2, 3), elements=st.floats(-2, 2, width=32))


@some
@given(
    sides=st.lists(mostly(VECTORS | st.none(), ANYTHING), min_size=4, max_size=4),
    chunks=st.tuples(K, K),
    top_k=K,
    mappings=mostly(st.just(["a", "b"]) | st.just({0: "a", 1: None}), ANYTHING),
    similarity=one_of("cosine", "dot_prod"),
    matcher=st.booleans() | ONE,
)
def test_a_search_in_memory_gives_at_most_top_k_to_a_query(
    model: Matcher, sides: Any, chunks: Any, top_k: Any, mappings: Any, similarity: Any, matcher: Any
) -> None:
    check = {"query_embeddings": np.eye(2), "response_embeddings": np.eye(2)}
    names = ("query_data", "response_data", "query_embeddings", "response_embeddings")
    named = {"query_chunk_size": chunks[0], "response_chunk_size": chunks[1], "top_k": top_k}
    call(semantic_search, model if matcher is True else matcher, **dict(zip(names, sides, strict=True)))
    call(semantic_search, model, query_data=sides[0], response_embeddings=sides[3])
    for options in (named, {"id_mappings": mappings}, {"similarity_type": similarity}):
        found = call(semantic_search, **check, **options)
        if found is not REFUSED:
            assert [len(line) for line in found] == [min(2, options.get("top_k", 2))] * 2
            assert all(set(hit) == {"response_id", "score"} for line in found for hit in line)


# -- automm ---------------------------------------------------------------------------------------

PROBLEMS = ("image_text_similarity", "text_similarity", "image_similarity")
TWO_TEXTS = st.lists(WRITTEN, min_size=2, max_size=2)
COLUMN = st.lists(WRITTEN | PICTURES | ONE, max_size=2) | ANYTHING
PAIRS = mostly(
    st.fixed_dictionaries(
        {"query": st.lists(PICTURES, min_size=2, max_size=2) | TWO_TEXTS, "response": TWO_TEXTS}
    ),
    st.fixed_dictionaries({"query": COLUMN, "response": COLUMN}) | ANYTHING,
)
MAPPINGS = mostly(st.none(), st.fixed_dictionaries({"query": ANYTHING}) | ANYTHING)


@pytest.fixture(scope="module")
def predictors() -> list[MultiModalPredictor]:
    """One of pictures with texts, one of texts with texts."""
    return [
        MultiModalPredictor(problem_type=problem, query="query", response="response", hyperparameters=FAKE)
        for problem in PROBLEMS[:2]
    ]


@some
@given(
    named=st.fixed_dictionaries(
        {},
        optional={
            "label": ANYTHING, "query": ANYTHING, "response": ANYTHING, "match_label": ANYTHING,
            "classes": ANYTHING, "presets": STRINGS | SEVERAL, "hyperparameters": SEVERAL | st.just(FAKE),
        },
    ),
    problem=one_of(*PROBLEMS),
)  # fmt: skip
def test_a_predictor_is_made_or_refused(named: dict[str, Any], problem: Any) -> None:
    predictor = call(MultiModalPredictor, problem_type=problem, **named)
    assert predictor is REFUSED or len(predictor.class_labels) == 2


@some
@given(
    data=PAIRS | TEXTS,
    mappings=MAPPINGS,
    signature=one_of(None, "query", "response"),
    modality=one_of(None, "image", "text"),
    as_pandas=st.booleans(),
)
def test_a_predictor_embeds(
    predictors: Any, data: Any, mappings: Any, signature: Any, modality: Any, as_pandas: bool
) -> None:
    for predictor in predictors:
        for named in ({"signature": signature}, {"modality": modality}, {"id_mappings": mappings}):
            found = call(predictor.extract_embedding, data, as_pandas=as_pandas, **named)
            if found is not REFUSED:
                check_embeddings(np.asarray(found), length(data))


@some
@given(
    data=PAIRS,
    mappings=MAPPINGS,
    threshold=mostly(st.just(0.5), ONE),
    probability=one_of(None, "calibrated", "automm"),
)
def test_a_predictor_predicts(
    predictors: Any, data: Any, mappings: Any, threshold: Any, probability: Any
) -> None:
    for predictor in predictors:
        proba = call(predictor.predict_proba, data, id_mappings=mappings, probability=probability)
        if proba is not REFUSED:
            assert proba.shape == (len(proba), 2)
            assert proba.sum(axis=1) == pytest.approx(1)
        labels = call(predictor.predict, data, threshold=threshold)
        assert labels is REFUSED or set(labels.tolist()) <= {0, 1}


METRICS = mostly(st.just(None), st.lists(st.sampled_from(["f1", "log_loss", "ndcg", "mrr"])) | ANYTHING)
CUTOFFS = mostly(st.lists(st.integers(1) | HUGE, min_size=1), st.lists(NUMBERS, max_size=2) | ANYTHING)


@some
@given(
    data=PAIRS, labels=mostly(st.permutations([0, 1]), ANYTHING), metrics=METRICS,
    cutoffs=CUTOFFS, chunk=K,
    qrels=mostly(st.just([("red", "red")]), st.lists(st.tuples(st.just("red"), ONE, ONE)) | ANYTHING),
    threshold=mostly(st.just(0.5), ONE),
)  # fmt: skip
def test_a_predictor_evaluates(
    predictors: Any,
    data: Any,
    labels: Any,
    metrics: Any,
    cutoffs: Any,
    qrels: Any,
    chunk: Any,
    threshold: Any,
) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("pytrec_eval")
    texts = predictors[1]
    pairs = {"query": ["red", "blue"], "response": ["red", "red"], "label": labels}
    ranking = {"query_data": ["red"], "response_data": ["red", "a blue one"]}
    for values in (
        call(texts.evaluate, data, metrics=metrics),
        call(texts.evaluate, pairs, metrics=metrics, threshold=threshold),
        call(texts.evaluate, qrels, **ranking, metrics=metrics, cutoffs=cutoffs),
        call(texts.evaluate, [("red", "red", 1)], **ranking, chunk_size=chunk, cutoffs=cutoffs),
        call(texts.evaluate, [("red", "red")], query_data=data, response_data=["red"]),
    ):
        assert values is REFUSED or all(isinstance(value, float) and value >= 0 for value in values.values())


# -- evaluate -------------------------------------------------------------------------------------

IDS = st.none() | STRINGS | st.integers(0, 3) | st.tuples(st.integers(0, 2))


@some
@given(
    rankings=mostly(st.dictionaries(IDS, st.lists(IDS, max_size=3, unique=True), max_size=2), ANYTHING),
    qrels=mostly(
        st.lists(st.tuples(IDS, IDS, mostly(st.integers(0, 10**6), st.integers() | ONE)), max_size=2),
        ANYTHING,
    ),
    metrics=mostly(st.lists(st.sampled_from(["recall", "precision", "ndcg", "map", "mrr"])), ANYTHING),
    cutoffs=CUTOFFS,
)
def test_ranking_metrics_lie_between_0_and_1(rankings: Any, qrels: Any, metrics: Any, cutoffs: Any) -> None:
    pytest.importorskip("pytrec_eval")
    known = {"q": ["a", "b"]}
    for arguments in (
        (rankings, qrels, metrics, cutoffs),
        (
            known,
            [("q", *row[1:]) for row in qrels if isinstance(row, tuple)]
            if isinstance(qrels, list)
            else qrels,
        ),
        (known, [("q", "a", 1)], metrics, cutoffs),
    ):
        values = call(ranking_metrics, *arguments)
        assert values is REFUSED or all(0 <= value <= 1 for value in values.values())


@pytest.mark.parametrize("relevance", [-1, -8144, 2**31 - 1, 2**40, 2**63, 10**400, "1", None])
def test_a_relevance_that_would_end_the_process_is_refused(relevance: Any) -> None:
    assert call(ranking_metrics, {"q": ["a"]}, [("q", "a", relevance)], ["ndcg"]) is REFUSED


@some
@given(
    labels=mostly(st.permutations([0, 1]), ANYTHING),
    probabilities=mostly(st.lists(st.floats(0, 1), min_size=2, max_size=2), ANYTHING),
    metrics=mostly(st.lists(st.sampled_from(["roc_auc", "accuracy", "f1", "log_loss"])), ANYTHING),
    threshold=mostly(st.floats(0, 1), ONE),
)
def test_pair_metrics_are_numbers(labels: Any, probabilities: Any, metrics: Any, threshold: Any) -> None:
    pytest.importorskip("sklearn")
    for arguments in ((labels, probabilities, metrics, threshold), ([0, 1], probabilities, metrics)):
        values = call(pair_metrics, *arguments)
        assert values is REFUSED or all(np.isfinite(value) and value >= 0 for value in values.values())


@some
@given(
    data=PAIRS, name=one_of("query"), mappings=MAPPINGS,
    both=mostly(st.none(), st.lists(IDS | st.floats(), max_size=3) | OTHERS),
    match=mostly(st.none(), IDS | ONE), labels=mostly(st.lists(st.integers(0, 1)), ANYTHING),
    rows=mostly(st.lists(st.tuples(st.just("a"), st.just("b") | ONE), max_size=2), ANYTHING),
)  # fmt: skip
def test_columns_labels_and_judgements_come_out_whole(
    data: Any, name: Any, mappings: Any, both: Any, match: Any, labels: Any, rows: Any
) -> None:
    values = call(lambda: Table.of(data, "data").column(name, mappings))
    assert values is REFUSED or isinstance(values, list)
    marks = call(lambda: Labels.of(both, match).matches(labels))
    assert marks is REFUSED or set(marks.tolist()) <= {0, 1}
    found = call(lambda: list(judgements(rows, ("query", "response", None), ["a"], ["b"])))
    assert found is REFUSED or all(len(row) == 3 for row in found)


# -- tables ---------------------------------------------------------------------------------------

PIECES = (
    b"a", b",", b'"', b"\t", b"\n", b"\r", b"\0", b'{"a": 1}', b'{"a": NaN}', b"{", b"[]", b"\xff",
    b"\xef\xbb\xbf", b'{"a": "\\ud800"}', b"1" * 5000, b"[" * 100_000, b"x" * 200_000, b"PAR1",
)  # fmt: skip


@some
@given(st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet", ".txt"]), st.lists(st.sampled_from(PIECES)))
def test_any_bytes_are_a_table_or_refused(suffix: str, pieces: list[bytes]) -> None:
    path = f"table{suffix}"
    Path(path).write_bytes(b"".join(pieces))
    rows = call(lambda: list(column(read_table(path), "a", path)))
    assert rows is REFUSED or all(isinstance(value, str) for _, value in rows)
    Path(path).unlink()


@some
@given(STRINGS | ONE)
def test_a_table_that_is_nowhere_is_refused(path: Any) -> None:
    assert call(lambda: list(read_table(path))) is REFUSED


@some
@given(
    mostly(
        st.sampled_from(["out.npy", "out.safetensors", "out.parquet"]),
        st.just("nowhere/out.npy") | LONG | OTHERS,
    ),
    mostly(st.lists(STRINGS, min_size=2, max_size=2), ANYTHING),
    mostly(VECTORS, ANYTHING),
)
def test_vectors_are_written_whole_or_not_at_all(path: Any, ids: Any, vectors: Any) -> None:
    for module in ("safetensors", "pyarrow"):
        pytest.importorskip(module)
    try:
        written = call(write_vectors, path, ids, vectors)
    except OSError:  # as it says
        written = REFUSED
    found = set(os.listdir()) - {"out.ids.json"}
    assert found == (set() if written is REFUSED else {path})
    for name in os.listdir():
        os.unlink(name)
