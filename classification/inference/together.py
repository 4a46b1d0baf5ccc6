"""One verdict for clips that sound like one recording: a competition's test set has several clips of each.

What place and microphone a clip is of can be heard (``shared.recordings.embedding``) without knowing any label. Where
such clips are of one class, as in UrbanSound8K, what all of them are taken for is worth more than what one is; where
they are not (one speaker says all ten digits), nothing is to be gained. The training clips tell which it is, and how to
hear it.
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
DIMENSIONS = 48  # of the embedding: with 24, a stranger in a hundred is alike, and a test set has hundreds
TRUST = 0.95  # least share of the alike pairs of training clips that are of one class
LEAST_CLIPS = 20  # to learn from
CHUNK, MOST_CLIPS = 512, 1000  # clips compared at a time; judged together, since strangers grow with their number


@dataclasses.dataclass(frozen=True)
class Together:
    """Learned of the training clips: how clips of one recording are known, and how often those are of one class.

    Attributes:
        trust: the share of the pairs of training clips that sound alike whose labels are the same; 0 if none do.
    """

    embedding: Embedding
    trust: float

    @classmethod
    def learn(cls, features: AnyFeatures, labels: Sequence[int]) -> Self | None:
        """Of training clips (N, M, T) and their labels (N,); None of fewer than ``LEAST_CLIPS``."""
        labels = np.asarray(labels)
        if len(labels) < LEAST_CLIPS:
            return None
        found = cls(Embedding.fit(features, dimensions=DIMENSIONS), 0.0)
        pairs = same = 0
        for rows, alike in _alike(found.embedding(features)):
            pairs += alike.sum() - len(rows)
            same += (alike & (labels[rows, None] == labels)).sum() - len(rows)
        return dataclasses.replace(found, trust=float(same / pairs) if pairs else 0.0)

    def judge(self, p: np.ndarray, features: AnyFeatures) -> np.ndarray:
        """Probabilities (N, K) of clips (N, M, T) -> each clip's geometric mean over those that sound like it."""
        if not len(p):
            return p
        judged, vectors = np.empty_like(p), self.embedding(features)
        for part in np.array_split(np.arange(len(p)), max(1, -(-len(p) // MOST_CLIPS))):
            scores = np.log(np.maximum(p[part], 1e-7))
            for rows, alike in _alike(vectors[part]):
                means = (alike / alike.sum(axis=1, keepdims=True)) @ scores
                together = np.exp(means - means.max(axis=1, keepdims=True))
                judged[part[rows]] = together / together.sum(axis=1, keepdims=True)
        return judged

    def save(self, run_dir: Path) -> None:
        with replacing(run_dir / TOGETHER) as temporary, temporary.open("wb") as file:
            np.savez(file, **dataclasses.asdict(self.embedding), trust=self.trust)

    @classmethod
    def load(cls, run_dir: Path) -> Self | None:
        """What a run's clips are judged together by; None where each is judged by itself."""
        if not (run_dir / TOGETHER).is_file():
            return None
        with np.load(run_dir / TOGETHER) as arrays:
            return cls(Embedding(arrays["centre"], arrays["axes"]), float(arrays["trust"]))


def _alike(vectors: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of clips (N, D), some (B,), and which of all sound like each of those (B, N); each is like itself."""
    for rows in np.array_split(np.arange(len(vectors)), max(1, -(-len(vectors) // CHUNK))):
        alike = vectors[rows] @ vectors.T >= LIKENESS
        alike[np.arange(len(rows)), rows] = True
        yield rows, alike
