"""Batches of cached clips. A batch depends only on (seed, epoch, step), so both frameworks and resumed runs get the
same batches."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from shared.errors import DivergedError
from shared.features.shards import Features

Augmentation = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]


class Batches:
    """Batches of N cached clips.

    Args:
        features: the clips; each batch is read from the cache when it is needed.
        labels: class ordinals (N,).
        batch_size: clips per batch; the last batch may be smaller.
        seed: seed of the order and of the augmentation.
        shuffle: whether each epoch has a new random order.
        weights: relative sampling weights of the clips (N,), drawn with replacement; None takes each clip once.
        augment: function of (x, y, rng) applied to each batch; None applies none.
    """

    def __init__(
        self,
        features: Features,
        labels: Sequence[int],
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = False,
        weights: Sequence[float] | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        self.features, self.clips = features, len(features)
        self.labels = np.asarray(labels, dtype=np.int64)
        self.batch_size, self.seed, self.shuffle, self.augment = batch_size, seed, shuffle, augment
        self.weights = None if weights is None else np.asarray(weights, dtype=float) / np.sum(weights)
        self.order = lru_cache(maxsize=1)(lambda epoch: self._draw(epoch))  # drawn once per epoch, not at every step

    def __len__(self) -> int:
        """Batches per epoch."""
        return -(-self.clips // self.batch_size)

    def _draw(self, epoch: int) -> np.ndarray:
        """The indices of an epoch's clips (N,), in training order."""
        if not self.shuffle:
            return np.arange(self.clips)
        rng = np.random.default_rng((self.seed, epoch))
        if self.weights is not None:
            return rng.choice(self.clips, size=self.clips, p=self.weights)
        return rng.permutation(self.clips)

    def _indices(self, epoch: int, step: int) -> np.ndarray:
        return self.order(epoch)[step * self.batch_size : (step + 1) * self.batch_size]

    def paths(self, epoch: int, step: int) -> list[Path | str]:
        """The files of the clips in the batch of one step."""
        return [self.features.paths[i] for i in self._indices(epoch, step)]

    def refuse_divergence(self, finite: Sequence[bool], epoch: int) -> None:
        """Refuse an epoch in which the loss of a step was not finite, before anything of it is kept.

        Raises:
            DivergedError: it names the step and its clips.
        """
        if not all(finite):
            step = list(finite).index(False)
            raise DivergedError(
                f"the loss is not finite in step {step + 1} of epoch {epoch + 1}: training diverged. Lower "
                "--learning-rate, or look for damage in that step's clips: "
                f"{', '.join(map(str, self.paths(epoch, step)))}. The state of the epoch before is kept"
            )

    def get(self, epoch: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The batch of one step: x float32 (B, M, T) and y int64 (B,), or the result of ``augment``."""
        indices = self._indices(epoch, step)
        x, y = self.features[indices], self.labels[indices]
        if self.augment is None:
            return x, y
        return self.augment(x, y, np.random.default_rng((self.seed, epoch, step)))

    def each_clip(self) -> Iterator[np.ndarray]:
        """All clips once, in order and as they are: batches x float32 (B, M, T)."""
        for start in range(0, self.clips, self.batch_size):
            yield self.features[np.arange(start, min(start + self.batch_size, self.clips))]

    def __call__(self, epoch: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return (self.get(epoch, step) for step in range(len(self)))
