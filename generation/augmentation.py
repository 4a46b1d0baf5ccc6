"""What generated sounds add to real training clips: python generation/augmentation.py --samples RUN/samples"""

from classification.recipes import RECIPES
from generation.evaluation.training_options import AugmentationOptions
from shared.errors import run_entry
from shared.runs.options import parse


def main() -> None:
    options = parse(AugmentationOptions, RECIPES)
    from generation.evaluation.training_data import compare_kinds  # imports pandas, which --help does not need

    compare_kinds(options, "both", name="augmentation")


if __name__ == "__main__":
    run_entry(main)
