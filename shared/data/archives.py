"""Archives from the network: a download that goes on where it broke off, checksums, and unpacking that stays inside."""

import gzip
import hashlib
import lzma
import shutil
import tarfile
import time
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

import requests
from tqdm import tqdm

from shared.errors import UserError
from shared.files import read_json, write_json

BLOCK = 1 << 16  # bytes
PAUSE = 1.0  # seconds before a broken download goes on
TIMEOUT = (10.0, 60.0)  # seconds to connect, seconds between two blocks
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError)


def fetch(url: str, path: Path, *, by_hand: str) -> Path:
    """Download ``url`` to ``path``; what an earlier call left in ``path``.part is gone on with.

    As RFC 9110 has it (13.1.5 If-Range, 14.2 Range): a server that knows no ranges, or whose file has changed since,
    sends all of it again.

    Args:
        by_hand: what to do without a network, for the error.

    Raises:
        UserError: the server cannot be reached, refuses, or breaks off before it has sent anything new.
    """
    part, about = path.with_name(path.name + ".part"), path.with_name(path.name + ".part.json")
    while not path.is_file():
        before = _size(part)
        try:
            _fetch_on(url, part, about)
            part.replace(path)
            about.unlink()
        except requests.RequestException as error:
            if _size(part) <= before:
                raise UserError(f"{url}: {reason(error)}. Repeat the command, or by hand: {by_hand}") from error
            time.sleep(PAUSE)
    return path


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _fetch_on(url: str, part: Path, about: Path) -> None:
    """One request that adds to ``part``; ``about`` keeps of which version of the file it is a part."""
    known = read_json(about) if about.is_file() else dict.fromkeys(("url", "version", "size"))
    if known["url"] != url or not (known["version"] or known["size"]):
        part.unlink(missing_ok=True)
    start = _size(part)
    if start and start == known["size"]:
        return
    headers = {"Accept-Encoding": "identity"}  # a range counts the bytes that are sent
    if start:
        headers |= {"Range": f"bytes={start}-"} | ({"If-Range": known["version"]} if known["version"] else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        sent = response.headers.get("Content-Range", "")
        is_rest = sent.startswith(f"bytes {start}-") and sent.endswith(f"/{known['size']}" if known["size"] else "")
        if start and response.status_code in (206, 416) and not is_rest:  # 416: the file is now shorter than its part
            part.unlink()
            return _fetch_on(url, part, about)
        response.raise_for_status()
        start = start if response.status_code == 206 else 0
        length, etag = response.headers.get("Content-Length"), response.headers.get("ETag", "W/")
        size = start + int(length) if length else None
        version = response.headers.get("Last-Modified") if etag.startswith("W/") else etag  # If-Range needs a strong
        if size and size - start > shutil.disk_usage(part.parent).free:
            raise OSError(f"no room on the disk for {size / 1e9:.1f} GB")
        if not start:  # before the new version is noted: a kill in between must not join it to the old one's part
            part.unlink(missing_ok=True)
        write_json(about, {"url": url, "version": version, "size": size})
        bar = tqdm(total=size, initial=start, unit="B", unit_scale=True, desc="download", disable=None)
        with bar, part.open("ab") as file:
            for block in response.iter_content(BLOCK):
                bar.update(file.write(block))


def reason(error: requests.RequestException) -> str:
    """An error of requests in a few words."""
    if isinstance(error, requests.HTTPError):
        return f"the server answers {error.response.status_code} {error.response.reason}"
    kinds = {
        requests.Timeout: "no answer in time",
        requests.exceptions.ChunkedEncodingError: "the connection broke off",
        requests.exceptions.SSLError: "the server's certificate is not accepted",
        requests.exceptions.ProxyError: "the proxy cannot be reached",
        requests.ConnectionError: "no connection",
    }
    return next((text for kind, text in kinds.items() if isinstance(error, kind)), str(error))


def verify(archive: Path, checksum: str | None) -> None:
    """Compare an archive with its checksum, "md5:HEX" or "sha256:HEX"; without one, print what it would be.

    Raises:
        UserError: they differ.
    """
    algorithm, _, expected = (checksum or "sha256:").partition(":")
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if not expected:
        print(f"no checksum is published for this archive; what came is {algorithm}:{found}")
    elif found != expected:
        raise UserError(f"the archive's {algorithm} is {found}, not {expected}: damaged or another file; get it anew")


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar or zip archive below ``folder``: plain files and folders, and none that would land elsewhere.

    Raises:
        UserError: the archive is damaged, of another kind, or holds anything else.
    """
    try:
        if tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                for member in tqdm(tar, desc="unpack", unit=" files", disable=None):
                    _refuse_unsafe(member.name, plain=member.isfile() or member.isdir())
                    tar.extract(member, folder, filter="data")
                while tar.fileobj.read(BLOCK):  # gzip compares its CRC at the very end only
                    pass
        elif zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                for info in tqdm(zipped.infolist(), desc="unpack", unit=" files", disable=None):
                    _refuse_unsafe(info.filename, plain=True)  # zipfile writes a link's text, never a link
                    zipped.extract(info, folder)
        else:
            raise UserError("what was downloaded is neither a tar nor a zip archive; is the address right?")
    except DAMAGED as error:
        raise UserError(f"the archive is damaged ({error}); download it anew") from error


def _refuse_unsafe(name: str, *, plain: bool) -> None:
    paths = PurePosixPath(name), PureWindowsPath(name)
    if not plain or any(path.anchor or ".." in path.parts for path in paths):
        raise UserError(f"the archive holds {name!r}, a link or a path that leads outside: do not trust this archive")
