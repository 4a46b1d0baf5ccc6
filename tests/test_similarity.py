"""Altered copies are found, unrelated clips are not, and groups keep the clips of a recording together."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

import shared.recordings.embedding
import shared.recordings.similarity
from shared.data.datasets import load_dataset
from shared.data.demo_data import SOURCES, SYNTH_SR
from shared.errors import UserError
from shared.features.cache import FeatureCache
from shared.features.spec import PRESETS
from shared.features.transforms import log_mel
from shared.recordings.embedding import embed
from shared.recordings.similarity import agreement, leak_check, leak_warning, near_duplicates, similarity_groups

SPEC = PRESETS["classifier"]
N = SPEC.n_samples
CHANGES = {
    "gain": lambda y, rng: 0.03 * y[:N],
    "noise": lambda y, rng: y[:N] + 0.1 * y.std() * rng.standard_normal(N),
    "shift": lambda y, rng: y[-N:],
    "shift, gain and noise": lambda y, rng: 0.1 * y[-N:] + 0.003 * y.std() * rng.standard_normal(N),
    "padding": lambda y, rng: y[: N // 2],
}


def spectrograms(clips: list[np.ndarray]) -> np.ndarray:
    return np.stack([log_mel(np.pad(y, (0, N - len(y))).astype(np.float32), SPEC) for y in clips])


@pytest.fixture(scope="module")
def sources() -> list[np.ndarray]:
    """Synthetic sounds of 6 s, four recordings per class, at the sampling rate of the spectrograms."""
    rngs = (np.random.default_rng(seed) for seed in range(len(SOURCES) * 4))
    sounds = [source(rng, rng, 6 * SYNTH_SR) for source in SOURCES.values() for rng in [next(rngs) for _ in range(4)]]
    return [soxr.resample(y / np.abs(y).max(), SYNTH_SR, SPEC.sr) for y in sounds]


@pytest.fixture(scope="module")
def unrelated(sources: list[np.ndarray]) -> np.ndarray:
    return spectrograms([y[:N] for y in sources])


def textures(rng: np.random.Generator, *, recordings: int, clips: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise (N, 64, 90) in dB, with a spectrum shared by the clips of a recording, and the recordings (N,)."""
    colours = np.cumsum(rng.normal(0, 3, (recordings, 64)), axis=1)
    groups = np.repeat(np.arange(recordings), clips)
    clips_db = colours[groups, :, None] + 20 * np.log10(rng.rayleigh(size=(len(groups), 64, 90)))
    return clips_db + rng.normal(0, 20, (len(groups), 1, 1)), groups


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found_and_nothing_else(
    change: str, sources: list[np.ndarray], unrelated: np.ndarray
) -> None:
    rng = np.random.default_rng(0)
    copies = spectrograms([CHANGES[change](y, rng) for y in sources])
    pairs = near_duplicates(np.concatenate([unrelated, copies]))
    n = len(sources)
    assert set(pairs.j - pairs.i) == {n} and len(pairs) >= 0.9 * n
    assert (pairs.similarity <= 1.001).all() and pairs.similarity.is_monotonic_decreasing


