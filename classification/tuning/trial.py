"""One trial of a study: a training on each inner fold, scored on that fold's clips."""

import contextlib
import dataclasses
import shutil
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.trial import Trial, TrialState

from classification.training.command import Framework, open_within
from classification.training.inputs import Inputs, choose_epochs, make_inputs
from classification.training.plan import Part, plan
from classification.training.summary import MODEL_FILES
from classification.tuning.options import TuneOptions
from classification.tuning.space import training
from shared.errors import DivergedError
from shared.files import read_json
from shared.runs.run import Run
from shared.runs.start import Clips


def parts_of(options: TuneOptions, values: dict[str, Any], inner: Clips, *, clips: int) -> list[Part]:
    """The trainings of a trial, one for each inner fold.

    Args:
        values: the trial's values of the searched options.
        inner: the clips of the recordings that are not held out.
        clips: the number of all clips, by which ``train`` chooses its epochs, too.
    """
    single = {"seeds": 1, "refit": False, "together": False, "export": (), "split": "grouped"}
    chosen = training(options, **values, **single, folds=options.inner_folds)
    epochs = choose_epochs(chosen, inner.features.spec, clips=clips)
    return plan(dataclasses.replace(chosen, epochs=epochs))


def folds_table(parts: Sequence[Part], inner: Clips) -> pd.DataFrame:
    """The clips with their path, label, recording and inner fold."""
    held = [make_inputs(inner, part).manifest.split == "test" for part in parts]
    return inner.manifest[["path", "label", "group"]].assign(fold=np.argmax(held, axis=0))


def run_trial(study: optuna.Study, trial: Trial, parts: Sequence[Part], accuracies: Iterator[float]) -> str:
    """Score a trial fold by fold, until it is complete or pruned. Returns a line for the user.

    Its score is the mean over the folds so far.

    Args:
        accuracies: train on the next fold and yield the accuracy on its clips.
    """
    folds: list[float] = []
    with contextlib.closing(accuracies):
        try:
            for accuracy in accuracies:
                folds.append(accuracy)
                score = statistics.fmean(folds)
                trial.set_user_attr("folds", folds)
                trial.report(score, step=len(folds) - 1)
                if len(folds) < len(parts) and trial.should_prune():
                    study.tell(trial, state=TrialState.PRUNED)
                    return f"pruned after {len(folds)} of {len(parts)} folds: accuracy {score:.3f}"
        except DivergedError as error:
            study.tell(trial, state=TrialState.PRUNED)
            return f"pruned: {error}"
    study.tell(trial, score)
    return f"accuracy {score:.3f}; the best so far {study.best_value:.3f}"


def fold_accuracies(framework: Framework, parts: Sequence[Part], inner: Clips, folder: Path) -> Iterator[float]:
    """Train on each inner fold in ``folder`` and yield the accuracy on the fold's clips."""
    for part in parts:
        with contextlib.closing(open_within(folder, part, inner)) as run:
            accuracy = fold_accuracy(framework, make_inputs(inner, part), run)
        yield accuracy


def fold_accuracy(framework: Framework, inputs: Inputs, run: Run) -> float:
    """Train on one inner fold, unless an earlier command has, and return the accuracy on the fold's clips.

    Of the run's folder the models and the checkpoint are deleted then.
    """
    if not run.finished:
        framework.fit(inputs, run)
        predict, test = framework.load(run.dir, inputs.network, device=inputs.options.device), inputs.splits["test"]
        predicted = np.concatenate([predict(x).argmax(axis=1) for x, _ in test()])
        run.finish({"test/accuracy": float((predicted == test.labels).mean())})
        shutil.rmtree(run.checkpoints, ignore_errors=True)
        for name in MODEL_FILES:
            (run.dir / name).unlink(missing_ok=True)
    return read_json(run.dir / "metrics.json", **{"test/accuracy": float})["test/accuracy"]
