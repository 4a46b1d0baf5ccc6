"""Batches of cached clips in an order that depends on (seed, epoch) alone, so that every framework and every resumed
run sees the same ones."""

from collections.abc import Iterator, Sequence

import numpy as np

from shared.cache import Features


class Batches:
    """Args:
    features: the clips; read from the cache a batch at a time.
    labels: ordinals (len(features),).
    batch_size: clips a batch; the last one may be smaller.
    seed: of the order.
    shuffle: a new order each epoch, or the given one.
    """

    def __init__(
        self,
        features: Features,
        labels: Sequence[int],
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = False,
    ) -> None:
        self.features, self.labels = features, np.asarray(labels, dtype=np.int64)
        self.batch_size, self.seed, self.shuffle = batch_size, seed, shuffle

    def __len__(self) -> int:
        """Batches an epoch."""
        return -(-len(self.features) // self.batch_size)

    @property
    def clips(self) -> int:
        return len(self.features)

    def order(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self.clips)
        return np.random.default_rng((self.seed, epoch)).permutation(self.clips)

    def get(self, epoch: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        """x float32 (B, M, T) and y int64 (B,) of one step."""
        indices = self.order(epoch)[step * self.batch_size : (step + 1) * self.batch_size]
        return self.features[indices], self.labels[indices]

    def __call__(self, epoch: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return (self.get(epoch, step) for step in range(len(self)))
