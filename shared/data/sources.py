"""The public data sets with their addresses and licences, and the options of ``frequency-quest data``.

The command line imports this module, so it imports no heavy package.
"""

import dataclasses
import re
from pathlib import Path
from typing import Literal

import tyro

from shared.errors import UserError

KAGGLE = "https://www.kaggle.com"
COMPETITION = "the-frequency-quest"
URBANSOUND8K_CLASSES = (  # in the order of their class IDs
    *("air_conditioner", "car_horn", "children_playing", "dog_bark", "drilling"),
    *("engine_idling", "gun_shot", "jackhammer", "siren", "street_music"),
)


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set. None means unknown.

    Attributes:
        page: address of its web page, for a manual download.
        url: address of the archive.
        checksum: checksum of the archive, "md5:HEX" or "sha256:HEX".
        layout: the name that ``load_dataset`` gives to the unpacked folder's layout.
        clips: number of labelled files.
    """

    page: str
    licence: str
    url: str | None = None
    checksum: str | None = None
    layout: str | None = None
    clips: int | None = None


# Address and MD5 are from soundata 1.0.1, datasets/urbansound8k.py; the licence is from the terms of use quoted there.
URBANSOUND8K = Source(
    page="https://zenodo.org/records/1203745",
    licence="CC BY-NC 3.0, non-commercial use only; cite Salamon, Jacoby and Bello (2014)",
    url="https://zenodo.org/record/1203745/files/UrbanSound8K.tar.gz?download=1",
    checksum="md5:9aa69802bbf37fb986f71ec1483a196e",
    layout="UrbanSound8K",
    clips=8732,
)
_FSDD = "https://github.com/Jakobovski/free-spoken-digit-dataset"
# The checksum of v1.0.9 is from tensorflow_datasets 4.9.10, datasets/spoken_digit/checksums.tsv; v1.0.10 has none.
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


def kaggle_page(handle: str) -> str:
    """The address of a data set ("owner/name") or a competition ("slug") on Kaggle."""
    return f"{KAGGLE}/{'datasets' if '/' in handle else 'competitions'}/{handle}"


@dataclasses.dataclass(kw_only=True)
class Download:
    """Download a data set, verify its checksum and unpack it. Repeat the command to resume a broken download."""

    name: tyro.conf.Positional[Literal["frequency-quest", "urbansound8k", "spoken-digits"]]
    """frequency-quest is on Kaggle and needs a Kaggle API token; the others are public archives."""
    dest: Path
    """Folder to create for the data set. It may exist if it is empty; it is filled only when everything is unpacked."""
    competition: str = COMPETITION
    """frequency-quest only: name of the Kaggle competition, the last part of its address."""
    kaggle_dataset: str | None = None
    """Download this Kaggle data set, OWNER/NAME, instead."""
    release: Literal["v1.0.10", "v1.0.9"] = "v1.0.9"
    """spoken-digits only: v1.0.9 (2500 clips, five speakers, has a checksum) or v1.0.10 (3000, six, no checksum)."""
    url: str | None = None
    """Another address of the archive, such as a mirror; tar or zip."""
    archive: Path | None = None
    """Archive that you downloaded yourself. Nothing is downloaded, and the file is kept."""
    checksum: str | None = None
    """Expected checksum of the archive, md5:HEX or sha256:HEX; None uses the published checksum if there is one."""

    def check(self) -> None:
        """Validate the options.

        Raises:
            UserError: names the option, its value and what it must be.
        """
        given = [f"--{name.replace('_', '-')}" for name in ("kaggle_dataset", "url", "archive") if getattr(self, name)]
        if len(given) > 1:
            raise UserError(f"{' and '.join(given)}: give only one of them")
        if self.archive and not self.archive.is_file():
            raise UserError(f"--archive {self.archive}: no such file; give a downloaded zip or tar")
        if self.checksum and not re.fullmatch("md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", self.checksum):
            raise UserError(f"--checksum {self.checksum}: must be md5: with 32 or sha256: with 64 digits of 0-9a-f")
        if self.checksum and self.kaggle_handle:
            raise UserError(f"--checksum {self.checksum}: not for Kaggle, which sends its own checksum; leave it out")

    @property
    def kaggle_handle(self) -> str | None:
        """The competition or data set to download from Kaggle; None if the data is not from Kaggle."""
        if self.name == "frequency-quest" and not (self.url or self.archive):
            return self.kaggle_dataset or self.competition
        return self.kaggle_dataset

    def source(self) -> Source:
        """The data set that these options select."""
        page = kaggle_page(self.kaggle_dataset or self.competition)
        if self.kaggle_dataset:
            return Source(page=page, licence=f"as stated on {page}")
        if self.name == "frequency-quest":
            source = Source(page=f"{page}/data", licence=f"the competition's rules, {page}/rules")
        else:
            source = URBANSOUND8K if self.name == "urbansound8k" else SPOKEN_DIGITS[self.release]
        if self.checksum:  # not the published archive, so its number of clips is unknown
            source = dataclasses.replace(source, checksum=self.checksum, clips=None)
        return dataclasses.replace(source, url=self.url or source.url)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoSize:
    """The size of the demo data."""

    seed: int = 0
    """Seed of all random numbers, 0 or more."""
    recordings: int = 16
    """Simulated training recordings per class."""
    slices: int = 4
    """Clips per training recording."""
    test_recordings: int = 4
    """Simulated test recordings per class."""
    test_slices: int = 3
    """Clips per test recording."""
