"""Looks after the cache's folders: lists them, verifies and repairs their shards, deletes what is no longer used."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.errors import UserError
from shared.features.cache import current_versions
from shared.features.index import CacheIndex, locked
from shared.features.shards import is_damaged
from shared.features.spec import PRESETS
from shared.files import read_json


@dataclasses.dataclass(frozen=True)
class Folder:
    """One folder of the cache.

    Attributes:
        key: the content of its spec.json, the FeatureSpec and the versions; {} if that cannot be read.
        index: its shards and clips.
        unlisted: files of shards that the index does not list.
        size: bytes of all its files.
    """

    path: Path
    key: dict[str, Any]
    index: CacheIndex
    unlisted: list[Path]
    size: int

    @property
    def preset(self) -> str:
        """The name of the preset with these values, else the kind of the arrays."""
        same = (name for name, spec in PRESETS.items() if spec.key.items() <= self.key.items())
        return next(same, self.key.get("kind", "unknown"))

    @property
    def outdated(self) -> bool:
        """Whether other versions of the libraries or transforms computed it, so that it is not read any more."""
        return not current_versions().items() <= self.key.items()

    def damaged(self) -> list[str]:
        """The names of the listed shards whose files are missing or damaged. All files are read."""
        return [name for name, listed in self.index.shards.items() if is_damaged(self.path, listed)]


def folders(root: Path) -> Iterator[Folder]:
    """The cache's folders below ``root``, sorted by name."""
    for spec in sorted(Path(root).glob("*/spec.json")):
        try:
            key = dict(read_json(spec))
        except (UserError, ValueError, TypeError, OSError):
            key = {}
        index = CacheIndex(spec.parent)
        listed = {listed.file for listed in index.shards.values()}
        unlisted = [path for path in sorted(spec.parent.glob("*.npy")) if path.name not in listed]
        size = sum(path.stat().st_size for path in spec.parent.iterdir() if path.is_file())
        yield Folder(spec.parent, key, index, unlisted, size)


def repair(folder: Folder) -> list[str]:
    """Take damaged shards and lines out of a folder, so that the next command computes their clips again.

    Returns:
        The names of the shards.
    """
    with locked(folder.path):
        damaged = folder.damaged()
        if damaged or folder.index.damaged:
            folder.index.drop(damaged)
        for name in damaged:
            (folder.path / folder.index.shards[name].file).unlink(missing_ok=True)
    return damaged


def prune(folder: Folder) -> int:
    """Delete an outdated folder, or a current folder's unlisted shards; return the number of bytes that it freed."""
    if folder.outdated:
        with locked(folder.path):
            shutil.rmtree(folder.path)
        return folder.size
    with locked(folder.path):
        listed = {listed.file for listed in CacheIndex(folder.path).shards.values()}
        unlisted = [path for path in folder.unlisted if path.name not in listed and path.exists()]
        freed = sum(path.stat().st_size for path in unlisted)
        for path in unlisted:
            path.unlink(missing_ok=True)
    return freed
