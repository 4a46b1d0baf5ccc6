"""The options of generation/train_vocoder.py."""

import dataclasses
from pathlib import Path

from shared.errors import UserError
from shared.features.spec import FeatureSpec, preset
from shared.runs.options import CommonOptions


@dataclasses.dataclass(kw_only=True)
class VocoderTrainingOptions(CommonOptions):
    """Train a neural vocoder, which turns the mels of one preset into sound."""

    data_dir: Path | None = None
    """Folder of sounds; None synthesises demo sounds in data/demo."""
    extra_dir: tuple[Path, ...] = ()
    """More folders with sounds to train on; they are searched with all their subfolders, and need no labels."""
    epochs: int = 150
    """Passes over the training clips; a larger number continues a finished run."""
    batch_size: int = 16
    """Clips per training step."""
    features: str = "flow"
    """Preset of the mels; a vocoder can be used for this preset only."""
    holdout_share: float = 0.0
    """Share of the recordings in --data-dir to hold out; a generator with this share and seed holds out the same."""
    crop_seconds: float = 1.0
    """Length of the random part of a clip that a step trains on."""
    degraded_share: float = 0.5
    """Share of the clips of a step whose mels are blurred and noised, as a generator's are."""
    adversarial_from: int | None = 75
    """Epoch after which the discriminators take part; None leaves them out."""
    learning_rate: float = 5e-4
    """Learning rate of Adam."""
    width: int = 256
    """Channels of the network."""
    blocks: int = 8
    """ConvNeXt blocks of the network."""

    def check(self) -> None:
        super().check()
        self.require("1 or more", lambda v: v >= 1, "width", "blocks")
        self.require("0 or more", lambda v: v is None or v >= 0, "adversarial_from")
        self.require("above 0", lambda v: v > 0, "learning_rate")
        self.require("between 0 and 1", lambda v: 0 <= v <= 1, "degraded_share")
        self.require("between 0 and 0.8", lambda v: 0 <= v <= 0.8, "holdout_share")
        spec = self.spec
        if spec.kind != "log_mel" or spec.scaling != "ln" or spec.power != 1 or spec.convention != "librosa":
            raise UserError(
                f"--features {self.features}: a vocoder is trained on logarithms of mel magnitudes; use flow"
            )
        shortest = 8 * spec.hop_length / spec.sr
        self.require(
            f"between {shortest:.2f} and {spec.duration:g}", lambda v: shortest <= v <= spec.duration, "crop_seconds"
        )
        for folder in self.extra_dir:
            if not folder.is_dir():
                raise UserError(f"--extra-dir {folder}: no such folder; give one with sounds")

    @property
    def spec(self) -> FeatureSpec:
        """The spec of --features."""
        return preset(self.features, flag="--features")
