"""FeatureSpec: how a sound becomes a spectrogram, in librosa's names and conventions, and its inverse scalings.

The transforms are librosa's definitions computed with scipy's real FFT and a sparse mel filterbank: the values
agree within 0.01 dB (tests/test_features.py) at less than half of librosa's time.
"""

import dataclasses
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import scipy.fft
import scipy.sparse

from shared.audio import fix_length, load_audio
from shared.errors import UserError

TOP_DB = 80.0  # dynamic range kept by power_to_db, in dB
AMIN = 1e-10  # smallest power told from silence, librosa's default


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """A recipe from a clip to an array; every field is part of the cache's key.

    Attributes:
        kind: "log_mel" (n_mels, frames); "mfcc" (n_mfcc, frames); "stft" magnitudes (bins, frames);
            "amplitude_phase" (2, bins, frames), the phase in half turns, [-1, 1]; "waveform" (samples,).
        sr: sampling rate in Hz the clip is resampled to.
        duration: seconds; a longer clip is cut, a shorter one padded with zeros.
        n_fft: FFT and Hann window length in samples.
        hop_length: samples between frames.
        n_mels: mel bands.
        fmin: lowest frequency in Hz.
        fmax: highest frequency in Hz; None is sr / 2.
        power: exponent of the magnitude, 2 for power, 1 for amplitude.
        convention: "librosa" pads the ends with zeros and has Slaney's mel scale and norm; "torchaudio" is the
            defaults of torchaudio.transforms.MelSpectrogram: reflected ends, HTK mel scale, no norm.
        n_mfcc: cepstral coefficients, of decibels relative to full scale.
        bins: the lowest STFT bins kept; None keeps all 1 + n_fft // 2.
        scaling: "db" is 10 log10 of the power relative to the clip's maximum, in [-80, 0]; "unit" the same in [-1, 1];
            "log1p" is ln(1 + value). Decibels and unit lose the clip's level.
        frames: frames kept (cut or zero-padded); None keeps the clip's own 1 + N // hop_length.
    """

    kind: Literal["log_mel", "mfcc", "stft", "amplitude_phase", "waveform"] = "log_mel"
    sr: int = 22050
    duration: float = 4.0
    n_fft: int = 2048
    hop_length: int = 512
    n_mels: int = 128
    fmin: float = 0.0
    fmax: float | None = None
    power: float = 2.0
    convention: Literal["librosa", "torchaudio"] = "librosa"
    scaling: Literal["db", "unit", "log1p"] = "db"
    frames: int | None = None
    n_mfcc: int = 40
    bins: int | None = None

    @property
    def n_samples(self) -> int:
        return round(self.sr * self.duration)

    @property
    def clip_frames(self) -> int:
        """Frames that hold the clip itself; what ``frames`` has beyond them is padding."""
        return 1 + self.n_samples // self.hop_length

    @property
    def shape(self) -> tuple[int, ...]:
        if self.kind == "waveform":
            return (self.n_samples,)
        bins = self.bins or 1 + self.n_fft // 2
        heights = {"log_mel": (self.n_mels,), "mfcc": (self.n_mfcc,), "stft": (bins,), "amplitude_phase": (2, bins)}
        return *heights[self.kind], self.frames or self.clip_frames


PRESETS: dict[str, FeatureSpec] = {
    "classifier": FeatureSpec(),
    "strong": FeatureSpec(n_fft=1024, n_mels=64),
    "torchaudio": FeatureSpec(n_fft=1024, n_mels=64, convention="torchaudio"),
    "cgan": FeatureSpec(n_fft=1024, hop_length=256, scaling="log1p", frames=512),
    "mfcc": FeatureSpec(kind="mfcc"),
    "linear": FeatureSpec(kind="stft", sr=3150, duration=14.5, n_fft=2048, hop_length=256, power=1.0, scaling="log1p"),
    "digits": FeatureSpec(
        kind="amplitude_phase", sr=16000, duration=1.0, n_fft=512, hop_length=128, bins=128, scaling="unit", frames=128
    ),
    "amplitude": FeatureSpec(
        kind="stft", sr=16000, duration=1.0, n_fft=512, hop_length=128, bins=128, scaling="unit", frames=128
    ),
    "waveform": FeatureSpec(kind="waveform", sr=3150, duration=14.5),
}


