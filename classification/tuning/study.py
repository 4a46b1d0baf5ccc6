"""The study in the run folder: Optuna's database of trials, which a killed command leaves usable.

A trial that has not ended when its command is killed is tried again: it fails in Optuna's books, and its options are
put in front. Its folder keeps the folds that it has trained.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from classification.tuning.space import distributions
from shared.errors import UserError
from shared.files import naming_full_disk
from shared.search import Space

DATABASE = "study.db"
_RANDOM_TRIALS = 6  # the first trials, which are drawn at random: TPE has too little to learn from


def open_study(run_dir: Path, space: Space, start: Mapping[str, Any]) -> optuna.Study:
    """Open the study of a run folder, or make one whose first trial has the parameters ``start``.

    Raises:
        UserError: its database is damaged, or it searches other options than this version of the code.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = run_dir / DATABASE
    with _named(path):
        study = optuna.create_study(
            storage=f"sqlite:///{quote(str(path.resolve()))}",
            study_name="tune",
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
            load_if_exists=True,
        )
        if study.user_attrs.setdefault("space", str(space)) != str(space):
            raise UserError(f"{path}: its study searches other values than this version; choose another --out-dir")
        study.set_user_attr("space", str(space))
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)
            if trial.params.keys() == space.keys():
                study.enqueue_trial(trial.params)
        if not ended(study) and not study.get_trials(states=(TrialState.WAITING,)):
            study.enqueue_trial(start)
    return study


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the database in any error: SQLAlchemy's and Optuna's have many types."""
    try:
        with naming_full_disk(path):
            yield
    except UserError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{path}: cannot be used ({reason}); restore it, or start again with --overwrite") from error


def ended(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that have been completed or pruned, in order."""
    return study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))


def completed(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(states=(TrialState.COMPLETE,))


def minutes_spent(study: optuna.Study) -> float:
    return sum(trial.duration.total_seconds() for trial in ended(study)) / 60


def next_trial(study: optuna.Study, space: Space, *, seed: int) -> Trial:
    """The next trial. It depends on the seed and on the trials that ended, not on how often the command was killed."""
    number = len(ended(study))
    # tree-structured Parzen estimator (Bergstra et al. 2011)
    study.sampler = optuna.samplers.TPESampler(n_startup_trials=_RANDOM_TRIALS, seed=1000 * seed + number)
    return study.ask(distributions(space))
