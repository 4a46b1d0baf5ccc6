"""Vocoders: speed and errors against torchaudio's parts, and real-time factors. tests/bench.py calls it."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from rivals import compare, seconds
from torch import Tensor

from generation.models.hifigan import HifiGan
from generation.vocoders.hifigan_checkpoint import MEL
from generation.vocoders.vocoder import Vocoder, make_vocoder
from shared.features.spec import PRESETS
from shared.features.transforms import mel_filterbank, stft

SPEC = PRESETS["cgan"]
V1 = {  # config_v1.json of jik876/hifi-gan, NVIDIA's published model too
    "upsample_rates": [8, 8, 2, 2],
    "upsample_kernel_sizes": [16, 16, 4, 4],
    "upsample_initial_channel": 512,
    "resblock": "1",
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5]] * 3,
}


def spectral_convergence(y: np.ndarray, original: np.ndarray) -> tuple[float, float]:
    """Norm of the difference over the norm: of the mel powers, what was asked for, and of the true magnitudes."""
    found, true = (np.abs(stft(x, n_fft=SPEC.n_fft, hop_length=SPEC.hop_length)) for x in (y, original))
    pairs = [(mel_filterbank(SPEC) @ found**2, mel_filterbank(SPEC) @ true**2), (found, true)]
    return tuple(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in pairs)


def untrained_hifigan(folder: Path) -> Vocoder:
    """HiFi-GAN V1: its speed does not depend on its weights."""
    network = HifiGan(n_mels=MEL["num_mels"], **V1)
    torch.save({"generator": network.state_dict(), "config": MEL | V1}, folder / "untrained.pt")
    return make_vocoder("hifigan", SPEC, hifigan_path=folder / "untrained.pt")


def bench_vocoders(S: Tensor, originals: np.ndarray, rounds: int) -> None:
    """S (B, M, T) of the cgan preset, and the clips (B, N) it was made from."""
    ours, rival = (make_vocoder(name, SPEC) for name in ("griffin-lim", "torchaudio"))
    for name, vocoder in {"griffin-lim": ours, "torchaudio": rival}.items():
        rows = [spectral_convergence(y, x) for y, x in zip(vocoder(S).numpy(), originals, strict=True)]
        mel, linear = np.mean(rows, axis=0)
        print(f"{name}: spectral convergence error {mel:.3f} of the mels, {linear:.3f} of the true magnitudes")
    compare(
        f"griffin-lim, {ours.iterations} iterations, against torchaudio's InverseMelScale(gelsd) + GriffinLim, 32",
        lambda: ours(S),
        lambda: rival(S),
        clips=len(S),
        rounds=rounds,
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, vocoder in {"griffin-lim": ours, "hifigan": untrained_hifigan(Path(folder))}.items():
            vocoder(S[:1])  # warm up
            took = seconds(lambda v=vocoder: v(S[:1]))
            print(f"{name}: one clip takes {took / SPEC.duration:.3f} of its duration", flush=True)
