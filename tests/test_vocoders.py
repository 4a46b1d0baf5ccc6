"""Every vocoder restores a clip's spectrogram, level and length, and refuses features that it cannot invert."""

import dataclasses
import typing
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch

from generation.recipes import VocoderName
from generation.registry import load
from generation.stft import Stft, griffin_lim
from generation.vocoders.griffin_lim import GriffinLimVocoder
from generation.vocoders.inverse_mel import InverseMel
from generation.vocoders.torchaudio import TorchaudioVocoder
from generation.vocoders.vocoder import AUTO, VOCODERS, make_vocoder
from shared.audio import load_audio
from shared.errors import UserError
from shared.features.spec import PRESETS
from shared.features.transforms import TRANSFORMS, extract, log_mel, mel_filterbank, stft

SPEC = PRESETS["cgan"]
SIZES = {"n_fft": SPEC.n_fft, "hop_length": SPEC.hop_length}
MEL_VOCODERS = ["griffin-lim", "torchaudio"]  # hifigan needs trained weights: tests/test_hifigan.py


def test_the_command_line_lists_every_vocoder() -> None:
    assert set(typing.get_args(VocoderName)) == {"auto", *VOCODERS} and set(AUTO.values()) < set(VOCODERS)
    assert all(isinstance(load(path), type) for path in VOCODERS.values())


def round_trip(name: str, path: Path) -> tuple[float, float, np.ndarray]:
    """Mean absolute log-mel error in nats, level change in dB, and the waveform of a vocoder."""
    S = extract(path, SPEC)
    y = make_vocoder(name, SPEC)(torch.from_numpy(S)[None])[0].numpy()
    original = load_audio(path, sr=SPEC.sr, duration=SPEC.duration)
    error = np.abs(log_mel(y, SPEC) - S)[:, : SPEC.clip_frames].mean()
    return float(error), 10 * np.log10((y**2).mean() / (original**2).mean()), y


@pytest.mark.parametrize("name", MEL_VOCODERS)
def test_a_round_trip_keeps_spectrogram_level_and_length(name: str, sounds: Path) -> None:
    for path in sorted(sounds.glob("train/train/*/*"))[::8]:
        error, level, y = round_trip(name, path)
        assert error < 0.1 and abs(level) < 3, path
        assert y.shape == (88200,) and np.isfinite(y).all()
        assert abs(y[0]) < 1e-3 and abs(y[-1]) < 1e-3  # no click at the ends


@pytest.mark.parametrize("name", MEL_VOCODERS)
def test_a_round_trip_of_real_clips_keeps_spectrogram_and_level(name: str, real_data: Path) -> None:
    paths = sorted((real_data / "frequency-quest" / "train" / "train").glob("*/*.flac"))[::100]
    errors, levels, _ = zip(*(round_trip(name, path) for path in paths), strict=True)
    assert np.mean(errors) < 0.07 and np.abs(levels).max() < 3


@pytest.mark.parametrize("name", MEL_VOCODERS)
def test_noise_in_a_spectrogram_reaches_the_sound(name: str, sounds: Path) -> None:
    """More noise in the spectrogram moves the sound's spectrogram further away."""
    S = torch.from_numpy(extract(next(sounds.glob("train/train/siren/*")), SPEC))[None]
    vocoder, noise = make_vocoder(name, SPEC), torch.rand(S.shape, generator=torch.Generator().manual_seed(0))
    errors = []
    for level in (0.0, 0.5, 2.0):
        y = vocoder(S + level * noise)[0].numpy()
        errors.append(np.abs(log_mel(y, SPEC) - S[0].numpy())[:, : SPEC.clip_frames].mean())
    assert errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize("name", MEL_VOCODERS)
def test_sounds_repeat_and_the_random_state_is_unchanged(name: str, sounds: Path) -> None:
    S = torch.from_numpy(np.stack([extract(p, SPEC) for p in sorted(sounds.glob("train/train/*/*"))[:2]]))
    vocoder, before = make_vocoder(name, SPEC), torch.get_rng_state()
    first, second = vocoder(S), vocoder(S)
    assert torch.equal(first, second) and torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", MEL_VOCODERS)
def test_another_spec_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="db"):
        make_vocoder(name, PRESETS["classifier"])
    with pytest.raises(UserError, match=r"\(1, 80, 512\)"):
        make_vocoder(name, SPEC)(torch.zeros(1, 80, 512))
    with pytest.raises(UserError, match="griffin"):
        make_vocoder("grifin-lim", SPEC)


