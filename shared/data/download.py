"""Downloads a data set, verifies it and unpacks it into a data folder."""

import contextlib
import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from shared.data.archives import fetch, unpack, verify
from shared.data.datasets import load_dataset
from shared.data.kaggle import fetch_from_kaggle
from shared.data.sources import Download, Source
from shared.errors import UserError


def download(options: Download) -> None:
    """Download the data set; print its numbers of clips, classes and recordings, and its licence.

    Raises:
        UserError: no network, no credentials, a wrong checksum or an unsafe archive.
    """
    options.check()
    source, dest = options.source(), options.dest.absolute()
    if _holds_data(dest, source.layout):
        print(f"{dest} already holds the data set; nothing is downloaded")
    else:
        _fetch_alone(dest, source, options)
    dataset = load_dataset(dest)
    manifest = dataset.manifest
    recordings = f"{manifest.group.nunique()} recordings" if dataset.groups_known else "recordings unknown"
    tests = f"; {len(dataset.test_files)} clips to predict" if dataset.test_files else ""
    print(f"{dest}: {len(manifest)} clips, {manifest.label.nunique()} classes, {recordings}{tests}")
    print(f"licence: {source.licence}")


def _fetch_alone(dest: Path, source: Source, options: Download) -> None:
    """Download into a hidden folder next to ``dest``, on the same file system; only one process at a time.

    The hidden folder is removed if it holds no files at the end.
    """
    work = dest.with_name(f".{dest.name}.download")
    try:
        work.mkdir(parents=True, exist_ok=True)
        with FileLock(work / "lock", timeout=0):
            try:
                _fetch_into(dest, source, options, work)
            finally:
                if all(path.is_dir() or path.name == "lock" for path in work.rglob("*")):
                    shutil.rmtree(work, ignore_errors=True)
    except Timeout:
        raise UserError(f"--dest {dest}: another process is downloading it; wait until it ends") from None
    except OSError as error:
        raise UserError(f"--dest {dest}: {error.strerror or error}; the downloaded files stay in {work}") from error


def _holds_data(dest: Path, layout: str | None) -> bool:
    """Whether ``dest`` holds the data set; False if it is absent or empty.

    Raises:
        UserError: it holds something else.
    """
    if not dest.exists() or (dest.is_dir() and not any(dest.iterdir())):
        return False
    try:
        found = load_dataset(dest).layout
    except UserError:
        raise UserError(f"--dest {dest}: is neither empty nor a data set; choose a new folder") from None
    if layout not in (None, found):
        raise UserError(f"--dest {dest}: holds another data set (layout: {found}); choose a new folder")
    return True


def _fetch_into(dest: Path, source: Source, options: Download, work: Path) -> None:
    """Download, verify and unpack in ``work``, then move the result to ``dest``."""
    unpacked, by_hand = work / "unpacked", f"download it from {source.page} and repeat the command with --archive FILE"
    if options.kaggle_handle:
        unpacked = fetch_from_kaggle(options.kaggle_handle, work / "kaggle", by_hand=by_hand)
    else:
        archive = options.archive or fetch(source.url, work / "archive", by_hand=by_hand)
    try:
        if not options.kaggle_handle:
            verify(archive, source.checksum)
            shutil.rmtree(unpacked, ignore_errors=True)  # left by a killed process
            unpack(archive, unpacked)
        root = _find_data(unpacked, source)
    except UserError:  # the downloaded files are unusable, so they are not kept
        shutil.rmtree(work, ignore_errors=True)
        raise
    if dest.is_dir():
        dest.rmdir()
    root.replace(dest)
    shutil.rmtree(work)


def _find_data(unpacked: Path, source: Source) -> Path:
    """Find the data set in an unpacked archive: often it is in a subfolder, sometimes with its CSV files outside."""
    for folder in (unpacked, *sorted(unpacked.glob("*/")), *sorted(unpacked.glob("*/*/"))):
        with contextlib.suppress(UserError):
            dataset = load_dataset(folder)
            if source.layout in (None, dataset.layout):
                break
    else:
        raise UserError(f"the archive holds no data set of the expected layout ({source.layout or 'any'})")
    present = sum(Path(path).is_file() for path in dataset.manifest.path)
    if source.clips not in (None, present):
        raise UserError(f"the archive holds {present} clips, not {source.clips}: it is incomplete or another file")
    if folder.parent == unpacked:
        for file in unpacked.glob("*.csv"):
            file.replace(folder / file.name)
    return folder
