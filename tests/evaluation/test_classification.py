"""Zero-shot classification, worked out by hand and held against scikit-learn."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from crosslens import Matcher
from crosslens.errors import InputError
from crosslens.evaluation import classification_metrics, evaluate_classification, load_classes
from crosslens.evaluation.classification import calibration_error, temperature_of

RANDOM = np.random.default_rng(0)


def drawn(logits: np.ndarray) -> np.ndarray:
    """Labels as likely as the softmax of the logits says."""
    return (logits + RANDOM.gumbel(size=logits.shape)).argmax(axis=1)


def test_figures_are_scikit_learns() -> None:
    cosines = RANDOM.uniform(-1, 1, (300, 8)).astype(np.float32)
    labels = RANDOM.integers(8, size=300)
    found = classification_metrics(cosines, labels, list("abcdefgh"), 10.0)
    assert found["top1"] == metrics.top_k_accuracy_score(labels, cosines, k=1)
    assert found["top5"] == pytest.approx(metrics.top_k_accuracy_score(labels, cosines, k=5))
    assert found["mean_recall"] == pytest.approx(metrics.balanced_accuracy_score(labels, cosines.argmax(1)))
    assert (found.confusion == metrics.confusion_matrix(labels, cosines.argmax(1))).all()
    precision = metrics.precision_score(labels, cosines.argmax(1), average=None, labels=range(8))
    assert [line.precision for line in found.per_class] == pytest.approx(precision.tolist())
    figure = found.figures["top1"]
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low < figure.value < figure.high


def test_a_tie_is_never_in_favour() -> None:
    found = classification_metrics(np.ones((4, 3)), [0, 1, 2, 0], list("abc"), 10.0, resamples=0)
    assert found["top1"] == 0
    assert found.ranks.tolist() == [3] * 4
    assert not (found.predicted == found.labels).any()


@pytest.mark.parametrize("factor", [0.25, 1.0, 4.0])
def test_the_temperature_undoes_what_logits_were_multiplied_by(factor: float) -> None:
    logits = RANDOM.normal(scale=2, size=(20_000, 5))
    labels = drawn(logits)
    assert temperature_of(factor * logits, labels) == pytest.approx(factor, rel=0.05)


def test_calibration_error_is_small_for_honest_confidences_and_mended_for_others() -> None:
    logits = RANDOM.normal(scale=0.3, size=(20_000, 5)).clip(-1, 1)
    labels = drawn(6 * logits)
    honest = classification_metrics(logits, labels, list("abcde"), 6.0, resamples=0)
    sure = classification_metrics(logits, labels, list("abcde"), 60.0, resamples=0)
    assert honest.calibration_error < 0.015
    assert sure.calibration_error > 0.15
    assert sure.temperature == pytest.approx(10, rel=0.1)
    assert sure.calibration_error_mended < 0.015


def test_calibration_error_by_hand() -> None:
    # Bins of 1/15: 0.95 and 0.99 share one, in which 1 of 2 is right.
    assert calibration_error(np.array([0.95, 0.99, 0.5]), [1, 0, 1]) == pytest.approx((0.94 + 0.5) / 3)


def test_folders_are_classes(fake: Matcher, paint: Callable[..., Path]) -> None:
    for name, colour in (
        ("red/a", "red"),
        ("red/b", "yellow"),
        ("green/a", "green"),
        ("dark_blue/a", "blue"),
    ):
        paint(f"{name}.png", colour)
    broken = paint("green/z.png", "green")
    broken.write_bytes(b"no picture")
    images = load_classes(broken.parents[1])
    assert images.classes == ("dark blue", "green", "red")
    report = evaluate_classification(fake, images, templates=("{}",), resamples=0)
    assert [Path(failure.path).name for failure in report.failures] == ["z.png"]
    found = report.classification
    # Yellow is as near to red as to green: a tie, so it counts as mistaken.
    assert found["top1"] == 0.75
    assert found.confusion.tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    [red] = [line for line in found.per_class if line.name == "red"]
    assert (red.images, red.recall, red.precision, red.mistaken_for) == (2, 0.5, 1.0, "green")


def test_a_table_has_classes_and_names_for_them(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("image,label,split\na.png,n1,val\nb.png,n2,val\nc.png,n3,train\n")
    found = load_classes(tmp_path, split="val", names={"n1": "dog"})
    assert found.classes == ("dog", "n2")
    assert found.labels.tolist() == [0, 1]
    assert found.images[0] == str(tmp_path / "a.png")


def test_one_class_is_refused(paint: Callable[..., Path]) -> None:
    folder = paint("red/a.png", "red").parents[1]
    (folder / "labels.csv").write_text("image,label\nred/a.png,red\n")
    with pytest.raises(InputError, match="one class only"):
        load_classes(folder)


def test_labels_beyond_the_classes_are_refused() -> None:
    with pytest.raises(InputError, match="label 1 is 3"):
        classification_metrics(np.ones((2, 3)), [0, 3], list("abc"), 1.0)
