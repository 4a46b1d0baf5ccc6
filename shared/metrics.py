"""Metrics as pure functions of arrays."""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
)


def classification_metrics(
    y: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], groups: Sequence[str] | None = None
) -> dict[str, float | list | dict]:
    """Figures of a classifier on one split.

    Args:
        y: true ordinals (N,).
        probabilities: (N, K), rows summing to 1.
        classes: the K names.
        groups: the recording of each clip (N,); None makes each clip its own.

    Returns:
        accuracy, recording_accuracy (every recording counts once, by its share of clips that are right: one long
        recording cannot sway it), balanced_accuracy (mean recall of the classes present), macro_f1,
        log_loss (nats), per_class (precision, recall, f1, clips) and confusion_matrix (rows true, columns predicted).
    """
    ordinals = np.arange(len(classes))
    predicted = probabilities.argmax(axis=1)
    columns = precision_recall_fscore_support(y, predicted, labels=ordinals, zero_division=0.0)
    names = ("precision", "recall", "f1", "clips")
    per_class = {
        label: {name: float(column[k]) for name, column in zip(names, columns, strict=True)}
        for k, label in enumerate(classes)
    }
    present = np.unique(y)
    right, recording = predicted == y, np.arange(len(y)) if groups is None else np.asarray(groups)
    floored = np.clip(probabilities, 1e-7, 1.0)  # one certain mistake must not make the mean infinite
    return {
        "clips": len(y),
        "accuracy": float(accuracy_score(y, predicted)),
        "recording_accuracy": float(np.mean([right[recording == r].mean() for r in np.unique(recording)])),
        "balanced_accuracy": float(columns[1][present].mean()),
        "macro_f1": float(f1_score(y, predicted, labels=ordinals, average="macro", zero_division=0.0)),
        "log_loss": float(log_loss(y, floored / floored.sum(axis=1, keepdims=True), labels=ordinals)),
        "per_class": per_class,
        "confusion_matrix": confusion_matrix(y, predicted, labels=ordinals).tolist(),
    }
