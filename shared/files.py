"""Atomic file writes, content hashes, and the default folders of the cache and the demo data."""

import contextlib
import errno
import functools
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platformdirs
import psutil

from shared.errors import UserError

PROJECT_ROOT = Path(__file__).resolve().parents[1]
IN_CHECKOUT = (PROJECT_ROOT / "pyproject.toml").is_file()  # False in an installed wheel
_HOME = PROJECT_ROOT if IN_CHECKOUT else platformdirs.user_cache_path("frequency-quest")
CACHE_DIR = Path(os.environ.get("FREQUENCY_QUEST_CACHE", _HOME / "cache"))  # computed spectrograms
DEMO_DIR = _HOME / "data" / "demo"  # synthetic demo sounds
_MACHINE = hashlib.blake2b(platform.node().encode(), digest_size=4).hexdigest()  # in the names of temporary files
_LEAST_FREE = 64 << 10  # bytes; with less, a disk counts as full


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success the file written there is fsynced and replaces ``path``.

    On any error (a full disk, Ctrl-C) the previous file is left unchanged. The temporary name keeps the suffix
    because Keras chooses its file format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent.resolve())
    temporary = path.with_name(f".{path.stem}-{_MACHINE}-{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")
    try:
        with naming_full_disk(path):  # before the finally, because the file still takes its space
            temporary.touch(exist_ok=False)
            mode = temporary.stat().st_mode
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(mode)  # safetensors writes files that only their owner may read
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """Turn any error of a block that writes ``path`` into a UserError if the disk is full.

    The libraries that write models raise errors of their own types, often without a reason.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or shutil.disk_usage(path.parent).free < _LEAST_FREE:
            raise UserError(f"disk full: {path}; free some space and run the same command again") from error
        raise


@functools.cache
def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files in this folder whose process was killed; a process looks once into a folder."""
    for path in folder.glob(f".*-{_MACHINE}-*"):
        name = re.fullmatch(rf"\..*-{_MACHINE}-(\d+)-[0-9a-f]{{8}}(\.[^.]*)?", path.name)
        with contextlib.suppress(FileNotFoundError):  # its process has just finished the file
            if name and not _is_running(int(name[1]), since=path.stat().st_mtime):
                path.unlink()


def _is_running(pid: int, *, since: float) -> bool:
    """Whether the process with this number on this machine is still the one that ran at this time."""
    try:
        process = psutil.Process(pid)
        return process.create_time() <= since + 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Discard what libraries write directly to file descriptor 2; exceptions pass."""
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def safe_name(label: str) -> str:
    """Turn a label into a file or folder name. All code that names files after labels uses this function.

    Every character other than a letter, digit, space, dot, hyphen or underscore becomes an underscore. A changed name
    ends in a hash of the label, so that two labels never share a name.
    """
    name = re.sub(r"[^\w .-]", "_", label).strip(" .")[:100]
    return name if name and name == label else f"{name or 'label'}-{text_hash(label)[:8]}"


def base_folder(data: Path) -> Path:
    """The folder that paths of clips are relative to: ``data`` itself, or the folder of a CSV that lists the clips."""
    return data.parent if data.suffix.lower() == ".csv" and not data.is_dir() else data


def is_file(path: Path) -> bool:
    """Like Path.is_file, also for a name that is too long for the system or holds a zero byte."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def write_text(path: Path, text: str) -> None:
    """Write a text atomically. Bytes of file names that are not valid UTF-8 are written as escapes."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, sort_keys=False, allow_nan=True) + "\n")


def read_json(path: Path, **needed: type) -> Any:
    """The content of a JSON file.

    Args:
        needed: the names that its object must have, with the types of their values.

    Raises:
        OSError: it cannot be read.
        UserError: it is not JSON, or lacks one of the names.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is damaged, not JSON ({error}); restore it or make it again") from error
    for name, kind in needed.items():
        if not isinstance(value, dict) or not isinstance(value.get(name), kind):
            raise UserError(f"{path}: is damaged, lacks {name} ({kind.__name__}); restore it or make it again")
    return value


def content_hash(path: Path) -> str:
    """The BLAKE2b hash of a file's bytes, 32 hex digits.

    Raises:
        OSError: it cannot be read, or it is not a file: reading a pipe or a device might never end.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - a Path takes a third of the time of a short file
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        while block := file.read(1 << 16):  # hashlib.file_digest clears 256 KiB for each file
            digest.update(block)
    return digest.hexdigest()


def text_hash(text: str) -> str:
    """The BLAKE2b hash of a text, 16 hex digits."""
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).hexdigest()
