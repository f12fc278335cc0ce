"""Ranking and pair metrics, against values worked out by hand."""

import math

import numpy as np
import pytest

from crosslens.errors import InputError
from crosslens.evaluation.metrics import Labels, Table, judgements, pair_metrics, ranking_metrics

RANKINGS = {"q1": ["a", "b", "c"], "q2": ["c", "a", "b"]}
QRELS = [("q1", "a", 1), ("q1", "c", 1), ("q2", "a", 1)]


@pytest.fixture
def trec_eval() -> None:
    pytest.importorskip("pytrec_eval")


@pytest.fixture
def sklearn() -> None:
    pytest.importorskip("sklearn")


@pytest.mark.usefixtures("trec_eval")
@pytest.mark.parametrize(
    ("metric", "at_1", "at_3"),
    [
        ("recall", (0.5 + 0) / 2, 1.0),
        ("precision", (1 + 0) / 2, (2 / 3 + 1 / 3) / 2),
        ("ndcg", (1 + 0) / 2, ((1 + 1 / 2) / (1 + 1 / math.log2(3)) + 1 / math.log2(3)) / 2),
        ("map", (0.5 + 0) / 2, ((1 + 2 / 3) / 2 + 1 / 2) / 2),
        ("mrr", (1 + 0) / 2, (1 + 1 / 2) / 2),
    ],
)
def test_a_ranking_metric_is_the_mean_over_queries(metric: str, at_1: float, at_3: float) -> None:
    result = ranking_metrics(RANKINGS, QRELS, [metric], cutoffs=(1, 3))
    assert result == {f"{metric}@1": pytest.approx(at_1), f"{metric}@3": pytest.approx(at_3)}


@pytest.mark.usefixtures("trec_eval")
def test_a_query_that_nobody_judged_does_not_count() -> None:
    assert ranking_metrics(RANKINGS, QRELS[:2], ["mrr"], [1]) == {"mrr@1": 1.0}


@pytest.mark.usefixtures("trec_eval")
def test_a_query_that_found_nothing_counts_as_nought() -> None:
    assert ranking_metrics({"q": [], "r": ["a"]}, [("q", "a", 1), ("r", "a", 1)], ["recall"], [5]) == {
        "recall@5": 0.5
    }


@pytest.mark.usefixtures("trec_eval")
def test_the_order_given_is_kept_where_trec_eval_would_break_ties_by_name() -> None:
    for order in (["x", "y"], ["y", "x"]):
        assert ranking_metrics({"q": order}, [("q", order[0], 1)], ["mrr"], [2]) == {"mrr@2": 1.0}


@pytest.mark.usefixtures("trec_eval")
def test_more_relevant_responses_weigh_more_in_ndcg() -> None:
    ideal = 2 + 1 / math.log2(3)
    result = ranking_metrics({"q": ["b", "a"]}, [("q", "a", 2), ("q", "b", 1)], ["ndcg"], [2])
    assert result["ndcg@2"] == pytest.approx((1 + 2 / math.log2(3)) / ideal)


