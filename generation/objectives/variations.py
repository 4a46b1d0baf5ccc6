"""Variations of log-mels scaled ln, so that a generator does not learn few recordings by heart.

The mean spectrum is nearly the whole picture of a steady sound, so a generator learns it by heart first. Therefore a
steady clip gets a new mean spectrum in every epoch. The more a clip varies in time, the more of its own it keeps.
"""

import dataclasses
import math

import numpy as np

NEPER = math.log(10) / 20  # of a decibel
CURVES = 4  # cosines over the bands that make a smooth change of the spectrum


@dataclasses.dataclass(frozen=True)
class Variations:
    """Augmentation of clips x (B, M, T) of ordinals y (B,): each becomes a new one.

    Attributes:
        silence: the lowest value, which stays as it is.
        gain: a clip's level changes by at most this many dB either way.
        equalise: a smooth random curve is added to a steady clip's spectrum, as another microphone or place would do.
            Its root mean square is this many dB, and less for clips that vary in time.
        blend: how much of a steady clip's mean spectrum is drawn from the normal distribution of its class: 0 keeps the
            clip's own, 1 replaces it; clips that vary in time keep more. Its smooth part is shrunk towards the mean of
            the class, so that spectra with curves differ as much as the clips' own spectra do. The fine structure, such
            as a motor's harmonics, keeps its size.
        time_shift: whether clips are rotated by a random number of frames.
        means: mean spectra of the classes (K, M).
        roots: square roots of the covariances (K, M, M) of their clips' mean spectra.
    """

    silence: float
    gain: float
    equalise: float
    blend: float
    time_shift: bool
    means: np.ndarray | None = None
    roots: np.ndarray | None = None

    def fit(self, x: np.ndarray, shares: np.ndarray) -> "Variations":
        """These variations with the means and roots of clips x (N, M, T).

        Args:
            shares: how often each clip is drawn among those of each class (K, N); every row sums to 1.
        """
        own = self.spectra(x)
        weights = shares[:, :, None] * ~np.isnan(own)  # (K, N, M)
        means = (weights * np.nan_to_num(own)).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-12)
        roots = np.stack(
            [root(share[:, None] ** 0.5 * np.nan_to_num(own - mean)) for share, mean in zip(shares, means, strict=True)]
        )
        return dataclasses.replace(self, means=means, roots=roots)

    def __call__(self, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        clips, bands, frames = x.shape
        if self.time_shift:
            places = (rng.integers(frames, size=clips)[:, None] + np.arange(frames)) % frames
            x = np.take_along_axis(x, places[:, None], axis=2)
        steady = steadiness(x)[:, None] ** 2
        size = self.equalise * NEPER * steady
        change = NEPER * rng.uniform(-self.gain, self.gain, size=(clips, 1)) + size * curves(clips, bands, rng)
        if self.blend:
            own, mean, roots, share = self.spectra(x), self.means[y], self.roots[y], self.blend * steady
            drawn = np.einsum("bi,bim->bm", rng.standard_normal((clips, bands)), roots)
            deviation = (1 - share) ** 0.5 * (own - mean) + share**0.5 * drawn
            variance = np.square(smooth(roots)).sum(axis=(1, 2))[:, None] / bands
            left = np.maximum(1 - self.blend * size**2 / np.maximum(variance, 1e-6), 0)
            new = mean + deviation - (1 - left**0.5) * smooth(np.nan_to_num(deviation))
            change = change + np.nan_to_num(new - own)
        changed = np.maximum(x + change.astype(np.float32)[:, :, None], np.float32(self.silence))
        return np.where(self.heard(x), changed, x), y

    def heard(self, x: np.ndarray) -> np.ndarray:
        return x > self.silence + 1e-3

    def spectra(self, x: np.ndarray) -> np.ndarray:
        """The mean spectra (B, M) of clips x (B, M, T), without silence; NaN where a band is silent all the time."""
        heard = self.heard(x)
        count = heard.sum(axis=2)
        return np.where(count > 0, np.where(heard, x, 0).sum(axis=2) / np.maximum(count, 1), np.nan)


def steadiness(x: np.ndarray) -> np.ndarray:
    """The share of the variance of each clip of x (B, M, T) that its mean spectrum explains (B,); 1 if it is steady."""
    return np.minimum(x.mean(axis=2).var(axis=1) / np.maximum(x.var(axis=(1, 2)), 1e-6), 1)


def cosines(bands: int) -> np.ndarray:
    """The smooth changes of a spectrum (CURVES, bands): orthogonal, the root mean square of each is 1."""
    return np.cos(np.pi * np.arange(1, CURVES + 1)[:, None] * (np.arange(bands) + 0.5) / bands) * 2**0.5


def curves(clips: int, bands: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth random curves (clips, bands), the root mean square of each is 1."""
    weights = rng.standard_normal((clips, CURVES))
    return weights / np.linalg.norm(weights, axis=1, keepdims=True) @ cosines(bands)


def smooth(spectra: np.ndarray) -> np.ndarray:
    """The part of spectra (..., bands) that curves can make."""
    basis = cosines(spectra.shape[-1])
    return spectra @ basis.T @ basis / spectra.shape[-1]


def root(deviations: np.ndarray) -> np.ndarray:
    """A square root (M, M) of the covariance of weighted deviations (N, M) from a mean."""
    values, vectors = np.linalg.eigh(deviations.T @ deviations)
    return values.clip(0)[:, None] ** 0.5 * vectors.T
