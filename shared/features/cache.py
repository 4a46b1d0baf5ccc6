"""FeatureCache: every clip's array computed once, kept as memory-mapped ``.npy`` shards.

A clip is known by the hash of its file's bytes and the second at which it begins, so moved, renamed and added files
cost nothing but themselves. One folder holds one FeatureSpec (its fields and the versions of what computes it); each
shard ``<id>.npy`` is (clips, *spec.shape); ``<id>.json`` beside it, written last, lists its clips: a shard counts whole
or not at all.
"""

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from filelock import FileLock
from joblib import Parallel, delayed
from tqdm import tqdm

from shared.errors import AudioError, UserError
from shared.features.spec import FeatureSpec
from shared.features.transforms import VERSION, extract_parts
from shared.files import CACHE_DIR, content_hash, read_json, replacing, text_hash, write_json

CLIPS_PER_SHARD = 64  # 6 to 17 MiB: the most a worker holds, and the most a Ctrl-C costs it
OPEN_SHARDS = 64  # at a time; systems allow a process 1024 open files, some 256
Missing = dict[str, tuple[Path, float]]  # a clip's id -> its file and the second at which it begins
Parts = dict[str, float]  # the ids of one file's clips -> the seconds at which they begin, rising
_LIBRARIES = ("librosa", "scipy", "soundfile", "soxr")


@lru_cache(maxsize=OPEN_SHARDS)
def _open_shard(shard: Path) -> np.ndarray:
    """A shard as a memory map. All ``Features`` of the process share the open ones: a map holds a file descriptor."""
    return np.load(shard, mmap_mode="r", allow_pickle=False)


class Features:
    """The cached arrays of a sequence of clips, read from disk as they are asked for."""

    def __init__(self, locations: Sequence[tuple[Path, int]], spec: FeatureSpec) -> None:
        self.locations, self.spec = list(locations), spec

    def __len__(self) -> int:
        return len(self.locations)

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """The clips at ``indices``: float32 (B, *spec.shape)."""
        batch = np.empty((len(indices), *self.spec.shape), dtype=np.float32)
        for row, index in enumerate(indices):
            shard, position = self.locations[index]
            batch[row] = _open_shard(shard)[position]
        return batch

    def take(self, indices: Sequence[int] | np.ndarray) -> "Features":
        """The same clips in another order or fewer of them; nothing is read."""
        return Features([self.locations[index] for index in indices], self.spec)


@dataclasses.dataclass(frozen=True)
class CachedClips:
    """What ``FeatureCache.build`` found: ``features`` of the files at ``kept``, and why the others were left out."""

    features: Features
    kept: list[int]  # positions in the paths that were asked for
    hashes: list[str]  # of each kept clip: its file's content hash and, behind an @, where in it the clip begins
    rejects: dict[Path, str]  # file -> reason


