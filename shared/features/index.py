"""CacheIndex: which clips a cache folder holds, one JSON line per shard in ``index.jsonl``.

A line is {"shard": name, "checksum": that of the bytes, "bytes": their number, "clips": ids in the order of the
rows}. The name is the hash of the ids, so a damaged line is recognised, and it costs only the clips of its shard. Lines
are appended; of two lines with one name the later counts.
"""

import dataclasses
import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock

from shared.files import naming_full_disk, text_hash, write_text

INDEX = "index.jsonl"
LOST = "-"  # the id of a row whose clip could not be restored


def locked(folder: Path) -> FileLock:
    """Only one process at a time writes to a cache folder: ``with locked(folder)`` waits for the others."""
    return FileLock(folder / ".lock")


@dataclasses.dataclass(frozen=True)
class Listed:
    """A shard in the index.

    Attributes:
        checksum: the checksum of its file's bytes (shards.checksum).
        size: the number of its file's bytes.
        joined: the ids of its clips in the order of its rows, LOST where there is none, joined by line feeds: one text
            per shard takes a fraction of the memory of one per clip.
    """

    checksum: str
    size: int
    joined: str

    @property
    def clips(self) -> list[str]:
        return self.joined.split("\n")

    @property
    def count(self) -> int:
        """The number of its rows."""
        return self.joined.count("\n") + 1

    @property
    def name(self) -> str:
        return text_hash(self.joined)

    @property
    def file(self) -> str:
        return f"{self.name}.npy"

    def line(self) -> str:
        entry = {"shard": self.name, "checksum": self.checksum, "bytes": self.size, "clips": self.clips}
        return json.dumps(entry) + "\n"


class CacheIndex:
    """The index of a cache folder, as it was when it was read.

    Attributes:
        shards: name -> its listing, in the order of the lines.
        damaged: number of lines that could not be used.
    """

    def __init__(self, folder: Path) -> None:
        self.path, self.damaged = folder / INDEX, 0
        self.shards: dict[str, Listed] = {}
        if self.path.exists():
            with self.path.open("rb") as file:
                for line in file:
                    self._read(line.strip())
        parts = [np.array(listed.clips, dtype=np.bytes_) for listed in self.shards.values()]
        sizes = [len(part) for part in parts]
        ids = np.concatenate([*parts, np.zeros(0, dtype=np.bytes_)])
        self._order = np.argsort(ids, kind="stable")  # of equal ids the last is in the shard that was written last
        self._ids = ids[self._order]
        self._shard = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        self._row = np.concatenate([np.arange(size, dtype=np.int32) for size in sizes] or [np.zeros(0, np.int32)])

    def _read(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
            listed = Listed(str(entry["checksum"]), int(entry["bytes"]), "\n".join(entry["clips"]))
            if listed.name != entry["shard"]:
                raise ValueError("not the hash of its clips")
            self.shards.pop(listed.name, None)
            self.shards[listed.name] = listed
        except (ValueError, TypeError, KeyError):
            self.damaged += bool(line)

    def __len__(self) -> int:
        """The number of listed clips."""
        return len(self._ids)

    def find(self, clips: Sequence[str] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each id the position of its shard in ``shards`` and its row there, int32 (N,); -1 if it is not listed."""
        wanted = np.asarray(clips, dtype=np.bytes_)
        if not len(self._ids):
            return np.full(len(wanted), -1, np.int32), np.full(len(wanted), -1, np.int32)
        places = np.searchsorted(self._ids, wanted, side="right") - 1
        found = (places >= 0) & (self._ids[places] == wanted)
        where = self._order[places]
        return np.where(found, self._shard[where], -1), np.where(found, self._row[where], -1)

    def append(self, listed: Listed) -> None:
        """Add a shard to the file; ``find`` knows it only after the index is read again. The caller holds the lock."""
        with naming_full_disk(self.path), self.path.open("a+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            torn = size > 0 and file.read(1) != b"\n"  # a process was killed while it appended
            file.write(b"\n" * torn + listed.line().encode())
            file.flush()
            os.fsync(file.fileno())

    def drop(self, names: Collection[str]) -> None:
        """Write the index without these shards and without damaged lines. The caller holds the lock."""
        write_text(self.path, "".join(listed.line() for name, listed in self.shards.items() if name not in names))
