"""The generators' options and their recipes: a recipe names only what it changes."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

from shared.errors import UserError
from shared.features.spec import FeatureSpec, preset
from shared.runs.options import CommonOptions, Precision

VocoderName = Literal["auto", "griffin-lim", "torchaudio", "hifigan", "neural", "istft", "waveform", "mfcc"]


@dataclasses.dataclass(kw_only=True)
class VocoderOptions:
    """The vocoder, which turns generated features into sound."""

    vocoder: VocoderName = "auto"
    """Turns features into sound. auto chooses by the features; torchaudio uses InverseMelScale and GriffinLim."""
    hifigan_path: Path | None = None
    """HiFi-GAN checkpoint of NVIDIA or jik876, or a folder with one; None downloads NVIDIA's published model."""
    vocoder_dir: Path | None = None
    """Run of generation/train_vocoder.py for --vocoder neural."""
    griffin_lim_iterations: int = 6
    """Phase iterations of --vocoder griffin-lim and mfcc; torchaudio always runs 32."""

    @property
    def vocoder_details(self) -> dict[str, Any]:
        """The arguments of ``make_vocoder`` other than name and spec."""
        return {
            "iterations": self.griffin_lim_iterations,
            "hifigan_path": self.hifigan_path,
            "vocoder_dir": self.vocoder_dir,
        }


@dataclasses.dataclass(kw_only=True)
class GeneratorOptions(VocoderOptions, CommonOptions):
    """The options of every generator."""

    epochs: int = 100
    """Passes over the training clips; a larger number continues a finished run."""
    minutes: float | None = None
    """Train for about this many minutes instead of --epochs: the epochs that fit are worked out from a few steps."""
    batch_size: int = 16
    """Clips per training step."""
    features: str = "cgan"
    """Preset of the features to generate (shared/features/spec.py): cgan, linear, amplitude, digits or waveform."""
    sr: int | None = None
    """Sampling rate in Hz to which the clips are resampled; None keeps the preset's."""
    segment_seconds: float | None = None
    """Cut every clip into parts of this many seconds; None takes only its first part, of the preset's duration."""
    holdout_share: float = 0.0
    """Share of the recordings to hold out, so that samples can be compared with clips that were not trained on."""
    balance: float | None = None
    """Draw classes equally often, and within a class clips (0) or recordings (1); None takes every clip once."""
    conditional: bool = True
    """Condition the networks on the class; with --no-conditional all clips count as one class."""
    latent: int = 100
    """Dimensions of the noise vector."""
    learning_rate: float = 2e-4
    """Learning rate of Adam."""
    sample_every: int = 1
    """Epochs from one set of sounds and figures to the next."""

    def check(self) -> None:
        super().check()
        self.require("1 or more", lambda v: v >= 1, "latent", "sample_every", "griffin_lim_iterations")
        self.require("above 0", lambda v: v is None or v > 0, "learning_rate", "segment_seconds", "minutes")
        self.require("between 0 and 0.8", lambda v: 0 <= v <= 0.8, "holdout_share")
        self.require("between 0 and 1", lambda v: v is None or 0 <= v <= 1, "balance")
        self.require("at least 1000", lambda v: v is None or v >= 1000, "sr")
        preset(self.features, flag="--features")

    @property
    def spec(self) -> FeatureSpec:
        """The spec of --features, changed by --sr and --segment-seconds."""
        spec = preset(self.features)
        return dataclasses.replace(spec, sr=self.sr or spec.sr, duration=self.segment_seconds or spec.duration)


