"""FeatureCache: every clip's array computed once, kept as memory-mapped ``.npy`` shards.

A clip is known by the hash of its bytes, so moved, renamed and added files cost nothing but themselves. One folder
holds one FeatureSpec (its fields and the versions of the libraries that compute it); each shard ``<id>.npy`` is
(clips, *spec.shape); ``<id>.json`` beside it, written last, lists its clips: a shard counts whole or not at all.
"""

import dataclasses
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np
from filelock import FileLock
from joblib import Parallel, delayed
from tqdm import tqdm

from shared.errors import AudioError, UserError
from shared.features.spec import FeatureSpec
from shared.features.transforms import extract
from shared.files import CACHE_DIR, content_hash, read_json, replacing, text_hash, write_json

CLIPS_PER_SHARD = 64  # 6 to 17 MiB: the most a worker holds, and the most a Ctrl-C costs it
_LIBRARIES = ("librosa", "scipy", "soundfile", "soxr")


class Features:
    """The cached arrays of a sequence of clips, read from disk as they are asked for."""

    def __init__(self, locations: Sequence[tuple[Path, int]], spec: FeatureSpec) -> None:
        self.locations, self.spec = list(locations), spec
        self._shards: dict[Path, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.locations)

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """The clips at ``indices``: float32 (B, *spec.shape)."""
        batch = np.empty((len(indices), *self.spec.shape), dtype=np.float32)
        for row, index in enumerate(indices):
            shard, position = self.locations[index]
            if shard not in self._shards:
                self._shards[shard] = np.load(shard, mmap_mode="r", allow_pickle=False)
            batch[row] = self._shards[shard][position]
        return batch

    def take(self, indices: Sequence[int] | np.ndarray) -> "Features":
        """The same clips in another order or fewer of them; nothing is read."""
        return Features([self.locations[index] for index in indices], self.spec)


@dataclasses.dataclass(frozen=True)
class CachedClips:
    """What ``FeatureCache.build`` found: ``features`` of the files at ``kept``, and why the others were left out."""

    features: Features
    kept: list[int]  # positions in the paths that were asked for
    hashes: list[str]  # content hash of each kept file
    rejects: dict[Path, str]  # file -> reason


class FeatureCache:
    """The shards of one FeatureSpec below ``root``."""

    def __init__(self, spec: FeatureSpec, root: Path = CACHE_DIR) -> None:
        self.spec = spec
        self.key = dataclasses.asdict(spec) | {name: version(name) for name in _LIBRARIES}
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

        ``offsets`` are the seconds in each file at which its clip begins; None is 0 for all. Memory stays at one shard
        a worker, however many clips there are. A bad file costs that file only.
        """
        if n_jobs is not None and n_jobs < 1:
            raise UserError(f"--n-jobs {n_jobs}: must be 1 or more")
        self.dir.mkdir(parents=True, exist_ok=True)
        offsets = [0.0] * len(paths) if offsets is None else offsets
        with ThreadPoolExecutor(8) as pool:
            hashes = list(pool.map(_hash_or_none, paths, offsets))
        with FileLock(self.dir / ".lock"):
            write_json(self.dir / "spec.json", self.key)
            known = self.index()
            asked = zip(hashes, paths, offsets, strict=True)
            missing = {h: (h, path, offset) for h, path, offset in asked if h and h not in known}
            reasons = self._compute(list(missing.values()), n_jobs=n_jobs, progress=progress)
            known = self.index() if missing else known
        rejects = {
            path: "cannot be read" if h is None else reasons[h]
            for h, path in zip(hashes, paths, strict=True)
            if h not in known
        }
        kept = [i for i, h in enumerate(hashes) if h in known]
        features = Features([known[hashes[i]] for i in kept], self.spec)
        return CachedClips(features, kept, [hashes[i] for i in kept], rejects)

    def _compute(self, clips: list[tuple[str, Path, float]], *, n_jobs: int | None, progress: bool) -> dict[str, str]:
        """Write the shards of ``clips`` (hash, path, offset); return hash -> reason for those that cannot be used."""
        n_jobs = min(n_jobs or os.cpu_count() or 1, max(1, len(clips) // 16))  # a worker costs a second to start
        size = min(CLIPS_PER_SHARD, max(1, -(-len(clips) // n_jobs)))
        chunks = [clips[start : start + size] for start in range(0, len(clips), size)]
        reasons: dict[str, str] = {}
        jobs = (delayed(_write_shard)(self.dir, self.spec, chunk) for chunk in chunks)
        description = f"features ({self.spec.kind}, {self.dir.name[-6:]})"
        with tqdm(total=len(clips), desc=description, unit="clip", disable=not (progress and clips)) as bar:
            for done, failed in Parallel(n_jobs=n_jobs, return_as="generator_unordered")(jobs):
                reasons |= failed
                bar.update(done)
        return reasons


def _hash_or_none(path: Path, offset: float) -> str | None:
    try:
        return content_hash(path) + (f"@{offset:g}" if offset else "")
    except OSError:
        return None


def _write_shard(folder: Path, spec: FeatureSpec, clips: list[tuple[str, Path, float]]) -> tuple[int, dict[str, str]]:
    """One worker's job: some clips into one shard. Returns how many it saw and the bad ones' reasons."""
    arrays, hashes, reasons = [], [], {}
    for clip, path, offset in clips:
        try:
            array = extract(path, spec, offset=offset)
        except AudioError as error:
            reasons[clip] = str(error)
            continue
        arrays.append(array)
        hashes.append(clip)
    if hashes:
        name = text_hash("".join(hashes))
        with replacing(folder / f"{name}.npy") as temporary:
            np.save(temporary, np.stack(arrays), allow_pickle=False)
        write_json(folder / f"{name}.json", hashes)
    return len(clips), reasons
