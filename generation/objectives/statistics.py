"""The statistics of the training clips that generators start from: how each class varies around its mean spectrum."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from shared.features.batches import Batches

PRIOR = 30  # clips of all classes that say how the directions share a class's variance, beside its own few recordings


def drawn_shares(batches: Batches, n_classes: int) -> np.ndarray:
    """How often each clip is drawn among those of each class, and among all in the last row: (K + 1, N)."""
    drawn = np.full(batches.clips, 1 / batches.clips) if batches.weights is None else batches.weights
    of_class = drawn * (batches.labels == np.arange(n_classes)[:, None])
    return np.vstack([of_class / of_class.sum(axis=1, keepdims=True), drawn]).astype(np.float32)


def statistics(x: Tensor, shares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What ``models.gaussian.Gaussian`` needs to know of scaled clips x (N, M, T).

    Args:
        shares: how often each clip is drawn among those of each class, and among all in the last row (K + 1, N).

    Returns:
        The mean spectra (K + 1, M); the variances (K + 1, F, M) of the modulation frequencies, F = T // 2 + 1, along
        directions (F, M, M) in which the bands of all clips are uncorrelated. White noise has the variance 1.
    """
    means = torch.stack([torch.einsum("n,nmt->m", share, x) / x.shape[-1] for share in shares])
    everything = coefficients(x, means[-1]) * shares[-1].sqrt()[:, None]
    basis = torch.linalg.eigh(smooth(torch.stack([(X.mT @ X.conj()).real for X in everything]))).eigenvectors
    of_all = powers(everything, basis).sum(dim=1)
    variances = []
    for share, mean in zip(shares, means, strict=True):
        own = torch.einsum("n,fnm->fm", share, powers(coefficients(x, mean), basis))
        count = 1 / share.square().sum()  # as many clips as would be this certain, if all counted the same
        prior = of_all * own.sum(dim=1, keepdim=True) / of_all.sum(dim=1, keepdim=True).clamp(min=1e-12)
        variances.append(smooth((count * own + PRIOR * prior) / (count + PRIOR)))
    return means, torch.stack(variances).clamp(min=1e-4), basis


def powers(coefficients: Tensor, basis: Tensor) -> Tensor:
    """The squared magnitudes of complex (F, N, M) along the directions (F, M, M)."""
    return (coefficients @ basis.to(coefficients.dtype)).abs().square()


def coefficients(x: Tensor, mean: Tensor) -> Tensor:
    """The modulation frequencies of clips x (N, M, T) minus their mean spectrum (M,): complex (F, N, M)."""
    return torch.fft.rfft(x - mean[:, None], norm="ortho").permute(2, 0, 1)


def smooth(S: Tensor) -> Tensor:
    """The mean of S (F, ...) over five neighbouring frequencies; the three lowest stay as they are."""
    flat = S.flatten(1).T[None]
    means = F.avg_pool1d(flat, 5, stride=1, padding=2, count_include_pad=False)[0].T.reshape(S.shape)
    return torch.cat([S[:3], means[3:]])
