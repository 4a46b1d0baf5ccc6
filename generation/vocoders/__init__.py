"""Vocoders: spectrograms (B, bands, frames) -> waveforms (B, N). Each knows the FeatureSpec it inverts."""

from typing import Protocol

import torch
from torch import Tensor

from generation.vocoders.griffin_lim import GriffinLimVocoder
from shared.errors import UserError
from shared.features import FeatureSpec


class Vocoder(Protocol):
    """The contract: built for one spec, refusing one it cannot invert."""

    spec: FeatureSpec

    def __call__(self, S: Tensor) -> Tensor:
        """Spectrograms (B, M, T) scaled as ``spec`` says -> waveforms (B, N), N = spec.n_samples, at spec.sr Hz."""


VOCODERS = {"griffin-lim": GriffinLimVocoder}


def make_vocoder(name: str, spec: FeatureSpec, *, device: torch.device | str = "cpu", iterations: int = 64) -> Vocoder:
    """The vocoder of that name for that spec.

    Raises:
        UserError: an unknown name, or a spec it cannot invert.
    """
    if name not in VOCODERS:
        raise UserError(f"--vocoder {name}: unknown; choose one of {', '.join(VOCODERS)}")
    return VOCODERS[name](spec, device=device, iterations=iterations)
