"""Atomic file writes, content hashes, and the default folders of the cache and the demo data."""

import contextlib
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platformdirs

PROJECT_ROOT = Path(__file__).resolve().parents[1]
IN_CHECKOUT = (PROJECT_ROOT / "pyproject.toml").is_file()  # False in an installed wheel
_HOME = PROJECT_ROOT if IN_CHECKOUT else platformdirs.user_cache_path("frequency-quest")
CACHE_DIR = Path(os.environ.get("FREQUENCY_QUEST_CACHE", _HOME / "cache"))  # computed spectrograms
DEMO_DIR = _HOME / "data" / "demo"  # synthetic demo sounds


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success the file written there is fsynced and replaces ``path``.

    On any error (a full disk, Ctrl-C) the previous file is left unchanged. The temporary name keeps the suffix
    because Keras chooses its file format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    temporary.touch(exist_ok=False)
    mode = temporary.stat().st_mode
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(mode)  # safetensors writes files that only their owner may read
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def safe_name(label: str) -> str:
    """Turn a label into a file or folder name. All code that names files after labels uses this function.

    Every character other than a letter, digit, space, dot, hyphen or underscore becomes an underscore. A changed name
    ends in a hash of the label, so that two labels never share a name.
    """
    name = re.sub(r"[^\w .-]", "_", label).strip(" .")[:100]
    return name if name and name == label else f"{name or 'label'}-{text_hash(label)[:8]}"


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, sort_keys=False, allow_nan=True) + "\n")


def read_json(path: Path) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def content_hash(path: Path) -> str:
    """The BLAKE2b hash of a file's bytes, 32 hex digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def text_hash(text: str) -> str:
    """The BLAKE2b hash of a text, 16 hex digits."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
