"""Make the demo sounds, download a data set, or submit predictions to Kaggle."""

import dataclasses
from pathlib import Path

import tyro

from shared.data.sources import COMPETITION, DemoSize, Download
from shared.files import DEMO_DIR


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demo(DemoSize):
    """Synthesise the demo sounds. A folder that already holds them is left unchanged."""

    data_dir: Path = DEMO_DIR
    """Folder to create, in the competition's layout. It appears only when it is complete."""


@dataclasses.dataclass(kw_only=True)
class Submit:
    """Check a submission file and send it to a Kaggle competition."""

    submission: Path
    """CSV file with two columns, ID and class, such as submission.csv in a classifier's run folder."""
    competition: str = COMPETITION
    """The competition's name: the last part of its address."""
    message: str = "Frequency Quest"
    """Description shown in your list of submissions on Kaggle."""


def main() -> None:
    command = tyro.cli(Demo | Download | Submit, description=__doc__)
    if isinstance(command, Demo):  # imported here so that --help is fast
        from shared.data.demo_data import make_demo_data

        data_dir = make_demo_data(**dataclasses.asdict(command))
        print(f"{data_dir}: {(data_dir / 'README.txt').read_text().strip()}")
    elif isinstance(command, Download):
        from shared.data.download import download

        download(command)
    else:
        from shared.data.kaggle import submit

        submit(command.submission, competition=command.competition, message=command.message)
