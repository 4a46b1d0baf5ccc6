"""From files to classes through the feature cache, for ``predict`` and for the competition's test set."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from classification.inference.classifier import Classifier
from shared.features.cache import FeatureCache


@dataclasses.dataclass(frozen=True)
class FilePredictions:
    """Predictions of files, each cut or padded to one clip.

    Attributes:
        kept: places of the N usable files among those given, in order.
        rejects: unusable file -> the reason.
        probabilities: float32 (N, K), clip by clip.
        averaged: float32 (N, K), averaged over the clips that sound like one recording; None where not asked for.
    """

    kept: Sequence[int]
    rejects: dict[Path, str]
    probabilities: np.ndarray
    averaged: np.ndarray | None

    @property
    def best(self) -> np.ndarray:
        """The probabilities (N, K) that name the classes: the averaged ones where there are."""
        return self.probabilities if self.averaged is None else self.averaged


def predict_files(
    classifier: Classifier, paths: Sequence[Path], cache: FeatureCache, *, together: bool, n_jobs: int | None = None
) -> FilePredictions:
    """Predict every file; ``together`` also averages clips that sound like one recording, if the run learned how."""
    clips = cache.build(list(paths), n_jobs=n_jobs)
    p = classifier.probabilities(clips.features[[row]][0] for row in range(len(clips.kept)))
    averaged = classifier.together.average(p, clips.features) if together and classifier.together else None
    return FilePredictions(clips.kept, clips.rejects, p, averaged)
