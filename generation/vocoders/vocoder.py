"""The vocoders by name. A vocoder turns spectrograms (B, bands, frames) into waveforms (B, N)."""

from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from generation.registry import load
from shared.errors import UserError
from shared.features.spec import FeatureSpec


class Vocoder(Protocol):
    """The contract: a vocoder is built for one spec and refuses one that it cannot invert."""

    spec: FeatureSpec

    def __call__(self, S: Tensor) -> Tensor:
        """Spectrograms (B, M, T) scaled as ``spec`` says -> waveforms (B, N), N = spec.n_samples, at spec.sr Hz."""


VOCODERS = {  # imported when chosen: torchaudio and librosa are slow to import
    "griffin-lim": "generation.vocoders.griffin_lim:GriffinLimVocoder",
    "torchaudio": "generation.vocoders.torchaudio:TorchaudioVocoder",
    "hifigan": "generation.vocoders.hifigan:HifiGanVocoder",
    "istft": "generation.vocoders.inverse_stft:InverseStft",
    "waveform": "generation.vocoders.waveform:Waveform",
    "mfcc": "generation.vocoders.mfcc:MfccVocoder",
}
AUTO = {
    "log_mel": "griffin-lim",
    "stft": "griffin-lim",
    "amplitude_phase": "istft",
    "waveform": "waveform",
    "mfcc": "mfcc",
}


def make_vocoder(
    name: str,
    spec: FeatureSpec,
    *,
    device: torch.device | str = "cpu",
    iterations: int = 6,
    hifigan_path: Path | None = None,
) -> Vocoder:
    """The vocoder of that name for that spec, ready to run.

    Args:
        name: a key of VOCODERS, or "auto" for the one that inverts such features.
        iterations: how often griffin-lim improves the phase.
        hifigan_path: hifigan's checkpoint or a folder with one; None downloads NVIDIA's published model.

    Raises:
        UserError: an unknown name, a spec it cannot invert, or weights that cannot be had.
    """
    name = AUTO[spec.kind] if name == "auto" else name
    if name not in VOCODERS:
        raise UserError(f"--vocoder {name}: unknown; choose auto or one of {', '.join(VOCODERS)}")
    if hifigan_path and name != "hifigan":
        raise UserError(f"--hifigan-path {hifigan_path}: --vocoder is {name}; give --vocoder hifigan with it")
    more = {"path": hifigan_path} if name == "hifigan" else {}
    if name in ("griffin-lim", "mfcc"):
        more = {"iterations": iterations}
    return load(VOCODERS[name])(spec, device=device, **more)
