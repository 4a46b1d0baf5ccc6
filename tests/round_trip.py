"""Measure what each representation loses: python tests/round_trip.py --data-dir DIR

Each clip is converted to the representation and, by its vocoder, back to sound. The error is the spectral convergence
||A - B|| / ||A|| of the STFT magnitudes A of the clip and B of the sound, after B is scaled to the level of A.
"""

import dataclasses
from pathlib import Path

import numpy as np
import torch
import tyro

from generation.vocoders.vocoder import AUTO, make_vocoder
from shared.audio import load_audio
from shared.data.datasets import load_dataset
from shared.data.demo_data import make_demo_data
from shared.errors import run_entry
from shared.features.spec import PRESETS, FeatureSpec
from shared.features.transforms import TRANSFORMS, stft
from shared.files import DEMO_DIR


@dataclasses.dataclass(kw_only=True)
class RoundTripOptions:
    """Measure the round-trip error of every representation that can be converted back to sound."""

    data_dir: Path | None = None
    """Folder of sounds; None uses the demo sounds."""
    clips: int = 48
    """Number of clips to measure, taken evenly from the folder."""


def error(y: np.ndarray, back: np.ndarray, spec: FeatureSpec) -> float:
    """The spectral convergence of the sound ``back`` (N,) with the clip y (N,)."""
    A, B = (np.abs(stft(s, n_fft=spec.n_fft, hop_length=spec.hop_length)) for s in (y, back))
    return float(np.linalg.norm(A - B * (A * B).sum() / max((B * B).sum(), 1e-12)) / max(np.linalg.norm(A), 1e-12))


def main() -> None:
    options = tyro.cli(RoundTripOptions)
    paths = load_dataset(options.data_dir or make_demo_data(DEMO_DIR)).manifest.path
    paths = paths[:: max(1, len(paths) // options.clips)]
    print(f"{len(paths)} clips of {options.data_dir or DEMO_DIR}: median error (minimum to maximum)")
    for name, spec in PRESETS.items():
        if spec.kind == "log_mel" and not spec.keeps_level:
            print(f"{name}: cannot be converted back, because decibels relative to a clip's maximum lose its level")
            continue
        vocoder, errors = make_vocoder("auto", spec), []
        for path in paths:
            y = load_audio(path, sr=spec.sr, duration=spec.duration)
            S = TRANSFORMS[spec.kind](y, spec)
            errors.append(error(y, vocoder(torch.from_numpy(S)[None])[0].numpy(), spec))
        low, median, high = np.quantile(errors, [0, 0.5, 1])
        print(f"{name} with {AUTO[spec.kind]}: {median:.3f} ({low:.3f} to {high:.3f})", flush=True)


if __name__ == "__main__":
    run_entry(main)
