"""AutoMM's names, over the model whose vectors can be worked out by hand."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import crosslens
from crosslens.automm import PRESETS, MultiModalPredictor, embedding, hyperparameters, semantic_search
from crosslens.errors import (
    CrosslensWarning,
    ImageError,
    InputError,
    MissingExtraError,
    TextError,
    UncalibratedWarning,
    UnknownModelError,
)

FAKE = {"model.clip.checkpoint_name": "fake"}
COLOURS = ["red", "green", "blue", "yellow", "red"]
# What a developer has today, with only the imports changed; image_idx and query_idx are theirs.
VERBATIM = """
predictor = MultiModalPredictor(problem_type="image_text_similarity")
image_embeddings = predictor.extract_embedding(image_paths, as_tensor=True)
text_embeddings = predictor.extract_embedding(texts, as_tensor=True)
hits = semantic_search(matcher=predictor, query_embeddings=text_embeddings[query_idx][None,], response_embeddings=image_embeddings, top_k=5)
hits_of_text = hits
hits = semantic_search(matcher=predictor, query_embeddings=image_embeddings[image_idx][None,], response_embeddings=text_embeddings, top_k=5)
predictor = MultiModalPredictor(query="abc", response="xyz", problem_type="image_text_similarity")
pred = predictor.predict({"abc": [image_paths[4]], "xyz": [texts[3]]})
proba = predictor.predict_proba({"abc": [image_paths[4]], "xyz": [texts[3]]})
"""  # noqa: E501 (verbatim)


@pytest.fixture(autouse=True)
def fresh_notices() -> Iterator[None]:
    """What is said once is said once in every test."""
    embedding._say_once.cache_clear()
    yield
    embedding._say_once.cache_clear()


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)


@pytest.fixture
def images(pictures: Path) -> list[str]:
    return [str(pictures / f"{colour}.png") for colour in COLOURS]


def predictor(**arguments: Any) -> MultiModalPredictor:
    arguments = {"problem_type": "image_text_similarity", "hyperparameters": FAKE} | arguments
    return MultiModalPredictor(**arguments)


def pairs(**arguments: Any) -> MultiModalPredictor:
    return predictor(query="picture", response="caption", **arguments)


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


@pytest.mark.usefixtures("without_torch")
def test_code_written_for_automm_runs_with_only_its_imports_changed(images: list[str]) -> None:
    names: dict[str, Any] = {
        "MultiModalPredictor": MultiModalPredictor, "semantic_search": semantic_search, "image_paths": images,
        "texts": ["something red", "a green leaf", "the blue sea", "a yellow sun", "a dog"],
        "query_idx": 2, "image_idx": 1,
    }  # fmt: skip
    with pytest.warns(CrosslensWarning, match=r'torch.*pip install "crosslens\[torch\]"$') as caught:
        exec(VERBATIM, names)  # noqa: S102
    assert len(caught) == 1
    assert isinstance(names["image_embeddings"], np.ndarray)
    assert [len(hits) for hits in (*names["hits_of_text"], *names["hits"])] == [5, 5]
    assert names["pred"].shape == (1,)
    assert names["pred"][0] in (0, 1)
    assert names["proba"].shape == (1, 2)
    assert names["proba"].sum() == pytest.approx(1)


def test_as_tensor_gives_what_torch_makes_of_the_array(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tensor:
        def __init__(self, array: np.ndarray) -> None:
            self.array = array

    torch = ModuleType("torch")
    torch.from_numpy = Tensor  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    tensor = predictor().extract_embedding(["red"], as_tensor=True)
    assert isinstance(tensor, Tensor)
    np.testing.assert_array_equal(tensor.array, [[1, 0, 0, 0]])


def test_embeddings_keep_the_order_of_the_list(images: list[str]) -> None:
    from_images = predictor().extract_embedding(images)
    assert from_images.dtype == np.float32
    np.testing.assert_allclose(from_images, predictor().extract_embedding(COLOURS), atol=1e-6)
    assert predictor().extract_embedding([]).shape == (0, 4)


def test_a_predictor_is_the_matcher_of_a_search(images: list[str]) -> None:
    hits = semantic_search(matcher=predictor(), query_data=["blue"], response_data=images, top_k=1)
    assert hits == [[{"response_id": 2, "score": pytest.approx(1)}]]


def test_a_list_that_mixes_pictures_and_texts_is_refused_by_row(images: list[str]) -> None:
    with pytest.raises(InputError, match="row 0 are pictures, row 1 are not"):
        predictor().extract_embedding([images[0], "a red wall"])


def test_a_picture_that_is_not_there_is_never_embedded_as_a_text(images: list[str]) -> None:
    with pytest.raises(InputError, match=r"row 1: there is no picture 'gone/green\.png'"):
        predictor().extract_embedding(["red", "gone/green.png"])
    with pytest.raises(InputError, match="'picture', row 0: there is no picture"):
        pairs().predict({"picture": ["gone.jpg"], "caption": ["red"]})
    as_text = predictor().extract_embedding(["gone/green.png"], modality="text")
    assert as_text.shape == (1, 4)
    with pytest.raises(TextError, match="is the path of a picture"):
        predictor(problem_type="text_similarity").extract_embedding(images)


def test_a_picture_that_cannot_be_read_is_an_error_that_names_it(images: list[str], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"broken\.png"):
        predictor().extract_embedding([images[0], str(broken)])


def test_a_missing_value_is_an_error_that_names_its_row(images: list[str]) -> None:
    with pytest.raises(InputError, match="column 'caption', row 1 is missing"):
        pairs().predict({"picture": images[:2], "caption": ["red", None]})


def test_the_probability_of_a_match_is_the_models_fit(images: list[str]) -> None:
    proba = pairs().predict_proba({"picture": images[:2], "caption": ["red", "red"]})
    assert proba.dtype == np.float64
    expected = [sigmoid(10 * 1 - 5), sigmoid(10 * 0 - 5)]
    np.testing.assert_allclose(proba, [[1 - p, p] for p in expected], atol=1e-6)


def test_automms_own_probability_can_be_asked_for(images: list[str]) -> None:
    data = {"picture": images[:2], "caption": ["red", "red"]}
    for proba in (
        pairs().predict_proba(data, probability="automm"),
        pairs(probability="automm").predict_proba(data),
    ):
        np.testing.assert_allclose(proba, [[0, 1], [0.5, 0.5]], atol=1e-6)
    second = pairs().predict_proba(data, as_multiclass=False, probability="automm")
    np.testing.assert_allclose(second, [1, 0.5], atol=1e-6)


def test_a_prediction_is_1_where_a_match_is_likely_enough(images: list[str]) -> None:
    data = {"picture": images[:2] + images[3:4], "caption": ["red", "red", "red"]}  # cosines 1, 0, 1/√2
    assert pairs().predict(data).tolist() == [1, 0, 1]
    assert pairs().predict(data, threshold=0.95).tolist() == [1, 0, 0]
    assert pairs().predict(data).dtype == np.int64


def test_either_side_may_hold_the_pictures(images: list[str]) -> None:
    assert pairs().predict({"picture": ["red", "red"], "caption": images[:2]}).tolist() == [1, 0]


def test_the_match_label_is_predicted_for_matches(images: list[str]) -> None:
    data = {"picture": images[:2], "caption": ["red", "red"]}
    zero = pairs(match_label=0)
    assert zero.predict(data).tolist() == [0, 1]
    np.testing.assert_allclose(
        zero.predict_proba(data, probability="automm"), [[1, 0], [0.5, 0.5]], atol=1e-6
    )
    named = pairs(match_label="same", classes=["same", "other"])
    assert named.predict(data).tolist() == ["same", "other"]
    assert named.class_labels == ["same", "other"]
    assert named.predict_proba(data)[0, 0] > 0.9
    with pytest.raises(InputError, match=r"Give both.*classes="):
        pairs(match_label="same")


def test_no_pairs_give_no_rows() -> None:
    assert pairs().predict_proba({"picture": [], "caption": []}).shape == (0, 2)
    assert pairs().predict({"picture": [], "caption": []}).shape == (0,)


def test_two_columns_of_texts_are_no_pictures_and_texts() -> None:
    with pytest.raises(InputError, match="'picture' and 'caption' both hold texts"):
        pairs().predict({"picture": ["red"], "caption": ["red"]})


@pytest.mark.parametrize("probability", ["calibrated", "automm"])
def test_texts_are_compared_with_texts(probability: Any) -> None:
    texts = pairs(problem_type="text_similarity", probability=probability)
    if probability == "automm":
        assert texts.predict_proba({"picture": ["red"], "caption": ["red"]})[0, 1] == pytest.approx(1)
        return
    with pytest.warns(UncalibratedWarning, match="for text_similarity probabilities are a guess"):
        predicted = texts.predict({"picture": ["red", "red"], "caption": ["red", "blue"]})
    assert predicted.tolist() == [1, 0]


def test_pictures_are_compared_with_pictures(images: list[str]) -> None:
    both = pairs(problem_type="image_similarity", probability="automm")
    predicted = both.predict({"picture": images[:2], "caption": images[4:] + images[4:]}, threshold=0.9)
    assert predicted.tolist() == [1, 0]
    with pytest.raises(ImageError, match="red"):
        both.extract_embedding(["red"])
    with pytest.raises(ImageError, match="gone"):
        both.predict({"picture": ["gone"], "caption": ["gone"]})


def test_ids_stand_for_what_they_are_mapped_to(images: list[str]) -> None:
    mappings = {"picture": dict(zip("abcde", images, strict=True)), "caption": {7: "red", 8: "blue"}}
    assert pairs().predict({"picture": ["c", "a"], "caption": [8, 8]}, id_mappings=mappings).tolist() == [
        1,
        0,
    ]
    vectors = pairs().extract_embedding([8], id_mappings=mappings, signature="response")
    np.testing.assert_array_equal(vectors, [[0, 0, 1, 0]])
    with pytest.raises(InputError, match="row 1: id_mappings has nothing for the id 9"):
        pairs().extract_embedding([8, 9], id_mappings=mappings, signature="response")
    with pytest.raises(InputError, match="signature="):
        pairs().extract_embedding([8], id_mappings=mappings)


def test_the_signature_says_which_column_is_embedded(images: list[str]) -> None:
    data = {"picture": images[:1], "caption": ["blue"]}
    np.testing.assert_array_equal(pairs().extract_embedding(data), [[1, 0, 0, 0]])
    np.testing.assert_array_equal(pairs().extract_embedding(data, signature="response"), [[0, 0, 1, 0]])
    np.testing.assert_array_equal(predictor().extract_embedding({"any": ["blue"]}), [[0, 0, 1, 0]])
    with pytest.raises(InputError, match="'picture', 'caption'"):
        predictor().extract_embedding(data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"problem_type": "object_detection"}, "image_text_similarity, text_similarity, image_similarity"),
        ({"query": ["a", "b"]}, "query names 2 columns"),
        (
            {"hyperparameters": {"model.a.checkpoint_name": "x", "model.b.checkpoint_name": "y"}},
            "several models",
        ),
    ],
)
def test_what_cannot_be_served_is_refused_at_once(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        predictor(**arguments)


def test_arguments_that_steer_training_are_taken_and_have_no_effect() -> None:
    assert predictor(verbosity=0, path="anywhere").extract_embedding(["red"], realtime=True).shape == (1, 4)
    assert not Path("anywhere").exists()
    with pytest.raises(TypeError, match="colour"):
        predictor(colour="red")
    with pytest.warns(CrosslensWarning, match=r"without effect here: optim\.weight_decay"):
        predictor(hyperparameters=FAKE | {"optim.weight_decay": 1e-4})


def test_calls_that_have_no_meaning_here_are_refused_clearly(images: list[str]) -> None:
    with pytest.raises(InputError, match="return_masks"):
        predictor().extract_embedding(images, return_masks=True)
    with pytest.raises(InputError, match="both columns"):
        predictor().predict({"picture": images, "caption": COLOURS})


def test_a_model_is_found_by_preset_name_or_folder() -> None:
    starter = Path(crosslens.__file__).parent / "models" / "starter"
    assert predictor(hyperparameters=None).matcher.spec.name == "starter"
    assert predictor(hyperparameters=None, presets="default").matcher.spec.name == "starter"
    assert predictor(hyperparameters=None, presets=str(starter)).matcher.spec.name == "starter"
    assert predictor(presets="default").matcher.spec.name == "fake", "a checkpoint name has the last word"


def test_a_model_that_is_not_there_is_refused_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hyperparameters, "PRESETS", PRESETS | {"best_quality": "nobody/has-this"})
    with pytest.raises(UnknownModelError, match=r"'best_quality' stands for nobody/has-this.*starter"):
        predictor(hyperparameters=None, presets="best_quality")
    with pytest.raises(UnknownModelError, match=r"'no/such'.*starter.*folder.*Presets: default"):
        predictor(hyperparameters={"model.clip.checkpoint_name": "no/such"})


def test_pairs_are_evaluated_by_their_labels(images: list[str]) -> None:
    pytest.importorskip("sklearn")
    data = {"picture": images[:2], "caption": ["red", "red"], "fits": ["yes", "no"]}
    judge = pairs(label="fits", match_label="yes", classes=["no", "yes"])
    assert judge.evaluate(data) == {"roc_auc": 1.0}
    values, predicted = judge.evaluate(data, metrics=["accuracy", "f1"], return_pred=True)
    assert values == {"accuracy": 1.0, "f1": 1.0}
    assert predicted.tolist() == ["yes", "no"]
    with pytest.raises(InputError, match="row 1 has the label 'maybe'"):
        judge.evaluate(data | {"fits": ["yes", "maybe"]})


def test_rankings_are_evaluated_by_judgements(images: list[str]) -> None:
    pytest.importorskip("pytrec_eval")
    captions = ["yellow", "green", "blue"]
    judged = [("green", images[1], 1), ("blue", images[2], 1), ("yellow", images[0], 1)]
    result = predictor(query="caption", response="picture").evaluate(
        judged, query_data=captions, response_data=images, metrics=["recall", "mrr"], cutoffs=[1, 2]
    )  # yellow finds itself first, then red, once: it stands twice in the list
    assert result["recall@1"] == pytest.approx(2 / 3)
    assert result["mrr@2"] == pytest.approx((1 + 1 + 1 / 2) / 3)
    one = predictor().evaluate([("c", "y", 1)], query_data={"q": ["c"]}, response_data={"r": list("xyz")},
                               id_mappings={"q": {"c": "green"}, "r": dict(zip("xyz", images, strict=False))},
                               cutoffs=[1])  # fmt: skip
    assert one == {"recall@1": 1.0}


def test_a_ranking_needs_both_sides_and_both_kinds(images: list[str]) -> None:
    with pytest.raises(InputError, match="Give both"):
        predictor().evaluate([], query_data=["red"])
    with pytest.raises(InputError, match="both hold texts"):
        predictor().evaluate([("red", "blue")], query_data=["red"], response_data=["blue"])
    with pytest.raises(InputError, match="judgement 0 names the query 'pink'"):
        predictor().evaluate([("pink", images[0])], query_data=["red"], response_data=images)


def test_pandas_is_asked_for_only_when_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert predictor().extract_embedding(["red"]).shape == (1, 4)
    with pytest.raises(MissingExtraError, match=r'pandas.*pip install "crosslens\[pandas\]"$'):
        predictor().extract_embedding(["red"], as_pandas=True)


def test_a_dataframe_keeps_its_index_and_order(images: list[str]) -> None:
    pandas = pytest.importorskip("pandas")
    index = ["fifth", "second", "third"]
    frame = pandas.DataFrame(
        {"picture": [images[4], images[1], images[2]], "caption": ["red"] * 3}, index=index
    )
    proba = pairs().predict_proba(frame)
    assert proba.columns.tolist() == [0, 1]
    assert proba.index.tolist() == index
    predicted = pairs(label="fits").predict(frame)
    assert predicted.to_dict() == {"fifth": 1, "second": 0, "third": 0}
    assert predicted.name == "fits"
    assert isinstance(pairs().predict(frame, as_pandas=False), np.ndarray)
    assert isinstance(pairs().extract_embedding(frame), np.ndarray)
    embedded = pairs().extract_embedding(frame, as_pandas=True)
    assert embedded.loc["second"].tolist() == [0, 1, 0, 0]
    series = predictor().extract_embedding(frame["caption"], as_pandas=True)
    assert series.index.tolist() == index
    frame.loc["second", "caption"] = None
    with pytest.raises(InputError, match=r"column 'caption', row 1 \(index 'second'\) is missing"):
        pairs().predict(frame)


def test_dataframes_and_series_serve_as_judgements_and_mappings(images: list[str]) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pytrec_eval")
    queries = pandas.DataFrame({"qid": [1, 2], "text": ["red", "blue"]})
    responses = pandas.DataFrame({"rid": list("abc"), "path": images[:3]})
    judged = pandas.DataFrame({"qid": [1, 2], "rid": ["a", "b"], "relevance": [1, 1]})
    mappings = {"qid": queries.set_index("qid")["text"], "rid": responses.set_index("rid")["path"]}
    judge = predictor(query="qid", response="rid", label="relevance")
    result = judge.evaluate(judged, query_data=queries[["qid"]], response_data=responses[["rid"]],
                            id_mappings=mappings, metrics="precision", cutoffs=[1])  # fmt: skip
    assert result == {"precision@1": 0.5}


def test_a_single_text_or_picture_is_a_list_of_one(paint: Callable[..., Path]) -> None:
    assert predictor().extract_embedding("red").shape == (1, 4)
    assert predictor().extract_embedding(paint("red.png")).shape == (1, 4)
    assert predictor().extract_embedding(np.array(["red", "blue"])).shape == (2, 4)
