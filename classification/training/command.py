"""What ``train`` does, from its options to a finished run folder."""

import dataclasses
import importlib
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from classification.export.model_card import Card, write_card
from classification.inference.classifier import Classifier, Forward
from classification.inference.test_set import predict_test_set, wanted_ids, write_probabilities, write_submission
from classification.inference.together import TRUST, Together
from classification.recipes import TrainOptions
from classification.rundir import LABELS
from classification.training.inputs import Inputs, choose_epochs, choose_spec, group_clips, make_inputs, with_test_set
from classification.training.plan import Part, plan
from classification.training.scoring import Scored, score
from classification.training.summary import conclusion, keep, summarise
from shared.features.cache import FeatureCache
from shared.files import write_json
from shared.recordings.similarity import leak_check, leak_warning
from shared.runs.run import Run
from shared.runs.start import Clips, find_data, load_clips, once, open_run


class Framework(NamedTuple):
    fit: Callable[[Inputs, Run], dict[str, float]]
    load: Callable[..., Forward]
    startup: float  # seconds its import took


def train(options: TrainOptions) -> None:
    """The whole command: clips, splits, run folder, trainings, figures, the kept model, the test set's classes."""
    dataset = find_data(options)
    spec = choose_spec(options, dataset)
    clips = with_test_set(group_clips(load_clips(options, dataset, spec), options))
    options = dataclasses.replace(options, epochs=choose_epochs(options, spec, clips=len(clips.manifest)))
    parts = plan(options)
    inputs = [make_inputs(clips, part) for part in parts]
    run = open_part(options, clips, fold=None)
    announce(inputs[0], clips, parts)
    once(run, lambda: train_parts(options, parts, inputs, clips, run))


def open_part(options: TrainOptions, clips: Clips, *, fold: int | None) -> Run:
    details = {"features": dataclasses.asdict(clips.features.spec), "fold": fold}
    return open_run(options, clips, default_dir=f"{options.framework}-{options.recipe}", details=details)


def train_parts(options: TrainOptions, parts: Sequence[Part], inputs: Sequence[Inputs], clips: Clips, run: Run) -> None:
    """Train and evaluate every part, predict the competition's test set with the kept model, finish the run."""
    framework = load_framework(options.framework)
    kept = next((i for i, part in enumerate(parts) if part.role == "refit"), 0)
    if len(parts) == 1:
        scored = [fit_and_score(framework, inputs[0], run)]
        metrics = scored[0].metrics
    else:
        scored = [train_part(framework, *each, clips, run) for each in zip(parts, inputs, strict=True)]
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


def train_part(framework: Framework, part: Part, inputs: Inputs, clips: Clips, run: Run) -> Scored:
    """One of several trainings, in a folder of its own; one that an earlier command finished is read."""
    print(f"\n{part.name}:", flush=True)
    own = dataclasses.replace(part.options, out_dir=run.dir / part.name, overwrite=False)
    sub = open_part(own, clips, fold=part.fold)
    if sub.finished:
        print(f"{sub.dir} is already done", flush=True)
        sub.close()
        return Scored.read(sub.dir)
    scored = fit_and_score(framework, inputs, sub)
    sub.finish(scored.metrics)
    return scored


def fit_and_score(framework: Framework, inputs: Inputs, run: Run) -> Scored:
    """Fit one part and evaluate its best model."""
    write_json(run.dir / LABELS, {"classes": inputs.classes, "most_frequent": inputs.most_frequent})
    together = learn_together(inputs, run) if inputs.options.together else None
    training = framework.fit(inputs, run) | {"time/startup_seconds": framework.startup}
    predict = framework.load(run.dir, inputs.network, device=inputs.options.device)
    return score(inputs, predict, run, training, together)


def learn_together(inputs: Inputs, run: Run) -> Together | None:
    """How clips of one recording are recognised, if the training clips show that those are of one class."""
    train = inputs.splits["train"]
    together = Together.learn(train.features, train.labels)
    if together is None:
        return None
    trusted = together.trust >= TRUST
    share = f"{together.trust:.1%} of the pairs of training clips that sound alike share a class"
    consequence = "the test set's are averaged" if trusted else "each clip is predicted by itself"
    print(f"{share}: {consequence}", flush=True)
    if trusted:
        together.save(run.dir)
    return together if trusted else None


def load_framework(name: str) -> Framework:
    """Keras or PyTorch; only the one that is asked for is imported."""
    began = time.perf_counter()
    fit = importlib.import_module(f"classification.training.fit_{name}").fit
    load = importlib.import_module(f"classification.inference.{name}_model").load
    return Framework(fit, load, time.perf_counter() - began)


def submit(clips: Clips, predict: Forward, run: Run, inputs: Inputs, together: Together | None) -> None:
    """test_probabilities.csv and submission.csv of the kept model."""
    dataset, spec, options = clips.dataset, inputs.spec, inputs.options
    classifier = Classifier(predict, inputs.classes, spec, most_frequent=inputs.most_frequent, together=together)
    wanted = wanted_ids(dataset.test_files, dataset.sample_submission)
    cache = FeatureCache(spec, options.cache_dir)
    table, failed = predict_test_set(wanted, dataset.test_dir, classifier, cache, n_jobs=options.n_jobs)
    write_probabilities(run.dir, table)
    write_submission(run.dir / options.submission_name, table, failed)


def announce(inputs: Inputs, clips: Clips, parts: Sequence[Part]) -> None:
    """What is trained on, and whether the split can be trusted."""
    if len(parts) > 1:
        print(f"{len(parts)} trainings: {', '.join(part.name for part in parts)}; the first:")
    for split, rows in inputs.manifest.groupby("split"):
        recordings = f" of {rows.group.nunique()} recordings" if clips.data["recordings"] else ""
        print(f"{split:>5}: {len(rows)} clips{recordings}")
    if inputs.options.split == "random":
        print("WARNING: --split random LEAKS: training and test share recordings, so the figures are too high")
    elif not clips.dataset.groups_known and inputs.options.group_by == "name":
        print("note: the file names tell no recording, so each clip counts as its own (or: --group-by similarity)")
        if warning := leak_warning(leak_check(clips.features, inputs.manifest.split), inputs.manifest.path):
            print(warning)
