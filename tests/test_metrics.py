"""Classification metrics: known values, and worse values for worse predictions."""

import numpy as np
import pytest

from shared.evaluation import bootstrap
from shared.evaluation.metrics import calibration_error, classification_metrics

CLASSES = ["a", "b", "c"]


def one_hot(predicted: list[int]) -> np.ndarray:
    return np.eye(3)[predicted]


def test_a_perfect_classifier_scores_one() -> None:
    figures = classification_metrics(np.array([0, 1, 2, 2]), one_hot([0, 1, 2, 2]), CLASSES)
    assert figures["accuracy"] == figures["macro_f1"] == figures["balanced_accuracy"] == 1.0
    assert figures["log_loss"] == pytest.approx(0, abs=1e-6)
    assert figures["confusion_matrix"] == [[1, 0, 0], [0, 1, 0], [0, 0, 2]]


def test_figures_equal_values_computed_by_hand() -> None:
    figures = classification_metrics(np.array([0, 0, 0, 1]), one_hot([0, 0, 1, 1]), CLASSES)
    assert figures["accuracy"] == 0.75
    assert figures["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)  # class c has no clips
    assert figures["per_class"]["b"] == {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "clips": 1}
    assert figures["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)


def test_one_long_recording_counts_once() -> None:
    y, p = np.array([0, 0, 0, 0, 1, 2]), one_hot([1, 1, 1, 1, 1, 2])
    figures = classification_metrics(y, p, CLASSES, ["long"] * 4 + ["b", "c"])
    assert figures["accuracy"] == pytest.approx(2 / 6) and figures["recording_accuracy"] == pytest.approx(2 / 3)
    assert classification_metrics(y, p, CLASSES)["recording_accuracy"] == pytest.approx(2 / 6)


def test_noisier_is_worse() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    noise = rng.standard_normal((300, 3))
    scores = []
    for level in (0.1, 1.0, 3.0):
        logits = 3 * np.eye(3)[y] + level * noise * 3
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        scores.append(classification_metrics(y, p, CLASSES))
    assert scores[0]["accuracy"] > scores[1]["accuracy"] > scores[2]["accuracy"]
    assert scores[0]["log_loss"] < scores[1]["log_loss"] < scores[2]["log_loss"]


def test_the_calibration_error_is_the_distance_of_confidence_from_accuracy() -> None:
    """With confidence 0.8, the error is 0 if four of five are correct, 0.2 if all are and 0.8 if none is."""
    p = np.tile([0.8, 0.1, 0.1], (5, 1))
    for y, error in (([0, 0, 0, 0, 1], 0.0), ([0] * 5, 0.2), ([1] * 5, 0.8)):
        assert calibration_error(np.array(y), p) == pytest.approx(error)


def predictions(rng: np.random.Generator, *, groups: int, clips: int, right: float) -> tuple:
    """y, predicted and groups; all clips of a recording are correct or all are wrong."""
    y, group = np.repeat(rng.integers(0, 3, groups), clips), np.repeat(np.arange(groups), clips)
    wrong = np.repeat(rng.random(groups) > right, clips)
    return y, np.where(wrong, (y + 1) % 3, y), group


def test_the_width_of_intervals_depends_on_the_number_of_recordings() -> None:
    rng = np.random.default_rng(0)
    y, predicted, group = predictions(rng, groups=50, clips=20, right=0.7)
    grouped = bootstrap.intervals(bootstrap.confusions(y, predicted, group, 3))["accuracy"]
    alone = bootstrap.intervals(bootstrap.confusions(y, predicted, np.arange(len(y)), 3))["accuracy"]
    accuracy = (y == predicted).mean()
    assert grouped[0] < accuracy < grouped[1] and alone[0] < accuracy < alone[1]
    assert grouped[1] - grouped[0] > 3 * (alone[1] - alone[0])  # about sqrt(20) times
    assert grouped[1] - grouped[0] == pytest.approx(2 * 1.96 * np.sqrt(accuracy * (1 - accuracy) / 50), rel=0.2)


def test_real_differences_are_distinguished_from_chance() -> None:
    rng = np.random.default_rng(1)
    y, good, group = predictions(rng, groups=200, clips=3, right=0.9)
    poor = np.where(np.repeat(rng.random(200) < 0.3, 3), (y + 1) % 3, good)
    one_off = np.where(np.arange(len(y)) < 3, (y + 1) % 3, good)
    tables = {name: bootstrap.confusions(y, p, group, 3) for name, p in (("a", good), ("b", poor), ("c", one_off))}
    clear = bootstrap.paired_difference(tables["a"], tables["b"])["accuracy"]
    assert clear["more_than_chance"] and clear["p_value"] < 0.01 and clear["interval"][0] > 0.1
    same = bootstrap.paired_difference(tables["a"], tables["a"])["accuracy"]
    assert same["difference"] == 0 and same["p_value"] == 1.0 and not same["more_than_chance"]
    assert not bootstrap.paired_difference(tables["a"], tables["c"])["accuracy"]["more_than_chance"]