@pytest.mark.parametrize(
    ("rankings", "qrels", "message"),
    [
        (RANKINGS, [("q3", "a", 1)], "judgement 0 is of query 'q3'"),
        (RANKINGS, [("q1", "a", 0.5)], r"relevance 0.5\. Wanted a whole number"),
        (RANKINGS, [("q1", "a", math.nan)], "relevance nan"),
        (RANKINGS, [("q1", "a", 1), ("q1", "a", 0)], "judgement 1 gives 'q1' and 'a' the relevance 0"),
        (RANKINGS, [], "no relevance judgements"),
    ],
)
def test_a_judgement_that_cannot_be_used_is_named(rankings: dict, qrels: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ranking_metrics(rankings, qrels)


@pytest.mark.usefixtures("trec_eval")
def test_a_response_ranked_twice_is_refused() -> None:
    with pytest.raises(InputError, match="twice"):
        ranking_metrics({"q": ["a", "a"]}, [("q", "a", 1)], cutoffs=[2])


@pytest.mark.usefixtures("sklearn")
def test_pair_metrics_are_those_of_the_field() -> None:
    metrics = ["roc_auc", "accuracy", "f1", "log_loss"]
    result = pair_metrics([0, 0, 1, 1], [0.2, 0.6, 0.5, 0.9], metrics)
    assert result["roc_auc"] == 0.75
    assert result["accuracy"] == 0.75
    assert result["f1"] == pytest.approx(4 / 5)
    assert result["log_loss"] == pytest.approx(-np.log([0.8, 0.4, 0.5, 0.9]).mean())


@pytest.mark.usefixtures("sklearn")
def test_the_threshold_decides_what_counts_as_a_match() -> None:
    assert pair_metrics([0, 1], [0.6, 0.8], ["accuracy"]) == {"accuracy": 0.5}
    assert pair_metrics([0, 1], [0.6, 0.8], ["accuracy"], threshold=0.8) == {"accuracy": 1.0}
    assert pair_metrics([1], [0.1], ["f1"]) == {"f1": 0.0}


@pytest.mark.parametrize(
    ("labels", "p", "message"),
    [
        ([1, 1], [0.1, 0.2], "all 2 pairs have the label 1"),
        ([1, 2], [0.1, 0.2], "label 1 is"),
        ([1], [0.1, 0.2], "shape"),
        ([], [], "shape"),
    ],
)
def test_labels_that_give_no_metric_are_refused(labels: list, p: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pair_metrics(labels, p)


def test_judgements_come_from_rows_or_columns() -> None:
    rows = [("q", "a", 2), ("q", "b", 0)]
    assert list(judgements(rows, ("x", "y", None), ["q"], ["a", "b"])) == rows
    columns = {"x": ["q", "q"], "y": ["a", "b"], "grade": [2, 0]}
    assert list(judgements(columns, ("x", "y", "grade"), ["q"], ["a", "b"])) == rows
    assert list(judgements([("q", "a")], ("x", "y", None), ["q"], ["a"])) == [("q", "a", 1)]
    assert list(judgements({"x": ["q"], "y": ["a"]}, ("x", "y", None), ["q"], ["a"])) == [("q", "a", 1)]


def test_a_judgement_of_something_unknown_is_named() -> None:
    with pytest.raises(InputError, match="judgement 1 names the response 'z', which is not in response_data"):
        list(judgements([("q", "a"), ("q", "z")], ("x", "y", None), ["q"], ["a"]))
    with pytest.raises(InputError, match="judgement 0 is 'qa'"):
        list(judgements(["qa"], ("x", "y", None), ["q"], ["a"]))


def test_a_table_names_the_row_that_is_missing() -> None:
    with pytest.raises(InputError, match="column 'x', row 1 is missing"):
        Table.of({"x": ["a", None]}, "data").column("x")
    with pytest.raises(InputError, match="column 'data', row 0: id_mappings has nothing for the id 7"):
        Table.of([7], "data").column("data", {"data": {8: "a"}})
    with pytest.raises(InputError, match=r"no column 'y'\. There is 'x'"):
        Table.of({"x": ["a"]}, "data").column("y")
    with pytest.raises(InputError, match="differ in length"):
        Table.of({"x": ["a"], "y": ["a", "b"]}, "data")


def test_labels_say_which_of_the_two_means_a_match() -> None:
    assert Labels.of(None, None) == Labels((0, 1), 1)
    assert Labels.of(None, 0).of_matches(np.array([True, False])).tolist() == [0, 1]
    mixed = Labels.of([0, "same"], None)
    assert mixed.of_matches(np.array([True, False])).tolist() == ["same", 0]
    assert mixed.matches([0, "same"]).tolist() == [0, 1]
    with pytest.raises(InputError, match="row 0 has the label 'other'"):
        mixed.matches(["other"])
    with pytest.raises(InputError, match="Give two different labels"):
        Labels.of(["a", "b", "c"], None)
    with pytest.raises(InputError, match="Give both"):
        Labels.of(None, "same")
