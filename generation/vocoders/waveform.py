"""Waveforms are sound already."""

import torch
from torch import Tensor

from generation.vocoders.inverse_stft import check_shape
from shared.errors import UserError
from shared.features.spec import FeatureSpec


class Waveform:
    """(B, N) -> (B, N).

    Raises:
        UserError: a spec that is no waveform.
    """

    def __init__(self, spec: FeatureSpec, *, device: torch.device | str = "cpu") -> None:
        if spec.kind != "waveform":
            raise UserError(f"waveform takes waveforms as they are, not {spec.kind}")
        self.spec = spec

    def __call__(self, S: Tensor) -> Tensor:
        check_shape(S, self.spec)
        return S.float().clamp(-1, 1)
