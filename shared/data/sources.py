"""Where data comes from: the public data sets with their licences, and the size of the synthetic demo data.

The command line reads this module, so it imports nothing that computes.
"""

import dataclasses
import re
from pathlib import Path
from typing import Literal

import tyro

from shared.errors import UserError

KAGGLE = "https://www.kaggle.com"
COMPETITION = "the-frequency-quest"
URBANSOUND8K_CLASSES = (  # a class's ID is its place
    *("air_conditioner", "car_horn", "children_playing", "dog_bark", "drilling"),
    *("engine_idling", "gun_shot", "jackhammer", "siren", "street_music"),
)


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


def kaggle_page(handle: str) -> str:
    """Of a data set, "owner/name", or of a competition, "slug"."""
    return f"{KAGGLE}/{'datasets' if '/' in handle else 'competitions'}/{handle}"


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
        page = kaggle_page(self.kaggle_dataset or self.competition)
        if self.kaggle_dataset:
            return Source(page=page, licence=f"as stated on {page}")
        if self.name == "frequency-quest":
            source = Source(page=f"{page}/data", licence=f"the competition's rules, {page}/rules")
        else:
            source = URBANSOUND8K if self.name == "urbansound8k" else SPOKEN_DIGITS[self.release]
        if self.checksum:  # another archive than the published one: how much it holds is not known either
            source = dataclasses.replace(source, checksum=self.checksum, clips=None)
        return dataclasses.replace(source, url=self.url or source.url)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoSize:
    """How much demo data is synthesised."""

    seed: int = 0
    """Seed of every draw, 0 or more."""
    recordings: int = 16
    """Simulated recordings of each class for training."""
    slices: int = 4
    """Clips of each training recording."""
    test_recordings: int = 4
    """Further recordings of each class, for the test set only."""
    test_slices: int = 3
    """Clips of each test recording."""
