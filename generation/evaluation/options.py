"""The options of evaluate.py."""

import dataclasses
from pathlib import Path

from shared.errors import UserError
from shared.files import CACHE_DIR
from shared.runs.options import Device


@dataclasses.dataclass(kw_only=True)
class EvaluateOptions:
    """Compare generated sounds with real ones and noise by the features of a classifier."""

    samples: Path
    """Folder of generated sounds: <label>_<n>.wav, or a folder per class."""
    reference: Path
    """Folder of real sounds in any layout; best the one that the generator was trained on."""
    classifier: Path
    """Run folder of classification/train.py, finished, of either framework."""
    generator: Path | None = None
    """Run folder of the generator, which lists what it was trained on; None is what samples.json in --samples says."""
    output: Path | None = None
    """JSON to write; None is evaluation.json in --samples."""
    max_clips: int = 5000
    """Most samples, and most real clips, that the figures are computed of; copies are searched for in all."""
    seed: int = 0
    """Seed of the random draws and of the noise."""
    device: Device = "auto"
    """Where to compute."""
    cache_dir: Path = CACHE_DIR
    """Where the computed spectrograms are kept."""
    n_jobs: int | None = None
    """Processes that compute those; None is one a core."""

    def check(self) -> None:
        for flag, value, least in (("--max-clips", self.max_clips, 10), ("--seed", self.seed, 0)):
            if value < least:
                raise UserError(f"{flag} {value}: must be {least} or more")
        if self.output is None:
            self.output = self.samples / "evaluation.json"
        elif self.output.is_dir():
            raise UserError(f"--output {self.output}: is a folder; give the JSON to write")
        else:
            try:
                self.output.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"--output {self.output}: its folder cannot be made ({error.strerror})") from error
