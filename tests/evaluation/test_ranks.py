"""Retrieval figures from plain arrays: equal to trec_eval's, right with ties, and with nothing to find."""

from collections.abc import Iterator

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from crosslens.errors import InputError
from crosslens.evaluation import RankedQueries, retrieval_metrics

MEASURES = {
    "mrr": "recip_rank", "map": "map",
    **{f"recall@{k}": f"recall_{k}" for k in (1, 3, 10)},
    **{f"precision@{k}": f"P_{k}" for k in (1, 3, 10)},
    **{f"ndcg@{k}": f"ndcg_cut_{k}" for k in (1, 3, 10)},
    **{f"hit@{k}": f"success_{k}" for k in (1, 3, 10)},
}  # fmt: skip
ASKED = {"recip_rank", "map", "recall.1,3,10", "P.1,3,10", "ndcg_cut.1,3,10", "success.1,3,10"}


@st.composite
def sets(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Few different vectors, so that scores are often equal, and graded judgements."""
    images, texts = draw(st.integers(1, 14)), draw(st.integers(1, 8))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kinds = draw(st.integers(1, 4))
    palette = np.eye(4, dtype=np.float32)[:kinds]
    pairs = np.argwhere(random.random((texts, images)) < draw(st.sampled_from([0.1, 0.4, 0.9])))
    if not len(pairs):
        pairs = np.array([[0, 0]])
    judged = np.column_stack([pairs, random.integers(0, 4, len(pairs))])
    judged[0, 2] = 1
    return palette[random.integers(kinds, size=images)], palette[random.integers(kinds, size=texts)], judged


def by_trec_eval(scores: np.ndarray, judged: np.ndarray, names: dict[int, list[str]]) -> dict[str, float]:
    """names: query → what each answer is called for it."""
    qrels = {str(q): {} for q in range(len(scores))}
    for query, answer, level in judged.tolist():
        qrels[str(query)][names[query][answer]] = level
    qrels = {query: line for query, line in qrels.items() if any(line.values())}
    run = {q: {names[int(q)][a]: float(scores[int(q), a]) for a in range(scores.shape[1])} for q in qrels}
    found = pytrec_eval.RelevanceEvaluator(qrels, ASKED).evaluate(run)
    return {ours: np.mean([line[theirs] for line in found.values()]) for ours, theirs in MEASURES.items()}


def figures(ranked: RankedQueries) -> dict[str, float]:
    return {name: ranked[name] for name in MEASURES}


@given(sets())
def test_figures_are_trec_evals_with_its_own_order_of_ties(data: tuple[np.ndarray, ...]) -> None:
    images, texts, judged = data
    ids = [f"picture-{row}" for row in range(len(images))]
    found = retrieval_metrics(
        images, texts, judged, cutoffs=(1, 3, 10), ties="trec_eval", resamples=0, image_ids=ids
    )
    wanted = by_trec_eval(texts @ images.T, judged, dict.fromkeys(range(len(texts)), ids))
    assert figures(found.text_to_image) == pytest.approx(wanted)
    rows = {query: [str(row) for row in range(len(texts))] for query in range(len(images))}
    wanted = by_trec_eval(images @ texts.T, judged[:, [1, 0, 2]], rows)
    assert figures(found.image_to_text) == pytest.approx(wanted)


@given(sets())
def test_by_default_ties_are_trec_evals_where_names_put_the_right_ones_last(
    data: tuple[np.ndarray, ...],
) -> None:
    images, texts, judged = data
    found = retrieval_metrics(images, texts, judged, cutoffs=(1, 3, 10), resamples=0)
    names = {query: [f"9 {row}" for row in range(len(images))] for query in range(len(texts))}
    for query, answer, level in judged.tolist():
        names[query][answer] = (
            f"{9 - level} {answer}"  # of equal scores, trec_eval takes the greater name first
        )
    assert figures(found.text_to_image) == pytest.approx(by_trec_eval(texts @ images.T, judged, names))


@given(sets(), st.integers(0, 2**32 - 1))
def test_the_order_of_rows_changes_nothing(data: tuple[np.ndarray, ...], seed: int) -> None:
    images, texts, judged = data
    order = np.random.default_rng(seed).permutation(len(images))
    moved = judged.copy()
    moved[:, 1] = np.argsort(order)[judged[:, 1]]
    one, other = (
        retrieval_metrics(pictures, texts, rows, cutoffs=(1, 3, 10), resamples=0).text_to_image
        for pictures, rows in ((images, judged), (images[order], moved))
    )
    assert figures(one) == pytest.approx(figures(other))
    assert one["median_rank"] == other["median_rank"]


def test_many_queries_are_ranked_in_pieces_as_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    images, texts = random.standard_normal((40, 8)), random.standard_normal((100, 8))
    owners = random.integers(-1, 40, 100)
    whole = retrieval_metrics(images, texts, owners, resamples=0)
    monkeypatch.setattr("crosslens.evaluation.ranks._SCORES", 90)
    pieces = retrieval_metrics(images, texts, owners, resamples=0)
    for name, ranked in whole.directions.items():
        other = pieces.directions[name]
        assert {key: float(value) for key, value in ranked.figures.items()} == {
            key: float(value) for key, value in other.figures.items()
        }
        assert (ranked.top == other.top).all()


def test_a_perfect_ranker_of_five_captions_a_picture_has_both_recalls_at_1() -> None:
    images = np.eye(6)
    found = retrieval_metrics(images, np.repeat(images, 5, axis=0), np.repeat(np.arange(6), 5))
    assert found.image_to_text["recall@1"] == pytest.approx(0.2)
    assert found.image_to_text["hit@1"] == 1.0
    assert found.image_to_text["recall@5"] == 1.0
    assert found.text_to_image["recall@1"] == found.text_to_image["mrr"] == 1.0
    assert found.text_to_image["median_rank"] == 1.0


def test_a_model_that_finds_everything_alike_finds_nothing() -> None:
    found = retrieval_metrics(np.ones((20, 3)), np.ones((20, 3)), np.arange(20), resamples=0)
    assert found.text_to_image["recall@10"] == found.image_to_text["recall@10"] == 0
    assert found.text_to_image["median_rank"] == 20


def test_queries_without_a_right_answer_do_not_count_and_are_told() -> None:
    found = retrieval_metrics(np.eye(3), np.eye(3)[[0, 1, 1, 2]], [0, -1, 1, -1], resamples=0)
    assert found.text_to_image.uncounted == 2
    assert found.text_to_image.rows.tolist() == [0, 2]
    assert found.text_to_image["recall@1"] == 1.0
    assert found.image_to_text.uncounted == 1
    assert found.image_to_text["recall@1"] == 0.5  # for picture 1, text 1 is as good as its own


def test_the_first_answers_agree_with_the_ranks() -> None:
    images = np.eye(4)[[0, 0, 1, 2]]
    found = retrieval_metrics(images, np.eye(4)[[0, 1]], [0, 2], resamples=0).text_to_image
    assert found.columns["rank"].tolist() == [2, 1]  # picture 1 looks the same as picture 0
    assert found.top[:, :2].tolist() == [[1, 0], [2, 0]]


def test_intervals_draw_the_captions_of_a_picture_together() -> None:
    random = np.random.default_rng(1)
    images = random.standard_normal((60, 6))
    once = images + 0.9 * random.standard_normal((60, 6))
    alone = retrieval_metrics(images, once, np.arange(60)).text_to_image
    five = retrieval_metrics(images, np.repeat(once, 5, axis=0), np.repeat(np.arange(60), 5)).text_to_image
    for ranked in (alone, five):
        figure = ranked.figures["recall@1"]
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low < figure.value < figure.high
        # Of 60 independent draws: as wide as a binomial says, however often each is repeated.
        wanted = 2 * 1.96 * np.sqrt(figure.value * (1 - figure.value) / 60)
        assert figure.high - figure.low == pytest.approx(wanted, rel=0.2)
    again = retrieval_metrics(images, once, np.arange(60)).text_to_image
    assert again.figures == alone.figures


def wrong() -> Iterator[object]:
    eye = np.eye(2)
    yield pytest.param(eye, eye, [0, 2], "names picture 2", id="a picture that is not there")
    yield pytest.param(eye, eye, [0], "1 rows for 2 texts", id="too few rows")
    yield pytest.param(eye, np.eye(3), [0, 1, 1], "one model", id="vectors of two models")
    yield pytest.param(eye, eye * np.nan, [0, 1], "not finite", id="a vector that is none")
    yield pytest.param(eye, eye, [-1, -1], "no text has a picture", id="nothing is right")
    yield pytest.param(eye, eye, [[0, 1]], "shape", id="two columns")
    yield pytest.param(eye, eye, [0.5, 1], "whole number", id="half a row")


@pytest.mark.parametrize(("images", "texts", "right", "said"), list(wrong()))
def test_what_cannot_be_ranked_is_refused(images: object, texts: object, right: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        retrieval_metrics(images, texts, right)  # type: ignore[arg-type]
