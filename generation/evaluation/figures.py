"""The figures of sounds beside real clips by one classifier, and their mean over several."""

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from generation.evaluation.embedding import Embedded
from shared.evaluation import distances

LOWER, HIGHER, LIKE_REAL = "lower", "higher", "like real held-out"
METRICS = {  # name -> its title in the table, and which values are better
    "frechet": ("Fréchet audio distance (FAD)", LOWER),
    "frechet_infinity": ("FAD extrapolated to infinitely many clips", LOWER),
    "frechet_by_label": ("Fréchet distance within a class, per feature", LOWER),
    "kernel_distance": ("kernel audio distance (KAD)", LOWER),
    "inception_score": ("inception score", HIGHER),
    "accuracy": ("classifier's accuracy, clip by clip", HIGHER),
    **{name: (name, HIGHER) for name in ("precision", "recall", "density", "coverage")},
    "coverage_of_held_out": ("coverage of the held-out clips", HIGHER),
    "spectral_norm": ("diversity: largest variance", LIKE_REAL),
    "within_class_distance": ("diversity: distance within a class", LIKE_REAL),
}
COLUMNS = {  # key -> heading
    "samples": "samples",
    "vocoded_training": "vocoded training",
    "vocoded_floor": "vocoded held-out",
    "floor": "real held-out",
    "ceiling": "noise",
    "better": "better",
}
Figures = tuple[dict[str, float], dict[str, dict[str, float]]]  # by the names in METRICS; by label
NOTHING: Figures = dict.fromkeys(METRICS, math.nan), {}  # the figures of no clips


def compare(x: Embedded, real: Embedded, held_out: Embedded | None, *, common: Collection[str], seed: int) -> Figures:
    """The figures of ``x`` against real clips.

    Args:
        held_out: real clips that neither ``x`` comes from nor the generator was trained on, if there are any.
        common: labels that samples and reference share; if there are none, all clips count as one class.
    """
    (real_x, real_labels), (own_x, own_labels) = (_labelled(clips, common) for clips in (real, x))
    frechet = distances.frechet_by_label(real_x, real_labels, own_x, own_labels)
    labels = x.manifest.label
    right = np.asarray(x.classes)[x.probabilities.argmax(axis=1)] == labels.to_numpy()
    right = np.where(labels.isin(x.classes), right, np.nan)  # the classifier was not trained on the other labels
    figures = {
        "frechet": distances.frechet(real.features, x.features),
        "frechet_infinity": distances.frechet_infinity(real.features, x.features, seed=seed),
        "frechet_by_label": mean(frechet.values()),
        "kernel_distance": distances.kernel_distance(real.features, x.features),
        "inception_score": distances.inception_score(x.probabilities),
        "accuracy": mean(right),
        **distances.neighbourhoods(real.features, x.features),
        "coverage_of_held_out": (
            math.nan if held_out is None else distances.neighbourhoods(held_out.features, x.features)["coverage"]
        ),
        "spectral_norm": distances.spectral_norm(x.features),
        "within_class_distance": distances.within_class_distance(own_x, own_labels),
    }
    by_label = {
        str(k): {
            "clips": int((labels == k).sum()),
            "accuracy": mean(right[labels == k]),
            "frechet": frechet.get(k, math.nan),
            "diversity": distances.within_class_distance(x.features[labels == k], labels[labels == k]),
        }
        for k in sorted(labels.unique())
    }
    return figures, by_label


def accuracy_share(metrics: dict[str, Any], by_label: dict[str, Any]) -> dict[str, Any]:
    """The samples' accuracy as a share of that of vocoded held-out clips, which no generator can be better than.

    Returns:
        all: the share over all clips; by_label: those of each class; NaN where one of the two is unknown or 0.
    """
    own, best = by_label["samples"], by_label["vocoded_floor"]
    shares = {k: _share(row["accuracy"], best.get(k, {}).get("accuracy", math.nan)) for k, row in own.items()}
    return {
        "all": _share(metrics["accuracy"]["samples"], metrics["accuracy"]["vocoded_floor"]),
        "by_label": shares,
    }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _labelled(clips: Embedded, common: Collection[str]) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels of the clips whose label is in ``common``; if it is empty, of all clips as one class."""
    labels = clips.manifest.label.to_numpy()
    if not common:
        return clips.features, np.full(len(labels), "all")
    rows = np.isin(labels, list(common))
    return clips.features[rows], labels[rows]


def mean(values: Any) -> float:
    """The mean of the values that are not NaN; NaN if there is none."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def mean_of(tables: Sequence[Any]) -> Any:
    """The mean of nested dicts of figures with the same keys. Text stays as it is."""
    first = tables[0]
    if isinstance(first, dict):
        return {key: mean_of([table[key] for table in tables]) for key in first}
    if isinstance(first, str):
        return first
    return round(mean(tables)) if isinstance(first, int) else mean(tables)
