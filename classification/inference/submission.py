"""The competition's submission from one or several runs: frequency-quest submission --runs RUN RUN --output CSV"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import tyro

from classification.rundir import TEST_PROBABILITIES, read_run
from shared.errors import UserError, run_entry
from shared.files import read_json, write_text


@dataclasses.dataclass(kw_only=True)
class SubmissionOptions:
    """Average the test probabilities of runs into one submission; a single run gives its own."""

    runs: tuple[Path, ...]
    """Finished run folders of classification/train.py, trained on the same data."""
    output: Path
    """CSV to write; a note of what it averages goes beside it as .txt."""
    together: bool = True
    """Average clips of the test set that sound like one recording, in the runs that learned which do."""


def main() -> None:
    options = tyro.cli(SubmissionOptions)
    if not options.runs:
        raise UserError("--runs: names no run; give one or more run folders")
    lacking = [run for run in options.runs if not has_probabilities(run)]
    if len(lacking) == len(options.runs):
        print(f"no submission: the data of {lacking[0]} has no test set")
        return
    if lacking:
        raise UserError(f"--runs {lacking[0]}: its data has no test set, that of another run has; leave it out")
    submit(options)


def has_probabilities(run: Path) -> bool:
    """Whether a finished run predicted a test set.

    Raises:
        UserError: no finished run, or one that kept only its submission.
    """
    config, _ = read_run(run, flag="--runs")
    if (run / TEST_PROBABILITIES).is_file():
        return True
    if "converted_from" in config:
        raise UserError(f"--runs {run}: was converted; give {config['converted_from']}, which has the same weights")
    if (run / config["options"].get("submission_name", "submission.csv")).is_file():
        raise UserError(f"--runs {run}: an older version wrote no {TEST_PROBABILITIES}; train it anew (--overwrite)")
    return False


def submit(options: SubmissionOptions) -> None:
    """Write the submission and the note beside it.

    Raises:
        UserError: the runs predicted other IDs or classes.
    """
    from classification.inference.test_set import (  # pandas and scipy: --help does not wait for them
        classes_of,
        labels_of,
        read_probabilities,
        write_submission,
    )

    first, *others = options.runs
    tables = [read_probabilities(run) for run in options.runs]
    for run, table in zip(others, tables[1:], strict=True):
        if not table.iloc[:, 0].equals(tables[0].iloc[:, 0]) or classes_of(table) != classes_of(tables[0]):
            raise UserError(f"--runs {first} {run}: they predicted other IDs or classes; train both on the same data")
    labels = labels_of(tables, together=options.together)
    write_submission(options.output, tables[0].assign(**{tables[0].columns[1]: labels}), {})
    note = f"{options.output.name} {described(options.runs)}"
    write_text(options.output.with_suffix(".txt"), note + "\n")
    print(note)


def described(runs: Sequence[Path]) -> str:
    """The runs behind a submission, and how accurate each was on its own held-out clips."""
    named = []
    for run in runs:
        metrics = read_json(run / "metrics.json")
        accuracy = metrics.get(f"{metrics['reported_on']}/accuracy")
        named.append(run.resolve().name + ("" if accuracy is None else f" (held-out accuracy {accuracy:.1%})"))
    return f"{'averages the test probabilities' if len(runs) > 1 else 'is the prediction'} of {' and '.join(named)}."


if __name__ == "__main__":
    run_entry(main)
