"""Write the model card of a finished run, of a classifier or a generator: frequency-quest card --model-dir RUN"""

import dataclasses
from pathlib import Path

import tyro

from classification.export import model_card as classifier
from generation import model_card as generator
from generation.rundir import DESCRIPTION
from shared.errors import run_entry


@dataclasses.dataclass(kw_only=True)
class CardOptions:
    """Describe a finished classifier or generator on one page, with its figures."""

    model_dir: Path
    """Finished run of a classifier or a generator; MODEL_CARD.md is written into it."""


def main() -> None:
    run = tyro.cli(CardOptions).model_dir
    if (run / DESCRIPTION).is_file():
        print(generator.write_card(run))
    else:
        print(classifier.write_card(run, classifier.read_card(run)))


if __name__ == "__main__":
    run_entry(main)
