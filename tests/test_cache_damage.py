"""A damaged cache is named and computed again; its command verifies, repairs and prunes it."""

import json
import re
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest

from shared.errors import UserError
from shared.features.cache import FeatureCache
from shared.features.index import INDEX, CacheIndex
from shared.features.shards import is_damaged
from shared.features.spec import PRESETS
from shared.files import content_hash

SPEC = PRESETS["classifier"]


def shards(cache: FeatureCache) -> list[Path]:
    return list(cache.dir.glob("*.npy"))


def damaged(shard: Path, damage: str) -> None:
    content = bytearray(shard.read_bytes())
    if damage == "flipped bit":
        content[-5] ^= 1
        shard.write_bytes(content)
    elif damage == "truncated":
        shard.write_bytes(content[:1000])
    elif damage == "deleted":
        shard.unlink()
    elif damage == "misshapen":
        np.save(shard, np.zeros((1, 2), np.float32))
    elif damage == "object array":
        np.save(shard, np.array([{}]), allow_pickle=True)


@pytest.mark.parametrize("damage", ["flipped bit", "truncated", "deleted", "misshapen", "object array"])
@pytest.mark.parametrize("moment", ["before the start", "before the first read"])
def test_a_damaged_shard_is_named_and_computed_again(
    tmp_path: Path, clips: list[Path], capsys: pytest.CaptureFixture, damage: str, moment: str
) -> None:
    cache = FeatureCache(SPEC, tmp_path / "cache")
    expected = cache.build(clips).features[range(6)]
    found = cache.build(clips) if moment == "before the first read" else None
    (shard,) = shards(cache)
    damaged(shard, damage)
    found = found or cache.build(clips)
    np.testing.assert_array_equal(found.features[range(6)], expected)
    assert str(cache.dir) in (message := capsys.readouterr().err) and "computed again" in message
    np.testing.assert_array_equal(cache.build(clips).features[range(6)], expected)  # the damage is gone
    assert capsys.readouterr().err == ""


def test_a_restored_shard_keeps_only_the_clips_of_this_run(tmp_path: Path, clips: list[Path]) -> None:
    cache = FeatureCache(SPEC, tmp_path / "cache")
    expected = cache.build(clips).features[range(6)]
    found = cache.build(clips[:4])
    damaged(shards(cache)[0], "flipped bit")
    np.testing.assert_array_equal(found.features[range(4)], expected[:4])
    np.testing.assert_array_equal(cache.build(clips).features[range(6)], expected)


def test_a_shard_whose_files_have_changed_cannot_be_restored(tmp_path: Path, clips: list[Path]) -> None:
    cache = FeatureCache(SPEC, tmp_path / "cache")
    features = cache.build(clips).features
    damaged(shards(cache)[0], "flipped bit")
    shutil.copy(clips[1], clips[0])
    with pytest.raises(UserError, match=rf"{clips[0]}: has changed; run the same command again"):
        features[[0]]
    assert len(cache.build(clips).kept) == 6


@pytest.mark.parametrize("damage", ["torn line", "flipped bit", "no JSON", "other JSON", "empty", "deleted"])
def test_a_damaged_index_costs_only_the_clips_that_it_lists(tmp_path: Path, clips: list[Path], damage: str) -> None:
    cache = FeatureCache(SPEC, tmp_path / "cache")
    expected = cache.build(clips[:3]).features[range(3)]
    cache.build(clips)
    index = cache.dir / INDEX
    first, second = index.read_bytes().splitlines(keepends=True)
    changed = {
        "torn line": first + second[:40],
        "flipped bit": first + second.replace(b'"clips": ["', b'"clips": ["f'),
        "no JSON": b"\xff\x00\n" + second,
        "other JSON": first + b'[1, 2]\n"x"\n{}\n',
        "empty": b"",
    }
    index.write_bytes(changed[damage]) if damage in changed else index.unlink()
    found = cache.build(clips)
    assert found.kept == list(range(6))
    np.testing.assert_array_equal(found.features[range(3)], expected)
    assert CacheIndex(cache.dir).damaged == 0 and len(CacheIndex(cache.dir)) == 6


