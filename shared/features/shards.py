"""Features: the cached arrays of a sequence of clips, read from memory-mapped shards."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from shared.features.index import Listed
from shared.features.spec import FeatureSpec
from shared.files import content_hash

OPEN_SHARDS = 64  # open at the same time; the limit on open files is 1024 on most systems, 256 on some


@lru_cache(maxsize=OPEN_SHARDS)
def _open_shard(shard: Path) -> np.ndarray:
    """Open a shard as a memory map. All ``Features`` of a process share the maps: each holds a file descriptor."""
    return np.load(shard, mmap_mode="r", allow_pickle=False)


def close_shards() -> None:
    """Forget the open shards, because one may have been written again."""
    _open_shard.cache_clear()


class Shards:
    """The shards of one ``FeatureCache.build``; each is compared with its checksum when it is first read.

    Args:
        folder: the folder of their files.
        listed: their entries in the index.
        restore: computes a damaged shard again and returns its new entry, with the same clips in the same rows.
    """

    def __init__(self, folder: Path, listed: Iterable[Listed], restore: Callable[[Listed], Listed]) -> None:
        self.folder, self._listed, self._restore = folder, list(listed), restore
        self._intact = np.zeros(len(self._listed), dtype=bool)

    def __getitem__(self, index: int) -> np.ndarray:
        """The memory map of a shard, float32 (clips, *spec.shape)."""
        if not self._intact[index]:
            if is_damaged(self.folder, self._listed[index]):
                self._listed[index] = self._restore(self._listed[index])
                close_shards()
            self._intact[index] = True
        return _open_shard(self.folder / self._listed[index].file)


def is_damaged(folder: Path, listed: Listed) -> bool:
    """Whether a shard's file is missing, cannot be read or differs from its checksum."""
    try:
        return content_hash(folder / listed.file) != listed.checksum
    except OSError:
        return True


class Features:
    """The cached arrays of a sequence of clips, read from disk when they are indexed.

    Args:
        shards: the shards of these clips and perhaps others.
        locations: position in ``shards`` and row there of each clip, int32 (N, 2).
        paths: each clip's file.
    """

    def __init__(self, shards: Shards, locations: np.ndarray, spec: FeatureSpec, paths: Sequence[Path]) -> None:
        self.shards, self.locations, self.spec, self.paths = shards, locations, spec, paths

    def __len__(self) -> int:
        return len(self.locations)

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """The clips at ``indices``: float32 (B, *spec.shape)."""
        batch = np.empty((len(indices), *self.spec.shape), dtype=np.float32)
        for row, (shard, position) in enumerate(self.locations[np.asarray(indices, dtype=int)].tolist()):
            batch[row] = self.shards[shard][position]
        return batch

    def take(self, indices: Sequence[int] | np.ndarray) -> "Features":
        """Select or reorder clips without reading them."""
        indices = np.asarray(indices, dtype=int)
        return Features(self.shards, self.locations[indices], self.spec, [self.paths[i] for i in indices])
