"""The cache computes each clip once and rejects only the bad files."""

import dataclasses
import os
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from shared.features.cache import FeatureCache
from shared.features.hashes import FILE
from shared.features.shards import read_at
from shared.features.spec import PRESETS
from shared.features.transforms import VERSION, extract, extract_parts
from shared.files import content_hash

SPEC = PRESETS["classifier"]


def shards(cache: FeatureCache) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in cache.dir.glob("*.npy")}


def test_rows_are_in_the_order_of_the_files(tmp_path: Path, clips: list[Path]) -> None:
    found = FeatureCache(SPEC, tmp_path / "cache").build(clips[::-1])
    assert found.kept == list(range(6)) and not found.rejects
    np.testing.assert_array_equal(found.features[[0, 5, 2]], [extract(clips[i], SPEC) for i in (5, 0, 3)])


def test_parallel_workers_give_the_same_features(tmp_path: Path, sounds: Path) -> None:
    paths = sorted(sounds.glob("train/train/*/*"))
    one = FeatureCache(SPEC, tmp_path / "one").build(paths, n_jobs=1).features
    two = FeatureCache(SPEC, tmp_path / "two").build(paths, n_jobs=2).features
    np.testing.assert_array_equal(one[range(40)], two[range(40)])


def test_each_worker_gets_as_many_jobs_of_equal_size(
    tmp_path: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.features.cache.CLIPS_PER_SHARD", 16)
    cache = FeatureCache(SPEC, tmp_path / "cache")
    cache.build(sorted(sounds.glob("train/train/*/*")), n_jobs=2)
    assert [len(np.load(path, mmap_mode="r")) for path in shards(cache)] == [10] * 4


def test_workers_find_the_files_after_the_folder_has_changed(
    tmp_path: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a notebook: joblib keeps its workers for the next call, and they stay where they were."""
    FeatureCache(SPEC, tmp_path / "first").build(sorted(sounds.glob("train/train/*/*")), n_jobs=2)
    monkeypatch.chdir(sounds)
    paths = sorted(Path("train/train").glob("*/*"))
    found = FeatureCache(SPEC, Path(os.path.relpath(tmp_path / "second"))).build(paths, n_jobs=2)
    assert found.kept == list(range(40)) and found.features.paths == paths


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


def test_each_spec_has_a_cache_of_its_own(tmp_path: Path) -> None:
    assert FeatureCache(SPEC, tmp_path).dir != FeatureCache(PRESETS["cgan"], tmp_path).dir


def test_each_version_of_the_transforms_has_a_cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = FeatureCache(SPEC, tmp_path).dir
    monkeypatch.setattr("shared.features.cache.VERSION", VERSION + 1)
    assert FeatureCache(SPEC, tmp_path).dir != before


def test_a_file_of_many_clips_is_hashed_and_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = dataclasses.replace(SPEC, duration=0.25)
    path, offsets = tmp_path / "long.wav", [0.25 * k for k in range(100)]
    sf.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 25 * 16000), 16000)
    seen = []
    monkeypatch.setattr("shared.features.hashes.content_hash", lambda p: seen.append("hashed") or content_hash(p))
    monkeypatch.setattr("shared.audio.sf.SoundFile", lambda p, opened=sf.SoundFile: seen.append("opened") or opened(p))
    cache = FeatureCache(spec, tmp_path / "cache")
    found = cache.build([path] * 100, offsets=offsets, n_jobs=1)
    assert seen == ["hashed", "opened"] and found.kept == list(range(100)) and len(set(found.hashes)) == 100
    sizes = [len(np.load(shard, mmap_mode="r")) for shard in cache.dir.glob("*.npy")]
    assert sum(sizes) == 100 and max(sizes) <= 64  # a shard is written as soon as it is full, so memory is bounded
    np.testing.assert_array_equal(found.features[[7, 99]], list(extract_parts(path, spec, [offsets[7], offsets[99]])))
    later = cache.build([path] * 3, offsets=[0.1, 24.75, 0.05], n_jobs=1)  # in any order
    np.testing.assert_array_equal(later.features[[2, 0]], list(extract_parts(path, spec, [0.05, 0.1])))


def test_clips_before_the_damage_are_kept(tmp_path: Path) -> None:
    y = np.random.default_rng(0).uniform(-0.5, 0.5, 100 * 8000)
    y[-1] = np.nan
    sf.write(tmp_path / "long.wav", y, 8000, subtype="FLOAT")
    found = FeatureCache(SPEC, tmp_path / "cache").build([tmp_path / "long.wav"] * 25, offsets=np.arange(0, 100, 4.0))
    assert found.kept == list(range(len(found.kept))) and 8 <= len(found.kept) < 25
    assert found.rejects == {tmp_path / "long.wav": "holds samples that are NaN or infinite"}


def test_only_bad_files_are_rejected(tmp_path: Path, clips: list[Path]) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    paths = [clips[0], tmp_path / "text.wav", clips[1], tmp_path / "missing.wav"]
    found = FeatureCache(SPEC, tmp_path / "cache").build(paths)
    assert found.kept == [0, 2] and len(found.features) == 2
    assert found.rejects.keys() == {paths[1], paths[3]}
    assert "cannot be decoded" in found.rejects[paths[1]]


@pytest.mark.parametrize("fast", [True, False])
def test_the_place_of_a_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: bool) -> None:
    if not fast:
        monkeypatch.delattr(os, "preadv", raising=False)
    np.arange(10, dtype=np.float32).tofile(tmp_path / "numbers")
    out = np.zeros(3, np.float32)
    assert read_at(tmp_path / "numbers", 8, out) == 12 and out.tolist() == [2, 3, 4]
    assert read_at(tmp_path / "numbers", 32, out) == 8 and out.tolist() == [8, 9, 4]  # the file ends there


@pytest.mark.parametrize(("most", "stay"), [(20, 20), (19, 0)])
def test_the_files_of_few_shards_stay_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, stay: int
) -> None:
    def open_shards() -> int:
        return sum((tmp_path / "cache") in path.resolve().parents for path in Path("/proc/self/fd").iterdir())

    monkeypatch.setattr("shared.features.cache.CLIPS_PER_SHARD", 1)
    monkeypatch.setattr("shared.features.shards.MOST_OPEN", most)
    spec = dataclasses.replace(SPEC, sr=4000, duration=0.1, n_fft=128, hop_length=64, n_mels=4)
    clips = 20
    for i in range(clips):
        sf.write(tmp_path / f"{i:02}.wav", np.full(400, (i + 1) / 1000), 4000)
    features = FeatureCache(spec, tmp_path / "cache").build(sorted(tmp_path.glob("*.wav")), n_jobs=1).features
    parts = [features.take(np.arange(k, clips, 5)) for k in range(5)]  # like folds and splits
    read = [part[np.arange(len(part))] for part in parts]
    assert len(set(features.locations[:, 0])) == clips and open_shards() == stay
    copy = pickle.loads(pickle.dumps(features.shards))
    again = np.empty(spec.shape, np.float32)
    copy.read(*features.locations[5], out=again)
    assert np.array_equal(again, read[0][1])
    del features, parts, copy
    assert open_shards() == 0


def test_the_command_computes_training_and_test_clips(tmp_path: Path, sounds: Path, run_script) -> None:
    done = run_script(
        "shared/commands.py", "cache", "--data-dir", sounds, "--preset", "cgan", "--cache-dir", tmp_path / "c"
    )
    assert "50 spectrograms of shape (128, 512)" in done.stdout and "0 files skipped" in done.stdout
    assert re.fullmatch(r"computed 50 log-mel spectrograms in [\d.]+ s\n", done.stderr)


def test_what_was_computed_is_printed_once(tmp_path: Path, clips: list[Path], capsys: pytest.CaptureFixture) -> None:
    cache = FeatureCache(PRESETS["waveform"], tmp_path / "cache")
    cache.build(clips)
    assert capsys.readouterr().err.startswith("computed 6 waveforms in ")
    cache.build(clips)
    (tmp_path / "text.wav").write_text("no sound")
    cache.build([tmp_path / "text.wav"])
    assert capsys.readouterr().err == ""


def old(path: Path) -> Path:
    """Set the time of the last change back by a minute, as for data that were there before."""
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 60))
    return path


def ids(cache: FeatureCache, clips: list[Path]) -> list[bytes]:
    return cache.build(clips).hashes.tolist()


def test_unchanged_files_are_not_read_again(tmp_path: Path, clips: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    cache, seen = FeatureCache(SPEC, tmp_path / "cache"), []
    monkeypatch.setattr("shared.features.hashes.content_hash", lambda p: seen.append(p) or content_hash(p))
    first = ids(cache, [old(path) for path in clips])
    assert sorted(seen) == sorted(clips)
    seen.clear()
    assert ids(cache, clips) == first and not seen
    old(Path(shutil.copy(clips[1], clips[0])))
    assert ids(cache, clips) == [first[1], *first[1:]] and seen == [clips[0]]
    seen.clear()
    cache.build(clips, verify_data=True)
    assert sorted(seen) == sorted(clips)


def test_a_file_that_was_just_written_is_read_again(tmp_path: Path, clips: list[Path]) -> None:
    """It may change again without a change of its time."""
    cache, stamp = FeatureCache(SPEC, tmp_path / "cache"), clips[0].stat().st_mtime_ns
    first = ids(cache, clips[:1])
    content = bytearray(clips[0].read_bytes())
    content[-100] ^= 1
    clips[0].write_bytes(content)
    os.utime(clips[0], ns=(stamp, stamp))
    assert ids(cache, clips[:1]) != first


@pytest.mark.parametrize("content", [b"", b"no database" * 1000, None])
def test_damaged_memory_of_hashes_costs_only_time(tmp_path: Path, clips: list[Path], content: bytes | None) -> None:
    cache = FeatureCache(SPEC, tmp_path / "cache")
    first = ids(cache, [old(path) for path in clips])
    memory = tmp_path / "cache" / FILE
    if content is None:
        content = bytearray(memory.read_bytes())
        content[4096:] = bytes(len(content) - 4096)
    memory.write_bytes(content)
    assert [ids(cache, clips) for _ in range(2)] == [first] * 2
