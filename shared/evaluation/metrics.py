"""Classification metrics."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss, precision_recall_fscore_support

from shared.evaluation import bootstrap


def calibration_error(y: np.ndarray, probabilities: np.ndarray, *, bins: int = 15) -> float:
    """Expected calibration error (Guo et al. 2017, eq. 3): the mean gap between confidence and accuracy, in [0, 1].

    Args:
        y: true class ordinals (N,).
        probabilities: (N, K), rows summing to 1.
        bins: number of equal intervals of confidence.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == y
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(place, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(y))


def classification_metrics(
    y: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], groups: Sequence[str] | None = None
) -> dict[str, float | list | dict]:
    """Evaluate predicted probabilities on one split.

    Args:
        y: true class ordinals (N,).
        probabilities: (N, K), rows summing to 1.
        classes: the K class names.
        groups: the recording of each clip (N,); None treats each clip as its own recording.

    Returns:
        clips (their number), accuracy, recording_accuracy (the mean over recordings of the share of correct clips, so
        long recordings do not dominate), balanced_accuracy and macro_f1 (means over the classes that have clips),
        log_loss (nats), calibration_error, intervals (95 %, bootstrap over recordings), per_class (precision, recall,
        f1, clips) and confusion_matrix (rows true, columns predicted).
    """
    ordinals = np.arange(len(classes))
    predicted = probabilities.argmax(axis=1)
    columns = precision_recall_fscore_support(y, predicted, labels=ordinals, zero_division=0.0)
    per_class = pd.DataFrame(np.transpose(columns), index=classes, columns=["precision", "recall", "f1", "clips"])
    tables = bootstrap.confusions(y, predicted, np.arange(len(y)) if groups is None else groups, len(classes))
    floored = np.clip(probabilities, 1e-7, 1.0)  # keeps the mean finite if a mistake has probability 0
    return {
        "clips": len(y),
        **{name: float(value) for name, value in bootstrap.figures(tables.sum(axis=0)).items()},
        "recording_accuracy": float(bootstrap.figures(tables)["accuracy"].mean()),
        "log_loss": float(log_loss(y, floored / floored.sum(axis=1, keepdims=True), labels=ordinals)),
        "calibration_error": calibration_error(y, probabilities),
        "intervals": bootstrap.intervals(tables),
        "per_class": per_class.to_dict("index"),
        "confusion_matrix": tables.sum(axis=0).astype(int).tolist(),
    }
