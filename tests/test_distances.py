"""Distances between sets of clips: identical sets, increasingly noisy sets, and values known in closed form."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.linalg import sqrtm

from shared.evaluation import distances as d

COVARIANCE_1 = np.array([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 0.5]])
COVARIANCE_2 = np.array([[1.0, -0.4, 0.2], [-0.4, 1.5, 0.0], [0.2, 0.0, 2.0]])


def gaussian(n: int, size: int = 8, *, seed: int = 0, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, size)) * scale + shift


def with_moments(mean: np.ndarray, covariance: np.ndarray, n: int = 50) -> np.ndarray:
    """Clips with exactly this sample mean and covariance."""
    x = gaussian(n, len(mean))
    x = (x - x.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    return x @ np.linalg.cholesky(covariance).T + mean


def between(real: np.ndarray, x: np.ndarray) -> dict[str, float]:
    """All distances that grow as x moves away from real."""
    return {
        "frechet": d.frechet(real, x),
        "infinity": d.frechet_infinity(real, x),
        "diagonal": d.frechet_diagonal(real, x),
        "kad": d.kernel_distance(real, x),
    }


def test_the_distance_of_a_set_from_itself_is_zero() -> None:
    x = gaussian(60, 5)
    assert d.frechet(x, x) == pytest.approx(0, abs=1e-9) and d.frechet_diagonal(x, x) == 0
    assert d.kernel_distance(x, x) <= 0  # negative: within a set, pairs of a clip with itself are left out
    assert d.neighbourhoods(x, x) == {"precision": 1, "recall": 1, "density": 1, "coverage": 1}
    labels = np.repeat(["a", "b"], 30)
    assert d.frechet_by_label(x, labels, x, labels) == {"a": 0, "b": 0}


def test_noisier_is_worse() -> None:
    real, x = gaussian(300, seed=1), gaussian(200, seed=2)
    noise = gaussian(200, seed=3)
    steps = [between(real, x + level * noise) for level in (0.0, 1.0, 2.0, 4.0)]
    clouds = [d.neighbourhoods(real, x + level * noise) for level in (0.0, 1.0, 2.0, 4.0)]
    for name in steps[0]:
        assert all(a[name] < b[name] for a, b in pairwise(steps)), name
    for name in ("precision", "density", "coverage"):
        assert all(a[name] > b[name] for a, b in pairwise(clouds)), name


def test_frechet_equals_the_closed_form_for_gaussians() -> None:
    m1, m2 = np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, -1.0])
    x1, x2 = with_moments(m1, COVARIANCE_1), with_moments(m2, COVARIANCE_2, n=70)
    trace = np.trace(COVARIANCE_1 + COVARIANCE_2 - 2 * sqrtm(COVARIANCE_1 @ COVARIANCE_2).real)
    assert d.frechet(x1, x2) == pytest.approx(10 + trace)
    assert d.frechet(x2, x1) == pytest.approx(10 + trace)
    diagonal = sum((a**0.5 - b**0.5) ** 2 for a, b in zip(np.diag(COVARIANCE_1), np.diag(COVARIANCE_2), strict=True))
    assert d.frechet_diagonal(x1, x2) == pytest.approx((10 + diagonal) / 3)


def test_frechet_is_exact_with_fewer_clips_than_features() -> None:
    """Singular covariances are handled by the same formula, and the distance of a shift is exact."""
    x = gaussian(10, 40)
    assert d.frechet(x, x) == pytest.approx(0, abs=1e-9)
    assert d.frechet(x, x + 3) == pytest.approx(9 * 40)
    assert d.frechet(x, np.zeros((10, 40))) == pytest.approx((x.mean(axis=0) ** 2).sum() + x.var(axis=0, ddof=1).sum())
    a, b = gaussian(30, 40, seed=1), gaussian(20, 40, seed=2)
    rotation = np.linalg.qr(gaussian(40, 40, seed=3))[0]
    assert d.frechet(a @ rotation, b @ rotation) == pytest.approx(d.frechet(a, b))


def test_extrapolation_removes_most_of_the_bias() -> None:
    """For few samples of the same distribution, the plain distance is biased, the extrapolated one is not."""
    real = gaussian(20_000, 16)
    plain, infinite = (
        [f(real, gaussian(60, 16, seed=seed)) for seed in range(1, 13)] for f in (d.frechet, d.frechet_infinity)
    )
    assert min(plain) > 1 and abs(np.mean(infinite)) < 0.2 * np.mean(plain)
    shifted = [d.frechet_infinity(real, gaussian(60, 16, seed=seed, shift=1.0)) for seed in range(1, 13)]
    assert np.mean(shifted) == pytest.approx(16, rel=0.1)


def test_kad_is_unbiased() -> None:
    """The mean over many small samples of one distribution is 0 within its standard error."""
    draws = [d.kernel_distance(gaussian(12, 4, seed=2 * i), gaussian(9, 4, seed=2 * i + 1)) for i in range(400)]
    error = np.std(draws) / np.sqrt(len(draws))
    assert abs(np.mean(draws)) < 4 * error and error < 0.5
    assert min(draws) < 0 < max(draws)


def test_kad_equals_a_value_computed_by_hand() -> None:
    real, x = np.array([[0.0], [2.0]]), np.array([[0.0], [4.0]])
    kernel = lambda distance: np.exp(-(distance**2) / (2 * 2**2))  # noqa: E731 -- 2 is the median distance
    across = (kernel(0) + kernel(4) + kernel(2) + kernel(2)) / 4
    assert d.kernel_distance(real, x) == pytest.approx(100 * (kernel(2) + kernel(4) - 2 * across))


def test_the_inception_score_counts_the_classes_predicted_with_confidence() -> None:
    assert d.inception_score(np.eye(4)[np.arange(40) % 4]) == pytest.approx(4)
    assert d.inception_score(np.full((40, 4), 0.25)) == pytest.approx(1)
    assert d.inception_score(np.eye(4)[np.zeros(40, int)]) == pytest.approx(1)  # confident, but only one class
    assert d.inception_score(np.eye(4)[np.arange(39) % 3]) == pytest.approx(3)


def test_diversity_figures_equal_values_computed_by_hand() -> None:
    x = with_moments(np.zeros(3), np.diag([4.0, 1.0, 0.25]))
    assert d.spectral_norm(x) == pytest.approx(4)
    assert d.spectral_norm(np.ones((5, 3))) == pytest.approx(0)
    square = np.array([[0.0, 0.0], [3.0, 4.0], [10.0, 0.0], [10.0, 1.0]])
    assert d.within_class_distance(square, ["a", "a", "b", "b"]) == pytest.approx(3)
    assert d.within_class_distance(np.repeat(square, 4, axis=0), np.repeat(list("abcd"), 4)) == pytest.approx(0)
    assert d.within_class_distance(2 * square, ["a", "a", "b", "c"]) == pytest.approx(10)  # b and c have no pair


def test_neighbourhoods_distinguish_quality_from_variety() -> None:
    real = np.concatenate([gaussian(100, 4, seed=1), gaussian(100, 4, seed=2, shift=50)])
    one_mode, off = gaussian(100, 4, seed=3), gaussian(100, 4, seed=4, shift=-50)
    seen = d.neighbourhoods(real, one_mode)
    assert seen["precision"] > 0.8 and 0.7 < seen["density"] < 1.3  # good clips
    assert seen["recall"] < 0.55 and 0.35 < seen["coverage"] < 0.55  # but only half of the data is covered
    assert set(d.neighbourhoods(real, off).values()) == {0.0}


def test_too_few_clips_give_nan() -> None:
    real, one = gaussian(30), gaussian(1)
    for value in (d.frechet(real, one), d.frechet_diagonal(one, real), d.kernel_distance(real, one)):
        assert np.isnan(value)
    assert np.isnan(d.frechet_infinity(real, gaussian(19))) and np.isfinite(d.frechet_infinity(real, gaussian(20)))
    assert np.isnan(list(d.neighbourhoods(real, gaussian(5)).values())).all()
    assert np.isnan(d.spectral_norm(one)) and np.isnan(d.within_class_distance(real, np.arange(30)))
    assert np.isnan(d.kernel_distance(np.ones((5, 2)), real[:, :2]))  # all real clips are equal
    by_label = d.frechet_by_label(real, ["a"] * 30, real[:3], ["a", "a", "b"])
    assert np.isfinite(by_label["a"]) and np.isnan(by_label["b"])
