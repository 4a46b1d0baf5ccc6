"""Classification figures, by identity and by order."""

import numpy as np
import pytest

from shared.metrics import classification_metrics

CLASSES = ["a", "b", "c"]


def one_hot(predicted: list[int]) -> np.ndarray:
    return np.eye(3)[predicted]


def test_a_perfect_classifier() -> None:
    figures = classification_metrics(np.array([0, 1, 2, 2]), one_hot([0, 1, 2, 2]), CLASSES)
    assert figures["accuracy"] == figures["macro_f1"] == figures["balanced_accuracy"] == 1.0
    assert figures["log_loss"] == pytest.approx(0, abs=1e-6)
    assert figures["confusion_matrix"] == [[1, 0, 0], [0, 1, 0], [0, 0, 2]]


def test_figures_by_hand() -> None:
    figures = classification_metrics(np.array([0, 0, 0, 1]), one_hot([0, 0, 1, 1]), CLASSES)
    assert figures["accuracy"] == 0.75
    assert figures["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)  # class c has no clips
    assert figures["per_class"]["b"] == {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "clips": 1}
    assert figures["macro_f1"] == pytest.approx((0.8 + 2 / 3 + 0) / 3)


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
