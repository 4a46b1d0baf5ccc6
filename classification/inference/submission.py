"""The competition's submission from one or several runs: frequency-quest submission --runs RUN RUN --output CSV"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import tyro

from classification.rundir import TEST_PROBABILITIES, read_run
from shared.errors import UserError, run_entry
from shared.files import read_json, write_text
from shared.report.numbers import percent


@dataclasses.dataclass(kw_only=True)
class SubmissionOptions:
    """Average the test probabilities of one or several runs into a submission."""

    runs: tuple[Path, ...]
    """Finished run folders of classification/train.py, all trained on the same data."""
    output: Path
    """CSV to write; a .txt file beside it names the runs and their accuracies."""
    together: bool = True
    """Average test clips that sound like one recording, in the runs that learned to find them."""


def main() -> None:
    options = tyro.cli(SubmissionOptions)
    if not options.runs:
        raise UserError("--runs: is empty; give one or more run folders")
    lacking = [run for run in options.runs if not has_probabilities(run)]
    if len(lacking) == len(options.runs):
        print(f"no submission: the data of {lacking[0]} has no test set")
        return
    if lacking:
        raise UserError(f"--runs {lacking[0]}: its data has no test set, but the data of another run has; leave it out")
    from classification.inference import test_set  # imported here, so that --help stays quick

    tables = [test_set.read_probabilities(run) for run in options.runs]
    predicted = [(table.iloc[:, 0].tolist(), test_set.classes_of(table)) for table in tables]
    for run, ids_and_classes in zip(options.runs, predicted, strict=True):
        if ids_and_classes != predicted[0]:
            pair = f"{options.runs[0]} {run}"
            raise UserError(f"--runs {pair}: they predicted different IDs or classes; train both on the same data")
    labels = test_set.labels_of(tables, together=options.together)
    test_set.write_submission(options.output, tables[0].assign(**{tables[0].columns[1]: labels}), {})
    note = f"{options.output.name} {described(options.runs)}"
    write_text(options.output.with_suffix(".txt"), note + "\n")
    print(note)


def has_probabilities(run: Path) -> bool:
    """Whether a finished run predicted a test set.

    Raises:
        UserError: no finished run, or one without test_probabilities.csv although it wrote a submission.
    """
    config, _ = read_run(run, flag="--runs")
    if (run / TEST_PROBABILITIES).is_file():
        return True
    if "converted_from" in config:
        raise UserError(f"--runs {run}: is a converted run; give {config['converted_from']} instead")
    if (run / config["options"].get("submission_name", "submission.csv")).is_file():
        raise UserError(f"--runs {run}: an older version wrote no {TEST_PROBABILITIES}; train it again (--overwrite)")
    return False


def described(runs: Sequence[Path]) -> str:
    """A sentence that names the runs of a submission and the accuracy of each on its own held-out clips."""
    named = []
    for run in runs:
        metrics = read_json(run / "metrics.json")
        accuracy = metrics.get(f"{metrics['reported_on']}/accuracy")
        kind = "held-out accuracy" if metrics.get("held_out", True) else "accuracy"
        named.append(run.resolve().name + ("" if accuracy is None else f" ({kind} {percent(accuracy)})"))
    return f"{'averages the test probabilities' if len(runs) > 1 else 'is the prediction'} of {' and '.join(named)}."


if __name__ == "__main__":
    run_entry(main)
