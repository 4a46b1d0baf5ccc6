"""Compare the vocoders' speed and error with torchaudio, and measure real-time factors. tests/bench.py runs it."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from speed import compare_speed, seconds
from torch import Tensor

from generation.models.hifigan import HifiGan
from generation.vocoders.hifigan_checkpoint import MEL
from generation.vocoders.vocoder import Vocoder, make_vocoder
from shared.features.spec import PRESETS
from shared.features.transforms import mel_filterbank, stft

SPEC = PRESETS["cgan"]
V1 = {  # config_v1.json of jik876/hifi-gan; NVIDIA's published model has the same
    "upsample_rates": [8, 8, 2, 2],
    "upsample_kernel_sizes": [16, 16, 4, 4],
    "upsample_initial_channel": 512,
    "resblock": "1",
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5]] * 3,
}


def spectral_convergence(y: np.ndarray, original: np.ndarray) -> tuple[float, float]:
    """||A - B|| / ||B|| of y against the original: of the mel powers, and of the STFT magnitudes."""
    found, true = (np.abs(stft(x, n_fft=SPEC.n_fft, hop_length=SPEC.hop_length)) for x in (y, original))
    pairs = [(mel_filterbank(SPEC) @ found**2, mel_filterbank(SPEC) @ true**2), (found, true)]
    return tuple(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in pairs)


def untrained_hifigan(folder: Path) -> Vocoder:
    """HiFi-GAN V1 with random weights, because its speed does not depend on them."""
    network = HifiGan(n_mels=MEL["num_mels"], **V1)
    torch.save({"generator": network.state_dict(), "config": MEL | V1}, folder / "untrained.pt")
    return make_vocoder("hifigan", SPEC, hifigan_path=folder / "untrained.pt")


def bench_vocoders(S: Tensor, originals: np.ndarray, rounds: int) -> None:
    """Measure on S (B, M, T) of the cgan preset and the clips (B, N) that it was computed from."""
    ours, other = (make_vocoder(name, SPEC) for name in ("griffin-lim", "torchaudio"))
    for name, vocoder in {"griffin-lim": ours, "torchaudio": other}.items():
        rows = [spectral_convergence(y, x) for y, x in zip(vocoder(S).numpy(), originals, strict=True)]
        mel, linear = np.mean(rows, axis=0)
        print(f"{name}: spectral convergence {mel:.3f} for the mel powers, {linear:.3f} for the STFT magnitudes")
    compare_speed(
        f"griffin-lim ({ours.iterations} iterations), compared with torchaudio's InverseMelScale and GriffinLim (32)",
        lambda: ours(S),
        lambda: other(S),
        clips=len(S),
        rounds=rounds,
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, vocoder in {"griffin-lim": ours, "hifigan": untrained_hifigan(Path(folder))}.items():
            vocoder(S[:1])  # warm up
            took = seconds(lambda v=vocoder: v(S[:1]))
            print(f"{name}: real-time factor {took / SPEC.duration:.3f} (computing time / duration)", flush=True)