def test_an_unlisted_shard_is_ignored(tmp_path: Path, clips: list[Path]) -> None:
    """If a process is killed between writing a shard and listing it, the shard is computed again."""
    cache = FeatureCache(SPEC, tmp_path / "cache")
    expected = cache.build(clips).features[range(6)]
    (cache.dir / INDEX).unlink()
    for shard in shards(cache):
        damaged(shard, "truncated")
    np.testing.assert_array_equal(cache.build(clips).features[range(6)], expected)


def test_the_hashes_of_older_caches_are_still_compared(tmp_path: Path, clips: list[Path]) -> None:
    cache = FeatureCache(SPEC, tmp_path)
    cache.build(clips)
    entries = [json.loads(line) for line in (cache.dir / INDEX).read_text().splitlines()]
    for entry in entries:
        shard = cache.dir / f"{entry['shard']}.npy"
        assert entry["checksum"] == f"crc32:{zlib.crc32(shard.read_bytes()):08x}"
        entry["checksum"] = content_hash(shard)
    (cache.dir / INDEX).write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
    listed = CacheIndex(cache.dir).shards.values()
    assert entries and not any(is_damaged(cache.dir, each) for each in listed)
    for shard in shards(cache):
        damaged(shard, "flipped bit")
    assert all(is_damaged(cache.dir, each) for each in listed)


def test_features_stay_on_disk(tmp_path: Path, clips: list[Path]) -> None:
    features = FeatureCache(SPEC, tmp_path / "cache").build(clips).features.take([1, 3])
    assert features[[0]].shape == (1, *SPEC.shape)
    before, (shard,) = features[[1]], shards(FeatureCache(SPEC, tmp_path / "cache"))
    np.save(shard, 2 * np.load(shard))
    np.testing.assert_array_equal(features[[1]], 2 * before)
    damaged(shard, "truncated")
    with pytest.raises(UserError, match="was cut short while it was in use"):
        features[[1]]


def test_the_cache_is_verified_repaired_and_pruned(tmp_path: Path, clips: list[Path], run_script) -> None:
    def cache_command(action: str, *, code: int = 0) -> str:
        done = run_script("shared/commands.py", "cache", action, "--cache-dir", tmp_path / "cache", code=code)
        return done.stdout + done.stderr

    cache = FeatureCache(SPEC, tmp_path / "cache")
    expected = cache.build(clips).features[range(6)]
    assert re.search(r"classifier, 6 clips, [\d.]+ MiB, current", cache_command("info"))
    assert "intact" in cache_command("verify")
    (shard,) = shards(cache)
    damaged(shard, "flipped bit")
    found = cache_command("verify", code=2)
    assert f"  {shard}\n" in found and "1 of 1 shards" in found and "cache repair" in found
    assert str(shard) in cache_command("repair") and not shard.exists()
    assert "intact" in cache_command("verify")
    np.testing.assert_array_equal(cache.build(clips).features[range(6)], expected)
    np.save(cache.dir / "0123456789abcdef.npy", np.zeros((1000, 1000)))
    other = tmp_path / "cache" / "log_mel-0123456789abcdef"
    shutil.copytree(cache.dir, other)
    (other / "spec.json").write_text((other / "spec.json").read_text().replace('"transforms": ', '"transforms": 9'))
    listed = cache_command("info")
    assert "of other versions" in listed and "current, 1 file(s) that no index lists" in listed
    assert re.search(r"freed 1[5-9]\.\d MiB", cache_command("prune")) and not other.exists()
    assert shards(cache) == [shard] and "intact" in cache_command("verify")


def test_a_folder_that_is_no_cache_is_named(tmp_path: Path, run_script) -> None:
    assert (
        "no such folder"
        in run_script("shared/commands.py", "cache", "info", "--cache-dir", tmp_path / "x", code=2).stderr
    )
    assert "holds no" in run_script("shared/commands.py", "cache", "verify", "--cache-dir", tmp_path).stdout
    assert "--data-dir: missing" in run_script("shared/commands.py", "cache", code=2).stderr