def magnitude(y: np.ndarray) -> np.ndarray:
    """|STFT| of y (N,): (F, T)."""
    return np.abs(stft(y, **SIZES))


def mel_error(power: np.ndarray, mel: np.ndarray) -> float:
    """Spectral convergence of powers (F, T) to mels (M, T): the norm of the difference over the norm of the mels."""
    return float(np.linalg.norm(mel_filterbank(SPEC) @ power - mel) / np.linalg.norm(mel))


def errors(paths: list[Path]) -> np.ndarray:
    """Mean mel errors (2, 2): a row for ours and torchaudio's, a column for the inverted mels and the waveform."""
    S = torch.from_numpy(np.stack([extract(path, SPEC) for path in paths]))
    mels = np.expm1(S[..., : SPEC.clip_frames].numpy())
    theirs = TorchaudioVocoder(SPEC)
    power = theirs.magnitude(torch.expm1(S[..., : SPEC.clip_frames]))
    pairs = (InverseMel(SPEC)(S), GriffinLimVocoder(SPEC)(S)), (power.sqrt(), theirs(S))
    rows = [
        [
            (mel_error(A.numpy() ** 2, mel), mel_error(magnitude(y.numpy()) ** 2, mel))
            for A, y, mel in zip(*pair, mels, strict=True)
        ]
        for pair in pairs
    ]
    return np.mean(rows, axis=1)


def test_no_error_is_above_torchaudios(sounds: Path) -> None:
    ours, theirs = errors(sorted(sounds.glob("train/train/*/*"))[::8])
    assert (ours < theirs).all()


def test_no_error_of_real_clips_is_above_torchaudios(real_data: Path) -> None:
    ours, theirs = errors(sorted((real_data / "frequency-quest" / "train" / "train").glob("*/*.flac"))[::200])
    assert (ours < theirs).all()


def test_mels_of_a_rank_deficient_filterbank_are_inverted(sounds: Path) -> None:
    """The preset's bands depend linearly on each other. Bins that no band contains stay silent."""
    mel = mel_filterbank(SPEC)
    assert np.linalg.matrix_rank(mel) < len(mel) == 128
    for path in sorted(sounds.glob("train/train/*/*"))[::8]:
        S = torch.from_numpy(extract(path, SPEC))[None]
        target = np.expm1(S[0, :, : SPEC.clip_frames].numpy())
        power = InverseMel(SPEC)(S)[0].numpy() ** 2
        assert np.isfinite(power).all() and power.min() >= 0 and not power[mel.sum(axis=0) == 0].any()
        assert mel_error(power, target) < 0.05


def test_more_iterations_come_closer(sounds: Path) -> None:
    """They approach the true magnitudes, and the estimated phase is closer than a random one."""
    y = load_audio(next(sounds.glob("train/train/siren/*")), sr=SPEC.sr, duration=SPEC.duration)
    S = magnitude(y)

    def error(y: np.ndarray) -> float:
        return np.linalg.norm(magnitude(y) - S) / np.linalg.norm(S)

    A, transform = torch.from_numpy(S)[None].mT.contiguous(), Stft(**SIZES, length=len(y))
    random = 2 * np.pi * torch.rand(A.shape, generator=torch.Generator().manual_seed(0))
    unfit = transform.inverse(torch.polar(A, random))[0].numpy()
    found = [error(griffin_lim(A, transform, iterations=iterations)[0].numpy()) for iterations in (0, 2, 8, 32)]
    assert error(unfit) > 2 * found[0] and found == sorted(found, reverse=True)


@pytest.mark.parametrize(("n_fft", "hop_length", "length"), [(1024, 256, 22050), (512, 100, 5001), (400, 200, 4000)])
def test_the_stft_equals_librosas_and_its_inverse_is_exact(n_fft: int, hop_length: int, length: int) -> None:
    y = torch.randn(3, length, generator=torch.Generator().manual_seed(0))
    ours = Stft(n_fft=n_fft, hop_length=hop_length, length=length)
    expected = librosa.stft(y.numpy(), n_fft=n_fft, hop_length=hop_length)
    np.testing.assert_allclose(ours(y).mT, expected, atol=1e-3)
    torch.testing.assert_close(ours.inverse(ours(y)), y, atol=1e-5, rtol=0)


