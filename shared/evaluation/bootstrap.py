"""Confidence intervals and tests by bootstrap over recordings.

The cluster bootstrap (Efron & Tibshirani 1993) draws whole recordings with replacement, because the predictions of one
recording's clips are correlated. The width of an interval therefore depends on the number of recordings, not of clips.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

DRAWS = 2000


def confusions(y: np.ndarray, predicted: np.ndarray, groups: Sequence[str], n_classes: int) -> np.ndarray:
    """One confusion matrix per recording: (G, K, K), rows are true classes, recordings are sorted by name.

    Args:
        y: true class ordinals (N,).
        predicted: predicted class ordinals (N,).
        groups: the recording of each clip (N,).
        n_classes: K.
    """
    names, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    tables = np.zeros((len(names), n_classes, n_classes))
    np.add.at(tables, (group, y, predicted), 1.0)
    return tables


def figures(tables: np.ndarray) -> dict[str, np.ndarray]:
    """Compute accuracy, balanced_accuracy and macro_f1 from confusion matrices (..., K, K): each (...,).

    The means over classes leave out absent classes.
    """
    hits, true, taken = np.diagonal(tables, axis1=-2, axis2=-1), tables.sum(axis=-1), tables.sum(axis=-2)
    present = true > 0
    count = np.maximum(present.sum(axis=-1), 1)
    f1 = 2 * hits / np.maximum(true + taken, 1e-12)
    return {
        "accuracy": hits.sum(axis=-1) / np.maximum(true.sum(axis=-1), 1e-12),
        "balanced_accuracy": (hits / np.maximum(true, 1e-12) * present).sum(axis=-1) / count,
        "macro_f1": (f1 * present).sum(axis=-1) / count,
    }


def draws(n_groups: int) -> np.ndarray:
    """How often each draw contains each recording: (DRAWS, G), the same at every call."""
    return np.random.default_rng(0).multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=DRAWS).astype(float)


def intervals(tables: np.ndarray) -> dict[str, list[float]]:
    """The 95 % percentile interval of each of the ``figures``, computed from ``confusions`` (G, K, K)."""
    drawn = figures(np.tensordot(draws(len(tables)), tables, axes=1))
    return {name: np.percentile(values, (2.5, 97.5)).tolist() for name, values in drawn.items()}


def paired_difference(a: np.ndarray, b: np.ndarray) -> dict[str, dict[str, Any]]:
    """Compare two classifiers on the same recordings: a minus b for each of the ``figures``.

    Args:
        a, b: ``confusions`` (G, K, K) of the classifiers on the same clips; each draw is used for both.

    Returns:
        figure -> difference, interval (95 %), p_value (two-sided: twice the share of draws with the opposite sign, at
        least 1 / DRAWS) and more_than_chance (whether zero lies outside the interval).
    """
    if a.shape != b.shape:
        raise ValueError(f"the tables differ in shape: {a.shape} and {b.shape}")
    weights = draws(len(a))
    measured_a, measured_b = figures(a.sum(axis=0)), figures(b.sum(axis=0))
    drawn_a, drawn_b = (figures(np.tensordot(weights, tables, axes=1)) for tables in (a, b))
    result = {}
    for name in measured_a:
        drawn = drawn_a[name] - drawn_b[name]
        low, high = np.percentile(drawn, (2.5, 97.5)).tolist()
        tail = min((drawn <= 0).mean(), (drawn >= 0).mean())
        result[name] = {
            "difference": float(measured_a[name] - measured_b[name]),
            "interval": [low, high],
            "p_value": float(min(1.0, max(2 * tail, 1 / DRAWS))),
            "more_than_chance": bool(low > 0 or high < 0),
        }
    return result
