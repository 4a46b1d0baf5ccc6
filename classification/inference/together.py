"""Averages the predictions of clips that sound like one recording; a competition's test set has several clips of each.

The place and the microphone of a clip can be recognised (``shared.recordings.embedding``) without any label. Where the
clips of a recording are of one class, as in UrbanSound8K, averaging their predictions beats predicting each alone;
where they are not (one speaker says all ten digits), it does harm. The training clips show which is the case.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from classification.rundir import TOGETHER
from shared.files import replacing
from shared.recordings.embedding import AnyFeatures, Embedding

LIKENESS = 0.6  # least cosine of clips of one recording
DIMENSIONS = 48  # of the embedding: with 24, one in a hundred clips of other recordings is alike
TRUST = 0.95  # least share of the alike pairs of training clips that are of one class
LEAST_CLIPS = 20  # to learn from
CHUNK, MOST_CLIPS = 512, 1000  # clips compared at a time; averaged together: more would bring more false matches


@dataclasses.dataclass(frozen=True)
class Together:
    """How clips of one recording are recognised, and how often those are of one class: learned from training clips.

    Attributes:
        trust: share of the alike pairs of training clips that have one label; 0 if no pair is alike.
    """

    embedding: Embedding
    trust: float

    @classmethod
    def learn(cls, features: AnyFeatures, labels: Sequence[int]) -> Self | None:
        """Learn from training clips (N, M, T) and their labels (N,); None if there are fewer than ``LEAST_CLIPS``."""
        labels = np.asarray(labels)
        if len(labels) < LEAST_CLIPS:
            return None
        found = cls(Embedding.fit(features, dimensions=DIMENSIONS), 0.0)
        pairs = same = 0
        for rows, alike in _alike(found.embedding(features)):
            pairs += alike.sum() - len(rows)
            same += (alike & (labels[rows, None] == labels)).sum() - len(rows)
        return dataclasses.replace(found, trust=float(same / pairs) if pairs else 0.0)

    def average(self, p: np.ndarray, features: AnyFeatures) -> np.ndarray:
        """Probabilities (N, K) of clips (N, M, T) -> each clip's geometric mean over those that sound like it."""
        if not len(p):
            return p
        averaged, vectors = np.empty_like(p), self.embedding(features)
        for part in np.array_split(np.arange(len(p)), max(1, -(-len(p) // MOST_CLIPS))):
            scores = np.log(np.maximum(p[part], 1e-7))
            for rows, alike in _alike(vectors[part]):
                means = (alike / alike.sum(axis=1, keepdims=True)) @ scores
                together = np.exp(means - means.max(axis=1, keepdims=True))
                averaged[part[rows]] = together / together.sum(axis=1, keepdims=True)
        return averaged

    def save(self, run_dir: Path) -> None:
        with replacing(run_dir / TOGETHER) as temporary, temporary.open("wb") as file:
            np.savez(file, **dataclasses.asdict(self.embedding), trust=self.trust)

    @classmethod
    def load(cls, run_dir: Path) -> Self | None:
        """What a run learned; None where it predicts each clip by itself."""
        if not (run_dir / TOGETHER).is_file():
            return None
        with np.load(run_dir / TOGETHER) as arrays:
            return cls(Embedding(arrays["centre"], arrays["axes"]), float(arrays["trust"]))


def _alike(vectors: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields rows (B,) of clips (N, D), and which clips sound like each of them (B, N); each is like itself."""
    for rows in np.array_split(np.arange(len(vectors)), max(1, -(-len(vectors) // CHUNK))):
        alike = vectors[rows] @ vectors.T >= LIKENESS
        alike[np.arange(len(rows)), rows] = True
        yield rows, alike
