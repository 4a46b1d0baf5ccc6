"""Classify sounds with a trained run: python classification/predict.py --model-dir RUN --input FILE|FOLDER|CSV"""

import tyro

from classification.inference.options import PredictOptions
from shared.errors import run_entry


def main() -> None:
    options = tyro.cli(PredictOptions)
    from classification.inference.command import predict  # imported here, so that --help stays quick

    predict(options)


if __name__ == "__main__":
    run_entry(main)
