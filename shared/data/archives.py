"""Archives: resumable downloads, checksums, and safe unpacking."""

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
PAUSE = 1.0  # seconds before a broken download is resumed
TIMEOUT = (10.0, 60.0)  # seconds to connect, seconds to wait for the next bytes
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError)


def fetch(url: str, path: Path, *, by_hand: str) -> Path:
    """Download ``url`` to ``path``, resuming from ``path``.part if an earlier call was interrupted.

    Resuming follows RFC 9110 (13.1.5 If-Range, 14.2 Range): if the server does not support ranges, or its file has
    changed since, the whole file is downloaded again.

    Args:
        by_hand: how to download the file manually, an imperative for the error message.

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
                raise UserError(f"{url}: {reason(error)}. Repeat the command, or {by_hand}") from error
            time.sleep(PAUSE)
    return path


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _fetch_on(url: str, part: Path, about: Path) -> None:
    """Send one request and append its body to ``part``; ``about`` records which version of the file it belongs to."""
    known = read_json(about) if about.is_file() else dict.fromkeys(("url", "version", "size"))
    if known["url"] != url or not (known["version"] or known["size"]):
        part.unlink(missing_ok=True)
    start = _size(part)
    if start and start == known["size"]:
        return
    headers = {"Accept-Encoding": "identity"}  # uncompressed, so that ranges count the file's bytes
    if start:
        headers |= {"Range": f"bytes={start}-"} | ({"If-Range": known["version"]} if known["version"] else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        sent = response.headers.get("Content-Range", "")
        is_rest = sent.startswith(f"bytes {start}-") and sent.endswith(f"/{known['size']}" if known["size"] else "")
        if start and response.status_code in (206, 416) and not is_rest:  # 416: the file is now shorter than the part
            part.unlink()
            return _fetch_on(url, part, about)
        response.raise_for_status()
        start = start if response.status_code == 206 else 0
        length, etag = response.headers.get("Content-Length"), response.headers.get("ETag", "W/")
        size = start + int(length) if length else None
        # If-Range does not accept a weak ETag
        version = response.headers.get("Last-Modified") if etag.startswith("W/") else etag
        if size and size - start > shutil.disk_usage(part.parent).free:
            raise OSError(f"not enough disk space for {size / 1e9:.1f} GB")
        if not start:  # delete the old part before recording the new version, so that a kill cannot mix the two
            part.unlink(missing_ok=True)
        write_json(about, {"url": url, "version": version, "size": size})
        bar = tqdm(total=size, initial=start, unit="B", unit_scale=True, desc="downloading", disable=None)
        with bar, part.open("ab") as file:
            for block in response.iter_content(BLOCK):
                bar.update(file.write(block))


def reason(error: requests.RequestException) -> str:
    """Describe an exception of the requests library in a few words."""
    if isinstance(error, requests.HTTPError):
        return f"the server answers {error.response.status_code} {error.response.reason}"
    kinds = {
        requests.Timeout: "the server did not answer in time",
        requests.exceptions.ChunkedEncodingError: "the connection broke off",
        requests.exceptions.SSLError: "the server's certificate is not valid",
        requests.exceptions.ProxyError: "the proxy cannot be reached",
        requests.ConnectionError: "no connection to the server",
    }
    return next((text for kind, text in kinds.items() if isinstance(error, kind)), str(error))


def verify(archive: Path, checksum: str | None) -> None:
    """Verify an archive's checksum, "md5:HEX" or "sha256:HEX"; without one, print its SHA-256.

    Raises:
        UserError: the checksums differ.
    """
    algorithm, _, expected = (checksum or "sha256:").partition(":")
    digest = hashlib.new(algorithm)
    with _bar("verifying", archive) as bar, archive.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            bar.update(len(block))
    found = digest.hexdigest()
    if not expected:
        print(f"no checksum is published for this archive; its checksum is {algorithm}:{found}")
    elif found != expected:
        why = "it is damaged or a different file; download it again"
        raise UserError(f"the archive's {algorithm} checksum is {found}, not {expected}: {why}")


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar or zip archive into ``folder``. Only plain files and folders inside ``folder`` are accepted.

    Raises:
        UserError: the archive is damaged, of another format, or holds a link or a path outside ``folder``.
    """
    try:
        if tarfile.is_tarfile(archive):
            with archive.open("rb") as file, tarfile.open(fileobj=file) as tar, _bar("unpacking", archive) as bar:
                for member in tar:
                    _refuse_unsafe(member.name, plain=member.isfile() or member.isdir())
                    tar.extract(member, folder, filter="data")
                    bar.update(file.tell() - bar.n)
                while tar.fileobj.read(BLOCK):  # read to the end, where gzip checks its CRC
                    pass
                bar.update(file.tell() - bar.n)
        elif zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                for info in tqdm(zipped.infolist(), desc="unpacking", unit="file", disable=None, delay=1):
                    _refuse_unsafe(info.filename, plain=True)  # zipfile extracts a link as a text file
                    zipped.extract(info, folder)
        else:
            raise UserError("the file is neither a tar nor a zip archive; check the address")
    except DAMAGED as error:
        raise UserError(f"the archive is damaged ({error}); download it again") from error


def _bar(stage: str, archive: Path) -> tqdm:
    """A progress bar over the bytes of an archive."""
    size = archive.stat().st_size
    return tqdm(total=size, desc=stage, unit="B", unit_scale=True, delay=1, disable=None)


def _refuse_unsafe(name: str, *, plain: bool) -> None:
    paths = PurePosixPath(name), PureWindowsPath(name)
    if not plain or any(path.anchor or ".." in path.parts for path in paths):
        raise UserError(f"the archive holds {name!r}, a link or a path outside its folder: do not trust this archive")
