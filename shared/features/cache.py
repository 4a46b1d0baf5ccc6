"""FeatureCache: each clip's array is computed once and kept in memory-mapped ``.npy`` shards.

A clip is identified by the hash of its file's bytes and its start in seconds, so moved or renamed files are not
computed again. One folder holds the arrays of one FeatureSpec, computed with the same versions of the libraries and of
the transforms. A shard ``<id>.npy`` has the shape (clips, *spec.shape). ``<id>.json`` lists its clips and is written
last: a shard without it is ignored.
"""

import dataclasses
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.metadata import version
from operator import itemgetter
from pathlib import Path

import numpy as np
from filelock import FileLock
from joblib import Parallel, delayed
from tqdm import tqdm

from shared.errors import AudioError, UserError
from shared.features.spec import FeatureSpec
from shared.features.transforms import VERSION, extract_parts
from shared.files import CACHE_DIR, content_hash, read_json, replacing, text_hash, write_json

CLIPS_PER_SHARD = 64  # 2 to 45 MiB with the presets: what a worker holds in memory, and what it loses on Ctrl-C
OPEN_SHARDS = 64  # open at the same time; the limit on open files is 1024 on most systems, 256 on some
Part = tuple[Path, float, str]  # a clip's file, its start there in seconds, its id
_NAMES = {
    "log_mel": "log-mel spectrograms",
    "mfcc": "MFCCs",
    "stft": "magnitude spectrograms",
    "amplitude_phase": "amplitude and phase images",
    "waveform": "waveforms",
}
_LIBRARIES = ("librosa", "scipy", "soundfile", "soxr")


@lru_cache(maxsize=OPEN_SHARDS)
def _open_shard(shard: Path) -> np.ndarray:
    """Open a shard as a memory map. All ``Features`` of a process share the maps: each holds a file descriptor."""
    return np.load(shard, mmap_mode="r", allow_pickle=False)


class Features:
    """The cached arrays of a sequence of clips, read from disk when they are indexed."""

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
        """Select or reorder clips without reading them."""
        return Features([self.locations[index] for index in indices], self.spec)


@dataclasses.dataclass(frozen=True)
class CachedClips:
    """The result of ``FeatureCache.build``: the usable clips' features, and why the other files were rejected."""

    features: Features
    kept: list[int]  # the positions of the usable clips in ``paths``
    hashes: list[str]  # each kept clip's id: its file's content hash, then @ and its start in seconds unless that is 0
    rejects: dict[Path, str]  # file -> reason


