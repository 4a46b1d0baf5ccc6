"""FeatureCache: each clip's array is computed once and kept in ``.npy`` shards.

A clip is identified by the hash of its file's bytes and its start in seconds, so moved or renamed files are not
computed again. One folder holds the arrays of one FeatureSpec, computed with the same versions of the libraries and of
the transforms. A shard ``<name>.npy`` has the shape (clips, *spec.shape). It is listed in the index after it was
written: a shard that is not listed is ignored. A damaged shard is computed again.
"""

import contextlib
import dataclasses
import itertools
import json
import os
import platform
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from operator import itemgetter
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from shared.errors import AudioError, UserError
from shared.features.cluster import connect
from shared.features.hashes import File, file_hashes
from shared.features.index import LOST, CacheIndex, Listed, locked
from shared.features.shards import Features, Shards, checksum
from shared.features.spec import FeatureSpec
from shared.features.transforms import VERSION, extract_parts
from shared.files import CACHE_DIR, content_hash, replacing, text_hash, write_json

CLIPS_PER_SHARD = 64  # 2 to 45 MiB with the presets: what a worker holds in memory, and what it loses on Ctrl-C
Part = tuple[File, float, str]  # a clip's file, its start there in seconds, its id
Written = tuple[int, list[Listed], dict[str, str]]  # the clips of a job, its shards, why which ids are unusable
_NAMES = {
    "log_mel": "log-mel spectrograms",
    "mfcc": "MFCCs",
    "stft": "magnitude spectrograms",
    "amplitude_phase": "amplitude and phase images",
    "waveform": "waveforms",
    "embedding": "embeddings",
    "joined": "spectrograms and embeddings",
}
_LIBRARIES = ("librosa", "scipy", "soundfile", "soxr")


def current_versions() -> dict[str, str | int]:
    """The versions of all code that computes the arrays; they are part of each folder's key."""
    return {name: version(name) for name in _LIBRARIES} | {"transforms": VERSION}


@dataclasses.dataclass(frozen=True)
class CachedClips:
    """The result of ``FeatureCache.build``: the usable clips' features, and why the other files were rejected."""

    features: Features
    kept: list[int]  # the positions of the usable clips in ``paths``
    hashes: np.ndarray  # each kept clip's id, bytes: its file's content hash, then @ and its start in seconds unless 0
    rejects: dict[File, str]  # file -> reason


