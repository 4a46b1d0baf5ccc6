"""Spectrograms without phase -> waveforms: a phase estimated from the magnitudes, then fast Griffin-Lim."""

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from generation.stft import Stft, initial_phase
from generation.vocoders.inverse_mel import InverseMel
from generation.vocoders.inverse_stft import fades, level, linear_magnitude
from generation.vocoders.vocoder import Vocoder
from shared.features.spec import FeatureSpec

MOMENTUM = 0.99  # of the fast Griffin-Lim iteration
CLIPS = 4  # reconstructed together on a CPU; more do not fit into its cache


def griffin_lim(S: Tensor, *, n_fft: int, hop_length: int, length: int, iterations: int) -> Tensor:
    """Linear magnitudes (B, F, T) -> waveforms (B, length), on their device; missing frames are silent.

    The fast Griffin-Lim of Perraudin, Balazs & Sondergaard (2013) starts from ``initial_phase`` here, so it needs
    no random numbers. The STFT is linear, so the momentum is applied to the waveforms.
    """
    stft = Stft(n_fft=n_fft, hop_length=hop_length, length=length, device=S.device)
    waveforms = []
    S = F.pad(S, (0, 1 + length // hop_length - S.shape[-1]))
    for A in S.transpose(1, 2).split(CLIPS if S.device.type == "cpu" else len(S)):
        A = A.contiguous()
        y = stft.inverse(torch.polar(A, initial_phase(A, n_fft=n_fft, hop_length=hop_length)))
        previous = y
        for _ in range(iterations):
            X = stft(torch.lerp(previous, y, 1 + MOMENTUM))
            previous, y = y, stft.inverse(X.sgn_().mul_(A))
        waveforms.append(y)
    return torch.cat(waveforms)


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
        sizes = {"n_fft": spec.n_fft, "hop_length": spec.hop_length, "length": spec.n_samples}
        return level(griffin_lim(A, **sizes, iterations=self.iterations), spec) * self.fades


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
