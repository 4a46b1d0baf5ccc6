"""The discriminator of a vocoder: it looks at the STFT of a waveform at several resolutions."""

import torch
from torch import Tensor, nn

from generation.stft import stft

COMPRESSION = 0.3  # exponent of the magnitudes, so that quiet bins count, too
TINY = 1e-5  # avoids an infinite gradient at magnitude zero


class StftDiscriminator(nn.Module):
    """Waveforms (B, N) -> logits (B, 1, f, t) and the maps of the hidden layers, of one resolution.

    The layers are those of UnivNet (Jang et al. 2021) with a quarter to half of the channels; like EnCodec's (Défossez
    et al. 2022) they see the real and the imaginary part.
    """

    def __init__(self, *, n_fft: int, channels: int) -> None:
        super().__init__()
        self.n_fft, wide = n_fft, 2 * channels
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(2, channels, (7, 5), stride=2, padding=(3, 2)),
                nn.Conv2d(channels, wide, (5, 3), stride=(2, 1), padding=(2, 1)),
                nn.Conv2d(wide, wide, (5, 3), stride=2, padding=(2, 1)),
                nn.Conv2d(wide, wide, 3, stride=(2, 1), padding=1),
            ]
        )
        self.last = nn.Conv2d(wide, 1, 3, padding=1)

    def forward(self, y: Tensor) -> tuple[Tensor, list[Tensor]]:
        X = stft(n_fft=self.n_fft, hop_length=self.n_fft // 4, length=y.shape[-1], device=y.device)(y).mT  # (B, F, T)
        X = torch.stack([X.real, X.imag], dim=1)
        x, maps = X * (X.square().sum(1, keepdim=True) + TINY) ** ((COMPRESSION - 1) / 2), []
        for layer in self.layers:
            x = nn.functional.leaky_relu(layer(x), 0.1)
            maps.append(x)
        return self.last(x), maps


class MultiResolution(nn.Module):
    """One StftDiscriminator for each FFT length."""

    def __init__(self, *, n_ffts: tuple[int, ...] = (512, 1024, 2048), channels: int = 16) -> None:
        super().__init__()
        self.parts = nn.ModuleList([StftDiscriminator(n_fft=n_fft, channels=channels) for n_fft in n_ffts])

    def forward(self, y: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Waveforms (B, N) -> for each resolution the logits and the hidden maps."""
        logits, maps = zip(*(part(y) for part in self.parts), strict=True)
        return list(logits), list(maps)
