"""The figures of samples, real held-out clips and noise, and the table that shows them."""

import math
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from generation.evaluation.clips import Embedded
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
    "spectral_norm": ("diversity: largest variance", LIKE_REAL),
    "within_class_distance": ("diversity: distance within a class", LIKE_REAL),
    "nearest_distance": ("median distance to the nearest training clip", LIKE_REAL),
    "copies": ("share of suspected copies", LIKE_REAL),
}
COLUMNS = {"samples": "samples", "floor": "real held-out", "ceiling": "noise", "better": "better"}  # key -> heading
COPY_QUANTILE = 0.05  # share of held-out clips that are nearer to a training clip than the copy distance
NOTHING = dict.fromkeys(METRICS, math.nan), {}  # the figures of no clips


def compare(
    x: Embedded, real: Embedded, *, searched: Embedded, copy_distance: float, common: Collection[str], seed: int
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """The figures of ``x`` against real clips, by the names in METRICS, and those of each label.

    Args:
        searched: the training clips that ``x`` is compared with to find copies.
        copy_distance: a clip whose nearest training clip is closer than this is a suspected copy; NaN if unknown.
        common: labels that samples and reference share; if there are none, all clips count as one class.
    """
    (real_x, real_labels), (own_x, own_labels) = (_labelled(clips, common) for clips in (real, x))
    frechet = distances.frechet_by_label(real_x, real_labels, own_x, own_labels)
    labels = x.manifest.label
    right = np.asarray(x.classes)[x.probabilities.argmax(axis=1)] == labels.to_numpy()
    right = np.where(labels.isin(x.classes), right, np.nan)  # the classifier was not trained on the other labels
    nearest = distances.nearest(searched.features, x.features)[1]
    figures = {
        "frechet": distances.frechet(real.features, x.features),
        "frechet_infinity": distances.frechet_infinity(real.features, x.features, seed=seed),
        "frechet_by_label": _mean(frechet.values()),
        "kernel_distance": distances.kernel_distance(real.features, x.features),
        "inception_score": distances.inception_score(x.probabilities),
        "accuracy": _mean(right),
        **distances.neighbourhoods(real.features, x.features),
        "spectral_norm": distances.spectral_norm(x.features),
        "within_class_distance": distances.within_class_distance(own_x, own_labels),
        "nearest_distance": float(np.median(nearest)),
        "copies": math.nan if math.isnan(copy_distance) else float((nearest < copy_distance).mean()),
    }
    by_label = {
        str(k): {"clips": int((labels == k).sum()), "accuracy": _mean(right[labels == k]), "frechet": frechet.get(k)}
        for k in sorted(labels.unique())
    }
    return figures, by_label


def copy_distance(searched: Embedded, floor: Embedded | None) -> float:
    """The 5 % quantile of the held-out clips' distances to their nearest training clip; NaN without such clips."""
    if floor is None:
        return math.nan
    return float(np.quantile(distances.nearest(searched.features, floor.features)[1], COPY_QUANTILE))


def _labelled(clips: Embedded, common: Collection[str]) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels of the clips whose label is in ``common``; if it is empty, of all clips as one class."""
    labels = clips.manifest.label.to_numpy()
    if not common:
        return clips.features, np.full(len(labels), "all")
    rows = np.isin(labels, list(common))
    return clips.features[rows], labels[rows]


def _mean(values: Any) -> float:
    """The mean of the values that are not NaN; NaN if there is none."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def closest(samples: Embedded, searched: Embedded, *, count: int = 5) -> list[dict[str, Any]]:
    """The samples nearest to a training clip, nearest first: listen to these to find copies."""
    place, distance = distances.nearest(searched.features, samples.features)

    def name(clips: Embedded, row: int) -> str:
        path, offset = clips.manifest.path[row], clips.manifest.offset[row]
        return f"{path} at {offset:g} s" if offset else str(path)

    return [
        {"sample": name(samples, i), "real": name(searched, place[i]), "distance": float(distance[i])}
        for i in np.argsort(distance, kind="stable")[:count]
    ]


def table(evaluation: dict[str, Any]) -> str:
    """The figures, the accuracy by label, the closest pair and the notes as text."""
    frame = pd.DataFrame(evaluation["metrics"].values()).set_index("name").rename_axis(None)
    frame = frame[list(COLUMNS)].rename(columns=COLUMNS)
    lines = [frame.to_string(na_rep="-", float_format="{:.3g}".format), "Accuracy of the samples by class:"]
    for label, row in evaluation["by_label"]["samples"].items():
        accuracy = "-" if math.isnan(row["accuracy"]) else f"{row['accuracy']:.3g}"
        lines.append(f"  {label or '(no label)'}: {accuracy} ({row['clips']} samples)")
    first = evaluation["closest"][0]
    lines.append(f"Nearest pair: {first['sample']} and the real clip {first['real']}, distance {first['distance']:.3g}")
    return "\n".join(lines + [f"Note: {note}" for note in evaluation["notes"]])
