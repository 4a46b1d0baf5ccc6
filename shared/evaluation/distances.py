"""Distances between generated and real sounds, computed from a classifier's features and probabilities.

Features are (N, D), one row per clip; R and S are the numbers of real and generated clips. A figure is NaN if there
are too few clips to compute it.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
from scipy.linalg import svdvals
from sklearn.metrics import pairwise_distances

NEIGHBOURS = 5  # k of precision, recall, density and coverage


def frechet(real: np.ndarray, x: np.ndarray) -> float:
    """Fréchet distance of the Gaussians fitted to real (R, D) and x (S, D): Heusel et al. 2017 (FID), Kilgour et al.
    2019 (FAD).

    |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½). With C = AᵀA, where A are the centred features divided by (N - 1)^½, the
    trace of the root equals the sum of the singular values of A1 A2ᵀ. No matrix root is computed, so singular
    covariances need no special treatment.
    """
    if min(len(real), len(x)) < 2:
        return float("nan")
    return _frechet(*_gaussian(real), *_gaussian(x))


def _frechet(m1: np.ndarray, a1: np.ndarray, m2: np.ndarray, a2: np.ndarray) -> float:
    distance = ((m1 - m2) ** 2).sum() + (a1**2).sum() + (a2**2).sum() - 2 * svdvals(a1 @ a2.T).sum()
    return max(0.0, float(distance))


def _gaussian(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean (D,) of x (N, D) and a factor A (at most D rows, D) of its covariance AᵀA."""
    x = np.asarray(x, dtype=np.float64)
    mean = x.mean(axis=0)
    a = (x - mean) / np.sqrt(len(x) - 1)
    return mean, np.linalg.qr(a, mode="r") if len(a) > a.shape[1] else a


def frechet_infinity(real: np.ndarray, x: np.ndarray, *, seed: int = 0) -> float:
    """Fréchet distance extrapolated to infinitely many samples (FAD-infinity: Gui et al. 2024, Chong & Forsyth 2020).

    The distance of S samples has a positive bias of about constant / S. A line is fitted to the distances of 15 sample
    sizes, from S / 2 to S, against 1 / size, and evaluated at 0; the result may be negative. NaN for fewer than 20
    samples. With fewer samples than features the relation is not linear, and some positive bias remains.
    """
    if len(real) < 2 or len(x) < 20:
        return float("nan")
    rng, of_real = np.random.default_rng(seed), _gaussian(real)
    sizes = np.unique(np.linspace(len(x) / 2, len(x), 15).astype(int))
    distances = [_frechet(*of_real, *_gaussian(x[rng.permutation(len(x))[:n]])) for n in sizes]
    return float(np.polyfit(1 / sizes, distances, 1)[1])


def frechet_diagonal(real: np.ndarray, x: np.ndarray) -> float:
    """Fréchet distance of Gaussians with diagonal covariances, divided by D: the mean over the features."""
    if min(len(real), len(x)) < 2:
        return float("nan")
    real, x = np.asarray(real, dtype=np.float64), np.asarray(x, dtype=np.float64)
    means, deviations = (f(real, axis=0) - f(x, axis=0) for f in (np.mean, partial(np.std, ddof=1)))
    return float((means**2 + deviations**2).mean())


def frechet_by_label(
    real: np.ndarray, real_labels: Sequence[str], x: np.ndarray, labels: Sequence[str]
) -> dict[str, float]:
    """``frechet_diagonal`` for each label of x; NaN if either set has fewer than two clips of it."""
    real_labels, labels = np.asarray(real_labels), np.asarray(labels)
    return {str(k): frechet_diagonal(real[real_labels == k], x[labels == k]) for k in np.unique(labels)}


def kernel_distance(real: np.ndarray, x: np.ndarray) -> float:
    """KAD (Chung et al. 2025): the unbiased squared maximum mean discrepancy (Gretton et al. 2012, eq. 3), times 100 as
    in the authors' toolkit.

    The kernel is a Gaussian whose width is the median distance between real clips. If both sets come from the same
    distribution, the expected value is 0 for any number of clips, so negative values are normal.
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
    """Exp of the mean KL divergence between probabilities (N, K) and their mean, 1 to K (Salimans et al. 2016)."""
    p = np.clip(np.asarray(probabilities, dtype=np.float64), 1e-12, 1.0)
    return float(np.exp((p * np.log(p / p.mean(axis=0))).sum(axis=1).mean()))


def spectral_norm(x: np.ndarray) -> float:
    """The largest eigenvalue of the features' covariance: the variance along the widest direction."""
    return float(svdvals(_gaussian(x)[1])[0] ** 2) if len(x) > 1 else float("nan")


def within_class_distance(x: np.ndarray, labels: Sequence[str]) -> float:
    """Mean distance between clips of the same class, averaged over classes: 0 if all clips of each class are equal."""
    labels = np.asarray(labels)
    classes = [x[labels == k] for k in np.unique(labels)]
    means = [_distances(c).sum() / (len(c) * (len(c) - 1)) for c in classes if len(c) > 1]
    return float(np.mean(means)) if means else float("nan")


def neighbourhoods(real: np.ndarray, x: np.ndarray, *, k: int = NEIGHBOURS) -> dict[str, float]:
    """Precision, recall, density and coverage: how far real and generated clips cover each other.

    A clip's neighbourhood is the ball whose radius is the distance to the k-th nearest clip of its own set.
    precision: share of x inside a neighbourhood of a real clip; recall: share of real inside a neighbourhood of x
    (Kynkäänniemi et al. 2019, eq. 2). density: mean number of real neighbourhoods around a clip of x, divided by k;
    coverage: share of real neighbourhoods that contain a clip of x (Naeem et al. 2020, eq. 3 and 4). All are NaN if
    either set has k clips or fewer.
    """
    if min(len(real), len(x)) <= k:
        return dict.fromkeys(("precision", "recall", "density", "coverage"), float("nan"))
    of_real, of_x = (np.partition(_distances(y), k, axis=1)[:, k] for y in (real, x))  # index 0 is the clip itself
    d = _distances(real, x)
    inside = d < of_real[:, None]
    return {
        "precision": float(inside.any(axis=0).mean()),
        "recall": float((d < of_x).any(axis=1).mean()),
        "density": float(inside.sum(axis=0).mean() / k),
        "coverage": float(inside.any(axis=1).mean()),
    }


def _distances(x: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
    """Euclidean distances (N, N) within x, or (N, M) between x and y."""
    return pairwise_distances(x.astype(np.float64), None if y is None else y.astype(np.float64))
