"""Files that appear whole or not at all, content hashes, and where the cache and the demo data lie."""

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
IN_CHECKOUT = (PROJECT_ROOT / "pyproject.toml").is_file()  # not in an installed wheel
_HOME = PROJECT_ROOT if IN_CHECKOUT else platformdirs.user_cache_path("frequency-quest")
CACHE_DIR = Path(os.environ.get("FREQUENCY_QUEST_CACHE", _HOME / "cache"))  # of the computed spectrograms
DEMO_DIR = _HOME / "data" / "demo"  # of the embedded synthetic sounds


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; on success it is fsynced and takes ``path``'s place.

    On any error (a full disk, Ctrl-C) the previous file stands untouched. The temporary name keeps the suffix,
    since Keras picks its format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    temporary.touch(exist_ok=False)
    mode = temporary.stat().st_mode
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(mode)  # safetensors makes a file that only its owner may read
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def safe_name(label: str) -> str:
    """A label as a file or folder name: the only way from one to the other.

    What is no letter, digit, space, dot, hyphen or underscore becomes an underscore. A name that had to change ends in
    a hash of the label, so that two labels never share one.
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
    """32 hex digits of BLAKE2b over the file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def text_hash(text: str) -> str:
    """16 hex digits of BLAKE2b over a text."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