class FeatureCache:
    """The shards of one FeatureSpec below ``root``.

    Args:
        scheduler: the address of a Dask cluster that computes the arrays, or "local"; None uses joblib's processes.
    """

    def __init__(self, spec: FeatureSpec, root: Path = CACHE_DIR, *, scheduler: str | None = None) -> None:
        self.spec, self.scheduler = spec, scheduler
        self.key = spec.key | current_versions()
        self.dir = Path(root) / f"{spec.kind}-{text_hash(json.dumps(self.key, sort_keys=True))}"

    def build(
        self,
        paths: Sequence[File],
        *,
        offsets: Sequence[float] | None = None,
        n_jobs: int | None = None,
        progress: bool = True,
        verify_data: bool = False,
    ) -> CachedClips:
        """Compute the missing arrays in parallel and return all usable clips, in the order of ``paths``.

        A file that cannot be used is listed in ``rejects``. A file with several clips is hashed and decoded once. Each
        worker holds one shard in memory, however many clips there are.

        Args:
            paths: each clip's file.
            offsets: each clip's start in its file in seconds; None is 0 for all.
            n_jobs: worker processes on this machine; None is one per core.
            progress: show progress bars on a terminal; in a log, print one line if anything was computed.
            verify_data: read all files to compute their hashes, also those whose size and time have not changed.
        """
        if n_jobs is not None and n_jobs < 1:
            raise UserError(f"--n-jobs {n_jobs}: must be 1 or more")
        self.dir.mkdir(parents=True, exist_ok=True)
        starts = np.zeros(len(paths)) if offsets is None else np.asarray(offsets, dtype=float)
        ids, rejects = file_hashes(paths, self.dir.parent, verify=verify_data, progress=progress)
        if starts.any():
            ids = np.array([_id(content, start) for content, start in zip(ids, starts, strict=True)], dtype=np.bytes_)
        with locked(self.dir):
            write_json(self.dir / "spec.json", self.key)
            index = self._usable_index()
            shards, rows = index.find(ids)
            missing = _to_compute(paths, starts, ids, listed=shards >= 0)
            parts = ((paths[i], float(starts[i]), ids[i].decode()) for i in missing)
            reasons = self._compute(parts, len(missing), index, n_jobs=n_jobs, progress=progress)
            if missing:
                index = CacheIndex(self.dir)
                shards, rows = index.find(ids)
        rejects |= {paths[i]: reasons[ids[i].decode()] for i in np.flatnonzero(shards < 0) if ids[i]}
        kept = np.flatnonzero(shards >= 0)
        restore = partial(self._restore, ids=ids, files=paths, starts=starts)  # another process may get it, too
        opened = Shards(self.dir, index.shards.values(), restore)
        features = Features(opened, np.stack([shards, rows], axis=1)[kept], self.spec, [paths[i] for i in kept])
        return CachedClips(features, kept.tolist(), ids[kept], rejects)

    def _usable_index(self) -> CacheIndex:
        """The index, after damaged lines and shards that are missing or of another size were taken out of it."""
        index = CacheIndex(self.dir)
        lost = [name for name, listed in index.shards.items() if _size(self.dir / listed.file) != listed.size]
        if index.damaged or lost:
            faults = f"{index.damaged} damaged lines, {len(lost)} shards missing or cut short"
            print(f"{index.path}: {faults}; their clips are computed again", file=sys.stderr)
            index.drop(lost)
            index = CacheIndex(self.dir)
        return index

    def _restore(self, listed: Listed, *, ids: np.ndarray, files: Sequence[File], starts: np.ndarray) -> Listed:
        """Compute a damaged shard's clips again, except those that are not among ``ids``, those of the files.

        Raises:
            UserError: a clip's file cannot be used any more.
        """
        shard = self.dir / listed.file
        print(f"{shard}: damaged; its clips are computed again", file=sys.stderr, flush=True)
        sources = dict(zip(np.char.decode(ids), zip(files, starts, strict=True), strict=True))
        clips = [clip if clip in sources else LOST for clip in listed.clips]
        arrays = np.zeros((len(clips), *self.spec.shape), dtype=np.float32)
        with locked(self.dir):
            for row, clip in enumerate(clips):
                if clip != LOST:
                    path, start = sources[clip]
                    try:
                        if content_hash(path) != clip.partition("@")[0]:
                            raise AudioError("has changed")
                        arrays[row] = next(extract_parts(path, self.spec, [start]))
                    except (AudioError, OSError) as error:
                        raise UserError(f"{shard}: damaged, and {path}: {error}; run the same command again") from error
            restored = _save(self.dir, clips, arrays)
            index = CacheIndex(self.dir)
            index.drop([listed.name])
            index.append(restored)
        return restored

    def _compute(
        self, missing: Iterable[Part], count: int, index: CacheIndex, *, n_jobs: int | None, progress: bool
    ) -> dict[str, str]:
        """Write and list the shards of the missing clips; return the ids of unusable clips with the reasons.

        Args:
            count: how many clips are missing.
        """
        reasons: dict[str, str] = {}
        name, began = _NAMES[self.spec.kind], time.perf_counter()
        hidden = None if progress and count else True
        with (
            tqdm(total=count, desc=f"computing {name}", unit="clip", disable=hidden) as bar,
            contextlib.closing(self._results(missing, count, n_jobs)) as results,
        ):
            for done, written, failed in results:
                for listed in written:
                    index.append(listed)
                reasons |= failed
                bar.update(done)
        computed = count - len(reasons)
        if progress and computed and not sys.stderr.isatty():
            print(f"computed {computed} {name} in {time.perf_counter() - began:.1f} s", file=sys.stderr)
        return reasons

    def _results(self, missing: Iterable[Part], count: int, n_jobs: int | None) -> Iterator[Written]:
        """Divide the missing clips into jobs and compute them on the cluster, or in processes of this machine."""
        enough = max(1, count // 16)  # a worker costs a second to start
        n_jobs = min(n_jobs or os.cpu_count() or 1, enough)
        remote = self.scheduler is not None and count
        with connect(self.scheduler, n_jobs) if remote else contextlib.nullcontext() as cluster:
            if cluster:
                n_jobs = max(1, min(cluster.threads(), enough))
            rounds = -(-count // (CLIPS_PER_SHARD * n_jobs))  # each worker gets as many jobs of equal size
            size = max(1, -(-count // max(1, rounds * n_jobs)))
            # workers may stand in another folder: on other machines, or since an earlier call in a notebook
            jobs = ([(Path(path).absolute(), *rest) for path, *rest in job] for job in _jobs(missing, size))
            how = (self.dir.absolute(), self.spec, size)
            if cluster:
                yield from cluster.run(_write_remotely, ((current_versions(), *how, job) for job in jobs))
            else:
                calls = (delayed(_write_shards)(*how, job) for job in jobs)
                yield from Parallel(n_jobs=n_jobs, return_as="generator_unordered")(calls)


def _id(content: bytes, start: float) -> bytes:
    return b"%s@%r" % (content, float(start)) if content and start else content


def _to_compute(paths: Sequence[File], starts: np.ndarray, ids: np.ndarray, *, listed: np.ndarray) -> list[int]:
    """The positions of the clips to compute, ordered by file and start; one of those with equal ids."""
    missing = np.flatnonzero(~listed & (ids != b""))
    missing = missing[np.unique(ids[missing], return_index=True)[1]]
    by_start = missing[np.argsort(starts[missing], kind="stable")].tolist()
    return sorted(by_start, key=lambda i: str(paths[i]))


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _jobs(missing: Iterable[Part], size: int) -> Iterator[list[Part]]:
    """Divide the missing clips into jobs of at least ``size`` clips; the clips of a file stay in one job."""
    job: list[Part] = []
    for _, parts in itertools.groupby(missing, key=itemgetter(0)):
        job += parts
        if len(job) >= size:
            yield job
            job = []
    if job:
        yield job


def _write_remotely(
    versions: dict[str, str | int], folder: Path, spec: FeatureSpec, size: int, job: list[Part]
) -> Written:
    """``_write_shards`` on a worker of a cluster.

    Raises:
        UserError: the worker has other versions of the libraries than ``versions``, or does not see all files.
    """
    worker, own = f"--scheduler: the worker on {platform.node()}", current_versions()
    for name in versions:
        if own[name] != versions[name]:
            remedy = "install the same versions on all machines"
            raise UserError(f"{worker} has {name} {own[name]}, not {versions[name]}; {remedy}")
    for path in (folder / "spec.json", *dict.fromkeys(path for path, _, _ in job)):
        if not path.is_file():
            remedy = "all machines must see the sounds and the cache under the same paths"
            raise UserError(f"{worker} does not see {path}; {remedy}")
    return _write_shards(folder, spec, size, job)


def _write_shards(folder: Path, spec: FeatureSpec, size: int, job: list[Part]) -> Written:
    """Write one job's clips in shards of at most ``size``.

    Returns:
        The number of the job's clips, the shards, and the reasons for the ids of unusable clips.
    """
    reasons: dict[str, str] = {}

    def arrays() -> Iterator[tuple[str, np.ndarray]]:
        for path, parts in itertools.groupby(job, key=itemgetter(0)):
            _, offsets, ids = map(list, zip(*parts, strict=True))
            try:
                for array in extract_parts(path, spec, offsets):
                    yield ids.pop(0), array
            except AudioError as error:
                reasons.update(dict.fromkeys(ids, str(error)))

    computed, written = arrays(), []
    while shard := dict(itertools.islice(computed, size)):
        written.append(_save(folder, list(shard), np.stack(list(shard.values()))))
    return len(job), written, reasons


def _save(folder: Path, clips: list[str], arrays: np.ndarray) -> Listed:
    """Write a shard of these clips, arrays (clips, *spec.shape)."""
    listed = Listed("", 0, "\n".join(clips))
    with replacing(folder / listed.file) as temporary:
        np.save(temporary, arrays, allow_pickle=False)
        return dataclasses.replace(listed, checksum=checksum(temporary), size=temporary.stat().st_size)
