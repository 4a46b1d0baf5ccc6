"""The cache computes each clip once, survives what kills it, and loses only the bad files."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from shared.features.cache import FeatureCache
from shared.features.spec import PRESETS
from shared.features.transforms import extract

SPEC = PRESETS["classifier"]


@pytest.fixture
def clips(tmp_path: Path, sounds: Path) -> list[Path]:
    sources = sorted(sounds.glob("train/train/*/*"))[:6]
    return [Path(shutil.copy(path, tmp_path / f"{i}{path.suffix}")) for i, path in enumerate(sources)]


def shards(cache: FeatureCache) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in cache.dir.glob("*.npy")}


def test_rows_are_the_files_in_order(tmp_path: Path, clips: list[Path]) -> None:
    found = FeatureCache(SPEC, tmp_path / "cache").build(clips[::-1])
    assert found.kept == list(range(6)) and not found.rejects
    np.testing.assert_array_equal(found.features[[0, 5, 2]], [extract(clips[i], SPEC) for i in (5, 0, 3)])


def test_parallel_workers_give_the_same(tmp_path: Path, sounds: Path) -> None:
    paths = sorted(sounds.glob("train/train/*/*"))
    one = FeatureCache(SPEC, tmp_path / "one").build(paths, n_jobs=1).features
    two = FeatureCache(SPEC, tmp_path / "two").build(paths, n_jobs=2).features
    np.testing.assert_array_equal(one[range(40)], two[range(40)])


def test_only_new_content_is_computed(tmp_path: Path, clips: list[Path]) -> None:
    cache = FeatureCache(SPEC, tmp_path / "cache")
    cache.build(clips[:5])
    before = shards(cache)
    renamed = clips[0].rename(tmp_path / f"renamed{clips[0].suffix}")
    cache.build([renamed, *clips[1:]])
    after = shards(cache)
    assert before.items() <= after.items()
    (added,) = after.keys() - before.keys()
    assert np.load(added, mmap_mode="r", allow_pickle=False).shape == (1, *SPEC.shape)


def test_another_spec_is_another_cache(tmp_path: Path) -> None:
    assert FeatureCache(SPEC, tmp_path).dir != FeatureCache(PRESETS["cgan"], tmp_path).dir


def test_bad_files_cost_themselves_only(tmp_path: Path, clips: list[Path]) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    paths = [clips[0], tmp_path / "text.wav", clips[1], tmp_path / "missing.wav"]
    found = FeatureCache(SPEC, tmp_path / "cache").build(paths)
    assert found.kept == [0, 2] and len(found.features) == 2
    assert found.rejects.keys() == {paths[1], paths[3]}
    assert "cannot be decoded" in found.rejects[paths[1]]


def test_a_shard_without_its_listing_does_not_count(tmp_path: Path, clips: list[Path]) -> None:
    """What a kill between the two writes leaves behind is computed again."""
    cache = FeatureCache(SPEC, tmp_path / "cache")
    expected = cache.build(clips).features[range(6)]
    for listing in cache.dir.glob("*.json"):
        listing.unlink()
    for shard in cache.dir.glob("*.npy"):
        shard.write_bytes(shard.read_bytes()[:1000])
    np.testing.assert_array_equal(cache.build(clips).features[range(6)], expected)


def test_features_stay_on_disk(tmp_path: Path, clips: list[Path]) -> None:
    features = FeatureCache(SPEC, tmp_path / "cache").build(clips).features.take([1, 3])
    assert features[[0]].shape == (1, *SPEC.shape)
    assert all(isinstance(shard, np.memmap) for shard in features._shards.values())


def test_command_line(tmp_path: Path, sounds: Path, run_script) -> None:
    done = run_script(
        "shared/commands.py", "cache", "--data-dir", sounds, "--preset", "cgan", "--cache-dir", tmp_path / "c"
    )
    assert "50 clips of (128, 512)" in done.stdout and "0 skipped" in done.stdout
    assert "50/50" in done.stderr  # progress
