"""Name sounds with a trained run: python classification/predict.py --model-dir RUN --input FILE|FOLDER|CSV"""

import contextlib
import dataclasses
import json
import sys
from pathlib import Path
from typing import Literal

import tyro

from classification.inference.classifier import TOP_K, Classifier, quick_imports
from classification.inference.sounds import Sound, list_sounds, predict_sounds
from classification.rundir import read_run
from shared.errors import UserError, run_entry
from shared.features.cache import FeatureCache
from shared.files import CACHE_DIR, write_text


@dataclasses.dataclass(kw_only=True)
class PredictOptions:
    """Predict the class of sounds with the best model of a training run."""

    model_dir: Path
    """Run folder of classification/train.py, finished."""
    input: Path
    """A sound, a folder of sounds, or a CSV with a column path (or the files in its first one)."""
    output: Path | None = None
    """CSV to write, one row a sound: ID, Class, probability, runners-up; None prints."""
    top_k: int = TOP_K
    """Classes told of each sound, the likeliest first."""
    probabilities: bool = False
    """Add a column p_<class> for every class to --output."""
    json: bool = False
    """Print the predictions as JSON, and nothing else, on standard output."""
    timeline: Path | None = None
    """Folder for a timeline (CSV, PNG) of every sound; None: beside --output, of those over 1.5 times a window long."""
    hop: float | None = None
    """Seconds between the windows heard of a longer recording; None is half a window."""
    together: bool = True
    """Judge sounds that seem to be of one recording as one, where the run's training clips showed this to be right."""
    sample_submission: Path | None = None
    """CSV that names the IDs of the folder and their order; --output is then exactly a submission."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""
    cache_dir: Path = CACHE_DIR
    """Where the computed spectrograms of a folder or CSV are kept."""
    n_jobs: int | None = None
    """Processes that compute those; None is one a core."""


def main() -> None:
    options = tyro.cli(PredictOptions)
    sounds = prepare(options)
    with contextlib.redirect_stdout(sys.stderr if options.json else sys.stdout):
        with quick_imports():
            classifier = Classifier.load(options.model_dir, device=options.device)
        cache = FeatureCache(classifier.spec, options.cache_dir)
        if options.sample_submission is not None:
            submit(options, classifier, cache)
            return
        beside = options.output.parent if options.output else None if options.json else Path()
        outcome = predict_sounds(
            classifier,
            sounds,
            cache=cache,
            n_jobs=options.n_jobs,
            top_k=options.top_k,
            hop=options.hop,
            together=classifier.together if options.together else None,
            timelines=options.timeline or beside,
            every=options.timeline is not None,
        )
        if options.output is not None:
            write_text(options.output, outcome.csv(probabilities=options.probabilities))
        outcome.tell(options.output)
    if options.json:
        said = {"model": str(options.model_dir), "framework": classifier.framework, "classes": classifier.classes}
        print(json.dumps(said | outcome.json(), indent=2))


def prepare(options: PredictOptions) -> list[Sound]:
    """Refuse what cannot work before a framework is loaded; the sounds to predict, none for a submission."""
    read_run(options.model_dir)
    for flag, count in (("--top-k", options.top_k), ("--n-jobs", options.n_jobs)):
        if count is not None and count < 1:
            raise UserError(f"{flag} {count}: must be 1 or more")
    if options.output is not None and options.output.is_dir():
        raise UserError(f"--output {options.output}: is a folder; give the CSV to write")
    sounds = []
    if options.sample_submission is None:
        sounds = list_sounds(options.input)
    elif not options.sample_submission.is_file():
        raise UserError(f"--sample-submission {options.sample_submission}: no such file")
    elif not options.input.is_dir() or options.output is None or options.json or options.timeline is not None:
        raise UserError("--sample-submission: needs a folder as --input, an --output, and no --json or --timeline")
    for flag, folder in (("--output", options.output and options.output.parent), ("--timeline", options.timeline)):
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{flag} {folder}: is no folder and cannot be made one ({error.strerror})") from error
    return sounds


def submit(options: PredictOptions, classifier: Classifier, cache: FeatureCache) -> None:
    """The rows and columns of --sample-submission, in its order; every clip is cut or padded as in training."""
    from classification.inference.submission import (  # pandas, scikit-learn: 2 s
        predict_ids,
        wanted_ids,
        write_submission,
    )

    table, failed = predict_ids(
        wanted_ids([], options.sample_submission),
        options.input,
        classifier.forward,
        cache,
        classes=classifier.classes,
        fallback=classifier.most_frequent,
        together=classifier.together if options.together else None,
        n_jobs=options.n_jobs,
    )
    write_submission(options.output, table, failed, fallback=classifier.most_frequent)


if __name__ == "__main__":
    run_entry(main)
