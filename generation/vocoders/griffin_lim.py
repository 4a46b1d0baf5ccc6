"""InverseMelScale + GriffinLim: mel power -> linear magnitude by least squares -> phase by iteration."""

import torch
from torch import Tensor

from shared.errors import UserError
from shared.features import FeatureSpec, mel_filterbank
from shared.torchaudio_compat import GriffinLim

FADE_SECONDS = 0.005  # at both ends: a sound that begins or stops in mid-swing clicks


class GriffinLimVocoder:
    """log1p mel spectrograms -> waveforms, batched, on any device.

    The mel filterbank is inverted by its pseudo-inverse, computed once: the minimum-norm least-squares answer of
    torchaudio's InverseMelScale(driver="gelsd"), as one matrix product and without its failure on rank-deficient
    filterbanks. The phase is the fast Griffin-Lim of Perraudin et al. (2013), torchaudio's.

    Raises:
        UserError: a spec that is no log1p mel: decibels relative to a clip's maximum have lost its level.
    """

    def __init__(
        self, spec: FeatureSpec, *, device: torch.device | str = "cpu", iterations: int = 64, momentum: float = 0.99
    ) -> None:
        if spec.kind != "log_mel" or spec.scaling != "log1p":
            raise UserError(f"griffin-lim inverts log_mel scaled log1p, not {spec.kind} scaled {spec.scaling}")
        self.spec = spec
        self.inverse = torch.linalg.pinv(torch.from_numpy(mel_filterbank(spec)).double()).float().to(device)  # (F, M)
        self.phase = GriffinLim(
            n_fft=spec.n_fft,
            n_iter=iterations,
            hop_length=spec.hop_length,
            power=1.0,
            momentum=momentum,
            length=spec.n_samples,
        ).to(device)
        ramp = torch.linspace(0.0, torch.pi / 2, round(FADE_SECONDS * spec.sr)).sin() ** 2
        self.fades = torch.ones(spec.n_samples)
        self.fades[: len(ramp)] = ramp
        self.fades[-len(ramp) :] = ramp.flip(0)
        self.fades = self.fades.to(device)

    def __call__(self, S: Tensor) -> Tensor:
        if S.ndim != 3 or S.shape[1:] != self.spec.shape:
            raise UserError(f"griffin-lim: spectrograms of shape {tuple(S.shape)}, expected (B, *{self.spec.shape})")
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(0)  # the initial phase: the same sound for the same spectrogram, others undisturbed
            return self.phase(self.magnitude(S)) * self.fades

    def magnitude(self, S: Tensor) -> Tensor:
        """(B, M, T) log1p mels -> linear magnitudes (B, F, clip_frames); the padding beyond the clip is dropped."""
        mel = torch.expm1(S.to(self.inverse).clamp(min=0.0))[..., : self.spec.clip_frames]
        return (self.inverse @ mel).clamp(min=0.0) ** (1 / self.spec.power)
