"""How sure a figure is: bootstrap over recordings, since clips of one recording are right or wrong together.

Efron & Tibshirani 1993, the cluster bootstrap: whole recordings are drawn with replacement, so the intervals are as
wide as the number of recordings, not of clips, allows.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

DRAWS = 2000


def confusions(y: np.ndarray, predicted: np.ndarray, groups: Sequence[str], n_classes: int) -> np.ndarray:
    """One confusion matrix a recording: (G, K, K), rows true, recordings sorted by name."""
    names, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    tables = np.zeros((len(names), n_classes, n_classes))
    np.add.at(tables, (group, y, predicted), 1.0)
    return tables


def figures(tables: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracy, balanced_accuracy and macro_f1 of confusion matrices (..., K, K): each (...,); a class that is absent
    counts in none of the means."""
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
    """How often each recording is drawn: (DRAWS, G), the same at every call."""
    return np.random.default_rng(0).multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=DRAWS).astype(float)


def intervals(tables: np.ndarray) -> dict[str, list[float]]:
    """The 95 % percentile interval of each of ``figures``, from ``confusions``' (G, K, K)."""
    drawn = figures(np.tensordot(draws(len(tables)), tables, axes=1))
    return {name: np.percentile(values, (2.5, 97.5)).tolist() for name, values in drawn.items()}


def paired_difference(a: np.ndarray, b: np.ndarray) -> dict[str, dict[str, Any]]:
    """Two classifiers on the same recordings: a minus b of each of ``figures``.

    Args:
        a, b: ``confusions`` (G, K, K) of the two on the same clips; the same recordings are drawn for both.

    Returns:
        figure -> difference, its 95 % interval, p_value (two-sided: twice the share of draws on the other side of
        zero, at least 1 / DRAWS) and more_than_chance (zero lies outside the interval).
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
