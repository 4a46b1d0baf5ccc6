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
        kind: "log_mel" is the one transform so far; its array is (n_mels, frames).
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
        scaling: "db" is 10 log10 relative to the clip's maximum, in [-80, 0]; "log1p" is ln(1 + mel).
        frames: frames kept (cut or zero-padded); None keeps the clip's own 1 + N // hop_length.
    """

    kind: Literal["log_mel"] = "log_mel"
    sr: int = 22050
    duration: float = 4.0
    n_fft: int = 2048
    hop_length: int = 512
    n_mels: int = 128
    fmin: float = 0.0
    fmax: float | None = None
    power: float = 2.0
    convention: Literal["librosa", "torchaudio"] = "librosa"
    scaling: Literal["db", "log1p"] = "db"
    frames: int | None = None

    @property
    def n_samples(self) -> int:
        return round(self.sr * self.duration)

    @property
    def clip_frames(self) -> int:
        """Frames that hold the clip itself; what ``frames`` has beyond them is padding."""
        return 1 + self.n_samples // self.hop_length

    @property
    def shape(self) -> tuple[int, int]:
        return self.n_mels, self.frames or self.clip_frames


PRESETS: dict[str, FeatureSpec] = {
    "classifier": FeatureSpec(),
    "strong": FeatureSpec(n_fft=1024, n_mels=64),
    "torchaudio": FeatureSpec(n_fft=1024, n_mels=64, convention="torchaudio"),
    "cgan": FeatureSpec(n_fft=1024, hop_length=256, scaling="log1p", frames=512),
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


def magnitude(
    y: np.ndarray, *, n_fft: int, hop_length: int, pad_mode: Literal["constant", "reflect"] = "constant"
) -> np.ndarray:
    """|STFT| of y (N,), centered and padded as librosa.stft: float32 (F, T)."""
    padded = np.pad(y.astype(np.float32, copy=False), n_fft // 2, mode=pad_mode)
    windows = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop_length]
    return np.abs(scipy.fft.rfft(windows * hann(n_fft), axis=1)).T


def mel_spectrogram(y: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """librosa.feature.melspectrogram of y (N,): float32 (M, T), T = 1 + N // hop_length."""
    pad_mode = "reflect" if spec.convention == "torchaudio" else "constant"
    S = magnitude(y, n_fft=spec.n_fft, hop_length=spec.hop_length, pad_mode=pad_mode)
    return _sparse_filterbank(spec) @ (S**2 if spec.power == 2 else S**spec.power)


def power_to_db(S: np.ndarray) -> np.ndarray:
    """librosa.power_to_db(S, ref=np.max) of S (M, T), in [-80, 0] dB; but silence is -80 dB, not librosa's 0 dB."""
    ref = S.max()
    if ref <= AMIN:
        return np.full_like(S, -TOP_DB)
    return np.maximum(10.0 * np.log10(np.maximum(S, AMIN) / ref), -TOP_DB)


def log_mel(y: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """The scaled mel spectrogram of y (N,): float32 ``spec.shape``."""
    S = fix_length(mel_spectrogram(y, spec), size=spec.shape[1])  # padding is silence, whatever the scaling
    return power_to_db(S) if spec.scaling == "db" else np.log1p(S)


TRANSFORMS = {"log_mel": log_mel}


def extract(path: Path | str, spec: FeatureSpec) -> np.ndarray:
    """One file's feature: float32 ``spec.shape``.

    Raises:
        AudioError: the file cannot be decoded (see shared.audio.load_audio).
    """
    return TRANSFORMS[spec.kind](load_audio(path, sr=spec.sr, duration=spec.duration), spec)
