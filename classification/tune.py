"""Tune a recipe on inner folds: python classification/tune.py --data-dir DIR --framework keras|torch --out-dir STUDY"""

from pkgutil import resolve_name as load

from classification.recipes import RECIPES
from classification.tuning.options import TuneOptions
from shared.errors import run_entry
from shared.runs.options import parse


def main() -> None:
    options = parse(TuneOptions, RECIPES)
    load("classification.tuning.command:tune")(options)  # imports optuna and pandas, which --help does not need


if __name__ == "__main__":
    run_entry(main)
