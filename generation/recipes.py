"""The generators' options and their recipes: a recipe names only what it changes."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

from shared.cli import CommonOptions
from shared.errors import UserError
from shared.features import FeatureSpec, preset


@dataclasses.dataclass(kw_only=True)
class GeneratorOptions(CommonOptions):
    """What every generator's entry understands."""

    epochs: int = 100
    """Passes over the clips; a finished run goes on when this grows."""
    batch_size: int = 16
    """Clips a step."""
    features: str = "cgan"
    """What is generated: a preset of shared/features.py (cgan, linear, amplitude, digits, waveform)."""
    sr: int | None = None
    """Sampling rate in Hz the clips are resampled to; None is the features' own."""
    segment_seconds: float | None = None
    """Split every clip into equal parts of so many seconds; None takes one of the features' own length."""
    conditional: bool = True
    """Learn the classes apart; otherwise all clips are one class."""
    latent: int = 100
    """Dimensions of the noise."""
    learning_rate: float = 2e-4
    """Adam's step size."""
    sample_every: int = 1
    """Epochs between wavs and figures."""
    vocoder: str = "auto"
    """What turns them into sound: auto (by the features), griffin-lim, hifigan, ..."""
    hifigan_path: Path | None = None
    """Local HiFi-GAN for --vocoder hifigan: a clone, a checkpoint, or a folder of config.json and weights."""
    griffin_lim_iterations: int = 64
    """Phase iterations of Griffin-Lim."""

    def check(self) -> None:
        super().check()
        self.require("1 or more", lambda v: v >= 1, "latent", "sample_every", "griffin_lim_iterations")
        self.require("above 0", lambda v: v > 0, "learning_rate")
        self.require("at least 1000", lambda v: v is None or v >= 1000, "sr")
        self.require("above 0", lambda v: v is None or v > 0, "segment_seconds")
        preset(self.features, flag="--features")

    @property
    def spec(self) -> FeatureSpec:
        """--features with --sr and --segment-seconds in place of its own."""
        spec = preset(self.features)
        return dataclasses.replace(spec, sr=self.sr or spec.sr, duration=self.segment_seconds or spec.duration)


@dataclasses.dataclass(kw_only=True)
class CganOptions(GeneratorOptions):
    """Train a conditional GAN on spectrograms of labelled sounds; listen to it after every epoch."""

    net: Literal["dcgan", "linear"] = "dcgan"
    """Strided convolutions on both sides; or dense layers and few convolutions against a dense discriminator."""
    bands: int | None = None
    """Mel bands or STFT bins generated; None is the features' own."""
    frames: int | None = None
    """Frames generated; None is the features' own. Fewer than a clip has shorten it."""
    weight_decay: float = 0.0
    """L2 penalty of both Adams (betas 0.5, 0.999)."""
    spectral_norm: bool = False
    """Normalise the discriminator's weights by their largest singular value."""
    scaling: Literal["dataset", "clip", "none"] = "dataset"
    """Reals to [-1, 1] by the data's extremes, by each clip's own, or as they are."""
    output: Literal["tanh", "relu"] = "tanh"
    """The generator's last activation: tanh goes with [-1, 1], relu with spectrograms as they are."""
    masking: bool = True
    """Mask a random band of frequencies and of frames of each real clip with silence."""
    frequency_mask: int = 15
    """Widest frequency mask, in bands."""
    time_mask: int = 35
    """Widest time mask, in frames."""

    def check(self) -> None:
        super().check()
        self.require("0 or more", lambda v: v >= 0, "frequency_mask", "time_mask", "weight_decay")
        self.require("1 or more", lambda v: v is None or v >= 1, "bands", "frames")
        if (self.output == "relu") != (self.scaling == "none"):
            raise UserError(
                f"--output {self.output}: does not reach --scaling {self.scaling}; tanh goes with dataset or "
                "clip, relu with none"
            )
        if len(self.spec.shape) != 2 or self.spec.kind == "mfcc":
            raise UserError(
                f"--features {self.features}: this GAN generates spectrograms; take cgan, linear or amplitude"
            )

    @property
    def spec(self) -> FeatureSpec:
        spec = super().spec
        if self.bands:
            spec = dataclasses.replace(spec, **{"n_mels" if spec.kind == "log_mel" else "bins": self.bands})
        if self.frames:
            longest = self.frames * spec.hop_length / spec.sr
            spec = dataclasses.replace(spec, frames=self.frames, duration=min(spec.duration, longest - 1 / spec.sr))
        return spec


CGAN_RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "linear": {
        "features": "linear",
        "net": "linear",
        "segment_seconds": 14.5,
        "conditional": False,
        "latent": 1024,
        "batch_size": 10,
        "weight_decay": 1e-5,
        "masking": False,
    },
}
