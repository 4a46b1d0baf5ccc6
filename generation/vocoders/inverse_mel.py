"""Mel spectrograms -> linear magnitudes."""

import torch
import torch.nn.functional as F
from torch import Tensor

from shared.features.spec import FeatureSpec
from shared.features.transforms import mel_filterbank

TINY = 1e-10  # avoids dividing by zero in silence


def unscaled(S: Tensor, spec: FeatureSpec) -> Tensor:
    """The values, from 0 up, that ``transforms.scale`` scaled by "log1p" or "ln"."""
    if spec.scaling == "log1p":
        return torch.expm1(S.clamp(min=0.0))
    return S.exp() * (S - spec.silence > 1e-3)  # the lowest level is silence


class InverseMel:
    """Mel spectrograms (B, M, T) in "log1p" or "ln" -> linear magnitudes (B, F, clip_frames), batched, on any device.

    The multiplicative updates of Richardson (1972) and Lucy (1974) minimise KL divergence over non-negative spectra.
    They start with each band spread evenly over its bins. Of the many spectra with the same mels they find a smooth
    one. The least squares of a pseudo-inverse give negative values, and cutting these off changes the mels.
    """

    def __init__(self, spec: FeatureSpec, *, device: torch.device | str = "cpu", updates: int = 10) -> None:
        self.spec, self.updates = spec, updates
        self.mel = torch.from_numpy(mel_filterbank(spec)).to(device)  # (M, F)
        self.spread = (self.mel / self.mel.sum(0).clamp(min=TINY)).T.contiguous()  # (F, M)

    def __call__(self, S: Tensor) -> Tensor:
        """Drops the padding after the clip; frames that the spec cut off become silent."""
        S = F.pad(S.to(self.mel), (0, self.spec.clip_frames - S.shape[-1]), value=self.spec.silence)
        mel = unscaled(S, self.spec)
        power = self.spread @ mel
        for _ in range(self.updates):
            power *= self.spread @ ((mel + TINY) / (self.mel @ power + TINY))
        return power ** (1 / self.spec.power)
