"""Average the predictions of clips that sound like one recording; test sets often have several clips of each.

Clips with the same place and microphone can be found without labels (``shared.recordings.embedding``). If the clips of
a recording share a class, as in UrbanSound8K, averaging their predictions beats predicting each alone; if they do not
(a speaker says all ten digits), averaging does harm. The training clips show which of the two holds.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from classification.rundir import TOGETHER
from shared.files import replacing
from shared.recordings.embedding import AnyFeatures, Embedding

LIKENESS = 0.6  # clips with at least this cosine similarity sound alike
DIMENSIONS = 48  # of the embedding; with 24, one in a hundred clips of other recordings sounds alike
TRUST = 0.95  # average only if at least this share of the alike pairs of training clips share a class
LEAST_CLIPS = 20  # training clips needed to learn from
CHUNK = 512  # clips compared at a time
MOST_CLIPS = 1000  # clips searched at once for a match: with more, false matches increase


@dataclasses.dataclass(frozen=True)
class Together:
    """Finds clips that sound like one recording, as learned from training clips.

    Attributes:
        trust: share of the alike pairs of training clips with the same label; 0 without such pairs.
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
        """Replace the probabilities (N, K) of each clip by their geometric mean over the clips that sound like it."""
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
        """Load what a run learned; None if it predicts each clip by itself."""
        if not (run_dir / TOGETHER).is_file():
            return None
        with np.load(run_dir / TOGETHER) as arrays:
            return cls(Embedding(arrays["centre"], arrays["axes"]), float(arrays["trust"]))


def _alike(vectors: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields rows (B,) of clips (N, D) and a mask (B, N) of the clips that sound like each of them, itself included."""
    for rows in np.array_split(np.arange(len(vectors)), max(1, -(-len(vectors) // CHUNK))):
        alike = vectors[rows] @ vectors.T >= LIKENESS
        alike[np.arange(len(rows)), rows] = True
        yield rows, alike
