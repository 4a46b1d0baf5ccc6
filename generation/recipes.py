"""The generators' options and their recipes: a recipe names only what it changes."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

from shared.errors import UserError
from shared.features.spec import FeatureSpec, preset
from shared.runs.options import CommonOptions, Precision

VocoderName = Literal["auto", "griffin-lim", "torchaudio", "hifigan", "istft", "waveform", "mfcc"]


@dataclasses.dataclass(kw_only=True)
class VocoderOptions:
    """The vocoder, which turns generated features into sound."""

    vocoder: VocoderName = "auto"
    """What turns features into sound; auto chooses by them, torchaudio is InverseMelScale and GriffinLim."""
    hifigan_path: Path | None = None
    """hifigan: a checkpoint or a folder with one, NVIDIA's or jik876's; None downloads NVIDIA's published model."""
    griffin_lim_iterations: int = 6
    """Phase iterations of --vocoder griffin-lim and mfcc; torchaudio has its own 32."""

    @property
    def vocoder_details(self) -> dict[str, Any]:
        """What ``make_vocoder`` takes beside a name and a spec."""
        return {"iterations": self.griffin_lim_iterations, "hifigan_path": self.hifigan_path}


@dataclasses.dataclass(kw_only=True)
class GeneratorOptions(VocoderOptions, CommonOptions):
    """What every generator's entry understands."""

    epochs: int = 100
    """Passes over the clips; a finished run goes on when this grows."""
    batch_size: int = 16
    """Clips a step."""
    features: str = "cgan"
    """What is generated: a preset of shared/features/spec.py (cgan, linear, amplitude, digits, waveform)."""
    sr: int | None = None
    """Sampling rate in Hz the clips are resampled to; None is the features' own."""
    segment_seconds: float | None = None
    """Split every clip into equal parts of so many seconds; None takes one of the features' own length."""
    holdout_share: float = 0.0
    """Share of the recordings that are not trained on, so that samples can be compared with held-out sounds."""
    conditional: bool = True
    """Learn the classes apart; otherwise all clips are one class."""
    latent: int = 100
    """Dimensions of the noise."""
    learning_rate: float = 2e-4
    """Adam's step size."""
    sample_every: int = 1
    """Epochs between wavs and figures."""

    def check(self) -> None:
        super().check()
        self.require("1 or more", lambda v: v >= 1, "latent", "sample_every", "griffin_lim_iterations")
        self.require("above 0", lambda v: v is None or v > 0, "learning_rate", "segment_seconds")
        self.require("between 0 and 0.8", lambda v: 0 <= v <= 0.8, "holdout_share")
        self.require("at least 1000", lambda v: v is None or v >= 1000, "sr")
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
            raise UserError(f"--output {self.output} --scaling {self.scaling}: tanh needs dataset or clip, relu none")
        if len(self.spec.shape) != 2 or self.spec.kind == "mfcc":
            raise UserError(f"--features {self.features}: this GAN makes spectrograms; take cgan, linear or amplitude")

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """What a WGAN-GP makes, and what it is given beside the label.

    Attributes:
        features: the preset it is trained on.
        channels: generated: amplitude, or amplitude and phase.
        phase: a phase image of the class: not given, beside the generator's other inputs, or through a branch of its
            own.
        widening: of the critic.
    """

    features: str = "digits"
    channels: int = 1
    phase: Literal["none", "input", "branch"] = "none"
    widening: int = 1


EXPERIMENTS = {
    1: Experiment(features="amplitude"),
    2: Experiment(channels=2),
    3: Experiment(phase="input"),
    4: Experiment(phase="branch", widening=2),
}


@dataclasses.dataclass(kw_only=True)
class WganOptions(GeneratorOptions):
    """Train a conditional WGAN-GP on amplitude and phase images of labelled sounds."""

    experiment: Literal[1, 2, 3, 4] = 1
    """Generate 1: amplitude; 2: amplitude and phase; 3: amplitude to a given phase; 4: as 3, regularised."""
    features: str = "auto"
    """What it is trained on: auto, or what the experiment needs, amplitude for 1 and digits for 2, 3 and 4."""
    net: Literal["dense", "conv"] = "dense"
    """Dense layers, or strided convolutions on both sides."""
    precision: Precision = "auto"
    """Arithmetic of the network: float32, which auto is; a gradient penalty needs it."""
    epochs: int = 150
    batch_size: int = 64
    critic_steps: int = 5
    """Updates of the critic to one of the generator."""
    penalty: float = 10.0
    """Weight of the gradient penalty."""
    dropout: float = 0.4
    """Of the critic."""

    def check(self) -> None:
        needed = EXPERIMENTS[self.experiment].features
        if self.features not in ("auto", needed):
            raise UserError(f"--features {self.features}: --experiment {self.experiment} needs {needed}; leave it out")
        self.features = needed
        super().check()
        self.require("1 or more", lambda v: v >= 1, "critic_steps")
        self.require("0 or more", lambda v: v >= 0, "penalty")
        self.require("at least 0 and below 1", lambda v: 0 <= v < 1, "dropout")
        if self.precision == "bfloat16":
            raise UserError("--precision bfloat16: a gradient penalty needs float32; take float32 or auto")
        spec = self.spec
        if spec.clip_frames > spec.frames:
            longest = (spec.frames * spec.hop_length - 1) / spec.sr
            raise UserError(
                f"--segment-seconds {spec.duration}: {spec.frames} frames at {spec.sr} Hz hold {longest:.4g}; "
                "give no more"
            )


@dataclasses.dataclass(kw_only=True)
class VaeOptions(GeneratorOptions):
    """Train a variational autoencoder on waveforms, or on spectrograms of labelled sounds."""

    model: Literal["conv1d", "convpool", "cvae"] = "conv1d"
    """Waveforms: strided convolutions, or convolutions with pooling; cvae: spectrograms under their label."""
    kl_weight: float = 1.0
    """Weight of the KL divergence beside the squared error, which is summed over a clip's values."""

    def check(self) -> None:
        super().check()
        self.require("0 or more", lambda v: v >= 0, "kl_weight")
        if self.model == "cvae" and (len(self.spec.shape) != 2 or self.spec.kind == "mfcc"):
            raise UserError(f"--features {self.features}: --model cvae takes spectrograms; amplitude, linear or cgan")
        if self.model != "cvae" and self.spec.kind != "waveform":
            raise UserError(f"--features {self.features}: --model {self.model} takes waveforms alone")
        if self.model != "cvae" and self.conditional:
            raise UserError(f"--conditional: --model {self.model} knows no labels; leave it out, or take --model cvae")


_WAVEFORMS = {
    "features": "waveform",
    "segment_seconds": 14.5,
    "conditional": False,
    "latent": 128,
    "batch_size": 8,
    "learning_rate": 1e-4,  # above it the KL leaps by powers of ten, and nothing is learned
    "sample_every": 10,
    "kl_weight": 0.01,  # music's power is so far below full scale that at 1 the best z says nothing
}
VAE_MODELS: dict[str, dict[str, Any]] = {
    "conv1d": {**_WAVEFORMS, "epochs": 200},
    "convpool": {**_WAVEFORMS, "epochs": 50},
    "cvae": {"features": "amplitude", "epochs": 50, "latent": 10, "learning_rate": 1e-4, "sample_every": 5},
}
