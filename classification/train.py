"""Train a classifier: python classification/train.py --data-dir DIR --framework keras|torch --out-dir RUN"""

import dataclasses
import time
from types import ModuleType

from classification.inputs import SPEC, Inputs, make_inputs
from classification.recipes import RECIPES, TrainOptions
from classification.scoring import Predict, score
from classification.submission import predict_ids, wanted_ids, write_submission
from shared.cache import FeatureCache
from shared.cli import Clips, load_clips, once, open_run, parse
from shared.errors import run_entry
from shared.files import read_json, write_json
from shared.runs import Run


def main() -> None:
    options = parse(TrainOptions, RECIPES)
    clips = load_clips(options, SPEC)
    inputs = make_inputs(clips, options)
    run = open_run(
        options,
        clips,
        default_dir=f"{options.framework}-{options.recipe}",
        details={"features": dataclasses.asdict(inputs.spec)},
    )
    announce(inputs, clips)
    once(run, lambda: train(inputs, clips, run))


def train(inputs: Inputs, clips: Clips, run: Run) -> None:
    """Fit, score the best model, predict the competition's test set."""
    options = inputs.options
    most_frequent = inputs.manifest[inputs.manifest.split == "train"].label.mode()[0]
    write_json(run.dir / "labels.json", {"classes": inputs.classes, "most_frequent": most_frequent})
    began = time.perf_counter()
    framework = load_framework(options.framework)
    startup = time.perf_counter() - began
    training = framework.fit(inputs, run) | {"time/startup_seconds": startup}
    predict = framework.load(run.dir, device=options.device)
    metrics = score(inputs, predict, run, training)
    if clips.dataset.test_files:
        submit(clips, predict, run, options)
    run.finish(metrics | {"skipped": len(clips.rejects)})
    reported = metrics["reported_on"]
    print(
        f"{run.dir}: accuracy {metrics[f'{reported}/accuracy']:.3f}, macro-F1 {metrics[f'{reported}/macro_f1']:.3f} "
        f"on {reported}{' (LEAKING SPLIT)' if metrics['split_leaks'] else ''}; "
        f"{metrics['train/epochs']} epochs of {metrics['time/epoch_seconds']:.1f} s"
    )


def load_framework(name: str) -> ModuleType:
    """fit_keras or fit_torch; only the one that is asked for is imported."""
    if name == "keras":
        from classification import fit_keras

        return fit_keras
    from classification import fit_torch

    return fit_torch


def submit(clips: Clips, predict: Predict, run: Run, options: TrainOptions) -> None:
    labels = read_json(run.dir / "labels.json")
    dataset = clips.dataset
    table, failed = predict_ids(
        wanted_ids(dataset.test_files, dataset.sample_submission),
        dataset.test_dir,
        predict,
        FeatureCache(SPEC, options.cache_dir),
        classes=labels["classes"],
        fallback=labels["most_frequent"],
        n_jobs=options.n_jobs,
    )
    write_submission(run.dir / "submission.csv", table, failed, fallback=labels["most_frequent"])


def announce(inputs: Inputs, clips: Clips) -> None:
    """What is trained on, and whether the split can be trusted."""
    for split, rows in inputs.manifest.groupby("split"):
        recordings = f" of {rows.group.nunique()} recordings" if clips.dataset.groups_known else ""
        print(f"{split:>5}: {len(rows)} clips{recordings}")
    if inputs.options.split == "random":
        print("WARNING: --split random puts clips of one recording on both sides; its figures LEAK and flatter")
    elif not clips.dataset.groups_known:
        print("note: the file names tell no recording, so each clip counts as its own; near-duplicates may leak")


if __name__ == "__main__":
    run_entry(main)
