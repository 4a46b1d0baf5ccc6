"""A neural vocoder like Vocos (Siuzdak 2023): ConvNeXt blocks at the frame rate, Griffin-Lim, an inverse STFT."""

import torch
from torch import Tensor, nn

from generation.stft import griffin_lim, inverse_mel, mel_bands, stft
from shared.features.spec import FLOOR

LOUDEST = 7.0  # ln of the largest magnitude of a bin; a sine at full scale has ln(n_fft / 4)
CENTRE, SPREAD = -5.0, 3.0  # roughly the mean and the standard deviation of log-mels and log magnitudes


def fixed_noise(channels: int, like: Tensor) -> Tensor:
    """The same white noise (B, C, T) for every clip of mels ``like`` (B, M, T), and in every call."""
    noise = torch.randn(channels, like.shape[-1], generator=torch.Generator().manual_seed(0))
    return noise.to(like.device).expand(len(like), -1, -1)


class ConvNeXtBlock(nn.Module):
    """(B, T, C) -> (B, T, C): depthwise convolution over frames, then two dense layers (Liu et al. 2022)."""

    def __init__(self, width: int, *, scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.dense = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.dense(self.norm(self.depthwise(x.mT).mT))


class Vocos(nn.Module):
    """Log-mels, ln(max(mel magnitude, 1e-5)), and white noise -> waveforms.

    A first guess of the linear magnitudes (``inverse_mel``) is a second input, as in FreeV (Lv et al. 2024). The
    network predicts by what to multiply it. Vocos predicts the phase, too, which it learns in a million steps. Here a
    few iterations of Griffin-Lim find the phase of these magnitudes, and the network predicts by what to rotate it, as
    in a last iteration (compare Deep Griffin-Lim Iteration, Masuyama et al. 2019). The last layer starts at zero: an
    untrained network is Griffin-Lim. Noise lets it make texture that the mels lack.

    Args:
        n_mels, n_fft, hop_length: as in FeatureSpec.
        width: channels of a block.
        blocks: ConvNeXt blocks; each sees three frames to either side.
        noise: channels of white noise.
        iterations: of Griffin-Lim.
        filterbank: mel filterbank (M, F); None before the weights are loaded, which contain it.
    """

    def __init__(
        self,
        *,
        n_mels: int = 80,
        n_fft: int = 1024,
        hop_length: int = 256,
        width: int = 256,
        blocks: int = 8,
        noise: int = 16,
        iterations: int = 6,
        filterbank: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.arguments = {"n_mels": n_mels, "n_fft": n_fft, "hop_length": hop_length}
        self.arguments |= {"width": width, "blocks": blocks, "noise": noise, "iterations": iterations}
        self.n_fft, self.hop_length, self.noise, self.iterations = n_fft, hop_length, noise, iterations
        bins = 1 + n_fft // 2
        self.register_buffer("filterbank", torch.zeros(n_mels, bins) if filterbank is None else filterbank)
        self.embed = nn.Conv1d(n_mels + noise, width, 7, padding=3)
        self.embed_guess = nn.Linear(bins, width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.blocks = nn.Sequential(*(ConvNeXtBlock(width, scale=1 / blocks) for _ in range(blocks)))
        self.last_norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, 2 * bins)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, S: Tensor, noise: Tensor, *, length: int) -> Tensor:
        """S (B, M, T), noise (B, C, T), T = 1 + length // hop_length -> waveforms (B, length), float32."""
        guess = self.guess(S)
        mels = torch.cat([(S - CENTRE) / SPREAD, noise], dim=1)
        x = self.embed(mels).mT + self.embed_guess((guess - CENTRE) / SPREAD)
        x = self.last_norm(self.blocks(self.norm(x)))
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 has two digits, too few for a phase
            gain, rotation = self.head(x.float()).chunk(2, dim=-1)
            magnitude = (guess + gain).clamp(max=LOUDEST).exp()
            transform = stft(n_fft=self.n_fft, hop_length=self.hop_length, length=length, device=S.device)
            with torch.no_grad():
                phase = transform(griffin_lim(magnitude, transform, iterations=self.iterations)).angle()
            return transform.inverse(torch.polar(magnitude, phase + rotation))

    def guess(self, S: Tensor) -> Tensor:
        """The first guess of the log magnitudes (B, T, F)."""
        with torch.autocast(S.device.type, enabled=False):
            return inverse_mel(S.float().exp(), *mel_bands(self.filterbank)).clamp(min=FLOOR).log().mT
