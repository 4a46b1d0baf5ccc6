"""The constants of the spectrogram inside a model that takes a waveform.

The STFT is a convolution with windowed cosines and sines, which every runtime has. ``front_end_torch.py`` and
``front_end_keras.py`` compute the same as ``shared.features.transforms``.
"""

import numpy as np
import scipy.fft

from shared.features.spec import FeatureSpec
from shared.features.transforms import hann, mel_filterbank


def dft_basis(spec: FeatureSpec) -> np.ndarray:
    """The real and the imaginary part of each kept bin as filters: float32 (2 F, n_fft)."""
    bins = spec.bins or 1 + spec.n_fft // 2
    angles = 2 * np.pi * np.arange(bins)[:, None] * np.arange(spec.n_fft) / spec.n_fft
    return np.concatenate([np.cos(angles), -np.sin(angles)]).astype(np.float32) * hann(spec.n_fft)


def bands(spec: FeatureSpec) -> np.ndarray | None:
    """The mel filterbank (M, F); None if the spectrogram has linear bins."""
    return None if spec.kind == "stft" else mel_filterbank(spec)


def cosines(spec: FeatureSpec) -> np.ndarray:
    """The rows of the orthonormal DCT that give MFCCs: float32 (n_mfcc, M)."""
    return scipy.fft.dct(np.eye(spec.n_mels), axis=0, norm="ortho")[: spec.n_mfcc].astype(np.float32)
