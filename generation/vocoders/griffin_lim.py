"""Spectrograms without phase -> waveforms: a phase estimated from the magnitudes, then fast Griffin-Lim."""

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from generation.stft import griffin_lim, stft
from generation.vocoders.inverse_mel import InverseMel
from generation.vocoders.inverse_stft import fades, level, linear_magnitude
from generation.vocoders.vocoder import Vocoder
from shared.features.spec import FeatureSpec


class GriffinLimVocoder(Vocoder):
    """Scaled mel or STFT magnitudes (B, bands, frames) -> waveforms (B, N), batched, on any device.

    A clip keeps its level if the features contain it; otherwise its peak becomes 0.5.
    """

    name, kinds = "griffin-lim", ("stft", "log_mel")

    def __init__(self, spec: FeatureSpec, *, device: torch.device | str = "cpu", iterations: int = 6) -> None:
        super().__init__(spec, device=device)
        self.iterations = iterations
        self.magnitude = InverseMel(spec, device=device) if spec.kind == "log_mel" else None
        self.fades = fades(spec).to(device)

    def invert(self, S: Tensor) -> Tensor:
        spec, S = self.spec, S.to(self.fades)
        A = self.magnitude(S) if self.magnitude else linear_magnitude(S, spec)
        A = F.pad(A, (0, 1 + spec.n_samples // spec.hop_length - A.shape[-1])).mT.contiguous()
        transform = stft(n_fft=spec.n_fft, hop_length=spec.hop_length, length=spec.n_samples, device=A.device)
        return level(griffin_lim(A, transform, iterations=self.iterations), spec) * self.fades


class MfccVocoder(Vocoder):
    """Cepstra (B, n_mfcc, frames) -> waveforms (B, N): librosa.feature.inverse.mfcc_to_mel, then Griffin-Lim.

    The detail in the discarded coefficients is lost.
    """

    name, kinds = "mfcc", ("mfcc",)

    def __init__(self, spec: FeatureSpec, *, device: torch.device | str = "cpu", iterations: int = 6) -> None:
        super().__init__(spec, device=device)
        mel = dataclasses.replace(spec, kind="log_mel", scaling="log1p")
        self.griffin_lim = GriffinLimVocoder(mel, device=device, iterations=iterations)

    def invert(self, S: Tensor) -> Tensor:
        from librosa.feature.inverse import mfcc_to_mel  # a slow import that only this vocoder needs

        mel = mfcc_to_mel(S.cpu().numpy(), n_mels=self.spec.n_mels)
        return self.griffin_lim(torch.log1p(torch.from_numpy(mel)))
