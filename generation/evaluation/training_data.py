"""Generated sounds as training data: a classifier trained with them against the same recipe on real clips alone.

Both are tested on the real clips of recordings that the generator did not hear, so that "held out" means the same for
the generator and the classifiers.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from classification.training.command import train_part
from classification.training.framework import Framework, load_framework
from classification.training.inputs import choose_epochs, choose_spec, inputs_of
from classification.training.plan import Part
from classification.training.scoring import Scored
from generation.evaluation.clips import list_samples
from generation.evaluation.training_options import GeneratedOptions
from generation.rundir import mark_trained_on, read_origin
from shared.data.datasets import Dataset, load_dataset
from shared.data.splits import assign_splits
from shared.errors import UserError
from shared.evaluation import bootstrap
from shared.files import read_json, write_json
from shared.report.numbers import percent
from shared.runs.start import Clips, load_clips

Kind = Literal["real", "generated", "both"]
TITLES: dict[Kind, str] = {"real": "real", "generated": "generated", "both": "real and generated"}


def compare_kinds(options: GeneratedOptions, kind: Kind, *, name: str) -> dict[str, Any]:
    """Train on real clips and on ``kind``, print both accuracies and write them into <name>.json.

    Raises:
        UserError: samples of unknown origin, a generator that held nothing out, or classes without samples.
    """
    folder = options.out_dir or Path("runs") / name
    kinds: tuple[Kind, ...] = ("real", kind)
    folds = [load_fold(samples, options) for samples in options.samples]
    framework = load_framework(options.framework)
    seeds = range(options.seed, options.seed + options.seeds)
    trainings = [
        (each, fold, seed, train(framework, clips, each, options, folder, fold=fold, seed=seed))
        for fold, clips in enumerate(folds)
        for seed in seeds
        for each in kinds
    ]
    result = summarise(trainings, kind, [str(samples) for samples in options.samples])
    write_json(folder / f"{name}.json", result)
    print(f"\n{table(result)}\n-> {folder / f'{name}.json'}")
    return result


def load_fold(samples: Path, options: GeneratedOptions) -> Clips:
    """Real and generated clips; the manifest's columns trained_on, held_out and generated say which is which.

    A class has as many groups of generated clips as recordings that were trained on: where a recipe draws recordings
    equally often, half of the clips that it draws are generated.
    """
    origin = read_origin(samples)
    if not origin:
        raise UserError(f"--samples {samples}: has no samples.json, so its generator's training clips are unknown")
    run = origin["generator"]
    if not (run / "config.json").is_file():
        raise UserError(f"--samples {samples}: its generator's run, {run}, is gone; put it back")
    dataset = load_dataset(options.data_dir or read_json(run / "config.json")["data"]["root"])
    real, assumed = mark_trained_on(dataset, run, asked=False)
    if assumed or not real.held_out.any():
        why = assumed[0] if assumed else f"{run} was trained on every recording"
        raise UserError(f"--samples {samples}: {why}. Train the generator with --holdout-share")
    generated = list_samples(samples, origin["classes"])
    if set(generated.label) != set(real.label):
        differ = ", ".join(sorted(set(generated.label) ^ set(real.label)))
        raise UserError(f"--samples {samples}: its classes are not those of {dataset.root} ({differ}); generate all")
    recordings = real[real.trained_on].groupby("label").group.nunique()
    turn = generated.groupby("label").cumcount() % generated.label.map(recordings).to_numpy()
    generated = generated.assign(group="generated-" + generated.label + "-" + turn.astype(str), official="", split="")
    manifest = pd.concat([real.assign(generated=False), generated.assign(generated=True)], ignore_index=True)
    marks = ["trained_on", "held_out", "generated"]
    manifest = manifest.assign(**{mark: manifest[mark].eq(True) for mark in marks})
    both = Dataset(dataset.root, dataset.layout, manifest, dataset.groups_known)
    return load_clips(options, both, choose_spec(options, dataset))


def train(
    framework: Framework, clips: Clips, kind: Kind, options: GeneratedOptions, folder: Path, *, fold: int, seed: int
) -> Scored:
    """One training on the clips of this kind, in a run folder of its own; tested on the held-out real clips."""
    wanted = {"real": ["trained_on"], "generated": ["generated"], "both": ["trained_on", "generated"]}[kind]
    manifest = clips.manifest
    training = manifest[manifest[wanted].any(axis=1)]
    if options.val_share > 0:
        training = assign_splits(training, val_share=options.val_share, test_share=0, seed=seed)
    else:
        training = training.assign(split="train")
    chosen = pd.concat([training, manifest[manifest.held_out].assign(split="test")]).sort_index()
    epochs = choose_epochs(options, clips.features.spec, clips=len(training))
    own = dataclasses.replace(options, seed=seed, seeds=1, epochs=epochs, together=False, refit=False, export=())
    name = f"{kind}-seed-{seed}" + (f"-fold-{fold}" if len(options.samples) > 1 else "")
    counts = {"clips": len(chosen), "classes": chosen.label.value_counts().sort_index().to_dict()}
    some = dataclasses.replace(clips, data=clips.data | counts | {"recordings": int(chosen.group.nunique())})
    print(f"\n{name}: {len(training)} training clips, {epochs} epochs", flush=True)
    part = Part(name, "evaluated", own, None, seed)
    return train_part(framework, part, inputs_of(clips.features, clips.classes, chosen, own), some, folder)


def summarise(trainings: Sequence[tuple[Kind, int, int, Scored]], kind: Kind, samples: Sequence[str]) -> dict[str, Any]:
    """The accuracies of both kinds, pooled over folds and seeds, and their difference with its 95 % interval."""
    classes = trainings[0][3].metrics["classes"]
    pooled = {
        each: pd.concat([t.predictions[t.predictions.split == "test"] for k, _, _, t in trainings if k == each])
        for each in ("real", kind)
    }
    counted = {each: confusions(rows, classes) for each, rows in pooled.items()}
    accuracies = {each: accuracy(rows, counted[each]) for each, rows in pooled.items()}
    own, real = accuracies[kind]["accuracy"], accuracies["real"]["accuracy"]
    return {
        "samples": list(samples),
        "held_out_clips": len(pooled["real"].drop_duplicates("path")),
        "kinds": accuracies,
        "share_of_real": own / real if real else None,
        "difference": bootstrap.paired_difference(counted[kind], counted["real"])["accuracy"],
        "trainings": [
            {"kind": each, "fold": fold, "seed": seed, "accuracy": scored.metrics["test/accuracy"]}
            for each, fold, seed, scored in trainings
        ],
    }


def confusions(rows: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
    """A confusion matrix for each recording: (G, K, K)."""
    y, predicted = (np.searchsorted(classes, rows[column].to_numpy(str)) for column in ("label", "predicted"))
    return bootstrap.confusions(y, predicted, rows.group.astype(str).to_list(), len(classes))


def accuracy(rows: pd.DataFrame, counted: np.ndarray) -> dict[str, Any]:
    """Accuracy over all clips with its interval, and of each class."""
    right = rows.label == rows.predicted
    return {
        "accuracy": float(right.mean()),
        "interval": bootstrap.intervals(counted)["accuracy"],
        "by_label": right.groupby(rows.label).mean().to_dict(),
    }


def table(result: dict[str, Any]) -> str:
    """Both accuracies by class, and their difference, as text."""
    rows = {}
    for kind, found in result["kinds"].items():
        low, high = (100 * bound for bound in found["interval"])
        by_label = {label: percent(value) for label, value in found["by_label"].items()}
        whole = {"accuracy": percent(found["accuracy"]), "95 % interval": f"{low:.1f} to {high:.1f}"}
        each = [percent(training["accuracy"]) for training in result["trainings"] if training["kind"] == kind]
        rows[TITLES[kind]] = whole | by_label | ({"each training": ", ".join(each)} if len(each) > 1 else {})
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("trained on").reset_index()
    points, interval = 100 * result["difference"]["difference"], result["difference"]["interval"]
    low, high = (100 * bound for bound in interval)
    said = f"{list(rows)[-1]} minus real: {points:+.1f} points (95 % interval {low:+.1f} to {high:+.1f})"
    if result["share_of_real"] is not None:
        said += f", {percent(result['share_of_real'])} of the accuracy with real clips"
    head = f"Accuracy on {result['held_out_clips']} real clips of recordings that the generator did not hear:"
    return f"{head}\n{frame.to_string(index=False)}\n{said}"
