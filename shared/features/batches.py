"""Batches of cached clips that depend on (seed, epoch, step) alone, so that every framework and every resumed run sees
the same ones."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np

from shared.features.cache import Features

Augmentation = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]


class Batches:
    """Args:
    features: the clips; read from the cache a batch at a time.
    labels: ordinals (len(features),).
    batch_size: clips a batch; the last one may be smaller.
    seed: of the order.
    shuffle: a new order each epoch, or the given one.
    weights: how often each clip is drawn in relation to the others (N,), with replacement; None draws each once.
    augment: what is done to a batch (x, y, rng); None leaves it as it is.
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
        self.order = lru_cache(maxsize=1)(lambda epoch: self._draw(epoch))  # drawn once an epoch, not at every step

    def __len__(self) -> int:
        """Batches an epoch."""
        return -(-self.clips // self.batch_size)

    def _draw(self, epoch: int) -> np.ndarray:
        """The clips of an epoch (N,) in the order they are trained on."""
        if not self.shuffle:
            return np.arange(self.clips)
        rng = np.random.default_rng((self.seed, epoch))
        if self.weights is not None:
            return rng.choice(self.clips, size=self.clips, p=self.weights)
        return rng.permutation(self.clips)

    def get(self, epoch: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        """x float32 (B, M, T) and y int64 (B,) of one step, or what the augmentation makes of them."""
        indices = self.order(epoch)[step * self.batch_size : (step + 1) * self.batch_size]
        x, y = self.features[indices], self.labels[indices]
        if self.augment is None:
            return x, y
        return self.augment(x, y, np.random.default_rng((self.seed, epoch, step)))

    def __call__(self, epoch: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return (self.get(epoch, step) for step in range(len(self)))
