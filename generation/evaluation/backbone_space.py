"""FAD and KAD in the space of a backbone (--backbone-path), which no training of this project has seen."""

import math
from typing import Any

import numpy as np
import pandas as pd

from generation.evaluation.clips import Pictured
from generation.evaluation.embedding import make_noise
from shared.evaluation import distances
from shared.features.cache import FeatureCache

FIGURES = {
    "frechet": ("Fréchet audio distance (FAD)", distances.frechet),
    "kernel_distance": ("kernel audio distance (KAD)", distances.kernel_distance),
}


def backbone_distances(
    files: dict[str, pd.DataFrame | None], real: pd.DataFrame, cache: FeatureCache, *, seed: int, n_jobs: int | None
) -> dict[str, Any]:
    """The distances of sounds and of noise from real clips.

    A clip is the mean (D,) of its embeddings; its maximum is left out, since the Fréchet distance needs more clips
    than features.

    Args:
        files: column -> the sounds to compare, or None; "samples" is one of them.
        real: training clips.
        cache: of the backbone's embeddings.

    Returns:
        backbone: the model's file; features: D; frechet, kernel_distance: column -> distance, NaN without clips.
        "ceiling" is a column, too.
    """
    size = cache.spec.backbone.size

    def means(files: pd.DataFrame) -> np.ndarray:
        features = Pictured.of(files, cache, n_jobs=n_jobs).features
        return features[np.arange(len(features))][:, :size, 0]

    training = means(real)
    seen = {key: None if those is None else means(those) for key, those in files.items()}
    noise = make_noise(len(seen["samples"]), list(real.path), cache.spec, seed=seed)
    seen["ceiling"] = np.stack(noise)[:, :size, 0]
    found = {
        name: {key: math.nan if x is None else distance(training, x) for key, x in seen.items()}
        for name, (_, distance) in FIGURES.items()
    }
    return {"backbone": cache.spec.backbone.file, "features": size} | found
