"""The waveform VAEs: strided 1-D convolutions, or convolutions with pooling, and the mirrored decoder."""

import itertools
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 4  # samples, in every layer
# Kernel, stride and padding in samples. The strided kernel spans four strides, so that all samples weigh the same.
STRIDED, POOLED = (16, STRIDE, 6), (9, 1, "same")
WIDTHS = (16, 32, 64, 128, 256)


def reduced(samples: int, widths: Sequence[int]) -> tuple[int, int]:
    """The length after all layers, and the number of samples by which the waveform must be padded."""
    factor = STRIDE ** len(widths)
    length = -(-samples // factor)
    return length, length * factor - samples


class Encoder(nn.Module):
    """Waveforms x (B, N) of any length -> mean and log variance (B, Z) of the posterior; ordinals y are not used.

    Args:
        samples: N.
        latent: Z.
        pooling: use pairs of a convolution and a max pooling instead of strided convolutions.
    """

    def __init__(
        self, *, samples: int, latent: int = 128, pooling: bool = False, widths: Sequence[int] = WIDTHS
    ) -> None:
        super().__init__()
        length, self.padding = reduced(samples, widths)
        layers: list[nn.Module] = []
        for c_in, c_out in itertools.pairwise((1, *widths)):
            convolution = nn.Conv1d(c_in, c_out, *(POOLED if pooling else STRIDED))
            layers += [convolution, nn.BatchNorm1d(c_out), nn.LeakyReLU(0.2)]
            if pooling:
                layers.append(nn.MaxPool1d(STRIDE))
        self.layers = nn.Sequential(*layers)
        self.posterior = nn.Linear(widths[-1] * length, 2 * latent)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        h = self.layers(F.pad(x[:, None], (0, self.padding)))
        mean, log_variance = self.posterior(h.flatten(1)).chunk(2, dim=1)
        return mean, log_variance


class Decoder(nn.Module):
    """Noise z (B, Z) -> waveforms (B, N); ordinals y (B,) are not used. It mirrors the encoder.

    Transposed convolutions mirror strided ones. A pooled pair is mirrored by a learned un-pooling of each channel and a
    convolution; un-pooling by repetition is so smooth that the network learns nothing but silence.
    """

    def __init__(
        self, *, samples: int, latent: int = 128, pooling: bool = False, widths: Sequence[int] = WIDTHS
    ) -> None:
        super().__init__()
        self.arguments = {"samples": samples, "latent": latent, "pooling": pooling, "widths": list(widths)}
        self.latent, self.samples = latent, samples
        self.start = (widths[-1], reduced(samples, widths)[0])
        self.project = nn.Linear(latent, self.start[0] * self.start[1])
        layers: list[nn.Module] = []
        for c_in, c_out in itertools.pairwise((*reversed(widths), 1)):
            layers += [nn.BatchNorm1d(c_in), nn.LeakyReLU(0.2)]
            if pooling:
                unpool = nn.ConvTranspose1d(c_in, c_in, STRIDE, STRIDE, groups=c_in)
                layers += [unpool, nn.Conv1d(c_in, c_out, *POOLED)]
            else:
                layers += [nn.ConvTranspose1d(c_in, c_out, *STRIDED)]
        self.layers = nn.Sequential(*layers)
        nn.init.zeros_(self.layers[-1].weight)  # start at silence, to which quiet music is much closer than to noise
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        h = self.project(z).unflatten(1, self.start)
        return self.layers(h)[:, 0, : self.samples]
