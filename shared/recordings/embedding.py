"""Embeds clips by their mean spectra, so that clips of one place and microphone lie close together.

Cepstral mean subtraction removes the mean log spectrum because it describes the channel more than the sound; here the
channel is wanted. As in speaker verification (Dehak et al., "Front-End Factor Analysis for Speaker Verification", 2011)
a linear discriminant analysis weighs the spectrum, and the cosine compares two. No recordings need be known: the
analysis learns from pieces of one clip, which surely are one recording. A clip's level and its cut do not matter.
"""

import dataclasses
from collections.abc import Iterator
from typing import Self

import numpy as np
from scipy import linalg

from shared.features.cache import Features
from shared.features.transforms import power_to_db

CLIPS_PER_DIMENSION = 8  # at least
PIECES = 4  # of a clip, to see how far one recording varies
CHUNK = 256  # clips read at a time
AnyFeatures = Features | np.ndarray


@dataclasses.dataclass(frozen=True)
class Embedding:
    """Learned of some clips, for these or others: ``centre`` (M,) of their mean spectra, ``axes`` (M, D)."""

    centre: np.ndarray
    axes: np.ndarray

    @classmethod
    def fit(cls, features: AnyFeatures, *, dimensions: int) -> Self:
        """Of at least three clips (N, M, T) in dB or as the cache holds them; D is at most ``dimensions``."""
        return cls._of(_profiles(features), dimensions)

    @classmethod
    def _of(cls, profiles: np.ndarray, dimensions: int) -> Self:
        from sklearn.covariance import ledoit_wolf  # a second to import, and only to learn

        means, n = profiles.mean(axis=1), len(profiles)
        within, _ = ledoit_wolf((profiles - means[:, None]).reshape(-1, means.shape[1]), assume_centered=True)
        within += max(1e-6 * np.trace(within), 1e-9) * np.eye(len(within))  # invertible even if every clip is silent
        d = min(dimensions, max(4, n // CLIPS_PER_DIMENSION), n - 1, len(within))
        ratios, axes = linalg.eigh(
            np.cov(means.T).reshape(within.shape), within, subset_by_index=(len(within) - d, len(within) - 1)
        )
        # tempers the few axes that would decide alone; exponent 0 would leave them, 0.5 make all axes equal
        return cls(means.mean(axis=0), axes / np.maximum(ratios, 1e-9) ** 0.25)

    def __call__(self, features: AnyFeatures) -> np.ndarray:
        """Clips (N, M, T) -> (N, D) unit rows, whose dot products are similarities."""
        return self._rows(_profiles(features))

    def _rows(self, profiles: np.ndarray) -> np.ndarray:
        rows = (profiles.mean(axis=1) - self.centre) @ self.axes
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def embed(features: AnyFeatures, *, dimensions: int) -> np.ndarray:
    """``Embedding`` of the very clips (N, M, T) it is learned of: (N, D) unit rows."""
    if len(features) < 3:
        return np.eye(len(features))
    profiles = _profiles(features)
    return Embedding._of(profiles, dimensions)._rows(profiles)


def chunks(features: AnyFeatures) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Some clips (B, M, T) in dB, and which of their frames sound (B, T): padding lies wholly at the clip's minimum."""
    for start in range(0, len(features), CHUNK):
        x = features[np.arange(start, min(start + CHUNK, len(features)))]
        if x.ndim != 3:
            raise ValueError(f"features of shape {x.shape}: must be spectrograms, (N, M, T)")
        if isinstance(features, Features) and features.spec.scaling == "log1p":
            x = np.stack([power_to_db(np.expm1(clip)) for clip in x])
        yield x, x.max(axis=1) > x.min(axis=(1, 2))[:, None]


def _profiles(features: AnyFeatures) -> np.ndarray:
    """Mean spectra (N, PIECES, M), less their level, of the pieces of what sounds in each clip."""
    profiles = []
    for x, sounds in chunks(features):
        for clip, frames in zip(x, sounds, strict=True):
            pieces = np.array_split(clip[:, frames], PIECES, axis=1)
            spectra = [piece.mean(axis=1) - piece.mean() for piece in pieces if piece.size]
            profiles.append(spectra if len(spectra) == PIECES else np.zeros((PIECES, len(clip))))
    return np.array(profiles, dtype=float)