def preset(name: str, *, flag: str = "--preset") -> FeatureSpec:
    """The FeatureSpec of that name; ``flag`` is the option it was asked for by."""
    if name not in PRESETS:
        raise UserError(f"{flag} {name}: unknown; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


@lru_cache(maxsize=8)
def mel_filterbank(spec: FeatureSpec) -> np.ndarray:
    """librosa.filters.mel of the spec: float32 (M, F)."""
    import librosa  # imported here: half a second that only the feature extraction needs

    htk = spec.convention == "torchaudio"
    return librosa.filters.mel(
        sr=spec.sr,
        n_fft=spec.n_fft,
        n_mels=spec.n_mels,
        fmin=spec.fmin,
        fmax=spec.fmax,
        htk=htk,
        norm=None if htk else "slaney",
    )


@lru_cache(maxsize=8)
def _sparse_filterbank(spec: FeatureSpec) -> scipy.sparse.csr_matrix:
    return scipy.sparse.csr_matrix(mel_filterbank(spec))


@lru_cache(maxsize=8)
def hann(n: int) -> np.ndarray:
    """Periodic Hann window, float32 (n,)."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)).astype(np.float32)


def stft(
    y: np.ndarray, *, n_fft: int, hop_length: int, pad_mode: Literal["constant", "reflect"] = "constant"
) -> np.ndarray:
    """STFT of y (N,), centered and padded as librosa.stft: complex64 (F, T)."""
    padded = np.pad(y.astype(np.float32, copy=False), n_fft // 2, mode=pad_mode)
    windows = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop_length]
    return scipy.fft.rfft(windows * hann(n_fft), axis=1).T


def mel_spectrogram(y: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """librosa.feature.melspectrogram of y (N,): float32 (M, T), T = 1 + N // hop_length."""
    pad_mode = "reflect" if spec.convention == "torchaudio" else "constant"
    S = np.abs(stft(y, n_fft=spec.n_fft, hop_length=spec.hop_length, pad_mode=pad_mode))
    return _sparse_filterbank(spec) @ (S**2 if spec.power == 2 else S**spec.power)


def power_to_db(S: np.ndarray) -> np.ndarray:
    """librosa.power_to_db(S, ref=np.max) of S (M, T), in [-80, 0] dB; but silence is -80 dB, not librosa's 0 dB."""
    ref = S.max()
    if ref <= AMIN:
        return np.full_like(S, -TOP_DB)
    return np.maximum(10.0 * np.log10(np.maximum(S, AMIN) / ref), -TOP_DB)


def scale(S: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """Powers, or with "log1p" anything from 0 up, in the spec's scaling and its number of frames."""
    S = fix_length(S, size=spec.shape[-1])  # padding is silence, whatever the scaling
    if spec.scaling == "log1p":
        return np.log1p(S)
    return power_to_db(S) if spec.scaling == "db" else power_to_db(S) / np.float32(TOP_DB / 2) + 1


def log_mel(y: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """The scaled mel spectrogram of y (N,): float32 ``spec.shape``."""
    return scale(mel_spectrogram(y, spec), spec)


def mfcc(y: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """librosa.feature.mfcc of y (N,): float32 ``spec.shape``."""
    S = mel_spectrogram(y, spec)
    db = 10.0 * np.log10(np.maximum(S, AMIN))
    cepstrum = scipy.fft.dct(np.maximum(db, db.max() - TOP_DB), axis=0, norm="ortho")[: spec.n_mfcc]
    return fix_length(cepstrum, size=spec.shape[-1])


def amplitude(y: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """The scaled STFT magnitudes of y (N,): float32 ``spec.shape``."""
    S = np.abs(stft(y, n_fft=spec.n_fft, hop_length=spec.hop_length)[: spec.bins])
    return scale(S**spec.power, spec)


def amplitude_phase(y: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """The scaled STFT magnitudes of y (N,) and their phase in half turns, 0 in the padding: float32 ``spec.shape``."""
    S = stft(y, n_fft=spec.n_fft, hop_length=spec.hop_length)[: spec.bins]
    phase = fix_length(np.angle(S) / np.float32(np.pi), size=spec.shape[-1])
    return np.stack([scale(np.abs(S) ** spec.power, spec), phase])


def waveform(y: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """y (N,) itself."""
    return y


TRANSFORMS = {
    "log_mel": log_mel,
    "mfcc": mfcc,
    "stft": amplitude,
    "amplitude_phase": amplitude_phase,
    "waveform": waveform,
}


def extract(path: Path | str, spec: FeatureSpec, *, offset: float = 0.0) -> np.ndarray:
    """One file's feature from ``offset`` seconds on: float32 ``spec.shape``.

    Raises:
        AudioError: the file cannot be decoded (see shared.audio.load_audio).
    """
    y = load_audio(path, sr=spec.sr, duration=spec.duration, offset=offset)
    return TRANSFORMS[spec.kind](y, spec)