def test_a_batch_equals_its_clips(sounds: Path) -> None:
    S = torch.from_numpy(np.stack([extract(p, SPEC) for p in sorted(sounds.glob("train/train/*/*"))[:6]]))
    vocoder = make_vocoder("griffin-lim", SPEC)
    torch.testing.assert_close(vocoder(S), torch.cat([vocoder(one[None]) for one in S]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", ["cgan", "flow"])
def test_silence_stays_silent(name: str) -> None:
    spec = PRESETS[name]
    y = make_vocoder("griffin-lim", spec)(torch.full((2, *spec.shape), spec.silence))
    assert y.abs().max() < 1e-3


@pytest.mark.parametrize("scaling", ["log1p", "unit"])
def test_linear_spectrograms_are_inverted_too(scaling: str, sounds: Path) -> None:
    spec = dataclasses.replace(SPEC, kind="stft", scaling=scaling)
    path = next(sounds.glob("train/train/siren/*"))
    original = load_audio(path, sr=spec.sr, duration=spec.duration)
    y = make_vocoder("griffin-lim", spec)(torch.from_numpy(extract(path, spec))[None])[0].numpy()
    y *= np.linalg.norm(original) / np.linalg.norm(y) if scaling == "unit" else 1.0  # "unit" loses the level
    S = magnitude(original)
    assert np.linalg.norm(magnitude(y) - S) < 0.2 * np.linalg.norm(S)


@pytest.mark.parametrize(
    ("name", "kind"), [("griffin-lim", "log_mel"), ("griffin-lim", "stft"), ("torchaudio", "log_mel")]
)
@pytest.mark.parametrize("frames", [100, 345, 512])
def test_a_clip_is_as_long_as_the_spec_says(frames: int, name: str, kind: str) -> None:
    spec = dataclasses.replace(SPEC, frames=frames, kind=kind)
    assert make_vocoder(name, spec)(torch.rand(1, *spec.shape)).shape == (1, spec.n_samples)


@pytest.mark.parametrize("kind", ["log_mel", "stft"])
@pytest.mark.parametrize("device", ["meta", *(["cuda"] if torch.cuda.is_available() else [])])
def test_everything_is_computed_on_the_device(device: str, kind: str, sounds: Path) -> None:
    """On the device "meta", tensors have no values, but operands on two devices still raise an error."""
    spec = dataclasses.replace(SPEC, kind=kind)
    S = torch.from_numpy(extract(next(sounds.glob("train/train/siren/*")), spec))[None]
    y = make_vocoder("griffin-lim", spec, device=device)(S)
    assert y.device.type == device and y.shape == (1, SPEC.n_samples)
    if device != "meta":
        torch.testing.assert_close(y.cpu(), make_vocoder("griffin-lim", spec)(S), atol=1e-2, rtol=0)


def test_amplitude_mels_are_inverted_too(sounds: Path) -> None:
    spec = dataclasses.replace(SPEC, power=1.0, frames=None)
    path = next(sounds.glob("train/train/siren/*"))
    y = make_vocoder("griffin-lim", spec)(torch.from_numpy(extract(path, spec))[None])[0].numpy()
    assert np.abs(log_mel(y, spec) - extract(path, spec)).mean() < 0.1


def test_mels_of_the_preset_flow_are_restored_in_all_bands(sounds: Path) -> None:
    """ln keeps the contrast of the quiet bands: they come back within a few tenths of a neper."""
    spec = PRESETS["flow"]
    path = next(sounds.glob("train/train/drilling/*"))
    S = extract(path, spec)
    assert S.shape == (80, 344) and S.min() >= spec.silence - 1e-4
    y = make_vocoder("griffin-lim", spec)(torch.from_numpy(S)[None])[0].numpy()
    inner = np.s_[:, 4:-4]  # both ends of the sound are faded
    assert np.abs(log_mel(y, spec) - S)[inner].mean() < 0.35


def test_phase_images_are_inverted_without_iterations(sounds: Path) -> None:
    """One inverse STFT restores the clip except its level and bands above 4 kHz; with any phase, both ends fade out."""
    spec = PRESETS["digits"]
    S = torch.from_numpy(extract(next(sounds.glob("train/train/siren/*")), spec))[None]
    y = make_vocoder("auto", spec)(S)[0].numpy()
    again = torch.from_numpy(TRANSFORMS[spec.kind](y, spec))
    assert y.shape == (spec.n_samples,) and (again[0] - S[0, 0]).abs().mean() < 0.02
    S[:, 1] = torch.rand(S[:, 1].shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    y = make_vocoder("auto", spec)(S)[0].numpy()
    assert abs(y[0]) < 1e-3 and abs(y[-1]) < 1e-3 and np.abs(y).max() > 0.1
