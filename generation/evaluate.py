"""Compare generated sounds with real ones: python generation/evaluate.py --samples DIR --reference DIR --classifier RUN

The samples are compared with the real clips that the generator was trained on. Real clips of held-out recordings are
compared in the same way; perfect samples would score like them (the floor). Noise is the worst case (the ceiling).
"""

import tyro

from generation.evaluation.options import EvaluateOptions
from shared.errors import run_entry


def main() -> None:
    options = tyro.cli(EvaluateOptions)
    options.check()
    from generation.evaluation.command import evaluate  # imports pandas and scikit-learn, which --help does not need

    evaluate(options)


if __name__ == "__main__":
    run_entry(main)
