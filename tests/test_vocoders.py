"""Every vocoder returns the clip that went in: its spectrogram, its level, its length; and refuses what it cannot."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from generation.vocoders import make_vocoder
from shared.audio import load_audio
from shared.errors import UserError
from shared.features import PRESETS, extract, log_mel, mel_filterbank
from shared.torchaudio_compat import InverseMelScale

SPEC = PRESETS["cgan"]
VOCODERS = ["griffin-lim"]  # hifigan needs trained weights: tests/test_hifigan.py


def round_trip(name: str, path: Path) -> tuple[float, float, np.ndarray]:
    """Mean absolute log-mel error in nats, level change in dB, and the waveform, through cache array and vocoder."""
    S = extract(path, SPEC)
    y = make_vocoder(name, SPEC)(torch.from_numpy(S)[None])[0].numpy()
    original = load_audio(path, sr=SPEC.sr, duration=SPEC.duration)
    error = np.abs(log_mel(y, SPEC) - S)[:, : SPEC.clip_frames].mean()
    return float(error), 10 * np.log10((y**2).mean() / (original**2).mean()), y


@pytest.mark.parametrize("name", VOCODERS)
def test_round_trip(name: str, sounds: Path) -> None:
    for path in sorted(sounds.glob("train/train/*/*"))[::8]:
        error, level, y = round_trip(name, path)
        assert error < 0.1 and abs(level) < 3, path
        assert y.shape == (88200,) and np.isfinite(y).all()
        assert abs(y[0]) < 1e-3 and abs(y[-1]) < 1e-3  # no click at the ends


@pytest.mark.parametrize("name", VOCODERS)
def test_round_trip_of_real_clips(name: str, real_data: Path) -> None:
    paths = sorted((real_data / "frequency-quest" / "train" / "train").glob("*/*.flac"))[::100]
    errors, levels, _ = zip(*(round_trip(name, path) for path in paths), strict=True)
    assert np.mean(errors) < 0.03 and np.abs(levels).max() < 3


@pytest.mark.parametrize("name", VOCODERS)
def test_noise_in_a_spectrogram_is_heard(name: str, sounds: Path) -> None:
    """By order: the further from a real spectrogram, the further is its sound's."""
    S = torch.from_numpy(extract(next(sounds.glob("train/train/siren/*")), SPEC))[None]
    vocoder, noise = make_vocoder(name, SPEC), torch.rand(S.shape, generator=torch.Generator().manual_seed(0))
    errors = []
    for level in (0.0, 0.5, 2.0):
        y = vocoder(S + level * noise)[0].numpy()
        errors.append(np.abs(log_mel(y, SPEC) - S[0].numpy())[:, : SPEC.clip_frames].mean())
    assert errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize("name", VOCODERS)
def test_batches_repeat_and_random_numbers_are_left_alone(name: str, sounds: Path) -> None:
    S = torch.from_numpy(np.stack([extract(p, SPEC) for p in sorted(sounds.glob("train/train/*/*"))[:2]]))
    vocoder, before = make_vocoder(name, SPEC), torch.get_rng_state()
    first, second = vocoder(S), vocoder(S)
    assert torch.equal(first, second) and torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", VOCODERS)
def test_another_spec_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="db"):
        make_vocoder(name, PRESETS["classifier"])
    with pytest.raises(UserError, match=r"\(1, 80, 512\)"):
        make_vocoder(name, SPEC)(torch.zeros(1, 80, 512))
    with pytest.raises(UserError, match="griffin"):
        make_vocoder("grifin-lim", SPEC)


def test_the_pseudo_inverse_is_torchaudios_answer(sounds: Path) -> None:
    """One matrix product gives what InverseMelScale(driver="gelsd") solves for, padding included in neither."""
    S = torch.from_numpy(extract(next(sounds.glob("train/train/drilling/*")), SPEC))[None]
    slow = InverseMelScale(
        n_stft=SPEC.n_fft // 2 + 1,
        n_mels=SPEC.n_mels,
        sample_rate=SPEC.sr,
        norm="slaney",
        mel_scale="slaney",
        driver="gelsd",
    )
    np.testing.assert_allclose(slow.fb.T, mel_filterbank(SPEC), atol=1e-6)
    expected = slow(torch.expm1(S[..., :40])).sqrt()
    ours = make_vocoder("griffin-lim", SPEC).magnitude(S)[..., :40]
    assert (ours - expected).abs().max() < 1e-3 * expected.max()


def test_amplitude_mels_are_inverted_too(sounds: Path) -> None:
    spec = dataclasses.replace(SPEC, power=1.0, frames=None)
    path = next(sounds.glob("train/train/siren/*"))
    y = make_vocoder("griffin-lim", spec)(torch.from_numpy(extract(path, spec))[None])[0].numpy()
    assert np.abs(log_mel(y, spec) - extract(path, spec)).mean() < 0.1
