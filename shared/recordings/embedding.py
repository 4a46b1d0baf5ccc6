"""Embeds clips by their mean spectra, so that clips from the same place and microphone lie close together.

The mean log spectrum describes the channel more than the sound, which is why cepstral mean subtraction removes it. Here
it is kept to recognise the channel. As in speaker verification (Dehak et al., "Front-End Factor Analysis for Speaker
Verification", 2011), a linear discriminant analysis weights the spectrum, and clips are compared by cosine similarity.
The analysis needs no known recordings: it treats the pieces of each clip as one recording. The embedding does not
depend on a clip's level, and hardly on where the clip was cut.
"""

import dataclasses
from collections.abc import Iterator
from typing import Self

import numpy as np
from scipy import linalg
from tqdm import tqdm

from shared.features.shards import Features
from shared.features.transforms import power_to_db

CLIPS_PER_DIMENSION = 8  # minimum, limits the dimensions for few clips
PIECES = 4  # pieces per clip, to estimate the variation within a recording
CHUNK = 256  # clips read at a time
AnyFeatures = Features | np.ndarray


@dataclasses.dataclass(frozen=True)
class Embedding:
    """An embedding fitted to some clips: the ``centre`` (M,) of their mean spectra and the ``axes`` (M, D)."""

    centre: np.ndarray
    axes: np.ndarray

    @classmethod
    def fit(cls, features: AnyFeatures, *, dimensions: int) -> Self:
        """Fit to at least three clips (N, M, T), from the cache or as an array in dB; D is at most ``dimensions``."""
        return cls._of(_profiles(features), dimensions)

    @classmethod
    def _of(cls, profiles: np.ndarray, dimensions: int) -> Self:
        from sklearn.covariance import ledoit_wolf  # imported here because it takes a second

        means, n = profiles.mean(axis=1), len(profiles)
        within, _ = ledoit_wolf((profiles - means[:, None]).reshape(-1, means.shape[1]), assume_centered=True)
        within += max(1e-6 * np.trace(within), 1e-9) * np.eye(len(within))  # invertible even if every clip is silent
        d = min(dimensions, max(4, n // CLIPS_PER_DIMENSION), n - 1, len(within))
        ratios, axes = linalg.eigh(
            np.cov(means.T).reshape(within.shape), within, subset_by_index=(len(within) - d, len(within) - 1)
        )
        # reduces the dominance of a few axes: exponent 0 would not change it, 0.5 would make all axes equal
        return cls(means.mean(axis=0), axes / np.maximum(ratios, 1e-9) ** 0.25)

    def __call__(self, features: AnyFeatures) -> np.ndarray:
        """Embed clips (N, M, T) as unit rows (N, D), whose dot products are cosine similarities."""
        return self._rows(_profiles(features))

    def _rows(self, profiles: np.ndarray) -> np.ndarray:
        rows = (profiles.mean(axis=1) - self.centre) @ self.axes
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def embed(features: AnyFeatures, *, dimensions: int) -> np.ndarray:
    """Fit an ``Embedding`` to clips (N, M, T) and embed the same clips: unit rows (N, D)."""
    if len(features) < 3:
        return np.eye(len(features))
    profiles = _profiles(features)
    return Embedding._of(profiles, dimensions)._rows(profiles)


def chunks(features: AnyFeatures, stage: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield clips (B, M, T) in dB, and which of their frames are not padding (B, T).

    In a frame of padding all bands are at the clip's minimum. ``stage`` names the progress bar.
    """
    if isinstance(features, Features):
        features = features.part(0)
    for start in tqdm(range(0, len(features), CHUNK), stage, unit="chunk", delay=1, disable=None):
        x = features[np.arange(start, min(start + CHUNK, len(features)))]
        if x.ndim != 3:
            raise ValueError(f"features of shape {x.shape}: must be spectrograms, (N, M, T)")
        if isinstance(features, Features) and features.spec.keeps_level:
            undo = np.expm1 if features.spec.scaling == "log1p" else np.exp
            x = np.stack([power_to_db(undo(clip) ** (2 / features.spec.power)) for clip in x])
        yield x, x.max(axis=1) > x.min(axis=(1, 2))[:, None]


def _profiles(features: AnyFeatures) -> np.ndarray:
    """Mean spectra (N, PIECES, M) of the pieces of each clip, without padding, minus their mean level."""
    profiles = []
    for x, sounds in chunks(features, "reading mean spectra"):
        for clip, frames in zip(x, sounds, strict=True):
            pieces = np.array_split(clip[:, frames], PIECES, axis=1)
            spectra = [piece.mean(axis=1) - piece.mean() for piece in pieces if piece.size]
            profiles.append(spectra if len(spectra) == PIECES else np.zeros((PIECES, len(clip))))
    return np.array(profiles, dtype=float)
