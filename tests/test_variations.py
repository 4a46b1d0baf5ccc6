"""Variations of clips in training: what they change, what they keep, and how widely spectra are spread."""

import numpy as np
import pytest

from generation.objectives.variations import Variations, curves

SILENCE = float(np.log(1e-5))
THREE_DB = np.log(10) * 3 / 20


def varied(x: np.ndarray, y: np.ndarray | None = None, **how: float) -> np.ndarray:
    """What becomes of clips x (B, M, T) of ordinals y, whose classes are known from the same clips."""
    none = {"silence": SILENCE, "gain": 0.0, "equalise": 0.0, "blend": 0.0, "time_shift": False}
    y = np.zeros(len(x), dtype=int) if y is None else y
    of_class = (y == np.arange(y.max() + 1)[:, None]).astype("f4")
    variations = Variations(**none | how).fit(x, of_class / of_class.sum(axis=1, keepdims=True))
    changed, same = variations(x, y, np.random.default_rng(0))
    assert changed.dtype == np.float32 and changed.shape == x.shape and np.array_equal(same, y)
    return changed


def steady(clips: int, *, seed: int = 1) -> np.ndarray:
    """Clips (N, 80, 6) that do not change in time, with spectra that differ."""
    rng = np.random.default_rng(seed)
    spectra = rng.standard_normal((clips, 5)) @ rng.standard_normal((5, 80)) + np.linspace(0, -3, 80)
    return spectra.astype("f4")[:, :, None].repeat(6, axis=2)


def test_clips_are_shifted_and_changed_in_level_above_the_floor() -> None:
    x = np.full((3, 4, 10), SILENCE, "f4")
    x[:, :, 2:5] = 1.0
    out = varied(x, gain=6.0, time_shift=True)
    loud = out > SILENCE + 1e-3
    assert (loud.sum((1, 2)) == 12).all() and len({tuple(row) for row in loud[:, 0]}) > 1
    assert np.abs(out[loud] - 1).max() < np.log(10) * 6 / 20 + 1e-5 and np.ptp(out[loud]) > 0.05
    assert out[~loud].max() < SILENCE + 1e-3


def test_equalising_adds_a_smooth_curve_over_the_bands() -> None:
    x = np.random.default_rng(1).standard_normal((400, 80, 1)).astype("f4").repeat(2, axis=2)
    curves = varied(x, equalise=3.0) - x
    np.testing.assert_allclose(curves[:, :, 0], curves[:, :, 1], atol=1e-5)
    np.testing.assert_allclose(np.square(curves).mean(axis=(1, 2)) ** 0.5, THREE_DB, rtol=1e-3)
    assert np.abs(np.diff(curves, axis=1)).max() < 0.25


@pytest.mark.parametrize("how", [{"equalise": 3.0}, {"blend": 1.0}])
def test_a_clip_that_varies_in_time_is_changed_less(how: dict[str, float]) -> None:
    x = steady(300)
    noise = np.random.default_rng(2).standard_normal(x.shape).astype("f4")
    noise *= np.std(x, axis=1, keepdims=True)
    mixed, lively = x + noise, x / 10 + noise
    size = [
        np.square(varied(clips, **how) - clips).mean() ** 0.5 / clips.mean(axis=2).std() for clips in (mixed, lively)
    ]
    whole = np.square(varied(x, **how) - x).mean() ** 0.5 / x.mean(axis=2).std()
    assert 0.2 * whole < size[0] < 0.9 * whole and size[1] < 0.5 * size[0]


def test_a_steady_clip_gets_another_spectrum_of_its_class() -> None:
    y = np.repeat([0, 1], 300)
    x = steady(600) + 10 * y[:, None, None].astype("f4")
    new = varied(x, y, blend=1.0)
    np.testing.assert_allclose(new, new[:, :, :1].repeat(6, axis=2), atol=1e-5)
    for k in (0, 1):
        before, after = x[y == k, :, 0], new[y == k, :, 0]
        assert np.abs(after.mean(axis=0) - before.mean(axis=0)).max() < 0.5
        np.testing.assert_allclose(after.std(axis=0), before.std(axis=0), rtol=0.25)
        assert (
            abs(np.corrcoef((after - after.mean(axis=0)).ravel(), (before - before.mean(axis=0)).ravel())[0, 1]) < 0.1
        )


def test_with_an_equaliser_the_spectra_of_a_class_vary_as_before() -> None:
    x = 0.3 * steady(600) + 2 * curves(600, 80, np.random.default_rng(2)).astype("f4")[:, :, None]
    new, alone = varied(x, equalise=10.0, blend=1.0), varied(x, equalise=10.0)

    def spread(x: np.ndarray) -> float:
        return x[:, :, 0].std(axis=0).mean()

    def fine_structure(x: np.ndarray) -> float:
        return np.square(np.diff(x[:, :, 0], n=2, axis=1)).mean() ** 0.5

    assert spread(new) == pytest.approx(spread(x), rel=0.1) and spread(alone) > 1.1 * spread(x)
    assert fine_structure(new) == pytest.approx(fine_structure(x), rel=0.1)


def test_silence_stays_and_does_not_count_as_a_spectrum() -> None:
    x = steady(50)
    x[0], x[1, :, :2], x[2:25, 40:] = SILENCE, SILENCE, SILENCE
    new = varied(x, blend=1.0)
    assert (new[0] == x[0]).all() and (new[1, :, :2] == x[1, :, :2]).all() and (new[2:25, 40:] == x[2:25, 40:]).all()
    assert new[:, :, 2:].max() < 20 and new[25:, 40:].mean() > x[25:, 40:].mean() - 3


def test_a_class_of_one_clip_keeps_its_spectrum() -> None:
    x = steady(1)
    np.testing.assert_allclose(varied(x, blend=1.0), x, atol=1e-5)
