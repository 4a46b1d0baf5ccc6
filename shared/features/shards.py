"""Features: the cached arrays of a sequence of clips, read from the shards' files when they are indexed."""

import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from shared.errors import UserError
from shared.features.index import Listed
from shared.features.joined import split
from shared.features.spec import FeatureSpec
from shared.files import content_hash

MOST_OPEN = 32  # files of one cache that stay open


class Shards:
    """The shards of one ``FeatureCache.build``; each is compared with its checksum when it is first read.

    A clip is read with one call of the system. If there are few shards, their files stay open, which halves the time.
    With more shards than may be open at a time, a memory map would be opened for each clip, which takes twenty times as
    long.

    Args:
        folder: the folder of their files.
        listed: their entries in the index.
        restore: computes a damaged shard again and returns its new entry, with the same clips in the same rows.
    """

    def __init__(self, folder: Path, listed: Iterable[Listed], restore: Callable[[Listed], Listed]) -> None:
        self.folder, self._listed, self._restore = folder, list(listed), restore
        self._files: list[Path | OpenFile | None] = [None] * len(self._listed)  # of the shards that are intact

    def read(self, index: int, row: int, out: np.ndarray) -> None:
        """Copy a row of a shard to ``out``, float32 and contiguous, of the rows' shape."""
        file = self._files[index] or self._intact(index)
        listed = self._listed[index]
        if read_at(file, listed.size - (listed.count - row) * out.nbytes, out) != out.nbytes:  # rows stand at the end
            path = self.folder / listed.file
            raise UserError(f"{path}: was cut short while it was in use; run the same command again")

    def _intact(self, index: int) -> "Path | OpenFile":
        """The file of a shard, which is computed again if it is damaged."""
        if is_damaged(self.folder, self._listed[index]):
            self._listed[index] = self._restore(self._listed[index])
        path = self.folder / self._listed[index].file
        stays_open = len(self._listed) <= MOST_OPEN and hasattr(os, "preadv")
        self._files[index] = file = OpenFile(path) if stays_open else path
        return file


class OpenFile:
    """A file that is open for ``read_at`` as long as this object lives; a copy in another process opens it again."""

    def __init__(self, path: Path) -> None:
        self.path, self.descriptor = path, os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)

    def __reduce__(self) -> tuple[type["OpenFile"], tuple[Path]]:
        return OpenFile, (self.path,)


def read_at(file: Path | OpenFile, offset: int, out: np.ndarray) -> int:
    """Fill a contiguous array from a place of a file; the number of bytes that there were."""
    if not hasattr(os, "preadv"):  # on Windows
        with file.open("rb", buffering=0) as opened:
            opened.seek(offset)
            return opened.readinto(out)
    opened = file if isinstance(file, OpenFile) else OpenFile(file)  # two thirds of the time of a file object
    return os.preadv(opened.descriptor, [out], offset)


def is_damaged(folder: Path, listed: Listed) -> bool:
    """Whether a shard's file is missing, cannot be read or differs from its checksum."""
    own = checksum if listed.checksum.startswith("crc32:") else content_hash  # the first caches have hashes
    try:
        return own(folder / listed.file) != listed.checksum
    except OSError:
        return True


def checksum(path: Path) -> str:
    """The CRC-32 of a file's bytes, "crc32:" and 8 hex digits: it shows damage in a fifth of the time of a hash."""
    value = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(1 << 16):
            value = zlib.crc32(block, value)
    return f"crc32:{value:08x}"


class Features:
    """The cached arrays of a sequence of clips, read from disk when they are indexed.

    Args:
        shards: the shards of these clips and perhaps others.
        locations: position in ``shards`` and row there of each clip, int32 (N, 2).
        paths: each clip's file.
    """

    def __init__(self, shards: Shards, locations: np.ndarray, spec: FeatureSpec, paths: Sequence[Path | str]) -> None:
        self.shards, self.locations, self.spec, self.paths = shards, locations, spec, paths

    def __len__(self) -> int:
        return len(self.locations)

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """The clips at ``indices``: float32 (B, *spec.shape)."""
        batch = np.empty((len(indices), *self.spec.shape), dtype=np.float32)
        for row, (shard, position) in enumerate(self.locations[np.asarray(indices, dtype=int)].tolist()):
            self.shards.read(shard, position, batch[row])
        return batch

    def take(self, indices: Sequence[int] | np.ndarray) -> "Features":
        """Select or reorder clips without reading them."""
        indices = np.asarray(indices, dtype=int)
        return Features(self.shards, self.locations[indices], self.spec, [self.paths[i] for i in indices])

    def part(self, index: int) -> "Features":
        """A part of joined features; other features are their own part 0."""
        return PartOf(self, index) if self.spec.parts else self


class PartOf(Features):
    """One part of joined features, separated from the others when it is indexed."""

    def __init__(self, joined: Features, index: int) -> None:
        super().__init__(joined.shards, joined.locations, joined.spec.parts[index], joined.paths)
        self.joined, self.index = joined, index

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        return split(self.joined[indices], self.joined.spec)[self.index]

    def take(self, indices: Sequence[int] | np.ndarray) -> "PartOf":
        return PartOf(self.joined.take(indices), self.index)
