"""What a worker does to classify a sound: the same as classification/predict.py, with a model that it keeps."""

import contextlib
import functools
import io
from pathlib import Path
from typing import Any

from classification.inference.classifier import Classifier
from classification.inference.options import PredictOptions
from classification.inference.sounds import Sound, predict_sound
from classification.inference.timeline import csv_text
from shared.files import write_text

KEPT = 3  # models in memory
PREDICTIONS = "predictions.csv"


def classify(options: PredictOptions) -> dict[str, Any]:
    """Classify ``options.input``, one sound; write --output, and its timeline below --timeline.

    Returns:
        What ``predict --json`` prints for this sound.

    Raises:
        AudioError: the sound cannot be used.
        UserError: the run cannot be loaded, or an impossible hop.
    """
    sound = Sound(options.input.name, options.input)
    classifier = keep_classifier(options.model_dir, options.device)
    with contextlib.redirect_stdout(io.StringIO()):  # it names temporary files
        result = predict_sound(classifier, sound, options, folder=options.timeline)
    write_text(options.output, csv_text([result.row(probabilities=options.probabilities)]))
    return result.json()


def keep_classifier(run: Path, device: str) -> Classifier:
    """The classifier of a run, loaded again only if the run has changed."""
    return _load(run, device, changed(run / "metrics.json"))


def changed(path: Path) -> int:
    """When a file was changed, in nanoseconds; 0 if it is gone, of which loading then says more."""
    return path.stat().st_mtime_ns if path.is_file() else 0


@functools.lru_cache(maxsize=KEPT)
def _load(run: Path, device: str, _changed: int) -> Classifier:
    return Classifier.load(run, device=device)
