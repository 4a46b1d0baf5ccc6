"""Augments log-mel batches in numpy, so that Keras and PyTorch train on the same numbers.

Each augmentation is one field of ``Augment``, which is also a command-line option.
"""

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import numpy as np

from shared.search import Between, OneOf


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augment:
    """Augmentation of training batches; the defaults only turn the labels into one-hot vectors."""

    crop: Annotated[float | None, OneOf((None, 1.0, 2.0, 3.0))] = None
    """Train on a random crop of this many seconds of each clip; None takes the whole clip."""
    time_shift: Annotated[bool, OneOf((False, True))] = False
    """Rotate each clip in time by a random number of frames; a crop may then wrap around the clip's end."""
    mixstyle: Annotated[float, Between(0.0, 0.8)] = 0.0
    """Alpha of Freq-MixStyle: mix mel bands' means and deviations between clips in half of the batches; 0 is off."""
    mixup: Annotated[float, Between(0.0, 0.8)] = 0.0
    """Alpha of mixup: mix pairs of clips and their labels with weights drawn from Beta(alpha, alpha); 0 is off."""

    def __call__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        rng: np.random.Generator,
        *,
        n_classes: int,
        frame_rate: float = 1.0,
        class_weights: Sequence[float] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Augment a batch and turn its labels into soft labels.

        Args:
            x: float32 (B, M, T) in dB.
            y: class ordinals (B,).
            n_classes: K.
            frame_rate: frames per second.
            class_weights: (K,) factors of each class's loss, multiplied into the soft labels; None is all ones.

        Returns:
            x (B, M, frames of the crop or T) and y float32 (B, K). Freq-MixStyle: Schmid et al. 2022; mixup: Zhang et
            al. 2018.
        """
        x = self._window(x, rng, frame_rate)
        if self.mixstyle and rng.random() < 0.5:
            x = self._mix_style(x, rng)
        soft = np.eye(n_classes, dtype=np.float32)[y]
        if self.mixup:
            share = rng.beta(self.mixup, self.mixup, (len(x), 1, 1)).astype(np.float32)
            share, partner = np.maximum(share, 1 - share), rng.permutation(len(x))
            x = share * x + (1 - share) * x[partner]
            soft = share[:, 0] * soft + (1 - share[:, 0]) * soft[partner]
        if class_weights is not None:
            soft = soft * np.asarray(class_weights, dtype=np.float32)
        return x, soft

    def _window(self, x: np.ndarray, rng: np.random.Generator, frame_rate: float) -> np.ndarray:
        frames = x.shape[2]
        kept = frames if self.crop is None else min(max(1, round(self.crop * frame_rate)), frames)
        if not self.time_shift and kept == frames:
            return x
        starts = rng.integers(frames if self.time_shift else frames - kept + 1, size=len(x))
        taken = (starts[:, None] + np.arange(kept)) % frames
        return np.take_along_axis(x, taken[:, None, :], axis=2)

    def _mix_style(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        mean, deviation = x.mean(axis=2, keepdims=True), x.std(axis=2, keepdims=True) + 1e-3
        share = rng.beta(self.mixstyle, self.mixstyle, (len(x), 1, 1)).astype(np.float32)
        partner = rng.permutation(len(x))
        to_mean = share * mean + (1 - share) * mean[partner]
        to_deviation = share * deviation + (1 - share) * deviation[partner]
        return (x - mean) / deviation * to_deviation + to_mean


def mask_stripe(x: np.ndarray, axis: int, widest: int, rng: np.random.Generator, *, fill: float) -> np.ndarray:
    """Mask one random stripe of each clip of x (B, M, T) with ``fill``: SpecAugment (Park et al. 2019).

    The stripe is 0 to ``widest`` wide along ``axis``.
    """
    size = x.shape[axis]
    width = rng.integers(min(widest, size) + 1, size=(len(x), 1))
    start = (rng.random((len(x), 1)) * (size - width + 1)).astype(int)
    places = np.arange(size)
    inside = (places >= start) & (places < start + width)
    return np.where(np.expand_dims(inside, 3 - axis), np.float32(fill), x)
