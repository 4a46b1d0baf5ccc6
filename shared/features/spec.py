"""FeatureSpec: the parameters of a spectrogram, with librosa's names and conventions, and the named presets."""

import dataclasses
import math
from pathlib import Path
from typing import Any, Literal

from shared.errors import UserError

TOP_DB = 80.0  # dynamic range of power_to_db in dB, librosa's default
AMIN = 1e-10  # smaller powers count as silence, librosa's default
FLOOR = 1e-5  # smaller values count as silence in the scaling "ln", as in Tacotron 2, HiFi-GAN and Vocos


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backbone:
    """The model whose embeddings are the features; shared/features/backbone.py runs it.

    Attributes:
        content: hash of the model's file.
        size: D, the values of an embedding.
        path: where the file is; two specs that differ only here are equal.
    """

    content: str
    size: int
    path: str = dataclasses.field(compare=False)

    @property
    def file(self) -> str:
        """The name of the file."""
        return Path(self.path).name


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """How a clip is turned into an array; every field is part of the cache's key, except the place of a backbone.

    Attributes:
        kind: "log_mel" (n_mels, frames); "mfcc" (n_mfcc, frames); "stft" magnitudes (bins, frames);
            "amplitude_phase" (2, bins, frames), with the phase divided by pi, in [-1, 1]; "waveform" (samples,);
            "embedding" (2 D, 1), the mean and the maximum of a backbone's embeddings over the clip; "joined"
            (bands, frames and more columns), several of these in one array (shared/features/joined.py).
        sr: sampling rate in Hz to which the clip is resampled.
        duration: length in seconds; a longer clip is cut, a shorter one padded with zeros.
        n_fft: FFT and Hann window length in samples.
        hop_length: samples between frames.
        n_mels: mel bands.
        fmin: lowest frequency in Hz.
        fmax: highest frequency in Hz; None is sr / 2.
        power: exponent of the magnitude, 2 for power, 1 for amplitude.
        convention: "librosa" uses zero padding, Slaney's mel scale and norm; "torchaudio" uses the defaults of
            torchaudio.transforms.MelSpectrogram: reflection padding, HTK mel scale, no norm.
        n_mfcc: number of cepstral coefficients; they are computed from decibels relative to full scale.
        bins: number of STFT bins kept, from the lowest up; None keeps all 1 + n_fft // 2.
        scaling: "db" is 10 log10 of the power relative to the clip's maximum, in [-80, 0]; "unit" maps these decibels
            to [-1, 1]; "log1p" is ln(1 + value); "ln" is ln(max(value, 1e-5)). "db" and "unit" discard the clip's
            level.
        frames: number of frames (cut or zero-padded); None keeps the clip's own 1 + N // hop_length.
        backbone: the model of kind "embedding".
        parts: the specs that kind "joined" consists of.
    """

    kind: Literal["log_mel", "mfcc", "stft", "amplitude_phase", "waveform", "embedding", "joined"] = "log_mel"
    sr: int = 22050
    duration: float = 4.0
    n_fft: int = 2048
    hop_length: int = 512
    n_mels: int = 128
    fmin: float = 0.0
    fmax: float | None = None
    power: float = 2.0
    convention: Literal["librosa", "torchaudio"] = "librosa"
    scaling: Literal["db", "unit", "log1p", "ln"] = "db"
    frames: int | None = None
    n_mfcc: int = 40
    bins: int | None = None
    backbone: Backbone | None = None
    parts: "tuple[FeatureSpec, ...]" = ()

    def __post_init__(self) -> None:
        if isinstance(self.backbone, dict):  # from a run's config.json
            object.__setattr__(self, "backbone", Backbone(**self.backbone))
        parts = tuple(FeatureSpec(**part) if isinstance(part, dict) else part for part in self.parts)
        object.__setattr__(self, "parts", parts)

    @property
    def key(self) -> dict[str, Any]:
        """The fields in the cache's key."""
        models = {"backbone": self.backbone and self.backbone.content, "parts": [part.key for part in self.parts]}
        fields = dataclasses.asdict(self) | models
        return {name: value for name, value in fields.items() if name not in models or value}

    @property
    def each(self) -> "tuple[FeatureSpec, ...]":
        """The parts, or the spec itself if it has none."""
        return self.parts or (self,)

    @property
    def used_backbone(self) -> Backbone | None:
        """The backbone of the spec or of one of its parts."""
        return next((part.backbone for part in self.each if part.backbone), None)

    def with_backbone_at(self, path: Path) -> "FeatureSpec":
        """The spec with another place of the backbone's file."""
        if self.parts:
            return dataclasses.replace(self, parts=tuple(part.with_backbone_at(path) for part in self.parts))
        return dataclasses.replace(self, backbone=self.backbone and dataclasses.replace(self.backbone, path=str(path)))

    @property
    def n_samples(self) -> int:
        return round(self.sr * self.duration)

    @property
    def clip_frames(self) -> int:
        """Frames of the clip itself; ``frames`` beyond this number are padding."""
        return 1 + self.n_samples // self.hop_length

    @property
    def silence(self) -> float:
        """The value of silence in this scaling."""
        return {"db": -TOP_DB, "unit": -1.0, "log1p": 0.0, "ln": math.log(FLOOR)}[self.scaling]

    @property
    def keeps_level(self) -> bool:
        """Whether the scaling keeps the clip's level, so that values and not only their ratios can be restored."""
        return self.scaling in ("log1p", "ln")

    @property
    def shape(self) -> tuple[int, ...]:
        if self.kind == "waveform":
            return (self.n_samples,)
        if self.kind == "embedding":
            return 2 * self.backbone.size, 1
        if self.kind == "joined":
            bands = self.parts[0].shape[0]
            return bands, sum(-(-math.prod(part.shape) // bands) for part in self.parts)
        bins = self.bins or 1 + self.n_fft // 2
        heights = {"log_mel": (self.n_mels,), "mfcc": (self.n_mfcc,), "stft": (bins,), "amplitude_phase": (2, bins)}
        return *heights[self.kind], self.frames or self.clip_frames


# one spoken word
_WORD = FeatureSpec(sr=16000, duration=1.0, n_fft=512, hop_length=128, bins=128, scaling="unit", frames=128)
PRESETS: dict[str, FeatureSpec] = {
    "classifier": FeatureSpec(),
    "strong": FeatureSpec(n_fft=1024, n_mels=64),
    "torchaudio": FeatureSpec(n_fft=1024, n_mels=64, convention="torchaudio"),
    "cgan": FeatureSpec(n_fft=1024, hop_length=256, convention="torchaudio", scaling="log1p", frames=512),
    "flow": FeatureSpec(n_fft=1024, hop_length=256, n_mels=80, power=1.0, scaling="ln", frames=344),
    "mfcc": FeatureSpec(kind="mfcc"),
    "linear": FeatureSpec(kind="stft", sr=3150, duration=14.5, n_fft=2048, hop_length=256, power=1.0, scaling="log1p"),
    "digits": dataclasses.replace(_WORD, kind="amplitude_phase"),
    "amplitude": dataclasses.replace(_WORD, kind="stft"),
    "waveform": FeatureSpec(kind="waveform", sr=3150, duration=14.5),
}


def preset(name: str, *, flag: str = "--preset") -> FeatureSpec:
    """The FeatureSpec with this name; ``flag`` is the option to name in the error."""
    if name not in PRESETS:
        raise UserError(f"{flag} {name}: unknown; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
