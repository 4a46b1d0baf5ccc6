"""Content hashes of files, remembered by size and modification time, so that unchanged files are not read again."""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from shared.errors import AudioError
from shared.files import content_hash

FILE = "files.sqlite"
RECENT = 2.0  # seconds; a file that was just changed may change again within one tick of the file system's clock
_Stamp = tuple[int, int]  # size in bytes, modification time in ns


def file_hashes(
    paths: Sequence[Path], folder: Path, *, verify: bool = False, progress: bool = True
) -> dict[Path, str | AudioError]:
    """The content hash of each file, or why it cannot be read.

    Args:
        folder: the cache, whose ``files.sqlite`` remembers the hashes.
        verify: read all files, also those whose size and time have not changed.
        progress: show a progress bar on a terminal.
    """
    files = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(8) as pool, _database(folder / FILE) as remembered:
        stamps = dict(zip(files, pool.map(_stamp, files), strict=True))
        found = {} if verify else _remembered(remembered, stamps)
        missing = [path for path in files if path not in found]
        hidden = None if progress else True  # None hides the bar if stderr is not a terminal
        bar = tqdm(pool.map(_hash, missing), "hashing", len(missing), unit="file", delay=1, disable=hidden)
        hashed = dict(zip(missing, bar, strict=True))
        _remember(remembered, {path: value for path, value in hashed.items() if isinstance(value, str)}, stamps)
    return {path: found.get(path) or hashed[path] for path in files}


def _hash(path: Path) -> str | AudioError:
    try:
        str(path).encode()
        return content_hash(path)
    except UnicodeEncodeError:
        return AudioError("its name is not valid UTF-8; rename it")
    except (OSError, ValueError) as error:
        return AudioError(f"cannot be read: {getattr(error, 'strerror', None) or error}")


def _stamp(path: Path) -> _Stamp | None:
    try:
        status = path.stat()
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


def _key(path: Path) -> bytes:
    return os.fsencode(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps ".."


def _remembered(database: sqlite3.Connection, stamps: dict[Path, _Stamp | None]) -> dict[Path, str]:
    """The hashes of the files whose size and time have not changed."""
    found = {}
    with contextlib.suppress(sqlite3.Error):  # the files that are not found here are read again
        for path, stamp in stamps.items():
            row = database.execute("SELECT size, mtime, hash FROM files WHERE path = ?", (_key(path),)).fetchone()
            if row is not None and row[:2] == stamp:
                found[path] = row[2]
    return found


def _remember(database: sqlite3.Connection, hashes: dict[Path, str], stamps: dict[Path, _Stamp | None]) -> None:
    """Keep the hashes of the files that were not changed while they were read, or just before."""
    limit = (time.time() - RECENT) * 1e9
    rows = [
        (_key(path), *stamp, value)
        for path, value in hashes.items()
        if (stamp := stamps[path]) is not None and stamp[1] < limit and _stamp(path) == stamp
    ]
    with contextlib.suppress(sqlite3.Error), database:  # without a memory the next command reads the files again
        database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", rows)
