"""Every preset's arrays equal librosa's within 0.01 dB, on every kind of file; silence is -80 dB."""

import dataclasses
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import UserError
from shared.features.spec import PRESETS, FeatureSpec, preset
from shared.features.transforms import extract, extract_parts, log_mel


def librosas(path: Path, spec: FeatureSpec) -> np.ndarray:
    """The same feature computed with librosa only, as in the notebooks."""
    y, _ = librosa.load(path, sr=spec.sr)
    y = librosa.util.fix_length(y, size=spec.n_samples)
    if spec.kind == "waveform":
        return y
    if spec.kind in ("stft", "amplitude_phase"):
        D = librosa.stft(y, n_fft=spec.n_fft, hop_length=spec.hop_length)[: spec.bins]
        S = librosa.util.fix_length(np.abs(D) ** spec.power, size=spec.shape[-1], axis=1)
        scaled = librosa.power_to_db(S, ref=np.max) / 40 + 1 if spec.scaling == "unit" else np.log1p(S)
        phase = librosa.util.fix_length(np.angle(D) / np.pi, size=spec.shape[-1], axis=1)
        return scaled if spec.kind == "stft" else np.stack([scaled, phase])
    S = librosa.feature.melspectrogram(
        y=y,
        sr=spec.sr,
        n_fft=spec.n_fft,
        hop_length=spec.hop_length,
        n_mels=spec.n_mels,
        fmin=spec.fmin,
        fmax=spec.fmax,
        power=spec.power,
        **({"htk": True, "norm": None, "pad_mode": "reflect"} if spec.convention == "torchaudio" else {}),
    )
    if spec.kind == "mfcc":
        return librosa.feature.mfcc(S=librosa.power_to_db(S), n_mfcc=spec.n_mfcc)
    if spec.scaling == "db":
        scaled = librosa.power_to_db(S, ref=np.max)
    else:
        scaled = np.log1p(S) if spec.scaling == "log1p" else np.log(np.maximum(S, 1e-5))
    return librosa.util.fix_length(scaled, size=spec.shape[1], axis=1)


def assert_same(path: Path, spec: FeatureSpec) -> None:
    ours, theirs = extract(path, spec), librosas(path, spec)
    assert ours.dtype == np.float32 and ours.shape == spec.shape
    difference = np.abs(ours - theirs)
    if spec.kind == "amplitude_phase":  # the phase is circular, and arbitrary in silence
        difference[1] = np.minimum(difference[1], 2 - difference[1]) * (theirs[0] > -0.9)
    assert difference.max() < 0.01


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
@pytest.mark.parametrize("sr", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_presets_equal_librosa(tmp_path: Path, name: str, suffix: str, sr: int, channels: int) -> None:
    rng = np.random.default_rng(sr + channels)
    t = np.arange(int(3.3 * sr)) / sr
    sweep = np.sin(2 * np.pi * (200 * t + 300 * t**2))
    y = np.stack([0.4 * sweep * np.exp(-c * t) + 0.02 * rng.standard_normal(len(t)) for c in range(channels)], axis=1)
    path = tmp_path / f"clip.{suffix}"
    sf.write(path, y, sr)
    assert_same(path, PRESETS[name])


@pytest.mark.parametrize("name", PRESETS)
def test_real_clips_equal_librosa(real_data: Path, name: str) -> None:
    for path in sorted((real_data / "frequency-quest" / "train" / "train").glob("*/*.flac"))[::97]:
        assert_same(path, PRESETS[name])


def test_other_settings_equal_librosa(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    sf.write(path, np.random.default_rng(0).uniform(-1, 1, 30000), 16000)
    for change in ({"power": 1.0, "scaling": "log1p"}, {"fmin": 50.0, "fmax": 7000.0, "n_mels": 40}, {"sr": 8000}):
        assert_same(path, dataclasses.replace(PRESETS["classifier"], **change))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 100_000), level=st.floats(0, 1))
def test_every_sound_gives_finite_values_in_range(seed: int, n: int, level: float) -> None:
    y = np.zeros(88200, dtype=np.float32)
    y[: min(n, 88200)] = level * np.random.default_rng(seed).uniform(-1, 1, min(n, 88200))
    db, log1p = (log_mel(y, PRESETS[name]) for name in ("classifier", "cgan"))
    assert np.isfinite(db).all() and db.min() >= -80 and db.max() <= 1e-4
    assert np.isfinite(log1p).all() and log1p.min() >= 0
    assert not log1p[:, PRESETS["cgan"].clip_frames :].any()


def test_silence_is_the_minimum_not_the_maximum() -> None:
    assert (log_mel(np.zeros(88200, dtype=np.float32), PRESETS["classifier"]) == -80).all()


def test_an_unknown_preset_is_named_in_the_error() -> None:
    with pytest.raises(UserError, match=r"cgn.*classifier, strong, .*digits"):
        preset("cgn")


def test_the_torchaudio_convention_equals_torchaudio(tmp_path: Path) -> None:
    import torch

    from generation.vocoders.torchaudio import transforms

    spec = PRESETS["torchaudio"]
    y = 0.3 * np.random.default_rng(0).standard_normal(spec.n_samples).astype(np.float32)
    mel = transforms.MelSpectrogram(spec.sr, n_fft=spec.n_fft, hop_length=spec.hop_length, n_mels=spec.n_mels)
    theirs = 10 * torch.log10(mel(torch.from_numpy(y))).numpy()
    theirs = np.maximum(theirs - theirs.max(), -80.0)
    assert np.abs(log_mel(y, spec) - theirs).max() < 0.01


def test_the_parts_of_a_clip_make_up_the_clip(tmp_path: Path) -> None:
    path = tmp_path / "music.flac"
    sf.write(path, np.random.default_rng(0).uniform(-1, 1, 44100 * 3), 44100)
    whole = FeatureSpec(kind="waveform", sr=22050, duration=3.0)
    part = dataclasses.replace(whole, duration=1.0)
    parts = np.concatenate(list(extract_parts(path, part, [0.0, 1.0, 2.0])))
    np.testing.assert_allclose(parts, extract(path, whole), atol=1e-4)
