"""The steps of ``tune``, from its options to best.toml and a page."""

import dataclasses

import numpy as np
import optuna

from classification.training.command import load_framework
from classification.training.inputs import choose_spec, group_clips
from classification.tuning.child import accuracies_of_child
from classification.tuning.options import TuneOptions
from classification.tuning.results import write_results
from classification.tuning.space import as_params, as_text, as_values, search_space, text
from classification.tuning.study import DATABASE, ended, minutes_spent, next_trial, open_study
from classification.tuning.trial import fold_accuracies, folds_table, parts_of, run_trial
from shared.data.splits import assign_splits
from shared.files import naming_full_disk, write_text
from shared.runs import ranks
from shared.runs.options import flat
from shared.runs.run import Run
from shared.runs.start import Clips, find_data, load_clips, open_run
from shared.search import Space

FOLDS = "folds.csv"  # the clips that trials train on and are scored on, with their inner folds


def tune(options: TuneOptions) -> None:
    """Run the whole command: leave out the held-out recordings, try options on inner folds of the rest, write results.

    Raises:
        UserError: several processes, too few recordings, or a folder that holds another study.
    """
    ranks.refuse("tune: tries one set of options after the other, in one process")
    space = search_space(options)
    dataset = find_data(options)
    spec = choose_spec(options, dataset)
    clips = group_clips(load_clips(options, dataset, spec), options)
    inner = without_held_out(clips, options)
    details = {"features": dataclasses.asdict(spec), "search": {name: as_text(tried) for name, tried in space.items()}}
    default_dir = f"tune-{options.framework}-{options.recipe}"
    run = open_run(options, clips, default_dir=default_dir, details=details, extendable={"trials"})
    table = folds_table(parts_of(options, {}, inner, clips=len(clips.manifest)), inner)
    write_text(run.dir / FOLDS, table.to_csv(index=False))
    study = open_study(run.dir, space, as_params(flat(options), space))
    held_out = len(clips.manifest) - len(inner.manifest)
    print(f"{len(inner.manifest)} clips in {options.inner_folds} inner folds; {held_out} held-out clips stay unseen")
    print(f"searched: {', '.join(space).replace('_', '-')}", flush=True)
    try:
        run_trials(study, space, options, inner, run, clips=len(clips.manifest))
    except KeyboardInterrupt:
        write_results(study, space, options, run)
        print(f"\ninterrupted; to continue: {run.config['command']}")
        run.close()
        raise
    run.finish(write_results(study, space, options, run))


def without_held_out(clips: Clips, options: TuneOptions) -> Clips:
    """The clips of the recordings that ``train`` does not hold out for its figures."""
    shares = {"val_share": 0.0, "test_share": options.test_share}
    split = assign_splits(clips.manifest, how=options.split, seed=options.seed, **shares).split
    return dataclasses.replace(clips.take(np.flatnonzero(split != "test")), rejects={})


def run_trials(study: optuna.Study, space: Space, options: TuneOptions, inner: Clips, run: Run, *, clips: int) -> None:
    """Run the trials that are left, until --minutes are used up."""
    in_process = options.framework == "torch"  # whose memory does not grow from trial to trial, as Keras's does
    framework = load_framework(options.framework) if in_process else None
    while (number := len(ended(study))) < options.trials:
        if options.minutes is not None and minutes_spent(study) >= options.minutes:
            print(f"--minutes {options.minutes:g} are used up after {number} of {options.trials} trials", flush=True)
            return
        trial = next_trial(study, space, seed=options.seed)
        values = as_values(trial.params, space)
        shown = ", ".join(f"{name.replace('_', '-')} {text(value)}" for name, value in values.items())
        print(f"\ntrial {number + 1} of {options.trials}: {shown}", flush=True)
        parts = parts_of(options, values, inner, clips=clips)
        folder = run.dir / f"trial-{number + 1:03d}"
        if framework is None:
            accuracies = accuracies_of_child(options.framework, parts, inner, folder)
        else:
            accuracies = fold_accuracies(framework, parts, inner, folder)
        with naming_full_disk(run.dir / DATABASE):
            print(run_trial(study, trial, parts, accuracies), flush=True)
