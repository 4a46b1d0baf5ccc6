"""Similarity of pictures: 1 for shifted and louder sounds, low for noise; smoothing; change from frame to frame."""

import dataclasses
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from generation.evaluation.clips import Pictured
from generation.evaluation.copies import PICTURE, find_copies
from shared.audio import write_wav
from shared.evaluation.pictures import change, similarity, smooth
from shared.features.cache import FeatureCache


def pictures(n: int, *, bands: int = 8, frames: int = 20, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, bands, frames)).astype(np.float32)


def test_similarity_is_the_largest_correlation_over_time_shifts() -> None:
    x, y = pictures(70), pictures(3, seed=1)
    found = similarity(x, y)
    shifted = [np.roll(y, shift, axis=2) for shift in range(20)]
    for i, j in ((0, 0), (69, 2), (33, 1)):
        expected = max(np.corrcoef(x[i].ravel(), each[j].ravel())[0, 1] for each in shifted)
        assert found[i, j] == pytest.approx(expected, abs=1e-5)
    moved = 3 + 2 * np.roll(y, 7, axis=2)  # another level, contrast and start
    np.testing.assert_allclose(np.diag(similarity(moved, y)), 1, atol=1e-5)
    assert (similarity(np.full_like(y, -5), y) == 0).all() and similarity(x[:0], y).shape == (0, 3)


def test_many_pairs_are_quick() -> None:
    x, y = pictures(100, bands=40, frames=173), pictures(200, bands=40, frames=173, seed=1)
    began = time.perf_counter()
    similarity(x, y)
    assert time.perf_counter() - began < 5  # 0.1 s on a quiet core


def test_smoothed_pictures_change_less_from_frame_to_frame() -> None:
    x, deviations = pictures(4, frames=400), np.full(8, 2.0)
    assert change(x, deviations) == pytest.approx(2 / np.sqrt(np.pi) / 2, rel=0.05)  # |difference| of two normal values
    assert (change(smooth(x, frames=9), deviations) < 0.3 * change(x, deviations)).all()
    assert (change(np.ones_like(x), deviations) == 0).all()


def tones(folder: Path, seed: int, *, recordings: int = 6, slices: int = 2) -> pd.DataFrame:
    """Clips of bursts in noise; those of one recording have the same bursts, at other times and levels."""
    rng, rows = np.random.default_rng(seed), []
    for recording in range(recordings):
        wave = rng.standard_normal(22050) * np.repeat(rng.random(10) ** 3, 2205)
        wave += np.sin(np.arange(22050) * rng.uniform(0.02, 1))
        for i in range(slices):
            path = folder / f"{seed}-{recording}-{i}.wav"
            y = np.roll(wave, rng.integers(22050)) + 0.01 * rng.standard_normal(22050)
            write_wav(path, rng.uniform(0.05, 0.2) * y, 22050)
            rows.append({"path": path, "label": "hum", "group": f"{seed}-{recording}"})
    return pd.DataFrame(rows)


def test_copied_training_clips_are_found_and_others_are_not(tmp_path: Path, cache_dir: Path) -> None:
    cache = FeatureCache(dataclasses.replace(PICTURE, duration=1.0), cache_dir)
    train, held, new = (Pictured.of(tones(tmp_path, seed), cache, n_jobs=1) for seed in (0, 1, 2))
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"noise_{i}.wav" for i in range(4)]
    for path in paths:
        write_wav(path, 0.1 * rng.standard_normal(22050), 22050)
    noise = Pictured.of(pd.DataFrame({"path": paths, "label": "hum"}), cache, n_jobs=1)
    shares = {}
    for name, samples in {"copied": train, "new": new, "noise": noise}.items():
        found = find_copies(samples, train, held, compared=train, common={"hum"})
        shares[name] = found["all"]["samples"]["share"]
        assert found["all"]["own_recording"]["share"] > 0.9 and found["all"]["floor"]["clips"] == 12
    assert shares["copied"] == 1 and shares["new"] < 0.5 and shares["noise"] == 0
    alone = find_copies(new, train, None, compared=train, common={"hum"})
    assert alone["all"]["floor"]["clips"] == 0 and alone["by_label"]["hum"]["samples"]["clips"] == 12
