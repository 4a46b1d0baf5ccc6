"""Content hashes of files, remembered by size and modification time, so that unchanged files are not read again."""

import contextlib
import itertools
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from shared.errors import AudioError
from shared.files import content_hash

FILE = "files.sqlite"
RECENT = 2.0  # seconds; a file that was just changed may change again within one tick of the file system's clock
BLOCK = 1 << 14  # files looked at together
_PER_QUERY = 500  # files asked for together: a third of the time of a query each; older SQLite allows up to 999
File = Path | str
_Stamp = tuple[int, int]  # size in bytes, modification time in ns


def file_hashes(
    paths: Sequence[File], folder: Path, *, verify: bool = False, progress: bool = True
) -> tuple[np.ndarray, dict[File, str]]:
    """The content hash of each file as bytes (N,), empty for the files that cannot be read, and why they cannot.

    Args:
        paths: the files; one that stands there several times in a row is read once.
        folder: the cache, whose ``files.sqlite`` remembers the hashes.
        verify: read all files, also those whose size and time have not changed.
        progress: show a progress bar on a terminal.
    """
    rejects: dict[File, str] = {}
    blocks = [np.zeros(0, dtype=np.bytes_)]
    hidden = None if progress else True  # None hides the bar if stderr is not a terminal
    with (
        ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool,
        _database(folder / FILE) as remembered,
        tqdm(total=len(paths), desc="hashing", unit="file", delay=1, disable=hidden) as bar,
    ):
        for start in range(0, len(paths), BLOCK):
            block = paths[start : start + BLOCK]
            files = list(dict.fromkeys(block))
            stamps = dict(zip(files, _each(_stamp, files, pool), strict=True))
            found = {} if verify else _remembered(remembered, stamps)
            missing = [path for path in files if path not in found]
            bar.update(len(block) - len(missing))
            for path, value in zip(missing, _each(_hash, missing, pool), strict=True):
                if isinstance(value, AudioError):
                    rejects[path] = str(value)
                else:
                    found[path] = value
                bar.update()
            _remember(remembered, {path: found[path] for path in missing if path in found}, stamps)
            blocks.append(np.array([found.get(path, "") for path in block], dtype=np.bytes_))
    return np.concatenate(blocks), rejects


def _each(function: Callable[[File], Any], files: Sequence[File], pool: ThreadPoolExecutor) -> Iterator[Any]:
    """The results for the files in order; a task has several files, because a task takes longer than to look at one."""
    tasks = (files[start : start + 32] for start in range(0, len(files), 32))
    return itertools.chain.from_iterable(pool.map(lambda some: [function(file) for file in some], tasks))


def _hash(path: File) -> str | AudioError:
    try:
        str(path).encode()
        return content_hash(path)
    except UnicodeEncodeError:
        return AudioError("its name is not valid UTF-8; rename it")
    except (OSError, ValueError) as error:
        return AudioError(f"cannot be read: {getattr(error, 'strerror', None) or error}")


def _stamp(path: File) -> _Stamp | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path takes five times as long
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


@contextlib.contextmanager
def _database(path: Path) -> Iterator[sqlite3.Connection]:
    """The open database. If it cannot be used, an empty one in memory: all hashes can be computed again.

    A damaged file is deleted, so that the next command has a memory again.
    """
    table = "CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, size INT, mtime INT, hash TEXT) WITHOUT ROWID"
    for place in (path, ":memory:"):
        with contextlib.closing(sqlite3.connect(place, timeout=60)) as database:
            try:
                database.execute(table)
            except sqlite3.DatabaseError as error:
                if "not a database" in str(error) or "malformed" in str(error):
                    path.unlink(missing_ok=True)
                continue
            yield database
            return


def _key(path: File) -> bytes:
    return os.fsencode(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps ".."


def _remembered(database: sqlite3.Connection, stamps: dict[File, _Stamp | None]) -> dict[File, str]:
    """The hashes of the files whose size and time have not changed."""
    keys = {path: _key(path) for path in stamps}
    names, rows = list(keys.values()), {}
    with contextlib.suppress(sqlite3.Error):  # the files that are not found here are read again
        for start in range(0, len(names), _PER_QUERY):
            some = names[start : start + _PER_QUERY]
            query = f"SELECT path, size, mtime, hash FROM files WHERE path IN ({', '.join('?' * len(some))})"
            rows.update((row[0], row[1:]) for row in database.execute(query, some))
    return {path: row[2] for path, key in keys.items() if (row := rows.get(key)) and row[:2] == stamps[path]}


def _remember(database: sqlite3.Connection, hashes: dict[File, str], stamps: dict[File, _Stamp | None]) -> None:
    """Keep the hashes of the files that were not changed while they were read, or just before."""
    limit = (time.time() - RECENT) * 1e9
    rows = [
        (_key(path), *stamp, value)
        for path, value in hashes.items()
        if (stamp := stamps[path]) is not None and stamp[1] < limit and _stamp(path) == stamp
    ]
    with contextlib.suppress(sqlite3.Error), database:  # without a memory the next command reads the files again
        database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", rows)
