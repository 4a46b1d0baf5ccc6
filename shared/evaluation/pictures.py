"""Similarity of sounds by their pictures: spectrograms (M, T), compared over all circular shifts in time.

N, S and R count pictures. Two pictures that differ only in level or by a shift in time have a similarity of 1 if their
scaling is logarithmic.
"""

import numpy as np
import scipy.fft
from scipy.ndimage import uniform_filter1d

_ROWS = 64  # pictures whose correlations are computed together: bounds the memory to some 100 MiB


def similarity(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The largest correlation of each picture of x (S, M, T) with each of y (R, M, T) over all time shifts: (S, R).

    The correlation is Pearson's over all bands and frames, computed for all shifts at once by FFT. A constant picture
    has a correlation of 0 with every other.
    """
    frames = x.shape[-1]
    of_x, of_y = (scipy.fft.rfft(_unit(pictures), axis=-1) for pictures in (x, y))
    of_y = np.ascontiguousarray(of_y.transpose(2, 1, 0))  # (frequencies, M, R)
    best = np.empty((len(x), len(y)), dtype=np.float32)
    for start in range(0, len(x), _ROWS):
        rows = slice(start, start + _ROWS)
        products = np.ascontiguousarray(of_x[rows].conj().transpose(2, 0, 1)) @ of_y  # (frequencies, rows, R)
        best[rows] = scipy.fft.irfft(products, n=frames, axis=0).max(axis=0)
    return best


def _unit(x: np.ndarray) -> np.ndarray:
    """Pictures (N, M, T) with mean 0 and norm 1, float32; constant ones become 0."""
    centred = x.astype(np.float32) - x.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
    norm = np.sqrt(np.square(centred).sum(axis=(1, 2), keepdims=True))
    return centred / np.maximum(norm, 1e-3)


def smooth(x: np.ndarray, *, frames: int) -> np.ndarray:
    """The moving average of pictures (N, M, T) over this many frames; the edges are repeated."""
    return uniform_filter1d(x, frames, axis=-1, mode="nearest")


def change(x: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Mean absolute difference of neighbouring frames of each picture x (N, M, T): (N,).

    Args:
        deviations: the standard deviation of each band (M,), by which the differences are divided.
    """
    return np.abs(np.diff(x, axis=-1) / deviations[:, None]).mean(axis=(1, 2))
