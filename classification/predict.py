"""Predict with a trained run: python classification/predict.py --model-dir RUN --input FILE|FOLDER --output CSV"""

import dataclasses
from pathlib import Path

import tyro

from classification.submission import Wanted, predict_ids, wanted_ids, write_submission
from classification.train import load_framework
from shared.audio import AUDIO_SUFFIXES
from shared.cache import DEFAULT_CACHE_DIR, FeatureCache
from shared.cli import Device
from shared.datasets import audio_files
from shared.errors import UserError, run_entry
from shared.features import FeatureSpec
from shared.files import read_json


@dataclasses.dataclass(kw_only=True)
class PredictOptions:
    """Predict the class of sounds with the best model of a training run."""

    model_dir: Path
    """Run folder of classification/train.py, finished."""
    input: Path
    """A sound, or a folder of sounds."""
    output: Path
    """CSV to write: one row a sound."""
    sample_submission: Path | None = None
    """CSV that names the IDs and their order; None predicts every sound of the folder, sorted."""
    device: Device = "auto"
    """Where to compute."""
    cache_dir: Path = DEFAULT_CACHE_DIR
    """Where the computed spectrograms are kept."""
    n_jobs: int | None = None
    """Processes that compute spectrograms; None is one a core."""


def main() -> None:
    options = tyro.cli(PredictOptions)
    config, labels = read_run(options.model_dir)
    if options.sample_submission is not None and not options.sample_submission.is_file():
        raise UserError(f"--sample-submission {options.sample_submission}: no such file")
    folder, wanted = wanted_clips(options)
    predict = load_framework(config["options"]["framework"]).load(options.model_dir, device=options.device)
    table, failed = predict_ids(
        wanted,
        folder,
        predict,
        FeatureCache(FeatureSpec(**config["features"]), options.cache_dir),
        classes=labels["classes"],
        fallback=labels["most_frequent"],
        n_jobs=options.n_jobs,
    )
    write_submission(options.output, table, failed, fallback=labels["most_frequent"])


def read_run(model_dir: Path) -> tuple[dict, dict]:
    """config.json and labels.json of a finished classification run."""
    for name in ("config.json", "labels.json", "metrics.json"):
        if not (model_dir / name).is_file():
            raise UserError(
                f"--model-dir {model_dir}: no finished classification run ({name} is missing); "
                "give the --out-dir of classification/train.py"
            )
    return read_json(model_dir / "config.json"), read_json(model_dir / "labels.json")


def wanted_clips(options: PredictOptions) -> tuple[Path, Wanted]:
    """The folder to look in and the rows to write."""
    if options.input.is_file():
        if options.sample_submission is None:
            return options.input.parent, Wanted([options.input.name])
        raise UserError(f"--sample-submission: --input {options.input} must then be a folder")
    if not options.input.is_dir():
        raise UserError(f"--input {options.input}: no such file or folder")
    files = audio_files(options.input)
    if not files and options.sample_submission is None:
        raise UserError(f"--input {options.input}: holds no {', '.join(sorted(AUDIO_SUFFIXES))} file")
    return options.input, wanted_ids(files, options.sample_submission)


if __name__ == "__main__":
    run_entry(main)
