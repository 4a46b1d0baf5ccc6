"""frequency-quest data demo | download | submit: what the command line offers of this room."""

import dataclasses
from pathlib import Path

import tyro

from shared.data.sources import COMPETITION, DemoSize, Download
from shared.files import DEMO_DIR


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demo(DemoSize):
    """Write the synthetic demo sounds; a folder that already holds them is left as it is."""

    data_dir: Path = DEMO_DIR
    """Folder to make, in the competition's layout; it appears whole or not at all."""


@dataclasses.dataclass(kw_only=True)
class Submit:
    """Send a submission to the Kaggle competition, after a look whether it can be one."""

    submission: Path
    """CSV of two columns, ID and class, as a classifier's run folder holds it."""
    competition: str = COMPETITION
    """The competition: the last part of its address."""
    message: str = "Frequency Quest"
    """What your list of submissions calls it."""


def main() -> None:
    command = tyro.cli(Demo | Download | Submit, description=__doc__)
    if isinstance(command, Demo):  # each part imports what --help need not wait for
        from shared.data.demo_data import make_demo_data

        data_dir = make_demo_data(**dataclasses.asdict(command))
        print(f"{data_dir}: {(data_dir / 'README.txt').read_text().strip()}")
    elif isinstance(command, Download):
        from shared.data.download import download

        download(command)
    else:
        from shared.data.kaggle import submit

        submit(command.submission, competition=command.competition, message=command.message)
