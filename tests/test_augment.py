"""Each augmentation changes only what it describes, and is reproducible from its random numbers."""

from functools import partial

import numpy as np
import pytest

from shared.features.augment import Augment, mask_stripe


def batch(n: int = 6, bands: int = 8, frames: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Clips in which each value encodes its clip, band and frame."""
    x = np.arange(n)[:, None, None] * 10_000 + np.arange(bands)[:, None] * 100 + np.arange(frames)
    return x.astype(np.float32), np.arange(n) % 3


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_default_only_makes_labels_one_hot() -> None:
    x, y = batch()
    seen, soft = Augment()(x, y, rng(), n_classes=3)
    np.testing.assert_array_equal(seen, x)
    np.testing.assert_array_equal(soft, np.eye(3)[y])


@pytest.mark.parametrize("shift", [False, True])
def test_a_crop_is_a_stretch_of_the_clip(shift: bool) -> None:
    x, y = batch()
    seen, _ = Augment(crop=5, time_shift=shift)(x, y, rng(), n_classes=3)
    assert seen.shape == (6, 8, 5)
    steps = np.diff(seen, axis=2)
    assert set(np.unique(steps)) <= ({1.0, -19.0} if shift else {1.0})  # a shifted clip wraps around its end
    np.testing.assert_array_equal(seen[:, 1:] - seen[:, :1], (x[:, 1:] - x[:, :1])[:, :, :5])


def test_time_shift_keeps_every_frame() -> None:
    x, y = batch()
    seen, _ = Augment(time_shift=True)(x, y, rng(), n_classes=3)
    np.testing.assert_array_equal(np.sort(seen, axis=2), x)
    assert len(np.unique(seen[:, 0, 0] - x[:, 0, 0])) > 1


def test_mixed_style_keeps_the_shape_of_each_band() -> None:
    """Each band keeps its course over time; its mean and deviation lie between those of two clips."""
    noise = np.random.default_rng(1)
    x = (noise.normal(size=(6, 8, 50)) * noise.uniform(1, 9, (6, 8, 1)) + noise.uniform(-60, 0, (6, 8, 1))).astype("f4")
    mixing = [Augment(mixstyle=0.5)(x, np.zeros(6, dtype=int), rng(seed), n_classes=3)[0] for seed in range(8)]
    assert 0 < sum(np.array_equal(seen, x) for seen in mixing) < 8  # half of the batches
    seen = next(seen for seen in mixing if not np.array_equal(seen, x))

    def standard(x: np.ndarray) -> np.ndarray:
        return (x - x.mean(axis=2, keepdims=True)) / x.std(axis=2, keepdims=True)

    np.testing.assert_allclose(standard(seen), standard(x), atol=1e-2)
    for figure in (np.mean, np.std):
        before, after = figure(x, axis=2), figure(seen, axis=2)
        assert (after >= before.min(axis=0) - 0.01).all() and (after <= before.max(axis=0) + 0.01).all()
        assert np.abs(after - before).max() > 0.5


@pytest.mark.parametrize(("axis", "widest"), [(1, 3), (2, 4)])
def test_masks_are_stripes_of_the_given_value(axis: int, widest: int) -> None:
    x, _ = batch(n=50)
    changed = (seen := mask_stripe(x, axis, widest, rng(), fill=-1.0)) != x
    assert (seen[changed] == -1).all() and changed.mean() < 0.5
    assert 0 < changed.all(axis=3 - axis).sum(axis=1).max() <= widest


def test_mixup_mixes_labels_as_it_mixes_clips() -> None:
    """Each clip is its own one-hot label, so each mixed clip must equal its mixed label."""
    y = np.arange(12) % 3
    x = np.eye(3, dtype=np.float32)[y][:, :, None]
    seen, soft = Augment(mixup=0.4)(x, y, rng(), n_classes=3)
    np.testing.assert_allclose(seen[:, :, 0], soft, atol=1e-6)
    assert (soft.argmax(axis=1) == y).all() and ((soft > 0).sum(axis=1) == 2).any()


def test_class_weights_scale_the_labels() -> None:
    x, y = batch()
    weighted = Augment()(x, y, rng(), n_classes=3, class_weights=(1.0, 2.0, 0.5))[1]
    np.testing.assert_allclose(weighted.sum(axis=1), np.array([1, 2, 0.5])[y])


def test_the_same_random_numbers_give_the_same_batch() -> None:
    x, y = batch()
    every = partial(Augment(crop=7, time_shift=True, mixstyle=0.3, mixup=0.3), n_classes=3)
    for a, b in zip(every(x, y, rng(5)), every(x, y, rng(5)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (every(x, y, rng(5))[0] != every(x, y, rng(6))[0]).any()
