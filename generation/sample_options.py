"""The options of generation/sample.py."""

import dataclasses
from pathlib import Path

from generation.recipes import VocoderOptions
from shared.errors import UserError
from shared.runs.options import Device


@dataclasses.dataclass(kw_only=True)
class SampleOptions(VocoderOptions):
    """Generate new sounds of some classes, and a figure of the spectrograms of each class."""

    model_dir: Path | None = None
    """Run of a generator, finished or still training; None takes the newest run of train_flow.py below runs/."""
    label: tuple[str, ...] = ()
    """Classes to generate, or mixtures such as siren:0.5,dog_bark:0.5; without this option, all classes."""
    count: int = 8
    """Sounds per class."""
    seed: int = 0
    """Seed of the noise; equal seeds give equal sounds."""
    out_dir: Path = Path("samples")
    """Folder for <label>_<n>.wav, <label>.png (the first 20 spectrograms), reference/ (real clips, vocoded)."""
    device: Device = "auto"
    """Device that computes."""
    guidance: float | None = None
    """Flow: weight of the class; more makes sounds more typical and less varied. None keeps the training's."""
    steps: int | None = None
    """Flow: steps from noise to a spectrogram. None keeps the training's."""
    best_of: int = 1
    """Make this many sounds for each one kept: the one that --best-of-classifier finds most probable."""
    best_of_classifier: Path | None = None
    """Finished PyTorch run of classification/train.py for --best-of; evaluate the sounds with another one."""
    variation_of: Path | None = None
    """Flow: vary this sound file instead of making sounds from nothing."""
    strength: float = 0.5
    """How far a variation may leave its sound: 0 changes nothing, 1 keeps nothing."""
    gap: tuple[float, float] | None = None
    """Start and end in seconds of a part of --variation-of to fill in; the rest of the sound stays."""

    def check(self) -> None:
        for flag, number in (
            ("--count", self.count),
            ("--griffin-lim-iterations", self.griffin_lim_iterations),
            ("--guidance", self.guidance),
            ("--steps", self.steps),
            ("--best-of", self.best_of),
        ):
            if number is not None and number < 1:
                raise UserError(f"{flag} {number}: must be 1 or more")
        if not 0 <= self.strength <= 1:
            raise UserError(f"--strength {self.strength}: must be between 0 and 1")
        if self.gap is not None and self.variation_of is None:
            raise UserError("--gap: needs the sound whose gap to fill; give --variation-of FILE")
        if (self.best_of > 1) != (self.best_of_classifier is not None):
            raise UserError(
                f"--best-of {self.best_of}: give both --best-of above 1 and --best-of-classifier, or neither"
            )
