"""Vocoders: spectrograms (B, bands, frames) -> waveforms (B, N). Each knows the FeatureSpec it inverts."""

from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from generation.vocoders.griffin_lim import GriffinLimVocoder
from generation.vocoders.hifigan import HifiGanVocoder
from generation.vocoders.inverse_stft import InverseStft
from generation.vocoders.mfcc import MfccVocoder
from generation.vocoders.waveform import Waveform
from shared.errors import UserError
from shared.features.spec import FeatureSpec


class Vocoder(Protocol):
    """The contract: built for one spec, refusing one it cannot invert."""

    spec: FeatureSpec

    def __call__(self, S: Tensor) -> Tensor:
        """Spectrograms (B, M, T) scaled as ``spec`` says -> waveforms (B, N), N = spec.n_samples, at spec.sr Hz."""


VOCODERS = {
    "griffin-lim": GriffinLimVocoder,
    "hifigan": HifiGanVocoder,
    "istft": InverseStft,
    "waveform": Waveform,
    "mfcc": MfccVocoder,
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
        name: of VOCODERS, or "auto" for the one that inverts such features.
        iterations: of griffin-lim's phase.
        hifigan_path: hifigan's checkpoint or a folder with one; None is NVIDIA's published model, from the network.

    Raises:
        UserError: an unknown name, a spec it cannot invert, or weights that cannot be had.
    """
    name = AUTO[spec.kind] if name == "auto" else name
    if name not in VOCODERS:
        raise UserError(f"--vocoder {name}: unknown; choose auto or one of {', '.join(VOCODERS)}")
    if name == "hifigan":
        return HifiGanVocoder(spec, device=device, path=hifigan_path)
    if hifigan_path:
        raise UserError(f"--hifigan-path {hifigan_path}: --vocoder is {name}; give --vocoder hifigan with it")
    iterating = {"iterations": iterations} if name in ("griffin-lim", "mfcc") else {}
    return VOCODERS[name](spec, device=device, **iterating)
