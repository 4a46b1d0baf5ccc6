"""The figures of samples, real clips and noise, and the table that shows them."""

import math
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from generation.evaluation.clips import Embedded
from shared.evaluation import distances

LOWER, HIGHER, LIKE_FLOOR = "lower", "higher", "as the floor"
METRICS = {  # name -> what the table calls it, and where it should go
    "frechet": ("Fréchet distance (FAD)", LOWER),
    "frechet_infinity": ("FAD-infinity", LOWER),
    "frechet_by_label": ("Fréchet by label, diagonal / D", LOWER),
    "kernel_distance": ("KAD", LOWER),
    "inception_score": ("inception score", HIGHER),
    "accuracy": ("classifier's accuracy", HIGHER),
    **{name: (name, HIGHER) for name in ("precision", "recall", "density", "coverage")},
    "spectral_norm": ("diversity: spectral norm", LIKE_FLOOR),
    "within_class_distance": ("diversity: distance in a class", LIKE_FLOOR),
    "nearest_distance": ("distance to the nearest heard clip", LIKE_FLOOR),
    "copies": ("share nearer than 95 % of the floor", LIKE_FLOOR),
}
SUSPICIOUS = 0.05  # share of unheard real clips that are as near to a heard clip by chance
NOTHING = dict.fromkeys(METRICS, math.nan), {}  # the figures of no clips


def compare(
    x: Embedded, real: Embedded, *, heard: Embedded, by_chance: float, common: Collection[str], seed: int
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """The figures of ``x`` against real clips, by the names in METRICS, and those of each label.

    Args:
        heard: the clips that are searched for copies.
        by_chance: distance to a heard clip below which a clip counts as a copy; NaN where there is no floor.
        common: labels that samples and reference share; without one all clips count as one class.
    """
    (real_x, real_labels), (own_x, own_labels) = (_labelled(clips, common) for clips in (real, x))
    frechet = distances.frechet_by_label(real_x, real_labels, own_x, own_labels)
    labels = x.manifest.label
    right = np.asarray(x.classes)[x.probabilities.argmax(axis=1)] == labels.to_numpy()
    right = np.where(labels.isin(x.classes), right, np.nan)  # the classifier does not know the others
    nearest = distances.nearest(heard.features, x.features)[1]
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
        "copies": math.nan if math.isnan(by_chance) else float((nearest < by_chance).mean()),
    }
    by_label = {
        str(k): {"clips": int((labels == k).sum()), "accuracy": _mean(right[labels == k]), "frechet": frechet.get(k)}
        for k in sorted(labels.unique())
    }
    return figures, by_label


def nearness_by_chance(heard: Embedded, floor: Embedded | None) -> float:
    """The distance to a heard clip that 5 % of the floor's clips fall below; NaN without a floor."""
    if floor is None:
        return math.nan
    return float(np.quantile(distances.nearest(heard.features, floor.features)[1], SUSPICIOUS))


def _labelled(clips: Embedded, common: Collection[str]) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels of the clips whose label is in common; all of them as one class where none is."""
    labels = clips.manifest.label.to_numpy()
    if not common:
        return clips.features, np.full(len(labels), "all")
    rows = np.isin(labels, list(common))
    return clips.features[rows], labels[rows]


def _mean(values: Any) -> float:
    """The mean of what is a number; NaN where nothing is."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def closest(samples: Embedded, heard: Embedded, *, count: int = 5) -> list[dict[str, Any]]:
    """The samples nearest to a heard clip, nearest first: what to listen to for copies."""
    place, distance = distances.nearest(heard.features, samples.features)

    def name(clips: Embedded, row: int) -> str:
        path, offset = clips.manifest.path[row], clips.manifest.offset[row]
        return f"{path} at {offset:g} s" if offset else str(path)

    return [
        {"sample": name(samples, i), "real": name(heard, place[i]), "distance": float(distance[i])}
        for i in np.argsort(distance, kind="stable")[:count]
    ]


def table(evaluation: dict[str, Any]) -> str:
    """The figures, the accuracy by label, the closest pair and the notes as text."""
    frame = pd.DataFrame(evaluation["metrics"].values()).set_index("name").rename_axis(None)
    columns = ["samples", "floor", "ceiling", "better"]
    lines = [frame.to_string(columns=columns, na_rep="-", float_format="{:.3g}".format)]
    for label, row in evaluation["by_label"]["samples"].items():
        accuracy = "-" if math.isnan(row["accuracy"]) else f"{row['accuracy']:.3g}"
        lines.append(f"  {label or '(no label)'}: {row['clips']} samples, accuracy {accuracy}")
    first = evaluation["closest"][0]
    lines.append(f"nearest to a real clip: {first['sample']} to {first['real']}, at {first['distance']:.3g}")
    return "\n".join(lines + [f"note: {note}" for note in evaluation["notes"]])