def test_clip_levels_and_block_sizes_do_not_change_the_result(
    unrelated: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.concatenate([unrelated, np.roll(unrelated, 40, axis=2)])
    pairs, rows = near_duplicates(x), embed(x, dimensions=24)
    assert len(pairs) >= len(unrelated)
    monkeypatch.setattr(shared.recordings.similarity, "BLOCK", 7)
    monkeypatch.setattr(shared.recordings.embedding, "CHUNK", 5)
    louder = x + np.linspace(-30, 30, len(x), dtype=np.float32)[:, None, None]
    same = near_duplicates(louder).sort_values(["i", "j"], ignore_index=True)  # equally similar pairs may change places
    pd.testing.assert_frame_equal(same, pairs.sort_values(["i", "j"], ignore_index=True), atol=1e-3)
    np.testing.assert_allclose(embed(louder, dimensions=24), rows, atol=1e-2)


def test_padding_and_silence_do_not_count_as_similarity() -> None:
    rng = np.random.default_rng(0)
    x = np.full((24, 128, 173), -80.0, dtype=np.float32)
    x[:16, :, :30] = 10 * rng.standard_normal((16, 128, 30)) - 30  # 0.7 s of different noise, padded in the same way
    assert near_duplicates(x).empty
    x[20, :, 100:130] = x[3, :, :30]
    assert near_duplicates(x)[["i", "j"]].to_numpy().tolist() == [[3, 20]]


def test_cached_features_give_the_same_as_an_array(sounds: Path, cache_dir: Path) -> None:
    dataset = load_dataset(sounds)
    features = FeatureCache(SPEC, cache_dir).build(list(dataset.manifest.path), n_jobs=1).features
    array = features[range(len(features))]
    np.testing.assert_array_equal(embed(features, dimensions=24), embed(array, dimensions=24))
    pd.testing.assert_frame_equal(near_duplicates(features), near_duplicates(array))
    labels = dataset.manifest.label
    np.testing.assert_array_equal(similarity_groups(features, labels), similarity_groups(array, labels))


def test_decibels_and_log1p_give_the_same_embedding(sounds: Path, cache_dir: Path) -> None:
    paths = sorted(sounds.glob("train/train/*/*"))[::4]
    specs = (dataclasses.replace(PRESETS["cgan"], scaling=scaling) for scaling in ("db", "log1p"))
    db, log1p = (FeatureCache(spec, cache_dir).build(paths, n_jobs=1).features for spec in specs)
    np.testing.assert_allclose(embed(log1p, dimensions=24), embed(db, dimensions=24), atol=0.01)


def test_clips_with_one_spectrum_are_one_group_within_their_class() -> None:
    x, recordings = textures(np.random.default_rng(0), recordings=20, clips=6)
    labels = np.where(recordings % 2, "drilling", "engine")
    assert near_duplicates(x).empty  # only the spectrum is shared
    found = agreement(similarity_groups(x, labels), recordings, labels)
    assert found["completeness"] > 0.99 and found["homogeneity"] > 0.8
    assert found["leak/groups"] < 0.05 < 0.9 < found["leak/random"]
    apart = similarity_groups(x, np.arange(len(x)).astype(str))
    assert len(set(apart)) == len(x)


def test_near_duplicates_share_a_group_across_classes(unrelated: np.ndarray) -> None:
    x = np.concatenate([unrelated, unrelated])
    groups = similarity_groups(x, ["a"] * len(unrelated) + ["b"] * len(unrelated), distance=0.0)
    assert groups[: len(unrelated)].tolist() == groups[len(unrelated) :].tolist()
    assert len(set(groups)) == len(unrelated) and groups[3] == "a-00003"


@settings(max_examples=20, deadline=None)
@given(n=st.integers(0, 12), bands=st.integers(1, 40), frames=st.integers(3, 300), silent=st.integers(0, 12))
def test_any_spectrograms_give_groups(n: int, bands: int, frames: int, silent: int) -> None:
    x = np.random.default_rng(n).standard_normal((n, bands, frames))
    x[:silent] = -100
    rows, groups = embed(x, dimensions=24), similarity_groups(x, ["a"] * n)
    assert np.isfinite(rows).all() and len(rows) == len(groups) == n
    assert (np.linalg.norm(rows, axis=1) < 1.001).all()


def test_leaks_are_reported_in_one_line(unrelated: np.ndarray) -> None:
    n = len(unrelated)
    x = np.concatenate([unrelated, unrelated])
    split = ["train"] * n + ["test", "train", ""] + ["train"] * (n - 3)
    leaks = leak_check(x, split)
    assert leaks.columns.tolist() == ["i", "j", "similarity", "split_i", "split_j", "same_group"]
    assert leaks.drop(columns="similarity").to_numpy().tolist() == [[0, n, "train", "test", False]]
    assert leak_check(x, split, ["one"] * 2 * n).same_group.tolist() == [True]
    paths = [Path(f"folder/{k}.wav") for k in range(2 * n)]
    line = leak_warning(leaks, paths)
    assert line.startswith("WARNING: the split LEAKS: 1 near-duplicate pairs") and line.endswith(f"0.wav = {n}.wav")
    assert leak_warning(leaks[:0], paths) == "" and leak_check(x, ["train"] * 2 * n).empty


def test_a_sample_of_many_clips_is_compared(unrelated: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    n = len(unrelated)
    x = np.concatenate([unrelated] * 4)
    compared = []
    details = shared.recordings.similarity._details
    monkeypatch.setattr(
        shared.recordings.similarity, "_details", lambda x, sounds: compared.append(len(x)) or details(x, sounds)
    )
    monkeypatch.setattr(shared.recordings.similarity, "MOST", 2 * n)
    pairs = near_duplicates(x)
    assert sum(compared) == 2 * n and 0 < len(pairs) < 6 * n
    assert (pairs.i % n == pairs.j % n).all() and pairs.j.max() >= 2 * n  # positions among all clips, not in the sample
    leaks = leak_check(x, ["train"] * n + ["test"] * 3 * n)
    assert 0 < len(leaks) < 3 * n
    line = leak_warning(leaks, [Path(f"{k}.wav") for k in range(4 * n)])
    assert f"pairs in a sample of {2 * n} of {4 * n} clips are in" in line
    with pytest.raises(UserError, match=f"{4 * n} clips cannot be grouped by similarity"):
        similarity_groups(x, ["a"] * 4 * n)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 4\)"):
        near_duplicates(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="2 labels for 3 clips"):
        similarity_groups(np.zeros((3, 4, 5)), ["a", "b"])
    with pytest.raises(ValueError, match="2 splits and 3 groups for 3 clips"):
        leak_check(np.zeros((3, 4, 5)), ["train", "test"], ["a", "b", "c"])


def test_agreement_of_groups_with_themselves_is_perfect() -> None:
    recordings = np.repeat(np.arange(20), 5).astype(str)
    labels = np.repeat(["a", "b"], 50)
    same, one = (agreement(g, recordings, labels) for g in (recordings, np.arange(100)))
    assert {same.pop("leak/groups"), one.pop("pairs/recall")} == {0.0}
    assert same.pop("leak/random") == one["leak/groups"] == 1.0
    assert set(same.values()) == {1.0}


def test_recordings_are_recovered_from_real_clips(real_data: Path, cache_dir: Path) -> None:
    """Uses every second recording of three classes; the thresholds were chosen on the other recordings."""
    manifest = load_dataset(real_data / "frequency-quest").manifest
    odd = manifest.groupby("label").group.rank("dense") % 2 == 0  # ranks start at 1
    manifest = manifest[odd & manifest.label.isin(["dog_bark", "engine_idling", "siren"])].reset_index(drop=True)
    features = FeatureCache(SPEC, cache_dir).build(list(manifest.path)).features
    pairs = near_duplicates(features)
    recordings, labels = manifest.group.to_numpy(object), manifest.label.to_numpy(object)
    assert (recordings[pairs.i] == recordings[pairs.j]).mean() > 0.98
    source, number = zip(*(Path(path).stem.rsplit("-", 1) for path in manifest.path), strict=True)
    position = {name: k for k, name in enumerate(zip(source, map(int, number), strict=True))}
    overlapping = {tuple(sorted((k, position[s, i + 1]))) for (s, i), k in position.items() if (s, i + 1) in position}
    assert len(overlapping) > 100 and overlapping <= set(zip(pairs.i, pairs.j, strict=True))
    groups = similarity_groups(features, labels, pairs=pairs)
    found = agreement(groups, recordings, labels)
    assert found["leak/groups"] < 0.1 < 0.9 < found["leak/random"]
    assert found["adjusted_rand"] > 0.75 and found["completeness"] > 0.95
    assert pd.crosstab(labels, groups, normalize="index").to_numpy().max() < 0.5  # no class is mostly one group
    assert leak_check(features, groups, groups).empty


@pytest.mark.slow
def test_the_command_counts_pairs_and_recordings(sounds: Path, run_script) -> None:
    printed = run_script("shared/commands.py", "recordings", "--data-dir", sounds).stdout
    assert "near-duplicate pairs among 40 clips" in printed and "20 recordings, known from the file names" in printed


def test_an_impossible_distance_is_refused(run_script) -> None:
    said = run_script("shared/commands.py", "recordings", "--data-dir", ".", "--distance", 3, code=2).stderr
    assert said == "error: --distance 3.0: must be between 0 and 2\n"
