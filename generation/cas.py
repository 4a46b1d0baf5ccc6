"""Classification accuracy score of generated sounds: python generation/cas.py --samples RUN/samples"""

from classification.recipes import RECIPES
from generation.evaluation.training_options import CasOptions
from shared.errors import run_entry
from shared.runs.options import parse


def main() -> None:
    options = parse(CasOptions, RECIPES)
    from generation.evaluation.training_data import compare_kinds  # imports pandas, which --help does not need

    compare_kinds(options, "generated", name="cas")


if __name__ == "__main__":
    run_entry(main)