class FeatureCache:
    """The shards of one FeatureSpec below ``root``."""

    def __init__(self, spec: FeatureSpec, root: Path = CACHE_DIR) -> None:
        self.spec = spec
        self.key = dataclasses.asdict(spec) | {name: version(name) for name in _LIBRARIES} | {"transforms": VERSION}
        self.dir = Path(root) / f"{spec.kind}-{text_hash(json.dumps(self.key, sort_keys=True))}"

    def index(self) -> dict[str, tuple[Path, int]]:
        """Map the id of each clip in the cache to (shard, row)."""
        listings = sorted(set(self.dir.glob("*.json")) - {self.dir / "spec.json"})
        shards = {listing.with_suffix(".npy"): read_json(listing) for listing in listings}
        return {clip: (shard, row) for shard, clips in shards.items() for row, clip in enumerate(clips)}

    def build(
        self,
        paths: Sequence[Path],
        *,
        offsets: Sequence[float] | None = None,
        n_jobs: int | None = None,
        progress: bool = True,
    ) -> CachedClips:
        """Compute the missing arrays in parallel and return all usable clips, in the order of ``paths``.

        A file that cannot be used is listed in ``rejects``. A file with several clips is hashed and decoded once. Each
        worker holds one shard in memory, however many clips there are.

        Args:
            paths: each clip's file.
            offsets: each clip's start in its file in seconds; None is 0 for all.
            n_jobs: worker processes; None is one per core.
            progress: show progress bars on a terminal; in a log, print one line if anything was computed.
        """
        if n_jobs is not None and n_jobs < 1:
            raise UserError(f"--n-jobs {n_jobs}: must be 1 or more")
        self.dir.mkdir(parents=True, exist_ok=True)
        clips = list(zip(paths, [0.0] * len(paths) if offsets is None else offsets, strict=True))
        files = list(dict.fromkeys(paths))
        with ThreadPoolExecutor(8) as pool:
            hidden = None if progress else True  # None hides the bar if stderr is not a terminal
            bar = tqdm(pool.map(_hash_or_none, files), "hashing", len(files), unit="file", delay=1, disable=hidden)
            hashes = dict(zip(files, bar, strict=True))
        ids = [f"{hashes[path]}@{float(offset)}" if hashes[path] and offset else hashes[path] for path, offset in clips]
        with FileLock(self.dir / ".lock"):
            write_json(self.dir / "spec.json", self.key)
            known = self.index()
            places = {clip: where for clip, where in zip(ids, clips, strict=True) if clip and clip not in known}
            missing = sorted((path, offset, clip) for clip, (path, offset) in places.items())
            reasons = self._compute(missing, n_jobs=n_jobs, progress=progress)
            if missing:
                _open_shard.cache_clear()  # a shard may have been overwritten
                known = self.index()
        rejects = {paths[i]: reasons.get(clip, "cannot be read") for i, clip in enumerate(ids) if clip not in known}
        kept = [i for i, clip in enumerate(ids) if clip in known]
        features = Features([known[ids[i]] for i in kept], self.spec)
        return CachedClips(features, kept, [ids[i] for i in kept], rejects)

    def _compute(self, missing: list[Part], *, n_jobs: int | None, progress: bool) -> dict[str, str]:
        """Write the shards of the missing clips; return the ids of unusable clips with the reasons."""
        n_jobs = min(n_jobs or os.cpu_count() or 1, max(1, len(missing) // 16))  # a worker costs a second to start
        size = min(CLIPS_PER_SHARD, max(1, -(-len(missing) // n_jobs)))
        reasons: dict[str, str] = {}
        jobs = (delayed(_write_shards)(self.dir, self.spec, job, size) for job in _jobs(missing, size))
        name, began = _NAMES[self.spec.kind], time.perf_counter()
        hidden = None if progress and missing else True
        with tqdm(total=len(missing), desc=f"computing {name}", unit="clip", disable=hidden) as bar:
            for done, failed in Parallel(n_jobs=n_jobs, return_as="generator_unordered")(jobs):
                reasons |= failed
                bar.update(done)
        computed = len(missing) - len(reasons)
        if progress and computed and not sys.stderr.isatty():
            print(f"computed {computed} {name} in {time.perf_counter() - began:.1f} s", file=sys.stderr)
        return reasons


def _hash_or_none(path: Path) -> str | None:
    try:
        return content_hash(path)
    except OSError:
        return None


def _jobs(missing: list[Part], size: int) -> Iterator[list[Part]]:
    """Divide the missing clips into jobs of at least ``size`` clips; the clips of a file stay in one job."""
    job: list[Part] = []
    for _, parts in itertools.groupby(missing, key=itemgetter(0)):
        job += parts
        if len(job) >= size:
            yield job
            job = []
    if job:
        yield job


def _write_shards(folder: Path, spec: FeatureSpec, job: list[Part], size: int) -> tuple[int, dict[str, str]]:
    """Write one job's clips in shards of at most ``size``; return their number and the reasons for unusable ids."""
    reasons: dict[str, str] = {}

    def arrays() -> Iterator[tuple[str, np.ndarray]]:
        for path, parts in itertools.groupby(job, key=itemgetter(0)):
            _, offsets, ids = map(list, zip(*parts, strict=True))
            try:
                for array in extract_parts(path, spec, offsets):
                    yield ids.pop(0), array
            except AudioError as error:
                reasons.update(dict.fromkeys(ids, str(error)))

    computed = arrays()
    while shard := dict(itertools.islice(computed, size)):
        name = text_hash("".join(shard))
        with replacing(folder / f"{name}.npy") as temporary:
            np.save(temporary, np.stack(list(shard.values())), allow_pickle=False)
        write_json(folder / f"{name}.json", list(shard))  # written last: makes the shard valid
    return len(job), reasons
