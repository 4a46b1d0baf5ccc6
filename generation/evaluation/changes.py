"""Change from frame to frame: how much texture sounds have beside real ones. Smooth spectrograms change too little."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from classification.models.architecture import BandStatistics
from generation.evaluation.clips import Pictured
from generation.evaluation.figures import mean
from shared.evaluation.pictures import change
from shared.features.cache import FeatureCache
from shared.features.shards import Features
from shared.features.spec import PRESETS

FRAMES = PRESETS["flow"]  # 80-band log-mels, a frame every 12 ms
CHUNK = 64  # clips in memory at the same time


def frame_change(
    files: dict[str, pd.DataFrame | None], real: pd.DataFrame, cache: FeatureCache, *, n_jobs: int | None
) -> dict[str, Any]:
    """Mean absolute difference of neighbouring frames of 80-band log-mels, in standard deviations of the band.

    Args:
        files: column -> the sounds to measure, or None.
        real: training clips; the deviations are those of their bands.

    Returns:
        all: column -> mean over its clips; by_label: label -> column -> mean. "real" is a column, too; NaN where a
        column has no clips of the label.
    """
    training = Pictured.of(real, cache, n_jobs=n_jobs)
    deviations = np.sqrt(BandStatistics.of(_chunks(training.features)).variance)
    seen = {"real": training}
    seen |= {key: Pictured.of(those, cache, n_jobs=n_jobs) for key, those in files.items() if those is not None}
    values = {
        key: np.concatenate([change(x, deviations) for x in _chunks(clips.features)]) for key, clips in seen.items()
    }
    labels = {key: clips.manifest.label.to_numpy() for key, clips in seen.items()}
    columns = ["real", *files]

    def row(label: str | None) -> dict[str, float]:
        return {
            key: mean(values[key] if label is None else values[key][labels[key] == label]) if key in seen else math.nan
            for key in columns
        }

    return {"all": row(None), "by_label": {str(label): row(label) for label in sorted(set(labels["samples"]))}}


def _chunks(features: Features) -> Iterator[np.ndarray]:
    """The clips (B, M, T), a few at a time."""
    return (features[np.arange(i, min(i + CHUNK, len(features)))] for i in range(0, len(features), CHUNK))
