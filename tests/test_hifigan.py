"""HiFi-GAN: the mels equal its authors', a frame sounds at its time, and other spectrograms are refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hifigan_checkpoints import TINY, jik876, tiny_network
from torch import Tensor

from generation.models.gan2d import Generator
from generation.models.hifigan import HifiGan
from generation.sampling import Sampler, generate_audio
from generation.scaling import Scaler
from generation.vocoders.vocoder import make_vocoder
from shared.audio import load_audio
from shared.errors import UserError
from shared.features.spec import PRESETS
from shared.features.transforms import extract, mel_filterbank

SPEC = PRESETS["cgan"]


@pytest.fixture(scope="module")
def tiny() -> HifiGan:
    return tiny_network()


def authors_mels(y: np.ndarray) -> Tensor:
    """mel_spectrogram of meldataset.py in jik876/hifi-gan, of y (N,): (80, N // 256)."""
    mel = torch.from_numpy(mel_filterbank(dataclasses.replace(SPEC, convention="librosa", n_mels=80, fmax=8000.0)))
    padded = torch.nn.functional.pad(torch.from_numpy(y)[None, None], (384, 384), mode="reflect")[0, 0]
    S = torch.stft(padded, 1024, hop_length=256, window=torch.hann_window(1024), center=False, return_complex=True)
    return torch.log((mel @ torch.sqrt(S.abs() ** 2 + 1e-9)).clamp(min=1e-5))


def errors(path: Path, model: Path) -> tuple[float, float]:
    """Mean absolute error in nats of the vocoder's mels, against the clip delayed by half a hop and the clip itself."""
    mels = make_vocoder("hifigan", SPEC, hifigan_path=model).mels(torch.from_numpy(extract(path, SPEC))[None])[0]
    assert mels.shape == (80, SPEC.clip_frames) and mels.min() >= np.log(np.float32(1e-5))
    y = load_audio(path, sr=SPEC.sr, duration=SPEC.duration)
    later, same = authors_mels(np.pad(y, (128, 0))), authors_mels(y)
    return tuple(float((mels[:, : m.shape[1]] - m).abs().mean()) for m in (later, same))


def test_mels_equal_the_authors(tiny: HifiGan, sounds: Path, tmp_path: Path) -> None:
    model = jik876(tiny, tmp_path)
    later, same = zip(*(errors(path, model) for path in sorted(sounds.glob("train/train/*/*"))[::8]), strict=True)
    assert np.mean(later) < 0.1 and np.mean(later) < np.mean(same)


def test_mels_of_real_clips_equal_the_authors(tiny: HifiGan, real_data: Path, tmp_path: Path) -> None:
    model = jik876(tiny, tmp_path)
    paths = sorted((real_data / "frequency-quest" / "train" / "train").glob("*/*.flac"))[::40]
    later, same = zip(*(errors(path, model) for path in paths), strict=True)
    assert np.mean(later) < 0.07 and np.mean(later) < 0.5 * np.mean(same)


def test_a_frame_sounds_at_its_time(tiny: HifiGan, tmp_path: Path) -> None:
    """With kernels symmetric in time, a change of one frame changes the sound symmetrically around hop * frame."""
    symmetric = HifiGan(n_mels=80, **TINY)
    weights = {k: (v + v.flip(-1)) / 2 if v.ndim == 3 else v for k, v in tiny.state_dict().items()}
    symmetric.load_state_dict(weights)
    vocoder = make_vocoder("hifigan", SPEC, hifigan_path=jik876(symmetric, tmp_path))
    S = torch.full((2, *SPEC.shape), 0.5)
    S[1, :, 100] = 2.0
    before, after = vocoder(S).double()
    change = (after - before) ** 2
    assert change.sum() > 0
    assert abs((change * torch.arange(len(change))).sum() / change.sum() - 100 * 256) < 2


def test_sounds_repeat_and_do_not_depend_on_the_batch(tiny: HifiGan, sounds: Path, tmp_path: Path) -> None:
    S = torch.from_numpy(np.stack([extract(p, SPEC) for p in sorted(sounds.glob("train/train/*/*"))[:2]]))
    vocoder, before = make_vocoder("hifigan", SPEC, hifigan_path=jik876(tiny, tmp_path)), torch.get_rng_state()
    first, second = vocoder(S), vocoder(S)
    assert first.shape == (2, SPEC.n_samples) and first.isfinite().all() and not first.requires_grad
    assert torch.equal(first, second) and torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(vocoder(S[:1]), first[:1], rtol=1e-4, atol=1e-6)
    assert first[:, [0, -1]].abs().max() < 1e-6  # no click at the ends
    assert (vocoder.mels(torch.zeros(1, *SPEC.shape)) == torch.tensor(1e-5).log()).all()
    with pytest.raises(UserError, match=r"\(1, 80, 512\)"):
        vocoder(torch.zeros(1, 80, 512))


def test_a_trained_generator_may_use_hifigan(tiny: HifiGan, tmp_path: Path) -> None:
    scaler = Scaler("dataset", 0.0, 3.0)
    Sampler(Generator(2), scaler, make_vocoder("griffin-lim", SPEC), ["dog", "siren"]).save(tmp_path)
    how = {"vocoder": "hifigan", "hifigan_path": jik876(tiny, tmp_path / "model")}
    y, sr = generate_audio(tmp_path, "siren", device="cpu", **how)
    assert y.shape == (1, SPEC.n_samples) and sr == SPEC.sr and y.std() > 0


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"sr": 16000}, "22050.*16000"),
        ({"hop_length": 512, "frames": None}, "256.*512"),
        ({"n_fft": 2048}, "1024.*2048"),
        ({"scaling": "db"}, "log1p.*db"),
    ],
)
def test_other_spectrograms_are_refused(other: dict, named: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=named):  # before the weights are searched for
        make_vocoder("hifigan", dataclasses.replace(SPEC, **other), hifigan_path=tmp_path / "absent")
