"""How far generated sounds are from real ones: pure functions of a classifier's features and probabilities.

Features are (N, D), a row a clip; R and S are the numbers of real and generated clips. What too few clips leave
undefined is NaN.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
from scipy.linalg import svdvals
from sklearn.metrics import pairwise_distances, pairwise_distances_argmin_min

NEIGHBOURS = 5  # k of precision, recall, density and coverage


def frechet(real: np.ndarray, x: np.ndarray) -> float:
    """Fréchet distance of the Gaussians fitted to real (R, D) and x (S, D): Heusel et al. 2017 (FID), Kilgour et al.
    2019 (FAD).

    |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½). With C = AᵀA, A the centred features over (N - 1)^½, the trace of that root
    is the sum of the singular values of A1 A2ᵀ: no root of a matrix is taken, so singular covariances are no special
    case.
    """
    if min(len(real), len(x)) < 2:
        return float("nan")
    return _frechet(*_gaussian(real), *_gaussian(x))


def _frechet(m1: np.ndarray, a1: np.ndarray, m2: np.ndarray, a2: np.ndarray) -> float:
    distance = ((m1 - m2) ** 2).sum() + (a1**2).sum() + (a2**2).sum() - 2 * svdvals(a1 @ a2.T).sum()
    return max(0.0, float(distance))


def _gaussian(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean (D,) of x (N, D) and a factor A (at most D, D) of its covariance AᵀA."""
    x = np.asarray(x, dtype=np.float64)
    mean = x.mean(axis=0)
    a = (x - mean) / np.sqrt(len(x) - 1)
    return mean, np.linalg.qr(a, mode="r") if len(a) > a.shape[1] else a


def frechet_infinity(real: np.ndarray, x: np.ndarray, *, seed: int = 0) -> float:
    """Fréchet distance of infinitely many samples (FAD-infinity: Gui et al. 2024, after Chong & Forsyth 2020).

    That of S samples is too large by about a constant over S: a line is fitted to it over 1 / S, at 15 sizes from
    half of the samples to all of them, and read off at 0, where it may fall below 0. NaN below 20 samples. With fewer
    samples than features the line bends, and the figure is still too large.
    """
    if len(real) < 2 or len(x) < 20:
        return float("nan")
    rng, of_real = np.random.default_rng(seed), _gaussian(real)
    sizes = np.unique(np.linspace(len(x) / 2, len(x), 15).astype(int))
    distances = [_frechet(*of_real, *_gaussian(x[rng.permutation(len(x))[:n]])) for n in sizes]
    return float(np.polyfit(1 / sizes, distances, 1)[1])


def frechet_diagonal(real: np.ndarray, x: np.ndarray) -> float:
    """Fréchet distance of Gaussians whose features are independent, divided by D: a mean over the features."""
    if min(len(real), len(x)) < 2:
        return float("nan")
    real, x = np.asarray(real, dtype=np.float64), np.asarray(x, dtype=np.float64)
    means, deviations = (f(real, axis=0) - f(x, axis=0) for f in (np.mean, partial(np.std, ddof=1)))
    return float((means**2 + deviations**2).mean())


def frechet_by_label(
    real: np.ndarray, real_labels: Sequence[str], x: np.ndarray, labels: Sequence[str]
) -> dict[str, float]:
    """``frechet_diagonal`` within each label of x; NaN where either side has fewer than two clips of it."""
    real_labels, labels = np.asarray(real_labels), np.asarray(labels)
    return {str(k): frechet_diagonal(real[real_labels == k], x[labels == k]) for k in np.unique(labels)}


def kernel_distance(real: np.ndarray, x: np.ndarray) -> float:
    """KAD (Chung et al. 2025): 100 times, as in the authors' toolkit, the unbiased squared maximum mean discrepancy
    (Gretton et al. 2012, eq. 3).

    A Gaussian kernel as wide as the median distance between real clips. It is 0 on average where both come from one
    distribution, however few they are, and so is below 0 half of the time.
    """
    r, s = len(real), len(x)
    if min(r, s) < 2:
        return float("nan")
    within, among, across = _distances(real), _distances(x), _distances(real, x)
    width = np.median(within[np.triu_indices(r, 1)])
    if width == 0:
        return float("nan")
    within, among, across = (np.exp(-((d / width) ** 2) / 2) for d in (within, among, across))
    mmd = (within.sum() - r) / (r * (r - 1)) + (among.sum() - s) / (s * (s - 1)) - 2 * across.mean()
    return float(100 * mmd)


def inception_score(probabilities: np.ndarray) -> float:
    """Salimans et al. 2016: exp of the mean KL divergence of the probabilities (N, K) from their mean, 1 to K."""
    p = np.clip(np.asarray(probabilities, dtype=np.float64), 1e-12, 1.0)
    return float(np.exp((p * np.log(p / p.mean(axis=0))).sum(axis=1).mean()))


def spectral_norm(x: np.ndarray) -> float:
    """The largest eigenvalue of the features' covariance: how far the clips spread along their widest direction."""
    return float(svdvals(_gaussian(x)[1])[0] ** 2) if len(x) > 1 else float("nan")


def within_class_distance(x: np.ndarray, labels: Sequence[str]) -> float:
    """Mean distance between two clips of a class, each class counting once: 0 where every class has one sound."""
    labels = np.asarray(labels)
    classes = [x[labels == k] for k in np.unique(labels)]
    means = [_distances(c).sum() / (len(c) * (len(c) - 1)) for c in classes if len(c) > 1]
    return float(np.mean(means)) if means else float("nan")


def neighbourhoods(real: np.ndarray, x: np.ndarray, *, k: int = NEIGHBOURS) -> dict[str, float]:
    """How two clouds cover each other, a clip's neighbourhood reaching to its k-th nearest in its own cloud.

    precision, recall: share of x in some neighbourhood of real, and the reverse (Kynkäänniemi et al. 2019, eq. 2).
    density: real neighbourhoods a clip of x lies in, over k; coverage: share of real neighbourhoods with a clip of x
    (Naeem et al. 2020, eq. 3 and 4). All are NaN where either has no more than k clips.
    """
    if min(len(real), len(x)) <= k:
        return dict.fromkeys(("precision", "recall", "density", "coverage"), float("nan"))
    of_real, of_x = (np.partition(_distances(y), k, axis=1)[:, k] for y in (real, x))  # place 0 is the clip itself
    d = _distances(real, x)
    inside = d < of_real[:, None]
    return {
        "precision": float(inside.any(axis=0).mean()),
        "recall": float((d < of_x).any(axis=1).mean()),
        "density": float(inside.sum(axis=0).mean() / k),
        "coverage": float(inside.any(axis=1).mean()),
    }


def nearest(real: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each clip of x, which clip of real is the nearest and how far it is: (S,) and (S,)."""
    return pairwise_distances_argmin_min(x.astype(np.float64), real.astype(np.float64))


def _distances(x: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
    """Euclidean distances (N, N) within x, or (N, M) from x to y."""
    return pairwise_distances(x.astype(np.float64), None if y is None else y.astype(np.float64))
