"""Gets a data set: fetched, checked and unpacked, it becomes a folder that can be trained on."""

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
    """Carry out the command; prints what the folder holds and under which licence.

    Raises:
        UserError: no network, no credentials, a wrong checksum, an unsafe archive: what to do, in one line.
    """
    options.check()
    source, dest = options.source(), options.dest.absolute()
    if _holds_data(dest, source.layout):
        print(f"{dest} is already there; nothing is fetched")
    else:
        _fetch_alone(dest, source, options)
    dataset = load_dataset(dest)
    manifest = dataset.manifest
    recordings = f"{manifest.group.nunique()} recordings" if dataset.groups_known else "unknown recordings"
    tests = f"; {len(dataset.test_files)} clips to predict" if dataset.test_files else ""
    print(f"{dest}: {len(manifest)} clips, {manifest.label.nunique()} classes, {recordings}{tests}")
    print(f"licence: {source.licence}")


def _fetch_alone(dest: Path, source: Source, options: Download) -> None:
    """Work in a hidden folder beside ``dest`` (on its file system), one process at a time.

    The hidden folder is removed when no file is left in it.
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
        raise UserError(f"--dest {dest}: another process is fetching it") from None
    except OSError as error:
        raise UserError(f"--dest {dest}: {error.strerror or error}; what was downloaded stays in {work}") from error


def _holds_data(dest: Path, layout: str | None) -> bool:
    """Whether the data set is there; False if nothing is."""
    if not dest.exists() or (dest.is_dir() and not any(dest.iterdir())):
        return False
    try:
        found = load_dataset(dest).layout
    except UserError:
        raise UserError(f"--dest {dest}: neither empty nor a data set; name a new folder") from None
    if layout not in (None, found):
        raise UserError(f"--dest {dest}: another data set is there (layout: {found}); name a new folder")
    return True


def _fetch_into(dest: Path, source: Source, options: Download, work: Path) -> None:
    """Fetch, check and unpack below ``work``; only then ``dest`` appears."""
    unpacked, by_hand = work / "unpacked", f"download it from {source.page} and repeat the command with --archive FILE"
    if options.kaggle_handle:
        unpacked = fetch_from_kaggle(options.kaggle_handle, work / "kaggle", by_hand=by_hand)
    else:
        archive = options.archive or fetch(source.url, work / "archive", by_hand=by_hand)
    try:
        if not options.kaggle_handle:
            verify(archive, source.checksum)
            shutil.rmtree(unpacked, ignore_errors=True)  # of a run that was killed
            unpack(archive, unpacked)
        root = _find_data(unpacked, source)
    except UserError:  # what was fetched would be as wrong the next time
        shutil.rmtree(work, ignore_errors=True)
        raise
    if dest.is_dir():
        dest.rmdir()
    root.replace(dest)
    shutil.rmtree(work)


def _find_data(unpacked: Path, source: Source) -> Path:
    """The data set's folder in an unpacked archive: most wrap it in another, some keep its CSV files outside."""
    for folder in (unpacked, *sorted(unpacked.glob("*/")), *sorted(unpacked.glob("*/*/"))):
        with contextlib.suppress(UserError):
            dataset = load_dataset(folder)
            if source.layout in (None, dataset.layout):
                break
    else:
        raise UserError(f"the archive holds no data set of a known layout ({source.layout or 'any of four'})")
    present = sum(path.is_file() for path in dataset.manifest.path)
    if source.clips not in (None, present):
        raise UserError(f"the archive holds {present} clips, not {source.clips}: another file? Download it again")
    if folder.parent == unpacked:
        for file in unpacked.glob("*.csv"):
            file.replace(folder / file.name)
    return folder
