"""Cepstra back to sound, approximately: what the discarded coefficients held is gone."""

import dataclasses

import torch
from torch import Tensor

from generation.vocoders.griffin_lim import GriffinLimVocoder
from generation.vocoders.inverse_stft import check_shape
from shared.errors import UserError
from shared.features.spec import FeatureSpec


class MfccVocoder:
    """(B, n_mfcc, frames) -> (B, N): librosa.feature.inverse.mfcc_to_mel, then Griffin-Lim.

    Raises:
        UserError: a spec that is no mfcc.
    """

    def __init__(self, spec: FeatureSpec, *, device: torch.device | str = "cpu", iterations: int = 6) -> None:
        if spec.kind != "mfcc":
            raise UserError(f"mfcc inverts cepstra, not {spec.kind}")
        self.spec = spec
        mel = dataclasses.replace(spec, kind="log_mel", scaling="log1p")
        self.griffin_lim = GriffinLimVocoder(mel, device=device, iterations=iterations)

    def __call__(self, S: Tensor) -> Tensor:
        from librosa.feature.inverse import mfcc_to_mel  # here: half a second that only this vocoder needs

        check_shape(S, self.spec)
        mel = mfcc_to_mel(S.cpu().numpy(), n_mels=self.spec.n_mels)
        return self.griffin_lim(torch.log1p(torch.from_numpy(mel)))