@dataclasses.dataclass(kw_only=True)
class CganOptions(GeneratorOptions):
    """Train a conditional GAN on spectrograms of labelled sounds."""

    recipe: str = "strong"
    """Named set of options: strong, plain, or linear (linear spectrograms without classes), or a file FILE.toml of
    options (docs/recipes.md); flags override it."""
    net: Literal["dcgan", "style", "linear"] = "dcgan"
    """dcgan: convolutions with batch norm; style: residual blocks with noise at every scale, scores of patches of three
    sizes; linear: a generator that starts with dense layers, a dense discriminator."""
    width: int = 24
    """Channels of --net style at its finest scale; the coarsest has eight times as many."""
    loss: Literal["bce", "hinge", "relativistic"] = "bce"
    """bce is the non-saturating loss; relativistic compares each fake with a real clip of its class."""
    penalty: float = 0.0
    """Weight of the discriminator's squared gradient on real (R1) and on fake clips (R2)."""
    penalty_every: int = 4
    """Steps from one gradient penalty to the next, whose weight is multiplied by this number."""
    augment: bool = False
    """Rotate, cut out and amplify real and fake spectrograms alike before the discriminator (DiffAugment)."""
    average: float = 0.0
    """Decay per step of the averaged generator, which makes the samples; 0 samples from the trained one."""
    momentum: float = 0.5
    """First beta of both Adam optimisers."""
    bands: int | None = None
    """Mel bands or STFT bins to generate; None keeps the preset's."""
    frames: int | None = None
    """Frames to generate; None keeps the preset's. Clips with more frames are cut."""
    weight_decay: float = 0.0
    """Weight decay (L2) of both Adam optimisers."""
    spectral_norm: bool = False
    """Divide the discriminator's weights by their largest singular value."""
    scaling: Literal["dataset", "clip", "bands", "none"] = "none"
    """Scale real spectrograms to [-1, 1] by the extremes of the data set or of each clip; bands standardises each band
    by the training clips; none leaves them unscaled."""
    output: Literal["tanh", "relu", "none"] = "relu"
    """Last activation of the generator: tanh for spectrograms in [-1, 1], relu for unscaled ones, none for bands."""
    masking: bool = True
    """Silence a random stripe of bands and one of frames in each real clip."""
    frequency_mask: int = 15
    """Greatest width of the stripe of bands."""
    time_mask: int = 35
    """Greatest width of the stripe of frames."""

    def check(self) -> None:
        super().check()
        self.require("0 or more", lambda v: v >= 0, "frequency_mask", "time_mask", "weight_decay", "penalty")
        self.require("1 or more", lambda v: v is None or v >= 1, "bands", "frames", "width", "penalty_every")
        self.require("at least 0 and below 1", lambda v: 0 <= v < 1, "average", "momentum")
        if self.scaling not in {"tanh": ("dataset", "clip"), "relu": ("none",), "none": ("bands",)}[self.output]:
            raise UserError(
                f"--output {self.output} --scaling {self.scaling}: use tanh with dataset or clip, relu with none, "
                "none with bands"
            )
        if self.net == "linear" and (self.penalty or self.augment):
            raise UserError("--net linear: has neither --penalty nor --augment; use --net dcgan or style")
        if len(self.spec.shape) != 2 or self.spec.kind == "mfcc":
            raise UserError(
                f"--features {self.features}: this GAN makes spectrograms; use cgan, flow, linear or amplitude"
            )
        if self.output == "relu" and self.spec.silence < 0:
            raise UserError(
                f"--features {self.features} --output relu: these features have negative values, which a ReLU never "
                "reaches; use --output tanh --scaling dataset"
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
    "strong": {
        "features": "flow",
        "net": "style",
        "scaling": "bands",
        "output": "none",
        "masking": False,  # the generator would learn the silent stripes
        "loss": "relativistic",
        "penalty": 1.0,
        "augment": True,
        "average": 0.999,
        "momentum": 0.0,  # as in R3GAN and StyleGAN
    },
    "linear": {
        "features": "linear",
        "net": "linear",
        "scaling": "dataset",
        "output": "tanh",
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
    """A variant of the WGAN-GP: what it generates, and whether a phase image conditions it beside the label.

    Attributes:
        features: preset of the training features.
        channels: number of generated channels: amplitude, or amplitude and phase.
        phase: how a real phase image of the class enters the generator: not at all, as another input, or through
            dense layers of its own.
        widening: factor on the critic's widths.
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
    """1 generates amplitude, 2 amplitude and phase, 3 amplitude for a given phase, 4 the same in larger networks."""
    features: str = "auto"
    """Preset to train on. auto takes what the experiment needs: amplitude for 1, digits for 2, 3 and 4."""
    net: Literal["dense", "conv"] = "dense"
    """Dense layers or strided convolutions, in both networks."""
    precision: Precision = "auto"
    """Arithmetic of the networks; auto is float32, which the gradient penalty needs."""
    epochs: int = 150
    batch_size: int = 64
    critic_steps: int = 5
    """Updates of the critic for each update of the generator."""
    penalty: float = 10.0
    """Weight of the gradient penalty."""
    dropout: float = 0.4
    """Dropout rate of the critic."""

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
            raise UserError("--precision bfloat16: a gradient penalty needs float32; use float32 or auto")
        spec = self.spec
        if spec.clip_frames > spec.frames:
            longest = (spec.frames * spec.hop_length - 1) / spec.sr
            raise UserError(
                f"--segment-seconds {spec.duration}: {spec.frames} frames at {spec.sr} Hz hold {longest:.4g} s; "
                "give at most that"
            )


@dataclasses.dataclass(kw_only=True)
class VaeOptions(GeneratorOptions):
    """Train a variational autoencoder on waveforms, or on spectrograms of labelled sounds."""

    model: Literal["conv1d", "convpool", "cvae"] = "conv1d"
    """conv1d: waveforms, strided convolutions; convpool: waveforms, pooling; cvae: spectrograms of labelled sounds."""
    kl_weight: float = 1.0
    """Weight of the KL divergence; the squared error, summed over a clip's values, has weight 1."""

    def check(self) -> None:
        super().check()
        self.require("0 or more", lambda v: v >= 0, "kl_weight")
        if self.model == "cvae" and (len(self.spec.shape) != 2 or self.spec.kind == "mfcc"):
            raise UserError(f"--features {self.features}: --model cvae needs amplitude, linear or cgan spectrograms")
        if self.model != "cvae" and self.spec.kind != "waveform":
            raise UserError(f"--features {self.features}: --model {self.model} needs waveforms; use waveform")
        if self.model != "cvae" and self.conditional:
            raise UserError(f"--conditional: --model {self.model} has no classes; leave it out, or use --model cvae")


_WAVEFORMS = {
    "features": "waveform",
    "segment_seconds": 14.5,
    "conditional": False,
    "latent": 128,
    "batch_size": 8,
    "learning_rate": 1e-4,  # a larger one makes the KL divergence jump by powers of ten, and training fails
    "sample_every": 10,
    "kl_weight": 0.01,  # music is so quiet that with weight 1 the KL divergence outweighs the error and z stays unused
}
VAE_MODELS: dict[str, dict[str, Any]] = {
    "conv1d": {**_WAVEFORMS, "epochs": 200},
    "convpool": {**_WAVEFORMS, "epochs": 50},
    "cvae": {"features": "amplitude", "epochs": 50, "latent": 10, "learning_rate": 1e-4, "sample_every": 5},
}
