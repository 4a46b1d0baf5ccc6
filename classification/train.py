"""Train a classifier: python classification/train.py --data-dir DIR --framework keras|torch --out-dir RUN"""

from classification.recipes import RECIPES, TrainOptions
from shared.errors import run_entry
from shared.runs.options import parse


def main() -> None:
    options = parse(TrainOptions, RECIPES)
    from classification.training.command import train  # imported here, so that --help stays quick

    train(options)


if __name__ == "__main__":
    run_entry(main)
