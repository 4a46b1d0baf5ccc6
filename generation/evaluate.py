"""Compare generated sounds with real ones: python generation/evaluate.py --samples DIR --reference DIR --classifier RUN

The real clips are those that the generator was trained on. As many clips of recordings that it was not trained on are
compared with them too: the floor, which perfect samples would reach. White noise is the ceiling.
"""

import tyro

from generation.evaluation.options import EvaluateOptions
from shared.errors import run_entry


def main() -> None:
    options = tyro.cli(EvaluateOptions)
    options.check()
    from generation.evaluation.command import evaluate  # pandas and scikit-learn: --help does not wait for them

    evaluate(options)


if __name__ == "__main__":
    run_entry(main)