class FeatureCache:
    """The shards of one FeatureSpec below ``root``."""

    def __init__(self, spec: FeatureSpec, root: Path = CACHE_DIR) -> None:
        self.spec = spec
        self.key = dataclasses.asdict(spec) | {name: version(name) for name in _LIBRARIES} | {"transforms": VERSION}
        self.dir = Path(root) / f"{spec.kind}-{text_hash(json.dumps(self.key, sort_keys=True))}"

    def index(self) -> dict[str, tuple[Path, int]]:
        """content hash -> (shard, row) of every clip in the cache."""
        rows: dict[str, tuple[Path, int]] = {}
        for listing in sorted(self.dir.glob("*.json")):
            if listing.name != "spec.json":
                shard = listing.with_suffix(".npy")
                rows |= {clip: (shard, row) for row, clip in enumerate(read_json(listing))}
        return rows

    def build(
        self,
        paths: Sequence[Path],
        *,
        offsets: Sequence[float] | None = None,
        n_jobs: int | None = None,
        progress: bool = True,
    ) -> CachedClips:
        """Compute what is missing, in parallel; the features of every usable file, in the order of ``paths``.

        ``offsets`` are the seconds in each file at which its clip begins; None is 0 for all. A file with several clips
        is hashed and decoded once. Memory stays at one shard a worker, however many clips there are. A bad file costs
        that file only.
        """
        if n_jobs is not None and n_jobs < 1:
            raise UserError(f"--n-jobs {n_jobs}: must be 1 or more")
        self.dir.mkdir(parents=True, exist_ok=True)
        clips = list(zip(paths, [0.0] * len(paths) if offsets is None else offsets, strict=True))
        files = list(dict.fromkeys(paths))
        with ThreadPoolExecutor(8) as pool:
            hashes = dict(zip(files, pool.map(_hash_or_none, files), strict=True))
        ids = [_clip_id(hashes[path], offset) for path, offset in clips]
        with FileLock(self.dir / ".lock"):
            write_json(self.dir / "spec.json", self.key)
            known = self.index()
            missing = {clip: where for clip, where in zip(ids, clips, strict=True) if clip and clip not in known}
            reasons = self._compute(missing, n_jobs=n_jobs, progress=progress)
            if missing:
                _open_shard.cache_clear()  # a shard may have been written anew
                known = self.index()
        rejects = {
            path: reasons.get(clip, "cannot be read")
            for clip, (path, _) in zip(ids, clips, strict=True)
            if clip not in known
        }
        kept = [i for i, clip in enumerate(ids) if clip in known]
        features = Features([known[ids[i]] for i in kept], self.spec)
        return CachedClips(features, kept, [ids[i] for i in kept], rejects)

    def _compute(self, missing: Missing, *, n_jobs: int | None, progress: bool) -> dict[str, str]:
        """Write the shards of the missing clips; return clip -> reason for those that cannot be used."""
        n_jobs = min(n_jobs or os.cpu_count() or 1, max(1, len(missing) // 16))  # a worker costs a second to start
        size = min(CLIPS_PER_SHARD, max(1, -(-len(missing) // n_jobs)))
        reasons: dict[str, str] = {}
        jobs = (delayed(_write_shards)(self.dir, self.spec, files, size) for files in _jobs(missing, size))
        description = f"features ({self.spec.kind}, {self.dir.name[-6:]})"
        with tqdm(total=len(missing), desc=description, unit="clip", disable=not (progress and missing)) as bar:
            for done, failed in Parallel(n_jobs=n_jobs, return_as="generator_unordered")(jobs):
                reasons |= failed
                bar.update(done)
        return reasons


def _hash_or_none(path: Path) -> str | None:
    try:
        return content_hash(path)
    except OSError:
        return None


def _clip_id(file_hash: str | None, offset: float) -> str | None:
    return f"{file_hash}@{float(offset)}" if file_hash and offset else file_hash


def _jobs(missing: Missing, size: int) -> Iterator[list[tuple[Path, Parts]]]:
    """The missing clips by file, in jobs of some files with ``size`` clips or more: one worker decodes a file once."""
    files: dict[Path, Parts] = {}
    for clip, (path, offset) in missing.items():
        files.setdefault(path, {})[clip] = offset
    job: list[tuple[Path, Parts]] = []
    for path, parts in files.items():
        job.append((path, dict(sorted(parts.items(), key=lambda part: part[1]))))
        if sum(len(parts) for _, parts in job) >= size:
            yield job
            job = []
    if job:
        yield job


def _write_shards(
    folder: Path, spec: FeatureSpec, files: list[tuple[Path, Parts]], size: int
) -> tuple[int, dict[str, str]]:
    """One worker's job: the clips of some files, at most ``size`` a shard; their number, and the bad ones' reasons."""
    arrays: dict[str, np.ndarray] = {}
    reasons: dict[str, str] = {}
    for path, parts in files:
        waiting = list(parts)
        try:
            for array in extract_parts(path, spec, list(parts.values())):
                arrays[waiting.pop(0)] = array
                if len(arrays) == size:
                    _write_shard(folder, arrays)
                    arrays.clear()
        except AudioError as error:
            reasons |= dict.fromkeys(waiting, str(error))
    if arrays:
        _write_shard(folder, arrays)
    return sum(len(parts) for _, parts in files), reasons


def _write_shard(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    """Arrays by clip -> one shard and, when that is whole, its listing."""
    name = text_hash("".join(arrays))
    with replacing(folder / f"{name}.npy") as temporary:
        np.save(temporary, np.stack(list(arrays.values())), allow_pickle=False)
    write_json(folder / f"{name}.json", list(arrays))
