"""Augmentation of log-mel batches in numpy, so that both frameworks train on the very same numbers."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augment:
    """(x, y) of a batch -> another view of it with soft labels; the defaults only make the labels soft.

    Attributes:
        n_classes: K.
        class_weights: (K,) factors of each class's loss, folded into the soft labels; None is all ones.
        crop: frames kept of each clip, from a random start; None keeps all.
        time_shift: the clip is a circle: a random frame becomes the first (a random shift; with ``crop``, a crop
            that may run over the end).
        mixstyle: alpha of the Beta distribution by which every band's mean and deviation over time become partly
            another clip's, in half of the batches (Freq-MixStyle, Schmid et al. 2022); 0 mixes none.
        gain: each clip is made louder or softer by up to so many dB.
        equaliser: standard deviation in dB of a random smooth gain over the bands, as other microphones and rooms
            have (random frequency response, after Nam et al. 2022, FilterAugment).
        time_mask, band_mask: widest stripe of frames or bands set to the clip's mean (SpecAugment, Park et al. 2019).
        mixup: alpha of the Beta(alpha, alpha) a clip and its partner are mixed by (Zhang et al. 2018); 0 mixes none.
        smoothing: share of the label spread over all classes (Szegedy et al. 2016).
    """

    n_classes: int
    class_weights: tuple[float, ...] | None = None
    crop: int | None = None
    time_shift: bool = False
    mixstyle: float = 0.0
    gain: float = 0.0
    equaliser: float = 0.0
    time_mask: int = 0
    band_mask: int = 0
    mixup: float = 0.0
    smoothing: float = 0.0

    def __call__(self, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """x float32 (B, M, T) in dB, y int (B,) -> x (B, M, crop or T), y float32 (B, K)."""
        x = self._window(x, rng)
        if self.mixstyle and rng.random() < 0.5:
            x = self._mix_style(x, rng)
        if self.gain:
            x = x + rng.uniform(-self.gain, self.gain, (len(x), 1, 1)).astype(np.float32)
        if self.equaliser:
            x = x + self._frequency_response(x.shape, rng)
        for axis, widest in ((1, self.band_mask), (2, self.time_mask)):
            if widest:
                x = mask_stripe(x, axis, widest, rng)
        soft = np.eye(self.n_classes, dtype=np.float32)[y]
        if self.mixup:
            share = rng.beta(self.mixup, self.mixup, (len(x), 1, 1)).astype(np.float32)
            share, partner = np.maximum(share, 1 - share), rng.permutation(len(x))
            x = share * x + (1 - share) * x[partner]
            soft = share[:, 0] * soft + (1 - share[:, 0]) * soft[partner]
        if self.smoothing:
            soft = (1 - self.smoothing) * soft + np.float32(self.smoothing / self.n_classes)
        if self.class_weights is not None:
            soft = soft * np.asarray(self.class_weights, dtype=np.float32)
        return x, soft

    def _window(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        frames = x.shape[2]
        kept = frames if self.crop is None else min(self.crop, frames)
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

    def _frequency_response(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        knots = rng.normal(0.0, self.equaliser, (shape[0], 6))
        bands = np.linspace(0, 5, shape[1])
        return np.stack([np.interp(bands, np.arange(6), gains) for gains in knots]).astype(np.float32)[:, :, None]


def mask_stripe(
    x: np.ndarray, axis: int, widest: int, rng: np.random.Generator, *, fill: float | None = None
) -> np.ndarray:
    """One stripe of each clip of x (B, M, T), up to ``widest`` wide along ``axis``, set to ``fill``; None is its mean.

    SpecAugment (Park et al. 2019).
    """
    size = x.shape[axis]
    width = rng.integers(min(widest, size) + 1, size=(len(x), 1))
    start = (rng.random((len(x), 1)) * (size - width + 1)).astype(int)
    places = np.arange(size)
    inside = (places >= start) & (places < start + width)
    inside = inside[:, :, None] if axis == 1 else inside[:, None, :]
    return np.where(inside, x.mean(axis=(1, 2), keepdims=True) if fill is None else np.float32(fill), x)
