"""Turns linear spectrograms back into magnitudes and, together with their phase, into sound."""

import torch
from torch import Tensor
from torch.nn import functional as F

from generation.vocoders.inverse_mel import unscaled
from generation.vocoders.vocoder import Vocoder
from shared.features.spec import TOP_DB, FeatureSpec

FADE_SECONDS = 0.005  # at both ends, so that a sound does not begin or stop with a click
PEAK = 0.5  # of a sound whose level the features do not contain


def linear_magnitude(S: Tensor, spec: FeatureSpec) -> Tensor:
    """Scaled STFT magnitudes (B, bins, frames) -> magnitudes (B, F, clip_frames); omitted bins are 0."""
    S = S.float()[..., : spec.clip_frames]
    if spec.keeps_level:
        power = unscaled(S, spec)
    else:
        db = S.clamp(-1, 1) * TOP_DB / 2 - TOP_DB / 2 if spec.scaling == "unit" else S.clamp(-TOP_DB, 0)
        power = 10 ** (db / 10) * (db > -TOP_DB)  # the lowest level is silence
    return F.pad(power ** (1 / spec.power), (0, 0, 0, 1 + spec.n_fft // 2 - S.shape[1]))


def level(y: Tensor, spec: FeatureSpec) -> Tensor:
    """Scale sounds (B, N) to a peak of 0.5 if the features do not contain their level."""
    if spec.keeps_level:
        return y
    return y * (PEAK / y.abs().amax(dim=1, keepdim=True).clamp(min=1e-8))


def fades(spec: FeatureSpec) -> Tensor:
    """The gain (N,) that fades a clip in and out."""
    ramp = torch.linspace(0.0, torch.pi / 2, round(FADE_SECONDS * spec.sr)).sin() ** 2
    return torch.cat([ramp, torch.ones(spec.n_samples - 2 * len(ramp)), ramp.flip(0)])


class InverseStft(Vocoder):
    """Amplitude and phase images (B, 2, bins, frames) -> waveforms (B, N): one inverse STFT, no iteration."""

    name, kinds = "istft", ("amplitude_phase",)

    def __init__(self, spec: FeatureSpec, *, device: torch.device | str = "cpu") -> None:
        super().__init__(spec, device=device)
        self.window = torch.hann_window(spec.n_fft, device=device)
        self.fades = fades(spec).to(device)

    def invert(self, S: Tensor) -> Tensor:
        S = S.to(self.device)
        magnitude = linear_magnitude(S[:, 0], self.spec)
        phase = F.pad(S[:, 1, :, : self.spec.clip_frames], (0, 0, 0, magnitude.shape[1] - S.shape[2]))
        y = torch.istft(
            torch.polar(magnitude, torch.pi * phase.float()),
            self.spec.n_fft,
            hop_length=self.spec.hop_length,
            window=self.window,
            length=self.spec.n_samples,
        )
        return level(y * self.fades, self.spec)
