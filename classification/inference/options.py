"""The options of predict.py; nothing here imports what it computes with."""

import dataclasses
from pathlib import Path
from typing import Literal

from shared.files import CACHE_DIR

TOP_K = 3


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
    """Classes listed for each sound, the most probable first."""
    probabilities: bool = False
    """Add a column p_<class> for every class to --output."""
    json: bool = False
    """Print the predictions as JSON, and nothing else, on standard output."""
    timeline: Path | None = None
    """Folder for a timeline (CSV, PNG) of every sound; None: beside --output, of those over 1.5 times a window long."""
    hop: float | None = None
    """Seconds between the windows of a longer recording; None is half a window."""
    together: bool = False
    """Average clips that sound like one recording. A file's prediction then depends on the files given with it."""
    sample_submission: Path | None = None
    """CSV that names the IDs of the folder and their order; --output is then exactly a submission. The run's own
    submission.csv averages clips that sound like one recording: add --together to repeat it."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""
    cache_dir: Path = CACHE_DIR
    """Where the computed spectrograms of a folder or CSV are kept."""
    n_jobs: int | None = None
    """Processes that compute them; None is one a core."""
