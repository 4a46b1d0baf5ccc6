"""Tune a recipe on inner folds: python classification/tune.py --data-dir DIR --framework keras|torch --out-dir STUDY"""

from classification.recipes import RECIPES
from classification.tuning.options import TuneOptions
from shared.errors import UserError, run_entry
from shared.runs.options import parse


def main() -> None:
    options = parse(TuneOptions, RECIPES)
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError as error:
        raise UserError(f"tune: {error.name} is not installed; pip install -r requirements.txt") from error
    from classification.tuning.command import tune  # imported here, so that --help stays quick

    tune(options)


if __name__ == "__main__":
    run_entry(main)
