"""FeatureCache: every clip's array computed once, kept as memory-mapped ``.npy`` shards.

A clip is known by the hash of its file's bytes and the second at which it begins, so moved, renamed and added files
cost nothing but themselves. One folder holds one FeatureSpec (its fields and the versions of what computes it); each
shard ``<id>.npy`` is (clips, *spec.shape); ``<id>.json`` beside it, written last, lists its clips: a shard counts whole
or not at all.
"""

import dataclasses
import itertools
import json
import os
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

CLIPS_PER_SHARD = 64  # 6 to 17 MiB: the most a worker holds, and the most a Ctrl-C costs it
OPEN_SHARDS = 64  # at a time; systems allow a process 1024 open files, some 256
Part = tuple[Path, float, str]  # a clip's file, the second at which it begins there, and its id
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
        ids = [f"{hashes[path]}@{float(offset)}" if hashes[path] and offset else hashes[path] for path, offset in clips]
        with FileLock(self.dir / ".lock"):
            write_json(self.dir / "spec.json", self.key)
            known = self.index()
            places = {clip: where for clip, where in zip(ids, clips, strict=True) if clip and clip not in known}
            missing = sorted((path, offset, clip) for clip, (path, offset) in places.items())
            reasons = self._compute(missing, n_jobs=n_jobs, progress=progress)
            if missing:
                _open_shard.cache_clear()  # a shard may have been written anew
                known = self.index()
        rejects = {paths[i]: reasons.get(clip, "cannot be read") for i, clip in enumerate(ids) if clip not in known}
        kept = [i for i, clip in enumerate(ids) if clip in known]
        features = Features([known[ids[i]] for i in kept], self.spec)
        return CachedClips(features, kept, [ids[i] for i in kept], rejects)

    def _compute(self, missing: list[Part], *, n_jobs: int | None, progress: bool) -> dict[str, str]:
        """Write the shards of the missing clips; return clip -> reason for those that cannot be used."""
        n_jobs = min(n_jobs or os.cpu_count() or 1, max(1, len(missing) // 16))  # a worker costs a second to start
        size = min(CLIPS_PER_SHARD, max(1, -(-len(missing) // n_jobs)))
        reasons: dict[str, str] = {}
        jobs = (delayed(_write_shards)(self.dir, self.spec, job, size) for job in _jobs(missing, size))
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


def _jobs(missing: list[Part], size: int) -> Iterator[list[Part]]:
    """The missing clips in jobs of some files with ``size`` clips or more: one worker decodes a file once."""
    job: list[Part] = []
    for _, parts in itertools.groupby(missing, key=itemgetter(0)):
        job += parts
        if len(job) >= size:
            yield job
            job = []
    if job:
        yield job


def _write_shards(folder: Path, spec: FeatureSpec, job: list[Part], size: int) -> tuple[int, dict[str, str]]:
    """One worker's job: the clips of some files, at most ``size`` a shard; their number, and the bad ones' reasons."""
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
        write_json(folder / f"{name}.json", list(shard))  # written last: only now the shard counts
    return len(job), reasons
