"""Mel spectrograms -> linear magnitudes."""

import torch
import torch.nn.functional as F
from torch import Tensor

from generation.stft import inverse_mel, mel_bands
from shared.features.spec import FeatureSpec
from shared.features.transforms import mel_filterbank


def unscaled(S: Tensor, spec: FeatureSpec) -> Tensor:
    """The values, from 0 up, that ``transforms.scale`` scaled by "log1p" or "ln"."""
    if spec.scaling == "log1p":
        return torch.expm1(S.clamp(min=0.0))
    return S.exp() * (S - spec.silence > 1e-3)  # the lowest level is silence


class InverseMel:
    """Mel spectrograms (B, M, T) in "log1p" or "ln" -> linear magnitudes (B, F, clip_frames), on any device."""

    def __init__(self, spec: FeatureSpec, *, device: torch.device | str = "cpu") -> None:
        self.spec, self.device = spec, device
        self.bands = mel_bands(torch.from_numpy(mel_filterbank(spec)), device=device)

    def __call__(self, S: Tensor) -> Tensor:
        """Drops the padding after the clip; frames that the spec cut off become silent."""
        S = F.pad(S.to(self.device, torch.float32), (0, self.spec.clip_frames - S.shape[-1]), value=self.spec.silence)
        return inverse_mel(unscaled(S, self.spec), *self.bands) ** (1 / self.spec.power)
