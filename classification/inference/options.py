"""The options of predict.py, without the imports that prediction needs."""

import dataclasses
from pathlib import Path
from typing import Literal

from shared.files import CACHE_DIR

SLACK = 1.05  # a sound up to this many model durations is one window, because mp3 pads the end of a clip
TOP_K = 3


@dataclasses.dataclass(kw_only=True)
class PredictOptions:
    """Classify sounds with the model of a training run."""

    model_dir: Path
    """Finished run folder of classification/train.py."""
    input: Path
    """A sound file, a folder of sounds, or a CSV that lists files in its column path, else in its first column."""
    output: Path | None = None
    """CSV to write, one row per sound: ID, Class, probability, further classes; None prints the predictions."""
    top_k: int = TOP_K
    """Number of classes listed for each sound, the most probable first."""
    probabilities: bool = False
    """Add a probability column p_<class> for every class to --output."""
    json: bool = False
    """Print the predictions as JSON; standard output then contains nothing else."""
    timeline: Path | None = None
    """Folder for a timeline (CSV, PNG) of every sound; with None only long recordings get one, beside --output."""
    hop: float | None = None
    """Seconds from one window of a long recording to the next; None is half a window."""
    together: bool = False
    """Average clips that sound like one recording: a file's prediction then depends on the others in --input."""
    sample_submission: Path | None = None
    """CSV with the IDs of a submission, whose columns and order --output then has.
    Add --together to reproduce the run's submission.csv if the run averages clips that sound like one recording."""
    backbone_path: Path | None = None
    """The model that a run of --recipe transfer was trained with, if it is no longer where it was."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto uses a GPU if there is one."""
    cache_dir: Path = CACHE_DIR
    """Folder that keeps the computed spectrograms."""
    n_jobs: int | None = None
    """Processes that compute spectrograms; None is one per core."""
