"""Gets the data sets: where each one is, under which licence, and how it becomes a folder that can be trained on."""

import contextlib
import dataclasses
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import tyro
from filelock import FileLock, Timeout

from shared.data.archives import fetch, unpack, verify
from shared.data.datasets import Dataset, load_dataset
from shared.data.kaggle import COMPETITION, KAGGLE, Submit, competition_page, fetch_from_kaggle, submit
from shared.errors import UserError


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set and what is known of it; None where nothing is.

    Attributes:
        page: where a browser downloads it.
        url, checksum: of the archive; "md5:HEX" or "sha256:HEX".
        layout: what ``load_dataset`` calls the unpacked folder.
        clips: labelled files in it.
    """

    page: str
    licence: str
    url: str | None = None
    checksum: str | None = None
    layout: str | None = None
    clips: int | None = None


# Address and MD5: soundata 1.0.1, datasets/urbansound8k.py; the licence: the conditions of use quoted there.
URBANSOUND8K = Source(
    page="https://zenodo.org/records/1203745",
    licence="CC BY-NC 3.0, non-commercial use only; cite Salamon, Jacoby and Bello (2014)",
    url="https://zenodo.org/record/1203745/files/UrbanSound8K.tar.gz?download=1",
    checksum="md5:9aa69802bbf37fb986f71ec1483a196e",
    layout="UrbanSound8K",
    clips=8732,
)
_FSDD = "https://github.com/Jakobovski/free-spoken-digit-dataset"
# Nobody publishes a checksum of v1.0.10; v1.0.9's: tensorflow_datasets 4.9.10, datasets/spoken_digit/checksums.tsv.
SPOKEN_DIGITS = {
    release: Source(
        page=f"{_FSDD}/releases/tag/{release}",
        licence=f"CC BY-SA 4.0; name the Free Spoken Digit Dataset, {_FSDD}",
        url=f"{_FSDD}/archive/{release}.tar.gz",
        checksum=checksum,
        layout="recordings",
        clips=clips,
    )
    for release, clips, checksum in (
        ("v1.0.10", 3000, None),
        ("v1.0.9", 2500, "sha256:8bc44cde129d505cbbb6b365c09f80c663f2aa77578afc634e6141a2f87100c0"),
    )
}


@dataclasses.dataclass(kw_only=True)
class Download:
    """Fetch a data set, check and unpack it. A broken download goes on when the command is repeated."""

    name: tyro.conf.Positional[Literal["frequency-quest", "urbansound8k", "spoken-digits"]]
    """frequency-quest is on Kaggle and needs a token from there; the others are public archives."""
    dest: Path
    """Folder it shall become, absent or empty; it appears whole or not at all."""
    competition: str = COMPETITION
    """frequency-quest: the Kaggle competition, as the last part of its address has it; any other will do."""
    kaggle_dataset: str | None = None
    """Take this Kaggle data set, OWNER/NAME, instead."""
    release: Literal["v1.0.10", "v1.0.9"] = "v1.0.9"
    """spoken-digits: 3000 clips of six speakers without a published checksum, or 2500 of five with one."""
    url: str | None = None
    """Another address of the archive (a mirror); tar or zip."""
    archive: Path | None = None
    """The archive, if you have downloaded it yourself; nothing is fetched, the file is kept."""
    checksum: str | None = None
    """Of the archive, md5:HEX or sha256:HEX; None is the published one, where there is one."""

    def check(self) -> None:
        """Refuse what cannot be carried out.

        Raises:
            UserError: naming the option, its value and what it must be.
        """
        given = [f"--{name.replace('_', '-')}" for name in ("kaggle_dataset", "url", "archive") if getattr(self, name)]
        if len(given) > 1:
            raise UserError(f"{' and '.join(given)}: choose one of them")
        if self.archive and not self.archive.is_file():
            raise UserError(f"--archive {self.archive}: no such file")
        if self.checksum and not re.fullmatch("md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", self.checksum):
            raise UserError(f"--checksum {self.checksum}: must be md5: with 32 or sha256: with 64 digits of 0-9a-f")
        if self.checksum and self.kaggle_handle:
            raise UserError(f"--checksum {self.checksum}: only for --url and --archive; Kaggle sends its own")

    @property
    def kaggle_handle(self) -> str | None:
        """What to ask Kaggle for; None if it is not asked."""
        if self.name == "frequency-quest" and not (self.url or self.archive):
            return self.kaggle_dataset or self.competition
        return self.kaggle_dataset

    def source(self) -> Source:
        """The data set as these options have it."""
        if self.kaggle_dataset:
            page = f"{KAGGLE}/datasets/{self.kaggle_dataset}"
            return Source(page=page, licence=f"as stated on {page}")
        if self.name == "frequency-quest":
            page = competition_page(self.competition)
            source = Source(page=f"{page}/data", licence=f"the competition's rules, {page}/rules")
        else:
            source = URBANSOUND8K if self.name == "urbansound8k" else SPOKEN_DIGITS[self.release]
        if self.checksum:  # another archive than the published one: how much it holds is not known either
            source = dataclasses.replace(source, checksum=self.checksum, clips=None)
        return dataclasses.replace(source, url=self.url or source.url)


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
        with _workplace(dest) as work:
            _fetch_into(dest, source, options, work)
            shutil.rmtree(work)
    print(_summary(load_dataset(dest)))
    print(f"licence: {source.licence}")


@contextlib.contextmanager
def _workplace(dest: Path) -> Iterator[Path]:
    """A hidden folder beside ``dest`` (on its file system), one process at a time; gone when no file is left in it."""
    work = dest.with_name(f".{dest.name}.download")
    try:
        work.mkdir(parents=True, exist_ok=True)
        with FileLock(work / "lock", timeout=0):
            try:
                yield work
            finally:
                if all(path.is_dir() or path.name == "lock" for path in work.rglob("*")):
                    shutil.rmtree(work, ignore_errors=True)
    except Timeout:
        raise UserError(f"--dest {dest}: another process is fetching it") from None
    except OSError as error:
        raise UserError(f"--dest {dest}: {error.strerror or error}; what was downloaded stays in {work}") from error


def _summary(dataset: Dataset) -> str:
    manifest = dataset.manifest
    recordings = f"{manifest.group.nunique()} recordings" if dataset.groups_known else "unknown recordings"
    tests = f"; {len(dataset.test_files)} clips to predict" if dataset.test_files else ""
    return f"{dataset.root}: {len(manifest)} clips, {manifest.label.nunique()} classes, {recordings}{tests}"


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
    kaggle, fetched, unpacked = work / "kaggle", work / "archive", work / "unpacked"
    by_hand = f"download it from {source.page} and repeat the command with --archive FILE"
    if options.kaggle_handle:
        unpacked = fetch_from_kaggle(options.kaggle_handle, kaggle, by_hand=by_hand)
    else:
        archive = options.archive or fetch(source.url, fetched, by_hand=by_hand)
    try:
        if not options.kaggle_handle:
            verify(archive, source.checksum)
            shutil.rmtree(unpacked, ignore_errors=True)  # of a run that was killed
            unpack(archive, unpacked)
        root = _find_data(unpacked, source)
    except UserError:  # what was fetched would be as wrong the next time
        shutil.rmtree(kaggle, ignore_errors=True)
        shutil.rmtree(unpacked, ignore_errors=True)
        fetched.unlink(missing_ok=True)
        raise
    if dest.is_dir():
        dest.rmdir()
    root.replace(dest)


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


def main() -> None:
    command = tyro.cli(Download | Submit, prog="python -m shared.data.datasets", description=__doc__)
    if isinstance(command, Download):
        download(command)
    else:
        submit(command)
