"""The steps of ``train``, from its options to a finished run folder."""

import dataclasses
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from classification.export.model_card import Card, write_card
from classification.inference.classifier import Classifier, Forward
from classification.inference.test_set import predict_test_set, wanted_ids, write_probabilities, write_submission
from classification.inference.together import Together
from classification.recipes import TrainOptions
from classification.training.blend import blended
from classification.training.fitting import fit_and_score, train_or_read
from classification.training.framework import Framework, load_framework
from classification.training.inputs import Inputs, choose_epochs, choose_spec, group_clips, make_inputs, with_test_set
from classification.training.plan import Part, plan
from classification.training.scoring import Scored
from classification.training.summary import conclusion, keep, summarise
from shared.errors import UserError
from shared.features.cache import FeatureCache
from shared.recordings.similarity import leak_check, leak_warning
from shared.runs import ranks
from shared.runs.run import Run
from shared.runs.start import Clips, find_data, load_clips, once, open_run
from shared.runs.timing import duration


def train(options: TrainOptions) -> None:
    """Run the whole command: load and split the clips, open the run folder, train, evaluate, predict the test set.

    Raises:
        UserError: several trainings without held-out clips, which would have no figures to pool; several processes for
            Keras.
    """
    ranks.start()
    if options.framework == "keras":
        ranks.refuse(
            "--framework keras: use --devices for several devices, or train with --framework torch and convert the "
            "model (frequency-quest convert); Keras trains in one process"
        )
    if options.optimiser.weight_decays:
        ranks.refuse("--weight-decays: their choice trains in one process")
    if options.blend:
        ranks.refuse("--blend: its two models and their inner folds train in one process")
    dataset = find_data(options)
    spec = choose_spec(options, dataset)
    clips = with_test_set(group_clips(load_clips(options, dataset, spec), options))
    options = dataclasses.replace(options, epochs=choose_epochs(options, spec, clips=len(clips.manifest)))
    parts = plan(options)
    inputs = [make_inputs(clips, part) for part in parts]
    if len(parts) > 1 and set(inputs[0].splits) == {"train"}:
        raise UserError("--test-share 0: several trainings need held-out clips; raise it, or train with one seed")
    run = open_part(options, clips, fold=None)
    announce(inputs[0], clips, parts)
    work = train_parts if ranks.is_first() else take_part
    once(run, lambda: work(options, parts, inputs, clips, run))


def open_part(options: TrainOptions, clips: Clips, *, fold: int | None) -> Run:
    """Open the run folder of the whole command, or of one of its parts."""
    details = {"features": dataclasses.asdict(clips.features.spec), "fold": fold}
    return open_run(options, clips, default_dir=f"{options.framework}-{options.recipe}", details=details)


def open_within(folder: Path, part: Part, clips: Clips) -> Run:
    """Open the run folder of one of several parts, ``folder``/<its name>."""
    own = dataclasses.replace(part.options, out_dir=folder / part.name, overwrite=False)
    return open_part(own, clips, fold=part.fold)


def train_parts(options: TrainOptions, parts: Sequence[Part], inputs: Sequence[Inputs], clips: Clips, run: Run) -> None:
    """Train and evaluate every part, predict the competition's test set with the kept model and finish the run."""
    framework = load_framework(options.framework)
    if options.blend:
        framework = blended(framework)
    kept = next((i for i, part in enumerate(parts) if part.role == "refit"), 0)
    if len(parts) == 1:
        scored = [fit_and_score(framework, inputs[0], run)]
        metrics = scored[0].metrics
    else:
        scored = train_each(framework, parts, inputs, clips, run)
        metrics = summarise(parts, scored, run)
        keep(parts[kept], run)
    predict = framework.load(run.dir, inputs[kept].network, device=options.device)
    if clips.dataset.test_files:
        submit(clips, predict, run, inputs[kept], scored[kept].together)
    metrics |= {"skipped": len(clips.rejects)}
    run.finish(metrics)
    card = Card(run.dir.resolve().name, run.config, metrics)
    write_card(run.dir, card)
    if options.export:
        from classification.export.export import export

        exported = export(run.dir, options.export, config=run.config, classes=inputs[kept].classes)
        write_card(run.dir, dataclasses.replace(card, exported=exported))
    print(conclusion(run, metrics))


def take_part(options: TrainOptions, parts: Sequence[Part], inputs: Sequence[Inputs], clips: Clips, run: Run) -> None:
    """The part of ``train_parts`` of all processes of a launch but the first: train, without writing anything."""
    fit = load_framework(options.framework).fit
    for part, own in zip(parts, inputs, strict=True):
        sub = run if len(parts) == 1 else open_within(run.dir, part, clips)
        if len(parts) == 1 or not ranks.agreed(sub.finished):
            fit(own, sub)


def train_each(
    framework: Framework, parts: Sequence[Part], inputs: Sequence[Inputs], clips: Clips, run: Run
) -> list[Scored]:
    """Train the parts one after the other; the remaining time is estimated from the parts this command trained."""
    scored, seconds = [], []
    for done, (part, own) in enumerate(zip(parts, inputs, strict=True)):
        left = f" (about {duration(statistics.mean(seconds) * (len(parts) - done))} left)" if seconds else ""
        print(f"\npart {done + 1} of {len(parts)}: {part.name}{left}", flush=True)
        began, earlier = time.perf_counter(), (run.dir / part.name / "metrics.json").is_file()
        scored.append(train_part(framework, part, own, clips, run.dir))
        if not earlier:
            seconds.append(time.perf_counter() - began)
    return scored


def train_part(framework: Framework, part: Part, inputs: Inputs, clips: Clips, folder: Path) -> Scored:
    """Train one of several parts in ``folder``/<its name>; if an earlier command finished it, read its results."""
    return train_or_read(framework, inputs, open_within(folder, part, clips))


def submit(clips: Clips, predict: Forward, run: Run, inputs: Inputs, together: Together | None) -> None:
    """Predict the test set with the kept model; write test_probabilities.csv and submission.csv."""
    dataset, spec, options = clips.dataset, inputs.spec, inputs.options
    classifier = Classifier(predict, inputs.classes, spec, most_frequent=inputs.most_frequent, together=together)
    wanted = wanted_ids(dataset.test_files, dataset.sample_submission)
    cache = FeatureCache(spec, options.cache_dir, scheduler=options.scheduler)
    table, failed = predict_test_set(wanted, dataset.test_dir, classifier, cache, n_jobs=options.n_jobs)
    write_probabilities(run.dir, table)
    write_submission(run.dir / options.submission_name, table, failed)


def announce(inputs: Inputs, clips: Clips, parts: Sequence[Part]) -> None:
    """Print the size of each split, and a warning if recordings may leak from one into another."""
    if len(parts) > 1:
        print(f"{len(parts)} trainings: {', '.join(part.name for part in parts)}. Clips of the first:")
    for split, rows in inputs.manifest.groupby("split"):
        recordings = f" of {rows.group.nunique()} recordings" if clips.data["recordings"] else ""
        print(f"{split:>5}: {len(rows)} clips{recordings}")
    if inputs.options.split == "random":
        print("WARNING: --split random LEAKS: training and test share recordings, so the figures are too high")
    elif not clips.dataset.groups_known and inputs.options.group_by == "name":
        print("note: file names show no recordings, so clips are split one by one (--group-by similarity finds some)")
        if inputs.spec.kind == "embedding":  # near-duplicates are looked for in spectrograms
            return
        if warning := leak_warning(leak_check(clips.features, inputs.manifest.split), inputs.manifest.path):
            print(warning)
